"""JSON as it comes from a file: decoded within limits, and checked once against a type.

In: bytes, or values that were decoded already, and a type: a `msgspec.Struct`, a dataclass, or annotations with bounds.
Out: an object of the type, or one line that says which value is wrong. What no type describes (an archive's options,
say) is kept within `Free`'s limits. Nothing here repeats a value of the file: it may be a patient's name.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from fastrad.errors import FormatError
from fastrad.system.reading import read_whole

Checked = TypeVar("Checked")

MAX_DEPTH = 16  # of values that no type describes
MAX_WORD = 1 << 16  # characters of a name, a label, a reason
MAX_NUMBER = (1 << 63) - 1

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_NUMBER)]
Word = Annotated[str, msgspec.Meta(max_length=MAX_WORD)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


def decode(text: bytes | bytearray | memoryview | str, kind: type[Checked], name: str, way_out: str) -> Checked:
    """JSON text as an object of a type.

    Parameters
    ----------
    name : str
        Stands for the file in errors.
    way_out : str
        What the reader of the error should do.

    Raises
    ------
    FormatError
        If it is no JSON, is nested too deeply, or is not of the type.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError:
        raise FormatError(f"{name}: is nested too deeply; {way_out}") from None
    except msgspec.ValidationError as error:
        raise FormatError(f"{name}: {_said(error)}; {way_out}") from None
    except (msgspec.DecodeError, UnicodeError):
        raise FormatError(f"{name}: is cut short or no JSON; {way_out}") from None


def read_json(path: Path, kind: type[Checked], limit: int, what: str, way_out: str) -> Checked:
    """A JSON file as an object of a type.

    Parameters
    ----------
    limit : int
        Bytes that it may have at most.
    what : str
        What it should be, for errors: "the record of a run".

    Raises
    ------
    FileNotFoundError
        If there is none.
    InputError
        If it is no regular file, or larger.
    FormatError
        As `decode`.
    """
    return decode(read_whole(path, limit, what), kind, str(path), way_out)


def convert(value: Any, kind: type[Checked], name: str, way_out: str) -> Checked:
    """Values that were decoded already (from JSON, TOML, a checkpoint) as an object of a type; raises as `decode`."""
    try:
        return msgspec.convert(value, kind)
    except RecursionError:
        raise FormatError(f"{name}: is nested too deeply; {way_out}") from None
    except msgspec.ValidationError as error:
        raise FormatError(f"{name}: {_said(error)}; {way_out}") from None
    except (TypeError, AttributeError, ValueError, RuntimeError):  # of a tensor, say, which seems to be a mapping
        raise FormatError(f"{name}: holds a value of a kind that has no place there; {way_out}") from None


def refuse_unbounded(value: Any, name: str, way_out: str) -> None:
    """Refuse values of no stated type that are deeper, longer or larger than anything that fastrad writes.

    Raises
    ------
    FormatError
        If a value lies deeper than `MAX_DEPTH`, a word is longer than `MAX_WORD`, a number beyond 64 bits or infinite.
    """
    if reason := _unbounded(value, MAX_DEPTH):
        raise FormatError(f"{name}: {reason}; {way_out}")


def _unbounded(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return "holds a word that is too long" if len(value) > MAX_WORD else ""
    if isinstance(value, float):
        return "" if math.isfinite(value) else "holds a number that is not finite"
    if isinstance(value, int):
        return "" if -MAX_NUMBER <= value < 1 << 64 else "holds a number of more than 64 bits"
    if not isinstance(value, dict | list | tuple):
        return ""
    if depth == 0:
        return "is nested too deeply"
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    return next((reason for each in inner if (reason := _unbounded(each, depth - 1))), "")


def _said(error: msgspec.ValidationError) -> str:
    """msgspec's words, "Expected `int`, got `str` - at `$.samples`", which name fields and types and no value."""
    reason, _, place = str(error).partition(" - at ")
    where = place.strip("`").removeprefix("$").removeprefix(".") or "the whole"
    if reason.startswith("Invalid enum value"):
        reason = "a word that is none of the allowed ones"
    return f"{where[:200]} is not as it should be ({reason[:200]})"
