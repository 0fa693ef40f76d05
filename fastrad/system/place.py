"""A folder of dataset files: local, or a URL that fsspec opens (s3://, gs://, memory://, ...).

Local files do not go through fsspec: its import takes 0.13 s, and its times of change are too coarse for `stamp`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

from fastrad.errors import InputError, MissingDependencyError


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

    def read(self, name: str) -> bytes | None:
        """A file's content; None where it does not exist."""
        try:
            if self.local:
                return Path(self._folder, name).read_bytes()
            return self._remote.cat_file(f"{self._folder}/{name}")
        except FileNotFoundError:
            return None

    def open(self, name: str) -> BinaryIO:
        """A file, open for reading anywhere in it."""
        return (
            self._remote.open(f"{self._folder}/{name}", "rb") if self._remote else open(Path(self._folder, name), "rb")
        )

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
