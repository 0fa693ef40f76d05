"""One folder a class: ROOT/<class>/**, or ROOT/{train,val,test}/<class>/**.

In: a folder. Out: its images in sorted path order, labelled by class folder. The layout has no patient ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastrad.archives.base import assemble
from fastrad.archives.manifest import Manifest
from fastrad.archives.walk import first_folder, walk_images

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def read(root: Path, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read an archive of class folders.

    ROOT has splits if it holds a folder named train (or training), or none but folders named like splits (val, valid,
    validation, test, testing; upper or lower case).

    Raises
    ------
    InputError
        If no images are found.
    """
    found = walk_images(root, exclude)
    top = {name.lower() for name in first_folder(found.paths)}
    has_splits = bool(top) and (bool(top & {"train", "training"}) or top <= set(SPLIT_NAMES))
    labels, splits, reasons = [], [], []
    for path, reason in zip(found.paths, found.reasons, strict=True):
        *folders, _ = path.split("/")
        split = ""
        if has_splits:
            split = SPLIT_NAMES.get(folders[0].lower(), "") if folders else ""
            if not split:
                reason = reason or "lies in no train, val or test folder"
            folders = folders[1:]
        if not folders:
            reason = reason or "lies in no class folder"
        labels.append(folders[0] if folders else "")
        splits.append(split)
        reasons.append(reason)
    return assemble(root, "folder", path=found.paths, label=labels, split=splits, reason=reasons, notes=found.notes)
