"""TN3K: trainval-image/0000.jpg, test-image/0000.jpg, and label4trainval.csv and label4test.csv without a header.

In: the folder that holds them. Out: the rows of both tables (splits train and test; 0 benign, 1 malignant), then the
images that no table names, unlabelled. The two folders share file names, so each table is about its own folder alone.
There are no patient ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fastrad.archives.base import NO_PATIENTS, Row, manifest_of_rows
from fastrad.archives.manifest import Manifest
from fastrad.errors import InputError
from fastrad.imaging.walk import walk_images
from fastrad.system.csv_file import read_csv

PARTS = {"trainval": "train", "test": "test"}
LABELS = {"0": "benign", "1": "malignant"}


@dataclass(frozen=True)
class Options:
    """TN3K leaves nothing to choose."""


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read TN3K.

    Raises
    ------
    InputError
        If the folder holds neither trainval-image/ nor test-image/, or a table is missing or empty.
    """
    parts = [part for part in PARTS if (root / f"{part}-image").is_dir()]
    if not parts:
        raise InputError(f"{root}: holds neither trainval-image/ nor test-image/")
    listed: list[Row] = []
    unlabelled: list[Row] = []
    for part in parts:
        path = root / f"label4{part}.csv"
        if not path.is_file():
            raise InputError(
                f"{path}: no such table; TN3K's labels come from another repository than its images, "
                "github.com/chenghui-666/ACL: put label4trainval.csv and label4test.csv beside the image folders"
            )
        table = read_csv(path, ["name", "label"], header=False)
        for name, value in zip(table["name"], table["label"], strict=True):
            reason = "" if value in LABELS else f"label {value!r} is none of 0 (benign), 1 (malignant)"
            listed.append(Row(f"{part}-image/{name}", label=LABELS.get(value, ""), split=PARTS[part], reason=reason))
        named = set(table["name"])
        unlabelled += [
            Row(f"{part}-image/{path}", split=PARTS[part], reason=reason)
            for path, reason in walk_images(root / f"{part}-image", exclude)
            if path not in named
        ]
    return manifest_of_rows(root, "tn3k", [*listed, *unlabelled], [NO_PATIENTS], spelled=True)
