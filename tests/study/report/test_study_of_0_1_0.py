"""A study folder that 0.1.0 wrote is read, and gives its table again."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator

import pytest

from fastrad.errors import FormatError, InputError
from fastrad.study.report.page import write_report


def flat(value, path: tuple = ()) -> Iterator[tuple[tuple, object]]:
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flat(inner, (*path, key))
    else:
        yield path, value


# Since then thresholds, probabilities and what depends on them are of calibrated copies, and a difference is called
# shown, and the conclusion made, for other networks too.
CHANGED = {"threshold", "sensitivity", "specificity", "ppv", "npv", "brier", "calibration_slope", "shown", "conclusion"}
CHANGED |= {"calibration_intercept", "calibration_in_the_large"}
CHANGED |= {"abstract_test_auroc"}  # stands beside thyroid nodules alone; these are generated


def test_every_number_of_the_ensembles_is_the_same(kept, reported):
    found, expected = (dict(flat(json.loads((folder / "table.json").read_text()))) for folder in (reported, kept))
    compared = [path for path in expected if not CHANGED & set(path)]
    assert len(compared) > 200
    for path in compared:
        value = expected[path]
        assert found[path] == (pytest.approx(value, abs=1e-12) if isinstance(value, float) else value), path


def test_the_spreadsheet_has_its_columns_and_numbers(kept, reported):
    found, expected = (list(csv.DictReader((folder / "table.csv").open())) for folder in (reported, kept))
    assert set(expected[0]) <= set(found[0])
    for one, other in zip(found, expected, strict=True):
        for name, text in other.items():
            if name.removesuffix("_low").removesuffix("_high") in CHANGED:
                continue
            if name in ("arm", "label", "synthetic") or not text:
                assert one[name] == text
            else:
                assert float(one[name]) == pytest.approx(float(text), abs=1e-12), name


def test_a_record_without_a_margin_makes_no_statement_about_one(reported):
    values = json.loads((reported / "table.json").read_text())
    assert values["margin"] is None
    assert "within_margin" not in values["differences"][0]
    assert {arm["weights_files"] for arm in values["arms"]} == {1}


def test_nothing_of_the_folder_but_the_report_is_written(kept, reported):
    for path in kept.rglob("*.csv"):
        if path.name != "table.csv":
            assert (reported / path.relative_to(kept)).read_bytes() == path.read_bytes()
    assert (reported / "study.json").read_bytes() == (kept / "study.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "spoil", "reason"),
    [
        ("study.json", lambda content: content[:200], r"study\.json: cut short"),
        ("predictions.csv", lambda content: content[:-20], "cut short|empty fields"),
        ("predictions.csv", lambda content: content.replace(b"my_frozen", b"other"), "differ in the arm"),
        ("predictions.csv", lambda content: content.splitlines(keepends=True)[0], "has no rows"),
    ],
)
def test_a_damaged_folder_is_one_line_that_says_what_to_do(kept, tmp_path, name, spoil, reason):
    shutil.copytree(kept, tmp_path / "study")
    (tmp_path / "study" / name).write_bytes(spoil((kept / name).read_bytes()))
    with pytest.raises((FormatError, InputError), match=reason) as caught:
        write_report(tmp_path / "study")
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has no study\.json"):
        write_report(tmp_path)
