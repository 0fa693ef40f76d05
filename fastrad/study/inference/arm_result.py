"""What one arm reached: AUROC by cross-validation and on tested patients, operating point, calibration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from fastrad.study.inference import auroc, bootstrap, decision
from fastrad.study.inference.averaging import validation_scores
from fastrad.study.inference.samples import FloatArray, Interval


@dataclass(frozen=True)
class ArmResult:
    """What one arm reached.

    Attributes
    ----------
    arm : str
    fold_auroc : float array, shape (seeds, folds)
        AUROC over each run's validation patients.
    cv_auroc, cv_auroc_sd : float
        Mean over folds, and standard deviation over folds, of the AUROC averaged over seeds.
    test_auroc : float
    test_interval : Interval
        95 %: sampling of test patients, given the trained networks.
    run_test_auroc : float array, shape (seeds, folds)
        Test AUROC of each network alone.
    seed_test_auroc : float array, shape (seeds,)
        Test AUROC of each seed's folds together; `seed_sd` is its standard deviation (NaN for one seed).
    average_precision, average_precision_interval
    operating_point : OperatingPoint
        On the test set, at the threshold with the largest Youden index on the validation folds.
    brier, calibration
        Of the probabilities sigmoid(score).
    """

    arm: str
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
    operating_point: decision.OperatingPoint
    brier: float
    calibration: decision.Calibration


def arm_result(
    name: str,
    by_network: pd.Series,
    labels: pd.Series,
    tested: str,
    y: NDArray[np.int64],
    scores: FloatArray,
    counts: FloatArray,
) -> ArmResult:
    """The result of one arm.

    Parameters
    ----------
    name : str
    by_network : Series
        From `averaging.scores_by_network`.
    labels : Series
        Of each patient, indexed by set and patient; 1 is malignant.
    tested : str
        "test" or "external".
    y, scores : arrays of shape (patients,)
        Labels of the tested patients, and this arm's scores.
    counts : array of shape (resamples, patients)
        From `bootstrap.resample_counts`.
    """

    def auroc_by(table: pd.Series, set_: str, keys: list[str]) -> pd.Series:
        known = labels.loc[set_]
        return table.groupby(keys).apply(
            lambda part: auroc.auroc(known.loc[part.index.get_level_values("patient")], part)
        )

    validation, test = by_network.loc[(name, "val")], by_network.loc[(name, tested)]
    fold_auroc = auroc_by(validation, "val", ["seed", "fold"]).unstack("fold").to_numpy()
    run_test_auroc = auroc_by(test, tested, ["seed", "fold"]).unstack("fold").to_numpy()
    seed_test_auroc = auroc_by(test.groupby(["seed", "patient"]).mean(), tested, ["seed"]).to_numpy()
    by_fold = fold_auroc.mean(axis=0)
    out_of_fold = validation_scores(by_network, name)
    threshold = decision.youden_threshold(labels.loc["val"].loc[out_of_fold.index], out_of_fold)
    precision = bootstrap.average_precision(y, scores)
    replicates = bootstrap.bootstrap_average_precision(y, scores, counts)
    return ArmResult(
        arm=name,
        fold_auroc=fold_auroc,
        cv_auroc=float(by_fold.mean()),
        cv_auroc_sd=float(by_fold.std(ddof=1)),
        test_auroc=auroc.auroc(y, scores),
        test_interval=auroc.auroc_interval(y, scores),
        run_test_auroc=run_test_auroc,
        seed_test_auroc=seed_test_auroc,
        seed_sd=float(seed_test_auroc.std(ddof=1)) if seed_test_auroc.size > 1 else math.nan,
        average_precision=precision,
        average_precision_interval=bootstrap.bootstrap_logit_interval(precision, replicates, int(y.sum())),
        operating_point=decision.operating_point(y, scores, threshold),
        brier=decision.brier_score(y, expit(scores)),
        calibration=decision.calibration(y, scores),
    )
