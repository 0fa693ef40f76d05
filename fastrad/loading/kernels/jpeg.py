"""One-component JPEG to gray pixels through libjpeg-turbo, with its return code heeded; PNG through OpenCV.

In: the bytes of an image and where the pixels go. Out: the pixels, or the reason why not. The library is the
system's, or the one that FFCV was built with; OpenCV stands in where there is neither.

Where a restart marker stands behind each row of blocks (ITU-T T.81, B.2.1), as fastrad writes them, `rows_alone` makes
a JPEG of some of the rows: nothing carries over from one restart interval to the next, so its pixels are those of the
whole picture, to the bit.
"""

# mypy: disable-error-code="call-overload,assignment"
# (numba's numbers are 64 bits wide whatever Python makes of them)

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numba import njit, types

_TJPF_GRAY = 6
_MEMCHR = types.ExternalFunction("memchr", types.uintp(types.uintp, types.int32, types.uintp))
BLOCK = 8  # pixels a side


def _library_paths() -> list[str]:
    paths = [path for path in (ctypes.util.find_library("turbojpeg"), "libturbojpeg.so.0") if path]
    specification = importlib.util.find_spec("ffcv")  # finds the package without importing it: that takes seconds
    if specification is not None and specification.origin:
        folder = Path(specification.origin).parents[1]
        paths += [str(path) for path in sorted(folder.glob("ffcv/_libffcv*.so")) + sorted(folder.glob("_libffcv*.so"))]
    return paths


@cache
def _library() -> ctypes.CDLL | None:
    for path in _library_paths():
        try:
            library = ctypes.CDLL(path)
            library.tjInitDecompress.restype = ctypes.c_void_p
            library.tjDestroy.argtypes = [ctypes.c_void_p]
            library.tjGetErrorStr2.argtypes = [ctypes.c_void_p]
            library.tjGetErrorStr2.restype = ctypes.c_char_p
            pointer, number = ctypes.c_void_p, ctypes.c_int
            numbers = [number] * 5
            library.tjDecompress2.argtypes = [pointer, pointer, ctypes.c_ulong, pointer, *numbers]
            library.tjDecompressHeader3.argtypes = [pointer, pointer, ctypes.c_ulong, *[ctypes.POINTER(number)] * 4]
        except (OSError, AttributeError):
            continue
        return library
    return None


class _TurboDecoder:
    """One libjpeg-turbo handle, for one thread."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._handle = library.tjInitDecompress()
        self._found = [ctypes.c_int() for _ in range(4)]
        self._where = [ctypes.byref(number) for number in self._found]

    def __del__(self) -> None:
        self._library.tjDestroy(self._handle)

    def __call__(self, stored: np.ndarray, pixels: np.ndarray) -> str | None:
        height, width = pixels.shape
        found, source = self._found, stored.ctypes.data
        failed = self._library.tjDecompressHeader3(self._handle, source, stored.size, *self._where)
        if not failed and (found[0].value, found[1].value) != (width, height):
            return f"its JPEG has {found[0].value} x {found[1].value} pixels"
        if not failed:
            target = pixels.ctypes.data
            failed = self._library.tjDecompress2(
                self._handle, source, stored.size, target, width, width, height, _TJPF_GRAY, 0
            )
        if failed:
            return f"libjpeg-turbo: {self._library.tjGetErrorStr2(self._handle).decode(errors='replace')}"
        return None


def _decode_with_opencv(stored: np.ndarray, pixels: np.ndarray) -> str | None:
    image = cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE)
    if image is None:
        return "it cannot be decoded"
    if image.shape != pixels.shape:
        return f"it has {image.shape[1]} x {image.shape[0]} pixels"
    pixels[...] = image
    return None


def decoder(encoding: str = "jpeg") -> Callable[[np.ndarray, np.ndarray], str | None]:
    """A decoder for one thread: called with the stored bytes and a contiguous (height, width) uint8 array to fill.

    It returns None, or what is wrong, and lets go of the GIL while it decodes. PNG (`encoding` "png") goes to OpenCV.
    """
    library = _library() if encoding == "jpeg" else None
    return _TurboDecoder(library) if library is not None else _decode_with_opencv


@njit(nogil=True, cache=True)
def rows_alone(stored, first, last, height, width, part):
    """Make a JPEG of rows of blocks `first` to `last` of one whose restart intervals are rows of blocks.

    Parameters
    ----------
    stored : np.ndarray
        uint8, the bytes of the whole JPEG.
    first, last : int
        Rows of blocks of 8 pixels, both among them.
    height, width : int
        Pixels that the whole one has to have.
    part : np.ndarray
        uint8, written; as long as `stored` is enough.

    Returns
    -------
    int
        Bytes written; 0 where the JPEG is not of this kind, and has to be decoded whole.
    """
    length, memory = len(stored), np.int64(stored.ctypes.data)
    if length < 4 or stored[0] != 0xFF or stored[1] != 0xD8:
        return 0
    at, frame, interval = 2, 0, 0
    while True:
        if at + 4 > length or stored[at] != 0xFF:
            return 0
        marker, segment = stored[at + 1], np.int64(stored[at + 2]) << 8 | np.int64(stored[at + 3])
        if at + 2 + segment > length:
            return 0
        if marker == 0xC0 and segment == 11:  # baseline, one component
            frame = at
        elif marker == 0xDD and segment == 4:
            interval = np.int64(stored[at + 4]) << 8 | np.int64(stored[at + 5])
        elif 0xC0 <= marker <= 0xCF and marker != 0xC4:  # another coding, or another number of components
            return 0
        at += 2 + segment
        if marker == 0xDA:
            break
    if frame == 0 or interval != (width + 7) // 8 or stored[frame + 9] != 1 or stored[frame + 11] != 0x11:
        return 0
    if np.int64(stored[frame + 5]) << 8 | np.int64(stored[frame + 6]) != height:
        return 0
    if np.int64(stored[frame + 7]) << 8 | np.int64(stored[frame + 8]) != width:
        return 0
    part[:at] = stored[:at]
    rows = min(height - first * 8, (last - first + 1) * 8)
    part[frame + 5], part[frame + 6] = rows >> 8, rows & 255
    # behind each interval a marker RST0 to RST7 in turn, behind the last one EOI
    written, row, begin = at, 0, at
    while row <= last:
        marker = np.uint8(0)
        while marker == 0:  # behind 0xFF a 0 says that it is no marker
            found = _MEMCHR(np.uintp(memory + at), np.int32(0xFF), np.uintp(length - at))
            if found == 0 or found + 1 >= memory + length:
                return 0
            at = np.int64(found) - memory
            marker = stored[at + 1]
            at += 2 * (marker == 0)
        if marker != (0xD9 if (row + 1) * 8 >= height else 0xD0 + row % 8):
            return 0
        if row >= first:
            part[written : written + at - begin] = stored[begin:at]
            written += at - begin
            part[written], part[written + 1] = 0xFF, 0xD9 if row == last else 0xD0 + (row - first) % 8
            written += 2
        at += 2
        row, begin = row + 1, at
    return written
