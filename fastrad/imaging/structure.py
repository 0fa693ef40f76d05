"""Whether an image file is whole, asked before it is decoded.

Decoders are lenient, so PNG is checked by its chunk chain and CRCs, JPEG by its markers up to EOI, and BMP by the
extent that it declares (TIFF: `tiff`). A declared size is judged before any memory is asked for. JPEG carries no
checksum: a byte altered inside its compressed data can't be noticed here.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass

from fastrad.errors import InputError

# 8-bit RGB plus its gray copy of this many pixels stay under half of a conversion worker's 300 MiB.
MAX_PIXELS = 1 << 25

MAX_SCANS = 100  # of a JPEG; encoders write about ten
_ALL_BITS = 255  # of a coefficient that no scan has brought yet
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNK = struct.Struct(">I4s")
# In entropy-coded data 0xFF is followed by 0x00 or a restart marker; anything else is the next marker.
_NEXT_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_JPEG_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_BMP_MASKS = {16: ((0x7C00, 0x3E0, 0x1F), (0xF800, 0x7E0, 0x1F)), 32: ((0xFF0000, 0xFF00, 0xFF),)}


class ImageError(InputError):
    """A file cannot be used as an image.

    Attributes
    ----------
    reason : str
        What is wrong, without the file's name: fit for tables that already have a path column.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason

    def __reduce__(self):  # it crosses process boundaries, and the default would lose the second argument
        return type(self), (self.name, self.reason)


@dataclass(frozen=True)
class Header:
    """What a sound file says about itself.

    Attributes
    ----------
    kind : str
        "PNG", "JPEG" or "BMP".
    width, height : int
        Pixels.
    gray_key : int or None
        The gray value, on the 8- or 16-bit scale of the decoded image, that a gray PNG declares transparent (tRNS).
    significant_bits : int or None
        What a 16-bit gray PNG declares by sBIT.
    has_alpha : bool
        Whether a fourth channel is alpha; a BMP's mostly is not.
    green_bits : int
        5 or 6 of a BMP of 16 bits a pixel, whose red and blue have 5; 0 of everything else.
    short_palette : int
        The entries of a palette that has fewer than a pixel could name; 0 of everything else.
    """

    kind: str
    width: int
    height: int
    gray_key: int | None = None
    significant_bits: int | None = None
    has_alpha: bool = True
    green_bits: int = 0
    short_palette: int = 0


def check_structure(data: bytes, name: str) -> Header:
    """Tell the kind and size of an image file, and refuse one that is damaged.

    Raises
    ------
    ImageError
        If the file is empty, of another kind, cut short, altered (PNG), or declares no pixels or more than
        `MAX_PIXELS`.
    """
    if not data:
        raise ImageError(name, "the file is empty")
    try:
        if data.startswith(PNG_SIGNATURE):
            header = _check_png(data, name)
        elif data.startswith(b"\xff\xd8"):
            header = _check_jpeg(data, name)
        elif data.startswith(b"BM"):
            header = _check_bmp(data, name)
        else:
            raise ImageError(name, "not an image (none of PNG, JPEG, BMP, TIFF, DICOM)")
    except (struct.error, IndexError):
        raise ImageError(name, "cut short inside a header") from None
    if header.width < 1 or header.height < 1:
        raise ImageError(name, f"{header.kind} declares no pixels ({header.width} x {header.height})")
    if header.width * header.height > MAX_PIXELS:
        raise ImageError(
            name, f"{header.kind} declares {header.width} x {header.height} pixels, more than {MAX_PIXELS:,}"
        )
    return header


def _check_png(data: bytes, name: str) -> Header:
    view = memoryview(data)
    position, total, transparency, significant, palette = 8, len(data), b"", b"", 0
    while True:
        if position + 12 > total:
            raise ImageError(name, "PNG is cut short (no IEND chunk)")
        length, chunk = _PNG_CHUNK.unpack_from(data, position)
        end = position + 12 + length
        if end > total:
            raise ImageError(name, f"PNG is cut short inside its {chunk.decode('latin-1')!r} chunk")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise ImageError(name, f"PNG is damaged: the CRC of its {chunk.decode('latin-1')!r} chunk is wrong")
        if position == 8 and chunk == b"CgBI":
            raise ImageError(name, "PNG in Apple's own form (CgBI) is not supported; save it as an ordinary PNG")
        if position == 8 and (chunk != b"IHDR" or length != 13):
            raise ImageError(name, "PNG is damaged: it does not begin with an IHDR chunk")
        if chunk == b"tRNS":
            transparency = data[position + 8 : end - 4]
        if chunk == b"PLTE":
            palette = length // 3
        if chunk == b"sBIT":
            significant = data[position + 8 : end - 4]
        if chunk == b"IEND":
            break
        position = end
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    gray_key = None
    if colour == 0 and len(transparency) == 2:
        gray_key = int.from_bytes(transparency, "big")
        if depth < 8:
            gray_key = gray_key * 255 // ((1 << depth) - 1)
    bits = significant[0] if significant and depth == 16 and colour in (0, 4) and 8 < significant[0] < 16 else None
    short = palette if colour == 3 and palette < 1 << depth else 0
    return Header("PNG", width, height, gray_key, bits, short_palette=short)


def _check_jpeg(data: bytes, name: str) -> Header:
    position, size, scans = 2, None, 0
    missing: dict[int, list[int]] = {}  # of a progressive file: component -> the bits still to come of each coefficient
    while True:
        found = _NEXT_JPEG_MARKER.search(data, position)
        if found is None:
            raise ImageError(name, "JPEG is cut short (no end-of-image marker)")
        marker, position = found.group(1)[0], found.end()
        if marker == 0xD9:
            break
        if marker in (0x01, 0xD8):
            continue
        (length,) = struct.unpack_from(">H", data, position)
        if marker in _JPEG_FRAME_MARKERS and size is None:
            height, width = struct.unpack_from(">HH", data, position + 3)
            size = width, height
            if marker == 0xF7:
                raise ImageError(name, "JPEG-LS is not supported outside of DICOM; save it as PNG")
            if data[position + 2] != 8:
                raise ImageError(name, f"JPEG of {data[position + 2]} bits is not supported; save it as PNG")
            if marker in (0xC2, 0xCA):
                missing = {data[position + 8]: [_ALL_BITS] * 64}  # the first component: gray, or luma
        if marker == 0xDA and missing:
            _note_scan(data, position, missing)
        scans += marker == 0xDA
        if scans > MAX_SCANS:
            raise ImageError(name, f"JPEG of more than {MAX_SCANS} scans, each of which costs a decoder's whole pass")
        position += length
    if size is None or not scans:
        raise ImageError(name, "JPEG is damaged: it holds no image")
    if any(bits for coefficients in missing.values() for bits in coefficients):
        raise ImageError(name, "JPEG is damaged: it is progressive and lacks scans")
    return Header("JPEG", *size)


def _note_scan(data: bytes, position: int, missing: dict[int, list[int]]) -> None:
    """Note which bits of which coefficients a scan brings (ISO 10918-1, B.2.3 and G.1.1.1)."""
    components = data[position + 2]
    first, last, precision = struct.unpack_from(">BBB", data, position + 3 + 2 * components)
    for number in range(components):
        coefficients = missing.get(data[position + 3 + 2 * number])
        if coefficients is not None and first <= last < 64:
            coefficients[first : last + 1] = [precision & 0x0F] * (last + 1 - first)


def _check_bmp(data: bytes, name: str) -> Header:
    pixels, info, width, height, _, depth, compression = struct.unpack_from("<IIiiHHI", data, 10)
    if info < 40:
        raise ImageError(name, "BMP with an OS/2 header is not supported; save it as PNG")
    if pixels < 14 + info:
        raise ImageError(name, "BMP is damaged: its pixels begin inside its header")
    height = abs(height)
    rows = (width * depth + 31) // 32 * 4 * height if compression in (0, 3, 6) else 0
    (declared,) = struct.unpack_from("<I", data, 2)
    if len(data) < max(pixels + rows, declared if compression in (1, 2) else 0):
        raise ImageError(name, f"BMP is cut short ({len(data)} bytes)")
    alpha = 0
    if compression in (3, 6):
        masks = struct.unpack_from("<III", data, 54)
        if masks not in _BMP_MASKS.get(depth, ()):
            raise ImageError(name, "BMP with unusual colour masks is not supported; save it as PNG")
        if info >= 56 or compression == 6:
            (alpha,) = struct.unpack_from("<I", data, 66)
    green_bits = 0
    if depth == 16:
        green_bits = 6 if compression == 3 and masks == _BMP_MASKS[16][1] else 5
    short = 0
    if depth <= 8:
        (used,) = struct.unpack_from("<I", data, 46)
        entries = min(used or 1 << depth, (pixels - 14 - info) // 4)
        short = entries if entries < 1 << depth else 0
    return Header("BMP", width, height, has_alpha=bool(alpha), green_bits=green_bits, short_palette=short)


def is_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes of a file are those of a DICOM file: "DICM" after the preamble, or, where a file has
    no preamble, a first element of group 2 or 8 of a length that its kind can have."""
    if head[128:132] == b"DICM":
        return True
    if len(head) < 12 or head[:2] not in (b"\x02\0", b"\x08\0", b"\0\x08") or 0 not in head[2:4]:
        return False
    if head[4:6].isalpha() and head[4:6].isupper():  # its value representation is stored
        return head[4:6] in (b"UL", b"OB", b"UI", b"CS", b"SH", b"LO", b"LT", b"DA", b"TM")
    return head[:1] == b"\x08" and 0 < int.from_bytes(head[4:8], "little") <= 256
