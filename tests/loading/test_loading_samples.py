"""Stored bytes, JPEG decoding, and memory that is used again only when nobody holds it."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from fastrad.loading import jpeg
from fastrad.loading.buffers import BufferPool
from fastrad.loading.engine import Samples
from fastrad.storage import BetonFile


def _jpeg_bytes(frame: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "JPEG", quality=90)
    return np.frombuffer(stream.getvalue(), dtype=np.uint8)


def test_jpeg_decodes_as_pillow_does(frames: np.ndarray) -> None:
    decode, pixels = jpeg.decoder(), np.empty((96, 96), dtype=np.uint8)
    for frame in frames[:8]:
        stored = _jpeg_bytes(frame)
        assert decode(stored, pixels) is None
        assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(stored.tobytes()))))


def test_what_is_wrong_with_a_jpeg_is_said(frames: np.ndarray) -> None:
    decode, pixels = jpeg.decoder(), np.empty((96, 96), dtype=np.uint8)
    stored = _jpeg_bytes(frames[0])
    assert "96 x 96 pixels" in str(decode(stored, np.empty((50, 96), dtype=np.uint8)))
    assert decode(np.zeros(500, dtype=np.uint8), pixels)
    assert decode(stored[: len(stored) // 2].copy(), pixels)
    assert decode(stored, pixels) is None


def test_memory_is_used_again_only_after_its_last_view_is_gone() -> None:
    pool = BufferPool(keep=2)
    tensor = torch.from_numpy(pool.take(1000))
    place = tensor.data_ptr()
    view = tensor[100:200].view(10, 10)
    del tensor
    assert pool.take(1000).ctypes.data != place
    del view
    held = [pool.take(1000) for _ in range(2)]
    assert place in [array.ctypes.data for array in held]


def test_a_file_larger_than_memory_is_announced_and_reads_the_same(raw_beton) -> None:
    samples = Samples(BetonFile(raw_beton), "first")
    assert not samples.reads_ahead
    samples.reads_ahead = True
    samples.announce(np.arange(61))
    assert np.array_equal(samples.read(3), samples.file.image_bytes(3))
