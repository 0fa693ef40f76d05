"""What is odd in the rows and columns of a table that somebody wrote by hand or by a spreadsheet.

In: a table's columns as strings. Out: their names in the file, a reason for rows that are no images (comments, a
header in the middle, line breaks in a name), and notes of what a reader may have meant otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from fastrad.archives.base import alike
from fastrad.errors import InputError
from fastrad.system.csv_file import column_names

REQUIRED = ("path", "label", "patient")
OPTIONAL = ("split", "frame")
# What other programs write for a value that is missing: here it is text like any other, but said.
_MISSING = {"na", "n/a", "#n/a", "<na>", "nan", "none", "null", "nil", "missing", "unknown", "-", "?", "."}
_LIKE_SPLITS = re.compile(
    r"(?:(?:cv|k)[ _-]?)?folds?(?:[ _-]?(?:id|no|nr|number))?|splits?|sets?|subset|partition|dataset[ _]split"
)


def column_names_of(path: Path, columns: Mapping[str, str], encoding: str = "") -> dict[str, str]:
    """What the table calls our columns: by `--columns`, else as we do; "" for one that it is said to lack.

    Raises
    ------
    InputError
        If `columns` names what is no column of ours, or a column is there whose name differs in case only.
    """
    unknown = sorted(set(columns) - {*REQUIRED, *OPTIONAL})
    if unknown:
        raise InputError(f"columns: {unknown[0]!r} is none of {', '.join(REQUIRED + OPTIONAL)}")
    names = {name: normalize("NFC", columns.get(name, name)) for name in (*REQUIRED, *OPTIONAL)}
    for name in ("path", "label"):
        if not names[name]:
            raise InputError(f"columns: {name} needs a column")
    there = column_names(path, [name for name in names.values() if name], encoding)
    other = {}
    for ours, name in names.items():
        if name and name not in there:
            other[ours] = [column for column in there if column.casefold() == name.casefold()]
    found = ",".join(f"{ours}={columns[0]}" for ours, columns in other.items() if columns)
    if found:
        several = next((columns for columns in other.values() if len(columns) > 1), None)
        which = f" ({' and '.join(several)} are there: choose one)" if several else ""
        absent = ", ".join(names[ours] for ours, columns in other.items() if columns)
        raise InputError(
            f"{path}: no column {absent}, but one that differs in upper and lower case only; give --columns "
            f"{found}{which}"
        )
    lacking = [name for name in REQUIRED if names[name] and names[name] not in there]
    if lacking == ["patient"] and "patient" not in columns:
        raise InputError(
            f"{path}: no column patient, which keeps a patient's images in one split; the file has the columns "
            f"{', '.join(there) or '(none)'}: give --columns patient=NAME, or, without patient ids, --columns patient="
        )
    return names


def reasons_of_rows(rows: pd.DataFrame, names: Mapping[str, str]) -> list[str]:
    """A reason for each row that is no image's: a comment, a header again, one without content, a broken line."""
    reasons = [""] * len(rows)
    columns = {name: rows[name].tolist() for name in rows}
    for row, (path, label) in enumerate(zip(columns["path"], columns["label"], strict=True)):
        if not path and not any(values[row] for values in columns.values()):
            reasons[row] = "the row is empty"
        elif path == names["path"] and label == names["label"]:
            reasons[row] = "repeats the header"
        elif path.startswith("#") and not label:
            reasons[row] = "a comment, which begins with #"
    for name, values in columns.items():
        for row, value in enumerate(values):
            if ("\n" in value or "\r" in value) and not reasons[row]:
                reasons[row] = f"its {name} holds a line break; put it on one line"
    return reasons


def notes_on_columns(there: Sequence[str], names: Mapping[str, str], rows: pd.DataFrame) -> list[str]:
    """Notes: patients that are missing or may be the same, words that may mean "missing", splits that are not read."""
    notes = []
    if "patient" not in rows:
        notes.append("the table has no patient ids: a patient's images cannot be kept together")
    else:
        if missing := int((rows["patient"] == "").sum()):
            notes.append(f"{missing} rows have no patient")
        notes += _note_patients_alike(rows["patient"])
    for name in ("label", "patient"):
        if name in rows:
            counts = rows[name][rows[name].str.casefold().isin(_MISSING)].value_counts()
            notes += [f"{count} rows have the {name} {word!r}, which is read as text" for word, count in counts.items()]
    unread = {column for column in there if _LIKE_SPLITS.fullmatch(column.casefold())} - {*names.values(), "split"}
    for column in sorted(unread):
        notes.append(
            f"column {column} is not read: if it holds train, val, test give --columns split={column}; folds are given "
            "to compare (--splits FILE with patient,set,fold)"
        )
    return notes


def _note_patients_alike(patients: pd.Series) -> list[str]:
    """Ids that are kept apart and may be one patient's: 7, 007 and 7.0, or A1 and a1."""
    several = alike(patients)
    if not several:
        return []
    first = " and ".join(str(row) for _, row in several[0][:2])
    return [
        f"{len(several)} patients may be listed under several ids, which differ in case, zeros in front or .0 behind "
        f"(first: rows {first}): they are kept apart"
    ]
