"""The image files below a folder, in sorted path order: for archives without a table, and for prediction.

In: a folder. Out: relative POSIX paths, each with a reason where it can't be used, and what was left out, counted by
reason: what systems and people leave beside images (hidden files, indices of DICOM media, copies), and masks, by
`masks.py`. Nobody else decides what an image file is.
"""

from __future__ import annotations

import filecmp
import os
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from fastrad.errors import InputError
from fastrad.imaging.masks import is_named_like_mask, masks_among
from fastrad.imaging.structure import is_dicom

_STILLS = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".btf")
SUFFIXES = (*_STILLS, ".dcm", ".dicom")
SYNTHETIC_MARKER = "fastrad-synthetic.json"
_OF_THE_SYSTEM = {
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "$recycle.bin",
    "system volume information",
    "@eadir",
    "#recycle",
    "lost+found",
}
_INDEX = "dicomdir"
# What Windows, macOS and Linux call a copy; the last is a browser's, and the name of many a sound image too.
_COPY = re.compile(
    r"(?P<name>.+?)(?: ?\((?:copy|another copy|\d+(?:st|nd|rd|th) copy|kopie)(?: \d+)?\)"
    r"| - (?:copy|kopie)(?: ?\(\d+\))?|[ _-](?:copy|kopie)(?: ?\d+)?|(?P<numbered> ?\(\d+\)))"
    r"|(?:copy|kopie)(?: \(\d+\))? (?:of|von) (?P<of>.+)",
    re.IGNORECASE,
)


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
        What was left out, a line each. They go into the card: no names.
    mask_folders : tuple of str
        Folders that were left out because they hold masks, by their names and what lies beside them.
    """

    paths: tuple[str, ...]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    mask_folders: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(self.paths, self.reasons, strict=True)


@dataclass(frozen=True)
class WalkOptions:
    """Which of the files below a folder to take.

    Attributes
    ----------
    include_patterns : tuple of str
        Take only files whose path, relative to ROOT, one of these patterns matches: 'benign/*', '*.dcm'. * matches /.
    exclude_patterns : tuple of str
        Leave out files whose path, relative to ROOT, one of these patterns matches: '*/overlay/*'.
    """

    include_patterns: tuple[str, ...] = field(default=(), metadata={"option": "--include", "metavar": "PATTERN"})
    exclude_patterns: tuple[str, ...] = field(default=(), metadata={"option": "--exclude", "metavar": "PATTERN"})


@dataclass
class _Folder:
    """A folder that is read: what lies in it by name."""

    images: list[os.DirEntry[str]] = field(default_factory=list)
    folders: list[os.DirEntry[str]] = field(default_factory=list)


def walk_images(
    root: Path,
    exclude: Sequence[Path | str] = (),
    options: WalkOptions | None = None,
    *,
    prefix: str = "",
    no_masks: Collection[str] = (),
) -> Found:
    """List the image files below a folder, by suffix; files with another one or none where they are DICOM.

    Linked folders are not followed. Left out and counted: hidden files and what operating systems leave behind,
    DICOMDIR, masks (`masks_among`), and what `options` leave out. A copy by its name beside its original has a reason.

    Parameters
    ----------
    root : Path
    exclude : sequence of Path
        Folders that are not looked into.
    options : WalkOptions, optional
    prefix : str
        What stands before each path where patterns are matched: the folder's place below the archive's ROOT.
    no_masks : collection of str
        Names of class folders that hold images, whatever they are called (`masks_among`).

    Raises
    ------
    InputError
        If the folder cannot be listed, or a disk fails; a folder in it that may not be read is counted.
    """
    options = options or WalkOptions()
    real_root = os.path.realpath(root)
    excluded = {os.path.realpath(folder) for folder in exclude}
    images: list[tuple[str, str]] = []
    left_out: Counter[str] = Counter()
    notes: list[str] = []

    def visit(folder: str, above: str) -> None:
        found = _listed(folder, left_out, not above)
        images.extend((above + entry.name, _reason(entry, above, real_root)) for entry in found.images)
        for entry in found.folders:
            path = above + entry.name
            if os.path.join(real_root, path) not in excluded:
                visit(entry.path, path + "/")
            elif inside := sum(_has_image_suffix(name) for name in os.listdir(entry.path)):
                notes.append(f"{inside} images in the folder where the output goes were left out")

    visit(str(root), "")
    images.sort()
    images = _chosen(images, options, prefix, left_out)
    images = _with_copies(str(root), images)
    masks, mask_folders = masks_among([path for path, _ in images], no_masks)
    left_out.update(masks.values())
    images = [(path, reason) for path, reason in images if path not in masks]
    if like_masks := sum(is_named_like_mask(path) for path, _ in images):
        left_out["{count} images are called like masks, lie beside no image of that name and are taken"] = like_masks
    notes += [why.format(count=count) for why, count in sorted(left_out.items())]
    paths = tuple(readable(path) for path, _ in images)
    return Found(paths, tuple(reason for _, reason in images), tuple(notes), tuple(sorted(map(readable, mask_folders))))


def readable(path: str) -> str:
    """A path as it is shown and listed: what is not UTF-8 in it as "\\udce9", a backslash and the byte's number."""
    return path if path.isascii() else path.encode("utf-8", "backslashreplace").decode()


def is_copy_of(name: str, known: Collection[str]) -> str:
    """Which of the known names a name is a copy of ("benign - Copy" of "benign"); "" for none."""
    copy = _COPY.fullmatch(name)
    original = (copy["name"] or copy["of"]) if copy and not copy["numbered"] else ""
    return original if original in known else ""


def is_image_file(path: Path | str) -> bool:
    """Whether a file is an image by its suffix, or DICOM by its content."""
    return _has_image_suffix(os.fspath(path)) or (os.path.isfile(path) and is_dicom_file(os.fspath(path)))


def is_inside(path: str, root: str) -> bool:
    """Whether an absolute path is `root` or below it."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def is_dicom_file(path: str) -> bool:
    """Whether a file is DICOM by its content: for files that are named by their UID, say."""
    try:
        with open(path, "rb") as file:
            return is_dicom(file.read(132))
    except OSError:  # what may not be read is counted among the files that are no images by their names
        return False


def _listed(folder: str, left_out: Counter[str], top: bool) -> _Folder:
    """The images and folders directly in a folder; the rest is counted."""
    found = _Folder()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                small = entry.name.lower()
                is_folder = entry.is_dir(follow_symlinks=False)
                if small.startswith(".") or small in _OF_THE_SYSTEM:
                    what = "folders" if is_folder else "files"
                    left_out[f"{{count}} {what} that are hidden or the operating system's were left out"] += 1
                elif is_folder:
                    found.folders.append(entry)
                elif entry.is_symlink() and _is(entry.is_dir):
                    left_out["{count} linked folders were not followed"] += 1
                elif small == _INDEX:
                    left_out["{count} DICOMDIR, indices without an image, were left out"] += 1
                elif _has_image_suffix(entry.name) or (_is(entry.is_file) and is_dicom_file(entry.path)):
                    found.images.append(entry)
                elif small != SYNTHETIC_MARKER:
                    left_out["{count} files are no images by their names and were left out"] += 1
    except OSError as error:
        if not isinstance(error, PermissionError) or top:
            raise InputError(f"{folder}: the folder cannot be listed ({error.strerror})") from None
        left_out["{count} folders may not be read, and what is in them was left out"] += 1
        return _Folder()
    return found


def _is(kind: Callable[[], bool]) -> bool:
    """Whether an entry is a folder or a file; links that point at each other are neither."""
    try:
        return kind()
    except OSError:
        return False


def _has_image_suffix(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _reason(entry: os.DirEntry[str], above: str, real_root: str) -> str:
    try:
        (above + entry.name).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    if entry.is_symlink() and not is_inside(os.path.realpath(entry.path), real_root):
        return "a link that leads outside ROOT"
    return ""


def _chosen(
    images: list[tuple[str, str]], options: WalkOptions, prefix: str, left_out: Counter[str]
) -> list[tuple[str, str]]:
    """What `--include` and `--exclude` leave; a pattern that matches nothing is an error, a slip of the hand."""
    if not options.include_patterns and not options.exclude_patterns:
        return images
    paths = [prefix + path for path, _ in images]
    included = _matched(paths, options.include_patterns, "--include") if options.include_patterns else set(paths)
    excluded = _matched(paths, options.exclude_patterns, "--exclude")
    left_out["{count} images were left out by --include"] += len(set(paths) - included)
    left_out["{count} images were left out by --exclude"] += len(included & excluded)
    for why in [why for why, count in left_out.items() if not count]:
        del left_out[why]
    taken = included - excluded
    return [(path, reason) for path, reason in images if prefix + path in taken]


def _matched(paths: Iterable[str], patterns: Sequence[str], option: str) -> set[str]:
    matched: set[str] = set()
    for pattern in patterns:
        found = {path for path in paths if fnmatchcase(path, pattern)}
        if not found:
            raise InputError(f"{option} {pattern!r} matches no image's path below ROOT, for example 'benign/*'")
        matched |= found
    return matched


def _with_copies(root: str, images: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """A reason for each copy, by its name, that lies beside its original."""
    known = {path for path, _ in images}
    marked = []
    for path, reason in images:
        if not reason and (")" in path or "op" in path or "OP" in path):  # copy, kopie: few names pass
            folder, slash, name = path.rpartition("/")
            stem, suffix = os.path.splitext(name)
            copy = _COPY.fullmatch(stem)
            original = f"{folder}{slash}{copy['name'] or copy['of']}{suffix}" if copy else ""
            if copy and original in known and (not copy["numbered"] or _same_bytes(root, path, original)):
                reason = "a copy, by its name, of the file beside it"
        marked.append((path, reason))
    return marked


def _same_bytes(root: str, first: str, second: str) -> bool:
    try:
        return filecmp.cmp(os.path.join(root, first), os.path.join(root, second), shallow=False)
    except OSError:
        return False
