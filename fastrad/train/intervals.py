"""95 % intervals of classification metrics by the percentile bootstrap (Efron and Tibshirani 1993, chapter 13).

Patients are drawn, with all of their images, since images of a patient are alike (Field and Welsh, JRSS B 2007); where
each image is a patient of its own, images are. The classes' sizes vary from draw to draw, as they would in new data.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

_AT_ONCE = 1 << 24  # weights held in memory: draws x images, 8 bytes each
_LEVELS = 2.5, 97.5


class Interval(NamedTuple):
    """Limits of a 95 % interval; NaN where no draw had a value."""

    low: float
    high: float


def bootstrap(
    logits: NDArray[np.float64], labels: NDArray[np.int64], groups: NDArray[np.int64], resamples: int, seed: int
) -> tuple[dict[str, Interval], tuple[Interval, ...]]:
    """Intervals of what `metrics.evaluate` finds.

    Parameters
    ----------
    logits : array, (N, C)
    labels : array, (N,)
        In [0, C).
    groups : array, (N,)
        What is drawn together: a patient's index.
    resamples : int
        Draws; 0 for no intervals.
    seed : int

    Returns
    -------
    (dict of str to Interval, tuple of Interval)
        Of loss, top1, top5, balanced_accuracy, macro_auroc, micro_auroc; and of each class's AUROC.
    """
    samples, classes = logits.shape
    if not resamples:
        return {}, (Interval(np.nan, np.nan),) * classes
    _, members = np.unique(groups, return_inverse=True)
    draw = np.random.default_rng(seed)
    scores = log_softmax(logits, axis=1)
    at_once = max(1, _AT_ONCE // samples)
    parts = [
        _of_draws(scores, labels, _weights(draw, members, min(at_once, resamples - done)))
        for done in range(0, resamples, at_once)
    ]
    values = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    of_classes = values.pop("classes")
    return {name: _limits(each) for name, each in values.items()}, tuple(map(_limits, of_classes.T))


def _weights(draw: np.random.Generator, members: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """How often each image comes in each draw: (count, N)."""
    groups = int(members.max()) + 1
    drawn = draw.integers(0, groups, (count, groups))
    drawn += groups * np.arange(count)[:, None]
    return np.bincount(drawn.ravel(), minlength=count * groups).reshape(count, groups)[:, members].astype(np.float64)


def _of_draws(
    scores: NDArray[np.float64], labels: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Each metric of each draw, (draws,); "classes": the AUROC of each class, (draws, C)."""
    samples, classes = scores.shape
    own = scores[np.arange(samples), labels]
    total = weights.sum(1)
    # as torch's topk and argmax would have it on untied scores: a label counts where fewer than k are above it
    above = (scores > own[:, None]).sum(1)
    truth = labels[:, None] == np.arange(classes)
    image = np.repeat(np.arange(samples), classes)
    counts = weights @ truth
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = (weights @ (truth & (above == 0)[:, None])) / counts
        of_classes = np.column_stack([weighted_auroc(scores[:, c], truth[:, c], weights) for c in range(classes)])
        return {
            "loss": -(weights @ own) / total,
            "top1": weights @ (above == 0) / total,
            "top5": weights @ (above < min(5, classes)) / total,
            "balanced_accuracy": _mean_of_known(recall),
            "macro_auroc": _mean_of_known(of_classes),
            "micro_auroc": weighted_auroc(scores.ravel(), truth.ravel(), weights, image),
            "classes": of_classes,
        }


def weighted_auroc(
    scores: NDArray[np.float64],
    positive: NDArray[np.bool_],
    weights: NDArray[np.float64],
    columns: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """The Mann-Whitney statistic with a weight a sample, ties counted one half, for several sets of weights.

    Parameters
    ----------
    scores : array, (M,)
    positive : bool array, (M,)
    weights : array, (D, N)
        How often each sample counts.
    columns : int array, (M,), optional
        Which of the N a score belongs to; without it, M is N.

    Returns
    -------
    array, (D,)
        NaN where a set has no positives or no negatives.
    """
    columns = np.arange(len(scores)) if columns is None else columns
    below = np.sort(scores[~positive])
    order = np.argsort(scores[~positive], kind="stable")
    first = np.searchsorted(below, scores[positive], "left")
    last = np.searchsorted(below, scores[positive], "right")
    of_negatives, of_positives = columns[~positive][order], columns[positive]
    found = np.empty(len(weights))
    for number, of_draw in enumerate(weights):
        lower = np.concatenate([[0.0], np.cumsum(of_draw[of_negatives])])
        counted = of_draw[of_positives]
        pairs = counted.sum() * lower[-1]
        found[number] = counted @ (lower[first] + lower[last]) / (2 * pairs) if pairs else np.nan
    return found


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)


def _limits(values: NDArray[np.float64]) -> Interval:
    known = values[np.isfinite(values)]
    return Interval(*np.percentile(known, _LEVELS)) if known.size else Interval(np.nan, np.nan)
