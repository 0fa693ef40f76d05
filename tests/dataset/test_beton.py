"""A `.beton` file says what was put in, and does not open when it was cut or altered."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastrad.dataset import BetonFile, Card, write_beton
from fastrad.errors import DamagedSampleError, FormatError, InputError

PAGE = 4096


def speckle(count: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, height, width), dtype=np.uint8)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.beton"
    rows = np.arange(11) * 2
    write_beton(path, speckle(11), np.arange(11) % 3, np.arange(11) // 2, rows, page_size=PAGE, classes=["a", "b", "c"])
    return path


def test_every_column_and_pixel_comes_back(small):
    file = BetonFile(small)
    images = speckle(11)
    assert len(file) == 11
    assert (file.encoding, file.height, file.width) == ("raw", 20, 30)
    assert file.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1]
    assert file.patients.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert file.rows.tolist() == list(range(0, 22, 2))
    assert file.labels.dtype == np.int64
    assert file.sizes.dtype == file.crc32.dtype == np.uint32
    for index in range(11):
        assert np.array_equal(file.decode(index), images[index])
        assert file.crc32[index] == zlib.crc32(images[index].tobytes())
        file.check(index)


def test_bytes_follow_the_published_layout(small):
    """Parsed by hand from the format's description, without our dtypes."""
    content = small.read_bytes()
    version, fields, page_size, samples, table = struct.unpack("<HHIQQ", content[:24])
    assert (version, fields, page_size, samples) == (2, 5, PAGE, 11)
    names = [content[24 + 1041 * k + 1 : 24 + 1041 * k + 17].rstrip(b"\0") for k in range(5)]
    assert names == [b"image", b"label", b"patient", b"row", b"crc32"]
    assert [content[24 + 1041 * k] for k in range(5)] == [255, 1, 1, 1, 1]
    images = speckle(11)
    for index in range(11):
        record = content[24 + 5 * 1041 + 56 * index :][:56]
        pointer, size, width, height, mode, label, patient, row, crc = struct.unpack("<QIHHB7xqqqq", record)
        assert (size, width, height, mode) == (600, 30, 20, 1)
        assert content[pointer : pointer + size] == images[index].tobytes()
        assert pointer // PAGE == (pointer + size - 1) // PAGE, "a sample crosses a page"
        assert (label, patient, row, crc) == (index % 3, index // 2, 2 * index, zlib.crc32(images[index].tobytes()))
        assert struct.unpack("<QQQ", content[table + 24 * index :][:24]) == (index, pointer, size)
    assert table + 24 * 11 == len(content)


def test_jpeg_is_baseline_with_one_component(tmp_path):
    path = tmp_path / "j.beton"
    smooth = np.tile(np.linspace(0, 255, 48, dtype=np.uint8), (3, 40, 1))
    write_beton(path, smooth, [0, 0, 0], encode="jpeg", quality=95, page_size=PAGE)
    file = BetonFile(path)
    stored = file.image_bytes(1).tobytes()
    picture = Image.open(BytesIO(stored))
    assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", (48, 40))
    assert b"\xff\xc0" in stored
    assert b"\xff\xc2" not in stored, "progressive"
    assert np.array_equal(file.decode(1), np.asarray(picture))


def test_same_input_gives_same_bytes(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_beton(tmp_path / name / "x.beton", speckle(5), [0] * 5, page_size=PAGE)
    for file in ("x.beton", "x.card.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize("cached", [False, True])
def test_a_file_cut_while_open_is_an_error_that_names_it(small, cached):
    """In a process of its own: what is touched behind a file's end kills by SIGBUS."""
    code = f"""if True:
        import os, sys
        from fastrad.dataset import BetonFile
        from fastrad.errors import FastradError
        file = BetonFile(sys.argv[1])
        if {cached}:
            file[len(file) - 1], file.rows, file.labels, file.crc32
        for size in (file.table_start - file.page_size, file.data_start, 100, 0):
            os.truncate(sys.argv[1], size)
            try:
                file[len(file) - 1]
            except FastradError as error:
                assert sys.argv[1] in str(error) and str(size) in str(error), error
                print("line")
    """
    done = subprocess.run([sys.executable, "-c", code, small], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["line"] * 4), done


def test_a_file_cut_anywhere_does_not_open(small):
    whole = small.read_bytes()
    boundaries = {0, 1, 23, 24, 1064, 1065, 5228, 5229, 5229 + 56, 5229 + 11 * 56, 8191, 8192, 8193, len(whole) - 264}
    for length in sorted(boundaries | {len(whole) - 1, len(whole) // 2}):
        small.write_bytes(whole[:length])
        with pytest.raises(FormatError, match=r"small\.beton"):
            BetonFile(small)
    small.write_bytes(whole + b"\0" * 24)
    with pytest.raises(FormatError, match="bytes where its card says"):
        BetonFile(small)


@pytest.mark.parametrize("position", [3, 9, 17, 24, 30, 1070, 5229, 5229 + 24, 5229 + 11 * 56 - 1, 6000, 8191])
def test_an_altered_head_or_label_does_not_open(small, position):
    content = bytearray(small.read_bytes())
    content[position] ^= 1
    small.write_bytes(content)
    with pytest.raises(FormatError):
        BetonFile(small)


def test_a_damaged_image_is_named_by_its_row(small):
    file = BetonFile(small)
    content = bytearray(small.read_bytes())
    content[int(file.offsets[4]) + 100] ^= 16
    small.write_bytes(content)
    damaged = BetonFile(small)
    damaged.check(3)
    with pytest.raises(DamagedSampleError, match="manifest row 8 is damaged"):
        damaged.check(4)


def test_a_missing_file_or_card_is_one_clear_line(small):
    with pytest.raises(InputError, match="no such file"):
        BetonFile(small.with_name("other.beton"))
    Card.path_for(small).unlink()
    with pytest.raises(FormatError, match="card is missing"):
        BetonFile(small)


def test_every_flipped_bit_of_the_card_is_found(small):
    path = Card.path_for(small)
    text = path.read_bytes()
    for position in range(len(text)):
        altered = bytearray(text)
        altered[position] ^= 1 << (position % 8)
        path.write_bytes(altered)
        with pytest.raises(FormatError):
            Card.read(path)
    path.write_bytes(text)
    assert Card.read(small).samples == 11


def test_card_says_what_the_arrays_say(small):
    card = Card.read(small)
    scaled = speckle(11) / 255
    assert card.class_counts == {"a": 4, "b": 4, "c": 3}
    assert card.mean == pytest.approx(scaled.mean())
    assert card.std == pytest.approx(scaled.std())
    assert card.sha256() == json.loads(Card.path_for(small).read_text())["card_sha256"]
    assert card.bytes == small.stat().st_size


def test_images_larger_than_the_usual_page_get_pages_they_fit_into(tmp_path):
    images = speckle(2, 1500, 1500)
    write_beton(tmp_path / "large.beton", images, [0, 1])
    file = BetonFile(tmp_path / "large.beton")
    assert file.card.parameters["page_size"] == 4 << 20
    assert np.array_equal(file.decode(1), images[1])


def test_mean_and_deviation_are_those_of_all_pixels(tmp_path):
    images = speckle(7)
    card = write_beton(tmp_path / "a.beton", images, [0] * 7)
    assert card.mean == pytest.approx((images / 255).mean(), abs=1e-12)
    assert card.std == pytest.approx((images / 255).std(), abs=1e-12)
