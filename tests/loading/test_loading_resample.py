"""The fused pass against OpenCV, for vector and plain code, from a file and from memory."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastrad.loading.kernels import resample


def _expected(frame: np.ndarray, box: np.ndarray, flips: int, size: int) -> np.ndarray:
    top, left, height, width = box
    crop = frame[top : top + height, left : left + width]
    image = cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR)
    return image[:: -1 if flips & 2 else 1, :: -1 if flips & 1 else 1]


def _random_boxes(count: int, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    heights, widths = rng.integers(1, height + 1, count), rng.integers(1, width + 1, count)
    tops, lefts = rng.integers(0, height - heights + 1), rng.integers(0, width - widths + 1)
    return np.stack([tops, lefts, heights, widths], axis=1)


@pytest.mark.parametrize("size", [1, 7, 16, 40, 96, 129, 224])
def test_any_crop_and_flip_equals_opencv_within_one_gray_level(size: int, frames: np.ndarray, tmp_path: Path) -> None:
    """Size 7 takes the plain code, 40 shrinks beyond what the vector code covers for wide crops, 224 enlarges."""
    rng = np.random.default_rng(size)
    frames = np.ascontiguousarray(frames[:, :, :83])
    count, height, width = frames.shape
    boxes, flips = _random_boxes(count, height, width, rng), rng.integers(0, 4, count).astype(np.uint8)
    expected = np.stack([_expected(*sample, size) for sample in zip(frames, boxes, flips, strict=True)]).astype(int)
    frames.tofile(tmp_path / "frames")
    padded = np.r_[frames.ravel(), np.zeros(resample.PADDING, np.uint8)]
    sources, missing = np.arange(count) * height * width, np.full(count, -1)
    descriptor = os.open(tmp_path / "frames", os.O_RDONLY)
    try:
        for where, starts in ((descriptor, sources), (-1, padded.ctypes.data + sources)):
            output = np.full((count * size * size + 64), 99, np.uint8)
            resample.resample(where, starts, height, width, boxes, flips, size, output.ctypes.data, missing)
            assert not missing.any()
            assert np.abs(output[:-64].reshape(expected.shape) - expected).max() <= 1
            assert (output[-64:] == 99).all()  # nothing behind the batch was touched
    finally:
        os.close(descriptor)


def test_a_crop_of_the_outputs_size_is_copied_exactly(frames: np.ndarray) -> None:
    box, flips = np.array([[9, 5, 64, 64]] * 4), np.arange(4, dtype=np.uint8)
    padded = np.r_[frames[0].ravel(), np.zeros(resample.PADDING, np.uint8)]
    output, missing = np.empty((4, 64, 64), np.uint8), np.empty(4, np.int64)
    sources = np.full(4, padded.ctypes.data)
    resample.resample(-1, sources, 96, 96, box, flips, 64, output.ctypes.data, missing)
    crop = frames[0, 9:73, 5:69]
    for image, expected in zip(output, (crop, crop[:, ::-1], crop[::-1], crop[::-1, ::-1]), strict=True):
        assert np.array_equal(image, expected)


def test_bytes_that_the_file_does_not_have_are_counted(tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(bytes(150))
    descriptor = os.open(tmp_path / "short", os.O_RDONLY)
    try:
        missing = np.empty(2, np.int64)
        output = np.empty((2, 100), np.uint8)
        resample.read(descriptor, np.array([0, 100]), 100, output.ctypes.data, missing)
        assert missing.tolist() == [0, 50]
        whole = np.array([[0, 0, 10, 10]] * 2)
        resample.resample(
            descriptor, np.array([0, 100]), 10, 10, whole, np.ones(2, np.uint8), 10, output.ctypes.data, missing
        )
        assert missing.tolist() == [0, 50]
    finally:
        os.close(descriptor)


def test_look_up_writes_the_tables_bits() -> None:
    table = np.linspace(-2, 3, 256, dtype=np.float32)
    pixels = np.array([0, 255, 7], np.uint8)
    output = np.empty(3, np.float32)
    resample.look_up(pixels, table.view(np.uint32), output.view(np.uint32))
    assert output.tolist() == table[pixels].tolist()
