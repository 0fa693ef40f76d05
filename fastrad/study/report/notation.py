"""How numbers are written: estimates with their intervals, p values, what is undefined."""

from __future__ import annotations

import math


def format_p(p: float | None) -> str:
    """A p value as journals print it."""
    if p is None or math.isnan(p):
        return "undefined"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number(value: float | None, form: str) -> str:
    """A number; "–" where there is no value."""
    return "–" if value is None else format(value, form)


def estimate(value: float | None, low: float | None, high: float | None, digits: int = 3, sign: str = "") -> str:
    """`0.712 (0.640 to 0.781)`; "–" where there is no value."""
    if value is None:
        return "–"
    form = f"{sign}.{digits}f"
    if low is None or high is None:
        return format(value, form)
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def range_text(low: float | None, high: float | None, form: str = ".3f") -> str:
    """An interval's limits."""
    return "undefined" if low is None or high is None else f"{low:{form}} to {high:{form}}"


def subgroup_text(arm: dict | None) -> str:
    """AUROC and interval of one arm in one subgroup."""
    return "too few" if arm is None else estimate(arm["auroc"], arm["low"], arm["high"], digits=2)


def latex_text(text: object) -> str:
    """A text of other origin as plain text in LaTeX."""
    return "".join(_LATEX.get(character, character) for character in " ".join(str(text).split()))


_LATEX = {character: f"\\{character}" for character in "&%$#_{}"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "−": r"$-$", "–": "--", "…": r"\ldots{}"}


def duration(seconds: float) -> str:
    """A length of time as people say it: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def enumerated(labels: list[str]) -> str:
    """Labels behind each other, set off by semicolons where one holds a comma itself."""
    return ("; " if any("," in label for label in labels) else ", ").join(labels)


def listed(names: list[str], most: int = 6) -> str:
    """Names behind each other, the first few of many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
