"""One sentence of a report, and the usual conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastrad.study.report.facts import Facts


class Sentence(NamedTuple):
    """A sentence of the report.

    Attributes
    ----------
    place : str
        Where on the page it stands; "caveats" are at the top of every form of the table too.
    text : str
        With names in braces where something is filled in.
    condition : str
        When it is printed, for a reader.
    cases : function
        From the facts to what is filled in, once for each time that it is printed; none where it would be false.
    """

    place: str
    text: str
    condition: str
    cases: Callable[[Facts], list[dict[str, Any]]]


def always(facts: Facts) -> list[dict[str, Any]]:
    """Once, whatever the facts."""
    return [{}]


def where(holds: Callable[[Facts], object]) -> Callable[[Facts], list[dict[str, Any]]]:
    """Once, if the facts say so."""
    return lambda facts: [{}] if holds(facts) else []


def of_each(arms: Callable[[Facts], list]) -> Callable[[Facts], list[dict[str, Any]]]:
    """Once for each of some arms, with its label as `arm`."""
    return lambda facts: [{"arm": arm["label"]} for arm in arms(facts)]
