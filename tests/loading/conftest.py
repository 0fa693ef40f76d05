"""Dataset files of real ultrasound frames, and the engines that the contract is tested on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fastrad.archives.manifest import Manifest
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset import write_beton
from fastrad.loading.engines import ENGINES

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


@pytest.fixture(scope="session", params=["raw", "jpeg", "shards"])
def dataset(request, tmp_path_factory, frames, labels, rows) -> Path:
    """The frames as a dataset file, once raw and once JPEG, and as PNG in WebDataset shards. Not to be changed."""
    folder = tmp_path_factory.mktemp("dataset")
    if request.param == "shards":
        return _write_shards(folder, frames, labels, rows, encode="png")
    path = folder / f"{request.param}.beton"
    write_beton(path, frames, labels, rows=rows, encode=request.param)
    return path


def _write_shards(folder: Path, frames, labels, rows, encode: str) -> Path:
    """Convert frames to several shards, between rows that hold no image; returns their card."""
    count = int(rows.max()) + 1
    paths, names, reasons = [""] * count, [""] * count, ["left out"] * count
    for frame, label, row in zip(frames, labels, rows, strict=True):
        paths[row], names[row], reasons[row] = f"{row}.png", str(label), ""
        cv2.imwrite(str(folder / paths[row]), frame)
    manifest = Manifest.from_columns(folder, "table", path=paths, label=names, reason=reasons)
    options = ConvertOptions(format="webdataset", encode=encode, size=96, shard_bytes=150_000, workers=1)
    convert(manifest, folder / "out", options)
    assert len(list((folder / "out").glob("*.tar"))) > 1
    return folder / "out" / "all.card.json"


@pytest.fixture
def jpeg_shards(tmp_path: Path, frames, labels, rows) -> Path:
    """The frames as JPEG in WebDataset shards: their card. A test's own."""
    return _write_shards(tmp_path, frames, labels, rows, encode="jpeg")


@pytest.fixture(scope="session")
def raw_beton(tmp_path_factory, frames, labels, rows) -> Path:
    """The frames as a raw dataset file. Not to be changed."""
    path = tmp_path_factory.mktemp("raw") / "raw.beton"
    write_beton(path, frames, labels, rows=rows)
    return path


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn: the contract is one."""
    if request.param == "dali":
        pytest.importorskip("nvidia.dali", reason="NVIDIA DALI is not installed")
    return request.param
