"""An institution's own images: a folder and a CSV path,label,patient[,split][,frame].

In: ROOT, the CSV (ROOT/labels.csv by default), what its columns are called and what its label values mean. Out: its
rows in the CSV's order. Labels are opaque strings; a value that the mapping lacks excludes its row, with a count.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pandas as pd

from fastrad.archives.base import SPLIT_NAMES, check_paths, first_of, manifest_of_columns
from fastrad.archives.clips import (
    DOPPLER,
    FRAMES,
    choose_frames,
    expand_clips,
    note_colour_doppler,
    note_hdf5,
    note_pictures,
)
from fastrad.archives.forged_labels import refuse_forged_categories
from fastrad.archives.manifest import NO_SPLIT, Manifest
from fastrad.archives.spelling import settle_spelling
from fastrad.archives.table_checks import OPTIONAL, REQUIRED, column_names_of, notes_on_columns, reasons_of_rows
from fastrad.errors import InputError, OptionError
from fastrad.system.csv_file import column_names, read_csv


def parse_columns(text: str) -> dict[str, str]:
    """`path=FILE,label=PATH_DX,patient=MRN` to a dict of our names to the CSV's.

    Raises
    ------
    InputError
        If a part has no `=` or names no column of ours.
    """
    columns = {}
    for part in _fields(text):
        name, equals, column = part.partition("=")
        if not equals or name.strip() not in (*REQUIRED, *OPTIONAL):
            raise OptionError(
                f"--columns: {part!r} is not NAME=COLUMN with NAME one of {', '.join(REQUIRED + OPTIONAL)}"
            )
        if name.strip() in columns:
            raise OptionError(f"--columns: {name.strip()} is given twice")
        columns[name.strip()] = column.strip()
    return columns


def parse_labels(words: Sequence[str]) -> dict[str, list[str]]:
    """`malignant=1,M,"Bethesda VI"` and `benign=0,B` to a dict of classes to values.

    Raises
    ------
    InputError
        If a word has no `=`, a class no value, or a value two classes.
    """
    labels: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for word in words:
        name, equals, values = word.partition("=")
        name = name.strip()
        listed = [value for value in _fields(values) if value]
        if not equals or not name or not listed:
            raise OptionError(f"--labels: {word!r} is not CLASS=VALUE,VALUE,...")
        for value in listed:
            if owner.setdefault(value, name) != name:
                raise OptionError(f"--labels: value {value!r} is given to {owner[value]} and to {name}")
        labels.setdefault(name, []).extend(listed)
    return labels


def _fields(text: str) -> list[str]:
    return [field.strip() for field in next(csv.reader([text], skipinitialspace=True), [])]


@dataclass(frozen=True)
class Options:
    """What can be chosen about a table.

    Attributes
    ----------
    table : Path or None
        The CSV, by default ROOT/labels.csv. Its paths are relative to ROOT wherever it lies.
    columns : mapping or None
        What the CSV calls path, label, patient, split and frame; an empty name for patient says that there is none.
    labels : mapping or None
        The values that mean a class; rows with other values are excluded. Without it every value is its own class.
    frames : str
        Which frames of each DICOM or GIF file to store; a column `frame` says it itself.
    doppler : str
        Colour Doppler: "count" or "exclude" looks at every image, "ignore" at none; by default DICOM files are counted.
        Of a clip its first row is looked at.
    encoding : str
        Of the CSV, for example iso8859-2 or cp1250; by default UTF-8, or UTF-16 by its mark, else Windows-1252.
    """

    table: Path | None = None
    columns: Mapping[str, str] | None = field(
        default=None, metadata={"metavar": "path=FILE,label=DX,...", "parse": parse_columns}
    )
    labels: Mapping[str, Sequence[str]] | None = field(
        default=None, metadata={"metavar": "CLASS=VALUE,... ...", "parse": parse_labels, "multiple": True}
    )
    frames: str = field(default="first", metadata={"metavar": FRAMES})
    doppler: str = field(default="", metadata={"choices": DOPPLER})
    encoding: str = field(default="", metadata={"metavar": "NAME"})

    def __post_init__(self) -> None:
        choose_frames(self.frames, 1)
        if self.doppler not in DOPPLER:
            raise OptionError(f"doppler {self.doppler!r} is unknown; choose count, exclude or ignore")
        try:
            "".encode(self.encoding or "utf-8")
        except LookupError:
            raise OptionError(f"encoding {self.encoding!r} is unknown; utf-8, cp1250 or iso8859-2, say") from None


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read a CSV of images; nothing is walked, so nothing is excluded.

    Raises
    ------
    InputError
        If the table is missing, empty, lacks a column, holds an unknown split or a frame that is no number, or puts
        a patient into two splits.
    """
    path = Path(options.table) if options.table is not None else root / "labels.csv"
    if options.table is None and not path.is_file():
        refuse_forged_categories(root)
    refuse_forged_categories(root, path)
    columns = options.columns or {}
    names = column_names_of(path, columns, options.encoding)
    required = [names[name] for name in REQUIRED if names[name]]
    asked = [names[name] for name in OPTIONAL if columns.get(name)]
    optional = [names[name] for name in OPTIONAL if name not in columns]
    notes: list[str] = []
    raw = read_csv(
        path,
        [*required, *asked],
        optional=optional,
        verbatim=[names["path"]],
        encoding=options.encoding,
        notes=notes,
    )
    rows = pd.DataFrame({name: raw[column] for name, column in names.items() if column in raw})
    reasons = reasons_of_rows(rows, names)
    notes += notes_on_columns(column_names(path, list(names.values()), options.encoding), names, rows)
    label = rows["label"].tolist()
    if options.labels:
        label, more = _map_labels(label, options.labels, reasons)
        notes += more
    rows["split"] = _splits(path, rows["split"], reasons) if "split" in rows else ""
    rows["label"] = label
    paths, reasons = check_paths(root, rows["path"].tolist(), reasons)
    rows["path"], rows["reason"], more = settle_spelling(root, paths, reasons)
    notes += more
    if "frame" in rows:
        if options.frames != "first":
            raise InputError(f"{path}: has a column {names['frame']}; leave out frames {options.frames}")
        rows["frame"] = _frames(path, rows["frame"])
    else:
        rows["frame"] = 0
        if options.frames != "first":
            rows = expand_clips(root, rows, options.frames)
    notes += note_colour_doppler(root, rows, options.doppler)
    notes += note_hdf5(root, rows)
    notes += note_pictures(root, rows["path"][rows["reason"] == ""].unique())
    return manifest_of_columns(
        root,
        "table",
        path=rows["path"].tolist(),
        label=rows["label"].tolist(),
        patient=rows["patient"].tolist() if "patient" in rows else "",
        split=rows["split"].tolist(),
        frame=rows["frame"].tolist(),
        reason=rows["reason"].tolist(),
        notes=notes,
        one_label=True,
    )


def without_splits(options: Options) -> Options:
    """Options that leave the column of splits unread, whatever it holds: folds by number, say."""
    return replace(options, columns={**(options.columns or {}), "split": ""})


def template() -> str:
    """The text of a sample CSV: what an institution's own table may look like."""
    return (
        "path,label,patient,split\n"
        "images/0001.png,benign,P001,train\n"
        "images/0002.png,malignant,P002,train\n"
        "images/0003.dcm,benign,P003,val\n"
        "images/0004.dcm,malignant,P004,test\n"
    )


def _map_labels(
    values: Sequence[str], labels: Mapping[str, Sequence[str]], reasons: list[str]
) -> tuple[list[str], list[str]]:
    """Classes and notes; a value that is in no class excludes its row: `reasons` says so."""
    classes = {normalize("NFC", value): name for name, members in labels.items() for value in members}
    mapped = [classes.get(value, "") for value in values]
    excluded = [row for row, value in enumerate(values) if value and value not in classes and not reasons[row]]
    for row in excluded:
        reasons[row] = f"label {values[row]!r} is excluded"
    notes = []
    if excluded:
        first = {values[row]: row for row in reversed(excluded)}  # a value may be a name: rows say which it is
        rows = first_of(list(first.values()))
        notes.append(f"{len(excluded)} rows are excluded by their labels, of {len(first)} values ({rows})")
    unused = sorted(set(classes) - set(values))
    if unused:
        notes.append(f"label values that no row has: {', '.join(map(repr, unused))}")
    return mapped, notes


def _splits(path: Path, values: pd.Series, reasons: list[str]) -> list[str] | str:
    """Splits by our names; where some rows have one, a row without gets a reason."""
    named = values.str.lower()
    unknown = (named != "") & ~named.isin(list(SPLIT_NAMES)) & (np.array(reasons) == "")
    if unknown.any():
        row = int(unknown.to_numpy().argmax())
        wrong = f"{path}: the split in row {row} is none of train, val, test"
        if not re.fullmatch(r"(?:cv|fold|f|k)?[ _-]?\d+(?:\.0)?", values.iloc[row], re.IGNORECASE):
            raise InputError(f"{wrong}; correct it, or leave the column out with --columns split=")
        raise InputError(
            f"{wrong} but a fold by its number; convert with --ignore-splits into one dataset, and give compare the "
            "folds (--splits FILE with patient,set,fold)"
        )
    if (named == "").all():
        return ""
    for row in (named == "").to_numpy().nonzero()[0]:
        reasons[row] = reasons[row] or NO_SPLIT
    return [SPLIT_NAMES.get(value, "") for value in named]


def _frames(path: Path, values: pd.Series) -> list[int]:
    wrong = ~(values.str.fullmatch(r"\d{1,9}") | (values == ""))
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        raise InputError(f"{path}: the frame in row {row} is no frame number (0, 1, ...)")
    return [int(value or 0) for value in values]
