"""Operating points, Brier score, calibration and ROC curves against scikit-learn, scipy and definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, confusion_matrix
from sklearn.metrics import roc_curve as sklearn_roc_curve

from fastrad.study.inference import decision
from fastrad.study.inference.auroc import auroc
from fastrad.study.inference.bootstrap import resample_counts
from fastrad.study.inference.proportions import wilson_interval


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    y = np.repeat([1, 0], [40, 80])
    return y, rng.normal(size=y.size) + 1.2 * y - 0.8


def test_operating_point_equals_the_confusion_matrix(sample):
    y, score = sample
    point = decision.operating_point(y, score, 0.1)
    tn, fp, fn, tp = confusion_matrix(y, score >= 0.1).ravel()
    assert point.sensitivity[:1] + point.sensitivity[2:] == (tp / (tp + fn), tp, tp + fn)
    assert point.specificity[:1] + point.specificity[2:] == (tn / (tn + fp), tn, tn + fp)
    assert point.ppv.estimate == tp / (tp + fp)
    assert point.npv.estimate == tn / (tn + fn)
    assert point.ppv.interval == wilson_interval(int(tp), int(tp + fp))


def test_a_threshold_above_all_scores_leaves_ppv_undefined(sample):
    y, score = sample
    point = decision.operating_point(y, score, 100)
    assert math.isnan(point.ppv.estimate)
    assert point.ppv.interval == (0, 1)
    assert point.sensitivity.estimate == 0


def test_youden_threshold_is_the_best_of_all(sample):
    y, score = sample

    def benefit(threshold):
        return (score[y == 1] >= threshold).mean() - (score[y == 0] >= threshold).mean()

    found = decision.youden_threshold(y, score)
    assert benefit(found) == pytest.approx(max(benefit(value) for value in np.linspace(-4, 4, 4001)))
    assert found not in score


def test_brier_score_equals_scikit_learns(sample):
    y, score = sample
    assert decision.brier_score(y, expit(score)) == pytest.approx(brier_score_loss(y, expit(score)))


def test_calibration_equals_an_unpenalised_logistic_regression(sample):
    y, score = sample
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(score[:, None], y)
    found = decision.calibration(y, score)
    assert found.slope == pytest.approx(reference.coef_[0, 0], rel=1e-4)
    assert found.intercept == pytest.approx(reference.intercept_[0], abs=1e-4)
    # Calibration in the large: with this shift the mean probability is the prevalence.
    assert expit(score + found.intercept_at_slope_one).mean() == pytest.approx(y.mean(), abs=1e-6)


def test_calibrated_probabilities_have_slope_one_and_intercept_zero():
    rng = np.random.default_rng(1)
    odds = rng.normal(-0.5, 1.5, 60_000)
    y = (rng.random(odds.size) < expit(odds)).astype(int)
    found = decision.calibration(y, odds)
    assert found == pytest.approx((1, 0, 0), abs=0.04)


@pytest.mark.parametrize("score", [np.arange(10.0), -np.arange(10.0), np.zeros(10)])
def test_calibration_without_a_solution_is_not_a_number(score):
    assert all(math.isnan(value) for value in decision.calibration([0] * 5 + [1] * 5, score))


def test_reliability_groups_hold_every_patient_once(sample):
    y, score = sample
    groups = decision.reliability(y, expit(score))
    assert sum(share.trials for _, share in groups) == y.size
    assert sum(share.successes for _, share in groups) == y.sum()
    assert [mean for mean, _ in groups] == sorted(mean for mean, _ in groups)


def test_roc_curve_equals_scikit_learns_and_its_area_is_the_auroc(sample):
    y, score = sample
    score = np.round(score, 1)
    false_rate, true_rate = decision.roc_curve(y, score)
    expected_false, expected_true, _ = sklearn_roc_curve(y, score, drop_intermediate=False)
    assert false_rate == pytest.approx(expected_false)
    assert true_rate == pytest.approx(expected_true)
    assert np.trapezoid(true_rate, false_rate) == pytest.approx(auroc(y, score))


def test_roc_band_encloses_the_curve_and_narrows_with_more_patients():
    rng = np.random.default_rng(2)
    grid = np.linspace(0.1, 0.9, 9)
    widths = []
    for scale in (1, 16):
        y = np.repeat([1, 0], [20 * scale, 40 * scale])
        score = rng.normal(size=y.size) + y
        low, high = decision.roc_band(y, score, resample_counts(y, repetitions=300), grid)
        curve = np.interp(grid, *decision.roc_curve(y, score))
        assert (low <= curve + 1e-9).all()
        assert (curve <= high + 1e-9).all()
        assert low.min() >= 0
        assert high.max() <= 1
        widths.append((high - low).mean())
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.35)
