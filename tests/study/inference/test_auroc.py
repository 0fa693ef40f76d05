"""AUROC, DeLong's test and intervals against independent computations, a published example, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from binormal import paired_sample
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from fastrad.errors import InputError
from fastrad.study.inference import auroc
from fastrad.study.inference.bootstrap import average_precision
from fastrad.study.inference.proportions import wilson_interval


def brute_force_delong(y, a, b):
    """DeLong 1988 as printed: every malignant-benign pair compared, covariances of the component means."""
    y, scores = np.asarray(y), [np.asarray(a, float), np.asarray(b, float)]
    m, n = int((y == 1).sum()), int((y == 0).sum())
    v10, v01 = [], []
    for score in scores:
        positive, negative = score[y == 1], score[y == 0]
        psi = np.array([[1.0 if x > z else 0.5 if x == z else 0.0 for z in negative] for x in positive])
        v10.append(psi.mean(axis=1))
        v01.append(psi.mean(axis=0))
    aurocs = [component.mean() for component in v10]

    def covariance(r, s):
        s10 = sum((v10[r][i] - aurocs[r]) * (v10[s][i] - aurocs[s]) for i in range(m)) / (m - 1)
        s01 = sum((v01[r][j] - aurocs[r]) * (v01[s][j] - aurocs[s]) for j in range(n)) / (n - 1)
        return s10 / m + s01 / n

    variance = covariance(0, 0) + covariance(1, 1) - 2 * covariance(0, 1)
    return aurocs, variance


@pytest.mark.parametrize("levels", [3, 10, 10_000], ids=["many ties", "some ties", "no ties"])
def test_delong_equals_the_brute_force_form_with_ties(levels):
    rng = np.random.default_rng(levels)
    for _ in range(20):
        y = np.concatenate(([0, 0, 1, 1], rng.integers(0, 2, rng.integers(4, 60))))
        a, b = rng.integers(0, levels, (2, y.size)) + y
        (expected_a, expected_b), variance = brute_force_delong(y, a, b)
        test = auroc.delong_test(y, a, b)
        assert test.auroc_a == pytest.approx(expected_a, abs=1e-12)
        assert test.auroc_b == pytest.approx(expected_b, abs=1e-12)
        assert test.difference == pytest.approx(expected_a - expected_b, abs=1e-12)
        assert test.standard_error**2 == pytest.approx(variance, abs=1e-12)
        if variance > 1e-12:
            z = (expected_a - expected_b) / math.sqrt(variance)
            assert test.z == pytest.approx(z, abs=1e-6)
            assert test.p_value == pytest.approx(math.erfc(abs(z) / math.sqrt(2)), abs=1e-6)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3)), min_size=2, max_size=40))
@settings(max_examples=100, deadline=None)
def test_auroc_equals_scikit_learns(samples):
    y, score = np.array([[0, 1], [1, 0], *samples]).T
    assert auroc.auroc(y, score) == pytest.approx(roc_auc_score(y, score), abs=1e-12)


def test_swapping_the_arms_turns_the_sign_and_keeps_p():
    y, a, b = paired_sample(np.random.default_rng(4), 25, 40, 0.85, 0.75)
    one, other = auroc.delong_test(y, a, b), auroc.delong_test(y, b, a)
    assert one.difference == -other.difference
    assert one.z == -other.z
    assert one.p_value == other.p_value


def test_only_ranks_count():
    y, a, b = paired_sample(np.random.default_rng(5), 25, 40, 0.85, 0.75)
    assert auroc.delong_test(y, a, b) == auroc.delong_test(y, np.exp(a), 1000 * b - 7)
    assert auroc.delong_test(y, a, a * 2)[2:] == (0.0, 0.0, 0.0, 1.0)


def test_infinite_scores_are_ranked():
    assert auroc.auroc([0, 0, 1, 1], [-np.inf, 0.5, 0.4, np.inf]) == 0.75


@pytest.mark.parametrize("statistic", [auroc.auroc, auroc.auroc_interval, average_precision])
@pytest.mark.parametrize(
    ("y", "score", "reason"),
    [
        ([1, 1, 1], [1, 2, 3], "0 benign of 3"),
        ([0, 0, 0], [1, 2, 3], "0 malignant of 3"),
        ([0, 1, 0, 1], [1, np.nan, 2, 3], "1 of the scores are NaN"),
        ([0, 1, 2], [1, 2, 3], "labels must be 0"),
        ([0, 1], [1, 2, 3], "one score a label"),
    ],
)
def test_what_has_no_answer_is_refused(statistic, y, score, reason):
    with pytest.raises(InputError, match=reason):
        statistic(y, score)


def test_an_interval_and_a_test_need_two_of_each_class():
    with pytest.raises(InputError, match="1 malignant of 3"):
        auroc.auroc_interval([0, 0, 1], [1, 2, 3])
    with pytest.raises(InputError, match="1 benign of 3"):
        auroc.delong_test([0, 1, 1], [1, 2, 3], [3, 2, 1])


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(-3, 3), st.integers(-3, 3)), max_size=30),
    st.floats(0.5, 0.999),
)
@settings(max_examples=200, deadline=None)
def test_intervals_stay_within_their_range_and_hold_the_estimate(samples, level):
    y, a, b = np.array([[0, 0, 0], [0, 1, 2], [1, 0, 0], [1, 2, 1], *samples]).T
    estimate = auroc.auroc(y, a)
    low, high = auroc.auroc_interval(y, a, level)
    assert 0 <= low <= estimate + 1e-12
    assert estimate - 1e-12 <= high <= 1
    assert low < high
    low, high = auroc.difference_interval(y, a, b, level)
    if not math.isnan(low):
        assert -1 <= low <= high <= 1


def test_perfect_separation_has_a_lower_limit_below_one():
    y = [0] * 10 + [1] * 10
    low, high = auroc.auroc_interval(y, np.arange(20))
    assert 0.7 < low < 0.95
    assert high == 1
    assert auroc.auroc_interval(y, -np.arange(20)) == pytest.approx((1 - high, 1 - low))


def test_constant_scores_have_auroc_one_half_with_a_wide_interval():
    y = [0] * 30 + [1] * 30
    low, high = auroc.auroc_interval(y, np.zeros(60))
    assert auroc.auroc(y, np.zeros(60)) == 0.5
    assert (low + high) / 2 == pytest.approx(0.5)
    assert 0.2 < high - low < 0.4


def test_perfect_against_constant_has_no_test_but_an_interval():
    y = [0] * 5 + [1] * 5
    test = auroc.delong_test(y, np.arange(10), np.zeros(10))
    assert test.difference == 0.5
    assert math.isnan(test.z)
    assert math.isnan(test.p_value)
    low, high = auroc.difference_interval(y, np.arange(10), np.zeros(10))
    assert low < 0.2 < 0.5 < high < 0.9


def test_two_perfect_arms_have_an_interval_with_width():
    y = [0] * 20 + [1] * 10
    low, high = auroc.difference_interval(y, np.arange(30), 3.0 * np.asarray(y))
    assert low == -high
    assert 0.05 < high < 0.3
    assert auroc.difference_interval(y, np.zeros(30), np.ones(30)) == (0, 0), "two constants know the same: nothing"


def test_square_and_add_is_newcombes_own_example():
    """Newcombe 1998, table II: 56/70 against 48/80, method 10."""
    found = auroc.square_and_add(56 / 70, wilson_interval(56, 70), 48 / 80, wilson_interval(48, 80))
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)
    alike = auroc.square_and_add(0.8, auroc.Interval(0.7, 0.9), 0.8, auroc.Interval(0.7, 0.9), 1.0)
    assert alike == pytest.approx((0, 0), abs=1e-12)


@pytest.mark.parametrize(("malignant", "benign"), [(44, 101), (15, 60)], ids=["44 of 145", "15 of 75"])
@pytest.mark.parametrize(("truth", "spread"), [(0.95, 2.0), (0.98, 1.0), (0.98, 2.0), (0.99, 2.0)])
def test_an_interval_near_the_ceiling_covers(malignant, benign, truth, spread):
    """Spread: of malignant scores, that of benign ones being 1; DeLong's interval covered 86 to 94 % here."""
    rng = np.random.default_rng(14)
    repetitions, covered = 500, 0
    y = np.repeat([1, 0], [malignant, benign])
    shift = math.sqrt(1 + spread**2) * stats.norm.ppf(truth)
    for _ in range(repetitions):
        low, high = auroc.auroc_interval(y, rng.normal(size=y.size) * np.where(y == 1, spread, 1) + shift * y)
        covered += low <= truth <= high
    assert covered / repetitions >= 0.93


@pytest.mark.parametrize(("one", "other"), [(0.98, 0.98), (0.99, 0.95), (0.98, 0.85)])
@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_a_difference_near_the_ceiling_covers(one, other, spread):
    rng = np.random.default_rng(15)
    repetitions, covered = 400, 0
    y = np.repeat([1, 0], [15, 40])
    sizes, shift = np.where(y == 1, spread, 1), math.sqrt(1 + spread**2) * stats.norm.ppf([one, other])
    for _ in range(repetitions):
        noise = rng.normal(size=(3, y.size))
        a, b = ((noise[0] + noise[k]) / math.sqrt(2) * sizes + shift[k - 1] * y for k in (1, 2))
        low, high = auroc.difference_interval(y, a, b)
        covered += low - 1e-12 <= one - other <= high + 1e-12
    assert covered / repetitions >= 0.92


def test_newcombes_interval_solves_its_equation():
    z2 = stats.norm.ppf(0.975) ** 2
    for limit in auroc.newcombe_interval(0.8, 15, 60):
        extra = (15 + 60) / 2 - 1
        spread = 1 + extra * ((1 - limit) / (2 - limit) + limit / (1 + limit))
        variance = limit * (1 - limit) * spread / (15 * 60)
        assert (0.8 - limit) ** 2 == pytest.approx(z2 * variance)


def test_delongs_own_example_gives_the_published_figures():
    """Ovarian cancer, DeLong 1988: albumin and total protein against the K-G score; figures as SAS/STAT prints them."""
    printed = """3.0 5.8 10 0 3.2 6.3 5 1 3.9 6.8 3 1 2.8 4.8 6 0 3.2 5.8 3 1 0.9 4.0 5 0 2.5 5.7 8 0 1.6 5.6 5 1
        3.8 5.7 5 1 3.7 6.7 6 1 3.2 5.4 4 1 3.8 6.6 6 1 4.1 6.6 5 1 3.6 5.7 5 1 4.3 7.0 4 1 3.6 6.7 4 0
        2.3 4.4 6 1 4.2 7.6 4 0 4.0 6.6 6 0 3.5 5.8 6 1 3.8 6.8 7 1 3.0 4.7 8 0 4.5 7.4 5 1 3.7 7.4 5 1
        3.1 6.6 6 1 4.1 8.2 6 1 4.3 7.0 5 1 4.3 6.5 4 1 3.2 5.1 5 1 2.6 4.7 6 1 3.3 6.8 6 0 1.7 4.0 7 0
        3.7 6.1 5 1 3.3 6.3 7 1 4.2 7.7 6 1 3.5 6.2 5 1 2.9 5.7 9 0 2.1 4.8 7 1 2.8 6.2 8 0 4.0 7.0 7 1
        3.3 5.7 6 1 3.7 6.9 5 1 3.6 6.6 5 1"""
    albumin, protein, score, y = np.array(printed.split(), dtype=float).reshape(-1, 4).T
    kg_score = 10 - score
    aurocs, malignant, benign = auroc.structural_components(y, albumin, kg_score, protein)
    covariance = np.cov(malignant) / malignant.shape[1] + np.cov(benign) / benign.shape[1]
    assert np.round(aurocs, 4).tolist() == [0.7366, 0.7258, 0.6478]
    assert np.round(np.sqrt(np.diag(covariance)), 4).tolist() == [0.0927, 0.1028, 0.1000]
    for marker, difference, error, chi_square, p in (
        (albumin, 0.0108, 0.0953, 0.0127, 0.9102),
        (protein, -0.0780, 0.1046, 0.5554, 0.4561),
    ):
        test = auroc.delong_test(y, marker, kg_score)
        found = [test.difference, test.standard_error, test.z**2, test.p_value]
        assert np.round(found, 4).tolist() == [difference, error, chi_square, p]


def test_mlstatkit_agrees():
    mlstatkit = pytest.importorskip("MLstatkit", reason="MLstatkit is not installed (pip install MLstatkit)")
    for seed in range(20):
        y, a, b = paired_sample(np.random.default_rng(seed), 20, 45, 0.85, 0.72)
        a, b = np.round(a, 1), np.round(b, 1)
        z, p, *_ = mlstatkit.Delong_test(y, a, b)
        test = auroc.delong_test(y, a, b)
        assert -test.z == pytest.approx(z, abs=1e-9)  # theirs is b - a
        assert test.p_value == pytest.approx(p, abs=1e-9)


@pytest.mark.parametrize(("malignant", "benign"), [(44, 101), (15, 60)], ids=["44 of 145", "15 of 75"])
@pytest.mark.parametrize("truth", [0.74, 0.80, 0.84])
def test_auroc_interval_covers_as_stated(malignant, benign, truth):
    rng = np.random.default_rng(11)
    repetitions, covered = 2000, 0
    for _ in range(repetitions):
        y, score, _ = paired_sample(rng, malignant, benign, truth, truth)
        low, high = auroc.auroc_interval(y, score)
        covered += low <= truth <= high
    assert 0.93 <= covered / repetitions <= 0.97


@pytest.mark.parametrize(("malignant", "benign"), [(44, 101), (15, 60)], ids=["44 of 145", "15 of 75"])
@pytest.mark.parametrize(("better", "worse"), [(0.84, 0.74), (0.80, 0.80)])
def test_difference_interval_covers_as_stated_and_ranks_planted_arms(malignant, benign, better, worse):
    rng = np.random.default_rng(12)
    repetitions, covered, estimates, significant = 2000, 0, [], 0
    for _ in range(repetitions):
        y, a, b = paired_sample(rng, malignant, benign, better, worse)
        low, high = auroc.difference_interval(y, a, b)
        covered += low <= better - worse <= high
        test = auroc.delong_test(y, a, b)
        estimates.append(test.difference)
        significant += test.p_value < 0.05
    assert 0.93 <= covered / repetitions <= 0.97
    assert np.mean(estimates) == pytest.approx(better - worse, abs=0.004)
    if better == worse:
        assert 0.03 <= significant / repetitions <= 0.07
