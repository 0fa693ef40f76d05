"""Which differences between arms count as shown: families of tests, power, and too few patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from binormal import paired_sample
from scipy import stats

from fastrad.study.inference.auroc import delong_test
from fastrad.study.inference.differences import FEWEST_FOR_A_TEST, detectable_difference, holm


def test_holm_equals_the_worked_definition():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    adjusted = holm([math.nan, 0.02, 0.01])
    assert math.isnan(adjusted[0])
    assert adjusted[1:] == pytest.approx([0.02, 0.02])


def test_detectable_difference_is_found_with_the_stated_power():
    rng = np.random.default_rng(8)
    difference = detectable_difference(0.045)
    z = rng.normal(difference, 0.045, 200_000) / 0.045
    assert np.mean(np.abs(z) > stats.norm.ppf(0.975)) == pytest.approx(0.8, abs=0.005)
    assert math.isnan(detectable_difference(0.0))


@pytest.mark.slow
@pytest.mark.parametrize(("malignant", "low", "high"), [(2, 0.11, 0.22), (FEWEST_FOR_A_TEST, 0.03, 0.07)])
def test_delongs_test_rejects_equal_arms_too_often_below_the_fewest_patients(malignant, low, high):
    rng = np.random.default_rng(7)
    rejected = 0
    for _ in range(2000):
        y, a, b = paired_sample(rng, malignant, 60, 0.75, 0.75, correlation=0.5)
        rejected += delong_test(y, a, b).p_value < 0.05
    assert low <= rejected / 2000 <= high
