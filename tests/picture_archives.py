"""Small archives of real PNG files, and manifests of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastrad.archives.manifest import Manifest
from fastrad.convert.outputs import base

SIDE = 224  # 41 raw images of this size fill one of FFCV's smallest pages


def picture(number: int, height: int = SIDE, width: int = SIDE) -> np.ndarray:
    """A gray picture that no other number has."""
    y, x = np.mgrid[0:height, 0:width]
    return ((np.sin(x / (3 + number % 17)) + np.cos(y / (2 + number % 13))) * 60 + 127 + number % 7).astype(np.uint8)


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Manifest]:
    """Write `count` PNG and return their manifest; three classes, two images a patient."""

    def write(count: int, height: int = SIDE, width: int = SIDE) -> Manifest:
        root = tmp_path / "archive"
        root.mkdir(exist_ok=True)
        paths = [f"p{number // 2:04d}/{number:05d}.png" for number in range(count)]
        for number, path in enumerate(paths):
            (root / path).parent.mkdir(exist_ok=True)
            Image.fromarray(picture(number, height, width)).save(root / path, compress_level=1)
        return Manifest.from_columns(
            root,
            "table",
            path=paths,
            label=[f"class{number % 3}" for number in range(count)],
            patient=[f"p{number // 2:04d}" for number in range(count)],
        )

    return write


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one page, 41 images of 224 x 224, so that few images make several chunks."""
    monkeypatch.setattr(base, "ROWS_A_CHUNK", 41)


@pytest.fixture(autouse=True)
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pseudonyms' key in a place of the test's own, with known content."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    key = tmp_path / "config" / "fastrad" / "pseudonym.key"
    key.parent.mkdir(parents=True)
    key.write_text("ab" * 32)
    key.chmod(0o600)
    return key
