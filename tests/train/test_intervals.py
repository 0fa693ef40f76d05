"""Bootstrap intervals against resampling done in full, with scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from fastrad.train import intervals
from fastrad.train.intervals import bootstrap, weighted_auroc


def example(samples: int = 60, classes: int = 7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, samples)
    labels[:classes] = np.arange(classes)
    logits = draw.normal(0, 1, (samples, classes))
    logits[np.arange(samples), labels] += 1
    return logits, labels


def test_each_draw_is_what_scikit_learn_finds_on_the_repeated_images():
    logits, labels = example()
    weights = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), 5).astype(float)
    weights[:, :7] += 1  # every class in every draw, which scikit-learn needs
    found = intervals._of_draws(log_softmax(logits, axis=1), labels, weights)
    for number, of_draw in enumerate(weights.astype(int)):
        scores, truth = np.repeat(log_softmax(logits, axis=1), of_draw, axis=0), np.repeat(labels, of_draw)
        one_hot = truth[:, None] == np.arange(7)
        each = [roc_auc_score(one_hot[:, index], scores[:, index]) for index in range(7)]
        expected = {
            "loss": log_loss(truth, np.exp(scores), labels=range(7)),
            "top1": np.mean(scores.argmax(1) == truth),
            "top5": np.mean([label in row for label, row in zip(truth, scores.argsort(1)[:, -5:], strict=True)]),
            "balanced_accuracy": balanced_accuracy_score(truth, scores.argmax(1)),
            "macro_auroc": np.mean(each),
            "micro_auroc": roc_auc_score(one_hot.ravel(), scores.ravel()),
        }
        assert {name: found[name][number] for name in expected} == pytest.approx(expected, abs=1e-9)
        assert found["classes"][number] == pytest.approx(each, abs=1e-9)


def test_ties_count_one_half_under_weights():
    draw = np.random.default_rng(2)
    scores, positive = draw.integers(0, 4, 40).astype(float), draw.random(40) < 0.4
    weights = draw.integers(0, 3, (3, 40)).astype(float)
    expected = [roc_auc_score(positive, scores, sample_weight=each) for each in weights]
    assert weighted_auroc(scores, positive, weights) == pytest.approx(expected)


def test_patients_are_drawn_whole_and_many_images_of_one_count_once():
    logits, labels = example(40)
    copies, of_copies = np.repeat(logits, 9, axis=0), np.repeat(labels, 9)
    alone, _ = bootstrap(logits, labels, np.arange(40), 400, 0)
    whole, _ = bootstrap(copies, of_copies, np.repeat(np.arange(40), 9), 400, 0)
    apart, _ = bootstrap(copies, of_copies, np.arange(360), 400, 0)
    for name, interval in alone.items():
        assert whole[name] == pytest.approx(interval)
        assert apart[name].high - apart[name].low < 0.6 * (interval.high - interval.low)


def test_the_interval_of_an_auroc_covers_as_often_as_it_says():
    """Two normal classes one SD apart: AUROC 0.760; 95 % of 200 intervals, give or take three standard errors."""
    draw, covered = np.random.default_rng(3), 0
    for number in range(200):
        labels = np.repeat([0, 1], 60)
        logits = np.zeros((120, 2))
        logits[:, 1] = draw.normal(labels.astype(float), 1)
        _, (_, interval) = bootstrap(logits, labels, np.arange(120), 200, number)
        covered += interval.low <= 0.7602 <= interval.high
    assert 0.90 <= covered / 200 <= 0.995


def test_a_class_without_images_has_no_interval_and_takes_no_part():
    logits, labels = example(30, 4)
    labels[labels == 3] = 0
    found, of_classes = bootstrap(logits, labels, np.arange(30), 50, 0)
    assert np.isnan(of_classes[3]).all()
    assert all(np.isfinite(each).all() for each in found.values())
