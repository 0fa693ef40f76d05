"""What a threshold and a probability are worth: operating points, Brier score, calibration and ROC curves.

Labels are 0 or 1 (malignant), scores logits, one each a patient; a threshold was fixed elsewhere, on validation folds.

Sources
-------
Youden, Cancer 1950;3:32 (threshold). Brier, Monthly Weather Review
1950;78:1. Cox, Biometrika 1958;45:562, and Van Calster et al., Journal of Clinical Epidemiology 2016;74:167
(calibration intercept and slope).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from fastrad.study.inference.auroc import auroc
from fastrad.study.inference.proportions import Proportion, proportion
from fastrad.study.inference.samples import FloatArray, checked


class OperatingPoint(NamedTuple):
    """Rates at a threshold; PPV and NPV hold for the sample's own prevalence."""

    threshold: float
    sensitivity: Proportion
    specificity: Proportion
    ppv: Proportion
    npv: Proportion


class Calibration(NamedTuple):
    """Cox's recalibration: logit(P) = intercept + slope * logit(p); perfect is slope 1, intercept_at_slope_one 0.

    `intercept_at_slope_one` is calibration in the large. All are NaN where the scores separate the classes
    perfectly or are constant: the fit has no solution there.
    """

    slope: float
    intercept: float
    intercept_at_slope_one: float


def youden_threshold(y_true: ArrayLike, score: ArrayLike) -> float:
    """The threshold (score >= threshold is malignant) with the largest sensitivity + specificity - 1.

    It lies midway between two neighbouring scores; of equally good ones the lowest is taken (more sensitive).
    """
    positive, (values,) = checked(y_true, score)
    distinct = np.unique(values)
    candidates = np.concatenate(([distinct[0]], (distinct[1:] + distinct[:-1]) / 2))
    called = values[None, :] >= candidates[:, None]
    benefit = called[:, positive].mean(axis=1) - called[:, ~positive].mean(axis=1)
    return float(candidates[int(np.argmax(benefit))])


def operating_point(y_true: ArrayLike, score: ArrayLike, threshold: float) -> OperatingPoint:
    """Sensitivity, specificity, PPV and NPV of calling `score >= threshold` malignant."""
    positive, (values,) = checked(y_true, score)
    called = values >= threshold
    hits, calls = int((called & positive).sum()), int(called.sum())
    passes = int((~called & ~positive).sum())
    return OperatingPoint(
        float(threshold),
        proportion(hits, int(positive.sum())),
        proportion(passes, int((~positive).sum())),
        proportion(hits, calls),
        proportion(passes, called.size - calls),
    )


def brier_score(y_true: ArrayLike, probability: ArrayLike) -> float:
    """Mean squared difference of probability and outcome: 0 is perfect, prevalence * (1 - prevalence) knows nothing."""
    positive, (values,) = checked(y_true, probability)
    return float(np.mean((values - positive) ** 2))


def calibration(y_true: ArrayLike, log_odds: ArrayLike) -> Calibration:
    """Calibration slope and intercepts of logits, by maximum likelihood (Newton's method)."""
    positive, (values,) = checked(y_true, log_odds)
    nothing = Calibration(math.nan, math.nan, math.nan)
    if np.ptp(values) == 0 or auroc(positive, values) in (0.0, 1.0):
        return nothing
    both = logistic_fit(np.column_stack((np.ones_like(values), values)), positive.astype(np.float64), 0 * values)
    large = logistic_fit(np.ones((values.size, 1)), positive.astype(np.float64), values)
    if both is None or large is None:
        return nothing
    return Calibration(float(both[1]), float(both[0]), float(large[0]))


def reliability(y_true: ArrayLike, probability: ArrayLike) -> list[tuple[float, Proportion]]:
    """Mean probability and observed share of malignant in five groups of equal size, by rising probability."""
    positive, (values,) = checked(y_true, probability)
    order = np.argsort(values, kind="stable")
    return [
        (float(values[part].mean()), proportion(int(positive[part].sum()), part.size))
        for part in np.array_split(order, min(5, values.size))
    ]


def roc_curve(y_true: ArrayLike, score: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """False and true positive rates from (0, 0) to (1, 1), one point a distinct score."""
    positive, (values,) = checked(y_true, score)
    thresholds = np.unique(values)[::-1]
    malignant, benign = np.sort(values[positive]), np.sort(values[~positive])
    true_rate = 1 - np.searchsorted(malignant, thresholds) / malignant.size
    false_rate = 1 - np.searchsorted(benign, thresholds) / benign.size
    return np.concatenate(([0.0], false_rate)), np.concatenate(([0.0], true_rate))


def roc_band(
    y_true: ArrayLike, score: ArrayLike, counts: FloatArray, grid: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Pointwise 95 % bootstrap band of the true positive rate at the false positive rates `grid`.

    Parameters
    ----------
    counts : array of shape (r, n)
        From `bootstrap.resample_counts`.
    grid : array of shape (g,)
        False positive rates in [0, 1].

    Returns
    -------
    low, high : arrays of shape (g,)
    """
    positive, (values,) = checked(y_true, score)
    order = np.argsort(-values, kind="stable")
    last = np.append(values[order][1:] != values[order][:-1], True)
    true_rates = np.cumsum(counts[:, order] * positive[order], axis=1)
    false_rates = np.cumsum(counts[:, order] * ~positive[order], axis=1)
    true_rates, false_rates = true_rates[:, last], false_rates[:, last]
    curves = np.empty((len(counts), grid.size))
    for index, (true_rate, false_rate) in enumerate(zip(true_rates, false_rates, strict=True)):
        x = np.concatenate(([0.0], false_rate / false_rate[-1]))
        curves[index] = np.interp(grid, x, np.concatenate(([0.0], true_rate / true_rate[-1])))
    low, high = np.percentile(curves, [2.5, 97.5], axis=0)
    return low, high


def logistic_fit(design: FloatArray, outcome: FloatArray, offset: FloatArray) -> FloatArray | None:
    """Coefficients of a logistic regression by Newton's iteration with halved steps.

    Parameters
    ----------
    design : array of shape (n, k)
    outcome : array of shape (n,)
        In [0, 1].
    offset : array of shape (n,)
        Added to the log odds as it is.

    Returns
    -------
    array of shape (k,), or None
        None where the iteration does not settle (near-perfect separation).
    """
    coefficients = np.zeros(design.shape[1])

    def deviance(beta: FloatArray) -> float:
        odds = design @ beta + offset
        return float(np.sum(np.logaddexp(0, odds) - outcome * odds))

    for _ in range(100):
        fitted = expit(design @ coefficients + offset)
        information = (design * (fitted * (1 - fitted))[:, None]).T @ design
        gradient = design.T @ (outcome - fitted)
        if np.abs(gradient).max() < 1e-9 * outcome.size:
            return coefficients
        if np.linalg.cond(information) > 1e14:
            return None
        step = np.linalg.solve(information, gradient)
        while deviance(coefficients + step) > deviance(coefficients) and np.abs(step).max() > 1e-12:
            step = step / 2
        coefficients = coefficients + step
    return None
