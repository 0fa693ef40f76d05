"""One folder a class: ROOT/<class>/**, or ROOT/{train,val,test}/<class>/**.

In: a folder. Out: its images in sorted path order, labelled by class folder. The layout has no patient ids. What looks
like another arrangement (splits within classes, ROOT a level too high, one class alone) is asked about, not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from fastrad.archives.base import Row, manifest_of_rows, split_of_folder
from fastrad.archives.clips import note_pictures
from fastrad.archives.manifest import Manifest
from fastrad.errors import InputError
from fastrad.imaging.walk import WalkOptions, is_copy_of, walk_images

_FOLD = re.compile(r"(?:.*[ _-])?folds?[ _-]?\d+|\d+[ _-]?folds?", re.IGNORECASE)
_NO_CLASS = re.compile(
    r"(?:images?|imgs?|pictures?|photos?|scans?|data|dataset|original|raw|dicom|png|jpe?g)s?", re.IGNORECASE
)


@dataclass(frozen=True)
class Options(WalkOptions):
    """What can be chosen about class folders.

    Attributes
    ----------
    one_class : bool
        ROOT holds one class on purpose, to be joined with others later.
    """

    one_class: bool = False


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read an archive of class folders.

    ROOT has splits if a folder in it is named like train, or all are named like splits: train, training, val, valid,
    validation, test, testing, also with set, data or images behind it; upper or lower case.

    Raises
    ------
    InputError
        If no images are found, or if the folders look like something else: splits or folds where classes should be, one
        folder around all of them, one class alone.
    """
    found = walk_images(root, exclude, options)
    folders = [tuple(path.split("/")[:-1]) for path in found.paths]
    has_splits = _has_splits(root, {parts[0] for parts in folders if parts})
    if found.paths:
        _refuse_other_arrangements(root, set(folders), has_splits, options)
    rows = []
    for (path, reason), parts in zip(found, folders, strict=True):
        split = ""
        if has_splits:
            split = split_of_folder(parts[0]) if parts else ""
            if not split:
                reason = reason or "lies in no train, val or test folder"
            parts = parts[1:]
        if not parts:
            reason = reason or "lies in no class folder"
        rows.append(Row(path, label=normalize("NFC", parts[0]) if parts else "", split=split, reason=reason))
    return manifest_of_rows(root, "folder", rows, [*found.notes, *note_pictures(root, found.paths)])


def _has_splits(root: Path, tops: set[str]) -> bool:
    """Whether the folders in ROOT are splits; raises InputError where some may be and others are not."""
    splits = {top for top in tops if split_of_folder(top)}
    if splits and splits != tops and not any(split_of_folder(top) == "train" for top in splits):
        raise InputError(
            f"{root}: {', '.join(sorted(splits))} may be a split or a class, beside {_some(tops - splits)} and without "
            "train; put all splits beside each other, or leave it out with --exclude 'FOLDER/*', or rename it"
        )
    return bool(splits)


def _refuse_other_arrangements(root: Path, folders: set[tuple[str, ...]], has_splits: bool, options: Options) -> None:
    """One line for each arrangement that would give wrong classes without a word; it says what to do."""
    places = {parts[1:] for parts in folders if parts and split_of_folder(parts[0])} if has_splits else folders
    above = "train/" if has_splits else ""
    classes = sorted({parts[0] for parts in places if parts})
    if not classes:
        raise InputError(
            f"{root}: its images lie in no class folder; ROOT is the folder that holds {above or 'the '}class folders, "
            f"perhaps {root.parent}"
        )
    if folds := [name for name in classes if _FOLD.fullmatch(name)]:
        raise InputError(
            f"{root}: {_some(folds)} are folds by their names, no classes; put the class folders of all folds together "
            "(compare draws folds, or takes them from --splits), or list the images in a table (layout table)"
        )
    _refuse_classes_alike(root, classes, above)
    if len(classes) == 1 and not options.one_class:
        _refuse_one_class(root, classes[0], places, above)
    _refuse_splits_within(root, places)


def _refuse_classes_alike(root: Path, classes: list[str], above: str) -> None:
    """Class folders that are copies of others by their names, or differ from them in case alone."""
    spelled: dict[str, str] = {}
    for name in classes:
        if original := is_copy_of(name, classes):
            raise InputError(
                f"{root}: {above}{name} is a copy of {original} by its name; leave it out with "
                f"--exclude '*{name}/*', or rename it"
            )
        other = spelled.setdefault(normalize("NFC", name).casefold(), name)
        if normalize("NFC", other) != normalize("NFC", name):
            raise InputError(f"{root}: the class folders {other} and {name} differ in case only; give them one name")


def _refuse_one_class(root: Path, name: str, places: set[tuple[str, ...]], above: str) -> None:
    inside = {parts[1:] for parts in places if parts}
    around = [name]
    while () not in inside and len({parts[0] for parts in inside}) == 1:
        around.append(next(iter(inside))[0])
        inside = {parts[1:] for parts in inside}
    whole = f"{root}: all images lie in {above}{'/'.join(around)}/"
    count = len({parts[0] for parts in inside if parts})
    if count and not above:
        raise InputError(
            f"{whole}, whose {count} folders may be the classes: give {root.joinpath(*around)} as ROOT; if "
            f"{name!r} is the one class, give --one-class"
        )
    if count:
        raise InputError(f"{whole}, whose {count} folders may be the classes: move them up; or give --one-class")
    if _NO_CLASS.fullmatch(around[-1]):
        raise InputError(f"{whole}, which is no class by its name; layout folder needs one folder a class")
    raise InputError(
        f"{whole}, so that there is one class; give the folder that holds all the class folders, or --one-class if "
        "that is meant"
    )


def _refuse_splits_within(root: Path, places: set[tuple[str, ...]]) -> None:
    """Splits below the classes: to take them all as one class folder would mix the test images into the training."""
    splits = {tuple(filter(None, map(split_of_folder, parts[1:]))) for parts in places if parts}
    if len(splits) > 1:
        names = sorted({name for parts in places for name in parts[1:] if split_of_folder(name)})
        raise InputError(
            f"{root}: {_some(names)} lie within classes, where splits are not read; move them above the classes "
            f"({names[0]}/CLASS/), or take one of them with --include '*/{names[0]}/*'"
        )


def _some(names: Collection[str]) -> str:
    """Up to three names, in order."""
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")
