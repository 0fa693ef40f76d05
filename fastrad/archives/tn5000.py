"""TN5000 as published (figshare 28455641), in the form of PASCAL VOC: JPEGImages/, Annotations/*.xml, ImageSets/Main/.

In: the folder that holds them, or one with {Train,Valid,Test}/{Benign,Malignant}/*.png, as it is passed on too. Out:
the images in the order of the lists (of folders: in sorted path order), labels benign and malignant, which the
annotations call 0 and 1. No patient ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrad.archives.base import NO_PATIENTS, SPLIT_NAMES, CropOptions, Row, manifest_of_rows
from fastrad.archives.manifest import Manifest
from fastrad.archives.voc import IMAGES, is_voc, read_voc
from fastrad.errors import InputError, OptionError
from fastrad.imaging.walk import WalkOptions, walk_images

LABELS = ("benign", "malignant")
_NAMES = {"0": "benign", "1": "malignant", "benign": "benign", "malignant": "malignant"}


@dataclass(frozen=True)
class Options(CropOptions, WalkOptions):
    """With a crop, each annotated nodule is a row with its bounding box."""


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read TN5000.

    Raises
    ------
    InputError
        If the folder is in neither form.
    OptionError
        If nodules are to be cropped where no annotations say where they are.
    """
    if is_voc(root):
        rows, notes = read_voc(root, _NAMES, options, options, exclude)
        return manifest_of_rows(root, "tn5000", rows, [*notes, NO_PATIENTS], spelled=True)
    inside = sorted(path.name for path in root.iterdir() if path.is_dir() and is_voc(path))
    if inside:
        raise InputError(f"{root}: its images lie in {inside[0]}/{IMAGES}/; give {root / inside[0]} as ROOT")
    if options.crop:
        raise OptionError(f"{root}: has no Annotations/ beside {IMAGES}/, which --crop nodule needs")
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
        raise InputError(
            f"{root}: holds neither {IMAGES}/ and Annotations/ nor Train/, Valid/ or Test/ with Benign/ and Malignant/"
        )
    return manifest_of_rows(root, "tn5000", rows, [*found.notes, NO_PATIENTS])
