"""How much is fuzzed: a few seconds' worth always, ten times that where slow tests run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from mutations import speckle

from fastrad.dataset import write_beton

PAGE = 4096


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """Nine frames of 24 x 24 uint8: two pages of 4,096 bytes."""
    return speckle(9, 24)


def _write(path: Path, images: np.ndarray, encode: str) -> Path:
    label, patient, row = np.arange(9) % 3, np.arange(9) // 2, np.arange(9) * 3 + 1
    write_beton(path, images, label, patient, row, encode=encode, page_size=PAGE, classes=["a", "b", "c"])
    return path


@pytest.fixture(params=["raw", "jpeg"])
def small_beton(request: pytest.FixtureRequest, tmp_path: Path, images: np.ndarray) -> Path:
    """Those frames as a dataset file, to be damaged."""
    return _write(tmp_path / "small.beton", images, request.param)


@pytest.fixture
def small_raw_beton(tmp_path: Path, images: np.ndarray) -> Path:
    """The raw one of the two."""
    return _write(tmp_path / "small.beton", images, "raw")


@pytest.fixture(scope="session")
def seed() -> int:
    """Of all damage; `FASTRAD_FUZZ_SEED` chooses another."""
    return int(os.environ.get("FASTRAD_FUZZ_SEED", "0"))
