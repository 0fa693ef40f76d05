"""Two one-sided tests: whether a difference lies within a margin that was fixed before.

Source: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 1987;15:657.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from fastrad.study.inference.multireader import Contrast, below
from fastrad.study.inference.networks import NetworkDifference


class Equivalence(NamedTuple):
    """What a margin D says of one difference, at 5 % one-sided each; networks, folds and patients alone must say it.

    `p_above` is that of the difference being -D or less, `p_below` that of it being D or more (the largest of the
    three analyses'); NaN with one seed. `equivalent`: both are below 0.05, the difference is within (-D, D).
    """

    margin: float
    p_above: float
    p_below: float

    @property
    def p_value(self) -> float:
        """The larger of the two; NaN where one is."""
        return _largest(self.p_above, self.p_below)

    @property
    def equivalent(self) -> bool:
        """Within the margin, on both sides."""
        return self.p_value < 0.05


def equivalence(difference: NetworkDifference, margin: float) -> Equivalence:
    """Both one-sided tests of one difference against a margin above zero."""
    if difference.networks is None or difference.folds is None:
        return Equivalence(margin, math.nan, math.nan)
    analyses = [difference.networks, difference.folds]
    if difference.given is not None and difference.given.standard_error > 0:  # at zero the other two are the wider
        analyses.append(difference.given)
    return Equivalence(
        margin,
        _largest(*(_above(each, -margin) for each in analyses)),
        _largest(*(_above(each._replace(estimate=-each.estimate), -margin) for each in analyses)),
    )


def _largest(*p_values: float) -> float:
    """Python's `max` would drop a NaN that comes second, and with it a test that does not exist."""
    return math.nan if any(map(math.isnan, p_values)) else max(p_values)


def _above(found: Contrast, limit: float) -> float:
    """p of the estimate's truth being `limit` or less."""
    if found.standard_error == 0:
        return math.nan  # nothing varies: neither patients nor networks say how far the truth may be
    return below(found.df, (limit - found.estimate) / found.standard_error)
