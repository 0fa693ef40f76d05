"""A patient's score: the mean logit over its images, then over folds, then over seeds."""

from __future__ import annotations

import pandas as pd


def scores_by_network(predictions: pd.DataFrame) -> pd.Series:
    """Mean over a patient's images, of each network; indexed by arm, set, seed, fold and patient."""
    return predictions.groupby(["arm", "set", "seed", "fold", "patient"], sort=True)["score"].mean()


def tested_scores(by_network: pd.Series, arm: str, tested: str) -> pd.Series:
    """Each tested patient's score by an arm, all networks together; `tested` is the set, "test" or "external"."""
    return by_network.loc[(arm, tested)].groupby(["seed", "patient"]).mean().groupby("patient").mean()


def validation_scores(by_network: pd.Series, arm: str) -> pd.Series:
    """Each development patient's score from the fold in which it was not trained on: mean over seeds."""
    return by_network.loc[(arm, "val")].groupby("patient").mean()
