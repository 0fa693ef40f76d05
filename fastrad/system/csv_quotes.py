"""Whether a quote in a row of a CSV file is a stray one, that makes fields or whole rows part of one field.

In: the text of a row, one line or several. Out: what is swallowed, in words, or None where the quotes are sound. A line
break within a quoted field is sound by RFC 4180; what tells a swallowed row is a quote that does not close, text behind
the closing one, another number of fields than the header has, or a line inside that is a row by itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_LINE_END = re.compile(r"\r\n|\n|\r")
# What no prose has between two separators: a file's name, or one word with a digit, a dot or a slash.
_FILE_OR_ID = re.compile(r"""["']?(?:.*\.[a-z][a-z0-9]{1,5}|\S*[\d./\\_]\S*)["']?""", re.IGNORECASE | re.DOTALL)


def sound_line(separator: str) -> re.Pattern[str]:
    """What a line matches whose quotes enclose whole fields, or stand within fields that do not begin with one."""
    blank = " " if separator == "\t" else "[ \\t]"
    between = re.escape(separator)
    field = rf'(?:{blank}*"(?:[^"]|"")*"{blank}*|{blank}*[^"\s{between}][^{between}\r\n]*|{blank}*)'
    return re.compile(rf"{field}(?:{between}{field})*[\r\n]*")


def swallowed_lines(text: str, separator: str, width: int, wanted: Sequence[int]) -> str | None:
    """What a stray quote swallows.

    Parameters
    ----------
    text : str
        The lines of one row as a reader that forgives everything took them together.
    separator : str
    width : int
        The number of the header's fields.
    wanted : sequence of int
        The columns that are taken, by position; the first one names images or patients.

    Returns
    -------
    str or None
        "2 lines", "1 field"; None where no quote is stray.
    """
    text = text.rstrip("\r\n")
    breaks = len(_LINE_END.findall(text))
    rows = f"{breaks} line{'s' * (breaks != 1)}"
    fields = _strict_fields(text, separator)
    if fields is None:  # not CSV by its letter
        return rows if breaks else "the rest of the file" if text.count('"') % 2 else "what stands behind it"
    while len(fields) > width and not fields[-1].strip():
        fields.pop()
    if len(fields) > width:
        return rows if breaks else None  # too many fields: said by who counts them
    inside = max((field.count(separator) for field in fields), default=0)
    lacking = width - len(fields)
    if breaks and lacking:
        return rows
    if lacking:
        return f"{lacking} field{'s' * (lacking != 1)}" if inside >= lacking else None
    for place, field in enumerate(fields):
        if _LINE_END.search(field) and _holds_a_row(field, place, separator, width, wanted):
            return rows
    return None


def _holds_a_row(field: str, place: int, separator: str, width: int, wanted: Sequence[int]) -> bool:
    """Whether a field of several lines holds the end of its own row, rows, and the beginning of another one."""
    first, *middle, last = _LINE_END.split(field)
    whole = [line for line in middle if line.count(separator) >= width - 1]
    ends_and_begins = first.count(separator) >= width - 1 - place and last.count(separator) >= place
    if place in wanted:
        return bool(whole) or ends_and_begins
    # Prose with line breaks and commas, a report, is no row: it has no file or id where rows have theirs.
    key = wanted[0]
    keys = [line.split(separator)[key] for line in whole]
    if ends_and_begins:
        keys.append(last.split(separator)[key] if key < place else first.split(separator)[key - place])
    return any(_FILE_OR_ID.fullmatch(found.strip()) for found in keys)


def _strict_fields(text: str, separator: str) -> list[str] | None:
    """The fields by RFC 4180, blanks around quotes allowed; None where a quote does not close, or closes too early."""
    quoted = re.compile(r'[ \t]*"((?:[^"]|"")*)"[ \t]*' if separator != "\t" else r'[ ]*"((?:[^"]|"")*)"[ ]*')
    plain = re.compile(rf"[^{re.escape(separator)}\r\n]*")
    fields, place = [], 0
    while True:
        found = quoted.match(text, place)
        if found:
            fields.append(found[1].replace('""', '"'))
        else:
            found = plain.match(text, place)
            assert found is not None
            if found[0].lstrip().startswith('"'):
                return None
            fields.append(found[0])
        place = found.end()
        if place == len(text):
            return fields
        if text[place] != separator:
            return None
        place += 1
