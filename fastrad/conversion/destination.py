"""Where finished files go: a local folder, or a URL that fsspec opens (s3://, gs://, memory://, ...).

In: a path or URL. Out: whole files under their final names, never half of one.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from fastrad.errors import InputError, MissingDependencyError
from fastrad.storage.writer import sync_folder


def is_url(place: Path | str) -> bool:
    """Whether `place` is a URL, not a path."""
    return "://" in str(place)


class Destination:
    """The output folder of a conversion.

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
        if is_url(place):
            self._remote, self._folder = open_remote(str(place))
            self._url = str(place).rstrip("/")
            # the work needs a local folder that the same command finds again
            name = hashlib.sha256(self._url.encode()).hexdigest()[:16]
            cache = os.environ.get("XDG_CACHE_HOME")
            self.work_dir = (Path(cache) if cache else Path.home() / ".cache") / "fastrad" / "convert" / name
        else:
            self.work_dir = Path(place)

    @property
    def local(self) -> bool:
        """Whether files can be renamed into place."""
        return self._remote is None

    def place(self, name: str) -> str:
        """The full path or URL of a file."""
        return str(self.work_dir / name) if self.local else f"{self._url}/{name}"

    def read(self, name: str) -> bytes | None:
        """A file's content; None where it does not exist."""
        try:
            if self.local:
                return (self.work_dir / name).read_bytes()
            return self._remote.cat_file(f"{self._folder}/{name}")
        except FileNotFoundError:
            return None

    def size(self, name: str) -> int | None:
        """A file's size in bytes; None where it does not exist."""
        try:
            if self.local:
                return (self.work_dir / name).stat().st_size
            return int(self._remote.info(f"{self._folder}/{name}")["size"])
        except FileNotFoundError:
            return None

    def put(self, file: Path, name: str) -> None:
        """Move a finished, fsynced local file to its final name."""
        if self.local:
            os.replace(file, self.work_dir / name)
            sync_folder(self.work_dir)
        else:
            self._remote.makedirs(self._folder, exist_ok=True)
            self._remote.put_file(str(file), f"{self._folder}/{name}")
            file.unlink()


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
