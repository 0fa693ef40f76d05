"""The image files below a folder, in sorted path order, for archives that come without a table.

In: a folder. Out: relative POSIX paths, each with a reason where it can't be used, and what was left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".dcm", ".dicom")
SYNTHETIC_MARKER = "fastrad-synthetic.json"
_OF_THE_SYSTEM = {"__macosx", "thumbs.db", "desktop.ini", SYNTHETIC_MARKER}


@dataclass(frozen=True)
class Found:
    """What a walk found; iterating gives each path with its reason.

    Attributes
    ----------
    paths : tuple of str
        Image files, relative to the folder, POSIX, sorted.
    reasons : tuple of str
        One a path: "" or why it can't be used.
    notes : tuple of str
        What was left out, a line each.
    """

    paths: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(self.paths, self.reasons, strict=True)


def ignored(name: str) -> bool:
    """Whether a file or folder is the operating system's or ours and no part of an archive."""
    return name.startswith(".") or name.lower() in _OF_THE_SYSTEM


def is_inside(path: str, root: str) -> bool:
    """Whether an absolute path is `root` or below it."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def is_dicom(path: str) -> bool:
    """Whether a file has the DICOM magic: for files that are named by their UID, say."""
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def walk_images(root: Path, exclude: Sequence[Path | str] = ()) -> Found:
    """List the image files below a folder, by suffix; files with another one or none where they are DICOM.

    Linked folders are not followed. Hidden files and what operating systems leave behind are ignored.
    """
    real_root = os.path.realpath(root)
    excluded = {os.path.realpath(folder) for folder in exclude}
    images: list[tuple[str, str]] = []
    others = links = 0
    notes: list[str] = []

    def visit(folder: str, prefix: str) -> None:
        nonlocal others, links
        with os.scandir(folder) as entries:
            for entry in entries:
                if ignored(entry.name):
                    continue
                path = prefix + entry.name
                if entry.is_dir(follow_symlinks=False):
                    if os.path.join(real_root, path) not in excluded:
                        visit(entry.path, path + "/")
                    elif inside := sum(_has_image_suffix(name) for name in os.listdir(entry.path)):
                        notes.append(f"{inside} images in the folder where the output goes were left out")
                elif entry.is_symlink() and entry.is_dir():
                    links += 1
                elif _is_image(entry):
                    images.append((path, _reason(entry, path, real_root)))
                else:
                    others += 1

    visit(str(root), "")
    images.sort()
    if others:
        # Notes go into the card: no names.
        notes.append(f"{others} files are no images by their names and were left out")
    if links:
        notes.append(f"{links} linked folders were not followed")
    paths = tuple(path.encode("utf-8", "backslashreplace").decode() for path, _ in images)
    return Found(paths, tuple(reason for _, reason in images), tuple(notes))


def _has_image_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _is_image(entry: os.DirEntry[str]) -> bool:
    return _has_image_suffix(entry.name) or (entry.is_file() and is_dicom(entry.path))


def _reason(entry: os.DirEntry[str], path: str, real_root: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    if entry.is_symlink() and not is_inside(os.path.realpath(entry.path), real_root):
        return "a link that leads outside ROOT"
    return ""
