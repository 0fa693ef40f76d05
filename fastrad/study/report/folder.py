"""A study's folder as its report reads it: every table compared with its seal, and with what the others say.

In: the folder. Out: a `StudyFolder`. What was altered is refused by name; a folder of 0.1.0 has no seals, which the
report says.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from fastrad.errors import FormatError, InputError
from fastrad.study.predictions import read_predictions, refuse_contradictions
from fastrad.study.protocol.ledger import LEDGER, Scoring, overlap, read_ledger
from fastrad.study.protocol.record import NETWORKS, check_intentions, labels_sha256, read_record, read_study
from fastrad.study.protocol.seals import AGAIN, check_files, seal_of
from fastrad.system.csv_file import bare, plain_content


@dataclass(frozen=True)
class StudyFolder:
    """What a report is made from.

    Attributes
    ----------
    study : dict
        `study.json`.
    predictions : table
    external : tuple of tables
        One for each of the study's external datasets.
    curve : table or None
        Predictions of the learning curve.
    fixed : table or None
        Predictions of the fixed recipe's networks, where the others' recipes were searched for.
    attributes : table or None
        Of the test patients, text, indexed by patient.
    earlier : tuple of Scoring
        Other scorings of test images of this study, by the ledger.
    current : Scoring or None
        This study's own entry.
    unused : tuple of str
        Networks in `runs/` that are not the study's.
    """

    study: dict
    predictions: pd.DataFrame
    external: tuple[pd.DataFrame, ...]
    curve: pd.DataFrame | None
    fixed: pd.DataFrame | None
    attributes: pd.DataFrame | None
    earlier: tuple[Scoring, ...]
    current: Scoring | None
    unused: tuple[str, ...]


def read_folder(folder: Path) -> StudyFolder:
    """Read a study's folder and check it.

    Raises
    ------
    InputError
        If the folder holds no finished study.
    FormatError
        If its record or a table was cut short or altered, or they contradict each other.
    """
    for name in ("study.json", "predictions.csv"):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: has no {name}; `fastrad compare ... --out {folder}` makes a study")
    study = read_study(folder)
    check_intentions(study, folder)
    check_files(study, folder, f"`fastrad report {folder} --rescore DATASET` scores again from the weights, or {AGAIN}")
    predictions = _table(folder / "predictions.csv")
    unknown = sorted(set(predictions["arm"]) ^ {arm["name"] for arm in study["arms"]})
    if unknown:
        raise FormatError(f"{folder}: study.json and predictions.csv differ in the arm {unknown[0]}; {AGAIN}")
    _refuse_other_labels(predictions, study["dataset"], folder / "predictions.csv")
    external = []
    for about in study["external"]:
        path = folder / "external" / about["file"]
        external.append(_table(path))
        _refuse_other_labels(external[-1], about, path)
    splits = folder / "splits.csv"
    if splits.is_file():
        _compare_with_splits(predictions, study, splits)
    curve, attributes = folder / "learning_curve.csv", folder / "subgroups.csv"
    fixed = folder / "fixed_recipe.csv"
    current, earlier = _scorings(folder, study)
    return StudyFolder(
        study,
        predictions,
        tuple(external),
        _table(curve) if curve.is_file() else None,
        _table(fixed) if fixed.is_file() else None,
        pd.read_csv(attributes, dtype=str, keep_default_na=False).map(bare).rename(columns=bare).set_index("patient")
        if attributes.is_file()
        else None,
        earlier,
        current,
        _unused(folder, study, predictions, curve.is_file()),
    )


def _table(path: Path) -> pd.DataFrame:
    table = read_predictions(path)
    refuse_contradictions(table, path)
    return table


def _refuse_other_labels(predictions: pd.DataFrame, about: dict, path: Path) -> None:
    """Refuse labels that are not those of the dataset's card, by the hash that `compare` took of them."""
    if "labels_sha256" not in about:  # of 0.1.0
        return
    labels = predictions.drop_duplicates("row")
    if labels_sha256(labels["row"], labels["label"]) != about["labels_sha256"]:
        raise FormatError(f"{path}: its labels are not those of the dataset {about['name']}; {AGAIN}")


def _compare_with_splits(predictions: pd.DataFrame, study: dict, path: Path) -> None:
    content = path.read_bytes()
    hashes = {hashlib.sha256(each).hexdigest() for each in (content, plain_content(content))}
    if study["protocol"]["splits_sha256"] not in hashes:
        raise FormatError(f"{path}: was altered after it was written (its hash differs from study.json's); {AGAIN}")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    held_out = dict(zip(table["patient"].map(bare), table["set"] == "test", strict=True))
    of_patient = predictions.drop_duplicates(["patient", "set"])
    for patient, set_, row in zip(of_patient["patient"], of_patient["set"], of_patient["row"], strict=True):
        if held_out.get(patient) != (set_ == "test"):
            where = "held out" if held_out.get(patient) else "not held out"
            raise FormatError(
                f"{path.with_name('predictions.csv')}: row {row} stands as {set_}, but splits.csv has its patient "
                f"{where}; {AGAIN}"
            )


def _scorings(folder: Path, study: dict) -> tuple[Scoring | None, tuple[Scoring, ...]]:
    entries = read_ledger(folder / LEDGER)
    current = next((each for each in entries if each.key == study.get("scoring")), None)
    if current is None:
        return None, ()
    return current, tuple(each for each in entries if each != current and overlap(each, current))


def _unused(folder: Path, study: dict, predictions: pd.DataFrame, curve: bool) -> tuple[str, ...]:
    """The networks in `runs/` that are none of the study's; its own are compared with their seals."""
    runs = folder / "runs"
    if not runs.is_dir():
        return ()
    if "networks" in study:
        seals = {each["name"]: each["seal"] for kind in NETWORKS for each in study.get(kind, [])}
    else:
        used = predictions[["arm", "seed", "fold"]].drop_duplicates().itertuples(index=False, name=None)
        seals = {f"{arm}-seed{seed}-fold{fold}": "" for arm, seed, fold in used}
    for name, seal in seals.items():
        if not (runs / name).is_dir():
            continue
        run = read_record(runs / name / "run.json", AGAIN)
        check_files(run, runs / name, f"`fastrad report {folder} --rescore DATASET` scores again from the weights")
        if "networks" in study and seal_of(run) != seal:
            raise FormatError(f"{runs / name / 'run.json'}: is not the network that the study was made with; {AGAIN}")
    others = [path.name for path in runs.iterdir() if path.is_dir() and path.name not in seals]
    in_curve = curve and "networks" not in study  # 0.1.0 kept no list of them
    return tuple(sorted(name for name in others if not name.startswith((".", "patients") if in_curve else ".")))
