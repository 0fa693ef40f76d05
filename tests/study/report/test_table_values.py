"""The one dictionary of a study's numbers, and its forms for machines."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest

from fastrad.study.inference.evaluation import evaluate
from fastrad.study.report.values import table_values, to_csv, to_json


def test_values_are_the_results(computed, result):
    for values, arm in zip(computed["arms"], result.arms, strict=True):
        assert values["test_auroc"] == arm.test_auroc
        assert [values["test_auroc_low"], values["test_auroc_high"]] == list(arm.test_interval)
        assert values["sensitivity"]["trials"] == result.labels.sum()
        assert values["specificity"]["trials"] == (1 - result.labels).sum()
        assert np.array(values["test_auroc_by_seed_and_fold"]).shape == (2, 2)
    assert [arm["abstract_test_auroc"] for arm in computed["arms"]] == [0.74, 0.80, 0.84, None]
    assert [(each["a"], each["b"]) for each in computed["differences"]] == [
        (each.a, each.b) for each in result.differences
    ]


def test_what_is_undefined_is_null_and_never_nan(record):
    """A perfect arm, a constant one, one seed: no p, no calibration, no SD over seeds."""
    lines = []
    for arm, fold, set_, patient in itertools.product(("none", "imagenet"), (0, 1), ("val", "test"), range(8)):
        name, row = (
            (f"val{fold}{patient}", 100 * (fold + 1) + patient) if set_ == "val" else (f"test{patient}", patient)
        )
        label = patient % 2
        lines.append((arm, 0, fold, set_, name, row, label, float(label) if arm == "imagenet" else 0.0))
    predictions = pd.DataFrame(lines, columns=["arm", "seed", "fold", "set", "patient", "row", "label", "score"])
    values = table_values({**record, "external": []}, evaluate(predictions))
    (difference,) = values["differences"]
    assert difference["difference"] == 0.5
    assert difference["p_value"] is difference["holm_p_value"] is difference["low"] is difference["detectable"] is None
    assert not difference["shown"]
    for arm in values["arms"]:
        assert arm["seed_sd"] is arm["calibration_slope"] is None
    assert json.loads(to_json(values), parse_constant=lambda word: pytest.fail(word)) == values
    assert any("no test exists" in sentence for sentence in values["conclusion"])


def test_every_cell_of_the_spreadsheet_is_the_value(computed):
    lines = list(csv.DictReader(io.StringIO(to_csv(computed))))
    assert [line["arm"] for line in lines] == [arm["arm"] for arm in computed["arms"]]
    for line, arm in zip(lines, computed["arms"], strict=True):
        for name, text in line.items():
            rate, _, limit = name.rpartition("_")
            if name in ("sensitivity", "specificity", "ppv", "npv"):
                expected = arm[name]["estimate"]
            elif rate in ("sensitivity", "specificity", "ppv", "npv"):
                expected = arm[rate][limit]
            elif name in arm:
                expected = arm[name]
            elif name == "synthetic":
                expected = computed["synthetic"]
            else:
                part, _, count = name.partition("_")
                expected = computed[part][count]
            assert text == ("" if expected is None else str(expected)), name
        assert "test_auroc_by_seed" not in line, "lists have no cell"


def test_numbers_are_written_in_full(computed):
    line = next(csv.DictReader(io.StringIO(to_csv(computed))))
    assert float(line["cv_auroc_sd"]) == computed["arms"][0]["cv_auroc_sd"]
    assert not math.isnan(float(line["brier"]))
