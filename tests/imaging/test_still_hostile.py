"""Still images that a hostile reader tried: right, or refused in one line, and never for ever."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile
from matrix import right_or_refused
from PIL import Image
from test_still_matrix import HEIGHT, WIDTH, bmp, by_hand, eight, luma, png, ramp, read, write_tiff

from fastrad.imaging import ImageError, decode_gray


@pytest.mark.parametrize("samples", [2, 3, 4])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_several_channels_of_gray_are_not_one_image(samples, planar):
    stack = np.stack([ramp(256), *([ramp(256)[::-1]] * (samples - 1))], axis=-1 if planar == "contig" else 0)
    data = write_tiff(stack, photometric="minisblack", planarconfig=planar, extrasamples=[0] * (samples - 1))
    with pytest.raises(ImageError, match=r"several images|samples a pixel|several pages"):
        decode_gray(data)


@pytest.mark.parametrize("options", [{"truncate": True}, {"imagej": True}, {"ome": True}])
def test_a_stack_is_not_one_image(options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.stack([ramp(256)] * 4), photometric="minisblack", **options)
    with pytest.raises(ImageError, match="several"):
        decode_gray(stream.getvalue())


def test_a_palette_of_8_bit_entries():
    values = ramp(256)
    table = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint16)
    data = by_hand(values.tobytes(), {258: 8, 262: 3, 320: tuple(table.ravel().tolist())})
    right_or_refused("TIFF, palette", read(data), luma(np.moveaxis(table[:, values], 0, -1)), may_refuse=False)


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_gray_with_alpha_of_any_depth_and_polarity(bits, white_is_zero, alpha):
    top = (1 << bits) - 1
    values = ramp(1 << bits)
    covering = np.full_like(values, round(alpha * top))
    photometric = "miniswhite" if white_is_zero else "minisblack"
    data = write_tiff(np.dstack([values, covering]), photometric=photometric, extrasamples=["unassalpha"])
    shown = top - values.astype(int) if white_is_zero else values
    right_or_refused("TIFF, alpha", read(data), eight(shown, top) * alpha)


@pytest.mark.parametrize("missing", range(1, 6))
def test_a_progressive_jpeg_without_its_last_scans_is_damage(missing):
    stream = io.BytesIO()
    Image.fromarray(ramp(256, 64, 64)).save(stream, "JPEG", progressive=True, quality=90)
    data = stream.getvalue()
    scans = [place for place in range(len(data)) if data[place : place + 2] == b"\xff\xda"]
    if missing >= len(scans):
        pytest.skip(f"has {len(scans)} scans")
    with pytest.raises(ImageError, match="lacks scans"):
        decode_gray(data[: scans[-missing]] + b"\xff\xd9")
    decode_gray(data)


def test_a_loop_of_pages_ends():
    data = bytearray(by_hand(ramp(256).tobytes(), {}))
    (count,) = struct.unpack_from("<H", data, 8)
    struct.pack_into("<I", data, 10 + 12 * count, 8)  # the next directory is this one
    with pytest.raises(ImageError, match="loop"):
        decode_gray(bytes(data))


@pytest.mark.parametrize("tag", [282, 283, 296, 262, 320])
@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 11, 12])
def test_a_tag_of_another_type_is_no_crash(tag, kind):
    size = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 11: 4, 12: 8}[kind]
    pixels = ramp(256).tobytes()
    data = bytearray(by_hand(pixels, {tag: 3}))
    entry = next(place for place in range(10, 400, 12) if struct.unpack_from("<H", data, place)[0] == tag)
    struct.pack_into("<HHI", data, entry, tag, kind, 1)
    if size > 4:
        struct.pack_into("<I", data, entry + 8, len(data))
        data += bytes(size)
    line = ""
    try:
        found = decode_gray(bytes(data), pixel_aspect="ignore")
    except ImageError as error:
        line = str(error)
    else:
        assert found.shape == (HEIGHT, WIDTH)
    assert "\n" not in line


def test_resolutions_far_apart_are_refused():
    stream = io.BytesIO()
    tifffile.imwrite(stream, ramp(256), resolution=(10**6, 1), resolutionunit=2)
    with pytest.raises(ImageError, match="--pixel-aspect ignore"):
        decode_gray(stream.getvalue())


def test_white_of_a_16_bit_bmp_is_white():
    data = bmp(np.full((HEIGHT, (WIDTH * 16 + 31) // 32 * 2), 0x7FFF, "<u2").tobytes(), 16, 0)
    assert decode_gray(data).min() == 255


@pytest.mark.parametrize(("compression", "word"), [(2, "fax"), (6, "old-style JPEG")])
def test_codecs_whose_damage_goes_unnoticed_are_refused(compression, word):
    with pytest.raises(ImageError, match=word):
        decode_gray(by_hand(ramp(256).tobytes(), {259: compression}))


@pytest.mark.filterwarnings("error")
def test_floats_without_a_finite_number_are_refused():
    data = write_tiff(np.full((HEIGHT, WIDTH), np.nan, np.float32))
    with pytest.raises(ImageError, match="no finite number"):
        decode_gray(data, window=(0, 1))


@pytest.mark.parametrize("beyond", [False, True])
@pytest.mark.parametrize("depth", [2, 4, 8])
def test_a_png_index_that_its_palette_lacks_is_damage(depth, beyond):
    entries = (1 << depth) - 1
    table = np.random.default_rng(depth).integers(0, 255, (entries, 3), dtype=np.uint8)
    values = np.minimum(ramp(1 << depth), entries - 1)
    data = png(values, depth, 3, chunks=((b"PLTE", table.tobytes()),))
    right_or_refused("PNG", read(data), luma(table[values]), may_refuse=False)
    if beyond:
        values[3, 5] = entries
        with pytest.raises(ImageError, match="colours that its palette lacks"):
            decode_gray(png(values, depth, 3, chunks=((b"PLTE", table.tobytes()),)))


@pytest.mark.parametrize("depth", [1, 4, 8])
def test_a_bmp_index_that_its_palette_lacks_is_damage(depth):
    entries = max(1, (1 << depth) - 1)
    table = np.random.default_rng(depth).integers(0, 255, (entries, 4), dtype=np.uint8)
    values = np.minimum(ramp(1 << depth), entries - 1)

    def written(values: np.ndarray) -> bytes:
        bits = (values[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(HEIGHT, -1).astype(np.uint8), axis=1)[::-1]
        rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
        data = bytearray(bmp(rows.tobytes(), depth, 0, masks=table.tobytes()))
        data[46:50] = struct.pack("<I", entries)
        return bytes(data)

    right_or_refused("BMP", read(written(values)), luma(table[values, 2::-1]), may_refuse=False)
    values[3, 5] = entries
    with pytest.raises(ImageError, match="colours that its palette lacks"):
        decode_gray(written(values))
