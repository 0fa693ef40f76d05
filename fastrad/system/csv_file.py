"""A CSV file as people send it to a table of strings.

In: a path and the columns that must be there. Out: a DataFrame of str, nothing interpreted ("NA", "007" and "1.0"
stay what they are). UTF-8 with or without a byte order mark, UTF-16 with one (a spreadsheet's "Unicode text"), else
Windows-1252; commas, semicolons or tabs; either line ending; quoted fields. Every table that a user hands in is read
here: labels, splits, attributes.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fastrad.errors import InputError


def read_csv(
    path: Path,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    header: bool = True,
    line_numbers: bool = False,
) -> pd.DataFrame:
    """Read the named columns of a CSV file.

    Parameters
    ----------
    columns, optional : sequence of str
        The columns that must be there, and those that are taken where present. Without a header they name the
        columns by position.
    header : bool
        Whether the first line holds the names.
    line_numbers : bool
        Let the index be the lines in the file, from 1 for the header, so that a message can name one: for tables of
        patients, whose ids no message may repeat. Lines without content are left out but counted; a field that holds
        a line break counts as one line.

    Returns
    -------
    pandas.DataFrame
        `columns` and the optional ones present, str, blanks at both ends removed, "" where a field is missing. The
        index is the row, from 0 (or the line, see above).

    Raises
    ------
    InputError
        If the file is missing, empty, no text, lacks a column, or has a line with too many fields.
    """
    encoding = _encoding(path)
    with open(path, encoding=encoding, newline="") as file:
        first_line = file.readline()
    try:
        separator, names = _header(first_line, columns)
    except csv.Error as error:
        raise InputError(f"{path}: not a regular CSV file ({error})") from None
    if header:
        missing = [name for name in columns if name not in names]
        if missing:
            raise InputError(
                f"{path}: no column {', '.join(missing)}; the file has the columns {', '.join(names) or '(none)'}"
            )
        twice = [name for name in (*columns, *optional) if names.count(name) > 1]
        if twice:
            raise InputError(f"{path}: column {twice[0]} occurs twice")
        # a column may be asked for twice: a patient's id may be the image's path
        wanted = list(dict.fromkeys([*columns, *(name for name in optional if name in names)]))
    else:
        names = wanted = list(columns)
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            encoding=encoding,
            header=None,
            names=range(len(names)),
            skiprows=1 if header else 0,
            skip_blank_lines=not line_numbers,
            skipinitialspace=True,
            dtype=str,
            keep_default_na=False,
        )
    except pd.errors.EmptyDataError:
        raise InputError(f"{path}: the table has no rows under its header") from None
    except (pd.errors.ParserError, csv.Error) as error:
        raise InputError(f"{path}: not a regular CSV file ({error})") from None
    if table.empty:
        raise InputError(f"{path}: the table has no rows under its header")
    if not isinstance(table.index, pd.RangeIndex):  # what pandas makes of fields that no header names
        raise InputError(f"{path}: not a regular CSV file (its first row has more fields than the header)")
    if line_numbers:
        table.index += 2 if header else 1
        table = table[(table.fillna("") != "").any(axis=1)]
        if table.empty:
            raise InputError(f"{path}: the table has no rows under its header")
    # Plain comprehensions take a third of the time of pandas' string methods, and there may be 1.35 million rows.
    stripped = {}
    for name in wanted:
        values = [value.strip() for value in table.pop(names.index(name)).fillna("").tolist()]
        # Equal labels share one string; the first column names images, which hardly repeat.
        shared: dict[str, str] = {}
        stripped[name] = values if name == wanted[0] else [shared.setdefault(value, value) for value in values]
    return pd.DataFrame(stripped, dtype="str", index=table.index)


def _encoding(path: Path) -> str:
    """UTF-16 if its mark is there; else UTF-8 if every byte agrees, else Windows-1252."""
    try:
        with open(path, "rb") as file:
            marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
            if _decodes(path, encoding):
                return encoding
    except FileNotFoundError:
        raise InputError(f"{path}: no such table") from None
    except OSError as error:
        raise InputError(f"{path}: the table cannot be read ({error.strerror})") from None
    raise InputError(f"{path}: neither UTF-8 nor Windows-1252 text; save it as CSV in UTF-8")


def _decodes(path: Path, encoding: str) -> bool:
    """Whether the file is in an encoding, to its last byte; raises InputError where it is no text or empty."""
    decoder = codecs.getincrementaldecoder(encoding)()
    empty = True
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                text = decoder.decode(block)
                if "\0" in text:
                    raise InputError(f"{path}: not a CSV file (it holds NUL bytes; save it as CSV in UTF-8)")
                empty = empty and not text.strip()
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    if empty:
        raise InputError(f"{path}: the table is empty; it needs a header and a row")
    return True


def _header(line: str, columns: Sequence[str]) -> tuple[str, list[str]]:
    """The separator under which most of the wanted columns are found, else most columns, and the names under it."""
    best: tuple[tuple[int, int], str, list[str]] = ((-1, 0), ",", [])
    for separator in ",;\t":
        names = [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
        score = sum(name in names for name in columns), len(names)
        if score > best[0]:
            best = (score, separator, names)
    return best[1], best[2]
