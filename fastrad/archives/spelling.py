"""Paths of a table whose file is there under another spelling: other case, composed accents, no suffix, another one.

In: a folder and paths relative to it. Out: the paths, where Unicode says that two spellings are the same text as the
disk has them; and for the others a reason that names the file that is there. Each folder is listed once; no file is
looked at. A path without any such file is left to the conversion, which finds out when it reads.
"""

from __future__ import annotations

import os
import posixpath
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastrad.imaging.walk import SUFFIXES, is_inside

_THREADS = 16  # folders listed at once: on a network disk each takes a few milliseconds


def settle_spelling(root: Path, paths: list[str], reasons: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Paths as the disk spells them, reasons, and notes.

    Parameters
    ----------
    paths, reasons : list of str
        As `check_paths` returns them: in normal form; those with a reason are left alone.
    """
    files = _Files(root)
    wanted = {path.rpartition("/")[0] for path, reason in zip(paths, reasons, strict=True) if not reason}
    files.list_folders(wanted)
    settled, why = list(paths), list(reasons)
    known: dict[str, tuple[str, str]] = {}
    respelled = 0
    for row, path in enumerate(paths):
        if reasons[row] or files.holds(path):
            continue
        if path not in known:
            known[path] = files.instead_of(path)
        settled[row], why[row] = known[path]
        respelled += settled[row] != path
    notes = [f"{respelled} rows spell accents in another way than their files' names; the files are taken"]
    return settled, why, notes if respelled else []


class _Files:
    """What lies in the folders below a root, by name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._real_root = os.path.realpath(root)
        self._names: dict[str, frozenset[str]] = {}
        self._by: dict[tuple[str, Callable[[str], str]], dict[str, list[str]]] = {}

    def list_folders(self, folders: Iterable[str]) -> None:
        """List folders, all at once."""
        todo = [folder for folder in folders if folder not in self._names]
        with ThreadPoolExecutor(_THREADS) as threads:
            self._names.update(zip(todo, threads.map(self._listing, todo), strict=True))

    def _listing(self, folder: str) -> frozenset[str]:
        path = self._root / folder
        try:
            return frozenset(os.listdir(path) if is_inside(os.path.realpath(path), self._real_root) else ())
        except (OSError, ValueError):  # no such folder, a NUL character
            return frozenset()

    def holds(self, path: str) -> bool:
        """Whether there is something of exactly this name."""
        folder, _, name = path.rpartition("/")
        if folder not in self._names:
            self.list_folders([folder])
        return name in self._names[folder]

    def instead_of(self, path: str) -> tuple[str, str]:
        """The path as the disk spells it and "", or the path and what is there in its place ("" for nothing)."""
        same = self._like(path, _composed)
        if len(same) == 1:
            return same[0], ""
        if same:
            return path, f"{len(same)} files have its name, with accents spelled in different ways"
        base, suffix = posixpath.splitext(path)
        base = base if suffix.lower() in SUFFIXES else path
        found = self._like(path, _folded)
        if not found:
            found = self._like(path, _stem) or (self._like(base, _stem) if base != path else [])
        if not found:
            return path, self._elsewhere(path)
        ends = [posixpath.splitext(there) for there in found]
        if all(_composed(stem) == _composed(base) for stem, _ in ends):
            suffixes = sorted({f"the suffix {end}" if end else "none" for _, end in ends})
            return path, f"no such file; with {' or '.join(suffixes)} it is there"
        return path, f"no such file; {' and '.join(map(repr, found))} {'are' if len(found) > 1 else 'is'} there"

    def _like(self, path: str, spelled: Callable[[str], str]) -> list[str]:
        """The paths on disk whose name is the same as `path`'s under a spelling; their folders by case at most."""
        *folders, name = path.split("/")
        found = [""]
        for part in folders:
            key = _composed if spelled is _composed else _folded
            found = [posixpath.join(above, there) for above in found for there in self._named(above, key, key(part))]
        wanted = _folded(name) if spelled is _stem else spelled(name)
        return sorted(posixpath.join(above, there) for above in found for there in self._named(above, spelled, wanted))

    def _named(self, folder: str, spelled: Callable[[str], str], wanted: str) -> list[str]:
        if (folder, spelled) not in self._by:
            self.list_folders([folder])
            index: dict[str, list[str]] = {}
            for name in self._names[folder]:
                index.setdefault(spelled(name), []).append(name)
            self._by[folder, spelled] = index
        return self._by[folder, spelled].get(wanted, [])

    def _elsewhere(self, path: str) -> str:
        """That a file is there when the path is read from ROOT's parent, or its name is no UTF-8 on disk."""
        first, slash, rest = path.partition("/")
        if slash and first == self._root.name and self.holds(rest):
            return f"no such file; paths are relative to ROOT: without {first}/ it is there"
        folder, _, name = path.rpartition("/")
        if self._named(folder, _as_windows_1252, name):
            return "no such file; one is there whose name is not UTF-8; rename it"
        return ""


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _stem(name: str) -> str:
    """Without an image's suffix, folded; a name with another suffix as it is, which no path asks for."""
    stem, suffix = posixpath.splitext(name)
    return _folded(stem if suffix.lower() in SUFFIXES else name)


def _as_windows_1252(name: str) -> str:
    """What a name that is no UTF-8 says in the encoding that it most likely is in; "" for one that is."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("cp1252", "replace")
    return ""
