"""How many frames an image file holds, and which of them can be read: by its content, for a clip may have any name.

In: a file. Out: a count. Only the beginning of a still image is read.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fastrad.errors import InputError
from fastrad.imaging.gif import GIF_SIGNATURES, gif_frame_count
from fastrad.imaging.structure import PNG_SIGNATURE, is_dicom
from fastrad.system.reading import without_waiting

_HEAD = 132
_MOST_PARTS = 1000  # chunks or segments before the pixels
_NUMBER_OF_IMAGES = 0xB001  # tag of CIPA DC-007, Multi-Picture Format


class Frames(NamedTuple):
    """What a file holds.

    Attributes
    ----------
    held : int
        Frames or pictures.
    choosable : bool
        Whether any of them can be read: not of PNG (APNG) and JPEG (MPO), of which the first alone is read.
    dicom : bool
    """

    held: int = 1
    choosable: bool = True
    dicom: bool = False


def frames_of(path: Path | str) -> Frames:
    """How many frames a file holds; one where it cannot be told.

    Raises
    ------
    InputError
        If it is DICOM or GIF and damaged.
    OSError
        If it cannot be read.
    """
    # a named pipe would otherwise keep the reader waiting
    with open(path, "rb", opener=without_waiting) as file:
        head = file.read(_HEAD) or b""
        if is_dicom(head):
            from fastrad.imaging.dicom import frame_count

            return Frames(frame_count(file, name=str(path)), dicom=True)
        if head.startswith(GIF_SIGNATURES):
            return Frames(gif_frame_count(head + file.read(), str(path)))
        if head.startswith(PNG_SIGNATURE):
            return Frames(_pictures_of_png(file), choosable=False)
        if head.startswith(b"\xff\xd8"):
            return Frames(_pictures_of_jpeg(file), choosable=False)
    return Frames()


def first_frames_alone(paths: Iterable[Path]) -> tuple[int, int]:
    """Of how many files with several frames the first alone is taken, and how many frames they hold.

    Files that cannot be read count for nothing.
    """
    files = frames = 0
    for path in paths:
        with suppress(InputError, OSError):
            if (held := frames_of(path).held) > 1:
                files, frames = files + 1, frames + held
    return files, frames


def _pictures_of_png(file: BinaryIO) -> int:
    """What the chunk acTL of an animated PNG says, which stands before its pixels."""
    file.seek(len(PNG_SIGNATURE))
    for _ in range(_MOST_PARTS):
        head = file.read(8)
        if len(head) < 8 or head[4:] in (b"IDAT", b"IEND"):
            break
        length = int.from_bytes(head[:4], "big")
        if head[4:] == b"acTL":
            return max(1, int.from_bytes(file.read(4), "big"))
        file.seek(length + 4, os.SEEK_CUR)
    return 1


def _pictures_of_jpeg(file: BinaryIO) -> int:
    """What the segment APP2 "MPF" of a JPEG says, which stands before its pixels."""
    file.seek(2)
    for _ in range(_MOST_PARTS):
        marker = file.read(4)
        if len(marker) < 4 or marker[0] != 0xFF or marker[1] in (0xDA, 0xD9):
            break
        length = int.from_bytes(marker[2:], "big") - 2
        if marker[1] == 0xE2 and length > 4:
            segment = file.read(length)
            if segment.startswith(b"MPF\0"):
                return _pictures_of_index(segment[4:])
        elif length >= 0:
            file.seek(length, os.SEEK_CUR)
    return 1


def _pictures_of_index(index: bytes) -> int:
    order = "<" if index[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", index, 4)
        (entries,) = struct.unpack_from(f"{order}H", index, start)
        for entry in range(entries):
            tag, _, _, value = struct.unpack_from(f"{order}HHII", index, start + 2 + 12 * entry)
            if tag == _NUMBER_OF_IMAGES:
                return max(1, value)
    except struct.error:  # no index after all
        pass
    return 1
