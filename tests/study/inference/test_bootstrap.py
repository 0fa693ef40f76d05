"""Resampled patients, and average precision with its interval."""

from __future__ import annotations

import numpy as np
import pytest
from binormal import paired_sample
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from fastrad.study.inference import bootstrap
from fastrad.study.inference.proportions import wilson_interval


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=40))
@settings(max_examples=100, deadline=None)
def test_average_precision_equals_scikit_learns(samples):
    y, score = np.array([[0, 1], [1, 0], *samples]).T
    assert bootstrap.average_precision(y, score) == pytest.approx(average_precision_score(y, score), abs=1e-12)


def test_infinite_scores_are_ranked():
    assert bootstrap.average_precision([0, 0, 1, 1], [-np.inf, -np.inf, np.inf, np.inf]) == 1.0


def test_bootstrap_statistics_equal_those_of_the_repeated_rows():
    rng = np.random.default_rng(9)
    y = np.array([1] * 12 + [0] * 20)
    score = rng.integers(0, 6, y.size) + y
    counts = bootstrap.resample_counts(y, repetitions=50, seed=1)
    auroc = bootstrap.bootstrap_auroc(y, score, counts)
    precision = bootstrap.bootstrap_average_precision(y, score, counts)
    for index, count in enumerate(counts.astype(int)):
        rows = np.repeat(np.arange(y.size), count)
        assert auroc[index] == pytest.approx(roc_auc_score(y[rows], score[rows]))
        assert precision[index] == pytest.approx(average_precision_score(y[rows], score[rows]))


def test_resamples_keep_the_size_of_each_class():
    y = np.array([1, 0, 1, 0, 0])
    counts = bootstrap.resample_counts(y, repetitions=300, seed=2)
    assert (counts[:, y == 1].sum(axis=1) == 2).all()
    assert (counts[:, y == 0].sum(axis=1) == 3).all()
    assert set(counts[:, 0]) == {0.0, 1.0, 2.0}
    assert counts.mean(axis=0) == pytest.approx(1, abs=0.2)
    assert np.array_equal(counts, bootstrap.resample_counts(y, repetitions=300, seed=2))


def test_bootstrap_logit_interval_stays_in_range_at_the_edges():
    y = np.array([1] * 5 + [0] * 20)
    perfect = y.astype(float)
    counts = bootstrap.resample_counts(y, repetitions=100)
    replicates = bootstrap.bootstrap_average_precision(y, perfect, counts)
    low, high = bootstrap.bootstrap_logit_interval(1.0, replicates, 5)
    assert (low, high) == wilson_interval(5, 5)


def test_average_precision_interval_covers_the_hard_case():
    """The population's value comes from a large sample with the same prevalence."""
    rng = np.random.default_rng(13)
    y, score, _ = paired_sample(rng, 40_000, 160_000, 0.80, 0.80)
    truth = average_precision_score(y, score)
    covered = 0
    for repetition in range(400):
        y, score, _ = paired_sample(rng, 15, 60, 0.80, 0.80)
        counts = bootstrap.resample_counts(y, repetitions=300, seed=repetition)
        replicates = bootstrap.bootstrap_average_precision(y, score, counts)
        estimate = bootstrap.average_precision(y, score)
        low, high = bootstrap.bootstrap_logit_interval(estimate, replicates, 15)
        covered += low <= truth <= high
    assert 0.91 <= covered / 400 <= 0.98
