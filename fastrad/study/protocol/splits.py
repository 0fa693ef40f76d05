"""Who is held out for the test, and who is in which fold: by patient, stratified, written down."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastrad.errors import InputError, OptionError
from fastrad.study.protocol.abstract import TEST_FRACTION
from fastrad.study.protocol.patient_names import translator
from fastrad.study.protocol.patients import StudyDataset
from fastrad.system.csv_file import harmless, read_csv

TEST, DEVELOPMENT, LEFT_OUT = "test", "development", "left out"
HELD_OUT = -1
NOWHERE = -2
LEAST_TESTED = 2  # patients of each class, below which there is no interval


@dataclass(frozen=True)
class Splits:
    """Where each patient is.

    Attributes
    ----------
    patients : tuple of str
        In the dataset's order.
    labels : int64 array, shape (patients,)
        1 is malignant.
    fold : int64 array, shape (patients,)
        -1 for the held-out test set, -2 for who is left out, else the fold (0 to folds - 1) in which the patient is
        validated.
    folds : int
    """

    patients: tuple[str, ...]
    labels: NDArray[np.int64]
    fold: NDArray[np.int64]
    folds: int

    def test(self) -> NDArray[np.bool_]:
        """Bool array over patients: the held-out test set."""
        return self.fold == HELD_OUT

    def validation(self, fold: int) -> NDArray[np.bool_]:
        """Bool array over patients: the validation part of a fold."""
        return self.fold == fold

    def training(self, fold: int) -> NDArray[np.bool_]:
        """Bool array over patients: the training part of a fold."""
        return self.development() & (self.fold != fold)

    def development(self) -> NDArray[np.bool_]:
        """Bool array over patients: all folds."""
        return self.fold >= 0

    def without(self, patients: NDArray[np.bool_]) -> Splits:
        """The same with these patients left out."""
        return replace(self, fold=np.where(patients, NOWHERE, self.fold))

    @cached_property
    def sha256(self) -> str:
        """The hash of `to_csv`, which names these splits in the records of a study."""
        return hashlib.sha256(self.to_csv().encode()).hexdigest()

    def file_content(self) -> bytes:
        """`splits.csv`: `to_csv`, but no patient's id is a formula that a spreadsheet would execute."""
        return replace(self, patients=tuple(map(harmless, self.patients))).to_csv().encode()

    def to_csv(self) -> str:
        """The table `patient,label,set,fold`; `fold` is empty for the test set."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["patient", "label", "set", "fold"])
        for patient, label, fold in zip(self.patients, self.labels, self.fold, strict=True):
            set_ = {HELD_OUT: TEST, NOWHERE: LEFT_OUT}.get(int(fold), DEVELOPMENT)
            writer.writerow([patient, int(label), set_, int(fold) if set_ == DEVELOPMENT else ""])
        return out.getvalue()


def make_splits(
    dataset: StudyDataset, *, test_fraction: float = TEST_FRACTION, folds: int = 5, seed: int = 0
) -> Splits:
    """Draw a held-out test set and folds, stratified by label; patients of one group stay together.

    Where no groups bind, the test set has exactly round(test_fraction * patients) patients and every fold the same
    number of each class, up to one.

    Raises
    ------
    InputError
        If a class has too few patients for two in the test set and one in each fold.
    """
    fold = np.full(len(dataset.patients), HELD_OUT, dtype=np.int64)
    rng = np.random.default_rng([seed, 1])
    held_out = _draw_test(dataset, test_fraction, rng)
    _deal_folds(dataset, np.flatnonzero(~held_out), folds, rng, fold)
    splits = Splits(dataset.patients, dataset.patient_labels, fold, folds)
    check_splits(splits, dataset)
    return splits


def read_splits(
    path: Path, dataset: StudyDataset, *, folds: int = 5, seed: int = 0, key_path: Path | None = None
) -> Splits:
    """Take splits from a CSV with the columns `patient,set[,fold]` (as written to `splits.csv`).

    `patient` is the dataset's name for a patient, or the id behind a pseudonym, where its key is at `key_path` or in
    the user's configuration folder. `set` is test or development. Where the column `fold` is absent or empty for all,
    folds are drawn; so a split by time or by site needs to name the test patients only.

    Raises
    ------
    InputError
        If a patient is missing, unknown or in two sets, or identical images lie on both sides.
    """
    table = read_csv(path, ["patient", "set"], optional=["fold"], line_numbers=True)
    place = {name: index for index, name in enumerate(dataset.patients)}
    named_in_dataset = translator(dataset, key_path)
    where: dict[int, tuple[str, str]] = {}
    fold_texts = table["fold"] if "fold" in table else [""] * len(table)
    for number, name, set_, fold_text in zip(table.index, table["patient"], table["set"], fold_texts, strict=True):
        patient = named_in_dataset(name)
        if patient not in place:  # which is not said: it may be a person's own id
            raise InputError(f"{path}, line {number}: the dataset has no such patient{_other_key(dataset)}")
        if set_ not in (TEST, DEVELOPMENT, LEFT_OUT):
            raise InputError(f"{path}, line {number}: set {set_!r} is neither test nor development")
        if fold_text and not (fold_text.isascii() and fold_text.isdigit() and len(fold_text) < 4):
            raise InputError(f"{path}, line {number}: fold {fold_text!r} is not a number from 0")
        entry = (set_, fold_text if set_ == DEVELOPMENT else "")
        if where.setdefault(place[patient], entry) != entry:
            raise InputError(f"{path}, line {number}: this patient is in two sets; a patient belongs to one")
    absent = [name for name, index in place.items() if index not in where]
    if absent:
        raise InputError(f"{path}: {len(absent)} patients of the dataset are missing, first {absent[0]}")
    fold = np.full(len(place), HELD_OUT, dtype=np.int64)
    fold[[index for index, (set_, _) in where.items() if set_ == LEFT_OUT]] = NOWHERE
    development = [index for index, (set_, _) in where.items() if set_ == DEVELOPMENT]
    named = {index: where[index][1] for index in development}
    if not any(named.values()):
        _deal_folds(dataset, np.sort(development), folds, np.random.default_rng([seed, 1]), fold)
    elif all(named.values()):
        for index, text in named.items():
            fold[index] = int(text)
        folds = int(fold.max()) + 1
        empty = set(range(folds)) - set(fold.tolist())
        if empty:
            raise InputError(f"{path}: no patient has fold {min(empty)}; folds count from 0 without a gap")
    else:
        raise InputError(f"{path}: some development patients have a fold and some have none; give all or none")
    splits = Splits(dataset.patients, dataset.patient_labels, fold, folds)
    check_splits(splits, dataset)
    return splits


def _other_key(dataset: StudyDataset) -> str:
    if dataset.card.patient_ids != "pseudonym":
        return ""
    return "; its patients are pseudonyms: use those, or your ids with the --pseudonym-key of its conversion"


def check_splits(splits: Splits, dataset: StudyDataset) -> None:
    """Refuse splits on which the study could not be computed, or that leak.

    Raises
    ------
    InputError
        If identical images lie on both sides, a fold lacks a class, or the test set has fewer than two of each.
    """
    for group in np.unique(dataset.groups[np.bincount(dataset.groups)[dataset.groups] > 1]):
        members = np.flatnonzero((dataset.groups == group) & (splits.fold != NOWHERE))
        if len(set(splits.fold[members])) > 1:
            names = ", ".join(splits.patients[member] for member in members)
            raise InputError(
                f"the patients {names} share an image (identical pixels or a near copy) but are split: a leak"
            )
    if splits.folds < 2:
        raise InputError(f"{splits.folds} fold: cross-validation needs at least 2")
    for name, label in (("malignant", 1), ("benign", 0)):
        held_out = int((splits.test() & (splits.labels == label)).sum())
        if held_out < LEAST_TESTED:
            raise InputError(
                f"the test set has {held_out} {name} patients of {int((splits.labels == label).sum())} in all: "
                f"an interval needs at least {LEAST_TESTED}; give more patients or another split"
            )
        for fold in range(splits.folds):
            if not (splits.validation(fold) & (splits.labels == label)).any():
                raise InputError(
                    f"fold {fold} has no {name} patient ({int((splits.labels == label).sum())} in all): "
                    f"lower --folds (now {splits.folds}) or give more patients"
                )


def training_subset(splits: Splits, fold: int, patients: int | None, seed: int) -> NDArray[np.bool_]:
    """The training part of a fold, or `patients` of its patients at the same prevalence.

    A smaller subset lies within every larger one of the same seed and fold; None takes all.

    Raises
    ------
    InputError
        If the fold has fewer patients, or so few are asked for that a class would be missing.
    """
    training = splits.training(fold)
    if patients is None:
        return training
    available = int(training.sum())
    malignant = round(patients * float(splits.labels[training].mean()))
    if patients >= available or not 0 < malignant < patients:
        raise InputError(
            f"learning curve: {patients} training patients cannot be drawn from the {available} of fold {fold} "
            "with both classes among them; give other numbers"
        )
    rng = np.random.default_rng([seed, fold, 2])
    chosen = np.zeros(len(training), dtype=bool)
    for label, count in ((1, malignant), (0, patients - malignant)):
        chosen[rng.permutation(np.flatnonzero(training & (splits.labels == label)))[:count]] = True
    return chosen


def _group_list(dataset: StudyDataset, patients: NDArray[np.int64], rng: np.random.Generator) -> list[NDArray]:
    """The groups among `patients` in random order, larger ones first: they are hardest to place."""
    groups = dataset.groups[patients]
    listed = [patients[groups == group] for group in np.unique(groups)]
    order = rng.permutation(len(listed))
    return sorted((listed[index] for index in order), key=len, reverse=True)


def _draw_test(dataset: StudyDataset, fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    if not 0 < fraction < 1:
        raise OptionError(f"test fraction {fraction} is not between 0 and 1")
    labels = dataset.patient_labels
    total = round(fraction * len(labels))
    malignant = round(fraction * int(labels.sum()))
    room = np.array([total - malignant, malignant])
    held_out = np.zeros(len(labels), dtype=bool)
    for members in _group_list(dataset, np.arange(len(labels)), rng):
        needed = np.bincount(labels[members], minlength=2)
        # A group of several patients goes to the larger side: a test set without it stays clean.
        if len(members) == 1 and (needed <= room).all():
            held_out[members] = True
            room -= needed
    return held_out


def _deal_folds(
    dataset: StudyDataset,
    patients: NDArray[np.int64],
    folds: int,
    rng: np.random.Generator,
    fold: NDArray[np.int64],
) -> None:
    """Give each group to the fold that has the fewest of its classes so far; ties go to the smallest fold."""
    if folds < 2:
        raise OptionError(f"{folds} fold: cross-validation needs at least 2")
    filled = np.zeros((folds, 2), dtype=np.int64)
    for members in _group_list(dataset, patients, rng):
        count = np.bincount(dataset.patient_labels[members], minlength=2)
        burden = filled[:, count > 0].sum(axis=1)
        chosen = min(range(folds), key=lambda index: (burden[index], filled[index].sum(), index))
        fold[members] = chosen
        filled[chosen] += count
