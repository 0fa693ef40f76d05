"""A lock that processes of one machine, or of several on one file system, agree on, and that ends with its holder.

In: a path. The lock is the kernel's (`flock`), so that a process that was killed leaves none behind; the file is taken
away with the lock. On a file system without locks the work goes on without, and says so.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fastrad.system.progress import say

_NO_LOCKS_THERE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
_said: set[Path] = set()


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[IO[bytes] | None]:
    """Hold the lock `path` for the length of a block.

    Parameters
    ----------
    path : Path
        In a folder that exists. The file is made, and removed at the end.
    wait : bool
        Whether to wait for whoever holds it.

    Yields
    ------
    file or None
        The lock's file, whose content is the holder's to use; None where another holds the lock and `wait` is False.
    """
    file = _taken(path, wait)
    if file is None:
        yield None
        return
    try:
        yield file
    finally:
        path.unlink(missing_ok=True)  # before it is let go: whoever waits for this file looks for a new one then
        file.close()


@contextmanager
def shared(path: Path, content: bytes) -> Iterator[bool]:
    """Hold the lock `path` together with whoever gives the same content, for the length of a block.

    Parameters
    ----------
    path : Path
        In a folder that exists. The file is made by the first holder, and removed by the last.
    content : bytes
        What all holders agree on.

    Yields
    ------
    bool
        False where others hold it with another content.
    """
    while True:
        file = open(path, "a+b")  # noqa: SIM115 - held until the block ends
        try:
            if _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, path):  # nobody is there: the content is ours to say
                file.truncate(0)
                file.write(content)
                file.flush()
            _flock(file, fcntl.LOCK_SH, path)
            if _is_still(file, path):
                break
        except BaseException:
            file.close()
            raise
        file.close()
    try:
        file.seek(0)
        yield file.read() == content
    finally:
        if _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB, path):
            path.unlink(missing_ok=True)
        file.close()


def _taken(path: Path, wait: bool) -> IO[bytes] | None:
    while True:
        file = open(path, "a+b")  # noqa: SIM115 - held until the block ends
        try:
            if not _flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), path):
                file.close()
                return None
            if _is_still(file, path):
                return file
        except BaseException:  # Ctrl-C while it waited
            file.close()
            raise
        file.close()


def _flock(file: IO[bytes], how: int, path: Path) -> bool:
    """Whether the lock is held now; a file system without locks says yes."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS_THERE:
            raise
        if path.parent not in _said:
            _said.add(path.parent)
            say(f"notice: {path.parent}: its file system has no locks; let one process at a time work there")
    return True


def _is_still(file: IO[bytes], path: Path) -> bool:
    """Whether an opened file is what `path` names: a holder removes it, and whoever waited for it has an old one."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
