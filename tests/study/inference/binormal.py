"""Correlated scores of two arms whose true AUROCs are known."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats


def paired_sample(rng, malignant, benign, auroc_a, auroc_b, correlation=0.6):
    """Labels and two correlated binormal scores with the given true AUROCs."""
    y = np.repeat([1, 0], [malignant, benign])
    noise = rng.normal(size=(2, y.size))
    first = noise[0]
    second = correlation * noise[0] + math.sqrt(1 - correlation**2) * noise[1]
    shift = math.sqrt(2) * stats.norm.ppf([auroc_a, auroc_b])
    return y, first + shift[0] * y, second + shift[1] * y
