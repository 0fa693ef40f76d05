"""Resampled patients: the bootstrap of AUROC and average precision, the same resamples for every arm.

Source: Saito & Rehmsmeier, PLoS ONE 2015;10:e0118432 (average precision beside the prevalence).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit, stdtrit

from fastrad.study.inference.proportions import wilson_interval
from fastrad.study.inference.samples import FloatArray, Interval, checked


def resample_counts(y_true: ArrayLike, *, repetitions: int = 2000, seed: int = 0) -> FloatArray:
    """How often each patient is drawn in each bootstrap resample: within their class, so that its size stays.

    One matrix serves every arm, so that differences are paired.

    Parameters
    ----------
    y_true : array of shape (n,)
        Labels 0 or 1.
    repetitions, seed : int
        How many resamples, and where their generator starts.

    Returns
    -------
    array of shape (repetitions, n), float64
    """
    positive, _ = checked(y_true, np.zeros(np.size(y_true)))
    rng = np.random.default_rng(seed)
    counts = np.zeros((repetitions, positive.size))
    for stratum in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        counts[:, stratum] = rng.multinomial(stratum.size, np.full(stratum.size, 1 / stratum.size), repetitions)
    return counts


def bootstrap_auroc(y_true: ArrayLike, score: ArrayLike, counts: FloatArray) -> FloatArray:
    """The AUROC (r,) of each resample of `resample_counts` (r, n)."""
    positive, (values,) = checked(y_true, score)
    malignant, benign = _group_counts(positive, values, counts)
    below = np.cumsum(benign, axis=1) - benign / 2
    return (malignant * below).sum(axis=1) / (malignant.sum(axis=1) * benign.sum(axis=1))


def bootstrap_average_precision(y_true: ArrayLike, score: ArrayLike, counts: FloatArray) -> FloatArray:
    """The average precision (r,) of each resample of `resample_counts` (r, n)."""
    positive, (values,) = checked(y_true, score)
    return _resampled_average_precision(positive, values, counts)


def average_precision(y_true: ArrayLike, score: ArrayLike) -> float:
    """Area under the precision-recall curve as the step sum over recall; a random score gives the prevalence."""
    positive, (values,) = checked(y_true, score)
    return float(_resampled_average_precision(positive, values, np.ones((1, values.size)))[0])


def percentile_interval(replicates: ArrayLike) -> Interval:
    """The central 95 % of bootstrap replicates; NaN replicates (an undefined ratio) are left out."""
    low, high = np.nanpercentile(np.asarray(replicates), [2.5, 97.5])
    return Interval(float(low), float(high))


def bootstrap_logit_interval(estimate: float, replicates: ArrayLike, malignant: int) -> Interval:
    """Bootstrap 95 % interval on the logit scale with Student's t on `malignant - 1` degrees of freedom.

    For the average precision, whose percentile interval covers only 90 % with 15 malignant of 75 (simulated); this
    one covers 92 to 96 %. Where all is ranked rightly, so that no resample varies, Wilson's interval of
    `malignant` successes in as many trials takes its place.

    Parameters
    ----------
    estimate : float
        The statistic on the whole sample, in [0, 1].
    replicates : array of shape (r,)
        The statistic on bootstrap resamples; replicates of exactly 0 or 1 have no logit and are left out.
    malignant : int
        Malignant patients in the sample: the average precision is a mean over them.
    """
    values = np.asarray(replicates, dtype=np.float64)
    values = values[(values > 0) & (values < 1)]
    if not 0 < estimate < 1 or values.size < 2 or malignant < 2:
        return wilson_interval(round(estimate * malignant), malignant)
    reach = float(stdtrit(malignant - 1, 0.975)) * float(logit(values).std(ddof=1))
    return Interval(float(expit(logit(estimate) - reach)), float(expit(logit(estimate) + reach)))


def _group_counts(positive: NDArray[np.bool_], values: FloatArray, counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Resampled malignant and benign counts (r, g) of the g distinct scores, ascending."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    starts = np.flatnonzero(np.concatenate(([True], ascending[1:] != ascending[:-1])))
    weights = counts[:, order]
    malignant = np.add.reduceat(weights * positive[order], starts, axis=1)
    return malignant, np.add.reduceat(weights, starts, axis=1) - malignant


def _resampled_average_precision(positive: NDArray[np.bool_], values: FloatArray, counts: FloatArray) -> FloatArray:
    malignant, benign = _group_counts(positive, -values, counts)
    found = np.cumsum(malignant, axis=1)
    called = found + np.cumsum(benign, axis=1)
    precision = np.divide(found, called, out=np.zeros_like(found), where=called > 0)
    return (malignant * precision).sum(axis=1) / malignant.sum(axis=1)
