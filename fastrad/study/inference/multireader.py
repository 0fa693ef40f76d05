"""Readers and patients as two samples: the multi-reader multi-case analysis of Obuchowski and Rockette.

Here a reader is a trained network (or a fold, or a weights file), a modality is an arm, a case is a test patient. In:
AUROCs and DeLong's deviations of each reader, from `reader_scores`; covariances between AUROCs are products of these
deviations, those of means of readers are products of mean deviations. Out: a difference, or a mean, with a standard
error that holds for other readers and other patients.

Sources
-------
Obuchowski & Rockette, Communications in Statistics - Simulation and Computation 1995;24:285 (the model). Hillis,
Statistics in Medicine 2007;26:596 (degrees of freedom) and 2014;33:330 (one modality, readers nested in modalities,
limits of the covariances). DeLong, DeLong, Clarke-Pearson, Biometrics 1988;44:837 (covariances). Satterthwaite,
Biometrics Bulletin 1946;2:110.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtr, ndtri, stdtr, stdtrit

from fastrad.study.inference.auroc import newcombe_interval, square_and_add, structural_components
from fastrad.study.inference.samples import FloatArray, Interval


class ReaderScores(NamedTuple):
    """AUROCs of readers on the same patients.

    Attributes
    ----------
    auroc : array of shape (...,)
        One a reader.
    deviations : array of shape (..., malignant + benign)
        DeLong's components less their mean, scaled so that the covariance of two AUROCs is the sum of products.
    malignant, benign : int
        Patients of each class.
    """

    auroc: FloatArray
    deviations: FloatArray
    malignant: int
    benign: int

    def averaged(self, axis: int | tuple[int, ...]) -> ReaderScores:
        """The mean over some of the readers' axes as one reader."""
        return self._replace(auroc=self.auroc.mean(axis=axis), deviations=self.deviations.mean(axis=axis))

    def flat(self) -> ReaderScores:
        """All readers in one axis."""
        return self._replace(
            auroc=self.auroc.ravel(), deviations=self.deviations.reshape(-1, self.deviations.shape[-1])
        )


class Contrast(NamedTuple):
    """An estimate with what readers and patients contribute to its standard error.

    `readers` and `patients` are the two variances, `df` the degrees of freedom that the readers leave (infinite where
    they do not vary). `p_value` is that of the difference being zero; NaN for a mean, and where the standard error is
    zero although the estimate is not.
    """

    estimate: float
    standard_error: float
    df: float
    interval: Interval
    p_value: float
    readers: float
    patients: float

    def at_level(self, level: float) -> Interval:
        """The symmetric interval of any level."""
        reach = quantile(self.df, (1 + level) / 2) * self.standard_error
        return Interval(self.estimate - reach, self.estimate + reach)


def reader_scores(y_true: ArrayLike, scores: FloatArray) -> ReaderScores:
    """AUROCs and deviations of readers.

    Parameters
    ----------
    y_true : array of shape (patients,)
        Labels 0 or 1, at least two of each.
    scores : array of shape (..., patients)
    """
    shape = scores.shape[:-1]
    auroc, above, below = structural_components(y_true, *scores.reshape(-1, scores.shape[-1]), least=2)
    m, n = above.shape[1], below.shape[1]
    parts = [
        (part - part.mean(axis=1, keepdims=True)) / math.sqrt(size * (size - 1))
        for part, size in ((above, m), (below, n))
    ]
    return ReaderScores(auroc.reshape(shape), np.concatenate(parts, axis=1).reshape(*shape, m + n), m, n)


def paired_readers(a: ReaderScores, b: ReaderScores) -> Contrast:
    """Mean AUROC of `a` minus that of `b`, the same readers in both: reader j of one goes with reader j of the other.

    With r readers: SE^2 = 2/r * (MS(TxR) + r * max(Cov2 - Cov3, 0)), df = (MS(TxR) + r * max(Cov2 - Cov3, 0))^2 /
    (MS(TxR)^2 / (r - 1)); mean square and covariances are of these two modalities alone.

    Parameters
    ----------
    a, b : ReaderScores
        `auroc` of shape (r,), r at least 2.
    """
    r = a.auroc.size
    interaction = _variance(a.auroc - b.auroc) / 2
    same = (_between(a) + _between(b)) / 2
    cross = a.deviations @ b.deviations.T
    other = float(cross.sum() - np.trace(cross)) / (r * (r - 1))
    return _difference(a, b, [(2 / r * interaction, r - 1)], 2 * positive(same - other))


def nested_readers(a: ReaderScores, b: ReaderScores) -> Contrast:
    """Mean AUROC of `a` minus that of `b`, each with readers of its own: a random factor nested in the modality.

    SE^2 = MS_a/r_a + MS_b/r_b + max(Cov2_a + Cov2_b - 2 * Cov3, 0), with the variance MS of each modality's own
    readers and Satterthwaite's degrees of freedom.
    """
    shares = [(_variance(each.auroc) / each.auroc.size, each.auroc.size - 1) for each in (a, b)]
    shared = float((a.deviations @ b.deviations.T).mean())
    return _difference(a, b, shares, positive(_between(a) + _between(b) - 2 * shared))


def one_modality(readers: ReaderScores) -> Contrast:
    """Mean AUROC of one modality's readers: SE^2 = MS(R)/r + max(Cov2, 0), df = SE^4 / ((MS(R)/r)^2 / (r - 1)).

    The interval is made on the logit scale, so that it stays within [0, 1]: simulated with 15 malignant of 30 and 50
    and with 44 of 145, AUROC 0.7 to 0.9, it covers 95 to 97 %, Hillis's symmetric one (`at_level`) 91 to 96 %. Where
    nothing varies it is Newcombe's of one reader.
    """
    estimate = float(readers.auroc.mean())
    share = (_variance(readers.auroc) / readers.auroc.size, readers.auroc.size - 1)
    patients = positive(_between(readers))
    error, df = _satterthwaite([share], patients)
    interval = _interval_of_mean(readers, error, df)
    return Contrast(estimate, error, df, interval, math.nan, share[0], patients)


def given_readers(readers: ReaderScores) -> Interval:
    """95 % interval of the mean AUROC of these very readers, for other patients alone (DeLong's variance of the mean).

    No interval that holds for other readers as well can be narrower; by chance, one of few readers may come out so.
    """
    mean = readers.flat().averaged(0).deviations
    return _interval_of_mean(readers, math.sqrt(float(mean @ mean)), math.inf)


def given_pairs(a: ReaderScores, b: ReaderScores) -> Contrast:
    """As `given_readers`, of the difference of two modalities' means; `readers` is zero, `df` infinite."""
    a, b = a.flat(), b.flat()
    mean = a.averaged(0).deviations - b.averaged(0).deviations
    return _difference(a, b, [], positive(float(mean @ mean)))


def _interval_of_mean(readers: ReaderScores, error: float, df: float) -> Interval:
    estimate = float(readers.auroc.mean())
    if error == 0 or not 0 < estimate < 1:
        return newcombe_interval(estimate, readers.malignant, readers.benign)
    reach = quantile(df, 0.975) * error / (estimate * (1 - estimate))
    return Interval(float(expit(logit(estimate) - reach)), float(expit(logit(estimate) + reach)))


def quantile(df: float, probability: float) -> float:
    """Student's t, or the normal distribution's where the degrees of freedom are infinite."""
    return float(ndtri(probability) if math.isinf(df) else stdtrit(df, probability))


def below(df: float, t: float) -> float:
    """The probability that Student's t lies below a value; the normal distribution's where `df` is infinite."""
    return float(ndtr(t) if math.isinf(df) else stdtr(df, t))


def _difference(a: ReaderScores, b: ReaderScores, shares: list[tuple[float, int]], patients: float) -> Contrast:
    estimate = float(a.auroc.mean() - b.auroc.mean())
    error, df = _satterthwaite(shares, patients)
    readers = sum(share for share, _ in shares)
    if error > 0:
        reach = quantile(df, 0.975) * error
        interval = Interval(max(-1.0, estimate - reach), min(1.0, estimate + reach))
        return Contrast(estimate, error, df, interval, 2 * below(df, -abs(estimate / error)), readers, patients)
    means = [float(each.auroc.mean()) for each in (a, b)]
    if estimate == 0 and 0 < means[0] < 1:
        return Contrast(estimate, 0.0, df, Interval(0.0, 0.0), 1.0, readers, patients)
    intervals = [newcombe_interval(mean, a.malignant, a.benign) for mean in means]
    interval = square_and_add(means[0], intervals[0], means[1], intervals[1])
    return Contrast(estimate, 0.0, df, interval, 1.0 if estimate == 0 else math.nan, readers, patients)


def _satterthwaite(shares: list[tuple[float, int]], fixed: float) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of estimated variances and one with endless degrees of freedom."""
    total = fixed + sum(share for share, _ in shares)
    spread = sum(share**2 / df for share, df in shares)
    return math.sqrt(total), total**2 / spread if spread > 0 else math.inf


def _between(readers: ReaderScores) -> float:
    """Mean covariance of two different readers of one modality."""
    r = readers.auroc.size
    total = readers.deviations.sum(axis=0)
    return float(total @ total - (readers.deviations**2).sum()) / (r * (r - 1))


def positive(variance: float) -> float:
    """A difference of covariances as a variance: what is left of equal ones is rounding."""
    return variance if variance > 1e-15 else 0.0


def _variance(values: FloatArray) -> float:
    found = float(values.var(ddof=1))
    return found if found > 1e-30 else 0.0  # what is left of equal AUROCs is rounding
