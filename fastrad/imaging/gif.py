"""GIF by giflib, a frame at a time: each as it is shown, drawn over the frames before it, on black.

giflib is strict about what other readers pass over: pixels that are missing, blocks that end early. A pixel's shape is
taken from the file.
"""

from __future__ import annotations

import cv2
import numpy as np

from fastrad.imaging.structure import MAX_PIXELS, ImageError
from fastrad.imaging.values import Values, of_bits

GIF_SIGNATURES = (b"GIF87a", b"GIF89a")
_HEADER = 13  # bytes of signature and logical screen
_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def gif_frame_count(data: bytes, name: str) -> int:
    """How many frames a GIF file holds, by its blocks.

    Raises
    ------
    ImageError
        If it is cut short or damaged.
    """
    return len(_frame_ends(data, name))


def read_gif(data: bytes, name: str, frame: int = 0) -> Values:
    """The gray values of one frame of a GIF file.

    Raises
    ------
    ImageError
        If it is damaged, too large, or lacks the frame.
    """
    import imagecodecs  # which a command that reads no GIF need not wait for

    ends = _frame_ends(data, name)
    if not 0 <= frame < len(ends):
        raise ImageError(name, f"has no frame {frame}: it has {len(ends)}")
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if not 0 < (frame + 1) * width * height <= MAX_PIXELS:
        raise ImageError(
            name, f"GIF of {width} x {height} pixels and {frame + 1} frames is refused (at most {MAX_PIXELS} pixels)"
        )
    try:
        drawn = imagecodecs.gif_decode(data[: ends[frame]] + bytes([_TRAILER]))
    except (ValueError, RuntimeError) as error:  # GifError is a RuntimeError
        raise ImageError(name, f"GIF is damaged: {error}") from None
    last = drawn[-1] if drawn.ndim == 4 else drawn
    if last.shape[:2] != (height, width):
        raise ImageError(name, "GIF decodes to another size than it declares")
    gray = cv2.cvtColor(np.ascontiguousarray(last[..., :3]), cv2.COLOR_RGB2GRAY)
    aspect = 64 / (data[12] + 15) if data[12] else 1.0  # the file has width over height (GIF89a, section 18)
    return of_bits(gray, 8, "GIF")._replace(aspect=aspect)


def _frame_ends(data: bytes, name: str) -> list[int]:
    """Where each frame's blocks end."""
    ends: list[int] = []
    position = _HEADER
    try:
        position += _table_bytes(data[10])
        while (kind := data[position]) != _TRAILER:
            if kind == _IMAGE:
                position += 10 + _table_bytes(data[position + 9]) + 1
            elif kind == _EXTENSION:
                position += 2
            else:
                raise ImageError(name, f"GIF is damaged: {kind:#04x} begins no block")
            while data[position]:
                position += 1 + data[position]
            position += 1
            if kind == _IMAGE:
                ends.append(position)
    except IndexError:
        raise ImageError(name, f"GIF is cut short ({len(data)} bytes)") from None
    if not ends:
        raise ImageError(name, "GIF is damaged: it holds no image")
    return ends


def _table_bytes(flags: int) -> int:
    """Of the colour table that a packed field announces."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
