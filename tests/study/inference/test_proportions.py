"""Wilson's interval against the equation that it solves."""

from __future__ import annotations

import math

import pytest
from scipy import stats

from fastrad.study.inference.proportions import proportion, wilson_interval


@pytest.mark.parametrize(("successes", "trials"), [(0, 10), (3, 10), (10, 10), (44, 145), (1, 1)])
def test_wilsons_limits_lie_a_normal_quantile_from_the_estimate(successes, trials):
    """(p - t)^2 = z^2 t (1 - t) / n has two solutions t; where p is 0 or 1 one of them is p."""
    interval, z = wilson_interval(successes, trials), stats.norm.ppf(0.975)
    for limit in interval:
        assert (successes / trials - limit) ** 2 == pytest.approx(z**2 * limit * (1 - limit) / trials, abs=1e-12)
    assert 0 <= interval.low <= successes / trials <= interval.high <= 1
    assert interval.low < interval.high


def test_without_a_trial_nothing_is_known():
    found = proportion(0, 0)
    assert math.isnan(found.estimate)
    assert found.interval == (0, 1)
