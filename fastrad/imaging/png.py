"""The two common kinds of PNG, decoded in less than half of the time that libpng takes.

In: a file whose chunks are known to be sound. Out: its pixels, or None for whatever is not plain 8-bit gray or RGB, so
that the general decoder judges it. Inflating is ISA-L's; the row filters (PNG specification, W3C, section 9) are undone
here, since libpng has no fast form of them for one channel.
"""

from __future__ import annotations

import struct

import numpy as np
from isal import isal_zlib

from fastrad.system.compiled import compiled

_HEADER = struct.Struct(">IIBBBBB")  # width, height, depth, colour type, compression, filter, interlace
_CHANNELS = {0: 1, 2: 3}  # by colour type
# beside IHDR, IDAT and IEND, what says nothing about the stored values; all else is uncommon, or should not be there
_HARMLESS_CHUNKS = {
    b"bKGD",
    b"cHRM",
    b"eXIf",
    b"gAMA",
    b"iCCP",
    b"iTXt",
    b"pHYs",
    b"sBIT",
    b"sRGB",
    b"tEXt",
    b"tIME",
    b"zTXt",
}


def decode_png(data: bytes) -> np.ndarray | None:
    """The pixels of a plain 8-bit gray or RGB file that is not interlaced.

    Parameters
    ----------
    data : bytes
        A PNG whose chain of chunks was found whole (`check_structure`).

    Returns
    -------
    numpy.ndarray or None
        (H, W) or, in the order BGR, (H, W, 3); uint8. None for another kind of PNG, and where the image data are not
        exactly those that the header declares.
    """
    width, height, depth, colour, compression, filtering, interlace = _HEADER.unpack_from(data, 16)
    if depth != 8 or colour not in _CHANNELS or compression or filtering or interlace:
        return None
    pieces: list[memoryview] = []
    view, position, before = memoryview(data), 33, b"IHDR"
    while (kind := data[position + 4 : position + 8]) != b"IEND":
        length = int.from_bytes(data[position : position + 4], "big")
        if kind == b"IDAT" and (not pieces or before == b"IDAT"):
            pieces.append(view[position + 8 : position + 8 + length])
        elif kind not in _HARMLESS_CHUNKS:
            return None
        position, before = position + 12 + length, kind
    compressed = b"".join(pieces)
    if not compressed or compressed[0] > 0x78:  # a window larger than deflate's, which ISA-L does not mind
        return None
    stride = 1 + width * _CHANNELS[colour]
    stream = isal_zlib.decompressobj()
    try:
        filtered = stream.decompress(compressed, stride * height + 1)
    except isal_zlib.error:  # type: ignore[misc]  # its stub calls the class an instance
        return None
    if not stream.eof or len(filtered) != stride * height:
        return None
    rows = np.frombuffer(filtered, np.uint8).reshape(height, stride)
    if colour == 0:
        gray = np.empty((height, width), np.uint8)
        return gray if _unfilter_gray(rows, gray) else None
    image = np.empty((height, width, 3), np.uint8)
    return image if _unfilter_rgb(rows, image) else None


@compiled("uint8(int64, int64, int64)")
def _paeth(left, above, corner):
    """Whichever of the three is nearest to left + above - corner; on a tie the first of them."""
    from_left, from_above = abs(above - corner), abs(left - corner)
    from_corner = abs(left + above - 2 * corner)
    nearest = above if from_above <= from_corner else corner
    return left if from_left <= from_above and from_left <= from_corner else nearest


@compiled("boolean(Array(uint8, 2, 'C', readonly=True), uint8[:, ::1])")
def _unfilter_gray(rows, image):
    """Undo the filter of each row, whose first byte names it; False for one that does not exist.

    What came out for the pixel before is carried in a register: reading it back from memory is what costs libpng.
    """
    height, width = image.shape
    above = np.zeros(width, np.uint8)
    for y in range(height):
        kind, row, line = rows[y, 0], rows[y, 1:], image[y]
        left = corner = np.int64(0)
        if kind == 0:
            line[:] = row
        elif kind == 1:
            for x in range(width):
                left = (left + row[x]) & 255
                line[x] = left
        elif kind == 2:
            for x in range(width):
                line[x] = row[x] + above[x]
        elif kind == 3:
            for x in range(width):
                left = (np.int64(row[x]) + ((left + np.int64(above[x])) >> 1)) & 255
                line[x] = left
        elif kind == 4:
            for x in range(width):
                up = np.int64(above[x])
                left = (np.int64(row[x]) + _paeth(left, up, corner)) & 255
                line[x] = left
                corner = up
        else:
            return False
        above = line
    return True


@compiled("boolean(Array(uint8, 2, 'C', readonly=True), uint8[:, :, ::1])")
def _unfilter_rgb(rows, image):
    """As `_unfilter_gray`, of three channels, which come out in reverse order."""
    height, width, _ = image.shape
    above = np.zeros((width, 3), np.uint8)
    for y in range(height):
        kind, line = rows[y, 0], image[y]
        if kind > 4:
            return False
        for channel in range(3):
            left = corner = np.int64(0)
            out = 2 - channel
            for x in range(width):
                value, up = np.int64(rows[y, 1 + 3 * x + channel]), np.int64(above[x, out])
                if kind == 1:
                    value += left
                elif kind == 2:
                    value += up
                elif kind == 3:
                    value += (left + up) >> 1
                elif kind == 4:
                    value += _paeth(left, up, corner)
                left = value & 255
                corner = up
                line[x, out] = left
        above = line
    return True
