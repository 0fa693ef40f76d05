"""Dataset files of tiny images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_images import CLASSES, tiny_images

from fastrad.dataset import write_beton


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.beton (60 samples) and val.beton (23 samples). Not to be changed."""
    folder = tmp_path_factory.mktemp("tiny")
    for name, count, seed in (("train", 60, 1), ("val", 23, 2)):
        images, labels = tiny_images(count, seed)
        rows = np.arange(count) + 1000
        write_beton(folder / f"{name}.beton", images, labels, rows=rows, classes=CLASSES, split=name, synthetic=True)
    return folder
