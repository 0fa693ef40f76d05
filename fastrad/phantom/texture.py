"""Random fields that every phantom paints with: smooth textures, fibres and wavy lines.

In: a NumPy generator and a shape in pixels. Out: float32 arrays of zero mean and about unit standard deviation.
"""

from __future__ import annotations

import cv2
import numpy as np


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]) -> np.ndarray:
    """A smooth random field, float32 of `shape`, mean 0 and standard deviation about 1.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : (rows, columns)
    cell : (rows, columns)
        The distance over which the field forgets itself, in pixels; unequal numbers give fibres.
    """
    coarse = [max(2, round(length / size) + 3) for length, size in zip(shape, cell, strict=True)]
    field = rng.standard_normal(coarse, dtype=np.float32)
    height, width = (max(length, round(count * size)) for length, count, size in zip(shape, coarse, cell, strict=True))
    large = cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC)
    top, left = (height - shape[0]) // 2, (width - shape[1]) // 2
    return large[top : top + shape[0], left : left + shape[1]] * np.float32(1.35)  # interpolation takes variance away


def wave(rng: np.random.Generator, positions: np.ndarray, length: float) -> np.ndarray:
    """A smooth random line over `positions` (any shape), about unit standard deviation, wavelengths around `length`."""
    phases = rng.uniform(0, 2 * np.pi, 3)
    stretches = rng.uniform(0.6, 1.6, 3)
    return sum(
        np.sin(positions * np.float32(2 * np.pi / (length * stretch)) + np.float32(phase))
        for stretch, phase in zip(stretches, phases, strict=True)
    ) * np.float32(0.82)  # type: ignore[return-value]
