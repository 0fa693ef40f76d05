"""A compressed frame: it holds what its codestream says, not what the DICOM header claims, and is looked at first.

In: a frame's bytes (JPEG, JPEG-LS, JPEG 2000 and HTJ2K, in a JP2 file or not). Out: its samples as they are stored, and
what the codestream says of their number, bits and colours. Decoders are strict libraries that raise: libjpeg-turbo by
simplejpeg, whose warnings are errors, and for what that lacks (more than 8 bits, lossless) by imagecodecs; CharLS;
OpenJPEG.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from fastrad.imaging.structure import MAX_SCANS

JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"
JPEG = b"\xff\xd8"
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # ISO 10918-1 table B.1; 0xF7 is JPEG-LS's
_LOSSY, _LOSSLESS, _JPEG_LS = (0xC0, 0xC1, 0xC2), 0xC3, 0xF7
_START_OF_SCAN = 0xDA
_SIZES = struct.Struct(">HHIIIIIIIIH")  # ISO 15444-1 A.5.1: Lsiz, Rsiz, then sizes and offsets of image and tiles
_CODING_STYLE, _START_OF_TILE = 0xFF52, 0xFF90
_JP2_SRGB, _JP2_GRAY, _JP2_SYCC = 16, 17, 18


class CodestreamError(ValueError):
    """A frame cannot be decoded, or contradicts itself; the text is ours."""


@dataclass(frozen=True)
class Description:
    """What a codestream says of itself.

    Attributes
    ----------
    kind : str
        "JPEG", "lossless JPEG", "JPEG-LS" or "JPEG 2000".
    rows, columns, components : int
    bits : int
        Of a sample.
    signed : bool
    colours : frozenset of str
        What it says of three components: "RGB", "YBR", both where it contradicts itself, nothing where it is silent.
    subsampled : bool
    """

    kind: str
    rows: int
    columns: int
    components: int
    bits: int
    signed: bool = False
    colours: frozenset[str] = frozenset()
    subsampled: bool = False


def unwrapped(frame: bytes) -> tuple[bytes, frozenset[str]]:
    """The codestream out of a JP2 file, and the colours that the file declares; any other frame as it is.

    Raises
    ------
    CodestreamError
        If the JP2 file has no codestream, or a palette.
    """
    if not frame.startswith(JP2_SIGNATURE):
        return frame, frozenset()
    colours: frozenset[str] = frozenset()
    for kind, start, end in _boxes(frame, 0, len(frame)):
        if kind == b"jp2h":
            for inner, first, last in _boxes(frame, start, end):
                if inner in (b"pclr", b"cmap"):
                    raise CodestreamError("JP2 with a palette")
                if inner == b"colr" and last - first >= 7 and frame[first] == 1:
                    space = int.from_bytes(frame[first + 3 : first + 7], "big")
                    colours |= {_JP2_SRGB: {"RGB"}, _JP2_SYCC: {"YBR"}}.get(space, set())
        if kind == b"jp2c":
            return frame[start:end], colours
    raise CodestreamError("JP2 without a codestream")


def _boxes(frame: bytes, position: int, end: int) -> list[tuple[bytes, int, int]]:
    found = []
    while position + 8 <= end:
        length, kind = struct.unpack_from(">I4s", frame, position)
        start = position + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", frame, start)
            start += 8
        last = end if length == 0 else position + length
        if last < start or last > end:
            if kind != b"jp2c":
                raise CodestreamError("JP2 boxes that do not fit")
            last = end
        found.append((kind, start, last))
        position = last
    return found


def describe(frame: bytes) -> Description:
    """Read a codestream's head.

    Raises
    ------
    CodestreamError
        If it is none of the kinds known, or damaged there.
    """
    try:
        if frame.startswith(CODESTREAM):
            return _describe_jpeg2000(frame)
        if frame.startswith(JPEG):
            return _describe_jpeg(frame)
    except (struct.error, IndexError):
        raise CodestreamError("cut short") from None
    raise CodestreamError("of no kind known")


def _describe_jpeg(frame: bytes) -> Description:
    """Walk the segments up to the first scan."""
    position, found = 2, None
    markers: set[str] = set()
    while True:
        while frame[position : position + 2] == b"\xff\xff":  # fill bytes
            position += 1
        if position + 4 > len(frame) or frame[position] != 0xFF:
            raise CodestreamError("damaged: a segment does not follow the one before")
        marker, (length,) = frame[position + 1], struct.unpack_from(">H", frame, position + 2)
        content = frame[position + 4 : position + 2 + length]
        if length < 2 or len(content) < length - 2:
            raise CodestreamError("cut short")
        if marker == 0xE0 and content.startswith(b"JFIF"):
            markers.add("YBR")
        if marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12:
            markers.add({0: "RGB", 1: "YBR"}.get(content[11], "unknown"))
        if marker in _FRAME_MARKERS:
            if found:
                raise CodestreamError("of several frames")
            precision, rows, columns, components = struct.unpack_from(">BHHB", content)
            if len(content) < 6 + 3 * components or not 1 <= components <= 4:
                raise CodestreamError("cut short")
            parts = [content[6 + 3 * k : 9 + 3 * k] for k in range(components)]
            found = marker, rows, columns, precision, parts
        if marker == _START_OF_SCAN:
            if found is None or length < 6:
                raise CodestreamError("a scan without a frame")
            return _jpeg_description(*found, markers)
        position += 2 + length


def _jpeg_description(
    marker: int, rows: int, columns: int, bits: int, parts: list[bytes], markers: set[str]
) -> Description:
    if marker in _LOSSY:
        kind = "JPEG"
    elif marker in (_LOSSLESS, _JPEG_LS):
        kind = "lossless JPEG" if marker == _LOSSLESS else "JPEG-LS"
    else:
        raise CodestreamError("arithmetic or hierarchical JPEG")
    identifiers = bytes(part[0] for part in parts)
    sampling = {part[1] for part in parts}
    if len(parts) == 1:
        return Description(kind, rows, columns, 1, bits)
    colours = set(markers)
    if identifiers in (b"RGB", b"rgb"):
        colours.add("RGB")
    if len(sampling) > 1:  # nobody subsamples red or blue
        colours.add("YBR")
    return Description(kind, rows, columns, len(parts), bits, False, frozenset(colours), len(sampling) > 1)


def _describe_jpeg2000(frame: bytes) -> Description:
    length, _, right, bottom, left, top, width, height, _, _, components = _SIZES.unpack_from(frame, 4)
    described = frame[4 + _SIZES.size : 4 + length]
    if len(described) != 3 * components or not components or not width or not height:
        raise CodestreamError("cut short")
    depths = {described[k] for k in range(0, len(described), 3)}
    subsampled = any(described[k + 1 : k + 3] != b"\1\1" for k in range(0, len(described), 3))
    if len(depths) > 1 or subsampled:
        raise CodestreamError("JPEG 2000 whose components differ in bits or size")
    colours = frozenset({"RGB"}) if components == 3 and _has_component_transform(frame, 4 + length) else frozenset()
    (depth,) = depths
    bits, signed = (depth & 0x7F) + 1, bool(depth & 0x80)
    return Description("JPEG 2000", bottom - top, right - left, components, bits, signed, colours)


def _has_component_transform(frame: bytes, position: int) -> bool:
    """Whether the main header's coding style (ISO 15444-1 A.6.1) names a multiple component transform."""
    while True:
        marker, length = struct.unpack_from(">HH", frame, position)
        if marker == _CODING_STYLE:
            return frame[position + 8] == 1
        if marker == _START_OF_TILE or length < 2:
            raise CodestreamError("JPEG 2000 without a coding style")
        position += 2 + length


def decode(frame: bytes, description: Description) -> np.ndarray:
    """The samples, (H, W) or (H, W, components): JPEG's as stored, JPEG 2000's with their component transform undone.

    Raises
    ------
    CodestreamError
        If the decoder complains, or gives another size than the head declares.
    """
    try:
        if description.kind == "JPEG 2000":
            import imagecodecs

            image = imagecodecs.jpeg2k_decode(frame, numthreads=1)
        elif description.kind == "JPEG-LS":
            import imagecodecs

            if not frame.rstrip(b"\0").endswith(b"\xff\xd9"):  # over which CharLS may think for ten seconds
                raise CodestreamError("cut short: it has no end")
            image = imagecodecs.jpegls_decode(frame)
        else:
            image = _decode_jpeg(frame, description)
    except CodestreamError:
        raise
    except Exception:  # each library has its own kinds, and their texts say little
        raise CodestreamError("damaged, or of a kind that its decoder does not know") from None
    components = 1 if image.ndim == 2 else image.shape[2]
    if (*image.shape[:2], components) != (description.rows, description.columns, description.components):
        raise CodestreamError("damaged: it decodes to another size than it declares")
    return np.ascontiguousarray(image.reshape(image.shape[:2]) if components == 1 else image)


def _decode_jpeg(frame: bytes, description: Description) -> np.ndarray:
    if frame.count(b"\xff\xda") > MAX_SCANS:
        raise CodestreamError(f"of more than {MAX_SCANS} scans")
    if description.kind == "JPEG" and description.bits == 8:
        import simplejpeg

        try:
            gray = simplejpeg.decode_jpeg(frame, "GRAY")[..., 0]
        except ValueError as error:
            if "subsampling" not in str(error):
                raise
        else:
            return gray if description.components == 1 else _components(frame)
    image = _components(frame) if description.components > 1 else _samples(frame)
    _check_use_of_scan(frame, image, description.components)
    return image


def _samples(frame: bytes) -> np.ndarray:
    import imagecodecs

    return imagecodecs.jpeg8_decode(frame)


def _components(frame: bytes) -> np.ndarray:
    """Three components as they are stored: with one colour space in and out nothing is converted."""
    import imagecodecs

    return imagecodecs.jpeg8_decode(frame, colorspace="YCBCR", outcolorspace="YCBCR")


def _check_use_of_scan(frame: bytes, image: np.ndarray, components: int) -> None:
    """Refuse a frame whose decoder read past its end: libjpeg fills up what is missing, and imagecodecs hears nothing.

    Zeros and ones after the data must give the same image; zeros and ones in place of its last bytes must not. A real
    scanner's frame has 4 bytes more than are read, so that those are the last 16.
    """
    end = frame.rfind(b"\xff\xd9")
    if end < 0:
        raise CodestreamError("cut short: it has no end")
    read = _components if components > 1 else _samples
    content = frame[:end].rstrip(b"\xff")

    def is_same_with(tail: bytes, kept: bytes) -> bool:
        return np.array_equal(image, read(kept.removesuffix(b"\xff") + tail + b"\xff\xd9"))

    zeros, ones = b"\0" * 64, b"\xff\0" * 64
    if not is_same_with(ones, content):  # libjpeg itself fills up with zeros
        raise CodestreamError("damaged: its data end too early")
    if is_same_with(ones, content[:-16]) and is_same_with(zeros, content[:-16]):
        raise CodestreamError("damaged: its data end too late")
