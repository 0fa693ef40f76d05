"""`predictions.csv` and the tables of its form: what goes from the networks to inference.

One line an image and network; `score` is a logit. Where an arm has several weights files a last column, `start`,
numbers them from 0; a table without it (as of 0.1.0) has one file an arm. A table reads back with the types that it was
written with: a patient called NA or 007 stays one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fastrad.errors import FormatError
from fastrad.study.protocol.patients import StudyDataset
from fastrad.study.protocol.seals import AGAIN
from fastrad.study.protocol.splits import Splits
from fastrad.system.csv_file import bare

PREDICTION_COLUMNS = ("arm", "seed", "fold", "set", "patient", "row", "label", "score")
_TEXTS = {"arm": str, "set": str, "patient": str}
_NUMBERS = {"start": "int64", "seed": "int64", "fold": "int64", "row": "int64", "label": "int64", "score": "float64"}


def prediction_table(
    network: tuple[str, int, int],
    set_: str,
    dataset: StudyDataset,
    positions: NDArray[np.int64] | slice,
    scores: ArrayLike,
) -> pd.DataFrame:
    """The predictions of one network for the images at `positions` of a dataset.

    Parameters
    ----------
    network : (arm, seed, fold)
    set_ : str
        "val", "test" or "external".
    dataset : StudyDataset
    positions : int64 array or slice
    scores : array of shape (positions,)
        Logits.

    Returns
    -------
    table
        With the columns `PREDICTION_COLUMNS`.
    """
    arm, seed, fold = network
    return pd.DataFrame(
        {
            "arm": arm,
            "seed": seed,
            "fold": fold,
            "set": set_,
            "patient": [dataset.patients[index] for index in dataset.patient_of[positions]],
            "row": dataset.rows[positions],
            "label": dataset.labels[positions],
            "score": scores,
        }
    )[list(PREDICTION_COLUMNS)]


def learning_curve_table(
    predictions: pd.DataFrame, limited: Iterable[tuple[int, pd.DataFrame]], splits: Splits, first_seed: int
) -> pd.DataFrame:
    """`learning_curve.csv`: the first seed's predictions, whole and limited, with the column `patients`.

    Parameters
    ----------
    predictions : table
        Of the networks that were tuned on everybody.
    limited : iterable of (int, table)
        How many training patients a network was limited to, and its predictions.
    splits : Splits
    first_seed : int
    """
    everyone = min(int(splits.training(fold).sum()) for fold in range(splits.folds))
    whole = predictions[predictions["seed"] == first_seed].assign(patients=everyone)
    return pd.concat([whole, *(part.assign(patients=patients) for patients, part in limited)], ignore_index=True)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read one table of predictions.

    Raises
    ------
    FormatError
        If it is cut short, altered, or empty, or a score is not finite.
    """
    try:
        # only an empty field is empty: pandas would take a patient called NA or null for a missing one
        table = pd.read_csv(path, dtype={**_TEXTS, **_NUMBERS}, keep_default_na=False, na_values=[""])
    except (ValueError, OverflowError, OSError) as error:  # pandas' own errors among them
        raise FormatError(f"{path}: {_no_number(path) or f'cut short or altered ({error})'}; {AGAIN}") from None
    if missing := [name for name in PREDICTION_COLUMNS if name not in table]:
        raise FormatError(f"{path}: cut short or altered (it has no column {missing[0]}); {AGAIN}")
    if table.empty or table.isna().any(axis=None):
        raise FormatError(f"{path}: has no rows, or empty fields; {AGAIN}")
    for name in _TEXTS:
        table[name] = table[name].map(bare)
    infinite = np.flatnonzero(~np.isfinite(table["score"]))
    if len(infinite):
        first = int(infinite[0])
        raise FormatError(
            f"{path}: line {first + 2} (row {int(table['row'].iloc[first])}): the score {table['score'].iloc[first]} "
            f"is not finite ({len(infinite)} lines have such a score); {AGAIN}"
        )
    return table


def _no_number(path: Path) -> str:
    """The first field of a table that should be a number and is none, or nan; "" where there is none to name."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[])
    except (ValueError, OverflowError, OSError):
        return ""
    for name in _NUMBERS:
        if name not in table:
            continue
        wrong = np.flatnonzero(pd.to_numeric(table[name], errors="coerce").isna())
        if len(wrong):
            first = int(wrong[0])
            row = str(table["row"].iloc[first]) if "row" in table else ""
            where = f"line {first + 2}" + (f" (row {row})" if row.isdecimal() else "")
            return f"{where}: the {name} is no number ({len(wrong)} lines have none)"  # its text may be a patient's
    return ""


def refuse_contradictions(table: pd.DataFrame, path: Path) -> None:
    """Refuse a table that says two things of one image or patient: all networks are of one dataset and one split.

    Parameters
    ----------
    table : table
        As read from `path`.

    Raises
    ------
    FormatError
        If an image has two labels or two patients, or a patient is in two sets or in two validation folds.
    """
    for column, what in (("label", "labels"), ("patient", "patients")):
        several = table.groupby("row")[column].nunique() > 1
        if several.any():
            raise FormatError(
                f"{path}: {int(several.sum())} images have two {what}, the first is that of row {several.idxmax()}: "
                f"the table was altered; {AGAIN}"
            )
    tables = {"sets": table, "validation folds": table[table["set"] == "val"]}
    for column, (what, part) in zip(("set", "fold"), tables.items(), strict=True):
        several = part.groupby("patient")[column].nunique() > 1
        if several.any():
            rows = part.loc[part["patient"].isin(several.index[several]), "row"]
            where = "test and validation" if column == "set" else f"two {what}"
            raise FormatError(
                f"{path}: {int(several.sum())} patients are in {where}, the first with row {int(rows.iloc[0])}: the "
                f"table was altered; {AGAIN}"
            )


def refuse_other_labels(table: pd.DataFrame, dataset: StudyDataset, splits: Splits, path: Path) -> None:
    """Refuse predictions whose labels, patients or sets are not the dataset's and the splits'.

    Raises
    ------
    FormatError
        Naming the first row that differs, or is missing.
    """
    place = dict(zip(dataset.rows.tolist(), range(len(dataset.rows)), strict=True))
    unknown = [row for row in table["row"].tolist() if row not in place]
    if unknown:
        raise FormatError(f"{path}: row {unknown[0]} is not in {dataset.path}; {AGAIN}")
    positions = np.array([place[row] for row in table["row"].tolist()], dtype=np.int64)
    patients = dataset.patient_of[positions]
    fold = splits.fold[patients]
    expected = {
        "label": dataset.labels[positions],
        "patient": np.array(dataset.patients, dtype=object)[patients],
        "set": np.where(fold < 0, "test", "val"),
        "fold": np.where(fold < 0, table["fold"], fold),
    }
    for column, values in expected.items():
        wrong = np.flatnonzero(table[column].to_numpy() != values)
        if len(wrong):
            raise FormatError(
                f"{path}: the {column} of row {int(table['row'].iloc[wrong[0]])} is not that of {dataset.path.name} "
                f"and its splits ({len(wrong)} lines differ): the table was altered; {AGAIN}"
            )
