"""A table of predictions holds finite scores; what else stands there is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastrad.errors import FormatError
from fastrad.study.predictions import PREDICTION_COLUMNS, read_predictions


def table(folder: Path, *scores: str, columns=PREDICTION_COLUMNS) -> Path:
    lines = [f"none,0,0,test,p{row},{row},0,{score}" for row, score in enumerate(scores, start=40)]
    path = folder / "predictions.csv"
    path.write_text("\n".join([",".join(columns), *lines]) + "\n")
    return path


@pytest.mark.parametrize("score", ["inf", "-inf", "Infinity", "1e999", "-1e999"])
def test_infinite_scores_are_refused_with_their_row(tmp_path, score):
    sign = "-" if score.startswith("-") else ""
    expected = rf"predictions\.csv: line 3 \(row 41\): the score {sign}inf is not finite \(1 lines"
    with pytest.raises(FormatError, match=expected):
        read_predictions(table(tmp_path, "0.5", score, "1.5"))


@pytest.mark.parametrize("score", ["nan", "NaN", "NA", "-nan", "null", "high"])
def test_what_is_no_number_is_refused_with_its_row(tmp_path, score):
    with pytest.raises(FormatError, match=r"line 4 \(row 42\): the score is no number \(2 lines") as caught:
        read_predictions(table(tmp_path, "0.5", "1", score, score))
    assert "convert" not in str(caught.value), "not the words of a library"


def test_a_column_that_is_missing_is_named(tmp_path):
    with pytest.raises(FormatError, match="has no column score"):
        read_predictions(table(tmp_path, "0.5", columns=(*PREDICTION_COLUMNS[:-1], "logit")))


def test_large_finite_scores_are_kept(tmp_path):
    assert read_predictions(table(tmp_path, "1e300", "-0.0"))["score"].tolist() == [1e300, 0.0]
