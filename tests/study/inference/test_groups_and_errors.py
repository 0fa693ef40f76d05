"""Subgroups, the learning curve and the most confident errors, against a few patients counted by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from fastrad.study.inference.confident_errors import PER_ARM, confident_errors
from fastrad.study.inference.evaluation import evaluate
from fastrad.study.inference.learning_curve import learning_curve
from fastrad.study.inference.subgroups import subgroups


@pytest.fixture(scope="module")
def predictions():
    """Twenty test patients with two images each (rows 2p and 2p + 1), eight validation patients a fold."""
    rng = np.random.default_rng(3)
    lines = []
    for arm, fold in itertools.product(("none", "imagenet"), (0, 1)):
        images = [("test", f"t{row // 2:02d}", row, row // 2 % 2) for row in range(40)]
        images += [("val", f"v{fold}{patient}", 100 + 10 * fold + patient, patient % 2) for patient in range(8)]
        lines += [(arm, 0, fold, *image, rng.normal(image[-1])) for image in images]
    return pd.DataFrame(lines, columns=["arm", "seed", "fold", "set", "patient", "row", "label", "score"])


@pytest.fixture(scope="module")
def result(predictions):
    return evaluate(predictions)


def test_a_subgroup_is_scored_on_its_own_patients(result):
    site = pd.DataFrame({"site": ["a", "b", "", "c"] * 5}, index=result.patients)
    site.iloc[4:, 0] = site.iloc[4:, 0].replace("c", "a")  # one patient is left in c
    groups = {group["value"]: group for group in subgroups(result, site.iloc[::-1])}
    assert list(groups) == ["unknown", "a", "b", "c"]
    assert sum(group["patients"] for group in groups.values()) == 20
    inside = (site["site"] == "a").to_numpy()
    assert groups["a"]["malignant"] == result.labels[inside].sum()
    for arm in ("none", "imagenet"):
        found = groups["a"]["arms"][arm]
        assert found["auroc"] == pytest.approx(roc_auc_score(result.labels[inside], result.scores[arm][inside]))
        assert found["low"] < found["auroc"] < found["high"]
    (difference,) = groups["a"]["differences"]
    expected = groups["a"]["arms"][difference["a"]]["auroc"] - groups["a"]["arms"][difference["b"]]["auroc"]
    assert difference["difference"] == pytest.approx(expected)
    assert difference["low"] < expected < difference["high"]
    assert difference["network_low"] is None, "one seed"
    assert groups["c"]["differences"] == []


def test_a_subgroups_difference_is_that_of_one_network_among_its_patients(predictions):
    other = predictions.assign(seed=1, score=predictions["score"] + 0.3 * np.sin(np.arange(len(predictions))))
    both = pd.concat([predictions, other])
    result = evaluate(both, resamples=0)
    site = pd.DataFrame({"site": ["a", "b", "b", "a"] * 5}, index=result.patients)
    (difference,) = next(group for group in subgroups(result, site) if group["value"] == "a")["differences"]
    inside = both[(both["set"] == "test") & both["patient"].map(site["site"]).eq("a")]
    alone = evaluate(pd.concat([inside, both[both["set"] == "val"]]), resamples=0).differences[0].network
    assert difference["network_difference"] == pytest.approx(alone.difference)
    assert (difference["network_low"], difference["network_high"]) == pytest.approx(alone.networks.interval)


def test_nothing_is_said_of_a_group_with_one_patient_of_a_class(result):
    alone = pd.DataFrame({"site": ["a"] * 19 + ["b"]}, index=result.patients)
    assert [(group["value"], bool(group["arms"])) for group in subgroups(result, alone)] == [("a", True), ("b", False)]


def test_patients_that_the_table_does_not_name_are_unknown(result):
    some = pd.DataFrame({"sex": ["f"] * 12}, index=result.patients[:12])
    assert [(group["value"], group["patients"]) for group in subgroups(result, some)] == [("unknown", 8), ("f", 12)]


def test_a_point_of_the_learning_curve_is_the_auroc_of_the_folds_together(predictions):
    fewer = predictions.assign(patients=4, score=predictions["score"] + predictions["row"] % 3)
    points = learning_curve(pd.concat([predictions.assign(patients=8), fewer]))
    assert [(point["arm"], point["patients"]) for point in points] == [
        ("imagenet", 4), ("imagenet", 8), ("none", 4), ("none", 8)
    ]  # fmt: skip
    test = fewer[(fewer["set"] == "test") & (fewer["arm"] == "none")].groupby("patient")[["label", "score"]].mean()
    assert points[2]["auroc"] == pytest.approx(roc_auc_score(test["label"], test["score"]))
    assert points[2]["low"] < points[2]["auroc"] < points[2]["high"]


def test_errors_are_the_worst_first_and_shown_by_the_image_that_speaks_for_them(predictions, result):
    found = confident_errors(result, predictions)
    assert {error.arm for error in found} == {"none", "imagenet"}
    for arm in ("none", "imagenet"):
        mine = [error for error in found if error.arm == arm]
        test = predictions[(predictions["set"] == "test") & (predictions["arm"] == arm)]
        patients = test.groupby("patient")[["label", "score"]].mean()
        wrong = patients[(patients["score"] > 0) != (patients["label"] == 1)]
        assert len(mine) == min(PER_ARM, len(wrong))
        given = [error.probability if error.label else 1 - error.probability for error in mine]
        assert given == sorted(given)
        assert all(value < 0.5 for value in given)
        for error in mine:
            patient = test.loc[test["row"] == error.row, "patient"].iloc[0]
            assert error.probability == pytest.approx(expit(patients.loc[patient, "score"]))
            images = test[test["patient"] == patient].groupby("row")["score"].mean()
            assert error.row == (images.idxmin() if error.label else images.idxmax())


def test_an_arm_without_an_error_has_none(predictions, result):
    perfect = predictions.assign(score=2 * predictions["label"] - 1)
    assert confident_errors(evaluate(perfect), perfect) == []
