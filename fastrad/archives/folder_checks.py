"""What folders of images may be other than classes: splits, folds, copies, masks, a level too many.

In: the folders that hold images. Out: which of them are splits, or one line that says what they look like and what to
give instead. Folders that `--class` names are classes, and are not asked about.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from unicodedata import normalize

from fastrad.archives.base import SPLIT_NAMES, split_of_folder
from fastrad.errors import InputError
from fastrad.imaging.walk import is_copy_of

_FOLD = re.compile(r"(?:.*[ _-])?folds?[ _-]?\d+|\d+[ _-]?folds?", re.IGNORECASE)
_NO_CLASS = re.compile(
    r"(?:images?|imgs?|pictures?|photos?|scans?|data|datasets?|originals?|raw|dicoms?|png|jpe?g|docs?|documents?"
    r"|documentation|figures?|figs?|examples?|readme|papers?|src|code|scripts?|notebooks?|results?|outputs?|logs?"
    r"|thumbnails?|thumbs|previews?|screenshots?|assets|static|tmp|temp|archives?|backups?)",
    re.IGNORECASE,
)
# "Sample of Traindata", "my_test_images": a split's word among others
_WORD_OF_SPLIT = re.compile(
    rf"(?:^|[^a-z])({'|'.join(sorted(SPLIT_NAMES, key=len, reverse=True))})"
    r"(?:set|data|dataset|images?|imgs?)?(?![a-z])",
    re.IGNORECASE,
)

Folders = Collection[tuple[str, ...]]


def splits_of_tops(root: Path, tops: set[str], given: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Which of the folders in ROOT are which split, and notes; no folder where they are classes.

    Raises
    ------
    InputError
        If some may be splits and others are not.
    """
    if not {normalize("NFC", top) for top in tops}.isdisjoint(given):
        return {}, []
    splits = {top: split for top in tops if (split := split_of_folder(top))}
    if not splits:
        return _splits_by_a_word(root, tops)
    if set(splits) != tops and "train" not in splits.values():
        raise InputError(
            f"{root}: {some(splits)} may be a split or a class, beside {some(tops - set(splits))} and without "
            "train; put all splits beside each other, or leave it out with --exclude 'FOLDER/*', or rename it; where "
            "each is a class, name each with --class"
        )
    return splits, []


def _splits_by_a_word(root: Path, tops: set[str]) -> tuple[dict[str, str], list[str]]:
    """Folders whose names hold a split's word; raises InputError where train is among them, and others are none."""
    words = {top: found[1].lower() for top in tops if (found := _WORD_OF_SPLIT.search(top))}
    splits = {top: SPLIT_NAMES[word] for top, word in words.items()}
    if "train" not in splits.values():  # "stress test" is a class
        return {}, []
    if set(splits) != tops or len(set(splits.values())) != len(splits):
        raise InputError(
            f"{root}: {some(splits)} may be splits by their names, beside {some(tops - set(splits)) or 'each other'}; "
            "call them train, val and test, or give one of them as ROOT; where each folder is a class, name each with "
            "--class"
        )
    return splits, [f"the folder {top} is read as split {split}" for top, split in sorted(splits.items())]


def refuse_other_arrangements(
    root: Path,
    folders: Folders,
    splits: Collection[str],
    given: Sequence[str],
    one_class: bool,
    mask_folders: Sequence[str],
) -> None:
    """One line for each arrangement that would give wrong classes without a word; it says what to do.

    Parameters
    ----------
    folders : collection of tuple of str
        The folders of the images, below ROOT.
    splits : collection of str
        Those in ROOT that are splits.
    given : sequence of str
        The classes by `--class`, in normal form C.
    mask_folders : sequence of str
        What the walk left out.

    Raises
    ------
    InputError
    """
    places = {parts[1:] for parts in folders if parts and parts[0] in splits} if splits else set(folders)
    above = "train/" if splits else ""
    classes = sorted({parts[0] for parts in places if parts})
    if given:
        _refuse_unknown(root, given, classes or [parts[0] for parts in folders if parts], above if classes else "")
    if not classes:
        raise InputError(
            f"{root}: its images lie in no class folder; ROOT is the folder that holds {above or 'the '}class folders, "
            f"perhaps {root.parent}"
        )
    if given:
        places = {parts for parts in places if parts and normalize("NFC", parts[0]) in given}
        classes = sorted({parts[0] for parts in places})
    elif folds := [name for name in classes if _FOLD.fullmatch(name)]:
        raise InputError(
            f"{root}: {some(folds)} are folds by their names, no classes; put the class folders of all folds together "
            "(compare draws folds, or takes them from --splits), or list the images in a table (layout table)"
        )
    _refuse_classes_alike(root, classes, above)
    if not given and len(classes) == 1 and not one_class:
        _refuse_one_class(root, classes[0], places, above, mask_folders)
    if not given and len(classes) > 1:
        _refuse_root_too_high(root, classes, places, above)
    _refuse_splits_within(root, places)


def some(names: Collection[str]) -> str:
    """Up to three names, in order."""
    shown = sorted(names)
    return ", ".join(shown[:3]) + (f" and {len(shown) - 3} more" if len(shown) > 3 else "")


def _refuse_unknown(root: Path, given: Sequence[str], classes: Sequence[str], above: str) -> None:
    there = {normalize("NFC", name) for name in classes}
    if unknown := [name for name in given if name not in there]:
        raise InputError(f"{root}: --class {unknown[0]!r} is no folder of images there; {above}{some(there)} are")


def _refuse_classes_alike(root: Path, classes: list[str], above: str) -> None:
    """Class folders that are copies of others by their names, or differ from them in case alone."""
    spelled: dict[str, str] = {}
    for name in classes:
        if original := is_copy_of(name, classes):
            raise InputError(
                f"{root}: {above}{name} is a copy of {original} by its name; leave it out with "
                f"--exclude '*{name}/*', or rename it"
            )
        other = spelled.setdefault(normalize("NFC", normalize("NFC", name).casefold()), name)
        if normalize("NFC", other) != normalize("NFC", name):
            raise InputError(f"{root}: the class folders {other} and {name} differ in case only; give them one name")


def _refuse_one_class(root: Path, name: str, places: Folders, above: str, mask_folders: Sequence[str]) -> None:
    around, inside = _chain(name, places)
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
    taken_for_masks = sorted({folder.rpartition("/")[2] for folder in mask_folders if folder.count("/") == bool(above)})
    if taken_for_masks:
        names = " ".join(f"--class {folder!r}" for folder in [name, *taken_for_masks])
        raise InputError(
            f"{whole}; {some(taken_for_masks)} is taken for a folder of masks by its name and by the names of its files"
            f": if it is a class, give {names}; if it holds masks, give the folder that holds all the class folders"
        )
    raise InputError(
        f"{whole}, so that there is one class; give the folder that holds all the class folders, or --one-class if "
        "that is meant"
    )


def _chain(name: str, places: Folders) -> tuple[list[str], set[tuple[str, ...]]]:
    """The folders from `name` down to where images or several folders are; and the places below those."""
    inside = {parts[1:] for parts in places if parts and parts[0] == name}
    around = [name]
    while () not in inside and len({parts[0] for parts in inside}) == 1:
        around.append(next(iter(inside))[0])
        inside = {parts[1:] for parts in inside}
    return around, inside


def _refuse_root_too_high(root: Path, classes: Sequence[str], places: Folders, above: str) -> None:
    """One folder that holds the classes, beside others that are none: figures of a manual, say."""
    chains = {name: _chain(name, places) for name in classes}
    nested = [name for name, (_, inside) in chains.items() if () not in inside]
    flat = [name for name, (around, inside) in chains.items() if len(around) == 1 and () in inside]
    unlikely = [name for name in classes if _NO_CLASS.fullmatch(name)]
    if not unlikely and (len(nested) != 1 or len(flat) != len(classes) - 1):
        return
    holder = next((name for name in nested if name in unlikely), nested[0] if nested else "")
    if not holder:
        raise InputError(
            f"{root}: {above}{some(unlikely)} is no class by its name; leave it out with --exclude '{unlikely[0]}/*', "
            "or, where it is a class, name each class with --class"
        )
    around, inside = chains[holder]
    within = {parts[0] for parts in inside}
    others = [name for name in classes if name != holder]
    place = f"give {root.joinpath(*around)} as ROOT" if not above else "put them where the classes are"
    raise InputError(
        f"{root}: {above}{'/'.join(around)}/ holds its images in the folders {some(within)}, beside {some(others)}; if "
        f"those folders are the classes, {place}; if {some(classes)} are, name each with --class"
    )


def _refuse_splits_within(root: Path, places: Folders) -> None:
    """Splits below the classes: to take them all as one class folder would mix the test images into the training."""
    splits = {tuple(filter(None, map(split_of_folder, parts[1:]))) for parts in places if parts}
    if len(splits) > 1:
        names = sorted({name for parts in places for name in parts[1:] if split_of_folder(name)})
        raise InputError(
            f"{root}: {some(names)} lie within classes, where splits are not read; move them above the classes "
            f"({names[0]}/CLASS/), or take one of them with --include '*/{names[0]}/*'"
        )
