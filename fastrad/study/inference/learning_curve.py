"""How the test AUROC grows with the number of training patients."""

from __future__ import annotations

import pandas as pd

from fastrad.study.inference.auroc import auroc, auroc_interval
from fastrad.study.inference.averaging import scores_by_network, tested_scores


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
        test = tested_scores(scores_by_network(part), str(arm), "test")
        y = labels.loc[test.index].to_numpy()
        low, high = auroc_interval(y, test)
        points.append({"arm": arm, "patients": int(patients), "auroc": auroc(y, test), "low": low, "high": high})
    return points
