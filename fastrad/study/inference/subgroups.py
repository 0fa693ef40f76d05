"""Groups of the test patients: by sex, by site, by scanner."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fastrad.study.inference.auroc import auroc, auroc_interval, difference_interval
from fastrad.study.inference.evaluation import StudyResult
from fastrad.study.inference.multireader import reader_scores
from fastrad.study.inference.networks import network_difference


def subgroups(result: StudyResult, attributes: pd.DataFrame) -> list[dict]:
    """Test AUROC of each arm, and the arms' differences, among the test patients of each value of each attribute.

    Parameters
    ----------
    result : StudyResult
    attributes : table
        Text, indexed by patient; "" is unknown.

    Returns
    -------
    list of dict
        `column`, `value`, `patients`, `malignant`, `arms` and `differences`; the last two are empty where a class has
        fewer than two patients: nothing can be said. Of each difference: `a`, `b`, `difference` of the ensembles with
        `low` and `high` (DeLong), `network_difference` with `network_low` and `network_high` (networks as readers;
        None with one seed).
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
                    "differences": _differences(result, inside) if enough else [],
                }
            )
    return groups


def _differences(result: StudyResult, inside: NDArray[np.bool_]) -> list[dict]:
    y = result.labels[inside]
    readers = {name: reader_scores(y, each[..., inside]) for name, each in result.networks.items()}
    found = []
    for each in result.differences:
        a, b = result.scores[each.a][inside], result.scores[each.b][inside]
        low, high = difference_interval(y, a, b)
        network = network_difference(readers[each.a], readers[each.b])
        limits = (None, None) if network.networks is None else network.networks.interval
        found.append(
            {
                "a": each.a,
                "b": each.b,
                "difference": auroc(y, a) - auroc(y, b),
                "low": low,
                "high": high,
                "network_difference": network.difference,
                "network_low": limits[0],
                "network_high": limits[1],
            }
        )
    return found
