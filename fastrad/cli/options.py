"""Options of the command line from a settings dataclass, so that a name, its default and its words stand once.

In: a frozen dataclass. Out: click options, one a field; `given` turns what click parsed back into fields. A field says:

- by its name the option (`batch_size` is `--batch-size`), by its annotation the type: int, float, str, Path; a bool is
  a flag (`--no-NAME` where the default is True), a `tuple[...]` without `parse` may be given several times;
- by the class's docstring, section Attributes, the help; by its default what stands in brackets behind it (but with
  `parse` the docstring has to say it as one would type it);
- by `field(metadata={...})` what these cannot say:
    choices   the words that are allowed: a tuple, or a registry's keys (what is empty, "", is no choice)
    min, max  bounds, both allowed
    default   how the default is said, where its value says it badly ("as stored")
    required  True where the command cannot do without
    metavar   what stands for the value in the help
    parse     function from the word to the value; raises OptionError
    multiple  True where it may be given several times; `parse` then gets the tuple of words
    option    another spelling, "--lr"; "" where the field is no option of the command line

An option that is not given is not passed on: the dataclass keeps its default, a recipe what it says. So a command is

    @click.command("pretrain")
    @options_of(Recipe)                              # all fields, or those named: options_of(Recipe, "epochs", "lr")
    def command(**words):
        recipe = replace(recipe, **given(Recipe, words))
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any

import click

_ATTRIBUTES = re.compile(r"^Attributes\n-+\n(.*?)(?=^\S[^\n]*\n---|\Z)", re.MULTILINE | re.DOTALL)
_ATTRIBUTE = re.compile(r"^(\S[^:\n]*?)(?: :.*)?\n((?:[ ]+\S.*\n|\n)*)", re.MULTILINE)


def options_of(settings: type, *names: str) -> Callable[[Callable], Callable]:
    """Decorate a command with the options of a settings dataclass: all of them, or the named fields in this order."""

    def decorate(function: Callable) -> Callable:
        for parameter in reversed(parameters_of(settings, *names)):
            function.__dict__.setdefault("__click_params__", []).append(parameter)
        return function

    return decorate


def parameters_of(settings: type, *names: str) -> list[click.Option]:
    """The click options of a settings dataclass, for a command that is built without decorators."""
    words, hints = help_of(settings), typing.get_type_hints(settings)
    known = {each.name: each for each in fields(settings)}
    chosen = names or tuple(name for name, each in known.items() if each.metadata.get("option") != "")
    return [_option(known[name], hints[name], words.get(name, "")) for name in chosen]


def given(settings: type, words: Mapping[str, Any]) -> dict[str, Any]:
    """What the user gave for the fields of a settings dataclass, out of all the values that click parsed."""
    names = [each.name for each in fields(settings)]
    return {name: words[name] for name in names if words.get(name) not in (None, ())}


def help_of(settings: type) -> dict[str, str]:
    """What the docstrings of a dataclass and its bases say of each field, on one line."""
    words: dict[str, str] = {}
    for each in reversed(settings.__mro__):
        section = _ATTRIBUTES.search(inspect.cleandoc(vars(each).get("__doc__") or "") + "\n")
        for names, text in _ATTRIBUTE.findall(section[1] if section else ""):
            words.update(dict.fromkeys(names.split(", "), " ".join(text.split())))
    return words


def _option(field: Field, hint: Any, words: str) -> click.Option:
    about = field.metadata
    inner = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
    if isinstance(hint, types.UnionType) and len(inner) == 1:  # `int | None`
        hint = inner[0]
    spelling = about.get("option") or "--" + field.name.replace("_", "-")
    default = field.default if field.default_factory is MISSING else field.default_factory()
    if "default" in about:
        words += f" [{about['default']}]"
    elif default not in (MISSING, None, "", ()) and not isinstance(default, bool) and "parse" not in about:
        shown = [f"{one:g}" if isinstance(one, float) else f"{one}" for one in _as_tuple(default)]
        words += f" [{', '.join(shown)}]"
    settings: dict[str, Any] = {"help": words.strip(), "metavar": about.get("metavar")}
    settings |= {"required": True} if about.get("required") else {"default": None}  # for click, None is a value given
    if hint is bool:
        spelling = spelling.replace("--", "--no-", 1) if default is True else spelling
        return click.Option([spelling, field.name], is_flag=True, flag_value=default is not True, **settings)
    several = typing.get_origin(hint) is tuple and "parse" not in about
    hint = inner[0] if several else hint
    if about.get("multiple", several):
        settings |= {"multiple": True, "default": ()}
    if parse := about.get("parse"):
        settings["callback"] = lambda context, parameter, word: word if word in (None, ()) else parse(word)
    return click.Option([spelling, field.name], type=_type(hint, about), **settings)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _type(kind: Any, about: Mapping[str, Any]) -> Any:
    if "choices" in about:
        return click.Choice([choice for choice in about["choices"] if choice])
    if kind is Path:
        return click.Path(path_type=Path)
    if "min" in about or "max" in about:
        bounded = click.IntRange if kind is int else click.FloatRange
        return bounded(about.get("min"), about.get("max"))
    return kind if kind in (int, float) and "parse" not in about else str
