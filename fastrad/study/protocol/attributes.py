"""What a table of the user's own says about the patients of a study: sex, age, site, scanner.

In: a CSV `patient,COLUMN...`. Out: a patient's values, for subgroups; and counts of the development and test patients
beside each other, which name no patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastrad.errors import InputError
from fastrad.study.protocol.patient_names import translator
from fastrad.study.protocol.patients import StudyDataset
from fastrad.system.csv_file import column_names, read_csv
from fastrad.system.progress import say

MOST_VALUES = 12  # of a column that is counted by value
_FEWEST_EACH = 3  # patients a value on average: what is rarer may be a name
_UNKNOWN = ("", "na", "n/a", "nan", "none", "null", "unknown", "?", "-")


def read_attributes(
    path: Path, columns: Sequence[str], dataset: StudyDataset, key_path: Path | None = None
) -> pd.DataFrame:
    """The wanted columns of a CSV `patient,COLUMN...`, as text, indexed by patient; "" where nothing is known.

    `patient` is named as in `splits.read_splits`.

    Raises
    ------
    InputError
        If a column is missing, or a patient has two values.
    """
    table = read_csv(path, ["patient", *columns], line_numbers=True)
    table["patient"] = table["patient"].map(translator(dataset, key_path))
    table = table.drop_duplicates()
    twice = table["patient"].duplicated()
    if twice.any():  # the line, not the id: it may be a person's own
        raise InputError(
            f"{path}, line {twice.idxmax()}: this patient has two values of {', '.join(columns)}; give one"
        )
    found = set(table["patient"]) & set(dataset.patients)
    if not found:
        raise InputError(
            f"{path}: none of its patients is in the dataset, whose patients are called {dataset.patients[0]} and the "
            "like; use those names, or your own ids with the --pseudonym-key of the conversion"
        )
    others = len(set(table["patient"]) - found - {""})
    if others:
        say(f"notice: {path}: {others} of its patients are not in the dataset")
    if len(found) < len(dataset.patients):
        lacking = len(dataset.patients) - len(found)
        say(f"notice: {path}: says nothing about {lacking} of {len(dataset.patients)} patients")
    return table.set_index("patient").reindex(dataset.patients, fill_value="")


def attribute_columns(path: Path) -> list[str]:
    """The columns of a table of attributes beside `patient`.

    Raises
    ------
    InputError
        If the file is missing, or no table.
    """
    return [name for name in column_names(path, ["patient"]) if name and name != "patient"]


def characteristics(table: pd.DataFrame, held_out: NDArray[np.bool_]) -> list[dict]:
    """Each column's values among development and test patients, counted; numbers by median and quartiles.

    A column of more than `MOST_VALUES` values, or of nearly as many values as patients, is left out with a notice:
    it would print names or dates.

    Parameters
    ----------
    table : table
        From `read_attributes`.
    held_out : bool array, shape (patients,)
        True for test patients, in the table's order.

    Returns
    -------
    list of dict
        One a line: `column`, `value` ("" for numbers), and `development` and `test`, each either a count of patients
        or `{"median", "low", "high", "known"}` of the patients whose value is known; `low` and `high` are the
        quartiles.
    """
    lines: list[dict] = []
    parts = {"development": ~held_out, "test": held_out}
    for column in table.columns:
        values = table[column].where(~table[column].str.lower().isin(_UNKNOWN), "")
        numbers = pd.to_numeric(values.where(values != ""), errors="coerce").to_numpy(dtype=np.float64, copy=True)
        numbers[~np.isfinite(numbers)] = np.nan
        known = (values != "").to_numpy()
        distinct = sorted(set(values[known]))
        if known.any() and len(distinct) > MOST_VALUES and np.isfinite(numbers[known]).mean() >= 0.9:
            lines.append(
                {"column": column, "value": "", **{name: _spread(numbers[part]) for name, part in parts.items()}}
            )
        elif not distinct or len(distinct) > MOST_VALUES or len(distinct) * _FEWEST_EACH > known.sum():
            say(f"notice: column {column}: {len(distinct)} values among {known.sum()} patients; it is not counted")
        else:
            for value in [*distinct, *([""] if not known.all() else [])]:
                counts = {name: int((values[part] == value).sum()) for name, part in parts.items()}
                lines.append({"column": column, "value": value or "unknown", **counts})
    return lines


def _spread(numbers: NDArray[np.float64]) -> dict:
    known = numbers[np.isfinite(numbers)]
    if not len(known):
        return {"median": None, "low": None, "high": None, "known": 0}
    low, median, high = (float(value) for value in np.percentile(known, [25, 50, 75]))
    return {"median": median, "low": low, "high": high, "known": len(known)}
