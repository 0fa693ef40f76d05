"""AUROC with its uncertainty: what the study's table is made of.

In: labels (1 is malignant) and scores, one each a patient. Out: estimates, intervals and paired tests. A wrong
number here misleads a study, so each function names its source and raises `InputError` where the numbers it is
given do not allow an answer; intervals never leave [0, 1] (differences: [-1, 1]).

Sources
-------
DeLong, DeLong, Clarke-Pearson, Biometrics 1988;44:837 (variance and test). Sun & Xu, IEEE Signal Processing
Letters 2014;21:1389 (the fast form by midranks). Newcombe, Statistics in Medicine 2006;25:559 (score interval).
Hanley & McNeil, Radiology 1982;143:29 (variance from the AUROC alone). Satterthwaite, Biometrics Bulletin
1946;2:110 (degrees of freedom of a sum of variances). Holm, Scandinavian Journal of Statistics 1979;6:65.
Saito & Rehmsmeier, PLoS ONE 2015;10:e0118432 (average precision beside the prevalence).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize
from scipy.special import expit, logit, ndtr, ndtri, stdtrit

from fastrad.errors import InputError

FloatArray = NDArray[np.float64]


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


class DeLongTest(NamedTuple):
    """The paired comparison of two AUROCs; `difference` is `auroc_a - auroc_b`.

    `z` and `p_value` (two-sided) are NaN where the standard error is zero although the AUROCs differ (both arms
    without any within-class variation, for example one perfect and one constant): no test exists there.
    """

    auroc_a: float
    auroc_b: float
    difference: float
    standard_error: float
    z: float
    p_value: float


class Components(NamedTuple):
    """DeLong's structural components of k arms: `auroc` (k,), `malignant` (k, m), `benign` (k, n)."""

    auroc: FloatArray
    malignant: FloatArray
    benign: FloatArray


def checked(y_true: ArrayLike, *scores: ArrayLike, least: int = 1) -> tuple[NDArray[np.bool_], FloatArray]:
    """The labels as bool (n,) and the scores as float64 (k, n).

    Raises
    ------
    InputError
        Where lengths differ, a label is neither 0 nor 1, a score is NaN, or a class has fewer than `least` samples.
        Infinite scores are ranks like others and are accepted.
    """
    labels = np.asarray(y_true)
    table = np.asarray([np.asarray(score, dtype=np.float64) for score in scores], dtype=np.float64)
    if labels.ndim != 1 or table.shape[1:] != labels.shape:
        raise InputError(f"labels have shape {labels.shape}, scores {table.shape[1:]}: one score a label is needed")
    if not ((labels == 0) | (labels == 1)).all():
        raise InputError("labels must be 0 (benign) or 1 (malignant)")
    if np.isnan(table).any():
        raise InputError(f"{int(np.isnan(table).sum())} of the scores are NaN: nothing can be ranked by them")
    positive = labels.astype(bool)
    for name, count in (("malignant", int(positive.sum())), ("benign", int((~positive).sum()))):
        if count < least:
            raise InputError(f"{count} {name} of {labels.size}: this statistic needs at least {least} of each class")
    return positive, table


def auroc(y_true: ArrayLike, score: ArrayLike) -> float:
    """The probability that a malignant sample scores above a benign one; a tie counts half (Mann-Whitney).

    Parameters
    ----------
    y_true, score : array of shape (n,)
        Labels 0 or 1; any real score.

    Examples
    --------
    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    return float(structural_components(y_true, score).auroc[0])


def structural_components(y_true: ArrayLike, *scores: ArrayLike, least: int = 1) -> Components:
    """DeLong's components of one or more arms scored on the same samples, in O(n log n) by midranks (Sun & Xu)."""
    positive, table = checked(y_true, *scores, least=least)
    m, n = int(positive.sum()), int((~positive).sum())
    estimates = np.empty(len(table))
    above = np.empty((len(table), m))
    below = np.empty((len(table), n))
    for arm, values in enumerate(table):
        ranks = _midranks(values)
        above[arm] = (ranks[positive] - _midranks(values[positive])) / n
        below[arm] = 1 - (ranks[~positive] - _midranks(values[~positive])) / m
        estimates[arm] = (ranks[positive].sum() - m * (m + 1) / 2) / (m * n)
    return Components(estimates, above, below)


def delong_covariance(y_true: ArrayLike, *scores: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The AUROCs (k,) of k arms and their covariance matrix (k, k) (DeLong 1988). Two of each class are needed."""
    auroc_, malignant, benign = structural_components(y_true, *scores, least=2)
    covariance = np.cov(malignant) / malignant.shape[1] + np.cov(benign) / benign.shape[1]
    return auroc_, np.atleast_2d(covariance)


def delong_test(y_true: ArrayLike, a: ArrayLike, b: ArrayLike) -> DeLongTest:
    """DeLong's paired test that two scores of the same samples have the same AUROC.

    Parameters
    ----------
    y_true : array of shape (n,)
        Labels 0 or 1, at least two of each.
    a, b : array of shape (n,)
        The two arms' scores.

    Returns
    -------
    DeLongTest
        `z` is referred to the normal distribution, as in the paper and in pROC. Identical ranking gives
        difference 0 and p 1.
    """
    auroc_, malignant, benign = structural_components(y_true, a, b, least=2)
    difference = float(auroc_[0] - auroc_[1])
    variance, _ = _mean_variance(malignant[0] - malignant[1], benign[0] - benign[1])
    standard_error = math.sqrt(variance)
    if standard_error > 0:
        z = difference / standard_error
        p_value = float(2 * ndtr(-abs(z)))
    else:
        z, p_value = (0.0, 1.0) if difference == 0 else (math.nan, math.nan)
    return DeLongTest(float(auroc_[0]), float(auroc_[1]), difference, standard_error, z, p_value)


def auroc_interval(y_true: ArrayLike, score: ArrayLike, level: float = 0.95) -> Interval:
    """Confidence interval of an AUROC: DeLong's standard error on the logit scale with Student's t.

    The degrees of freedom are Satterthwaite's, from the two classes' share of the variance. Chosen by simulation:
    with 44 malignant of 145 and with 15 of 75, normal or skewed scores and AUROC 0.74 to 0.84, it covers 93 to
    97 %; without the t it falls below 92 %, the percentile bootstrap and the plain Wald interval below 90 %. Where
    DeLong's variance is zero (perfect separation, constant scores) Newcombe's score interval takes its place.
    """
    auroc_, malignant, benign = structural_components(y_true, score, least=2)
    estimate = float(auroc_[0])
    variance, freedom = _mean_variance(malignant[0], benign[0])
    if variance == 0 or not 0 < estimate < 1:
        return newcombe_interval(estimate, malignant.shape[1], benign.shape[1], level)
    reach = float(stdtrit(freedom, (1 + level) / 2)) * math.sqrt(variance) / (estimate * (1 - estimate))
    return Interval(float(expit(logit(estimate) - reach)), float(expit(logit(estimate) + reach)))


def newcombe_interval(estimate: float, malignant: int, benign: int, level: float = 0.95) -> Interval:
    """Newcombe's score interval of an AUROC (his method 5): needs the two class sizes alone.

    It solves (estimate - t)^2 = z^2 V(t) with Hanley and McNeil's variance V, in which both class sizes but for
    the product are replaced by their mean. It has width at AUROC 0, 1/2 and 1, where DeLong's variance may vanish.
    """
    z = float(ndtri((1 + level) / 2))
    mean_size = (malignant + benign) / 2
    edge = 1e-12  # an estimate of 0 or 1 solves the equation too, but is not the limit that is looked for

    def excess(truth: float) -> float:
        spread = 1 + (mean_size - 1) * ((1 - truth) / (2 - truth) + truth / (1 + truth))
        return (estimate - truth) ** 2 - z**2 * truth * (1 - truth) / (malignant * benign) * spread

    low = optimize.brentq(excess, 0, estimate - edge) if excess(0) > 0 else 0.0
    high = optimize.brentq(excess, estimate + edge, 1) if excess(1) > 0 else 1.0
    return Interval(float(low), float(high))


def difference_interval(y_true: ArrayLike, a: ArrayLike, b: ArrayLike, level: float = 0.95) -> Interval:
    """Confidence interval of AUROC(a) - AUROC(b) on the same samples: DeLong's standard error with Student's t.

    Satterthwaite's degrees of freedom keep 93 to 97 % coverage at 15 malignant of 75, where the normal quantile
    falls below. Clipped to [-1, 1]; (NaN, NaN) where the standard error is zero although the AUROCs differ.
    """
    test = delong_test(y_true, a, b)
    if test.standard_error == 0:
        return Interval(0.0, 0.0) if test.difference == 0 else Interval(math.nan, math.nan)
    _, malignant, benign = structural_components(y_true, a, b)
    _, freedom = _mean_variance(malignant[0] - malignant[1], benign[0] - benign[1])
    reach = float(stdtrit(freedom, (1 + level) / 2)) * test.standard_error
    return Interval(max(-1.0, test.difference - reach), min(1.0, test.difference + reach))


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


def detectable_difference(standard_error: float, power: float = 0.8, level: float = 0.95) -> float:
    """The smallest true difference that a two-sided test with this standard error finds with the given power.

    (z[(1 + level) / 2] + z[power]) * standard error, the usual sample-size formula (Obuchowski & McClish,
    Statistics in Medicine 1997;16:1529); NaN for a standard error of zero.
    """
    if not standard_error > 0:
        return math.nan
    return float((ndtri((1 + level) / 2) + ndtri(power)) * standard_error)


def average_precision(y_true: ArrayLike, score: ArrayLike) -> float:
    """Area under the precision-recall curve as the step sum over recall; a random score gives the prevalence."""
    positive, (values,) = checked(y_true, score)
    return float(_resampled_average_precision(positive, values, np.ones((1, values.size)))[0])


def resample_counts(
    y_true: ArrayLike, patients: ArrayLike | None = None, *, repetitions: int = 2000, seed: int = 0
) -> FloatArray:
    """How often each row is drawn in each bootstrap resample: patients are drawn whole, within their class.

    One matrix serves every arm, so that differences are paired.

    Parameters
    ----------
    y_true : array of shape (n,)
        Labels 0 or 1.
    patients : array of shape (n,), optional
        Which patient a row belongs to; each row is one patient by default. A patient with a malignant row is
        drawn among the malignant ones.

    Returns
    -------
    array of shape (repetitions, n), float64
        Rows of one patient have one count; the number of patients of each class is that of the sample.
    """
    positive, _ = checked(y_true, np.zeros(np.size(np.asarray(y_true))))
    names = np.arange(positive.size) if patients is None else np.asarray(patients)
    _, cluster = np.unique(names, return_inverse=True)
    malignant = np.zeros(int(cluster.max()) + 1, dtype=bool)
    np.logical_or.at(malignant, cluster, positive)
    rng = np.random.default_rng(seed)
    counts = np.zeros((repetitions, malignant.size))
    for stratum in (np.flatnonzero(malignant), np.flatnonzero(~malignant)):
        if stratum.size:
            counts[:, stratum] = rng.multinomial(stratum.size, np.full(stratum.size, 1 / stratum.size), repetitions)
    return counts[:, cluster]


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


def percentile_interval(replicates: ArrayLike, level: float = 0.95) -> Interval:
    """The central `level` of bootstrap replicates; NaN replicates (an undefined ratio) are left out."""
    low, high = np.nanpercentile(np.asarray(replicates), [50 * (1 - level), 50 * (1 + level)])
    return Interval(float(low), float(high))


def bootstrap_logit_interval(estimate: float, replicates: ArrayLike, malignant: int, level: float = 0.95) -> Interval:
    """Bootstrap interval on the logit scale with Student's t on `malignant - 1` degrees of freedom.

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
        return wilson_interval(round(estimate * malignant), malignant, level)
    reach = float(stdtrit(malignant - 1, (1 + level) / 2)) * float(logit(values).std(ddof=1))
    return Interval(float(expit(logit(estimate) - reach)), float(expit(logit(estimate) + reach)))


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (JASA 1927;22:209); [0, 1] where there is no trial."""
    if trials == 0:
        return Interval(0.0, 1.0)
    z2 = float(ndtri((1 + level) / 2)) ** 2
    centre = (successes + z2 / 2) / (trials + z2)
    reach = math.sqrt(z2 * (successes * (trials - successes) / trials + z2 / 4)) / (trials + z2)
    return Interval(max(0.0, centre - reach), min(1.0, centre + reach))


def _midranks(values: FloatArray) -> FloatArray:
    """Ranks from 1; equal values share the mean of theirs."""
    ascending = np.sort(values)
    return (np.searchsorted(ascending, values, "left") + np.searchsorted(ascending, values, "right") + 1) / 2


def _mean_variance(malignant: FloatArray, benign: FloatArray) -> tuple[float, float]:
    """Variance of a DeLong mean and Satterthwaite's degrees of freedom (0 where the variance is 0)."""
    shares = [float(part.var(ddof=1)) / part.size for part in (malignant, benign)]
    # Midranks divided by class sizes are inexact: what is left of equal components is rounding, not variance.
    shares = [share if share > 1e-30 else 0.0 for share in shares]
    total = sum(shares)
    if total == 0:
        return 0.0, 0.0
    return total, total**2 / (shares[0] ** 2 / (malignant.size - 1) + shares[1] ** 2 / (benign.size - 1))


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
