"""TN3K: trainval-image/0000.jpg, test-image/0000.jpg, and label4trainval.csv and label4test.csv without a header.

In: the folder that holds them. Out: the rows of both tables (splits train and test; 0 benign, 1 malignant), then the
images that no table names, unlabelled. The two folders share file names, so each table is about its own folder alone.
There are no patient ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastrad.archives.base import assemble
from fastrad.archives.manifest import Manifest
from fastrad.archives.radimagenet import NO_PATIENTS
from fastrad.archives.walk import walk_images
from fastrad.errors import InputError
from fastrad.system.csv_file import read_csv

PARTS = {"trainval": "train", "test": "test"}
LABELS = {"0": "benign", "1": "malignant"}


def read(root: Path, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read TN3K.

    Raises
    ------
    InputError
        If the folder holds neither trainval-image/ nor test-image/, or a table is missing or empty.
    """
    parts = [part for part in PARTS if (root / f"{part}-image").is_dir()]
    if not parts:
        raise InputError(f"{root}: holds neither trainval-image/ nor test-image/")
    listed: list[tuple[str, str, str, str]] = []
    unlabelled: list[tuple[str, str, str, str]] = []
    for part in parts:
        table = read_csv(root / f"label4{part}.csv", ["name", "label"], header=False)
        for name, value in zip(table["name"], table["label"], strict=True):
            reason = "" if value in LABELS else f"label {value!r} is none of 0 (benign), 1 (malignant)"
            listed.append((f"{part}-image/{name}", LABELS.get(value, ""), PARTS[part], reason))
        found = walk_images(root / f"{part}-image", exclude)
        named = set(table["name"])
        unlabelled += [
            (f"{part}-image/{path}", "", PARTS[part], reason)
            for path, reason in zip(found.paths, found.reasons, strict=True)
            if path not in named
        ]
    paths, labels, splits, reasons = zip(*listed, *unlabelled, strict=True)
    return assemble(root, "tn3k", path=paths, label=labels, split=splits, reason=reasons, notes=[NO_PATIENTS])
