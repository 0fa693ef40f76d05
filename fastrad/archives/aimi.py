"""Stanford AIMI thyroid cine clips: dataset.hdf5 (image, annot_id, frame_num) and metadata.csv, one line a nodule.

In: the folder that holds them. Out: a row a frame taken, in the file's order; label benign or malignant by the
histopathological diagnosis. Only the two index columns of the 36 GB file are read here. `annot_id` is a nodule, not a
patient; what stands before its underscore is the closest to a patient that the archive gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fastrad.archives.base import manifest_of_columns
from fastrad.archives.clips import FRAMES, choose_frames
from fastrad.archives.manifest import Manifest
from fastrad.errors import InputError
from fastrad.imaging.hdf5 import opened_hdf5, own_dataset, read_hdf5_column
from fastrad.system.csv_file import read_csv

IMAGES, METADATA = "dataset.hdf5", "metadata.csv"
LABELS = {"0": "benign", "1": "malignant", "benign": "benign", "malignant": "malignant"}


@dataclass(frozen=True)
class Options:
    """What can be chosen about the clips.

    Attributes
    ----------
    frames : str
        Which frames of each clip to store, in the order of `frame_num`.
    """

    frames: str = field(default="all", metadata={"metavar": FRAMES})

    def __post_init__(self) -> None:
        choose_frames(self.frames, 1)


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read the cine clips; nothing is walked, so nothing is excluded.

    Raises
    ------
    InputError
        If a file is missing, damaged, or lacks a dataset or column.
    """
    nodules, numbers = _read_index(root / IMAGES)
    metadata = read_csv(root / METADATA, ["annot_id", "histopath_diagnosis"])
    diagnoses = dict(zip(metadata["annot_id"], metadata["histopath_diagnosis"], strict=True))
    taken = np.zeros(len(nodules), bool)
    clips = np.unique(nodules, return_inverse=True)[1]
    in_order = np.lexsort((numbers, clips))
    for clip in np.split(in_order, np.flatnonzero(np.diff(clips[in_order])) + 1):
        taken[clip[choose_frames(options.frames, len(clip))]] = True
    rows = np.flatnonzero(taken)
    labels, reasons = [], []
    for nodule in nodules[rows]:
        diagnosis = diagnoses.get(nodule)
        value = (diagnosis or "").lower().removesuffix(".0")
        known = value in LABELS or not value
        labels.append(LABELS.get(value, ""))
        reasons.append("" if known else f"diagnosis {diagnosis!r} is none of 0 (benign), 1 (malignant)")
    return manifest_of_columns(
        root,
        "aimi",
        path=[IMAGES] * len(rows),
        frame=rows.tolist(),
        label=labels,
        patient=[nodule.partition("_")[0] for nodule in nodules[rows]],
        reason=reasons,
        notes=_notes(nodules, diagnoses, len(rows)),
    )


def _read_index(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """`annot_id` (str) and `frame_num` of every frame."""
    with opened_hdf5(str(path)) as file:
        names = list(file)  # `in` would follow a link out of the file
        missing = [name for name in ("image", "annot_id", "frame_num") if name not in names]
        if missing:
            held = ", ".join(names[:10]) or "nothing"
            raise InputError(f"{path}: no dataset {', '.join(missing)}; it holds {held}")
        nodules = read_hdf5_column(file, "annot_id", str(path)).astype(str)
        numbers = read_hdf5_column(file, "frame_num", str(path))
        count = len(own_dataset(file, "image", str(path)))
    if not len(nodules) == len(numbers) == count:
        raise InputError(f"{path}: {count} images, but {len(nodules)} annot_id and {len(numbers)} frame_num")
    return nodules, numbers


def _notes(nodules: np.ndarray, diagnoses: dict[str, str], taken: int) -> list[str]:
    clips = set(nodules.tolist())
    notes = [
        f"{taken} of {len(nodules)} frames are taken, from {len(clips)} clips",
        "the archive has no patient ids: clips are kept together by the number before annot_id's underscore",
    ]
    unknown = sum(nodule not in diagnoses for nodule in clips)
    if unknown:
        notes.append(f"{unknown} clips have no line in {METADATA}: they are unlabelled")
    return notes
