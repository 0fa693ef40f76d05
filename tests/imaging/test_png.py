"""The fast PNG decoder gives exactly the pixels that were stored, for every filter, or leaves the file to OpenCV."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fastrad.imaging import ImageError, decode_gray
from fastrad.imaging.png import decode_png


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def filtered(image: np.ndarray, filters: list[int]) -> bytes:
    """The rows of an image (H, W, C) under the filters, by the specification's formulas, value by value."""
    height, width, channels = image.shape
    out = bytearray()
    for y in range(height):
        out.append(filters[y])
        for x in range(width):
            for c in range(channels):
                left = int(image[y, x - 1, c]) if x else 0
                above = int(image[y - 1, x, c]) if y else 0
                corner = int(image[y - 1, x - 1, c]) if x and y else 0
                estimate = left + above - corner
                nearest = min((left, above, corner), key=lambda value: abs(estimate - value))  # the first on a tie
                predicted = [0, left, above, (left + above) // 2, nearest][filters[y]]
                out.append((int(image[y, x, c]) - predicted) % 256)
    return bytes(out)


def png(
    rows: bytes, width: int, height: int, colour=0, *, depth=8, interlace=0, extra=b"", between=b"", stream=b""
) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    stream = stream or zlib.compress(rows)
    half = len(stream) // 2
    data = chunk(b"IDAT", stream[:half]) + between + chunk(b"IDAT", stream[half:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + data + chunk(b"IEND", b"")


images = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])),
    elements=st.integers(0, 255) | st.sampled_from([0, 1, 127, 128, 254, 255]),
)


@given(image=images, filters=st.lists(st.integers(0, 4), min_size=9, max_size=9))
def test_every_filter_is_undone(image: np.ndarray, filters: list[int]) -> None:
    height, width, channels = image.shape
    decoded = decode_png(png(filtered(image, filters), width, height, 0 if channels == 1 else 2))
    assert decoded is not None
    np.testing.assert_array_equal(decoded, image[..., 0] if channels == 1 else image[..., ::-1])


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("level", [0, 1, 6, 9])
def test_agrees_with_opencv_on_what_pillow_writes(mode: str, level: int) -> None:
    smooth = np.random.default_rng(level).normal(0, 3, (123, 457, len(mode))).cumsum(0).cumsum(1)
    image = np.squeeze((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=level)
    decoded = decode_png(file.getvalue())
    assert decoded is not None
    expected = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, expected)


GRAY = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
ROWS = filtered(GRAY, [0, 1, 4])


def test_the_plain_file_of_these_tests_is_taken() -> None:
    np.testing.assert_array_equal(decode_png(png(ROWS, 4, 3)), GRAY[..., 0])


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(png(ROWS, 4, 3, depth=4), id="4-bit"),
        pytest.param(png(ROWS, 4, 3, colour=4), id="gray and alpha"),
        pytest.param(png(ROWS, 4, 3, interlace=1), id="interlaced"),
        pytest.param(png(ROWS, 4, 3, extra=chunk(b"tRNS", b"\0\1")), id="transparent gray"),
        pytest.param(png(ROWS, 4, 3, extra=chunk(b"acTL", b"\0\0\0\1\0\0\0\0")), id="animated"),
        pytest.param(png(ROWS[:-1], 4, 3), id="too few pixels"),
        pytest.param(png(ROWS + b"\0", 4, 3), id="too many pixels"),
        pytest.param(png(b"\5" + ROWS[1:], 4, 3), id="a filter that does not exist"),
        pytest.param(
            png(ROWS, 4, 3, extra=chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 9, 8, 0, 0, 0, 0))), id="two headers"
        ),
        pytest.param(png(ROWS, 4, 3, extra=chunk(b"QQQQ", b"")), id="a critical chunk that nobody knows"),
        pytest.param(png(ROWS, 4, 3, extra=chunk(b"\0\1\2\3", b"")), id="a chunk without a name"),
        pytest.param(png(ROWS, 4, 3, between=chunk(b"tEXt", b"a\0b")), id="image data interrupted"),
        pytest.param(png(ROWS, 4, 3, stream=b"\x88\x1c" + zlib.compress(ROWS)[2:]), id="a window that does not exist"),
    ],
)
def test_leaves_everything_else_to_opencv(file: bytes) -> None:
    assert decode_png(file) is None


def test_a_stream_that_inflates_without_end_is_stopped_at_the_declared_size() -> None:
    assert decode_png(png(bytes(1 << 28), 4, 3)) is None


def test_a_wrong_checksum_of_the_pixels_is_noticed() -> None:
    stream = zlib.compress(ROWS)
    damaged = stream[:-1] + bytes([stream[-1] ^ 1])
    header = struct.pack(">IIBBBBB", 4, 3, 8, 0, 0, 0, 0)
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", damaged) + chunk(b"IEND", b"")
    assert decode_png(file) is None


@pytest.mark.parametrize("kind", [b"tEXt", b"gAMA", b"eXIf"])
def test_chunks_that_leave_the_values_alone_do_no_harm(kind: bytes) -> None:
    np.testing.assert_array_equal(decode_png(png(ROWS, 4, 3, extra=chunk(kind, b"\0\0\0\1"))), GRAY[..., 0])


@pytest.mark.slow
def test_a_damaged_cache_of_compiled_code_costs_time_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "gray.png").write_bytes(png(ROWS, 4, 3))
    read = f"open({str(tmp_path / 'gray.png')!r}, 'rb').read()"
    code = f"from fastrad.imaging.png import decode_png; print(decode_png({read}).tolist())"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == f"{GRAY[..., 0].tolist()}\n"
        indices = list((tmp_path / "cache").rglob("png._unfilter_gray*.nbi"))
        assert indices
        for index in indices:
            index.write_bytes(index.read_bytes()[:30])


def test_missing_pixels_are_an_error_of_the_file() -> None:
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode_gray(png(b"", 4, 3), name="empty.png")
