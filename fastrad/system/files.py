"""Small files that a reader, a full disk or a power cut never meets half of; and what a disk has free."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fastrad.errors import OptionError

_NEVER_REPLACED = (".beton", ".card.json", ".tar", ".idx")
_PARTIAL = ".partial"
_BEGUN_SECONDS = 60  # a file that is younger may be about to be locked


def refuse_to_replace(out: Path, *inputs: Path) -> None:
    """Before a table or picture is written to `out`: it must be none of the inputs, and no dataset.

    Raises
    ------
    OptionError
        Naming the file.
    """
    if out.name.endswith(_NEVER_REPLACED):
        raise OptionError(f"{out}: that is a dataset's name; choose another for what is to be written")
    if out.exists() and any(path.exists() and out.samefile(path) for path in inputs):
        raise OptionError(f"{out}: is read by this command; choose another name for what is to be written")


def write_atomically(path: Path, *chunks: bytes | memoryview, mode: int = 0o666) -> None:
    """Write `path` as a whole or not at all, and for good: beside it, fsync, rename, fsync of the folder.

    Parameters
    ----------
    path : Path
    chunks : bytes or memoryview
        The content, in pieces.
    mode : int
        Who may read and write it, as of `open(2)`.

    Raises
    ------
    OSError
        Naming `path`, also where the system call does not (a full disk).
    """
    try:
        with new_file_beside(path, mode) as (file, temporary):
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def write_json(path: Path, content: object) -> None:
    """Write values as indented JSON, as `write_atomically` does."""
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


@contextmanager
def new_file_beside(path: Path, mode: int = 0o666) -> Iterator[tuple[BinaryIO, Path]]:
    """A file that nobody had before, under a temporary name beside `path`; gone at the end, if it is still there.

    It follows no link and opens nothing that somebody else has put there. It is locked while it is written, so that
    one that a killed process left is told from one that is being written: those of `path` are deleted here.
    """
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}{_PARTIAL}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with open(descriptor, "wb") as file:
            with suppress(OSError):  # a file system without locks
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            yield file, temporary
    finally:
        temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    """Delete what killed processes left of earlier attempts to write `path`: nobody holds its lock any more."""
    with suppress(OSError):  # no folder, or not ours: whoever writes next says so
        for entry in os.scandir(path.parent):
            if not (entry.name.startswith(f".{path.name}.") and entry.name.endswith(_PARTIAL)):
                continue
            with suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime < _BEGUN_SECONDS:
                    continue
                descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
                finally:
                    os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_space(folder: Path) -> int:
    """Bytes free on the file system where `folder` is, or will be made."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def in_units(count: float) -> str:
    """A number of bytes as people read it: 512 B, 12.3 MB, 4.56 GB (decimal units)."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
