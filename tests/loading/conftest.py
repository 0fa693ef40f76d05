"""Dataset files of real ultrasound frames, and the engines that the contract is tested on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fastrad.storage import write_beton

FRAMES = 61  # divided by neither the batch sizes nor the numbers of ranks in the tests


@pytest.fixture(scope="session")
def frames(ddti_root: Path) -> np.ndarray:
    """61 thyroid ultrasound frames of DDTI, 96 x 96, uint8."""
    paths = sorted(ddti_root.glob("*.jpg"))[:FRAMES]
    images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
    return np.stack([cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA) for image in images])


@pytest.fixture(scope="session")
def labels() -> np.ndarray:
    """Three classes, unevenly filled: 0 forty-six times, 1 twelve times, 2 thrice."""
    return np.array([0] * 46 + [1] * 12 + [2] * 3)


@pytest.fixture(scope="session")
def rows() -> np.ndarray:
    """Manifest rows that are not the positions: the manifest holds more than the file."""
    return 1000 + 7 * np.arange(FRAMES)


@pytest.fixture(scope="session", params=["raw", "jpeg"])
def beton(request, tmp_path_factory, frames, labels, rows) -> Path:
    """The frames as a dataset file, once raw and once JPEG. Not to be changed."""
    path = tmp_path_factory.mktemp("beton") / f"{request.param}.beton"
    write_beton(path, frames, labels, rows=rows, encode=request.param)
    return path


@pytest.fixture(scope="session")
def raw_beton(tmp_path_factory, frames, labels, rows) -> Path:
    """The frames as a raw dataset file. Not to be changed."""
    path = tmp_path_factory.mktemp("raw") / "raw.beton"
    write_beton(path, frames, labels, rows=rows)
    return path


@pytest.fixture(params=["torch", "ffcv", "resident", "dali"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn: the contract is one."""
    if request.param == "dali":
        pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")
    return request.param
