"""The differences between arms on the same patients, of one network and of the ensemble, and what they show.

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

from fastrad.study.inference import hierarchical
from fastrad.study.inference.auroc import delong_test, difference_interval
from fastrad.study.inference.averaging import ensemble
from fastrad.study.inference.bootstrap import bootstrap_auroc, percentile_interval
from fastrad.study.inference.multireader import ReaderScores
from fastrad.study.inference.networks import (
    NOTHING,
    NetworkDifference,
    auroc_correlation,
    network_difference,
    score_correlation,
)
from fastrad.study.inference.samples import FloatArray, Interval
from fastrad.study.protocol.abstract import LABELS

# Simulated with equal arms (tests/study/inference/test_differences.py): with 15 patients of the rarer class DeLong's
# test rejects in 4 to 5 % of studies, with 2 to 10 of them in up to 16 %.
FEWEST_FOR_A_TEST = 15


@dataclass(frozen=True)
class Difference:
    """Arm `a` minus arm `b` on the same test patients.

    `network` is the difference of one network's AUROC, for other networks and patients, and decides what is shown;
    `network_holm_p_value` is Holm's p of its networks as readers, `folds_holm_p_value` that of its folds. All others
    are of the two ensembles and hold for other patients alone, given the trained networks: `difference`, `interval`,
    `standard_error`, `p_value`, `holm_p_value` (DeLong), `detectable`, and `bootstrap_interval`, a check of `interval`
    that decides nothing.

    `score_correlation` is that of the ensembles' scores within a class, `auroc_correlation` that of their AUROCs.
    `comparisons` is the size of the family that Holm's adjustment is over. `shown` is True only if all intervals of
    `network` exclude zero, both of Holm's p of networks and folds are below 0.05, and the test set has at least
    `FEWEST_FOR_A_TEST` patients of each class.
    """

    a: str
    b: str
    network: NetworkDifference
    network_holm_p_value: float
    folds_holm_p_value: float
    difference: float
    interval: Interval
    bootstrap_interval: Interval
    standard_error: float
    p_value: float
    holm_p_value: float
    comparisons: int
    detectable: float
    score_correlation: float
    auroc_correlation: float
    shown: bool


def differences(
    y: NDArray[np.int64],
    networks: Mapping[str, FloatArray],
    readers: Mapping[str, ReaderScores],
    counts: FloatArray,
) -> tuple[Difference, ...]:
    """Every pair of arms, a later one minus an earlier one.

    The abstract's three comparisons are a family of their own: a further arm must not cost them power.

    Parameters
    ----------
    y : int64 array, shape (patients,)
        1 is malignant.
    networks : mapping of arm to float array, shape (starts, seeds, folds, patients)
    readers : mapping of arm to ReaderScores
        Of these scores.
    counts : array of shape (resamples, patients)
        From `bootstrap.resample_counts`; without resamples there is no bootstrap, and it decides nothing.
    """
    pairs = [(later, earlier) for earlier, later in combinations(networks, 2)]
    scores = {name: ensemble(each) for name, each in networks.items()}
    tests = [delong_test(y, scores[a], scores[b]) for a, b in pairs]
    bootstraps, hierarchies = [NOTHING] * len(pairs), [NOTHING] * len(pairs)
    if len(counts):
        resampled = {name: bootstrap_auroc(y, values, counts) for name, values in scores.items()}
        bootstraps = [percentile_interval(resampled[a] - resampled[b]) for a, b in pairs]
        drawn = hierarchical.mean_aurocs(y, networks, counts)
        hierarchies = [hierarchical.difference_interval(drawn[a], drawn[b]) for a, b in pairs]
    of_networks = [
        network_difference(readers[a], readers[b], each) for (a, b), each in zip(pairs, hierarchies, strict=True)
    ]
    planned = [a in LABELS and b in LABELS for a, b in pairs]
    holms = [
        holm_by_family(p_values, planned)
        for p_values in (
            [each.networks.p_value if each.networks else math.nan for each in of_networks],
            [each.folds.p_value if each.folds else math.nan for each in of_networks],
            [test.p_value for test in tests],
        )
    ]
    enough = min(int(y.sum()), int((1 - y).sum())) >= FEWEST_FOR_A_TEST
    found = []
    for index, ((a, b), test, network) in enumerate(zip(pairs, tests, of_networks, strict=True)):
        by_networks, by_folds, by_ensembles = (adjusted[index] for adjusted in holms)
        found.append(
            Difference(
                a=a,
                b=b,
                network=network,
                network_holm_p_value=by_networks,
                folds_holm_p_value=by_folds,
                difference=test.difference,
                interval=difference_interval(y, scores[a], scores[b]),
                bootstrap_interval=bootstraps[index],
                standard_error=test.standard_error,
                p_value=test.p_value,
                holm_p_value=by_ensembles,
                comparisons=planned.count(planned[index]),
                detectable=detectable_difference(test.standard_error),
                score_correlation=score_correlation(y, scores[a], scores[b]),
                auroc_correlation=auroc_correlation(y, scores[a], scores[b]),
                shown=bool(enough and network.excludes_zero and by_networks < 0.05 and by_folds < 0.05),
            )
        )
    return tuple(found)


def holm_by_family(p_values: Sequence[float], planned: Sequence[bool]) -> list[float]:
    """Holm's adjustment over the planned comparisons, and over all others apart; in their order."""
    adjusted = np.empty(len(p_values))
    for family in (True, False):
        members = [index for index, each in enumerate(planned) if each == family]
        adjusted[members] = holm([p_values[index] for index in members])
    return [float(value) for value in adjusted]


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
