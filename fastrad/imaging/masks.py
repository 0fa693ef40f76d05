"""Which of an archive's image files are no images but masks: outlines, segmentations, annotations drawn as pictures.

In: the paths of image files. Out: those that are masks, each with why. A name alone proves nothing ("label" may be a
class): a mask file lies beside the image that it is named after, a mask folder beside images.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Sequence
from unicodedata import normalize

_WORD = (
    r"(?:masks?|seg|segm|segs|segmentations?|annotations?|annotated|annot|anno|labels?|gts?|ground[ _-]?truths?"
    r"|contours?|outlines?|overlays?|lesions?|rois?)"
)
_NAMES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?P<stem>.+)[ _.-]+{_WORD}(?:[ _.-]*\(?\d{{1,3}}\)?)?",  # x_mask, x_mask_1, x-seg, x mask (2)
        rf"(?P<stem>.+)[ _.-]+[a-z]+[ _.-]+{_WORD}(?:[ _.-]*\(?\d{{1,3}}\)?)?",  # x_lesion_mask
        rf"{_WORD}[ _.-]+(?P<stem>.+)",  # mask_x
    )
]
_HINT = re.compile(rf"(?:^|[/ _.-]){_WORD}(?![a-z])", re.IGNORECASE)
# One of these is part of every name above: a test that a million paths pass in no time.
_PARTS = ("mask", "seg", "anno", "label", "gt", "ground", "contour", "outline", "overlay", "lesion", "roi")
_LONE = re.compile(r"[ _.-](?:masks?|segmentations?)(?:[ _.-]*\(?\d{1,3}\)?)?(?:\.[^./]*)?$", re.IGNORECASE)
_MASK_FOLDER = re.compile(
    r"(?:.*[ _.-])?(?:masks?|labels?|labelled|annotations?|annotated|gts?|ground[ _-]?truths?|seg|segs|segmentations?"
    r"|contours?|outlines?|overlays?|rois?)",
    re.IGNORECASE,
)
_IMAGE_FOLDER = re.compile(r"(?:.*[ _.-])?(?:images?|imgs?|originals?|raw|scans?|pictures?)", re.IGNORECASE)

FILES = "{count} masks beside the images of their names were left out"
FOLDERS = "{count} images in folders of masks beside those of images were left out"


def masks_among(paths: Sequence[str], no_masks: Collection[str] = ()) -> tuple[dict[str, str], set[str]]:
    """The masks among image files.

    Parameters
    ----------
    paths : sequence of str
        POSIX, relative to one folder.
    no_masks : collection of str
        Names of class folders, in normal form C, that hold images whatever they are called: at the top, or one level
        below it in a folder that is none of them, a split's.

    Returns
    -------
    masks : dict
        From a mask's path to why it is one, a sentence with `{count}`.
    folders : set of str
        The folders that hold masks alone.
    """
    small = "\n".join(paths).lower()
    parts = [part for part in _PARTS if part in small]
    hinted: dict[str, None] = {}
    for part in parts:
        hinted.update(dict.fromkeys(path for path in paths if part in path.lower() and _HINT.search(path)))
    if not hinted:
        return {}, set()
    stems = {path: _stem(path) for path in paths}
    masks = _mask_files(hinted, stems)
    folders = _mask_folders(stems, no_masks)
    if folders:
        for path in paths:
            if any(path.startswith(folder + "/") for folder in folders):
                masks[path] = FOLDERS
    return masks, folders


def is_named_like_mask(path: str) -> bool:
    """Whether a file has a mask's name, whatever lies beside it."""
    return ("ask" in path or "ASK" in path or "eg" in path or "EG" in path) and bool(_LONE.search(path))


def _stem(path: str) -> str:
    """Of the file's name, in lower case: what image and mask have in common."""
    name = posixpath.basename(path)
    stem, suffix = posixpath.splitext(name)
    return (name if suffix[1:].isdecimal() else stem).casefold()  # a UID's last number is no suffix


def _mask_files(hinted: Iterable[str], stems: dict[str, str]) -> dict[str, str]:
    beside = {(posixpath.dirname(path), stem) for path, stem in stems.items()}
    return {
        path: FILES
        for path in hinted
        if any((posixpath.dirname(path), image) in beside for image in _images_of(stems[path]))
    }


def _images_of(stem: str) -> list[str]:
    """What the image may be called of which a file is a mask by its name."""
    return [found["stem"] for name in _NAMES if (found := name.fullmatch(stem))]


def _mask_folders(stems: dict[str, str], no_masks: Collection[str]) -> set[str]:
    """Folders named like masks that lie beside images: in the same folder, or in a folder beside them."""
    folders: dict[str, None] = {}
    for path in stems:
        folder = posixpath.dirname(path)
        while folder and folder not in folders:
            folders[folder] = None
            folder = posixpath.dirname(folder)
    named = {folder for folder in folders if _MASK_FOLDER.fullmatch(posixpath.basename(folder))}
    named = {folder for folder in named if not _is_class(normalize("NFC", folder).split("/"), no_masks)}
    return {folder for folder in named if _lies_beside_images(folder, stems, folders, named)}


def _is_class(parts: Sequence[str], classes: Collection[str]) -> bool:
    return len(parts) <= 2 and parts[-1] in classes and (len(parts) == 1 or parts[0] not in classes)


def _lies_beside_images(folder: str, stems: dict[str, str], folders: dict[str, None], named: set[str]) -> bool:
    parent = posixpath.dirname(folder)
    siblings = [other for other in folders if other != folder and posixpath.dirname(other) == parent]
    if any(_IMAGE_FOLDER.fullmatch(posixpath.basename(other)) for other in siblings):
        return True
    if parent and any(posixpath.dirname(path) == parent for path in stems):
        return True
    # The same names in a class called "label" and another one prove nothing less: what is left is asked about then.
    around = f"{parent}/" if parent else ""
    inside = [{stem, *_images_of(stem)} for path, stem in stems.items() if path.startswith(folder + "/")]
    outside = {
        stem
        for path, stem in stems.items()
        if path.startswith(around) and not any(path.startswith(other + "/") for other in named)
    }
    return 2 * sum(bool(names & outside) for names in inside) >= len(inside)
