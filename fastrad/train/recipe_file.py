"""Recipes as TOML: the values of a frozen dataclass, checked by name and type.

In: text or values. Out: the dataclass with these values.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from fastrad.errors import InputError, OptionError

Recipe = TypeVar("Recipe")


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
        If there is no such file, or it is not TOML.
    """
    try:
        return parse(path.read_text("utf-8-sig"), str(path))
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
    known = asdict(recipe)  # type: ignore[call-overload]
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise OptionError(f"{origin}: {name!r} is no value of a recipe; known are {', '.join(known)}")
        kind = type(known[name])
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise OptionError(f"{origin}: {name} is {value!r}; {kind.__name__} is needed")
        try:
            checked[name] = kind(value)
            sound = kind is not float or math.isfinite(checked[name])
        except (ValueError, OverflowError):
            sound = False
        if not sound:
            raise OptionError(f"{origin}: {name} is too large")
    return replace(recipe, **checked)  # type: ignore[type-var]
