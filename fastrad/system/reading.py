"""Files that somebody else wrote, or forged: regular ones only, of a size that is stated before they are read.

A named pipe would keep a process waiting for ever, a device would fill its memory; a link is followed, to a file.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

from fastrad.errors import InputError
from fastrad.system.files import in_units

_MORE = 1 << 16


def refuse_irregular(path: Path | str, limit: int | None = None, what: str = "a file of its kind") -> int:
    """A file's size in bytes, where it is a regular file of at most `limit` bytes; it is not opened.

    Raises
    ------
    FileNotFoundError
        If there is none.
    InputError
        If it is a folder, a pipe or a device, a link that ends nowhere, or larger; `what` says what it should be.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # links that point at each other, a NUL character
        raise _unreadable(path, error) from None
    _check(path, status, limit, what)
    return status.st_size


def open_regular(path: Path | str, limit: int | None = None, what: str = "a file of its kind") -> BufferedReader:
    """Open a regular file of at most `limit` bytes for reading.

    Raises
    ------
    FileNotFoundError
        If there is none.
    InputError
        As of `refuse_irregular`, or if it may not be read.
    """
    try:
        file = open(path, "rb", opener=without_waiting)  # noqa: SIM115 - the caller closes it
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    try:
        _check(path, os.fstat(file.fileno()), limit, what)
    except InputError:
        file.close()
        raise
    return file


def read_whole(path: Path | str, limit: int, what: str) -> bytes:
    """The content of a regular file of at most `limit` bytes; raises as `open_regular`.

    Parameters
    ----------
    what : str
        What the file should be, for the error: "a dataset's card".
    """
    with open_regular(path, limit, what) as file:
        try:
            content = file.read(os.fstat(file.fileno()).st_size + 1)
            while len(content) <= limit and (more := file.read(_MORE)):  # it grew, or has no size, as those of /proc
                content += more
        except OSError as error:
            raise _unreadable(path, error) from None
    if len(content) > limit:
        raise _too_large(path, len(content), limit, what)
    return content


def without_waiting(path: str, flags: int) -> int:
    """An opener for `open` that a named pipe does not keep waiting for somebody to write into it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _check(path: Path | str, status: os.stat_result, limit: int | None, what: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a folder, where {what} is needed")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is a pipe, a socket or a device, where {what} is needed: give a regular file")
    if limit is not None and status.st_size > limit:
        raise _too_large(path, status.st_size, limit, what)


def _too_large(path: Path | str, size: int, limit: int, what: str) -> InputError:
    return InputError(f"{path}: has {in_units(size)}, more than the {in_units(limit)} that {what} may have")


def _unreadable(path: Path | str, error: OSError | ValueError) -> InputError:
    return InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})")
