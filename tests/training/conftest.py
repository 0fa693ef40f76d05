"""Tiny dataset files: three classes that differ in brightness pattern, 16 x 16 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastrad.storage import write_beton

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


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.beton (60 samples) and val.beton (23 samples). Not to be changed."""
    folder = tmp_path_factory.mktemp("tiny")
    for name, count, seed in (("train", 60, 1), ("val", 23, 2)):
        images, labels = tiny_images(count, seed)
        rows = np.arange(count) + 1000
        write_beton(folder / f"{name}.beton", images, labels, rows=rows, classes=CLASSES, split=name, synthetic=True)
    return folder
