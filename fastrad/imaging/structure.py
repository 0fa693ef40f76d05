"""Whether an image file is whole, asked before it is decoded.

In: the bytes of a file. Out: its `Header`, or an `ImageError`. Decoders are lenient (libjpeg paints the missing rest
gray and reports success), so PNG is checked by its chunk chain and CRCs, JPEG by its markers up to EOI, and BMP and
TIFF by the extents that they declare. A declared size is judged before any memory is asked for. JPEG carries no
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

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNK = struct.Struct(">I4s")
# In entropy-coded data 0xFF is followed by 0x00 or a restart marker; anything else is the next marker.
_NEXT_JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
_JPEG_FRAME_MARKERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_TIFF_FIELD_FORMATS = {3: "H", 4: "I", 16: "Q"}


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
        "PNG", "JPEG", "BMP" or "TIFF".
    width, height : int
        Pixels.
    gray_key : int or None
        The gray value, on the 8- or 16-bit scale of the decoded image, that a gray PNG declares transparent (tRNS).
    """

    kind: str
    width: int
    height: int
    gray_key: int | None = None


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
        elif data.startswith((b"II*\x00", b"MM\x00*")):
            header = _check_tiff(data, name)
        else:
            raise ImageError(name, "not an image (none of PNG, JPEG, BMP, TIFF, DICOM)")
    except struct.error:
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
    position, total, transparency = 8, len(data), b""
    while True:
        if position + 12 > total:
            raise ImageError(name, "PNG is cut short (no IEND chunk)")
        length, chunk = _PNG_CHUNK.unpack_from(data, position)
        end = position + 12 + length
        if end > total:
            raise ImageError(name, f"PNG is cut short inside its {chunk.decode('latin-1')!r} chunk")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise ImageError(name, f"PNG is damaged: the CRC of its {chunk.decode('latin-1')!r} chunk is wrong")
        if position == 8 and (chunk != b"IHDR" or length != 13):
            raise ImageError(name, "PNG is damaged: it does not begin with an IHDR chunk")
        if chunk == b"tRNS":
            transparency = data[position + 8 : end - 4]
        if chunk == b"IEND":
            break
        position = end
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    gray_key = None
    if colour == 0 and len(transparency) == 2:
        gray_key = int.from_bytes(transparency, "big")
        if depth < 8:
            gray_key = gray_key * 255 // ((1 << depth) - 1)
    return Header("PNG", width, height, gray_key)


def _check_jpeg(data: bytes, name: str) -> Header:
    position, size, scans = 2, None, 0
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
        scans += marker == 0xDA
        position += length
    if size is None or not scans:
        raise ImageError(name, "JPEG is damaged: it holds no image")
    return Header("JPEG", *size)


def _check_bmp(data: bytes, name: str) -> Header:
    pixels, info, width, height, _, depth, compression = struct.unpack_from("<IIiiHHI", data, 10)
    if info < 40:
        raise ImageError(name, "BMP with an OS/2 header is not supported; save it as PNG")
    height = abs(height)
    rows = (width * depth + 31) // 32 * 4 * height if compression in (0, 3, 6) else 0
    (declared,) = struct.unpack_from("<I", data, 2)
    if len(data) < max(pixels + rows, declared if compression in (1, 2) else 0):
        raise ImageError(name, f"BMP is cut short ({len(data)} bytes)")
    return Header("BMP", width, height)


def _check_tiff(data: bytes, name: str) -> Header:
    order = "<" if data.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    fields: dict[int, tuple[int, ...]] = {}
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind, length = struct.unpack_from(order + "HHI", data, entry)
        if tag not in (256, 257, 273, 279, 324, 325) or kind not in _TIFF_FIELD_FORMATS:
            continue
        if length > len(data):
            raise ImageError(name, "TIFF is damaged: a field is longer than the file")
        values = f"{order}{length}{_TIFF_FIELD_FORMATS[kind]}"
        inline = struct.calcsize(values) <= 4
        start = entry + 8 if inline else struct.unpack_from(order + "I", data, entry + 8)[0]
        fields[tag] = struct.unpack_from(values, data, start)
    if not fields.get(256) or not fields.get(257):
        raise ImageError(name, "TIFF is damaged: it declares no size")
    if struct.unpack_from(order + "I", data, directory + 2 + 12 * count)[0]:
        raise ImageError(name, "a TIFF of several pages: save each as a file of its own")
    starts = fields.get(273) or fields.get(324) or ()
    lengths = fields.get(279) or fields.get(325) or ()
    if not starts or any(start + length > len(data) for start, length in zip(starts, lengths, strict=False)):
        raise ImageError(name, f"TIFF is cut short ({len(data)} bytes)")
    return Header("TIFF", fields[256][0], fields[257][0])
