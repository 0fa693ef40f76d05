"""From predictions to results: the one place where the study's scores meet its test labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastrad.errors import InputError
from fastrad.study.inference.arm_result import ArmResult, arm_result
from fastrad.study.inference.averaging import scores_by_network, tested_scores
from fastrad.study.inference.bootstrap import resample_counts
from fastrad.study.inference.differences import Difference, differences
from fastrad.study.predictions import PREDICTION_COLUMNS


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
        Every pair, a later arm minus an earlier one.
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
        As in `predictions.csv`: one line an image and network, `score` is a logit.
    tested : str
        The value of `set` whose patients are tested: "test", or "external".

    Raises
    ------
    InputError
        If columns or scores are missing, or the arms' test patients, seeds or folds differ.
    """
    _refuse_unusable(predictions)
    names = list(dict.fromkeys(predictions["arm"]))
    _refuse_other_networks(predictions, names)
    _refuse_untested(predictions, names, tested)
    by_network = scores_by_network(predictions)
    test = {name: tested_scores(by_network, name, tested) for name in names}
    patients = test[names[0]].index
    for name in names[1:]:
        if not test[name].index.equals(patients):
            raise InputError(f"the arms {names[0]} and {name} were tested on other patients: they cannot be compared")
    _refuse_gaps(predictions)
    labels = predictions.groupby(["set", "patient"])["label"].max()
    y = labels.loc[tested].loc[patients].to_numpy(dtype=np.int64)
    counts = resample_counts(y)
    scores = {name: test[name].to_numpy() for name in names}
    return StudyResult(
        tuple(str(patient) for patient in patients),
        y,
        scores,
        tuple(arm_result(name, by_network, labels, tested, y, scores[name], counts) for name in names),
        differences(y, scores, counts),
    )


def _refuse_unusable(predictions: pd.DataFrame) -> None:
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions.columns]
    if missing:
        raise InputError(f"the predictions have no column {missing[0]}; needed are {','.join(PREDICTION_COLUMNS)}")
    if predictions["score"].isna().any():
        raise InputError(f"{int(predictions['score'].isna().sum())} predictions have no score")
    if predictions.duplicated(["arm", "seed", "fold", "set", "row"]).any():
        raise InputError("the predictions hold a network's score of an image twice; give `fastrad compare` again")


def _refuse_other_networks(predictions: pd.DataFrame, names: list[str]) -> None:
    networks = {name: set(zip(part["seed"], part["fold"], strict=True)) for name, part in predictions.groupby("arm")}
    for name in names[1:]:
        if networks[name] != networks[names[0]]:
            raise InputError(f"the arms {names[0]} and {name} have other seeds or folds: they cannot be compared")


def _refuse_untested(predictions: pd.DataFrame, names: list[str], tested: str) -> None:
    for set_ in (tested, "val"):
        lacking = [name for name in names if name not in set(predictions["arm"][predictions["set"] == set_])]
        if lacking:
            raise InputError(
                f"the predictions hold no {set_} scores of the arm {lacking[0]}; give `fastrad compare` again"
            )


def _refuse_gaps(predictions: pd.DataFrame) -> None:
    """Means over other networks for one patient than for another would not be comparable: every score must be there."""
    networks = len(predictions[["arm", "seed"]].drop_duplicates())
    scores = predictions.groupby(["set", "fold", "row"]).size()
    outside_folds = scores[scores.index.get_level_values("set") != "val"].groupby(["set", "row"])
    folds = predictions["fold"].nunique()
    if (scores != networks).any() or (outside_folds.size() != folds).any():
        raise InputError("the predictions lack scores of some networks; give `fastrad compare` again")
