"""TIFF and BigTIFF by tifffile and imagecodecs, strictly: what those would fill up or pass over is damage here.

Of the tags, these decide: photometric interpretation, planar arrangement, predictor, bits, sample format, compression
and extra samples. Orientation (tag 274) is ignored, as EXIF's is: pixels stay as they were acquired, as boxes and
outlines in archives assume. Resolution (282, 283) counts where its unit is inch or centimetre: then pixels may not be
square. A page beside the image is allowed where it says that it is a smaller copy.
"""

from __future__ import annotations

import io
import logging
from typing import Any

import cv2
import numpy as np

from fastrad.imaging.structure import MAX_PIXELS, ImageError
from fastrad.imaging.values import Values, of_bits

_REDUCED = 1  # of tag NewSubfileType: a smaller copy of another page
_UNASSOCIATED_ALPHA = 2  # of tag ExtraSamples
_NO_PREDICTOR = 1
_TAKES_PREDICTOR = {5, 8, 32946, 34925, 50000, 34926}  # LZW, Deflate, LZMA, Zstandard


def read_tiff(data: bytes, name: str) -> Values:
    """The gray values of a TIFF's one image.

    Raises
    ------
    ImageError
        If it is damaged, holds several images, or is of a kind that would have to be guessed.
    """
    page, image = _decode(data, name)
    bits = page.bitspersample if isinstance(page.bitspersample, int) else max(page.bitspersample)
    if page.photometric.name in ("MINISWHITE", "MINISBLACK"):
        values = _gray(page, image, bits, name)
    else:
        colour = _colour(page, image, bits, name)
        depth = 8 if colour.dtype == np.uint8 else 16
        values = of_bits(cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY), depth, "TIFF")
    return values._replace(aspect=_aspect(page))


def _aspect(page: Any) -> float:
    """Height of a pixel over its width, where both resolutions stand there with a unit of length (inch, centimetre)."""
    unit, across, down = (page.tags.get(tag) for tag in ("ResolutionUnit", "XResolution", "YResolution"))
    if unit is None or int(unit.value) not in (2, 3) or across is None or down is None:
        return 1.0
    (x, per_x), (y, per_y) = across.value, down.value
    return (x / per_x) / (y / per_y) if x > 0 and y > 0 and per_x > 0 and per_y > 0 else 1.0


def read_tiff_colour(data: bytes, name: str) -> np.ndarray | None:
    """The colours of a TIFF, (H, W, 3) RGB, uint8 or uint16; None where it is gray. Raises as `read_tiff`."""
    page, image = _decode(data, name)
    if page.photometric.name in ("MINISWHITE", "MINISBLACK"):
        return None
    return _colour(page, image, page.bitspersample, name)


def _decode(data: bytes, name: str) -> tuple[Any, np.ndarray]:
    """The page, and its samples (H, W, samples) as stored."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its lines lack the file's name; ours are below
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            pages = [page.aspage() for page in file.pages]
            whole = [page for page in pages if not int(page.subfiletype or 0) & _REDUCED]
            if len(whole) != 1:
                raise ImageError(name, "a TIFF of several pages: save each as a file of its own")
            page = whole[0]
            height, width = page.imagelength, page.imagewidth
            if height < 1 or width < 1:
                raise ImageError(name, f"TIFF declares no pixels ({width} x {height})")
            if height * width > MAX_PIXELS:
                raise ImageError(name, f"TIFF declares {width} x {height} pixels, more than {MAX_PIXELS:,}")
            if page.predictor != _NO_PREDICTOR and page.compression not in _TAKES_PREDICTOR:
                raise ImageError(name, "a TIFF with a predictor, which its compression does not take; save it as PNG")
            if page.imagedepth != 1:
                raise ImageError(name, "a TIFF of a volume: save each slice as a file of its own")
            return page, _samples(page, data, name)
    except ImageError:
        raise
    except NotImplementedError:
        raise ImageError(name, "TIFF of a kind that cannot be decoded; save it as PNG") from None
    except Exception as error:  # tifffile and the codecs raise many kinds
        raise ImageError(
            name, f"TIFF is damaged or of a kind that cannot be decoded ({type(error).__name__})"
        ) from None


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
        raise ImageError(name, f"TIFF is damaged: {error}") from None


def _gray(page: Any, image: np.ndarray, bits: int, name: str) -> Values:
    gray = image[..., 0]
    alpha = _alpha(page, image, 1)
    if alpha is not None:
        gray = _on_black(gray, alpha)
    inverted = page.photometric.name == "MINISWHITE"
    if gray.dtype.kind == "b":
        gray = gray.astype(np.uint8)
    if gray.dtype.kind == "u" and bits <= 16:
        return of_bits(gray, bits, "TIFF", inverted=inverted)
    if gray.dtype.kind not in "uif":
        raise ImageError(name, f"TIFF of {gray.dtype} values is not supported")
    return Values(gray, None, f"TIFF, {gray.dtype}", bits, inverted)


def _colour(page: Any, image: np.ndarray, bits: int | tuple[int, ...], name: str) -> np.ndarray:
    """(H, W, 3) RGB, uint8 or uint16, on black where the file declares alpha."""
    kind = page.photometric.name
    if kind == "PALETTE":
        table = np.asarray(page.colormap)  # (3, entries) uint16
        if table.ndim != 2 or image.dtype.kind not in "ub" or image.shape[2] != 1:
            raise ImageError(name, "TIFF is damaged: it has no palette for its values")
        if int(image.max(initial=0)) >= table.shape[1]:
            raise ImageError(name, "TIFF is damaged: its palette has fewer colours than it uses")
        colours = np.moveaxis(table[:, image[..., 0].astype(np.intp)], 0, -1)
        # the tag has 16 bits; what was made of 8 bits is value * 256 or value * 257, and the high byte right for both
        return np.ascontiguousarray(colours >> 8).astype(np.uint8)
    # a JPEG strip in YCbCr comes as RGB from its decoder
    if kind == "YCBCR" and page.compression != 7:
        raise ImageError(name, "TIFF in YCbCr without JPEG compression is not supported; save it as PNG")
    if kind not in ("RGB", "YCBCR") or image.shape[2] < 3:
        raise ImageError(name, f"TIFF in {kind} is not supported; save it as gray or RGB")
    if bits not in (8, 16) or image.dtype.kind != "u":
        raise ImageError(name, f"TIFF in RGB with {bits} bits ({image.dtype}) is not supported; save it with 8 or 16")
    colour = np.ascontiguousarray(image[..., :3])
    alpha = _alpha(page, image, 3)
    return colour if alpha is None else np.ascontiguousarray(_on_black(colour, alpha[..., None]))


def _alpha(page: Any, image: np.ndarray, colours: int) -> np.ndarray | None:
    """The alpha that colours were not multiplied by yet; None where there is none, or it is zero everywhere."""
    extra = [int(each) for each in page.extrasamples]
    if _UNASSOCIATED_ALPHA not in extra or image.dtype.kind != "u":
        return None
    alpha = image[..., colours + extra.index(_UNASSOCIATED_ALPHA)]
    return alpha if alpha.any() else None


def _on_black(values: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    opaque = np.iinfo(alpha.dtype).max
    return ((values.astype(np.uint64) * alpha + opaque // 2) // opaque).astype(values.dtype)
