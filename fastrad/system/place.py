"""A folder of dataset files: local, or a URL that fsspec opens (s3://, gs://, memory://, ...).

Local files do not go through fsspec: its import takes 0.13 s, and its times of change are too coarse for `stamp`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

from fastrad.errors import InputError, MissingDependencyError
from fastrad.system.files import in_units
from fastrad.system.reading import open_regular, read_whole


def is_url(place: Path | str) -> bool:
    """Whether `place` is a URL, not a path."""
    return "://" in str(place)


class Place:
    """A folder to read from.

    Parameters
    ----------
    place : Path or str
        A folder, or a URL.

    Raises
    ------
    MissingDependencyError
        If a URL is given and fsspec, or its part for that URL, is missing.
    """

    def __init__(self, place: Path | str) -> None:
        self._remote: Any = None
        self._folder = self._given = str(place)
        if is_url(place):
            self._remote, self._folder = open_remote(self._given)
            self._given = self._given.rstrip("/")

    def __str__(self) -> str:
        return self._given

    @property
    def local(self) -> bool:
        """Whether it is a folder on this machine."""
        return self._remote is None

    def path(self, name: str) -> str:
        """The full path or URL of a file."""
        return str(Path(self._given) / name) if self.local else f"{self._given}/{name}"

    def read(self, name: str, limit: int) -> bytes | None:
        """A file's content, of at most `limit` bytes; None where it does not exist.

        Raises
        ------
        InputError
            If it is larger, or on this machine no regular file.
        """
        try:
            if self.local:
                return read_whole(Path(self._folder, name), limit, "such a file")
            if (size := self.size(name)) is not None and size > limit:
                there = f"{self.path(name)}: has {in_units(size)}"
                raise InputError(f"{there}, more than the {in_units(limit)} that such a file may have")
            return self._remote.cat_file(f"{self._folder}/{name}")
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        """A file, open for reading anywhere in it; raises InputError where it is no regular file."""
        if self._remote:
            return self._remote.open(f"{self._folder}/{name}", "rb")
        return open_regular(Path(self._folder, name))

    def size(self, name: str) -> int | None:
        """A file's size in bytes; None where it does not exist."""
        size, _ = self.stamp(name)
        return None if size < 0 else size

    def stamp(self, name: str) -> tuple[int, int]:
        """A file's size and time of the last change (ns; 0 at a URL); (-1, -1) where it does not exist."""
        try:
            if not self.local:
                return int(self._remote.info(f"{self._folder}/{name}")["size"]), 0
            status = os.stat(Path(self._folder, name))
        except OSError:
            return -1, -1
        return status.st_size, status.st_mtime_ns


def open_remote(url: str) -> tuple[Any, str]:
    """fsspec's file system for a URL, and the path in it.

    Raises
    ------
    MissingDependencyError
        If fsspec, or its part for that URL, is missing.
    InputError
        If no part of fsspec knows such URLs.
    """
    scheme = url.split("://", 1)[0]
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingDependencyError(
            f"fsspec for {scheme}://", f"{url}", f"pip install 'fsspec[{scheme}]' ({error})"
        ) from None
    except ValueError as error:
        raise InputError(f"{url}: {error}") from None
    return system, path.rstrip("/")
