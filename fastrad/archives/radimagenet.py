"""RadImageNet: radiology_ai/<MOD>/<anatomy>/<pathology>/*.png (CT, MR), radiology_ai/US/<organ>/*.png, three CSVs.

In: the folder that holds radiology_ai/, or that folder itself. Out: the train, val and test tables one after another,
unsorted, as released; without any table the labels are MOD__anatomy__pathology and US__organ, in sorted path order.
The release has no patient ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from fastrad.archives.base import NO_PATIENTS, manifest_of_columns
from fastrad.archives.manifest import SPLITS, Manifest
from fastrad.errors import InputError
from fastrad.imaging.walk import WalkOptions, walk_images
from fastrad.system.csv_file import read_csv

IMAGES = "radiology_ai"
MODALITIES = ("CT", "MR", "US")


@dataclass(frozen=True)
class Options(WalkOptions):
    """Where RadImageNet's CSV files are, or which of its images to take where no CSV lists them.

    Attributes
    ----------
    tables : Path or None
        The folder of RadiologyAI_train.csv, _val.csv and _test.csv, by default ROOT, or the image folder or its parent.
    """

    tables: Path | None = None


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read RadImageNet; see the module for the layout.

    Raises
    ------
    InputError
        If the folder is not in this layout, or a CSV is empty or lacks `filename` or `label`.
    """
    images = root / IMAGES if (root / IMAGES).is_dir() else root
    if not any((images / modality).is_dir() for modality in MODALITIES):
        raise InputError(f"{root}: holds neither {IMAGES}/ nor CT/, MR/ or US/; give the folder that does")
    base = images.parent if images.name == IMAGES else images
    prefix = f"{IMAGES}/" if images.name == IMAGES else ""
    tables = _find_tables(dict.fromkeys([options.tables] if options.tables else [root, images, images.parent]))
    if options.tables is not None and not tables:
        raise InputError(f"{options.tables}: holds none of {', '.join(map(_table_name, SPLITS))}")
    if not tables:
        return _read_folders(root, images, exclude, options)
    if options.include_patterns or options.exclude_patterns:
        raise InputError(f"{root}: its CSV files list the images; --include and --exclude are for folders alone")
    parts = []
    for split, path in tables.items():
        part = read_csv(path, ["filename", "label"])
        part["split"] = split
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    notes = [f"no {_table_name(split)}: that split is left out" for split in SPLITS if split not in tables]
    return manifest_of_columns(
        base,
        "radimagenet",
        path=[_relative(name, prefix) for name in table["filename"].tolist()],
        label=table["label"].tolist(),
        split=table["split"].tolist(),
        notes=[*notes, NO_PATIENTS],
        spelled=True,
    )


def _table_name(split: str) -> str:
    return f"RadiologyAI_{split}.csv"


def _relative(filename: str, prefix: str) -> str:
    """A table's file name as a path below the manifest's root; names that no archive has stay as they are."""
    if not filename or filename[0] == "/":
        return filename
    if "\\" in filename:  # written on Windows
        filename = filename.replace("\\", "/")
    return prefix + filename.removeprefix("./").removeprefix(f"{IMAGES}/")


def _find_tables(folders: Iterable[Path]) -> dict[str, Path]:
    """The CSV of each split, in the first of the folders that has it."""
    found = {}
    for split in SPLITS:
        for folder in folders:
            if (folder / _table_name(split)).is_file():
                found[split] = folder / _table_name(split)
                break
    return found


def _read_folders(root: Path, images: Path, exclude: Sequence[Path | str], options: Options) -> Manifest:
    base, prefix = (images.parent, f"{IMAGES}/") if images.name == IMAGES else (images, "")
    found = walk_images(images, exclude, options, prefix="" if images == root else prefix)
    labels, reasons = [], []
    for path, reason in found:
        label, why = _label(path)
        labels.append(label)
        reasons.append(reason or why)
    return manifest_of_columns(
        base,
        "radimagenet",
        path=[prefix + path for path in found.paths],
        label=labels,
        reason=reasons,
        notes=[*found.notes, "no RadiologyAI CSV: labels are taken from the folders, there are no splits", NO_PATIENTS],
    )


def _label(path: str) -> tuple[str, str]:
    """The label that a path stands for, and a reason where it stands for none."""
    *folders, _ = path.split("/")
    if not folders or folders[0] not in MODALITIES:
        return "", "lies outside CT/, MR/ and US/"
    depth = 2 if folders[0] == "US" else 3
    if len(folders) < depth:
        return "", f"lies in no {'organ' if depth == 2 else 'pathology'} folder"
    return normalize("NFC", "__".join(folders[:depth])), ""
