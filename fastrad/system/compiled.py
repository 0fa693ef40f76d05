"""Functions compiled by numba, kept between runs in a folder that nobody else can write to, or not kept.

numba's cache holds pickles, which run code when they are read; in a shared folder (`/tmp`, a group's `NUMBA_CACHE_DIR`)
another user could put some there.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import numba
from numba.core import config


def compiled(signature: str | None = None) -> Callable[[Callable], Callable]:
    """`numba.njit` without the GIL, cached where that is safe; with a signature it is compiled at once."""

    def decorate(function: Callable) -> Callable:
        before = config.CACHE_DIR  # type: ignore[attr-defined]
        folder = cache_folder()
        if folder is not None:
            config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
            try:
                return numba.njit(signature, nogil=True, cache=True)(function)
            except Exception:  # nowhere to keep it after all, or what was kept is damaged: then seconds at each start
                pass
            finally:
                config.CACHE_DIR = before  # type: ignore[attr-defined]
        return numba.njit(signature, nogil=True)(function)

    return decorate


def cache_folder() -> Path | None:
    """The folder of compiled functions: NUMBA_CACHE_DIR, else one of fastrad's; None where neither is ours alone."""
    asked, cache = os.environ.get("NUMBA_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    try:
        ours = (Path(cache) if cache else Path.home() / ".cache") / "fastrad" / "numba"
    except RuntimeError:  # the user has no home
        ours = None
    for folder in (Path(asked) if asked else None, ours):
        if folder is None:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if is_ours_alone(folder):
            return folder.resolve()
    return None


def is_ours_alone(folder: Path) -> bool:
    """Whether nobody but us (and root) can write to a folder, or put another one in its place."""
    try:
        folder = folder.resolve(strict=True)
        for place in (folder, *folder.parents):
            status = os.stat(place)
            others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            sticky = place != folder and status.st_mode & stat.S_ISVTX  # there only an entry's owner can replace it
            if status.st_uid not in (0, os.geteuid()) or (others and not sticky):
                return False
        return os.stat(folder).st_uid == os.geteuid()
    except OSError:
        return False
