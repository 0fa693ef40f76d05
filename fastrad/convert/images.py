"""The images of a chunk, read from the archive, fitted, and encoded as they are stored, without torch."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TypeVar

import numpy as np

from fastrad.convert.sample import Encoded, ImageOptions, Sample
from fastrad.dataset.pseudonym import without_values
from fastrad.errors import FastradError, InputError
from fastrad.imaging import ImageError, decode_values, fit, make_square, read_values

Box = tuple[int, int, int, int]
T = TypeVar("T")

_READ_AT_ONCE = 1 << 24  # bytes
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# chunks that cannot name a patient: text, EXIF and private ones can
_PIXEL_CHUNKS = {b"IHDR", b"IDAT", b"IEND", b"gAMA", b"pHYs", b"sRGB", b"cHRM"}
# says nothing about the file that was to be read: no image may be left out for it
OF_THE_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EROFS, errno.EINTR}


class UnusableImageError(Exception):
    """An image cannot be converted; `str(error)` is the reason, without the path."""


def read_twice(read: Callable[[], T]) -> T:
    """Call `read`, and once more where it fails for a reason outside of the file: what fails once says nothing of it.

    Raises
    ------
    OSError
        If the machine fails twice: no image may be left out for that.
    FastradError
        If a library cannot be loaded, twice.
    """
    try:
        return read()
    except Exception as error:
        if _cause_outside(error) is None:
            raise
    try:
        return read()
    except Exception as error:
        cause = _cause_outside(error)
        if isinstance(cause, ImportError | AttributeError):
            raise FastradError(
                f"a library that reads images cannot be loaded ({cause}); give the same command again; if that does "
                "not help, install fastrad anew"
            ) from error
        if cause is not None and cause.errno in OF_THE_MACHINE:
            raise cause from None
        raise


def _cause_outside(error: BaseException) -> OSError | ImportError | AttributeError | None:
    """The failure of disk, machine or installation behind an error, where there is one."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, OSError) and behind.errno in {*OF_THE_MACHINE, errno.EIO}:
            return behind
        # of a library that is loaded at its first use; one whose files were not seen is there and empty
        if isinstance(behind, ImportError) and type(behind) in (ImportError, ModuleNotFoundError):
            return behind
        if isinstance(behind, AttributeError) and isinstance(behind.obj, ModuleType):
            return behind
        behind = behind.__context__
    return None


@dataclass(frozen=True)
class SourceImages:
    """A stretch of a manifest, as a worker needs it.

    Attributes
    ----------
    root : str
        Folder that `paths` are relative to.
    paths : list of str
    frames : list of int
    boxes : list of (left, top, right, bottom) or None
    options : ImageOptions
    rows, labels, patients : numpy.ndarray
        int64, one per image.
    classes : tuple of str
    patient_names : list of str or None
        One per image, as they are stored.
    """

    root: str
    paths: list[str]
    frames: list[int]
    boxes: list[Box | None]
    options: ImageOptions
    rows: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    classes: tuple[str, ...]
    patient_names: list[str | None]

    def sample(self, index: int) -> Sample:
        """What is stored beside image `index`."""
        label = int(self.labels[index])
        name = self.patient_names[index]
        return Sample(int(self.rows[index]), label, self.classes[label], int(self.patients[index]), name)

    def path(self, index: int) -> str:
        """Where image `index` is."""
        return f"{self.root}/{self.paths[index]}"

    def stamp(self, index: int) -> tuple[int, int]:
        """Size and time of the last change (ns) of image `index`'s file; (-1, -1) where it is missing."""
        try:
            status = os.stat(self.path(index))
        except OSError:
            return -1, -1
        return status.st_size, status.st_mtime_ns

    def load(self, index: int) -> tuple[np.ndarray, Encoded]:
        """Image `index`: fitted, (size, size) uint8, and encoded.

        Raises
        ------
        UnusableImageError
            If this image is missing, damaged or odd.
        InputError
            If the whole root is gone.
        OSError
            If the machine fails, not the file.
        """
        return read_twice(lambda: self._load(index))

    def _load(self, index: int) -> tuple[np.ndarray, Encoded]:
        """As `load`, tried once."""
        options, path = self.options, self.path(index)
        frame, box, window = self.frames[index], self.boxes[index], options.window
        try:
            content = _still_image(path)
            if content is None:
                values = read_values(path, frame=frame, box=box, window=window, within=self.root)
            else:
                values = decode_values(content, name=path, frame=frame, box=box, window=window)
            pixels = gray = values.to_uint8(window, path)
            if options.pixel_aspect == "header":
                gray = make_square(pixels, values.aspect)
            image, place = fit(np.ascontiguousarray(gray), options.size, options.fit)
            if content and options.pass_png and image is gray and self._is_what_is_stored(index, content):
                data = np.frombuffer(content, np.uint8)
            else:
                data = options.encoded(image)
        except ImageError as error:
            if not os.path.isdir(self.root):  # a file server that went away, not a damaged file
                raise InputError(
                    f"{self.root}: the source folder is gone; mount it and give the same command again"
                ) from None
            raise UnusableImageError(error.reason) from None
        except Exception as error:  # one odd file must not end a run of hours
            what = without_values(str(error))
            raise UnusableImageError(f"cannot be converted ({type(error).__name__}: {what})") from error
        source = values.pixels if values.source is None else values.source
        return image, Encoded(data, options.encode, options.size, place, gray is not pixels, source)

    def _is_what_is_stored(self, index: int, content: bytes) -> bool:
        """Whether a file that is as large as what is stored is an 8-bit gray PNG of nothing but these pixels."""
        if self.boxes[index] is not None or self.options.window is not None:
            return False
        if not content.startswith(_PNG_SIGNATURE) or content[24:26] != b"\x08\x00":  # depth 8, gray
            return False
        kinds, position = set(), len(_PNG_SIGNATURE)
        while position + 8 <= len(content):
            kinds.add(content[position + 4 : position + 8])
            position += 12 + int.from_bytes(content[position : position + 4], "big")
        return kinds <= _PIXEL_CHUNKS


def _still_image(path: str) -> bytes | None:
    """The bytes of a plain PNG or JPEG file, read with the fewest calls; None for whatever needs a closer look."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _READ_AT_ONCE:
            return None
        content = os.read(descriptor, status.st_size + 1)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return content if len(content) == status.st_size and content.startswith((_PNG_SIGNATURE, b"\xff\xd8")) else None
