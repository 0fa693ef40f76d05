"""One folder a class: ROOT/<class>/**, or ROOT/{train,val,test}/<class>/**.

In: a folder. Out: its images in sorted path order, labelled by class folder. The layout has no patient ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrad.archives.base import SPLIT_NAMES, Row, manifest_of_rows
from fastrad.archives.manifest import Manifest
from fastrad.archives.walk import walk_images


@dataclass(frozen=True)
class Options:
    """Class folders leave nothing to choose."""


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read an archive of class folders.

    ROOT has splits if it holds a folder named train (or training), or none but folders named like splits (val, valid,
    validation, test, testing; upper or lower case).

    Raises
    ------
    InputError
        If no images are found.
    """
    found = walk_images(root, exclude)
    top = {path.partition("/")[0].lower() for path in found.paths if "/" in path}
    has_splits = bool(top) and (bool(top & {"train", "training"}) or top <= set(SPLIT_NAMES))
    rows = []
    for path, reason in found:
        *folders, _ = path.split("/")
        split = ""
        if has_splits:
            split = SPLIT_NAMES.get(folders[0].lower(), "") if folders else ""
            if not split:
                reason = reason or "lies in no train, val or test folder"
            folders = folders[1:]
        if not folders:
            reason = reason or "lies in no class folder"
        rows.append(Row(path, label=folders[0] if folders else "", split=split, reason=reason))
    return manifest_of_rows(root, "folder", rows, found.notes)
