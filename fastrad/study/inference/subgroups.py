"""Groups of the test patients: by sex, by site, by scanner."""

from __future__ import annotations

import pandas as pd

from fastrad.study.inference.auroc import auroc, auroc_interval
from fastrad.study.inference.evaluation import StudyResult


def subgroups(result: StudyResult, attributes: pd.DataFrame) -> list[dict]:
    """Test AUROC of each arm among the test patients of each value of each attribute.

    Parameters
    ----------
    result : StudyResult
    attributes : table
        Text, indexed by patient; "" is unknown.

    Returns
    -------
    list of dict
        `column`, `value`, `patients`, `malignant`, and `arms`, which is empty where a class has fewer than two
        patients: nothing can be said.
    """
    known = attributes.reindex(result.patients, fill_value="")
    groups = []
    for column in known.columns:
        for value in sorted(known[column].unique()):
            inside = (known[column] == value).to_numpy()
            y = result.labels[inside]
            enough = min(int(y.sum()), int((1 - y).sum())) >= 2
            arms: dict[str, dict[str, float]] = {}
            for name, scores in result.scores.items():
                if enough:
                    low, high = auroc_interval(y, scores[inside])
                    arms[name] = {"auroc": auroc(y, scores[inside]), "low": low, "high": high}
            groups.append(
                {
                    "column": column,
                    "value": value or "unknown",
                    "patients": int(inside.sum()),
                    "malignant": int(y.sum()),
                    "arms": arms,
                }
            )
    return groups
