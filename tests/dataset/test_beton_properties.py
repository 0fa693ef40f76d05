"""What is written into a `.beton` file comes out of it again, for any images and columns."""

from __future__ import annotations

import struct
import tempfile
import zlib
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrad.dataset import BetonFile, Card, write_beton

CLASSES = ["a", "b,", "ç"]


@st.composite
def contents(draw):
    count = draw(st.integers(1, 12))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    images = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (count, height, width), dtype=np.uint8)
    labels = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    patients = draw(st.lists(st.integers(-1, 3), min_size=count, max_size=count))
    rows = sorted(draw(st.sets(st.integers(0, 2**40), min_size=count, max_size=count)))
    return images, labels, patients, rows, draw(st.sampled_from([2048, 4096, 1 << 21]))


@settings(deadline=None, max_examples=60)
@given(contents())
def test_every_image_and_column_comes_back(content):
    images, labels, patients, rows, page = content
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.beton"
        names = [f"p{k}" for k in range(4)]
        card = write_beton(path, images, labels, patients, rows, page_size=page, classes=CLASSES, patient_names=names)
        file = BetonFile(path)
        assert (len(file), file.height, file.width) == images.shape
        assert (file.labels.tolist(), file.patients.tolist(), file.rows.tolist()) == (labels, patients, rows)
        for index, image in enumerate(images):
            assert np.array_equal(file.decode(index), image)
            file.check(index)
        starts, ends = file.offsets.astype(int), file.offsets.astype(int) + file.sizes.astype(int)
        assert (starts[1:] >= ends[:-1]).all(), "images overlap"
        assert (starts // page == (ends - 1) // page).all(), "an image crosses a page"
        assert Card.read(path) == card
        raw = path.read_bytes()  # and the bytes where the format says they are
        _, _, stored_page, count, table = struct.unpack("<HHIQQ", raw[:24])
        assert (stored_page, count) == (page, len(images))
        for index in range(count):
            sample, pointer, size = struct.unpack("<QQQ", raw[table + 24 * index :][:24])
            assert (sample, zlib.crc32(raw[pointer : pointer + size])) == (index, int(file.crc32[index]))
