"""Stored bytes, JPEG decoding, and memory that is used again only when nobody holds it."""

from __future__ import annotations

import io
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fastrad.dataset import BetonFile, write_beton
from fastrad.dataset.tar.shards import ShardSet
from fastrad.errors import DamagedSampleError, InputError
from fastrad.loading import Loader
from fastrad.loading.engines.buffers import BufferPool, _whole
from fastrad.loading.kernels import jpeg
from fastrad.loading.samples import BetonSamples, ShardSamples, open_samples


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


def test_memory_of_many_batches_that_were_kept_is_given_back() -> None:
    pool = BufferPool(keep=2)
    kept = [pool.take(1000) for _ in range(20)]
    buffers = [weakref.ref(array.base) for array in kept]
    assert len({array.ctypes.data for array in kept}) == 20
    del kept
    assert sum(buffer() is not None for buffer in buffers) == 2


def test_a_buffer_that_a_short_batch_was_cut_from_is_found_whole() -> None:
    buffer = torch.arange(100, dtype=torch.uint8)
    for part in (buffer, buffer[:40], buffer[:0]):
        assert torch.equal(_whole(part), buffer)
        assert _whole(part).data_ptr() == buffer.data_ptr()


def test_a_file_larger_than_memory_is_announced_and_reads_the_same(raw_beton) -> None:
    samples = BetonSamples(BetonFile(raw_beton), "first")
    assert not samples.reads_ahead
    samples.reads_ahead = True
    samples.announce(np.arange(61))
    assert np.array_equal(samples.read(3), samples.file.image_bytes(3))


def _alter(shards: Path, position: int, old: bytes, new: bytes) -> None:
    """Replace a piece of a sample's `.json`."""
    file = ShardSet(shards)
    where, tar = file.samples.where[position], shards.parent / file.samples.tar(position)
    content = bytearray(tar.read_bytes())
    start, end = int(where["about"]), int(where["about"] + where["about_size"])
    assert old in content[start:end]
    content[start:end] = content[start:end].replace(old, new)
    tar.write_bytes(content)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b'"row": 1035', b'"row": 1036', "json is damaged"),
        (b'{"row', b'["row', "json is damaged"),
        (b'"label": "0"', b'"label": "7"', "its label is no class"),
        (b'"crc32": ', b'"crc32":-', "is damaged"),
    ],
)
def test_altered_facts_of_a_shards_sample_are_noticed(jpeg_shards: Path, old: bytes, new: bytes, reason: str) -> None:
    _alter(jpeg_shards, 5, old, new)
    samples = open_samples(jpeg_shards, "first")
    with pytest.raises(DamagedSampleError, match=f"row 1035 .*{reason}"):
        samples.read(5)
    assert samples.read(6).size


def test_labels_of_shards_are_known_once_read_and_all_on_demand(jpeg_shards: Path, labels) -> None:
    samples = open_samples(jpeg_shards, "never")
    assert isinstance(samples, ShardSamples)
    samples.read(60)
    assert samples.labels(np.array([60])) == labels[60]
    assert np.array_equal(samples.all_labels(), labels)
    samples.reads_ahead = True
    samples.announce(np.arange(61))


def test_shards_and_beton_give_the_same_batches(tmp_path, jpeg_shards, frames, labels, rows, engine) -> None:
    write_beton(tmp_path / "jpeg.beton", frames, labels, rows=rows, encode="jpeg")
    for path in (jpeg_shards, jpeg_shards.parent / "all-000001.tar"):
        ours, theirs = (Loader(p, 16, engine=engine, size=48, seed=1) for p in (path, tmp_path / "jpeg.beton"))
        for batch, other in zip(ours, theirs, strict=True):
            assert all(torch.equal(mine, its) for mine, its in zip(batch, other, strict=True))


def test_shards_at_a_url_are_refused_with_the_way_out() -> None:
    with pytest.raises(InputError, match="copy the dataset to this machine"):
        Loader("memory://bucket/all.card.json", 8)
