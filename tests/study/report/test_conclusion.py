"""Each sentence of the conclusion stands under the condition that makes it true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fastrad.study.inference.samples import Interval
from fastrad.study.report.conclusion import SYNTHETIC_NOTE, conclusion
from fastrad.study.report.notation import estimate, format_p, range_text


@pytest.fixture
def enough(result):
    """The result as if half of 32 test patients were malignant; one difference, as a test sets it."""

    def with_difference(**changes):
        labels = np.arange(32) % 2
        return replace(result, labels=labels, differences=(replace(result.differences[0], **changes),))

    return with_difference


def test_synthetic_comes_first(record, result):
    assert conclusion(record, result)[0] == SYNTHETIC_NOTE
    assert SYNTHETIC_NOTE not in conclusion({**record, "synthetic": False}, result)


def test_few_patients_are_said_and_nothing_is_detectable(record, result):
    sentences = conclusion(record, result)
    assert "The test set has 14 malignant and 18 benign patients: with fewer than 15" in sentences[1]
    assert not any("80 % power" in sentence for sentence in sentences)
    assert sum("was not shown (" in sentence for sentence in sentences) == len(result.differences)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shown": True, "difference": 0.2, "interval": Interval(0.1, 0.3)}, "ImageNet was better than No transfer on"),
        ({"shown": True, "difference": -0.2, "interval": Interval(-0.3, -0.1)}, "No transfer was better than ImageNet"),
        ({"difference": 0.1, "interval": Interval(-0.1, 0.3)}, "between ImageNet and No transfer was not shown (diff"),
        ({"interval": Interval(0.01, 0.3), "comparisons": 3}, "not shown once 3 comparisons are allowed for"),
        ({"interval": Interval(float("nan"), float("nan"))}, "ImageNet against No transfer: no test exists"),
    ],
)
def test_a_difference_is_said_as_it_is(record, enough, changes, said):
    sentences = conclusion(record, enough(**{"shown": False, "detectable": 0.123, **changes}))
    assert said in sentences[1]
    assert (
        "With 32 test patients, 16 of them malignant, a single comparison would find a true difference of 0.12"
        in (sentences[2])
    )


@pytest.mark.parametrize(
    ("p", "text"), [(0.0005, "< 0.001"), (0.001, "0.001"), (0.0496, "0.050"), (1.0, "1.000"), (None, "undefined")]
)
def test_p_values_as_journals_print_them(p, text):
    assert format_p(p) == text
    assert format_p(float("nan")) == "undefined"


def test_estimates_and_ranges():
    assert estimate(0.7126, 0.64, 0.7815) == "0.713 (0.640 to 0.781)"
    assert estimate(-0.05, -0.1, 0.0, digits=2, sign="+") == "-0.05 (-0.10 to +0.00)"
    assert estimate(0.5, None, None) == "0.500"
    assert estimate(None, 0.0, 1.0) == "–"
    assert range_text(0.1, 0.25, ".2f") == "0.10 to 0.25"
    assert range_text(None, 0.25) == "undefined"
