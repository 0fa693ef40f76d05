"""Tiny images to train on: three classes that differ in brightness pattern, 16 x 16 pixels."""

from __future__ import annotations

import numpy as np

CLASSES = ["bars", "blobs", "flat"]


def tiny_images(count: int, seed: int, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Images of three kinds under noise, uint8 (count, size, size), and their labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    labels[:3] = [0, 1, 2]
    noise = random.normal(0, 25, (count, size, size))
    rows, columns = np.mgrid[:size, :size]
    kinds = np.stack(
        [
            128 + 50 * np.sign(np.sin(columns * np.pi / 2 + 0.1)),
            128 + 60 * np.cos(rows * 0.8) * np.cos(columns * 0.8),
            np.full((size, size), 128.0),
        ]
    )
    return np.clip(kinds[labels] + noise, 0, 255).astype(np.uint8), labels
