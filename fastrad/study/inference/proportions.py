"""Proportions with Wilson's interval: sensitivity, specificity, predictive values, observed shares."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.stats import binomtest

from fastrad.study.inference.samples import Interval


class Proportion(NamedTuple):
    """A proportion with its Wilson interval; the estimate is NaN where `trials` is 0."""

    estimate: float
    interval: Interval
    successes: int
    trials: int


def proportion(successes: int, trials: int) -> Proportion:
    """Of `trials` patients, `successes`."""
    return Proportion(successes / trials if trials else math.nan, wilson_interval(successes, trials), successes, trials)


def wilson_interval(successes: int, trials: int) -> Interval:
    """Wilson's 95 % score interval of a proportion (JASA 1927;22:209); [0, 1] where there is no trial."""
    if trials == 0:
        return Interval(0.0, 1.0)
    found = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return Interval(float(found.low), float(found.high))
