"""One field of a header set to another legal value: what comes out is what an independent reader gives, or refused."""

from __future__ import annotations

import io
import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matrix import COUNTS
from PIL import Image
from test_still_matrix import HEIGHT, WIDTH, bmp, by_hand, colours, png, ramp

from fastrad.errors import InputError
from fastrad.imaging import decode_gray

MANY = settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TIFF_BASES = {
    "gray 8": (ramp(256).tobytes(), {258: 8, 262: 1}),
    "gray 16": (ramp(65536).astype("<u2").tobytes(), {258: 16, 262: 1}),
    "gray and a second channel": (np.dstack([ramp(256)] * 2).tobytes(), {258: (8, 8), 262: 1, 277: 2, 338: 0}),
    "rgb": (colours().tobytes(), {258: (8, 8, 8), 262: 2, 277: 3}),
    "rgb and a fourth channel": (
        np.dstack([colours(), ramp(256)]).tobytes(),
        {258: (8, 8, 8, 8), 262: 2, 277: 4, 338: 0},
    ),
}
TIFF_TAGS = {
    255: [1, 2, 3],
    258: [1, 2, 4, 8, 12, 16, 32],
    259: [1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34712, 50000],
    262: [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 32803, 32844, 32845],
    263: [1, 2, 3],
    266: [1, 2],
    277: [1, 2, 3, 4, 5],
    278: [1, 5, HEIGHT, HEIGHT + 1],
    284: [1, 2],
    296: [1, 2, 3],
    317: [1, 2, 3],
    339: [1, 2, 3, 4],
    257: [1, HEIGHT - 1, HEIGHT, 2 * HEIGHT],
    256: [1, WIDTH - 1, WIDTH, 2 * WIDTH],
}


def by_pillow(data: bytes) -> np.ndarray | None:
    """Luma, 0 to 255; None where Pillow does not read it."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode.startswith("I;16"):
                bits = max(getattr(image, "tag_v2", {}).get(258, (16,)))
                return np.asarray(image).astype(float) * 255 / ((1 << bits) - 1)
            return np.asarray(image.convert("RGB").convert("L")).astype(float) if image.mode != "F" else None
    except Exception:
        return None


def by_libtiff(data: bytes) -> np.ndarray | None:
    """Luma of libtiff's own rendering, 0 to 255; None where it does not read the file."""
    try:
        rendered = imagecodecs.tiff_decode(data, asrgb=True)
    except Exception:
        return None
    return rendered[..., :3].astype(float) @ [0.299, 0.587, 0.114] if rendered.ndim == 3 else None


def judge(family: str, data: bytes, readers, tolerance: float = 1.5) -> None:
    """Count the outcome; an image must be what one of the independent readers gives, where one reads it."""
    try:
        ours = decode_gray(data, pixel_aspect="ignore").astype(float)
    except InputError:
        COUNTS[family, "refused"] += 1
        return
    theirs = [found for reader in readers if (found := reader(data)) is not None]
    agrees = [each.shape == ours.shape and np.abs(each - ours).max() <= tolerance for each in theirs]
    right = any(agrees) or not theirs
    COUNTS[family, "right" if right else "wrong"] += 1
    assert right, [each.shape for each in theirs]


@MANY
@given(st.sampled_from(sorted(TIFF_BASES)), st.sampled_from(sorted(TIFF_TAGS)), st.data())
def test_a_tiff_with_one_other_tag(base, tag, data):
    pixels, tags = TIFF_BASES[base]
    value = data.draw(st.sampled_from(TIFF_TAGS[tag]))
    if tag == 258 and isinstance(tags[258], tuple):
        value = (value,) * len(tags[258])
    judge("TIFF, one tag changed", by_hand(pixels, {**tags, tag: value}), (by_pillow, by_libtiff))


@MANY
@given(st.sampled_from([0, 2, 3, 4, 6]), st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 4), st.booleans())
def test_a_png_whose_header_says_another_kind(colour, depth, filtering, transparent):
    """The same bytes under another colour type and depth: mostly too short, and refused; else as Pillow reads them."""
    values = np.dstack([colours(), ramp(256)])
    chunks = [(b"PLTE", bytes(range(256)) * 3)] if colour == 3 else []
    if transparent and colour in (0, 2, 3):
        chunks.append((b"tRNS", bytes(6 if colour == 2 else 2)))
    data = bytearray(png(values, 8, 6, chunks=tuple(chunks), filtering=filtering))
    header = bytearray(data[16:29])
    header[8], header[9] = depth, colour
    data[16:29] = header
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    judge("PNG, header changed", bytes(data), (by_pillow,) if not transparent and colour in (0, 2, 3) else ())


@MANY
@given(st.sampled_from([1, 4, 8, 16, 24, 32]), st.sampled_from([0, 1, 2, 3, 6]), st.booleans())
def test_a_bmp_of_another_depth_and_compression(depth, compression, top_down):
    pixels = np.dstack([colours()[..., ::-1], ramp(256)]).tobytes()
    gray = np.repeat(np.linspace(0, 255, 1 << depth).astype(np.uint8), 4) if depth <= 8 else np.zeros(0, np.uint8)
    data = bytearray(bmp(pixels, depth, compression, masks=gray.tobytes()))
    if top_down:
        data[22:26] = (-HEIGHT).to_bytes(4, "little", signed=True)
    # 5 bits become 8 by shifting or by scaling
    judge("BMP, header changed", bytes(data), (by_pillow,), tolerance=8 if depth == 16 else 1.5)


@pytest.mark.parametrize("base", [base for base in TIFF_BASES if "second" not in base])
def test_the_bases_are_read_by_all(base):
    pixels, tags = TIFF_BASES[base]
    data = by_hand(pixels, tags)
    ours = decode_gray(data).astype(float)
    assert any(found is not None and np.abs(found - ours).max() <= 1.5 for found in (by_pillow(data), by_libtiff(data)))
