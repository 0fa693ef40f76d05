"""Beyond the held-out test set: other datasets, and groups of its patients.

In: the finished networks, a dataset from elsewhere; a table of the patients' attributes. Out: predictions with the
set "external", kept in `external/`, and `subgroups.csv` with the attributes of the test patients.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from fastrad.errors import FormatError, InputError
from fastrad.study.inference import statistics
from fastrad.study.inference.evaluation import PREDICTION_COLUMNS, StudyResult
from fastrad.study.networks.predict import load_network, say_if_converted_otherwise, score_dataset
from fastrad.study.networks.runs import Network
from fastrad.study.predictions import read_predictions
from fastrad.study.protocol.patient_names import translator
from fastrad.study.protocol.patients import StudyDataset
from fastrad.system.files import write_atomically


def external_name(dataset: StudyDataset) -> str:
    """What an external dataset is called in the table: its file's name, or its folder's for `all.beton`."""
    return dataset.path.parent.resolve().name if dataset.path.name == "all.beton" else dataset.path.stem


def external_file(dataset: StudyDataset, predictions: bytes) -> str:
    """The name of its predictions in `external/`, by its content and by the networks, known by their `predictions`."""
    networks = hashlib.sha256(predictions).hexdigest()
    return f"{external_name(dataset)}-{dataset.card.sha256()[:8]}-{networks[:8]}.csv"


def check_external(dataset: StudyDataset, study: StudyDataset) -> None:
    """Refuse what is not external to the study, before anything is trained.

    Raises
    ------
    InputError
        If the two datasets share archive, patients or an image, or the external one has fewer than two patients of a
        class.
    """
    if dataset.card.manifest_sha256 and dataset.card.manifest_sha256 == study.card.manifest_sha256:
        raise InputError(f"{dataset.path}: was converted from the archive of the study itself: it is not external")
    same = {name for name in dataset.patients if not name.startswith("image-")} & set(study.patients)
    if same and dataset.card.patient_ids == study.card.patient_ids == "pseudonym":  # one key: one id, one patient
        raise InputError(f"{dataset.path}: {len(same)} of its patients are in the study: it is not external")
    if same:
        print(
            f"notice: {dataset.path}: {len(same)} patients have ids that occur in the study too; make sure that they "
            "are not the same people",
            file=sys.stderr,
        )
    shared = len(set(dataset.digests) & set(study.digests))
    if shared:
        raise InputError(f"{dataset.path}: {shared} of its images are in the study's own dataset: it is not external")
    for label, name in ((1, "malignant"), (0, "benign")):
        count = int((dataset.patient_labels == label).sum())
        if count < 2:
            raise InputError(f"{dataset.path}: {count} {name} patients; an interval needs at least 2 of each class")


def score_external(
    networks: Sequence[Network], runs: Path, dataset: StudyDataset, path: Path, device: torch.device
) -> None:
    """Score an external dataset with every network of the study, unless `path` (`external_file`) is there already.

    The table gets the columns of `predictions.csv`, with the set "external".
    """
    if _is_whole(path, networks, dataset):
        return
    say_if_converted_otherwise(dataset.dataset, load_network(runs / networks[0].name / "weights.safetensors"))
    patients = [dataset.patients[index] for index in dataset.patient_of]
    tables = [
        pd.DataFrame(
            {
                "arm": network.arm.name,
                "seed": network.seed,
                "fold": network.fold,
                "set": "external",
                "patient": patients,
                "row": dataset.rows,
                "label": dataset.labels,
                "score": score_dataset(
                    [load_network(runs / network.name / "weights.safetensors")], dataset.dataset, device
                )[0],
            }
        )[list(PREDICTION_COLUMNS)]
        for network in networks
    ]
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, pd.concat(tables).to_csv(index=False).encode())


def _is_whole(path: Path, networks: Sequence[Network], dataset: StudyDataset) -> bool:
    """Whether a table holds every image's score by every network, once."""
    try:
        kept = read_predictions(path)[["arm", "seed", "fold", "row"]]
    except (FormatError, KeyError):  # not there, cut short, or without a column
        return False
    found = list(kept.itertuples(index=False, name=None))
    wanted = [(each.arm.name, each.seed, each.fold, row) for each in networks for row in dataset.rows.tolist()]
    return sorted(found) == sorted(wanted)


def read_attributes(
    path: Path, columns: Sequence[str], dataset: StudyDataset, key_path: Path | None = None
) -> pd.DataFrame:
    """The wanted columns of a CSV `patient,COLUMN...`, as text, indexed by patient.

    `patient` is named as in `splits.read_splits`.

    Raises
    ------
    InputError
        If a column is missing, or a patient has two values.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False)  # so that lines count
    except (ValueError, OSError) as error:  # pandas' own errors among them
        raise InputError(f"{path}: not a regular CSV file in UTF-8 ({str(error).splitlines()[0]})") from None
    for name in ("patient", *columns):
        if name not in table.columns:
            raise InputError(f"{path}: has no column {name}; subgroups need patient,{','.join(columns)}")
    table["patient"] = table["patient"].map(translator(dataset, key_path))
    table = table[["patient", *columns]].drop_duplicates()
    twice = table["patient"].duplicated()
    if twice.any():  # the line, not the id: it may be a person's own
        line = int(twice.idxmax()) + 2
        raise InputError(f"{path}, line {line}: this patient has two values of {', '.join(columns)}; give one")
    found = set(table["patient"]) & set(dataset.patients)
    if not found:
        raise InputError(
            f"{path}: none of its patients is in the dataset, whose patients are called {dataset.patients[0]} and the "
            "like; use those names, or your own ids with the --pseudonym-key of the conversion"
        )
    others = len(set(table["patient"]) - found - {""})
    if others:
        print(f"notice: {path}: {others} of its patients are not in the dataset", file=sys.stderr)
    if len(found) < len(dataset.patients):
        lacking = len(dataset.patients) - len(found)
        print(f"notice: {path}: says nothing about {lacking} of {len(dataset.patients)} patients", file=sys.stderr)
    return table.set_index("patient").reindex(dataset.patients, fill_value="")


def subgroups(result: StudyResult, attributes: pd.DataFrame) -> list[dict]:
    """Test AUROC of each arm among the test patients of each value.

    `arms` is empty where a class has fewer than two patients: nothing can be said.
    """
    known = attributes.reindex(result.patients, fill_value="")
    groups = []
    for column in known.columns:
        for value in sorted(known[column].unique()):
            inside = (known[column] == value).to_numpy()
            y = result.labels[inside]
            enough = min(int(y.sum()), int((1 - y).sum())) >= 2
            arms: dict[str, dict[str, float]] = {}
            for name, scores in result.scores.items():
                if enough:
                    low, high = statistics.auroc_interval(y, scores[inside])
                    arms[name] = {"auroc": statistics.auroc(y, scores[inside]), "low": low, "high": high}
            groups.append(
                {
                    "column": column,
                    "value": value or "unknown",
                    "patients": int(inside.sum()),
                    "malignant": int(y.sum()),
                    "arms": arms,
                }
            )
    return groups
