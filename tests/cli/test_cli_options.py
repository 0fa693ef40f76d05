"""Options that are made from a settings dataclass: names, types, help, defaults, bounds, and what was given."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from fastrad.cli.options import given, help_of, options_of
from fastrad.errors import OptionError

ENGINES = {"": None, "direct": object, "torch": object}


def _pair(word: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in word.split(","))
    except ValueError:
        raise OptionError(f"--pair {word}: two numbers are needed") from None


@dataclass(frozen=True)
class Base:
    """What two settings share.

    Attributes
    ----------
    epochs : int
        Passes over
        the file.
    low, high : float
        Of the range.

    Raises
    ------
    Nothing : ever
        This is no attribute.
    """

    epochs: int = field(default=16, metadata={"min": 1, "max": 100})
    low: float = field(default=0.0, metadata={"max": 1})
    high: float = 0.00005


@dataclass(frozen=True)
class Settings(Base):
    """More of them.

    Attributes
    ----------
    batch_size : int or None
        Images a step.
    engine : str
        The loader's.
    table : Path or None
        A file.
    compile : bool
        Compile the step.
    flip : bool
        Mirror images.
    names : tuple of str
        Some names.
    lr : float
        Peak rate.
    inside : str
        Never asked for.
    """

    batch_size: int | None = None
    engine: str = field(default="", metadata={"choices": ENGINES})
    table: Path | None = None
    compile: bool = False
    flip: bool = True
    names: tuple[str, ...] = ()
    lr: float = field(default=0.2, metadata={"option": "--rate"})
    inside: str = field(default="x", metadata={"option": ""})


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    return dict(word.split("=") for word in words)


@dataclass(frozen=True)
class Parsed:
    """Attributes without words."""

    pair: tuple[int, ...] = field(default=(0, 1), metadata={"metavar": "LOW,HIGH", "parse": _pair})
    pairs: dict[str, str] | None = field(default=None, metadata={"parse": _pairs, "multiple": True})


def _call(*words: str) -> tuple[dict[str, Any], Result]:
    found: dict[str, Any] = {}

    @click.command()
    @options_of(Settings)
    @options_of(Parsed, "pair")
    @click.option("--json", "as_json", is_flag=True)
    def command(**values: Any) -> None:
        found.update(given(Settings, values), as_json=values["as_json"])

    return found, CliRunner().invoke(command, list(words))


def test_what_is_not_given_is_not_passed_on() -> None:
    found, result = _call()
    assert result.exit_code == 0, result.output
    assert found == {"as_json": False}


def test_values_have_the_types_of_the_fields() -> None:
    words = "--epochs 3 --low 0.5 --batch-size 0 --table a.csv --compile --no-flip --rate 1"
    found, _ = _call(*words.split())
    assert found.pop("as_json") is False
    assert found == {
        **{"epochs": 3, "low": 0.5, "batch_size": 0, "table": Path("a.csv"), "compile": True, "flip": False, "lr": 1.0}
    }
    assert isinstance(found["lr"], float)
    Settings(**found)


def test_a_tuple_is_given_word_by_word() -> None:
    assert _call("--names", "a", "--names", "b")[0]["names"] == ("a", "b")


@pytest.mark.parametrize(
    "words", ["--epochs 0", "--epochs 101", "--low 1.5", "--engine dali", "--inside y", "--flip", "--lr 1"]
)
def test_what_the_field_does_not_allow_is_wrong_usage(words: str) -> None:
    assert _call(*words.split())[1].exit_code == 2


def test_help_is_the_docstring_with_default_choices_and_bounds() -> None:
    text = " ".join(_call("--help")[1].output.split())
    assert "--epochs INTEGER RANGE Passes over the file. [16] [1<=x<=100]" in text
    assert "--high FLOAT Of the range. [5e-05]" in text
    assert "--engine [direct|torch] The loader's. --" in text
    assert "--compile Compile the step. --no-flip Mirror images. --" in text
    assert "inside" not in text


def test_attributes_are_read_with_those_of_the_bases_and_nothing_else() -> None:
    words = help_of(Settings)
    assert words["low"] == words["high"] == "Of the range."
    assert words["batch_size"] == "Images a step."
    assert "Nothing" not in words


def test_a_word_is_parsed_where_the_field_says_how() -> None:
    @click.command()
    @options_of(Parsed)
    def command(**values: Any) -> None:
        click.echo(given(Parsed, values))

    assert CliRunner().invoke(command, ["--pair", "3,40"]).output == "{'pair': (3, 40)}\n"
    assert CliRunner().invoke(command, "--pairs a=1 --pairs b=2").output == "{'pairs': {'a': '1', 'b': '2'}}\n"
    assert CliRunner().invoke(command, []).output == "{}\n"
    assert "(0, 1)" not in CliRunner().invoke(command, ["--help"]).output  # not as one would type it
    assert isinstance(CliRunner().invoke(command, ["--pair", "wide"]).exception, OptionError)


@dataclass(frozen=True)
class Needed:
    """Attributes without words.

    Attributes
    ----------
    share : float
        Of all.
    """

    out: Path = field(metadata={"required": True})
    share: float = field(default=1 / 3, metadata={"default": "a third"})


def test_a_field_is_required_and_its_default_is_said_in_words_where_it_says_so() -> None:
    @click.command()
    @options_of(Needed)
    def command(**values: Any) -> None:
        click.echo(given(Needed, values))

    assert CliRunner().invoke(command, []).exit_code == 2
    assert CliRunner().invoke(command, ["--out", "x"]).output == f"{{'out': {Path('x')!r}}}\n"
    text = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    assert "--out PATH [required]" in text
    assert "--share FLOAT Of all. [a third]" in text
