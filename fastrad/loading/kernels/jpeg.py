"""One-component JPEG to gray pixels through libjpeg-turbo, with its return code heeded; PNG through OpenCV.

In: the bytes of an image and where the pixels go. Out: the pixels, or the reason why not. The library is the
system's, or the one that FFCV was built with; OpenCV stands in where there is neither.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np

_TJPF_GRAY = 6


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

    def __del__(self) -> None:
        self._library.tjDestroy(self._handle)

    def __call__(self, stored: np.ndarray, pixels: np.ndarray) -> str | None:
        height, width = pixels.shape
        found = [ctypes.c_int() for _ in range(4)]
        source = stored.ctypes.data
        failed = self._library.tjDecompressHeader3(self._handle, source, stored.size, *map(ctypes.byref, found))
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
