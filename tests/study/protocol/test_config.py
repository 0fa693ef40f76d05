"""Settings of a study: what cannot work, and words of the command line."""

from __future__ import annotations

import dataclasses

import pytest

from fastrad.errors import OptionError
from fastrad.study.protocol.config import CompareConfig, Tuning

PARSE = {each.name: each.metadata["parse"] for each in dataclasses.fields(CompareConfig) if "parse" in each.metadata}


@pytest.mark.parametrize(
    "wrong",
    [{"epochs": 0}, {"size": 8}, {"batch_size": 1}, {"patience": 0}, {"learning_rate": 0.0}, {"backbone_rate": 2.0}],
)
def test_tuning_that_cannot_work_is_refused(wrong):
    with pytest.raises(OptionError, match=next(iter(wrong)).split("_")[0]):
        Tuning(**wrong)


def test_a_study_has_a_seed(tmp_path):
    with pytest.raises(OptionError, match="--seeds 0"):
        CompareConfig(tmp_path, tmp_path, "weights", seeds=0)


def test_further_arms_have_a_name_and_weights():
    assert PARSE["arms"](("a=x.pth", "b=C:/y=z.pth")) == (("a", "x.pth"), ("b", "C:/y=z.pth"))
    for word in ("x.pth", "=x.pth", "a="):
        with pytest.raises(OptionError, match=r"--frozen .*: give NAME=WEIGHTS"):
            PARSE["frozen"]((word,))


def test_a_learning_curve_is_numbers_of_patients():
    assert PARSE["learning_curve"]("25, 50,all") == (25, 50)
    for text in ("", "25;50", "0", "-3", "2.5", "²"):
        with pytest.raises(OptionError, match="give numbers of patients"):
            PARSE["learning_curve"](text)
