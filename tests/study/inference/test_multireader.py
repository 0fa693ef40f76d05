"""Obuchowski and Rockette's analysis against a published example, the printed formulas, and cases known beforehand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from fastrad.study.inference.multireader import (
    ReaderScores,
    nested_readers,
    one_modality,
    paired_readers,
    reader_scores,
)

# Van Dyke et al., Radiology 1993: 45 and 69 patients, five readers; AUROCs, covariances (DeLong) and results as printed
# in the guide of MRMCaov (Smith & Hillis, Proc. SPIE 11316, 2020).
SPIN_ECHO = [0.91964573, 0.85877616, 0.90386473, 0.97310789, 0.82979066]
CINE = [0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169]
COV2, COV3 = 0.0003395265, 0.0002358497


def with_covariances(auroc: list[float], own: int, within: float, between: float) -> ReaderScores:
    """Readers of a modality whose AUROCs have these covariances, with each other and with another modality's."""
    deviations = np.zeros((len(auroc), 3))
    deviations[:, 0] = math.sqrt(between)
    deviations[:, own] = math.sqrt(within - between)
    return ReaderScores(np.array(auroc), deviations, 45, 69)


def test_two_modalities_give_the_published_figures():
    found = paired_readers(with_covariances(SPIN_ECHO, 1, COV2, COV3), with_covariances(CINE, 2, COV2, COV3))
    assert found.estimate == pytest.approx(-0.04380032, abs=1e-8)
    assert found.standard_error == pytest.approx(0.0206825, abs=1e-7)
    assert found.df == pytest.approx(15.06611, abs=1e-4)
    assert found.interval == pytest.approx((-0.0878671960, 0.0002665519), abs=1e-7)
    assert found.p_value == pytest.approx(0.05123303, abs=1e-7)
    assert found.readers == pytest.approx(0.4 * 0.0005510306, abs=1e-9)


@pytest.mark.parametrize(
    ("auroc", "cov2", "error", "df", "interval"),
    [
        (SPIN_ECHO, 0.0004775239, 0.03307642, 12.59597, (0.8253461, 0.9687280)),
        (CINE, 0.0002015292, 0.02150464, 12.56530, (0.8942155, 0.9874592)),
    ],
)
def test_one_modality_gives_the_published_figures(auroc, cov2, error, df, interval):
    found = one_modality(with_covariances(auroc, 1, cov2, 0.0))
    assert found.standard_error == pytest.approx(error, abs=1e-7)
    assert found.df == pytest.approx(df, abs=1e-4)
    assert found.at_level(0.95) == pytest.approx(interval, abs=1e-6)
    assert math.isnan(found.p_value)
    on_the_logit_scale = stats.t.ppf(0.975, df) * error / (np.mean(auroc) * (1 - np.mean(auroc)))
    limits = np.log(np.mean(auroc) / (1 - np.mean(auroc))) + np.array([-1, 1]) * on_the_logit_scale
    assert found.interval == pytest.approx(1 / (1 + np.exp(-limits)), abs=1e-6)


def by_the_printed_formulas(y, scores):
    """Every pair of patients compared, every covariance by its own loop; scores of shape (2, readers, patients)."""
    malignant, benign = scores[..., y == 1], scores[..., y == 0]
    m, n, r = malignant.shape[-1], benign.shape[-1], scores.shape[1]
    psi = (malignant[..., :, None] > benign[..., None, :]) + 0.5 * (malignant[..., :, None] == benign[..., None, :])
    auroc, v10, v01 = psi.mean(axis=(-1, -2)), psi.mean(axis=-1), psi.mean(axis=-2)

    def covariance(i, j, k, q):
        s10 = sum((v10[i, j, p] - auroc[i, j]) * (v10[k, q, p] - auroc[k, q]) for p in range(m)) / (m - 1)
        s01 = sum((v01[i, j, p] - auroc[i, j]) * (v01[k, q, p] - auroc[k, q]) for p in range(n)) / (n - 1)
        return s10 / m + s01 / n

    others = [(j, q) for j, q in itertools.product(range(r), repeat=2) if j != q]
    cov2 = np.mean([covariance(i, j, i, q) for i in (0, 1) for j, q in others])
    cov3 = np.mean([covariance(i, j, 1 - i, q) for i in (0, 1) for j, q in others])
    residual = auroc - auroc.mean(axis=1, keepdims=True) - auroc.mean(axis=0, keepdims=True) + auroc.mean()
    interaction = (residual**2).sum() / (r - 1)
    denominator = interaction + r * max(cov2 - cov3, 0)
    error = math.sqrt(2 / r * denominator)
    df = denominator**2 / (interaction**2 / (r - 1))
    difference = auroc[0].mean() - auroc[1].mean()
    return difference, error, df, 2 * stats.t.sf(abs(difference) / error, df)


@pytest.mark.parametrize("levels", [4, 1000], ids=["many ties", "few ties"])
def test_values_equal_the_printed_formulas(levels):
    rng = np.random.default_rng(levels)
    for readers in (2, 3, 6):
        y = np.array([1] * 9 + [0] * 14)
        patients = rng.normal(size=y.size) + y
        scores = np.round((patients + rng.normal(size=(2, readers, y.size))) * levels / 4)
        both = reader_scores(y, scores)
        a, b = (both._replace(auroc=both.auroc[i], deviations=both.deviations[i]) for i in (0, 1))
        difference, error, df, p = by_the_printed_formulas(y, scores)
        found = paired_readers(a, b)
        assert found[:3] == pytest.approx((difference, error, df), rel=1e-9)
        assert found.p_value == pytest.approx(p, rel=1e-9)
        assert found.interval == pytest.approx(stats.t.interval(0.95, df, difference, error), rel=1e-9)


def test_readers_of_their_own_are_compared_by_welchs_test_where_patients_add_nothing():
    """Without covariances, readers nested in modalities are two independent samples: Welch's t."""
    rng = np.random.default_rng(3)
    one, other = rng.normal(0.8, 0.02, 4), rng.normal(0.76, 0.05, 7)
    a, b = (ReaderScores(auroc, np.zeros((auroc.size, 2)), 30, 30) for auroc in (one, other))
    found, expected = nested_readers(a, b), stats.ttest_ind(one, other, equal_var=False)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.df == pytest.approx(expected.df)
    assert found.interval == pytest.approx(expected.confidence_interval(0.95))


def test_nested_readers_add_what_their_patients_share():
    a = with_covariances([0.8, 0.84, 0.79], 1, 4e-4, 1e-4)
    b = with_covariances([0.7, 0.75], 2, 6e-4, 1e-4)
    found = nested_readers(a, b)
    shares = [np.var(each.auroc, ddof=1) / each.auroc.size for each in (a, b)]
    total = sum(shares) + 4e-4 + 6e-4 - 2e-4
    assert found.standard_error == pytest.approx(math.sqrt(total))
    assert found.df == pytest.approx(total**2 / (shares[0] ** 2 / 2 + shares[1] ** 2 / 1))


def test_readers_that_do_not_vary_leave_the_normal_distribution():
    y = np.array([1] * 20 + [0] * 30)
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, y.size)) + y
    a, b = (reader_scores(y, np.stack([scores] * 3)) for scores in (first, second))
    found = paired_readers(a, b)
    assert math.isinf(found.df)
    assert found.p_value == pytest.approx(2 * stats.norm.sf(abs(found.estimate) / found.standard_error))
    assert one_modality(a).at_level(0.95) == pytest.approx(
        stats.norm.interval(0.95, a.auroc[0], math.sqrt((a.deviations[0] ** 2).sum()))
    )


def test_perfect_arms_have_an_interval_with_width_and_no_evidence():
    y = np.array([1] * 15 + [0] * 20)
    perfect = reader_scores(y, np.stack([y + 0.01 * np.arange(y.size), 3.0 * y]))
    found = paired_readers(perfect, perfect)
    assert (found.estimate, found.standard_error, found.p_value) == (0, 0, 1)
    assert found.interval.low < -0.05 < 0.05 < found.interval.high
    low, high = one_modality(perfect).interval
    assert 0.7 < low < 0.95
    assert high == 1
    constant = reader_scores(y, np.zeros((2, y.size)))
    against = paired_readers(perfect, constant)
    assert against.estimate == 0.5
    assert math.isnan(against.p_value)
    assert 0.2 < against.interval.low < 0.5 < against.interval.high < 0.8


def test_intervals_stay_within_their_range():
    y = np.array([1] * 4 + [0] * 5)
    rng = np.random.default_rng(0)
    for shift in (0, 2, 6):
        scores = reader_scores(y, rng.normal(size=(2, 3, y.size)) + shift * y)
        a, b = (scores._replace(auroc=scores.auroc[i], deviations=scores.deviations[i]) for i in (0, 1))
        for low, high in (one_modality(a).interval, one_modality(b).interval):
            assert 0 <= low < high <= 1
        for found in (paired_readers(a, b), nested_readers(a, b)):
            assert -1 <= found.interval.low <= found.estimate <= found.interval.high <= 1
