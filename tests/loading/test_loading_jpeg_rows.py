"""Rows of a JPEG decoded alone: to the bit those of the whole picture, and the whole one where that cannot be."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from fastrad.dataset import write_beton
from fastrad.dataset.beton.writer import encode_jpeg
from fastrad.errors import DamagedSampleError
from fastrad.loading import Loader
from fastrad.loading.engines.base import Step
from fastrad.loading.engines.direct import EncodedFiller
from fastrad.loading.kernels.jpeg import BLOCK, decoder, rows_alone
from fastrad.loading.policy import Augmentation, draw


def _picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height // 6 + 1, width // 6 + 1), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def _part(stored: np.ndarray, first: int, last: int, height: int, width: int) -> np.ndarray:
    part = np.full(stored.size + 64, 0xA5, dtype=np.uint8)
    length = rows_alone(stored, first, last, height, width, part[: stored.size])
    assert (part[-64:] == 0xA5).all()
    assert 0 <= length <= stored.size
    return part[:length]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (224, 224), (61, 100), (8, 8), (9, 17), (17, 520)])
def test_all_rows_of_blocks_are_those_of_the_whole_picture(height: int, width: int) -> None:
    stored = encode_jpeg(_picture(height, width), 90)
    whole, decode = cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE), decoder()
    rows = -(-height // BLOCK)
    for first in range(rows):
        for last in range(first, rows):
            expected = whole[first * BLOCK : (last + 1) * BLOCK]
            pixels = np.empty(expected.shape, dtype=np.uint8)
            assert decode(_part(stored, first, last, height, width), pixels) is None
            assert np.array_equal(pixels, expected)


def test_markers_cost_less_than_a_hundredth_and_the_picture_is_the_one_without_them() -> None:
    picture = _picture(224, 224)
    stored, plain = encode_jpeg(picture, 90), cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    assert stored.size < 1.01 * plain.size
    assert np.array_equal(*(cv2.imdecode(each, cv2.IMREAD_GRAYSCALE) for each in (stored, plain)))


def _other_kinds(picture: np.ndarray) -> dict[str, np.ndarray]:
    def encoded(image: np.ndarray, *options: int) -> np.ndarray:
        return cv2.imencode(".jpg", image, list(options))[1].reshape(-1)

    coloured = cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)
    return {
        "no markers": encoded(picture),
        "markers elsewhere": encoded(picture, cv2.IMWRITE_JPEG_RST_INTERVAL, 5),
        "progressive": encoded(picture, cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 8),
        "three components": encoded(coloured, cv2.IMWRITE_JPEG_RST_INTERVAL, 8),
        "another size": encode_jpeg(_picture(72, 64), 90),
        "another width": encode_jpeg(_picture(64, 60), 90),
        "no JPEG": np.frombuffer(b"\x89PNG" + bytes(200), np.uint8),
        "nothing": np.zeros(0, np.uint8),
    }


@pytest.mark.parametrize("kind", _other_kinds(_picture(64, 64)))
def test_what_has_no_such_rows_is_left_whole(kind: str) -> None:
    assert _part(_other_kinds(_picture(64, 64))[kind], 2, 4, 64, 64).size == 0


def test_damage_is_never_read_or_written_beyond_the_end() -> None:
    """Cut at every byte, and three thousand single bytes changed: a part of at most the whole's length, or none."""
    stored = encode_jpeg(_picture(64, 64), 90)
    complete = _part(stored, 2, 5, 64, 64)
    for end in range(stored.size):
        cut = _part(stored[:end].copy(), 2, 5, 64, 64)
        assert cut.size == 0 or np.array_equal(cut, complete)
    random = np.random.default_rng(1)
    for _ in range(3000):
        damaged = stored.copy()
        damaged[random.integers(stored.size)] = random.choice([0, 0xFF, 0xD9, 0xD3, random.integers(256)])
        _part(damaged, 2, 5, 64, 64)


@pytest.mark.parametrize("kind", ["rows", "no markers", "progressive"])
def test_crops_are_the_same_before_and_after_the_whole_was_decoded(kind: str) -> None:
    """The first time a frame is decoded whole, later as far as its crop goes, where it can be taken apart."""
    frames = [_picture(96, 96, seed) for seed in range(12)]
    stored = [encode_jpeg(frame, 90) if kind == "rows" else _other_kinds(frame)[kind] for frame in frames]
    samples = SimpleNamespace(count=12, encoding="jpeg", frame=(96, 96), read=stored.__getitem__)
    filler = EncodedFiller(samples)
    positions = np.arange(12)
    policy = Augmentation(scale=(0.05, 0.6), flip_vertical=True)
    for epoch in range(3):
        parameters = draw(policy, 1, epoch, positions, np.zeros(12, np.int64), 96, 96)
        found, expected = (np.empty(12 * 48 * 48, dtype=np.uint8) for _ in range(2))
        assert filler.fill(Step(positions, parameters), found, 48) == {}
        assert EncodedFiller(samples).fill(Step(positions, parameters), expected, 48) == {}
        assert np.array_equal(found, expected)


def test_batches_of_later_epochs_are_what_the_first_one_would_have_given(tmp_path: Path) -> None:
    write_beton(
        tmp_path / "a.beton", np.stack([_picture(96, 96, seed) for seed in range(20)]), np.arange(20) % 2, encode="jpeg"
    )
    loader = Loader(tmp_path / "a.beton", 8, engine="direct", size=48)
    first = list(loader)
    loader.epoch = 0
    for ours, theirs in zip(loader, first, strict=True):
        assert torch.equal(ours.images, theirs.images)


def test_damage_that_comes_later_is_seen_where_checksums_are_always_compared(tmp_path: Path) -> None:
    path = tmp_path / "a.beton"
    write_beton(path, np.stack([_picture(96, 96, seed) for seed in range(4)]), np.arange(4) % 2, encode="jpeg")
    loader = Loader(path, 4, engine="direct", size=48, verify="always")
    list(loader)
    file = loader._samples.file
    with path.open("r+b") as stream:
        stream.seek(int(file.offsets[2]) + int(file.sizes[2]) - 40)
        stream.write(b"\x12\x34")
    with pytest.raises(DamagedSampleError, match="checksum"):
        list(loader)
