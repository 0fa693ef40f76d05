"""What one arm reached: AUROC by cross-validation and on tested patients, operating point, calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from fastrad.study.inference import auroc, bootstrap, decision
from fastrad.study.inference.averaging import ensemble
from fastrad.study.inference.multireader import ReaderScores
from fastrad.study.inference.networks import ArmNetworks, arm_networks
from fastrad.study.inference.recalibration import (
    CalibrationIntervals,
    brier_interval,
    calibrated_copies,
    calibration_intervals,
)
from fastrad.study.inference.samples import FloatArray, Interval


@dataclass(frozen=True)
class ArmResult:
    """What one arm reached. With several weights files there is a row for each file and seed where "seeds" stands.

    Attributes
    ----------
    arm : str
    networks : ArmNetworks
        One network: mean test AUROC, its spread over networks, its interval.
    fold_auroc : float array, shape (seeds, folds)
        AUROC over each run's validation patients.
    cv_auroc, cv_auroc_sd : float
        Mean over folds, and standard deviation over folds, of the AUROC averaged over seeds.
    test_auroc : float
        Of the ensemble: the mean logit of all networks.
    test_interval : Interval
        95 %: sampling of test patients, given the trained networks.
    run_test_auroc : float array, shape (seeds, folds)
        Test AUROC of each network alone.
    seed_test_auroc : float array, shape (seeds,)
        Test AUROC of each seed's folds together; `seed_sd` is its standard deviation (NaN for one seed).
    average_precision, average_precision_interval
    calibrated : float array, shape (patients,)
        The ensemble's calibrated log odds of the tested patients.
    operating_point, validation_point : OperatingPoint
        Of these copies on the test set and on the validation folds, at the threshold with the largest Youden index on
        the latter.
    brier, brier_interval, calibration, calibration_intervals
        Of the probabilities sigmoid(calibrated).
    """

    arm: str
    networks: ArmNetworks
    fold_auroc: FloatArray
    cv_auroc: float
    cv_auroc_sd: float
    test_auroc: float
    test_interval: Interval
    run_test_auroc: FloatArray
    seed_test_auroc: FloatArray
    seed_sd: float
    average_precision: float
    average_precision_interval: Interval
    calibrated: FloatArray
    operating_point: decision.OperatingPoint
    validation_point: decision.OperatingPoint
    brier: float
    brier_interval: Interval
    calibration: decision.Calibration
    calibration_intervals: CalibrationIntervals

    @property
    def ensemble_gain(self) -> float:
        """The ensemble's AUROC less that of one network."""
        return self.test_auroc - self.networks.auroc

    @property
    def parted(self) -> list[str]:
        """Of sensitivity and specificity those that differ between validation and test by more than chance allows.

        The 95 % interval of the difference of the two proportions (square-and-add, from Wilson's limits) excludes zero.
        """
        found = []
        for name in ("sensitivity", "specificity"):
            tested, known = getattr(self.operating_point, name), getattr(self.validation_point, name)
            interval = auroc.square_and_add(tested.estimate, tested.interval, known.estimate, known.interval)
            if interval.low > 0 or interval.high < 0:
                found.append(name)
        return found


def arm_result(
    name: str,
    validation: pd.Series,
    labels: pd.Series,
    y: NDArray[np.int64],
    scores: FloatArray,
    readers: ReaderScores,
    counts: FloatArray,
) -> ArmResult:
    """The result of one arm.

    Parameters
    ----------
    name : str
    validation : Series
        The arm's scores of validation patients, indexed by start, seed, fold and patient.
    labels : Series
        Of the validation patients, indexed by patient; 1 is malignant.
    y : int64 array, shape (patients,)
        Labels of the tested patients.
    scores : array of shape (starts, seeds, folds, patients)
        The networks' scores of them.
    readers : ReaderScores
        Of these.
    counts : array of shape (resamples, patients)
        From `bootstrap.resample_counts`; without resamples the average precision has no interval.
    """
    starts, seeds, folds, patients = scores.shape
    fold_auroc = np.array(
        [
            auroc.auroc(labels.loc[part.index.get_level_values("patient")].to_numpy(), part.to_numpy())
            for _, part in validation.groupby(level=["start", "seed", "fold"], sort=True)
        ]
    ).reshape(starts * seeds, folds)
    by_seed = scores.mean(axis=2).reshape(starts * seeds, patients)
    seed_test_auroc = auroc.structural_components(y, *by_seed).auroc
    by_fold = fold_auroc.mean(axis=0)
    together = ensemble(scores)
    precision = bootstrap.average_precision(y, together)
    precision_interval = Interval(math.nan, math.nan)
    if len(counts):
        replicates = bootstrap.bootstrap_average_precision(y, together, counts)
        precision_interval = bootstrap.bootstrap_logit_interval(precision, replicates, int(y.sum()))
    out_of_fold, copies = calibrated_copies(validation, labels, scores)
    calibrated, known = ensemble(copies), labels.loc[out_of_fold.index]
    threshold = decision.youden_threshold(known, out_of_fold)
    return ArmResult(
        arm=name,
        networks=arm_networks(readers),
        fold_auroc=fold_auroc,
        cv_auroc=float(by_fold.mean()),
        cv_auroc_sd=float(by_fold.std(ddof=1)),
        test_auroc=auroc.auroc(y, together),
        test_interval=auroc.auroc_interval(y, together),
        run_test_auroc=readers.auroc.reshape(starts * seeds, folds),
        seed_test_auroc=seed_test_auroc,
        seed_sd=float(seed_test_auroc.std(ddof=1)) if seed_test_auroc.size > 1 else math.nan,
        average_precision=precision,
        average_precision_interval=precision_interval,
        calibrated=calibrated,
        operating_point=decision.operating_point(y, calibrated, threshold),
        validation_point=decision.operating_point(known, out_of_fold, threshold),
        brier=decision.brier_score(y, expit(calibrated)),
        brier_interval=brier_interval(y, expit(calibrated)),
        calibration=decision.calibration(y, calibrated),
        calibration_intervals=calibration_intervals(y, calibrated),
    )
