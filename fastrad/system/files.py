"""Small files that a reader, a full disk or a power cut never meets half of; and what a disk has free."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from fastrad.errors import OptionError

_NEVER_REPLACED = (".beton", ".card.json", ".tar", ".idx")


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


def write_atomically(path: Path, *chunks: bytes | memoryview) -> None:
    """Write `path` as a whole or not at all, and for good: beside it, fsync, rename, fsync of the folder.

    Raises
    ------
    OSError
        Naming `path`, also where the system call does not (a full disk).
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(temporary, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
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
