"""Labels and scores, checked before anything is computed of them; and the interval that most answers have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastrad.errors import InputError

FloatArray = NDArray[np.float64]


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def checked(y_true: ArrayLike, *scores: ArrayLike, least: int = 1) -> tuple[NDArray[np.bool_], FloatArray]:
    """The labels as bool (n,) and the scores as float64 (k, n).

    Raises
    ------
    InputError
        Where lengths differ, a label is neither 0 nor 1, a score is NaN, or a class has fewer than `least` samples.
        Infinite scores are ranks like others and are accepted.
    """
    labels = np.asarray(y_true)
    table = np.asarray([np.asarray(score, dtype=np.float64) for score in scores], dtype=np.float64)
    if labels.ndim != 1 or table.shape[1:] != labels.shape:
        raise InputError(f"labels have shape {labels.shape}, scores {table.shape[1:]}: one score a label is needed")
    if not ((labels == 0) | (labels == 1)).all():
        raise InputError("labels must be 0 (benign) or 1 (malignant)")
    if np.isnan(table).any():
        raise InputError(f"{int(np.isnan(table).sum())} of the scores are NaN: nothing can be ranked by them")
    positive = labels.astype(bool)
    for name, count in (("malignant", int(positive.sum())), ("benign", int((~positive).sum()))):
        if count < least:
            raise InputError(f"{count} {name} of {labels.size}: this statistic needs at least {least} of each class")
    return positive, table
