"""What a table of the user's own says about the patients of a study: sex, site, scanner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fastrad.errors import InputError
from fastrad.study.protocol.patient_names import translator
from fastrad.study.protocol.patients import StudyDataset
from fastrad.system.csv_file import read_csv
from fastrad.system.progress import say


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
