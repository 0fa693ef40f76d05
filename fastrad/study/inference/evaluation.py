"""From predictions to results: the one place where the study's scores meet its test labels.

In: the table `predictions.csv` (`arm,seed,fold,set,patient,row,label,score`; one line an image and run, `score` is a
logit). Out: `StudyResult`, everything that the table and the report print.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from fastrad.errors import InputError
from fastrad.study.inference import decision, statistics
from fastrad.study.inference.decision import Calibration, OperatingPoint
from fastrad.study.inference.statistics import Interval
from fastrad.study.protocol.arms import LABELS

PREDICTION_COLUMNS = ("arm", "seed", "fold", "set", "patient", "row", "label", "score")
BOOTSTRAP_REPETITIONS = 2000
# Simulated with equal arms (tests/study/test_statistics.py): with 15 patients of the rarer class DeLong's test rejects
# in 4 to 5 % of studies, with 2 to 10 of them in up to 16 %.
FEWEST_FOR_A_TEST = 15


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
    fold_auroc: NDArray[np.float64]
    cv_auroc: float
    cv_auroc_sd: float
    test_auroc: float
    test_interval: Interval
    run_test_auroc: NDArray[np.float64]
    seed_test_auroc: NDArray[np.float64]
    seed_sd: float
    average_precision: float
    average_precision_interval: Interval
    operating_point: OperatingPoint
    brier: float
    calibration: Calibration


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


@dataclass(frozen=True)
class StudyResult:
    """The study's numbers.

    Attributes
    ----------
    patients : tuple of str
        The test patients, in the order of `labels` and of each array of `scores`.
    labels : int64 array
        1 is malignant.
    scores : dict of arm to float array
        Mean logit over images, folds and seeds.
    arms : tuple of ArmResult
    differences : tuple of Difference
        Every pair, a later arm minus an earlier one; Holm's adjustment is over the abstract's three, and over all
        others apart.
    """

    patients: tuple[str, ...]
    labels: NDArray[np.int64]
    scores: dict[str, NDArray[np.float64]]
    arms: tuple[ArmResult, ...]
    differences: tuple[Difference, ...]

    def arm(self, name: str) -> ArmResult:
        """The result of one arm."""
        return next(result for result in self.arms if result.arm == name)


def evaluate(predictions: pd.DataFrame, tested: str = "test") -> StudyResult:
    """Compute every figure of the study.

    Parameters
    ----------
    predictions : table
        As in `predictions.csv`.
    tested : str
        The value of `set` whose patients are tested: "test", or "external".

    Raises
    ------
    InputError
        If columns are missing, or the arms' test patients, seeds or folds differ.
    """
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions.columns]
    if missing:
        raise InputError(f"the predictions have no column {missing[0]}; needed are {','.join(PREDICTION_COLUMNS)}")
    if predictions["score"].isna().any():
        raise InputError(f"{int(predictions['score'].isna().sum())} predictions have no score")
    if predictions.duplicated(["arm", "seed", "fold", "set", "row"]).any():
        raise InputError("the predictions hold a network's score of an image twice; give `fastrad compare` again")
    names = list(dict.fromkeys(predictions["arm"]))
    runs = {name: _runs(predictions[predictions["arm"] == name]) for name in names}
    for name in names[1:]:
        if runs[name] != runs[names[0]]:
            raise InputError(f"the arms {names[0]} and {name} have other seeds or folds: they cannot be compared")
    per_run = patient_scores(predictions, ["arm", "set", "seed", "fold"])
    labels = predictions.groupby(["set", "patient"])["label"].max()
    test = {name: _test_scores(per_run, name, tested) for name in names}
    patients = test[names[0]].index
    for name in names[1:]:
        if not test[name].index.equals(patients):
            raise InputError(f"the arms {names[0]} and {name} were tested on other patients: they cannot be compared")
    _refuse_gaps(predictions)
    y = labels.loc[tested].loc[patients].to_numpy(dtype=np.int64)
    counts = statistics.resample_counts(y, repetitions=BOOTSTRAP_REPETITIONS)
    scores = {name: test[name].to_numpy() for name in names}
    return StudyResult(
        tuple(str(patient) for patient in patients),
        y,
        scores,
        tuple(_arm_result(name, per_run, labels, tested, scores[name], counts) for name in names),
        _differences(names, y, scores, counts),
    )


def learning_curve(predictions: pd.DataFrame) -> list[dict]:
    """Test AUROC and its 95 % interval for each arm and number of training patients.

    Parameters
    ----------
    predictions : table
        The columns of `predictions.csv` and `patients`, the number of training patients of a run (the smallest over
        the folds stands for all).

    Returns
    -------
    list of dict
        `arm`, `patients`, `auroc`, `low`, `high`.
    """
    labels = predictions.groupby("patient")["label"].max()
    points = []
    for (arm, patients), part in predictions.groupby(["arm", "patients"], sort=True):
        test = _test_scores(patient_scores(part, ["arm", "set", "seed", "fold"]), str(arm))
        y = labels.loc[test.index].to_numpy()
        low, high = statistics.auroc_interval(y, test)
        value = statistics.auroc(y, test)
        points.append({"arm": arm, "patients": int(patients), "auroc": value, "low": low, "high": high})
    return points


def patient_scores(predictions: pd.DataFrame, by: Sequence[str]) -> pd.Series:
    """Mean score over a patient's images, for each combination of `by`; indexed by `by` and patient."""
    return predictions.groupby([*by, "patient"], sort=True)["score"].mean()


def validation_scores(per_run: pd.Series, arm: str) -> pd.Series:
    """Each development patient's score from the fold in which it was not trained on: mean over seeds."""
    return per_run.loc[(arm, "val")].groupby("patient").mean()


def _refuse_gaps(predictions: pd.DataFrame) -> None:
    """Means over other networks for one patient than for another would not be comparable: every score must be there."""
    networks = len(predictions[["arm", "seed"]].drop_duplicates())
    scores = predictions.groupby(["set", "fold", "row"]).size()
    outside_folds = scores[scores.index.get_level_values("set") != "val"].groupby(["set", "row"])
    folds = predictions["fold"].nunique()
    if (scores != networks).any() or (outside_folds.size() != folds).any():
        raise InputError("the predictions lack scores of some networks; give `fastrad compare` again")


def _runs(predictions: pd.DataFrame) -> set[tuple[int, int]]:
    return set(zip(predictions["seed"], predictions["fold"], strict=True))


def _test_scores(per_run: pd.Series, arm: str, tested: str = "test") -> pd.Series:
    """Mean over folds, then over seeds."""
    return per_run.loc[(arm, tested)].groupby(["seed", "patient"]).mean().groupby("patient").mean()


def _arm_result(
    name: str,
    per_run: pd.Series,
    labels: pd.Series,
    tested: str,
    scores: NDArray[np.float64],
    counts: NDArray[np.float64],
) -> ArmResult:
    def auroc_by(table: pd.Series, set_: str, keys: list[str]) -> pd.Series:
        known = labels.loc[set_]
        return table.groupby(keys).apply(
            lambda part: statistics.auroc(known.loc[part.index.get_level_values("patient")], part)
        )

    validation, test = per_run.loc[(name, "val")], per_run.loc[(name, tested)]
    fold_auroc = auroc_by(validation, "val", ["seed", "fold"]).unstack("fold").to_numpy()
    run_test_auroc = auroc_by(test, tested, ["seed", "fold"]).unstack("fold").to_numpy()
    by_seed = test.groupby(["seed", "patient"]).mean()
    seed_test_auroc = auroc_by(by_seed, tested, ["seed"]).to_numpy()
    by_fold = fold_auroc.mean(axis=0)
    out_of_fold = validation_scores(per_run, name)
    threshold = decision.youden_threshold(labels.loc["val"].loc[out_of_fold.index], out_of_fold)
    y = labels.loc[tested].loc[test.index.get_level_values("patient").unique().sort_values()].to_numpy(dtype=np.int64)
    precision = statistics.average_precision(y, scores)
    replicates = statistics.bootstrap_average_precision(y, scores, counts)
    return ArmResult(
        arm=name,
        fold_auroc=fold_auroc,
        cv_auroc=float(by_fold.mean()),
        cv_auroc_sd=float(by_fold.std(ddof=1)),
        test_auroc=statistics.auroc(y, scores),
        test_interval=statistics.auroc_interval(y, scores),
        run_test_auroc=run_test_auroc,
        seed_test_auroc=seed_test_auroc,
        seed_sd=float(seed_test_auroc.std(ddof=1)) if seed_test_auroc.size > 1 else math.nan,
        average_precision=precision,
        average_precision_interval=statistics.bootstrap_logit_interval(precision, replicates, int(y.sum())),
        operating_point=decision.operating_point(y, scores, threshold),
        brier=decision.brier_score(y, expit(scores)),
        calibration=decision.calibration(y, scores),
    )


def _differences(
    names: Sequence[str],
    y: NDArray[np.int64],
    scores: Mapping[str, NDArray[np.float64]],
    counts: NDArray[np.float64],
) -> tuple[Difference, ...]:
    pairs = [(later, earlier) for earlier, later in combinations(names, 2)]
    resampled = {name: statistics.bootstrap_auroc(y, scores[name], counts) for name in names}
    tests = [statistics.delong_test(y, scores[a], scores[b]) for a, b in pairs]
    # The abstract's three comparisons are a family of their own: a further arm must not cost them power.
    planned = [a in LABELS and b in LABELS for a, b in pairs]
    adjusted = np.empty(len(pairs))
    for family in (True, False):
        members = [index for index, each in enumerate(planned) if each == family]
        adjusted[members] = statistics.holm([tests[index].p_value for index in members])
    enough = min(int(y.sum()), int((1 - y).sum())) >= FEWEST_FOR_A_TEST
    differences = []
    for (a, b), test, holm_p in zip(pairs, tests, adjusted, strict=True):
        interval = statistics.difference_interval(y, scores[a], scores[b])
        differences.append(
            Difference(
                a,
                b,
                test.difference,
                interval,
                statistics.percentile_interval(resampled[a] - resampled[b]),
                test.standard_error,
                test.p_value,
                float(holm_p),
                planned.count(a in LABELS and b in LABELS),
                statistics.detectable_difference(test.standard_error),
                bool(enough and (interval.low > 0 or interval.high < 0) and holm_p < 0.05),
            )
        )
    return tuple(differences)
