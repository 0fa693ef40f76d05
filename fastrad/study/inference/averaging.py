"""A patient's score: the mean logit over its images, then over folds, then over seeds, then over weights files."""

from __future__ import annotations

import pandas as pd

from fastrad.study.inference.samples import FloatArray

NETWORK = ("start", "seed", "fold")


def scores_by_network(predictions: pd.DataFrame, over_images: str = "mean") -> pd.Series:
    """A patient's score by each network; indexed by arm, set, start, seed, fold and patient, sorted.

    Parameters
    ----------
    predictions : table
        As in `predictions.csv`; without a column `start` every arm has one weights file.
    over_images : str
        How a patient's images are put together: "mean", or "max".
    """
    if "start" not in predictions.columns:
        predictions = predictions.assign(start=0)
    return predictions.groupby(["arm", "set", *NETWORK, "patient"], sort=True)["score"].agg(over_images)


def tested_networks(by_network: pd.Series, arm: str, tested: str) -> FloatArray:
    """Each tested patient's score by each network of an arm: (starts, seeds, folds, patients).

    Every network must have scored every patient; `tested` is the set, "test" or "external".
    """
    scores = by_network.loc[(arm, tested)]
    shape = [scores.index.get_level_values(name).nunique() for name in (*NETWORK, "patient")]
    return scores.to_numpy().reshape(shape)


def ensemble(networks: FloatArray) -> FloatArray:
    """All networks of an arm together: (patients,) from (starts, seeds, folds, patients)."""
    return networks.mean(axis=2).mean(axis=1).mean(axis=0)


def tested_scores(by_network: pd.Series, arm: str, tested: str) -> pd.Series:
    """Each tested patient's score by an arm, all networks together; `tested` is the set, "test" or "external"."""
    patients = by_network.loc[(arm, tested)].index.get_level_values("patient").unique()
    return pd.Series(ensemble(tested_networks(by_network, arm, tested)), index=patients.sort_values(), name="score")


def validation_scores(by_network: pd.Series, arm: str) -> pd.Series:
    """Each development patient's score from the fold in which it was not trained on: mean over seeds and files."""
    return by_network.loc[(arm, "val")].groupby("patient").mean()
