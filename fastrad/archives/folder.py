"""One folder a class: ROOT/<class>/**, or ROOT/{train,val,test}/<class>/**.

In: a folder. Out: its images in sorted path order, labelled by class folder. The layout has no patient ids. What looks
like another arrangement (splits within classes, ROOT a level too high, one class alone) is asked about, not guessed:
`folder_checks.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from fastrad.archives.base import Row, manifest_of_columns
from fastrad.archives.clips import FRAMES, choose_frames, expand_clips, note_pictures
from fastrad.archives.folder_checks import refuse_other_arrangements, splits_of_tops
from fastrad.archives.manifest import Manifest
from fastrad.imaging.walk import WalkOptions, walk_images


@dataclass(frozen=True)
class Options(WalkOptions):
    """What can be chosen about class folders.

    Attributes
    ----------
    one_class : bool
        ROOT holds one class on purpose, to be joined with others later.
    classes : tuple of str
        A folder that is a class, whatever it is called and whatever lies in it; with it those named are all the
        classes.
    frames : str
        Which frames of each DICOM or GIF file to store.
    """

    one_class: bool = False
    classes: tuple[str, ...] = field(default=(), metadata={"option": "--class", "metavar": "FOLDER"})
    frames: str = field(default="first", metadata={"metavar": FRAMES})

    def __post_init__(self) -> None:
        choose_frames(self.frames, 1)


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read an archive of class folders.

    ROOT has splits if a folder in it is named like train, or all are named like splits: train, training, val, valid,
    validation, test, testing, also with set, data or images behind it; upper or lower case.

    Raises
    ------
    InputError
        If no images are found, or if the folders look like something else: splits or folds where classes should be, one
        folder around all of them, one class alone; or if a class is named that is not there.
    """
    given = [normalize("NFC", name) for name in options.classes]
    found = walk_images(root, exclude, options, no_masks=given)
    folders = [tuple(path.split("/")[:-1]) for path in found.paths]
    splits, notes = splits_of_tops(root, {parts[0] for parts in folders if parts}, given)
    if found.paths:
        refuse_other_arrangements(root, set(folders), splits, given, options.one_class, found.mask_folders)
    rows = []
    for (path, reason), parts in zip(found, folders, strict=True):
        split = ""
        if splits:
            split = splits.get(parts[0], "") if parts else ""
            if not split:
                reason = reason or "lies in no train, val or test folder"
            parts = parts[1:]
        label = normalize("NFC", parts[0]) if parts else ""
        if not label:
            reason = reason or "lies in no class folder"
        elif given and label not in given:
            reason = reason or "lies in no folder that --class names"
        rows.append(Row(path, label=label, split=split, reason=reason))
    table = pd.DataFrame(rows, columns=list(Row._fields))
    if options.frames != "first":
        table = expand_clips(root, table, options.frames)
    return manifest_of_columns(
        root,
        "folder",
        **{name: table[name].tolist() for name in Row._fields},
        notes=[*found.notes, *notes, *note_pictures(root, found.paths)],
    )
