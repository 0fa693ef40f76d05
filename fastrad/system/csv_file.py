"""A CSV file as people send it to a table of strings.

In: a path and the columns that must be there. Out: a DataFrame of str, nothing interpreted ("NA", "007" and "1.0"
stay what they are). UTF-8 with or without a byte order mark, UTF-16 with one (a spreadsheet's "Unicode text"), what the
caller says, else Windows-1252, which is said; commas, semicolons or tabs, or what a first line `sep=;` says; either
line ending; quoted fields. Every table that a user hands in is read here: labels, splits, attributes. A quote that
swallows rows is an error with its line, never fewer rows.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import pandas as pd

from fastrad.errors import InputError
from fastrad.system.csv_quotes import sound_line, swallowed_lines
from fastrad.system.progress import say
from fastrad.system.reading import refuse_irregular

_GUESS = "cp1252"  # of a table that is no UTF-8: Windows-1252
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # a spreadsheet's own first line
MAX_TABLE_BYTES = 4 << 30  # of 30 million images
MAX_LINE = 1 << 20  # bytes; a line of twice as many is refused for sure
MAX_COLUMNS = 10_000
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_INVISIBLE = "\ufeff\u200b\u2060"  # a mark of byte order within the text, zero-width spaces


def read_csv(
    path: Path,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    header: bool = True,
    line_numbers: bool = False,
    verbatim: Sequence[str] = (),
    encoding: str = "",
    notes: list[str] | None = None,
) -> pd.DataFrame:
    """Read the named columns of a CSV file.

    Parameters
    ----------
    columns, optional : sequence of str
        The columns that must be there, and those that are taken where present. Without a header they name the
        columns by position.
    header : bool
        Whether the first line holds the names. Lines before it that begin with # are passed over.
    line_numbers : bool
        Let the index be the lines in the file, from 1 for the first, so that a message can name one: for tables of
        patients, whose ids no message may repeat. Rows without content are left out.
    verbatim : sequence of str
        Columns that name files, whose accents stay composed or decomposed as they are.
    encoding : str
        As Python calls it; "" finds out.
    notes : list of str, optional
        Gets what the reader should know; without it that goes to stderr.

    Returns
    -------
    pandas.DataFrame
        `columns` and the optional ones present, str, blanks at both ends removed, in Unicode's normal form C, ""
        where a field is missing. The index is the row, from 0 (or the line, see above). Lines without any character
        are no rows.

    Raises
    ------
    InputError
        If the file is missing, empty, no text, lacks a column, has a line with too many fields, or a quote that
        swallows rows.
    """
    with _opened(path, columns, header, encoding) as table:
        names = table.names if header else list(columns)
        # a column may be asked for twice: a patient's id may be the image's path
        wanted = list(dict.fromkeys([*columns, *(name for name in optional if name in names)]))
        if header:
            _refuse_columns(path, names, columns, optional)
        values, lines, blank = _values(path, table, names, wanted)
    # Plain comprehensions take a third of the time of pandas' string methods, and there may be 1.35 million rows.
    stripped = {}
    for name in wanted:
        column = [value.strip() for value in values.pop(0)]
        if name in verbatim:
            stripped[name] = column
            continue
        column = [value if value.isascii() else _normal(value) for value in column]
        # Equal labels share one string; the first column names images, which hardly repeat.
        shared: dict[str, str] = {}
        stripped[name] = column if name == wanted[0] else [shared.setdefault(value, value) for value in column]
    result = pd.DataFrame(stripped, dtype="str", index=lines if line_numbers else None)
    if line_numbers and blank:
        result = result.drop(index=blank)
    if result.empty:
        raise InputError(f"{path}: the table has no rows under its header")
    if table.guessed and (odd := [name for name in wanted if not all(map(str.isascii, stripped[name]))]):
        guess = f"is not UTF-8 and was read as Windows-1252, by which letters of {', '.join(odd)} go"
        if notes is None:
            say(f"notice: {path}: {guess}; where they are wrong, save it in UTF-8")
        else:
            notes.append(f"the table {guess}; where they are wrong, give its --encoding")
    return result


def csv_text(table: pd.DataFrame, *, index: bool | str = True) -> str:
    """A table as CSV, in which no text is a formula that a spreadsheet would execute (`=`, `+`, `-`, `@` in front).

    Parameters
    ----------
    table : pandas.DataFrame
    index : bool or str
        Whether the index comes first, or what it is called.
    """
    if index:
        table = table.reset_index(names=index if isinstance(index, str) else None)
    table = table.copy()
    for name in table:
        if not pd.api.types.is_numeric_dtype(table[name]):  # text with gaps among them
            table[name] = table[name].map(harmless)
    return table.rename(columns=harmless).to_csv(index=False)


def harmless(text: Any) -> Any:
    """A cell with an apostrophe before what a spreadsheet would execute; what is no string stays as it is."""
    return f"'{text}" if isinstance(text, str) and _FORMULA.match(text) else text


def bare(cell: Any) -> Any:
    """A cell of a table of ours without the apostrophe of `harmless`; what has none stays as it is."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _FORMULA.match(cell) else cell


def plain_content(content: bytes) -> bytes:
    """A table of ours, as bytes, without any apostrophe of `harmless`; fields are quoted only where they must be."""
    out = io.StringIO()
    cells = csv.reader(io.StringIO(content.decode(errors="replace"), newline=""))
    csv.writer(out, lineterminator="\n").writerows([bare(cell) for cell in row] for row in cells)
    return out.getvalue().encode()


def column_names(path: Path, columns: Sequence[str], encoding: str = "") -> list[str]:
    """The names in a CSV file's header, under the separator that finds most of `columns`.

    Raises
    ------
    InputError
        If the file is missing, empty or no text.
    """
    with _opened(path, columns, True, encoding) as table:
        return table.names


def _normal(text: str) -> str:
    """Composed accents, and no character that nobody sees at either end."""
    return unicodedata.normalize("NFC", text).strip(_INVISIBLE).strip()


@dataclass
class _OpenTable:
    """A table whose header is read.

    Attributes
    ----------
    separator : str
    names : list of str
        Of the header; empty where there is none.
    lines : iterator of str
        The lines under it.
    before : int
        How many lines are read.
    guessed : bool
        Whether nothing but its bytes says in which encoding it is.
    """

    separator: str
    names: list[str]
    lines: Iterator[str]
    before: int
    guessed: bool = False


@contextmanager
def _opened(path: Path, columns: Sequence[str], header: bool, said: str) -> Iterator[_OpenTable]:
    encoding = _encoding(path, said)
    with open(path, encoding=encoding, newline="") as file:
        try:
            table = _read_header(file, columns, header)
            table.guessed = encoding == _GUESS and not said
            yield table
        except csv.Error as error:
            raise InputError(f"{path}: not a regular CSV file ({error})") from None


def _encoding(path: Path, said: str) -> str:
    """What is said; UTF-16 if its mark is there; else UTF-8 if every byte agrees, else Windows-1252."""
    try:
        refuse_irregular(path, MAX_TABLE_BYTES, "a table")
        with open(path, "rb") as file:
            marked = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        for encoding in (said,) if said else ("utf-16",) if marked else ("utf-8-sig", _GUESS):
            if _decodes(path, encoding):
                return encoding
    except FileNotFoundError:
        raise InputError(f"{path}: no such table") from None
    except OSError as error:
        raise InputError(f"{path}: the table cannot be read ({error.strerror})") from None
    what = f"no {said} text" if said else "neither UTF-8 nor Windows-1252 text"
    raise InputError(f"{path}: {what}; save it as CSV in UTF-8")


def _decodes(path: Path, encoding: str) -> bool:
    """Whether the file is in an encoding, to its last byte; raises InputError where it is no text or empty."""
    decoder = codecs.getincrementaldecoder(encoding)()
    empty = True
    try:
        with open(path, "rb") as file:
            while block := file.read(MAX_LINE):
                text = decoder.decode(block)
                if len(block) == MAX_LINE and "\n" not in text and "\r" not in text:
                    raise InputError(f"{path}: not a CSV file (it has a line of more than {MAX_LINE:,} bytes)")
                if "\0" in text:
                    raise InputError(f"{path}: not a CSV file (it holds NUL bytes; save it as CSV in UTF-8)")
                empty = empty and not text.strip()
        decoder.decode(b"", final=True)
    except UnicodeError:  # of UTF-16 without its mark too
        return False
    if empty:
        raise InputError(f"{path}: the table is empty; it needs a header and a row")
    return True


def _read_header(file: TextIO, columns: Sequence[str], header: bool) -> _OpenTable:
    before, first = 0, file.readline()
    declared = _SEPARATOR_LINE.fullmatch(first.strip("\ufeff\r\n "))
    if declared or (first.lower().startswith("sep=") and first.strip("\r\n").lower() == "sep=\t"):
        separator = declared[1] if declared else "\t"
        before, first = 1, file.readline()
    else:
        separator = ""
    while header and first and (not first.strip() or (first.startswith("#") and not _has_all(first, columns))):
        before, first = before + 1, file.readline()
    separator = separator or _separator(first, columns)
    lines = itertools.chain([first], file) if first else iter(())
    if not header:
        return _OpenTable(separator, [], lines, before)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    names = [_normal(name.strip()) for name in next(reader, [])]
    if len(names) > MAX_COLUMNS:
        raise csv.Error(f"its header has {len(names):,} columns, more than {MAX_COLUMNS:,}")
    if reader.line_num > 1 and any("\n" in name and separator in name for name in names):
        raise csv.Error(f"a quote in its header swallows {reader.line_num - 1} lines")
    return _OpenTable(separator, names, lines, before + reader.line_num)


def _has_all(line: str, columns: Sequence[str]) -> bool:
    return bool(columns) and all(name in line for name in columns)


def _separator(line: str, columns: Sequence[str]) -> str:
    """The separator under which most of the wanted columns are found, else most columns."""
    best: tuple[tuple[int, int], str] = ((-1, 0), ",")
    for separator in ",;\t":
        names = [_normal(name.strip()) for name in next(csv.reader([line], delimiter=separator), [])]
        score = sum(name in names for name in columns), len(names)
        if score > best[0]:
            best = score, separator
    return best[1]


def _refuse_columns(path: Path, names: list[str], columns: Sequence[str], optional: Sequence[str]) -> None:
    missing = [name for name in columns if name not in names]
    if missing and not any(name in names for name in (*columns, *optional)):
        # Perhaps no header at all: a row of data may name a patient, so none of it is printed.
        raise InputError(
            f"{path}: no column {', '.join(missing)}: none of the {len(names)} fields of its first line is called so; "
            "the first line has to be the header"
        )
    if missing:
        raise InputError(
            f"{path}: no column {', '.join(missing)}; the file has the columns {', '.join(names) or '(none)'}"
        )
    twice = [name for name in (*columns, *optional) if names.count(name) > 1]
    if twice:
        raise InputError(f"{path}: column {twice[0]} occurs twice")


def _values(
    path: Path, table: _OpenTable, names: list[str], wanted: list[str]
) -> tuple[list[list[str]], list[int], list[int]]:
    """The fields of each wanted column, the line on which each row begins, and the lines of rows without content."""
    kept: list[str] = []  # the lines of the row that is being read
    last = ""

    def keeping() -> Iterator[str]:
        nonlocal last
        for last in table.lines:
            kept.append(last)
            yield last

    values: list[list[str]] = [[] for _ in wanted]
    numbers: list[int] = []
    blank: list[int] = []
    places = [(column, names.index(name)) for column, name in zip(values, wanted, strict=True)]
    width, line = len(names), table.before
    required = [place for _, place in places]
    key, sound = required[0], sound_line(table.separator)
    reader = csv.reader(keeping(), delimiter=table.separator, skipinitialspace=True)
    for record in reader:
        first, line = line + 1, table.before + reader.line_num
        if len(record) != width or line != first or ('"' in kept[0] and not sound.fullmatch(kept[0])):
            if line == first and not any(map(str.strip, record)) and len(record) < 2:
                kept.clear()
                continue
            record = _odd_record(path, record, kept, first, table.separator, width, required)
        for column, place in places:
            column.append(record[place])
        numbers.append(first)
        if not record[key] and not any(map(str.strip, record)):
            blank.append(first)
        kept.clear()
    if numbers and numbers[-1] == line and '"' in last:  # one that is open at the very end of the file
        _odd_record(path, [""] * width, [last], line, table.separator, width, required)
    return values, numbers, blank


def _odd_record(
    path: Path, record: list[str], lines: list[str], first: int, separator: str, width: int, wanted: list[int]
) -> list[str]:
    """A row of several lines, or of more or fewer fields than the header: as it is to be read, or refused."""
    while len(record) > width and not record[-1].strip():
        record = record[:-1]
    swallowed = swallowed_lines("".join(lines), separator, width, wanted) if '"' in "".join(lines) else None
    if swallowed is not None:
        raise InputError(
            f"{path}: line {first}: a quote that is opened here swallows {swallowed}; delete the stray quote (one that "
            'belongs into a quoted field is written twice: "")'
        )
    if len(record) > width:
        raise InputError(f"{path}: not a regular CSV file (line {first} has {len(record)} fields, the header {width})")
    return record + [""] * (width - len(record))
