"""The hierarchical bootstrap: patients within their class, folds, seeds within folds, and weights files, drawn again.

Each level is drawn with replacement at once: the patients' draw serves every network, the draw of folds and seeds both
arms, for these are paired by them; weights files are drawn within their arm. It assumes no distribution; with few folds
its intervals are too narrow, which is why it decides nothing alone.

Source: Davison & Hinkley, Bootstrap Methods and their Application, 1997, section 3.8 (hierarchical data).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fastrad.study.inference.bootstrap import percentile_interval
from fastrad.study.inference.samples import FloatArray, Interval


def mean_aurocs(
    y: NDArray[np.int64], scores: Mapping[str, FloatArray], counts: FloatArray, seed: int = 0
) -> dict[str, FloatArray]:
    """Each arm's mean AUROC of one network, in each resample.

    Parameters
    ----------
    y : int64 array, shape (patients,)
    scores : mapping of arm to array of shape (starts, seeds, folds, patients)
        The same seeds and folds in every arm.
    counts : array of shape (resamples, patients)
        From `bootstrap.resample_counts`.
    seed : int
        Of the draws of networks.

    Returns
    -------
    dict of arm to array of shape (resamples,)
    """
    rng = np.random.default_rng([seed, 1])
    resamples = len(counts)
    _, seeds, folds, _ = next(iter(scores.values())).shape
    drawn_folds = rng.multinomial(folds, np.full(folds, 1 / folds), resamples)
    drawn = rng.multinomial(drawn_folds * seeds, np.full(seeds, 1 / seeds)).transpose(0, 2, 1)  # resample, seed, fold
    networks = drawn.reshape(resamples, -1) / (seeds * folds)
    malignant, benign = counts[:, y == 1], counts[:, y == 0]
    pairs = malignant[0].sum() * benign[0].sum()
    found = {}
    for name, each in scores.items():
        starts = len(each)
        files = rng.multinomial(starts, np.full(starts, 1 / starts), resamples) / starts
        total = np.zeros(resamples)
        for start in range(starts):
            for place, network in enumerate(each[start].reshape(seeds * folds, -1)):
                above, below = network[y == 1][:, None], network[y == 0]
                wins = (above > below) + 0.5 * (above == below)
                aurocs = np.einsum("rn,rn->r", malignant @ wins, benign) / pairs
                total += files[:, start] * networks[:, place] * aurocs
        found[name] = total
    return found


def difference_interval(a: FloatArray, b: FloatArray) -> Interval:
    """The central 95 % of the difference of two arms of `mean_aurocs`."""
    return percentile_interval(a - b)
