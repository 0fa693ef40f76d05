"""Calibrated copies against scikit-learn and by simulation; intervals of calibration and Brier score."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from binormal import paired_sample
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from fastrad.study.inference import decision, recalibration
from fastrad.study.inference.evaluation import evaluate


def test_recalibration_is_platts_with_his_targets():
    y, score, _ = paired_sample(np.random.default_rng(0), 15, 30, 0.8, 0.8)
    found = recalibration.recalibration(y, score)
    # A fraction t of a malignant patient is a malignant one of weight t and a benign one of weight 1 - t.
    target = np.where(y == 1, 16 / 17, 1 / 32)
    reference = LogisticRegression(C=np.inf, tol=1e-12, max_iter=5000).fit(
        np.tile(score, 2)[:, None], np.repeat([1, 0], y.size), np.concatenate((target, 1 - target))
    )
    assert found == pytest.approx((reference.intercept_[0], reference.coef_[0, 0]), rel=1e-3)


def test_scores_that_separate_the_classes_have_a_finite_copy_in_their_order():
    y = np.array([0] * 6 + [1] * 4)
    score = np.arange(10.0) * 50 - 1000
    found = recalibration.recalibration(y, score)
    assert 0 < found.slope < 1
    assert np.isfinite(found.of(score)).all()
    assert found.of(score)[5] < 0 < found.of(score)[6]


@pytest.mark.parametrize("score", [-np.arange(10.0), np.zeros(10), np.full(10, 1e9)])
def test_a_network_that_knows_nothing_says_the_prevalence(score):
    found = recalibration.recalibration([0] * 6 + [1] * 4, score)
    assert found.slope == 0
    assert found.intercept == pytest.approx(logit((4 * 5 / 6 + 6 / 8) / 10))


def study(spread: dict[int, float], level: dict[int, float], auroc: float = 0.8) -> pd.DataFrame:
    """Networks of one arm whose logits have other levels and spreads, 100 validation patients a fold, 300 to test."""
    rng, lines = np.random.default_rng(4), []
    for fold in spread:
        for set_, count in (("val", 100), ("test", 300)):
            y, score, _ = paired_sample(rng, count // 2, count // 2, auroc, auroc)
            for index, (label, value) in enumerate(zip(y, score, strict=True)):
                name, row = (
                    (f"{set_}{fold}-{index}", 1000 * (fold + 1) + index) if set_ == "val" else (f"t{index}", index)
                )
                lines.append(("none", 0, fold, set_, name, row, int(label), level[fold] + spread[fold] * value))
    return pd.DataFrame(lines, columns=["arm", "seed", "fold", "set", "patient", "row", "label", "score"])


def test_thresholds_hold_where_networks_have_other_levels_and_spreads():
    """On raw scores the validation folds' threshold called all of the test patients malignant."""
    predictions = study({0: 1.0, 1: 0.2, 2: 5.0}, {0: 0.0, 1: -6.0, 2: 20.0})
    arm = evaluate(predictions, resamples=0).arm("none")
    raw = predictions[predictions["set"] == "val"]
    threshold = decision.youden_threshold(raw["label"], raw["score"])
    ensemble = predictions[predictions["set"] == "test"].groupby("patient")[["label", "score"]].mean()
    before = decision.operating_point(ensemble["label"], ensemble["score"], threshold)
    assert min(before.sensitivity.estimate, before.specificity.estimate) < 0.3
    assert min(arm.operating_point.sensitivity.estimate, arm.operating_point.specificity.estimate) > 0.6
    known = arm.validation_point
    assert known.sensitivity.trials == known.specificity.trials == 150
    assert known.sensitivity.estimate + known.specificity.estimate > 1.3


def test_scores_and_aurocs_stay_raw():
    predictions = study({0: 1.0, 1: 0.2}, {0: 0.0, 1: -6.0})
    result = evaluate(predictions, resamples=0)
    expected = predictions[predictions["set"] == "test"].groupby("patient")["score"].mean()
    assert result.scores["none"] == pytest.approx(expected.loc[list(result.patients)].to_numpy())
    assert not np.allclose(result.arm("none").calibrated, result.scores["none"])


def test_rates_that_part_are_named():
    predictions = study({0: 1.0, 1: 1.0}, {0: 0.0, 1: 0.0})
    assert evaluate(predictions, resamples=0).arm("none").parted == []
    shifted = predictions["score"] + 2.0 * (predictions["set"] == "test")
    assert evaluate(predictions.assign(score=shifted), resamples=0).arm("none").parted == ["sensitivity", "specificity"]


def test_calibration_intervals_cover():
    rng, covered, repetitions = np.random.default_rng(6), np.zeros(4), 400
    truth = {"slope": 1.3, "intercept": 0.4}
    grid = rng.normal(-0.6, 1.1, 200_000)
    large = 0.0
    for _ in range(30):  # the intercept at slope one of the population, by Newton's method
        odds, target = grid + large, expit(0.4 + 1.3 * grid)
        large += (target - expit(odds)).mean() / (expit(odds) * expit(-odds)).mean()
    brier = (expit(0.4 + 1.3 * grid) * expit(-grid) ** 2 + expit(-0.4 - 1.3 * grid) * expit(grid) ** 2).mean()
    for _ in range(repetitions):
        odds = rng.normal(-0.6, 1.1, 145)
        y = (rng.random(odds.size) < expit(truth["intercept"] + truth["slope"] * odds)).astype(int)
        found = recalibration.calibration_intervals(y, odds)
        limits = [found.slope, found.intercept, found.intercept_at_slope_one]
        limits.append(recalibration.brier_interval(y, expit(odds)))
        for index, value in enumerate((truth["slope"], truth["intercept"], large, brier)):
            covered[index] += limits[index].low <= value <= limits[index].high
    assert (covered / repetitions >= 0.92).all()
    assert (covered / repetitions <= 0.98).all()


def test_what_has_no_calibration_has_no_interval():
    for score in (np.arange(10.0), np.zeros(10)):
        found = recalibration.calibration_intervals([0] * 5 + [1] * 5, score)
        assert all(math.isnan(limit) for interval in found for limit in interval)


def test_a_perfect_probability_has_a_brier_score_of_zero():
    assert recalibration.brier_interval([0, 0, 1, 1], [0.0, 0.0, 1.0, 1.0]) == (0, 0)
