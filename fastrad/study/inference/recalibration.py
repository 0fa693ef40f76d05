"""Calibrated copies of the networks' scores, for thresholds and probabilities alone; and what a probability is worth.

Networks differ in the level and the spread of their logits, so a threshold of single networks says little of their
mean. Each network's scores are therefore copied through a logistic regression fitted on its own fold's validation
patients, which it was not trained on; thresholds are sought, and probabilities judged, on these copies. The scores
themselves and every AUROC stay as they are.

Sources
-------
Platt, Advances in Large Margin Classifiers 2000:61 (logistic recalibration, targets that keep it finite). Cox,
Biometrika 1958;45:562 (slope, intercept). Brier, Monthly Weather Review 1950;78:1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtri, stdtrit

from fastrad.study.inference.averaging import NETWORK
from fastrad.study.inference.decision import brier_score, calibration, logistic_fit
from fastrad.study.inference.samples import FloatArray, Interval, checked

NOTHING = Interval(math.nan, math.nan)


class Recalibration(NamedTuple):
    """Log odds = intercept + slope * score; the slope is never negative, so that it keeps a network's order."""

    intercept: float
    slope: float

    def of(self, scores: FloatArray) -> FloatArray:
        """The calibrated copy of scores."""
        return self.intercept + self.slope * scores


class CalibrationIntervals(NamedTuple):
    """95 % intervals of `decision.Calibration`'s slope, intercept and intercept at slope one; NaN where it is."""

    slope: Interval
    intercept: Interval
    intercept_at_slope_one: Interval


def recalibration(y_true: ArrayLike, score: ArrayLike) -> Recalibration:
    """Platt's logistic recalibration of one network.

    His targets, (malignant + 1) / (malignant + 2) and 1 / (benign + 2), have a solution also where the scores separate
    the classes. A network that ranks its patients no better than chance, or says one thing of all, gets slope 0: its
    copy is the prevalence.

    Parameters
    ----------
    y_true, score : arrays of shape (patients,)
        Validation patients of the network's own fold.
    """
    positive, (values,) = checked(y_true, score)
    m, n = int(positive.sum()), int((~positive).sum())
    target = np.where(positive, (m + 1) / (m + 2), 1 / (n + 2))
    centre, spread = float(values.mean()), float(values.std())
    if spread > 1e-12 * max(1.0, abs(centre)):
        standard = (values - centre) / spread
        fitted = logistic_fit(np.column_stack((np.ones_like(standard), standard)), target, 0 * standard)
        if fitted is not None and fitted[1] > 0:
            slope = float(fitted[1]) / spread
            return Recalibration(float(fitted[0]) - slope * centre, slope)
    return Recalibration(float(logit(target.mean())), 0.0)


def calibrated_copies(validation: pd.Series, labels: pd.Series, networks: FloatArray) -> tuple[pd.Series, FloatArray]:
    """Each network's scores through its own recalibration.

    Parameters
    ----------
    validation : Series
        An arm's validation scores, indexed by start, seed, fold and patient.
    labels : Series
        Of the validation patients, indexed by patient.
    networks : array of shape (starts, seeds, folds, patients)
        Its scores of tested patients.

    Returns
    -------
    validation : Series
        Of each development patient by the fold in which it was not trained on: mean over seeds and weights files.
    networks : array like `networks`
    """
    copies, parts = np.empty_like(networks), []
    starts, seeds, folds, _ = networks.shape
    for index, (_, part) in enumerate(validation.groupby(level=list(NETWORK), sort=True)):
        patients = part.index.get_level_values("patient")
        found = recalibration(labels.loc[patients].to_numpy(), part.to_numpy())
        place = np.unravel_index(index, (starts, seeds, folds))
        copies[place] = found.of(networks[place])
        parts.append(pd.Series(found.of(part.to_numpy()), index=patients))
    return pd.concat(parts).groupby(level="patient").mean(), copies


def calibration_intervals(y_true: ArrayLike, log_odds: ArrayLike) -> CalibrationIntervals:
    """Wald's intervals from the information of the fit."""
    positive, (values,) = checked(y_true, log_odds)
    found = calibration(positive, values)
    if math.isnan(found.slope):
        return CalibrationIntervals(NOTHING, NOTHING, NOTHING)
    design = np.column_stack((np.ones_like(values), values))
    errors = _errors(design, found.intercept + found.slope * values)
    (large,) = _errors(design[:, :1], found.intercept_at_slope_one + values)
    return CalibrationIntervals(
        _around(found.slope, errors[1]),
        _around(found.intercept, errors[0]),
        _around(found.intercept_at_slope_one, large),
    )


def brier_interval(y_true: ArrayLike, probability: ArrayLike) -> Interval:
    """95 % interval of the Brier score: a mean over patients, Student's t; within [0, 1]."""
    positive, (values,) = checked(y_true, probability)
    losses = (values - positive) ** 2
    reach = float(stdtrit(losses.size - 1, 0.975)) * float(losses.std(ddof=1)) / math.sqrt(losses.size)
    mean = brier_score(positive, values)
    return Interval(max(0.0, mean - reach), min(1.0, mean + reach))


def _errors(design: FloatArray, log_odds: FloatArray) -> FloatArray:
    fitted = expit(log_odds)
    return np.sqrt(np.diag(np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design)))


def _around(estimate: float, error: float) -> Interval:
    reach = float(ndtri(0.975)) * error
    return Interval(estimate - reach, estimate + reach)
