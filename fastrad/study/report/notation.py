"""How numbers are written: estimates with their intervals, p values, what is undefined."""

from __future__ import annotations

import math


def format_p(p: float | None) -> str:
    """A p value as journals print it."""
    if p is None or math.isnan(p):
        return "undefined"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


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
