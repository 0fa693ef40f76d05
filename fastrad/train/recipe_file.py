"""Recipes as TOML: the values of a frozen dataclass, checked by name and type. A dataclass in it is a table.

A pair of numbers is a list of two; where a value may be None, `false` stands for it.
"""

from __future__ import annotations

import math
import tomllib
import typing
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from fastrad.errors import InputError, OptionError
from fastrad.system.reading import read_whole

Recipe = TypeVar("Recipe")
MAX_BYTES = 1 << 20


def parse(text: str, origin: str) -> dict[str, Any]:
    """The values of a TOML file; `origin` says where it stands.

    Raises
    ------
    InputError
        If it is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits are no TOMLDecodeError
        raise InputError(f"{origin}: not TOML ({error})") from None


def read(path: Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises
    ------
    InputError
        If there is no such file, it is larger than a recipe, or not TOML.
    """
    try:
        return parse(read_whole(path, MAX_BYTES, "a recipe").decode("utf-8-sig"), str(path))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such recipe file") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not TOML (not UTF-8)") from None


def changed(recipe: Recipe, values: dict[str, Any], origin: str) -> Recipe:
    """A recipe with some values replaced.

    Raises
    ------
    OptionError
        If a name or a value's type is not a recipe's.
    """
    known = typing.get_type_hints(type(recipe))
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise OptionError(f"{origin}: {name!r} is no value of a recipe; known are {', '.join(known)}")
        if is_dataclass(known[name]):
            if not isinstance(value, dict):
                raise OptionError(f"{origin}: {name} is {value!r}; a table [{name}] is needed")
            checked[name] = changed(getattr(recipe, name), value, f"{origin}, [{name}]")
        else:
            checked[name] = _checked(value, known[name], f"{origin}: {name}")
    return replace(recipe, **checked)  # type: ignore[type-var]


def _checked(value: Any, kind: Any, where: str) -> Any:
    inner = typing.get_args(kind)
    if type(None) in inner:  # `tuple[float, float] | None`
        if value is False:
            return None
        return _checked(value, inner[0], where)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list) or len(value) != len(inner):
            raise OptionError(f"{where} is {value!r}; a list of {len(inner)} numbers is needed")
        return tuple(_checked(each, one, where) for each, one in zip(value, inner, strict=True))
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise OptionError(f"{where} is {value!r}; {kind.__name__} is needed")
    try:
        found = kind(value)
        sound = kind is not float or math.isfinite(found)
    except (ValueError, OverflowError):
        sound = False
    if not sound:
        raise OptionError(f"{where} is too large")
    return found


def to_toml(recipe: Any) -> str:
    """A recipe as a file that `read` reads: its values, and after them its tables."""
    values = asdict(recipe)
    plain = "".join(f"{name} = {_word(value)}\n" for name, value in values.items() if not isinstance(value, dict))
    tables = (
        f"\n[{name}]\n" + "".join(f"{key} = {_word(one)}\n" for key, one in value.items())
        for name, value in values.items()
        if isinstance(value, dict)
    )
    return plain + "".join(tables)


def _word(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(bool(value)).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_word, value))}]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
