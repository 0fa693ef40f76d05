"""Still images in every encoding that the libraries at hand write, read by fastrad and by an independent reader.

What is expected is worked out from the values that were written, by Pillow or by hand; where a codec loses something,
from what another decoder makes of it.
"""

from __future__ import annotations

import io
import itertools
import struct
import zlib

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from matrix import right_or_refused
from PIL import Image

from fastrad.imaging import decode_gray

HEIGHT, WIDTH = 37, 53  # neither a multiple of a tile, of 8, nor of each other


def ramp(levels: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A smooth picture with an edge and a corner mark, of values 0 to `levels` - 1."""
    y, x = np.mgrid[0:height, 0:width]
    picture = (0.5 + 0.35 * np.sin(x / 7) * np.cos(y / 5) + 0.1 * (x > width // 2)).clip(0, 1)
    picture[:4, :9] = 0
    picture[-3:, -5:] = 1
    return np.rint(picture * (levels - 1)).astype(np.uint16 if levels > 256 else np.uint8)


def colours() -> np.ndarray:
    """(H, W, 3) uint8 with saturated and gray areas."""
    base = ramp(256).astype(int)
    return np.dstack([base, np.roll(base, 9, axis=1), 255 - base]).astype(np.uint8)


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.601, by hand."""
    return np.rint(rgb.astype(float) @ [0.299, 0.587, 0.114])


def eight(values: np.ndarray, top: int) -> np.ndarray:
    """Values 0 to `top` as 0 to 255."""
    return np.rint(values.astype(float) * 255 / top)


def read(data: bytes, **options):
    return lambda: decode_gray(data, **options)


# TIFF

LOSSLESS = ("none", "lzw", "zlib", "adobe_deflate", "packbits", "lzma", "zstd", "png", "jpeg2000", "webp", "jpegxl")
LAYOUTS = {
    "one strip": {},
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 32)},
    "large tiles": {"tile": (64, 64)},
}


def write_tiff(array: np.ndarray, **options) -> bytes:
    """By tifffile; skips what it cannot write."""
    stream = io.BytesIO()
    try:
        tifffile.imwrite(stream, array, metadata=None, **options)
    except (ValueError, NotImplementedError, KeyError, RuntimeError) as error:
        pytest.skip(f"tifffile does not write it: {error}")
    return stream.getvalue()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("white_is_zero", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_gray_tiff(bits, white_is_zero, compression, layout):
    values = ramp(1 << bits)
    options = {**LAYOUTS[layout], "compression": None if compression == "none" else compression}
    if compression in ("jpeg2000", "jpegxl", "webp"):
        options["compressionargs"] = {"lossless": True} if compression != "jpeg2000" else {"reversible": True}
    data = write_tiff(values, photometric="miniswhite" if white_is_zero else "minisblack", **options)
    top = (1 << bits) - 1
    expected = eight(top - values.astype(int) if white_is_zero else values, top)
    right_or_refused("TIFF, gray", read(data), expected)


@pytest.mark.parametrize(
    ("predictor", "bits", "big", "order"),
    list(itertools.product([1, 2], [8, 16], [False, True], ["<", ">"])),
)
def test_gray_tiff_with_predictor_in_both_orders_and_sizes(predictor, bits, big, order):
    values = ramp(1 << bits)
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, bigtiff=big, byteorder=order) as writer:
        writer.write(values, compression="zlib", predictor=predictor, rowsperstrip=7, metadata=None)
    right_or_refused("TIFF, gray", read(stream.getvalue()), eight(values, (1 << bits) - 1), may_refuse=False)


@pytest.mark.parametrize("bits", [1, 2, 4, 10, 12, 14])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_packed_tiff(bits, white_is_zero):
    """Written by hand: tifffile writes packed integers of one bit only."""
    values = ramp(1 << bits)
    rows = [
        np.packbits(((row[:, None].astype(int) >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).ravel())
        for row in values
    ]
    data = by_hand(b"".join(row.tobytes() for row in rows), {258: bits, 262: 0 if white_is_zero else 1})
    top = (1 << bits) - 1
    expected = eight(top - values.astype(int) if white_is_zero else values, top)
    right_or_refused("TIFF, packed", read(data), expected)


def by_hand(pixels: bytes, tags: dict[int, int], *, height: int = HEIGHT, width: int = WIDTH) -> bytes:
    """A little-endian TIFF of one strip with these tags; values longer than one lie behind the directory."""
    fields = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1, 278: height, **tags}
    count = len(fields) + 2
    behind = 8 + 2 + count * 12 + 4
    extra = b""
    entries = {}
    for tag, value in fields.items():
        if isinstance(value, tuple):
            entries[tag] = (3, len(value), behind + len(extra)) if len(value) > 2 else (3, len(value), value)
            extra += struct.pack(f"<{len(value)}H", *value) if len(value) > 2 else b""
        else:
            entries[tag] = (4 if tag in (256, 257) else 3, 1, value)
    entries[273] = (4, 1, behind + len(extra))
    entries[279] = (4, 1, len(pixels))
    body = b""
    for tag, (kind, number, value) in sorted(entries.items()):
        packed = struct.pack("<HH", *(*value, 0)[:2]) if isinstance(value, tuple) else struct.pack("<I", value)
        body += struct.pack("<HHI", tag, kind, number) + packed
    return b"II*\0" + struct.pack("<IH", 8, count) + body + b"\0\0\0\0" + extra + pixels


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", LOSSLESS)
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_rgb_tiff(planar, compression, layout):
    rgb = colours()
    options = {**LAYOUTS[layout], "compression": None if compression == "none" else compression}
    if compression in ("jpeg2000", "jpegxl", "webp"):
        options["compressionargs"] = {"lossless": True} if compression != "jpeg2000" else {"reversible": True}
    written = np.moveaxis(rgb, -1, 0) if planar == "separate" else rgb
    data = write_tiff(written, photometric="rgb", planarconfig=planar, **options)
    right_or_refused("TIFF, colour", read(data), luma(rgb))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("extra", "alpha", "seen"),
    [
        ("unspecified", 0, "colours"),
        ("unspecified", 200, "colours"),
        ("unassalpha", 0, "colours"),
        ("unassalpha", 128, "on black"),
        ("unassalpha", 255, "colours"),
        ("assocalpha", 128, "colours"),
    ],
)
@pytest.mark.parametrize("gray", [False, True])
def test_fourth_channel_of_tiff(gray, extra, alpha, seen, bits):
    rgb = np.repeat(ramp(256)[..., None], 3, axis=2) if gray else colours()
    scale = 257 if bits == 16 else 1
    kind = np.uint16 if bits == 16 else np.uint8
    channels = rgb[..., :1] if gray else rgb
    written = np.dstack([channels, np.full(rgb.shape[:2], alpha, np.uint8)]).astype(kind) * kind(scale)
    data = write_tiff(written, photometric="minisblack" if gray else "rgb", extrasamples=[extra], planarconfig="contig")
    expected = luma(rgb) * (alpha / 255 if seen == "on black" else 1)
    right_or_refused("TIFF, alpha", read(data), expected)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palette_tiff(bits):
    values = ramp(1 << bits)
    table = np.random.default_rng(0).integers(0, 255, (3, 1 << bits), dtype=np.uint16) * 257
    if bits == 8:
        data = write_tiff(values, photometric="palette", colormap=table)
    else:
        rows = [
            np.packbits(((row[:, None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8).ravel()) for row in values
        ]
        tags = {258: bits, 262: 3, 320: tuple(table.ravel().tolist())}
        data = by_hand(b"".join(row.tobytes() for row in rows), tags)
    rgb = np.moveaxis(table[:, values] >> 8, 0, -1)
    right_or_refused("TIFF, palette", read(data), luma(rgb))


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2), (2, 1)])
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_jpeg_in_tiff(subsampling, tile):
    rgb = colours()
    data = write_tiff(
        rgb, photometric="rgb", compression="jpeg", tile=tile, subsampling=subsampling, compressionargs={"level": 95}
    )
    expected = luma(tifffile.imread(io.BytesIO(data)))
    right_or_refused("TIFF, JPEG", read(data), expected, tolerance=2)


@pytest.mark.parametrize("photometric", ["separated", "cielab", "icclab", "logl", "cfa"])
def test_other_photometric_interpretations_are_refused(photometric):
    number = {"separated": 5, "cielab": 8, "icclab": 9, "logl": 32844, "cfa": 32803}[photometric]
    channels = {"separated": 4, "cielab": 3, "icclab": 3, "logl": 1, "cfa": 1}[photometric]
    pixels = np.repeat(ramp(256)[..., None], channels, axis=2).tobytes()
    bits = (8,) * channels if channels > 1 else 8
    data = by_hand(pixels, {258: bits, 262: number, 277: channels})
    assert right_or_refused("TIFF, colour", read(data), ramp(256)) == "refused"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_ignored(orientation):
    data = by_hand(ramp(256).tobytes(), {274: orientation})
    right_or_refused("TIFF, gray", read(data), ramp(256), may_refuse=False)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint32", "int32", "float16", "float32", "float64"])
def test_values_without_a_range_need_a_window(dtype):
    values = (ramp(256).astype(float) - 100).clip(0 if dtype.startswith("u") else None).astype(dtype)
    data = write_tiff(values)
    right_or_refused("TIFF, other types", read(data), values)
    low, high = (0, 150) if dtype.startswith("u") else (-100, 155)
    shown = np.rint((values.astype(float) - low) * 255 / (high - low)).clip(0, 255)
    right_or_refused("TIFF, other types", read(data, window=(low, high)), shown)


@pytest.mark.parametrize("compression", ["none", "lzw", "zlib", "packbits", "zstd", "jpeg", "png", "jpeg2000"])
@pytest.mark.parametrize("damage", ["cut", "zeroed", "missing strip", "short strip"])
def test_a_damaged_strip_is_damage(compression, damage):
    values = ramp(256, 64, 64)
    options = {"compression": None if compression == "none" else compression, "rowsperstrip": 16}
    data = bytearray(write_tiff(values, photometric="minisblack", **options))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        page = file.pages[0]
        start, length = page.dataoffsets[1], page.databytecounts[1]
        where = page.tags[279].valueoffset
        kind = "<H" if page.tags[279].dtype == 3 else "<I"
    if damage == "cut":
        data = data[: start + length // 2]
    elif damage == "zeroed":
        if compression in ("none", "packbits", "lzw", "jpeg2000"):
            pytest.skip("zeros are data to it, and it has no checksum")
        data[start + length // 3 : start + length - 2] = bytes(length - 2 - length // 3)
    else:
        struct.pack_into(kind, data, where + struct.calcsize(kind), 0 if damage == "missing strip" else length // 2)
    assert right_or_refused("TIFF, damaged", read(bytes(data)), values) == "refused"


# PNG


def png(values: np.ndarray, depth: int, colour: int, *, chunks: tuple = (), filtering: int = 0) -> bytes:
    """By hand, from samples (H, W) or (H, W, C); rows of less than 8 bits are packed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    lines = []
    for row in values.reshape(height, -1):
        if depth < 8:
            bits = ((row[:, None].astype(int) >> np.arange(depth - 1, -1, -1)) & 1).astype(np.uint8)
            packed = np.packbits(bits.ravel()).tobytes()
        else:
            packed = row.astype(">u2" if depth == 16 else "u1").tobytes()
        lines.append(bytes([filtering]) + packed)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join(chunk(kind, data) for kind, data in chunks)
    pixels = chunk(b"IDAT", zlib.compress(b"".join(lines)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + pixels + chunk(b"IEND", b"")


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_gray_png(depth):
    values = ramp(1 << depth)
    right_or_refused("PNG", read(png(values, depth, 0)), eight(values, (1 << depth) - 1), may_refuse=False)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("alpha", [None, 0, 128, 255])
@pytest.mark.parametrize("gray", [False, True])
def test_colour_and_alpha_png(gray, alpha, depth):
    rgb = np.repeat(ramp(256)[..., None], 3, axis=2) if gray else colours()
    channels = rgb[..., :1] if gray else rgb
    layers = [channels] if alpha is None else [channels, np.full((*rgb.shape[:2], 1), alpha, np.uint8)]
    values = np.concatenate(layers, axis=2).astype(np.uint16) * (257 if depth == 16 else 1)
    kind = (0 if gray else 2) + (0 if alpha is None else 4)
    expected = luma(rgb) * (1 if alpha in (None, 0) else alpha / 255)
    right_or_refused("PNG", read(png(values, depth, kind)), expected, may_refuse=False)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("transparent", [False, True])
def test_palette_png(depth, transparent):
    values = ramp(1 << depth)
    table = np.random.default_rng(depth).integers(0, 255, (1 << depth, 3), dtype=np.uint8)
    chunks = [(b"PLTE", table.tobytes())]
    weight = np.ones(1 << depth)
    if transparent:
        chunks.append((b"tRNS", bytes([0, 128])))
        weight[:2] = 0, 128 / 255
    data = png(values, depth, 3, chunks=tuple(chunks))
    right_or_refused("PNG", read(data), luma(table[values]) * weight[values])


@pytest.mark.parametrize("bits", range(9, 17))
@pytest.mark.parametrize("scaled", [False, True])
def test_16_bit_png_with_significant_bits(bits, scaled):
    values = ramp(1 << bits).astype(np.uint32)
    stored = values * 65535 // ((1 << bits) - 1) if scaled else values
    data = png(stored, 16, 0, chunks=((b"sBIT", bytes([bits])),))
    expected = eight(values, (1 << bits) - 1)
    right_or_refused("PNG", read(data), expected, may_refuse=scaled)
    if scaled:  # a dark one would look like values of so many bits: none is guessed
        assert bits == 16 or right_or_refused("PNG", read(data), expected) == "refused"
        right_or_refused("PNG", read(data, window=(0, 65535)), expected, may_refuse=False)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_pillows_png(mode):
    stream = io.BytesIO()
    picture = Image.fromarray(ramp(65536)) if mode == "I;16" else Image.fromarray(colours()).convert(mode)
    picture.save(stream, "PNG")
    expected = eight(ramp(65536), 65535) if mode == "I;16" else luma(np.asarray(picture.convert("RGB")))
    right_or_refused("PNG", read(stream.getvalue()), expected, may_refuse=False)


# JPEG


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize("space", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("restart", [0, 3])
def test_jpeg(restart, subsampling, space, optimised, progressive):
    stream = io.BytesIO()
    picture = Image.fromarray(colours()).convert(space)
    options = {} if space == "L" else {"subsampling": subsampling}
    picture.save(
        stream,
        "JPEG",
        quality=92,
        progressive=progressive,
        optimize=optimised,
        restart_marker_rows=restart,
        **options,
    )
    with Image.open(io.BytesIO(stream.getvalue())) as again:
        if space == "RGB":
            again.draft("L", None)  # the luma that it stores
            expected = np.asarray(again.convert("L"))
        else:
            expected = np.asarray(again.convert("RGB").convert("L"))
    right_or_refused("JPEG", read(stream.getvalue()), expected)


@pytest.mark.parametrize("space", ["RGB", "YCBCR"])
def test_jpeg_whose_components_are_rgb(space):
    data = imagecodecs.jpeg8_encode(colours(), level=98, colorspace="RGB", outcolorspace=space)
    right_or_refused("JPEG", read(data), luma(imagecodecs.jpeg8_decode(data)), tolerance=2, may_refuse=False)


@pytest.mark.parametrize("bits", [12])
def test_jpeg_of_12_bits(bits):
    data = imagecodecs.jpeg8_encode(ramp(1 << bits), level=95, bitspersample=bits)
    right_or_refused("JPEG", read(data), eight(imagecodecs.jpeg8_decode(data), (1 << bits) - 1))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("restart", [0, 1])
@pytest.mark.parametrize("damage", ["cut and closed", "cut", "zeros", "zeros to the end", "noise", "lost restart"])
def test_damaged_jpeg(damage, restart, progressive):
    stream = io.BytesIO()
    picture = Image.fromarray(np.random.default_rng(0).integers(60, 250, (64, 64), dtype=np.uint8))
    picture.save(stream, "JPEG", quality=90, progressive=progressive, restart_marker_rows=restart)
    data = stream.getvalue()
    scan = data.index(b"\xff\xda") + 14
    middle = scan + (len(data) - scan) // 2
    if damage == "cut and closed":
        data = data[:middle] + b"\xff\xd9"
    elif damage == "cut":
        data = data[:middle]
    elif damage == "zeros":
        data = data[:middle] + bytes(200) + data[middle + 200 :]
    elif damage == "zeros to the end":
        data = data[:middle] + bytes(len(data) - middle - 2) + b"\xff\xd9"
    elif damage == "noise":
        noise = np.random.default_rng(1).integers(1, 254, 300, dtype=np.uint8).tobytes()
        data = data[:middle] + noise + data[middle + 300 :]
    else:
        if not restart:
            pytest.skip("has no restart markers")
        place = data.index(b"\xff\xd3", scan)
        data = data[:place] + data[place + 2 :]
    with Image.open(io.BytesIO(stream.getvalue())) as sound:
        right_or_refused("JPEG, damaged", read(data), np.asarray(sound))


# BMP


def bmp(
    pixels: bytes, depth: int, compression: int, *, masks: bytes = b"", info: int = 40, table: bytes = b""
) -> bytes:
    """By hand, bottom up; `masks` follow the 40 bytes of the header, inside it where `info` is larger."""
    header = struct.pack("<IiiHHIIiiII", info, WIDTH, HEIGHT, 1, depth, compression, len(pixels), 2835, 2835, 0, 0)
    header = (header + masks).ljust(max(info, 40 + len(masks)), b"\0")
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + pixels


@pytest.mark.parametrize("fourth", [0, 77, 255])
@pytest.mark.parametrize("kind", ["BI_RGB", "three masks", "four masks, none for alpha", "alpha mask", "V4 with alpha"])
def test_bmp_of_32_bits(kind, fourth):
    rgb = colours()
    pixels = np.dstack([rgb[..., ::-1], np.full(rgb.shape[:2], fourth, np.uint8)])[::-1].tobytes()
    masks = struct.pack("<III", 0xFF0000, 0xFF00, 0xFF)
    alpha = struct.pack("<I", 0xFF000000)
    data = {
        "BI_RGB": lambda: bmp(pixels, 32, 0),
        "three masks": lambda: bmp(pixels, 32, 3, masks=masks),
        "four masks, none for alpha": lambda: bmp(pixels, 32, 3, masks=masks + bytes(4), info=56),
        "alpha mask": lambda: bmp(pixels, 32, 3, masks=masks + alpha, info=56),
        "V4 with alpha": lambda: bmp(pixels, 32, 3, masks=masks + alpha, info=108),
    }[kind]()
    is_alpha = "alpha" in kind and "none" not in kind and fourth
    right_or_refused("BMP", read(data), luma(rgb) * (fourth / 255 if is_alpha else 1))


@pytest.mark.parametrize("masks", [(0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F), (0x1F, 0x7E0, 0xF800)])
def test_bmp_of_16_bits(masks):
    rgb = colours().astype(int)
    packed = np.zeros(rgb.shape[:2], dtype=np.uint32)
    shown = np.zeros(rgb.shape)
    for channel, mask in enumerate(masks):
        shift, width = (mask & -mask).bit_length() - 1, bin(mask).count("1")
        part = rgb[..., channel] >> (8 - width)
        packed |= (part << shift).astype(np.uint32)
        shown[..., channel] = part * 255 / ((1 << width) - 1)
    rows = np.zeros((HEIGHT, (WIDTH * 16 + 31) // 32 * 2), dtype="<u2")
    rows[:, :WIDTH] = packed
    data = bmp(rows[::-1].tobytes(), 16, 3, masks=struct.pack("<III", *masks))
    right_or_refused("BMP", read(data), luma(shown), tolerance=2)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_pillows_bmp(mode):
    stream = io.BytesIO()
    picture = Image.fromarray(colours()).convert(mode)
    picture.save(stream, "BMP")
    right_or_refused("BMP", read(stream.getvalue()), luma(np.asarray(picture.convert("RGB"))))


def test_opencvs_files_are_what_was_written():
    """Another writer: the fast and the general path meet files that are not by hand or by Pillow."""
    for suffix, values, top in ((".png", ramp(256), 255), (".png", ramp(65536), 65535), (".bmp", ramp(256), 255)):
        _, encoded = cv2.imencode(suffix, values)
        right_or_refused("PNG" if suffix == ".png" else "BMP", read(encoded.tobytes()), eight(values, top))
