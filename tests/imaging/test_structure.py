"""Damaged files: each is refused with its name and what is wrong."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fastrad.errors import InputError
from fastrad.imaging import ImageError, decode_gray, read_gray


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX)


def encode(image: np.ndarray, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("BMP", {})],
)
def test_a_file_cut_anywhere_is_refused(photo: np.ndarray, kind: str, options: dict) -> None:
    data = encode(photo, kind, **options)
    decode_gray(data)
    for length in {*range(0, len(data) - 1, 41), len(data) - 1}:
        with pytest.raises(InputError):
            decode_gray(data[:length])


def test_a_tiff_cut_anywhere_is_refused_or_loses_no_pixel(photo: np.ndarray) -> None:
    data = encode(photo, "TIFF", compression="tiff_lzw")
    whole = []  # a TIFF may end with fields that say nothing about pixels
    for length in {*range(0, len(data) - 1, 41), len(data) - 1}:
        try:
            np.testing.assert_array_equal(decode_gray(data[:length]), photo)
            whole.append(length)
        except InputError:
            continue
    assert all(length > len(data) - 200 for length in whole)


def test_any_flipped_bit_in_a_png_is_found(photo: np.ndarray) -> None:
    data = encode(photo, "PNG")
    for position in range(0, len(data), 7):
        altered = bytearray(data)
        altered[position] ^= 1 << (position % 8)
        with pytest.raises(InputError):
            decode_gray(bytes(altered))


def test_png_with_sound_checksums_but_too_little_data_is_refused(photo: np.ndarray) -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\x00" + row.tobytes() for row in photo[:30])
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 80, 60, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(InputError, match="cannot be decoded"):
        decode_gray(data)


def test_jpeg_whose_thumbnail_is_whole_but_whose_image_is_cut_is_refused(photo: np.ndarray) -> None:
    thumbnail = encode(photo[:16, :16], "JPEG")
    data = encode(photo, "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = data[:2] + segment + data[2:]
    assert decode_gray(whole).shape == photo.shape
    with pytest.raises(InputError, match="cut short"):
        decode_gray(whole[: len(whole) * 3 // 4])


def test_text_named_png_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "note.png"
    path.write_text("moved to the new server\n" * 20)
    with pytest.raises(InputError, match=r"note\.png: not an image"):
        read_gray(path)


def test_empty_and_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    with pytest.raises(InputError, match=r"empty\.png: the file is empty"):
        read_gray(tmp_path / "empty.png")
    with pytest.raises(InputError, match=r"gone\.png: no such file"):
        read_gray(tmp_path / "gone.png")
    with pytest.raises(InputError, match="cannot be read"):
        read_gray(tmp_path)


def declaring_a_huge_size(kind: str) -> bytes:
    data = bytearray(encode(np.zeros((8, 8), np.uint8), kind))
    if kind == "PNG":
        data[16:24] = struct.pack(">II", 100_000, 100_000)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    elif kind == "JPEG":
        frame = data.index(b"\xff\xc0")
        data[frame + 5 : frame + 9] = struct.pack(">HH", 65500, 65500)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", 100_000, 100_000)
        data[30:34] = struct.pack("<I", 1)  # run-length encoded, so that the rows needn't be in the file
    else:
        for tag in (256, 257):
            entry = data.index(struct.pack("<H", tag), 8)
            data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, 100_000)
    return bytes(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "TIFF"])
def test_a_huge_declared_size_is_refused_before_decoding(kind: str) -> None:
    with pytest.raises(InputError, match="pixels, more than"):
        decode_gray(declaring_a_huge_size(kind))


def test_bytes_after_the_end_of_the_image_do_no_harm(photo: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_gray(encode(photo, "PNG") + b"\0" * 64), photo)
    assert decode_gray(encode(photo, "JPEG") + b"\0" * 64).shape == photo.shape


def test_image_error_keeps_its_reason_across_processes() -> None:
    error = pickle.loads(pickle.dumps(ImageError("a.png", "the file is empty")))
    assert (str(error), error.reason) == ("a.png: the file is empty", "the file is empty")
