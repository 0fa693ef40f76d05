"""The differences between arms: AUROC of one minus that of another on the same patients, and what they show.

Sources
-------
Holm, Scandinavian Journal of Statistics 1979;6:65. Obuchowski & McClish, Statistics in Medicine 1997;16:1529
(detectable difference).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fastrad.study.inference.auroc import delong_test, difference_interval
from fastrad.study.inference.bootstrap import bootstrap_auroc, percentile_interval
from fastrad.study.inference.samples import FloatArray, Interval
from fastrad.study.protocol.abstract import LABELS

# Simulated with equal arms (tests/study/inference/test_differences.py): with 15 patients of the rarer class DeLong's
# test rejects in 4 to 5 % of studies, with 2 to 10 of them in up to 16 %.
FEWEST_FOR_A_TEST = 15


@dataclass(frozen=True)
class Difference:
    """AUROC of arm `a` minus that of arm `b` on the same test patients.

    `bootstrap_interval` is a check of `interval`: the central 95 % of the difference over resamples of the patients
    within their class, the same for both arms. It decides nothing.

    `comparisons` is the size of the family that Holm's adjustment is over. `shown` is True only if the interval
    excludes zero, the Holm-adjusted p is below 0.05, and the test set has at least `FEWEST_FOR_A_TEST` patients of each
    class.
    """

    a: str
    b: str
    difference: float
    interval: Interval
    bootstrap_interval: Interval
    standard_error: float
    p_value: float
    holm_p_value: float
    comparisons: int
    detectable: float
    shown: bool


def differences(y: NDArray[np.int64], scores: Mapping[str, FloatArray], counts: FloatArray) -> tuple[Difference, ...]:
    """Every pair of arms, a later one minus an earlier one.

    The abstract's three comparisons are a family of their own: a further arm must not cost them power.

    Parameters
    ----------
    y : int64 array, shape (patients,)
        1 is malignant.
    scores : mapping of arm to float array, shape (patients,)
    counts : array of shape (resamples, patients)
        From `bootstrap.resample_counts`.
    """
    pairs = [(later, earlier) for earlier, later in combinations(scores, 2)]
    resampled = {name: bootstrap_auroc(y, values, counts) for name, values in scores.items()}
    tests = [delong_test(y, scores[a], scores[b]) for a, b in pairs]
    planned = [a in LABELS and b in LABELS for a, b in pairs]
    adjusted = np.empty(len(pairs))
    for family in (True, False):
        members = [index for index, each in enumerate(planned) if each == family]
        adjusted[members] = holm([tests[index].p_value for index in members])
    enough = min(int(y.sum()), int((1 - y).sum())) >= FEWEST_FOR_A_TEST
    found = []
    for (a, b), test, family, holm_p in zip(pairs, tests, planned, adjusted, strict=True):
        interval = difference_interval(y, scores[a], scores[b])
        found.append(
            Difference(
                a,
                b,
                test.difference,
                interval,
                percentile_interval(resampled[a] - resampled[b]),
                test.standard_error,
                test.p_value,
                float(holm_p),
                planned.count(family),
                detectable_difference(test.standard_error),
                bool(enough and (interval.low > 0 or interval.high < 0) and holm_p < 0.05),
            )
        )
    return tuple(found)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of a family of p values, in their order; NaN stays NaN and is not counted."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = p.copy()
    order = [index for index in np.argsort(p, kind="stable") if not math.isnan(p[index])]
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[index]))
        adjusted[index] = largest
    return [float(value) for value in adjusted]


def detectable_difference(standard_error: float) -> float:
    """The smallest true difference that a two-sided test at 5 % with this standard error finds with 80 % power.

    (z[0.975] + z[0.8]) * standard error, the usual sample-size formula; NaN for a standard error of zero.
    """
    if not standard_error > 0:
        return math.nan
    return float((ndtri(0.975) + ndtri(0.8)) * standard_error)
