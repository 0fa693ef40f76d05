"""What an arm's networks reach one by one, and whether two arms differ for other networks and other patients too.

A network is one (weights file, seed, fold) of an arm. The question is about initialisation, so the networks are a
sample: of seeds, of training patients (folds), of weights files where an arm has several. Three analyses look at a
difference, because none alone holds in every design:

- networks as readers: (seed, fold) pairs the arms; with several weights files in an arm, these are its readers, nested
  in it;
- folds as readers, AUROC averaged over seeds and weights files: the networks of one fold share its training patients
  and are not independent;
- a bootstrap over patients, folds, seeds and weights files.

With one seed nothing is said about initialisation: no standard error, interval or p.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastrad.study.inference.multireader import (
    Contrast,
    ReaderScores,
    given_pairs,
    given_readers,
    nested_readers,
    one_modality,
    paired_readers,
    quantile,
    reader_scores,
)
from fastrad.study.inference.samples import FloatArray, Interval

NOTHING = Interval(math.nan, math.nan)


@dataclass(frozen=True)
class ArmNetworks:
    """One network of an arm.

    Attributes
    ----------
    auroc, sd : float
        Mean and standard deviation of the test AUROC over all networks.
    interval : Interval
        95 % of the mean, for other networks and patients: the widest of networks as readers, folds as readers and
        these very networks for other patients; NaN with one seed.
    starts : int
        Weights files.
    """

    auroc: float
    sd: float
    interval: Interval
    starts: int


@dataclass(frozen=True)
class NetworkDifference:
    """Mean test AUROC of one network of an arm minus that of another.

    Attributes
    ----------
    difference : float
    networks, folds : Contrast or None
        Networks and folds as readers; None with one seed.
    bootstrap : Interval
        95 %; NaN with one seed, or where there are no resamples.
    given : Contrast or None
        These very networks, for other patients alone; None with one seed.
    """

    difference: float
    networks: Contrast | None
    folds: Contrast | None
    bootstrap: Interval
    given: Contrast | None = None

    @property
    def interval(self) -> Interval:
        """The widest of networks, folds, and these very networks, each limit for itself; NaN with one seed."""
        if self.networks is None or self.folds is None:
            return NOTHING
        return _widest(*(each.interval for each in (self.networks, self.folds, self.given) if each is not None))

    @property
    def detectable(self) -> float:
        """The true difference that both analyses find with 80 % power at 5 %; NaN where there is no test."""
        if self.networks is None or self.folds is None or self.networks.standard_error == 0:
            return math.nan
        both = self.networks, self.folds
        return max((quantile(each.df, 0.975) + quantile(each.df, 0.8)) * each.standard_error for each in both)

    @property
    def excludes_zero(self) -> bool:
        """True where `interval` and the bootstrap's do; without resamples, `interval` alone."""
        if self.networks is None or self.folds is None:
            return False
        intervals = [self.interval]
        if not math.isnan(self.bootstrap.low):
            intervals.append(self.bootstrap)
        return all(each.low > 0 for each in intervals) or all(each.high < 0 for each in intervals)


def arm_networks(readers: ReaderScores) -> ArmNetworks:
    """What one network of an arm reaches.

    Parameters
    ----------
    readers : ReaderScores
        `auroc` of shape (starts, seeds, folds).
    """
    starts, seeds, _ = readers.auroc.shape
    mean, spread = float(readers.auroc.mean()), float(readers.auroc.std(ddof=1))
    if seeds == 1:
        return ArmNetworks(mean, spread, NOTHING, starts)
    own, folds = (one_modality(each).interval for each in (units(readers), readers.averaged((0, 1))))
    return ArmNetworks(mean, spread, _widest(own, folds, given_readers(readers)), starts)


def _widest(*intervals: Interval) -> Interval:
    """Each limit for itself, of the intervals that there are."""
    known = [each for each in intervals if not math.isnan(each.low)]
    return Interval(min(each.low for each in known), max(each.high for each in known))


def network_difference(a: ReaderScores, b: ReaderScores, bootstrap: Interval = NOTHING) -> NetworkDifference:
    """The difference of two arms.

    Parameters
    ----------
    a, b : ReaderScores
        `auroc` of shape (starts, seeds, folds), of the same seeds and folds.
    bootstrap : Interval
        From `hierarchical.difference_interval`.
    """
    difference = float(a.auroc.mean() - b.auroc.mean())
    if a.auroc.shape[1] == 1:
        return NetworkDifference(difference, None, None, NOTHING)
    alone = len(a.auroc) == len(b.auroc) == 1
    compare = paired_readers if alone else nested_readers
    folds = paired_readers(a.averaged((0, 1)), b.averaged((0, 1)))
    return NetworkDifference(difference, compare(units(a), units(b)), folds, bootstrap, given_pairs(a, b))


def units(readers: ReaderScores) -> ReaderScores:
    """The readers of an arm: its weights files where it has several, else its networks."""
    return readers.averaged((1, 2)) if len(readers.auroc) > 1 else readers.flat()


def score_correlation(y: NDArray[np.int64], a: FloatArray, b: FloatArray) -> float:
    """Pearson's correlation of two arms' scores within a class, pooled over both; NaN where one is constant.

    Parameters
    ----------
    y, a, b : arrays of shape (patients,)
        Labels 0 or 1, and a score each.
    """
    within = [np.concatenate([score[y == k] - score[y == k].mean() for k in (1, 0)]) for score in (a, b)]
    size = math.sqrt(float(within[0] @ within[0]) * float(within[1] @ within[1]))
    return float(within[0] @ within[1]) / size if size > 1e-300 else math.nan


def auroc_correlation(y: NDArray[np.int64], a: FloatArray, b: FloatArray) -> float:
    """Correlation of two arms' AUROCs over samples of patients, from DeLong's covariances; NaN where one has none."""
    readers = reader_scores(y, np.stack((a, b)))
    covariance = readers.deviations @ readers.deviations.T
    size = math.sqrt(float(covariance[0, 0] * covariance[1, 1]))
    return float(covariance[0, 1]) / size if size > 1e-30 else math.nan
