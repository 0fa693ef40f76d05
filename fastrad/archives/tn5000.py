"""TN5000: {Train,Valid,Test}/{Benign,Malignant}/*.png.

In: the folder that holds them. Out: the images in sorted path order, labels benign and malignant. No patient ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastrad.archives.base import assemble
from fastrad.archives.folder import SPLIT_NAMES
from fastrad.archives.manifest import Manifest
from fastrad.archives.radimagenet import NO_PATIENTS
from fastrad.archives.walk import walk_images
from fastrad.errors import InputError

LABELS = ("benign", "malignant")


def read(root: Path, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read TN5000.

    Raises
    ------
    InputError
        If none of Train/, Valid/ and Test/ holds a folder Benign/ or Malignant/.
    """
    found = walk_images(root, exclude)
    labels, splits, reasons = [], [], []
    for path, reason in zip(found.paths, found.reasons, strict=True):
        split, label, *_ = [part.lower() for part in path.split("/")[:-1]] + ["", ""]
        known = split in SPLIT_NAMES and label in LABELS
        labels.append(label if known else "")
        splits.append(SPLIT_NAMES[split] if known else "")
        reasons.append(reason or ("" if known else "lies in no Benign/ or Malignant/ of Train/, Valid/ or Test/"))
    if not any(labels):
        raise InputError(f"{root}: holds no Train/, Valid/ or Test/ with Benign/ and Malignant/")
    return assemble(
        root,
        "tn5000",
        path=found.paths,
        label=labels,
        split=splits,
        reason=reasons,
        notes=[*found.notes, NO_PATIENTS],
    )
