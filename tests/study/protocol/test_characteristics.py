"""What is counted of a table of attributes: values, numbers, and nothing that could be a name."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastrad.study.protocol.attributes import attribute_columns, characteristics

HELD_OUT = np.arange(60) % 3 == 0  # twenty of sixty


def counted(values) -> list[dict]:
    return characteristics(pd.DataFrame({"column": [str(value) for value in values]}), HELD_OUT)


def test_values_are_counted_for_both_parts_and_what_is_not_known_is_said():
    values = ["f" if index % 2 else "m" for index in range(60)]
    values[0] = values[1] = "NA"
    lines = {line["value"]: (line["development"], line["test"]) for line in counted(values)}
    assert lines == {"f": (19, 10), "m": (20, 9), "unknown": (1, 1)}


def test_numbers_are_given_by_median_and_quartiles():
    ages = np.arange(60) + 20.5
    (line,) = counted(ages)
    low, median, high = np.quantile(ages[~HELD_OUT], [0.25, 0.5, 0.75])
    assert line["value"] == ""
    assert line["development"] == {"median": median, "low": low, "high": high, "known": 40}
    assert line["test"]["known"] == 20


def test_a_few_whole_numbers_are_categories():
    assert [line["value"] for line in counted(np.arange(60) % 3)] == ["0", "1", "2"]


@pytest.mark.parametrize(
    "values",
    [
        [f"Name{index}" for index in range(60)],
        [f"{1950 + index}-01-02" for index in range(60)],
        ["", *["only one"] * 1, *[""] * 58],
        [""] * 60,
    ],
)
def test_names_dates_and_rare_values_are_left_out_with_a_notice(values, capsys):
    assert counted(values) == []
    said = capsys.readouterr().err
    assert "notice: column column:" in said
    assert "is not counted" in said
    assert not any(value and value in said.replace("column column", "") for value in values)


def test_few_patients_with_as_many_names_are_not_counted():
    table = pd.DataFrame({"name": ["Ann", "Bea", "Cid", "Dan", "Eve", "Fay"], "sex": list("fmfmfm")})
    assert {line["column"] for line in characteristics(table, np.array([True, False] * 3))} == {"sex"}


def test_the_columns_of_a_table_are_those_beside_the_patient(tmp_path):
    (tmp_path / "people.csv").write_text("sex;patient;site\nf;p1;north\n", encoding="utf-16")
    assert attribute_columns(tmp_path / "people.csv") == ["sex", "site"]
