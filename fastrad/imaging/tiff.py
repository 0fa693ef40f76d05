"""TIFF and BigTIFF by tifffile and imagecodecs, strictly: what those would fill up or pass over is damage here.

Of the tags, these decide: photometric interpretation, planar arrangement, predictor, bits, sample format, compression
and extra samples. Orientation (tag 274) is ignored, as EXIF's is: pixels stay as they were acquired, as boxes and
outlines in archives assume. Resolution (282, 283) counts where its unit is inch or centimetre: then pixels may not be
square. A page beside the image is allowed where it says that it is a smaller copy.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Callable
from typing import Any, TypeVar

import cv2
import numpy as np

from fastrad.imaging.structure import MAX_PIXELS, ImageError
from fastrad.imaging.values import Values, of_bits, on_black

_REDUCED = 1  # of tag NewSubfileType: a smaller copy of another page
_UNASSOCIATED_ALPHA, _ALPHAS = 2, {1, 2}  # of tag ExtraSamples
_NO_PREDICTOR = 1
_TAKES_PREDICTOR = {5, 8, 32946, 34925, 50000, 34926}  # LZW, Deflate, LZMA, Zstandard
# Their decoders fill up what is missing or zeroed and say nothing.
_UNHEARD = {
    2: "fax (CCITT)",
    3: "fax (CCITT)",
    4: "fax (CCITT)",
    6: "old-style JPEG",
    22610: "JPEG XR",
    34934: "JPEG XR",
    50001: "WebP",
    34927: "WebP",
}
_MOST_PAGES = 4096
Found = TypeVar("Found")


def read_tiff(data: bytes, name: str) -> Values:
    """The gray values of a TIFF's one image.

    Raises
    ------
    ImageError
        If it is damaged, holds several images, or is of a kind that would have to be guessed.
    """

    def values(page: Any, image: np.ndarray) -> Values:
        bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
        if page.photometric.name in ("MINISWHITE", "MINISBLACK"):
            found = _gray(page, image, bits, name)
        else:
            colour = _colour(page, image, bits, name)
            depth = 8 if colour.dtype == np.uint8 else 16
            found = of_bits(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY), depth, "TIFF")
        return found._replace(aspect=_aspect(page))

    return _with_page(data, name, values)


def read_tiff_colour(data: bytes, name: str) -> np.ndarray | None:
    """The colours of a TIFF, (H, W, 3) RGB, uint8 or uint16; None where it is gray. Raises as `read_tiff`."""

    def colours(page: Any, image: np.ndarray) -> np.ndarray | None:
        is_gray = page.photometric.name in ("MINISWHITE", "MINISBLACK")
        return None if is_gray else _colour(page, image, page.bitspersample, name)

    return _with_page(data, name, colours)


def _with_page(data: bytes, name: str, use: Callable[[Any, np.ndarray], Found]) -> Found:
    """Call `use` with the file's one page and its samples (H, W, samples) as stored."""
    import imagecodecs  # noqa: F401 - tifffile goes on without it, and then calls sound files damaged
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its lines lack the file's name; ours are below
    _refuse_loops(data, name)
    what = ""
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = _only_page(file, name)
            what = f" (compression {int(page.compression)}, {page.bitspersample} bits)"
            _refuse_unusual(page, name)
            return use(page, _samples(page, data, name))
    except ImageError:
        raise
    except Exception:  # tifffile and the codecs raise many kinds
        raise ImageError(name, f"TIFF is damaged or of a kind that cannot be decoded{what}; save it as PNG") from None


def _refuse_loops(data: bytes, name: str) -> None:
    """Follow the chain of directories once: tifffile would follow a loop for ever."""
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    count, entry, offset, first = ("Q", 20, "Q", 8) if big else ("H", 12, "I", 4)
    seen: set[int] = set()
    try:
        (start,) = struct.unpack_from(order + offset, data, first)
        while start:
            if start in seen or len(seen) > _MOST_PAGES:
                raise ImageError(name, "TIFF is damaged: its pages form a loop, or are too many")
            seen.add(start)
            (entries,) = struct.unpack_from(order + count, data, start)
            (start,) = struct.unpack_from(order + offset, data, start + struct.calcsize(count) + entry * entries)
    except struct.error:
        raise ImageError(name, "TIFF is cut short inside its directory") from None


def _only_page(file: Any, name: str) -> Any:
    pages = [page.aspage() for page in file.pages]
    if not pages:
        raise ImageError(name, "TIFF without an image")
    whole = [page for page in pages if not int(page.subfiletype or 0) & _REDUCED] if len(pages) > 1 else pages
    if len(whole) != 1:
        raise ImageError(name, "a TIFF of several pages: save each as a file of its own")
    page = whole[0]
    height, width = page.imagelength, page.imagewidth
    if height < 1 or width < 1:
        raise ImageError(name, f"TIFF declares no pixels ({width} x {height})")
    if height * width > MAX_PIXELS:
        raise ImageError(name, f"TIFF declares {width} x {height} pixels, more than {MAX_PIXELS:,}")
    if page.imagedepth != 1 or int(np.prod(file.series[0].shape)) > int(np.prod(page.shape)):
        raise ImageError(name, "a TIFF of several images in one page: save each as a file of its own")
    return page


def _refuse_unusual(page: Any, name: str) -> None:
    if page.predictor != _NO_PREDICTOR and page.compression not in _TAKES_PREDICTOR:
        raise ImageError(name, "a TIFF with a predictor, which its compression does not take; save it as PNG")
    if page.compression in _UNHEARD:
        raise ImageError(name, f"TIFF as {_UNHEARD[page.compression]}: damage to it goes unnoticed; save it as PNG")


def _aspect(page: Any) -> float:
    """Height of a pixel over its width, where both resolutions stand there with a unit of length (inch, centimetre)."""
    unit, across, down = (page.tags.get(tag) for tag in ("ResolutionUnit", "XResolution", "YResolution"))
    if unit is None or unit.value not in (2, 3) or across is None or down is None:
        return 1.0
    x, y = (_number(tag.value) for tag in (across, down))
    return x / y if 0 < x < np.inf and 0 < y < np.inf else 1.0


def _number(value: Any) -> float:
    """A resolution, which should be a fraction and is sometimes a number; 0 for anything else."""
    if isinstance(value, tuple) and len(value) == 2 and value[1]:
        return float(value[0]) / float(value[1])
    return float(value) if isinstance(value, int | float) else 0.0


def _samples(page: Any, data: bytes, name: str) -> np.ndarray:
    """Decode strip by strip, or tile by tile, and let none of them be short."""
    planes, _, height, width, contiguous = page.shaped
    image = np.empty((planes, height, width, contiguous), dtype=page.dtype)
    tables = page.jpegtables
    segments = int(np.prod(page.chunked))
    if len(page.dataoffsets) != segments or len(page.databytecounts) != segments:
        raise ImageError(name, f"TIFF is damaged: it lists {len(page.dataoffsets)} of {segments} strips or tiles")
    for index, (start, length) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        if length < 1 or start < 8 or start + length > len(data):
            raise ImageError(name, f"TIFF is cut short ({len(data)} bytes)")
        stored = data[start : start + length]
        if page.compression == 7:  # new-style JPEG, whose decoder fills up what is missing
            _check_jpeg(stored, tables, name)
        part, (plane, _, top, left, _), (_, rows, columns, _) = page.decode(stored, index, jpegtables=tables)
        target = image[plane, top : top + rows, left : left + columns]
        part = part[0, : target.shape[0], : target.shape[1]]
        if part.shape != target.shape:
            raise ImageError(name, "TIFF is damaged: a strip or tile is short")
        target[...] = part
    return np.moveaxis(image, 0, -1).reshape(height, width, planes * contiguous)


def _check_jpeg(stored: bytes, tables: bytes | None, name: str) -> None:
    import simplejpeg

    whole = stored if tables is None else tables.removesuffix(b"\xff\xd9") + stored.removeprefix(b"\xff\xd8")
    try:
        space = simplejpeg.decode_jpeg_header(whole)[2]
        simplejpeg.decode_jpeg(whole, "CMYK" if space in ("CMYK", "YCCK") else "GRAY")
    except ValueError as error:
        if "precision" in str(error):
            raise ImageError(name, "TIFF in JPEG of other than 8 bits is not supported; save it as PNG") from None
        raise ImageError(name, f"TIFF is damaged: {error}") from None


def _gray(page: Any, image: np.ndarray, bits: int, name: str) -> Values:
    extra = [int(each) for each in page.extrasamples]
    if image.shape[2] > 1 and (len(extra) != image.shape[2] - 1 or not set(extra) <= _ALPHAS):
        raise ImageError(name, f"a gray TIFF of {image.shape[2]} samples a pixel: save each as a file of its own")
    gray = image[..., 0]
    if gray.dtype.kind == "b":
        gray = gray.astype(np.uint8)
    inverted = page.photometric.name == "MINISWHITE"
    alpha = _alpha(page, image, 1)
    if gray.dtype.kind == "u" and bits <= 16:
        opaque = (1 << bits) - 1
        if alpha is not None:  # on black, so the white end is turned over first
            gray = on_black(opaque - gray if inverted else gray, alpha, opaque)
            inverted = False
        return of_bits(gray, bits, "TIFF", inverted=inverted)
    if gray.dtype.kind not in "uif" or alpha is not None:
        kind = f"{gray.dtype} values" + (" with alpha" if alpha is not None else "")
        raise ImageError(name, f"TIFF of {kind} is not supported")
    return Values(gray, None, f"TIFF, {gray.dtype}", bits, inverted)


def _colour(page: Any, image: np.ndarray, bits: int | tuple[int, ...], name: str) -> np.ndarray:
    """(H, W, 3) RGB, uint8 or uint16, on black where the file declares alpha."""
    kind = page.photometric.name
    if kind == "PALETTE":
        table = np.asarray(page.colormap)  # (3, entries) uint16
        if image.shape[2] != 1:
            raise ImageError(name, "TIFF with a palette and further samples is not supported; save it as RGB")
        if table.ndim != 2 or image.dtype.kind not in "ub":
            raise ImageError(name, "TIFF is damaged: it has no palette for its values")
        if int(image.max(initial=0)) >= table.shape[1]:
            raise ImageError(name, "TIFF is damaged: its palette has fewer colours than it uses")
        colours = np.moveaxis(table[:, image[..., 0].astype(np.intp)], 0, -1)
        # The tag has 16 bits. What was made of 8 bits is value * 256 or value * 257, the high byte right for both; old
        # writers left 8 bits as they are, which libtiff too tells by no entry being larger.
        return np.ascontiguousarray(colours >> 8 if table.max() > 255 else colours).astype(np.uint8)
    # a JPEG strip in YCbCr comes as RGB from its decoder
    if kind == "YCBCR" and page.compression != 7:
        raise ImageError(name, "TIFF in YCbCr without JPEG compression is not supported; save it as PNG")
    if kind not in ("RGB", "YCBCR") or image.shape[2] < 3:
        raise ImageError(name, f"TIFF in {kind} is not supported; save it as gray or RGB")
    if bits not in (8, 16) or image.dtype.kind != "u":
        raise ImageError(name, f"TIFF in RGB with {bits} bits ({image.dtype}) is not supported; save it with 8 or 16")
    colour = np.ascontiguousarray(image[..., :3])
    alpha = _alpha(page, image, 3)
    if alpha is not None:
        colour = on_black(colour, alpha[..., None], np.iinfo(alpha.dtype).max)
    return np.ascontiguousarray(colour)


def _alpha(page: Any, image: np.ndarray, colours: int) -> np.ndarray | None:
    """The alpha that colours were not multiplied by yet; None where there is none, or it is zero everywhere."""
    extra = [int(each) for each in page.extrasamples]
    if _UNASSOCIATED_ALPHA not in extra:
        return None
    alpha = image[..., colours + extra.index(_UNASSOCIATED_ALPHA)]
    return alpha if alpha.any() else None
