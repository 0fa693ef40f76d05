"""The test patients that an arm got most wrong."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from fastrad.study.inference.evaluation import StudyResult

PER_ARM = 4


class ConfidentError(NamedTuple):
    """A test patient that an arm got wrong, shown by the image that speaks most for the error.

    `row` is that image's, `label` the patient's class (1 is malignant), `probability` the arm's of malignant.
    """

    arm: str
    row: int
    label: int
    probability: float


def confident_errors(result: StudyResult, predictions: pd.DataFrame) -> list[ConfidentError]:
    """The `PER_ARM` errors of each arm that give the true class the lowest probability, worst first.

    Parameters
    ----------
    result : StudyResult
    predictions : table
        What it was computed from.
    """
    test = predictions[predictions["set"] == "test"]
    means = test.groupby(["arm", "patient", "row"])["score"].mean()
    truth = np.where(result.labels == 1, 1, -1)
    found = []
    for arm, scores in result.scores.items():
        margin = truth * scores
        for index in np.argsort(margin, kind="stable")[:PER_ARM]:
            if margin[index] < 0:
                row = int((truth[index] * means.loc[(arm, result.patients[index])]).idxmin())
                found.append(ConfidentError(arm, row, int(result.labels[index]), float(expit(scores[index]))))
    return found
