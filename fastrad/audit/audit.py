"""The audit: reads datasets once, gathers what was found, writes `audit.json`, `audit.html`, `rows.csv`.

In: dataset files. Out: a report; the datasets are not changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import fastrad
from fastrad.audit.duplicates import exact_groups
from fastrad.audit.rows import known_paths, proposed_drops, rows_csv
from fastrad.audit.samples import describe_samples
from fastrad.audit.text import count_words, read_words
from fastrad.dataset import Dataset
from fastrad.dataset.copies import NEAR_CORRELATION, confirm_pairs, groups_of_pairs, near_pairs
from fastrad.dataset.opening import open_dataset
from fastrad.errors import InputError, MissingDependencyError
from fastrad.system.cores import available_cores
from fastrad.system.files import write_atomically, write_json
from fastrad.system.progress import say

# Samples, words and patients listed in full; the counts beside them are of all. Groups of copies are all listed.
LISTED = 200
_NO_TEXT: dict[str, Any] = {
    "images_read": 0,
    "images_with_text": 0,
    "words": [],
    "words_not_printed": 0,
    "leaks": [],
    "not_looked_for": "",
}


@dataclass(frozen=True)
class AuditOptions:
    """What the audit looks for.

    Attributes
    ----------
    near_distance : int
        Bits (of 64) by which the perceptual hashes of a near copy may differ.
    near_correlation : float
        Pearson correlation of the pixels from which such a pair is called a near copy.
    text_images : int
        How many images are read for burned-in text, spread evenly over the classes; 0 reads none.
    workers : int or None
        Processes; None takes every processor at hand.
    """

    near_distance: int = 6
    near_correlation: float = NEAR_CORRELATION
    text_images: int = 1000
    workers: int | None = None


def audit(paths: Sequence[Path], out_dir: Path, options: AuditOptions | None = None) -> dict[str, Any]:
    """Audit one or more dataset files together.

    Parameters
    ----------
    paths : sequence of Path
        `.beton` files; give the splits of one dataset together, so that leaks between them are seen.
    out_dir : Path
        Receives `audit.json`, `audit.html` and `rows.csv`.
    options : AuditOptions, optional

    Returns
    -------
    dict
        What `audit.json` holds.

    Raises
    ------
    InputError
        If no file is given.
    FormatError
        If a file is cut short or altered.
    """
    from fastrad.audit.page import write_page

    if not paths:
        raise InputError("audit: no dataset file given; name one or more .beton files")
    options = options or AuditOptions()
    workers = options.workers or available_cores()
    datasets = [open_dataset(path) for path in paths]
    table = describe_samples(datasets, workers)
    table["path"] = [path for dataset in datasets for path in known_paths(dataset)]

    def read(position: int) -> np.ndarray:
        return datasets[table.at[position, "dataset"]].decode(int(table.at[position, "index"]))

    exact = exact_groups(table)
    near = _near_groups(table, read, options)
    blank = np.flatnonzero(table["blank"])
    report: dict[str, Any] = {
        "fastrad": fastrad.__version__,
        "synthetic": any(dataset.card.synthetic for dataset in datasets),
        "options": asdict(options),
        "datasets": [
            {
                "name": dataset.card.name,
                "split": dataset.card.split,
                "samples": len(dataset),
                "classes": dict(dataset.card.class_counts),
                "manifest_sha256": dataset.card.manifest_sha256,
                "gray_levels": dataset.card.gray_levels or None,
            }
            for dataset in datasets
        ],
        "imbalance": _imbalance(table),
        "blank": {"images": len(blank), "samples": _samples(table, blank[:LISTED])},
        "exact_duplicates": _describe_groups(table, exact, propose=True),
        "near_duplicates": _describe_groups(table, near),
        "patients_in_two_splits": _patients_in_two_splits(table),
        "text": _text(datasets, table, options, workers),
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(out_dir / "rows.csv", rows_csv(table, exact, near))
    write_json(out_dir / "audit.json", report)
    write_page(report, datasets, out_dir / "audit.html")
    return report


def _near_groups(table: pd.DataFrame, read: Any, options: AuditOptions) -> list[np.ndarray]:
    # One image stands for its exact copies: those are reported already.
    first = table.index[~table["blank"] & ~table["digest"].duplicated()].to_numpy()
    pairs = near_pairs(table["phash"].to_numpy()[first], options.near_distance)
    confirmed = confirm_pairs(first[pairs], read, options.near_correlation)
    return groups_of_pairs(confirmed, len(table))


def _imbalance(table: pd.DataFrame) -> dict[str, Any]:
    counts = table["label"].value_counts()
    return {
        "largest": {"class": counts.index[0], "images": int(counts.iloc[0])},
        "smallest": {"class": counts.index[-1], "images": int(counts.iloc[-1])},
        "ratio": float(counts.iloc[0] / counts.iloc[-1]),
    }


def _describe_groups(table: pd.DataFrame, groups: list[np.ndarray], *, propose: bool = False) -> dict[str, Any]:
    described = []
    for group in groups:
        rows = table.loc[group]
        known = rows["patient"][rows["patient"] != ""]
        described.append(
            {
                "crosses_splits": bool(rows["split"].nunique() > 1),
                "crosses_patients": bool(known.nunique() > 1),
                "crosses_labels": bool(rows["label"].nunique() > 1),
                "samples": _samples(table, group, proposed_drops(rows) if propose else None),
            }
        )
    # The harmful ones first: a copy in another split, then under another label, then of another patient.
    described.sort(key=lambda one: (not one["crosses_splits"], not one["crosses_labels"], not one["crosses_patients"]))
    return {
        "groups": len(groups),
        "images": int(sum(len(group) for group in groups)),
        "across_splits": sum(one["crosses_splits"] for one in described),
        "across_patients": sum(one["crosses_patients"] for one in described),
        "across_labels": sum(one["crosses_labels"] for one in described),
        "listed": described,
    }


def _samples(table: pd.DataFrame, positions: np.ndarray, drops: Sequence[bool] | None = None) -> list[dict[str, Any]]:
    """Samples as they are listed; `drop` is what `convert --drop` leaves out, for a person to change."""
    rows = table.loc[positions, ["dataset", "index", "split", "row", "path", "label", "patient"]]
    return rows.assign(drop=False if drops is None else list(drops)).to_dict(orient="records")


def _patients_in_two_splits(table: pd.DataFrame) -> dict[str, Any]:
    known = table[table["patient"] != ""]
    splits = known.groupby("patient")["split"].unique()
    shared = splits[splits.map(len) > 1]
    return {
        "known_patients": len(splits),
        "images_without_patient": int((table["patient"] == "").sum()),
        "patients": len(shared),
        "listed": [{"patient": name, "splits": sorted(found)} for name, found in shared.iloc[:LISTED].items()],
    }


def _text(datasets: Sequence[Dataset], table: pd.DataFrame, options: AuditOptions, workers: int) -> dict[str, Any]:
    chosen = spread_over_classes(table["label"].to_numpy(), options.text_images)
    if not len(chosen):
        return dict(_NO_TEXT)
    try:
        texts = read_words(datasets, table, chosen, workers)
    except MissingDependencyError as error:
        say(f"notice: burned-in text is not looked for: {error}")
        return {**_NO_TEXT, "not_looked_for": str(error)}
    rows = table.loc[chosen]
    words, unprinted = count_words(texts, rows["label"].tolist(), rows["patient"].tolist())
    described = [asdict(word) | {"is_leak": word.is_leak} for word in words]
    for one, word in zip(described, words, strict=True):
        carriers = [i for i, strings in zip(chosen, texts, strict=True) if word.is_on(strings)] if word.is_leak else []
        one["samples"] = _samples(table, np.array(carriers[:LISTED], dtype=np.int64))
    return {
        "images_read": len(chosen),
        "not_looked_for": "",
        "images_with_text": sum(bool(strings) for strings in texts),
        "words": described[:LISTED],
        "words_not_printed": unprinted,
        "leaks": [word.word for word in words if word.is_leak],
    }


def spread_over_classes(labels: np.ndarray, count: int) -> np.ndarray:
    """At most `count` positions, the same number from each class as far as they go, evenly through its samples.

    Returns
    -------
    (n,) int64
        Sorted positions; all of them where there are no more than `count`.
    """
    if len(labels) <= count:
        return np.arange(len(labels))
    by_class = sorted((np.flatnonzero(labels == name) for name in np.unique(labels)), key=len)
    chosen: list[np.ndarray] = []
    left = count
    for done, positions in enumerate(by_class):
        share = min(len(positions), left // (len(by_class) - done))
        chosen.append(positions[np.linspace(0, len(positions) - 1, share).astype(int)])
        left -= share
    return np.sort(np.concatenate(chosen))
