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

from fastrad.study.inference.equivalence import equivalence
from fastrad.study.inference.evaluation import evaluate
from fastrad.study.report.values import table_values, to_csv, to_json


def test_values_are_the_results(computed, result):
    for values, arm in zip(computed["arms"], result.arms, strict=True):
        assert values["test_auroc"] == arm.test_auroc
        assert [values["test_auroc_low"], values["test_auroc_high"]] == list(arm.test_interval)
        assert values["sensitivity"]["trials"] == result.labels.sum()
        assert values["specificity"]["trials"] == (1 - result.labels).sum()
        of_networks = np.array(values["test_auroc_by_seed_and_fold"])
        assert of_networks.shape == (2, 2)
        assert values["network_auroc"] == pytest.approx(of_networks.mean())
        assert values["network_auroc_sd"] == pytest.approx(of_networks.std(ddof=1))
        assert values["network_auroc_low"] < values["network_auroc"] < values["network_auroc_high"]
        assert values["ensemble_gain"] == values["test_auroc"] - values["network_auroc"]
    for values, each in zip(computed["differences"], result.differences, strict=True):
        assert (values["a"], values["b"]) == (each.a, each.b)
        found = each.network.networks
        assert values["network_difference"] == each.network.difference
        names = ("standard_error", "df", "low", "high", "p_value")
        expected = [found.standard_error, found.df, *found.interval, found.p_value]
        assert [values[f"network_{name}"] for name in names] == expected
        assert values["network_holm_p_value"] == each.network_holm_p_value
        assert values["folds_p_value"] == each.network.folds.p_value
        assert [values["hierarchical_low"], values["hierarchical_high"]] == list(each.network.bootstrap)


def test_no_cell_of_the_table_is_a_formula(computed):
    arm, *others = computed["arms"]
    text = to_csv({**computed, "arms": [{**arm, "label": '=HYPERLINK("http://x")'}, *others]})
    label, *_ = (line["label"] for line in csv.DictReader(io.StringIO(text)))
    assert label == '\'=HYPERLINK("http://x")'
    assert {line["synthetic"] for line in csv.DictReader(io.StringIO(text))} == {str(computed["synthetic"])}


def test_published_figures_stand_beside_thyroid_nodules_alone(record, result):
    thyroid = {**record, "external": [], "synthetic": False, "dataset": {**record["dataset"], "layout": "ddti"}}
    arms = table_values(thyroid, result)["arms"]
    assert [arm["abstract_test_auroc"] for arm in arms] == [0.74, 0.80, 0.84, None]
    assert [arm["journal_test_auroc"] for arm in arms] == [0.69, 0.79, 0.83, None]
    for changes in ({"synthetic": True}, {"dataset": {**record["dataset"], "layout": "folder"}}):
        for arm in table_values({**thyroid, **changes}, result)["arms"]:
            assert arm["abstract_test_auroc"] is arm["journal_test_auroc"] is None


def test_no_published_figure_stands_beside_weights_of_other_images(record, result):
    """A network of generated pictures is not ImageNet's; of a file that says nothing the option's word is taken."""
    thyroid = {**record, "external": [], "synthetic": False, "dataset": {**record["dataset"], "layout": "ddti"}}
    said = {
        "none": ("No transfer", "no images: random initialisation"),
        "imagenet": ("Synthetic (out of domain)", "8,000 synthetic images of 12 classes, folder layout"),
        "radimagenet": ("resnet.pth (--radimagenet)", "images that the file does not name"),
    }
    arms = [
        {**arm, "label": said[arm["name"]][0], "trained_on": said[arm["name"]][1]} if arm["name"] in said else arm
        for arm in record["arms"]
    ]
    found = table_values({**thyroid, "arms": arms}, result)["arms"]
    assert [arm["abstract_test_auroc"] for arm in found] == [0.74, None, 0.84, None]


def test_a_margin_is_tested_where_one_was_set(record, result):
    wide = {**record, "external": [], "protocol": {**record["protocol"], "margin": 0.49}}
    for values, each in zip(table_values(wide, result)["differences"], result.differences, strict=True):
        found = equivalence(each.network, 0.49)
        assert values["margin_p_value"] == found.p_value
        assert values["within_margin"] == found.equivalent


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
    assert difference["p_value"] is difference["holm_p_value"] is difference["detectable"] is None
    assert difference["low"] < 0.5 < difference["high"]
    names = ("standard_error", "df", "low", "high", "p_value", "holm_p_value", "detectable")
    assert [difference[f"network_{name}"] for name in names] == [None] * 7, "one seed"
    assert difference["network_difference"] == 0.5
    assert not difference["shown"]
    for arm in values["arms"]:
        assert arm["seed_sd"] is arm["calibration_slope"] is arm["calibration_slope_low"] is None
        assert arm["network_auroc_low"] is None
    assert json.loads(to_json(values), parse_constant=lambda word: pytest.fail(word)) == values
    assert any("One seed says nothing about initialisation" in sentence for sentence in values["conclusion"])


def test_two_seeds_of_perfect_and_constant_networks_have_no_test(record):
    lines = []
    for arm, seed, fold, set_, patient in itertools.product(
        ("none", "imagenet"), (0, 1), (0, 1), ("val", "test"), range(8)
    ):
        name, row = (
            (f"val{fold}{patient}", 100 * (fold + 1) + patient) if set_ == "val" else (f"test{patient}", patient)
        )
        label = patient % 2
        lines.append((arm, seed, fold, set_, name, row, label, float(label) if arm == "imagenet" else 0.0))
    predictions = pd.DataFrame(lines, columns=["arm", "seed", "fold", "set", "patient", "row", "label", "score"])
    values = table_values({**record, "external": []}, evaluate(predictions))
    (difference,) = values["differences"]
    assert difference["network_p_value"] is difference["network_holm_p_value"] is None
    assert difference["network_low"] < 0.5 < difference["network_high"]
    assert not difference["shown"]
    assert any("no test exists" in sentence for sentence in values["conclusion"])
    assert json.loads(to_json(values), parse_constant=lambda word: pytest.fail(word)) == values


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
