"""The images of a study: which patient each belongs to, and whether that patient is malignant.

Patients who share an image are found here, so that the splits can keep them on one side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastrad.dataset import Card, Dataset
from fastrad.dataset.fingerprints import Fingerprints, read_own
from fastrad.dataset.opening import open_dataset
from fastrad.dataset.pixels import stored_digests
from fastrad.errors import InputError
from fastrad.study.protocol.copies import Copies, find_copies

MALIGNANT = "malignant"


@dataclass(frozen=True)
class StudyDataset:
    """A converted file seen as patients.

    Attributes
    ----------
    dataset : Dataset
        The opened file.
    positive : str
        The class that counts as malignant; every other class is benign.
    labels : int64 array, shape (images,)
        1 where the image's class is `positive`.
    rows : int64 array, shape (images,)
        Manifest rows.
    patient_of : int64 array, shape (images,)
        Index into `patients`.
    patients : tuple of str
        Pseudonyms, or "image-ROW" where the archive does not know patients and each image counts as one.
    patient_labels : int64 array, shape (patients,)
        1 where any of the patient's images is positive.
    groups : int64 array, shape (patients,)
        Patients that share an image, identical or a near copy, have one group number; they must not be separated.
    notices : tuple of str
        What the reader of the study must know, a line each.
    fingerprints : tuple of Fingerprints
        Of the stored images, and before them those of their sources where the dataset has them.
    copies : Copies
        What was found of copies among the images.
    """

    dataset: Dataset
    positive: str
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]
    patient_of: NDArray[np.int64]
    patients: tuple[str, ...]
    patient_labels: NDArray[np.int64]
    groups: NDArray[np.int64]
    notices: tuple[str, ...]
    fingerprints: tuple[Fingerprints, ...]
    copies: Copies

    @property
    def path(self) -> Path:
        """Of the dataset's file."""
        return Path(self.dataset.path)

    @property
    def card(self) -> Card:
        """The dataset's card."""
        return self.dataset.card


def read_patients(path: Path | str, positive: str | None = None) -> StudyDataset:
    """Open a converted file as a study sees it.

    Parameters
    ----------
    path : Path
        A `.beton` file, or a folder with `all.beton`.
    positive : str, optional
        The class that counts as malignant; by default the one named "malignant".

    Raises
    ------
    InputError
        If the folder has no `all.beton`, the file has a single class, or the positive class is not told.
    """
    path = study_file(path)
    file = open_dataset(path)
    positive = _positive_class(path, list(file.card.classes), positive)
    labels = (np.asarray(file.labels) == file.card.classes.index(positive)).astype(np.int64)
    rows = np.asarray(file.rows, dtype=np.int64)
    stored = np.asarray(file.patients, dtype=np.int64)
    names = np.array(
        [file.card.patients[index] if index >= 0 else f"image-{row}" for index, row in zip(stored, rows, strict=True)],
        dtype=str,
    )
    patients, patient_of = np.unique(names, return_inverse=True)
    patient_labels = np.zeros(len(patients), dtype=np.int64)
    np.maximum.at(patient_labels, patient_of, labels)
    digests, table = stored_digests(file)
    sources, stored_ones = read_own(file), Fingerprints.of(table)
    groups, copies = find_copies(file, digests, stored_ones, patient_of, len(patients))
    notices = []
    if len(file.card.classes) > 2:
        others = ", ".join(name for name in file.card.classes if name != positive)
        notices.append(f"the classes {others} count as benign together")
    unknown = int((stored < 0).sum())
    if unknown:
        notices.append(
            f"{unknown} of {len(rows)} images belong to no known patient: each counts as a patient of its own, so "
            "images of one patient may lie on both sides of a split and the intervals may be too narrow"
        )
    mixed = np.zeros(len(patients), dtype=bool)
    np.logical_or.at(mixed, patient_of, labels == 0)
    mixed &= patient_labels == 1
    if mixed.any():
        notices.append(f"{int(mixed.sum())} patients have benign and malignant images: they count as malignant")
    notices += copies.notices(len(patients))
    return StudyDataset(
        file,
        positive,
        labels,
        rows,
        patient_of.astype(np.int64),
        tuple(str(name) for name in patients),
        patient_labels,
        groups,
        tuple(notices),
        (stored_ones,) if sources is None else (sources, stored_ones),
        copies,
    )


def study_file(path: Path | str) -> Path:
    """The dataset file that a path stands for: itself, or `all.beton` of a folder.

    Raises
    ------
    InputError
        If the folder has no `all.beton`.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    if not (path / "all.beton").is_file():
        raise InputError(
            f"{path}: holds no all.beton; give a .beton file, or convert the archive with --ignore-splits "
            "(compare makes its own, by patient)"
        )
    return path / "all.beton"


def _positive_class(path: Path, classes: list[str], positive: str | None) -> str:
    listed = ", ".join(classes)
    if len(classes) < 2:
        raise InputError(f"{path}: has a single class ({listed}); compare needs benign and malignant")
    if positive is None:
        if MALIGNANT not in classes:
            raise InputError(
                f"{path}: none of its classes ({listed}) is named malignant; say which one is with --positive"
            )
        if len(classes) > 2:
            raise InputError(
                f"{path}: has the classes {listed}; give --positive {MALIGNANT} if all others are to count as benign, "
                "or convert the file with two labels"
            )
        return MALIGNANT
    if positive not in classes:
        raise InputError(f"{path}: has no class {positive!r} for --positive; it has {listed}")
    return positive
