"""TN5000: {Train,Valid,Test}/{Benign,Malignant}/*.png.

In: the folder that holds them. Out: the images in sorted path order, labels benign and malignant. No patient ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrad.archives.base import NO_PATIENTS, SPLIT_NAMES, Row, manifest_of_rows
from fastrad.archives.manifest import Manifest
from fastrad.errors import InputError
from fastrad.imaging.walk import WalkOptions, walk_images

LABELS = ("benign", "malignant")


@dataclass(frozen=True)
class Options(WalkOptions):
    """Which of TN5000's images to take."""


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read TN5000.

    Raises
    ------
    InputError
        If none of Train/, Valid/ and Test/ holds a folder Benign/ or Malignant/.
    """
    found = walk_images(root, exclude, options)
    rows = []
    for path, reason in found:
        split, label, *_ = [part.lower() for part in path.split("/")[:-1]] + ["", ""]
        if split in SPLIT_NAMES and label in LABELS:
            rows.append(Row(path, label=label, split=SPLIT_NAMES[split], reason=reason))
        else:
            where = "lies in no Benign/ or Malignant/ of Train/, Valid/ or Test/"
            rows.append(Row(path, reason=reason or where))
    if not any(row.label for row in rows):
        raise InputError(f"{root}: holds no Train/, Valid/ or Test/ with Benign/ and Malignant/")
    return manifest_of_rows(root, "tn5000", rows, [*found.notes, NO_PATIENTS])
