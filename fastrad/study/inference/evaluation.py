"""From predictions to results: the one place where the study's scores meet its test labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastrad.errors import InputError
from fastrad.study.inference.arm_result import ArmResult, arm_result
from fastrad.study.inference.averaging import ensemble, scores_by_network, tested_networks
from fastrad.study.inference.bootstrap import resample_counts
from fastrad.study.inference.differences import Difference, differences
from fastrad.study.inference.multireader import reader_scores
from fastrad.study.inference.networks import ArmNetworks, arm_networks
from fastrad.study.predictions import PREDICTION_COLUMNS

KEY = ["arm", "start", "seed", "fold", "set", "row"]


@dataclass(frozen=True)
class LargestImage:
    """The analysis again with a patient's score being the largest of its images, not their mean.

    Attributes
    ----------
    patients : int
        Tested patients with benign and malignant images, whose mean holds benign ones: why it is asked.
    arms : dict of arm to ArmNetworks
    differences : tuple of Difference
        Without bootstrap.
    """

    patients: int
    arms: dict[str, ArmNetworks]
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class StudyResult:
    """The study's numbers.

    Attributes
    ----------
    patients : tuple of str
        The test patients, in the order of `labels` and of each array of `scores`.
    labels : int64 array
        1 is malignant.
    networks : dict of arm to float array, shape (starts, seeds, folds, patients)
        Mean logit over images, of each network.
    scores : dict of arm to float array
        Mean logit over images, folds, seeds and weights files.
    arms : tuple of ArmResult
    differences : tuple of Difference
        Every pair, a later arm minus an earlier one.
    largest_image : LargestImage or None
        Where tested patients have benign and malignant images.
    """

    patients: tuple[str, ...]
    labels: NDArray[np.int64]
    networks: dict[str, NDArray[np.float64]]
    scores: dict[str, NDArray[np.float64]]
    arms: tuple[ArmResult, ...]
    differences: tuple[Difference, ...]
    largest_image: LargestImage | None = None

    def arm(self, name: str) -> ArmResult:
        """The result of one arm."""
        return next(result for result in self.arms if result.arm == name)


def evaluate(predictions: pd.DataFrame, tested: str = "test", *, resamples: int = 2000) -> StudyResult:
    """Compute every figure of the study.

    Parameters
    ----------
    predictions : table
        As in `predictions.csv`: one line an image and network, `score` is a logit. A column `start` numbers the weights
        files of an arm; without it each arm has one.
    tested : str
        The value of `set` whose patients are tested: "test", or "external".
    resamples : int
        Of every bootstrap. With 0 there is none: its intervals are NaN, and what is shown rests on the others.

    Raises
    ------
    InputError
        If columns or scores are missing, or the arms' test patients, seeds or folds differ.
    """
    _refuse_unusable(predictions)
    if "start" not in predictions.columns:
        predictions = predictions.assign(start=0)
    names = list(dict.fromkeys(predictions["arm"]))
    _refuse_other_networks(predictions)
    _refuse_untested(predictions, names, tested)
    by_network = scores_by_network(predictions)
    patients = _tested_patients(by_network, names[0], tested)
    for name in names[1:]:
        if not _tested_patients(by_network, name, tested).equals(patients):
            raise InputError(f"the arms {names[0]} and {name} were tested on other patients: they cannot be compared")
    _refuse_gaps(predictions)
    labels = predictions.groupby(["set", "patient"])["label"].max()
    y = labels.loc[tested].loc[patients].to_numpy(dtype=np.int64)
    counts = resample_counts(y, repetitions=resamples)
    networks = {name: tested_networks(by_network, name, tested) for name in names}
    readers = {name: reader_scores(y, each) for name, each in networks.items()}
    known = labels.loc["val"]
    return StudyResult(
        tuple(str(patient) for patient in patients),
        y,
        networks,
        {name: ensemble(each) for name, each in networks.items()},
        tuple(
            arm_result(name, by_network.loc[(name, "val")], known, y, networks[name], readers[name], counts)
            for name in names
        ),
        differences(y, networks, readers, counts),
        _largest_image(predictions, names, tested, y),
    )


def _tested_patients(by_network: pd.Series, name: str, tested: str) -> pd.Index:
    return by_network.loc[(name, tested)].index.get_level_values("patient").unique().sort_values()


def _largest_image(
    predictions: pd.DataFrame, names: list[str], tested: str, y: NDArray[np.int64]
) -> LargestImage | None:
    rows = predictions[predictions["set"] == tested]
    mixed = int((rows.groupby("patient")["label"].nunique() > 1).sum())
    if not mixed:
        return None
    by_network = scores_by_network(rows, "max")
    networks = {name: tested_networks(by_network, name, tested) for name in names}
    readers = {name: reader_scores(y, each) for name, each in networks.items()}
    no_resamples = resample_counts(y, repetitions=0)
    return LargestImage(
        mixed,
        {name: arm_networks(each) for name, each in readers.items()},
        differences(y, networks, readers, no_resamples),
    )


def _refuse_unusable(predictions: pd.DataFrame) -> None:
    missing = [name for name in PREDICTION_COLUMNS if name not in predictions.columns]
    if missing:
        raise InputError(f"the predictions have no column {missing[0]}; needed are {','.join(PREDICTION_COLUMNS)}")
    if predictions["score"].isna().any():
        raise InputError(f"{int(predictions['score'].isna().sum())} predictions have no score")
    if predictions.duplicated([name for name in KEY if name in predictions.columns]).any():
        raise InputError("the predictions hold a network's score of an image twice; give `fastrad compare` again")


def _refuse_other_networks(predictions: pd.DataFrame) -> None:
    networks = {
        key: set(zip(part["seed"], part["fold"], strict=True)) for key, part in predictions.groupby(["arm", "start"])
    }
    (first, _), expected = next(iter(networks.items()))
    for (name, start), found in networks.items():
        if found != expected and start and networks.get((name, 0)) == expected:
            raise InputError(f"weights file {start} of the arm {name} has other seeds or folds than the first one")
        if found != expected:
            raise InputError(f"the arms {first} and {name} have other seeds or folds: they cannot be compared")


def _refuse_untested(predictions: pd.DataFrame, names: list[str], tested: str) -> None:
    for set_ in (tested, "val"):
        lacking = [name for name in names if name not in set(predictions["arm"][predictions["set"] == set_])]
        if lacking:
            raise InputError(
                f"the predictions hold no {set_} scores of the arm {lacking[0]}; give `fastrad compare` again"
            )


def _refuse_gaps(predictions: pd.DataFrame) -> None:
    """Means over other networks for one patient than for another would not be comparable: every score must be there."""
    networks = len(predictions[["arm", "start", "seed"]].drop_duplicates())
    scores = predictions.groupby(["set", "fold", "row"]).size()
    outside_folds = scores[scores.index.get_level_values("set") != "val"].groupby(["set", "row"])
    folds = predictions["fold"].nunique()
    if (scores != networks).any() or (outside_folds.size() != folds).any():
        raise InputError("the predictions lack scores of some networks; give `fastrad compare` again")
