"""Sample sizes against figures worked out elsewhere, simulated scores, and the study that the variances are from."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from test_networks import table

from fastrad.cli import cli
from fastrad.errors import OptionError
from fastrad.study.inference import power
from fastrad.study.inference.evaluation import evaluate
from fastrad.study.inference.multireader import reader_scores
from fastrad.study.inference.power import PowerQuestion, Variances

WORKED_OUT = {0.3: 1479, 0.5: 1084, 0.7: 687, 0.8: 476, 0.9: 257}  # 0.80 against 0.84, 30 % malignant, by simulation


def test_the_worked_out_numbers_of_patients_come_out():
    for row in power.answer(PowerQuestion())["rows"]:
        expected = WORKED_OUT[row["score_correlation"]]
        assert [each["patients"] for each in row["needed"]] == pytest.approx([expected] * 5, rel=0.02)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9, 1.0])
def test_the_bivariate_normal_is_scipys(correlation):
    for h, k in ((0.6, 0.7), (-1.2, 0.3), (0.0, 0.0), (2.5, 2.0)):
        covariance = [[1, correlation], [correlation, 1]]
        expected = stats.multivariate_normal([0, 0], covariance, allow_singular=True).cdf([h, k])
        assert power.bivariate_normal(h, k, correlation) == pytest.approx(expected, abs=1e-6)


def test_binormal_covariances_are_those_of_simulated_aurocs():
    rng, y = np.random.default_rng(0), np.repeat([1, 0], [60, 140])
    shift = math.sqrt(2) * stats.norm.ppf([0.8, 0.84])
    common = rng.normal(size=(4000, y.size))
    scores = np.stack(
        [math.sqrt(0.6) * common + math.sqrt(0.4) * rng.normal(size=common.shape) + shift[arm] * y for arm in (0, 1)]
    )
    aurocs = reader_scores(y, scores).auroc
    found = np.cov(aurocs)
    for i, j, correlation in ((0, 0, 1.0), (1, 1, 1.0), (0, 1, 0.6)):
        a, b = (0.8, 0.84)[i], (0.8, 0.84)[j]
        assert power.binormal_covariance(a, b, correlation, 60, 140) == pytest.approx(found[i, j], rel=0.08)


def test_the_power_is_that_of_simulated_studies():
    """Patients and networks drawn as the model has them; the test with Hillis's degrees of freedom."""
    variances, networks, patients, difference = Variances(0.02**2, 0.0, 0.35, 1.0), 10, 900, 0.045
    rng, found = np.random.default_rng(1), 0
    shared = 0.35 / patients
    for _ in range(4000):
        arms = rng.normal(0, 0.02, (2, networks)) + rng.normal(0, math.sqrt(shared), (2, 1))
        each = difference + arms[0] - arms[1]
        mean_square = each.var(ddof=1) / 2
        denominator = mean_square + networks * shared
        df = denominator**2 / (mean_square**2 / (networks - 1))
        found += abs(each.mean()) / math.sqrt(2 / networks * denominator) > stats.t.ppf(0.975, df)
    assert power.power_of(variances, difference, patients, networks) == pytest.approx(found / 4000, abs=0.025)


def test_one_patient_less_is_too_few():
    variances = Variances(0.01**2, 0.05, 0.3, 1.0)
    patients = power.patients_needed(variances, 0.05, 0.9, 15)
    assert power.power_of(variances, 0.05, patients, 15) >= 0.9 > power.power_of(variances, 0.05, patients - 1, 15)


def test_networks_that_vary_too_much_make_no_number_of_patients_enough():
    rows = power.answer(PowerQuestion(network_sd=0.05, networks=(5, 100), correlation=(0.5,)))["rows"]
    assert [each["patients"] is None for each in rows[0]["needed"]] == [True, False]


def test_a_finished_studys_variances_give_its_own_standard_error():
    result = evaluate(table({"none": 1, "imagenet": 1}, folds=4), resamples=0)
    a, b = (reader_scores(result.labels, result.networks[arm]).flat() for arm in ("imagenet", "none"))
    found = power.observed_variances(a, b)
    expected = result.differences[0].network.networks
    assert found.interaction > 0
    assert found.at(40, 12) == pytest.approx((expected.standard_error, expected.df))
    half, _ = found.at(80, 12)
    assert half == pytest.approx(math.sqrt(expected.standard_error**2 - found.residual / 12 - found.shared))
    row = power.answer(PowerQuestion(networks=(6,)), result)["rows"][0]
    assert row["standard_error"] == expected.standard_error
    assert row["score_correlation"] == result.differences[0].score_correlation
    assert [each["networks"] for each in row["needed"]] == [6, 12]


def test_a_large_difference_needs_as_many_patients_as_are_called_enough():
    (row,) = power.answer(PowerQuestion(difference=0.19, correlation=(0.9,), malignant=0.1, networks=(5,)))["rows"]
    assert row["needed"] == [{"networks": 5, "patients": 150}], "15 malignant ones"


def test_a_study_of_one_seed_says_nothing_of_networks():
    result = evaluate(table({"none": 1, "imagenet": 1}, seeds=1), resamples=0)
    with pytest.raises(OptionError, match="has one seed"):
        power.answer(PowerQuestion(), result)


@pytest.mark.parametrize(
    "words",
    [
        {"auroc": 0.98},
        {"difference": 0.0},
        {"correlation": (1.0,)},
        {"malignant": 1.5},
        {"power": 1.0},
        {"networks": (1,)},
    ],
)
def test_what_no_study_could_have_is_refused(words):
    with pytest.raises(OptionError):
        PowerQuestion(**words)


def test_the_command_prints_what_it_answers():
    runner = CliRunner()
    text = runner.invoke(cli, ["power", "--correlation", "0.7"]).output
    assert "r 0.7 (of the AUROCs 0.65): 697 patients" in text
    words = ["power", "--correlation", "0.7", "--network-sd", "0.02", "--networks", "5", "--networks", "15", "--json"]
    (row,) = json.loads(runner.invoke(cli, words).output)["rows"]
    assert row["needed"][0] == {"networks": 5, "patients": None}
    listed = runner.invoke(cli, words[:-1]).output
    assert f"  15 networks an arm: {row['needed'][1]['patients']} patients" in listed
    assert "  5 networks an arm: no number is enough" in listed


def test_a_studys_patients_that_seem_not_to_vary_give_no_number_of_patients():
    """The same scores in both arms but for which network has them: Cov2 - Cov3 is rounding, or below zero."""
    draw = np.random.default_rng(3)
    y = np.arange(40) % 2
    a = draw.normal(size=(6, 40)) + y
    one, other = reader_scores(y, a), reader_scores(y, a[::-1])
    assert power.observed_variances(one, other).shared == 0.0
    assert power.observed_variances(one, one) == (0.0, 0.0, 0.0, 40)
    result = evaluate(table({"none": 1, "imagenet": 1}, folds=4), resamples=0)
    (row,) = power.answer(PowerQuestion(), result)["rows"]
    assert row["patients_vary"]
    same = {**result.networks, "imagenet": result.networks["none"][:, ::-1]}
    (row,) = power.answer(PowerQuestion(), replace(result, networks=same))["rows"]
    assert not row["patients_vary"]
    assert row["needed"] == []
