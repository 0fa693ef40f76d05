"""Networks, folds and weights files of an arm: which of them are the readers, and what one seed leaves unsaid."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fastrad.errors import InputError
from fastrad.study.inference import multireader
from fastrad.study.inference.auroc import structural_components
from fastrad.study.inference.bootstrap import resample_counts
from fastrad.study.inference.equivalence import equivalence
from fastrad.study.inference.evaluation import evaluate
from fastrad.study.inference.hierarchical import mean_aurocs
from fastrad.study.inference.multireader import reader_scores
from fastrad.study.inference.networks import arm_networks, network_difference, score_correlation
from fastrad.study.inference.samples import Interval

PATIENTS = 40


def table(starts: dict[str, int], seeds: int = 3, folds: int = 2, rng_seed: int = 0) -> pd.DataFrame:
    """Predictions of arms with so many weights files each; 20 malignant and 20 benign test patients."""
    rng = np.random.default_rng(rng_seed)
    common, lines = rng.normal(size=PATIENTS), []
    for arm, files in starts.items():
        for start, seed, fold in itertools.product(range(files), range(seeds), range(folds)):
            shift = 1 + rng.normal(0, 0.3)
            for patient in range(PATIENTS):
                score = common[patient] + rng.normal() + shift * (patient % 2)
                lines.append((arm, seed, fold, "test", f"t{patient}", patient, patient % 2, score, start))
            for patient in range(12):
                score = rng.normal() + shift * (patient % 2)
                lines.append(
                    (arm, seed, fold, "val", f"v{fold}-{patient}", 100 + 20 * fold + patient, patient % 2, score, start)
                )
    names = ["arm", "seed", "fold", "set", "patient", "row", "label", "score", "start"]
    return pd.DataFrame(lines, columns=names)


def readers(result, arm):
    return multireader.reader_scores(result.labels, result.networks[arm])


def test_a_table_without_starts_is_one_of_one_file_an_arm():
    predictions = table({"none": 1, "imagenet": 1})
    with_column, without = (evaluate(each, resamples=0) for each in (predictions, predictions.drop(columns="start")))
    assert with_column.differences[0].network == without.differences[0].network
    assert with_column.scores["none"] == pytest.approx(without.scores["none"], abs=0)
    assert without.networks["none"].shape == (1, 3, 2, PATIENTS)


def test_with_one_file_the_networks_are_the_readers_and_pair_the_arms():
    result = evaluate(table({"none": 1, "imagenet": 1}), resamples=0)
    network = result.differences[0].network
    a, b = readers(result, "imagenet").flat(), readers(result, "none").flat()
    assert a.auroc.shape == (6,)
    assert network.networks == multireader.paired_readers(a, b)
    means = [result.networks[arm].mean(axis=(0, 1)) for arm in ("imagenet", "none")]
    assert [each.shape for each in means] == [(2, PATIENTS)] * 2
    by_fold = [readers(result, arm).auroc.mean(axis=(0, 1)) for arm in ("imagenet", "none")]
    assert network.folds.readers == pytest.approx(np.var(by_fold[0] - by_fold[1], ddof=1) / 2)  # 2/r * MS(TxR), r = 2
    assert network.folds.estimate == pytest.approx(network.networks.estimate)
    assert result.arm("none").networks.sd == pytest.approx(np.std(result.arm("none").run_test_auroc, ddof=1))


def test_several_weights_files_are_a_random_factor_nested_in_their_arm():
    result = evaluate(table({"none": 1, "imagenet": 1, "radimagenet": 4}), resamples=0)
    files = result.networks["radimagenet"]
    assert files.shape == (4, 3, 2, PATIENTS)
    found = next(each for each in result.differences if (each.a, each.b) == ("radimagenet", "imagenet")).network
    by_file = readers(result, "radimagenet").auroc.mean(axis=(1, 2))
    alone = readers(result, "imagenet").auroc.ravel()
    shares = [np.var(by_file, ddof=1) / 4, np.var(alone, ddof=1) / 6]
    assert found.networks.estimate == pytest.approx(by_file.mean() - alone.mean())
    assert found.networks.readers == pytest.approx(sum(shares))
    error = found.networks.standard_error
    assert found.networks.df == pytest.approx(error**4 / (shares[0] ** 2 / 3 + shares[1] ** 2 / 5))
    assert result.arm("radimagenet").networks.starts == 4
    assert result.arm("radimagenet").run_test_auroc.shape == (12, 2)
    assert result.scores["radimagenet"] == pytest.approx(files.mean(axis=(0, 1, 2)))


def test_files_that_differ_widen_the_interval_and_files_that_do_not_leave_it():
    """Four files whose true AUROCs lie apart: a single file of the arm would have hidden it."""
    predictions = table({"imagenet": 1, "radimagenet": 4}, seeds=4, folds=5)
    moved = predictions["score"] + predictions["label"] * (predictions["arm"] == "radimagenet") * (
        predictions["start"] - 1.5
    )
    same, apart = (
        evaluate(each, resamples=0).differences[0].network for each in (predictions, predictions.assign(score=moved))
    )
    assert apart.networks.standard_error > 2 * same.networks.standard_error
    assert apart.networks.df < 5


def test_one_seed_says_nothing_about_initialisation():
    result = evaluate(table({"none": 1, "imagenet": 1}, seeds=1), resamples=50)
    (difference,) = result.differences
    assert difference.network.networks is difference.network.folds is None
    assert math.isnan(difference.network_holm_p_value)
    assert math.isnan(difference.network.bootstrap.low)
    assert not difference.shown
    assert math.isnan(result.arm("none").networks.interval.low)
    assert difference.p_value < 1, "the ensembles have their test"


def test_other_seeds_of_one_file_are_refused():
    predictions = table({"none": 1, "radimagenet": 2})
    with pytest.raises(InputError, match="weights file 1 of the arm radimagenet has other seeds or folds"):
        evaluate(predictions[(predictions["start"] == 0) | (predictions["seed"] < 2)])
    with pytest.raises(InputError, match="lack scores"):
        evaluate(
            predictions.drop(index=predictions.index[(predictions["start"] == 1) & (predictions["set"] == "test")][3])
        )


def test_the_hierarchical_bootstrap_equals_networks_and_patients_drawn_one_by_one():
    """Its mean and spread, against a plain loop over draws."""
    result = evaluate(table({"none": 1, "imagenet": 3}, seeds=2, folds=3), resamples=0)
    y = result.labels
    drawn = mean_aurocs(y, result.networks, resample_counts(y, repetitions=4000))
    rng, plain = np.random.default_rng(8), []
    malignant, benign = np.flatnonzero(y == 1), np.flatnonzero(y == 0)
    scores = result.networks
    for _ in range(1500):
        rows = np.concatenate([rng.choice(malignant, malignant.size), rng.choice(benign, benign.size)])
        networks = [(seed, fold) for fold in rng.choice(3, 3) for seed in rng.choice(2, 2)]
        files = {"none": [0], "imagenet": rng.choice(3, 3)}
        means = []
        for arm in ("imagenet", "none"):
            chosen = np.stack([scores[arm][file, seed, fold] for file in files[arm] for seed, fold in networks])
            means.append(multireader.reader_scores(y[rows], chosen[:, rows]).auroc.mean())
        plain.append(means)
    for arm, values in zip(("imagenet", "none"), np.array(plain).T, strict=True):
        assert drawn[arm].mean() == pytest.approx(values.mean(), abs=0.01)
        assert drawn[arm].std() == pytest.approx(values.std(), rel=0.1)
    one, other = drawn["imagenet"] - drawn["none"], np.subtract(*np.array(plain).T)
    assert one.std() == pytest.approx(other.std(), rel=0.1)


def test_the_bootstrap_without_networks_to_draw_is_that_of_patients():
    y = np.array([1] * 10 + [0] * 15)
    scores = np.random.default_rng(2).normal(size=y.size) + y
    counts = resample_counts(y, repetitions=200)
    found = mean_aurocs(y, {"none": np.stack([scores] * 4).reshape(1, 2, 2, -1)}, counts)["none"]
    rows = [np.repeat(np.arange(y.size), count) for count in counts.astype(int)]
    expected = [multireader.reader_scores(y[row], scores[row][None]).auroc[0] for row in rows]
    assert found == pytest.approx(expected)


def test_two_one_sided_tests_are_both_analyses_at_the_margin():
    result = evaluate(table({"none": 1, "imagenet": 1}, folds=5), resamples=0)
    network = result.differences[0].network
    for margin in (0.001, 0.2, 0.49):
        found = equivalence(network, margin)
        within = [each.at_level(0.90) for each in (network.networks, network.folds)]
        inside = all(-margin < interval.low and interval.high < margin for interval in within)
        assert found.equivalent == inside
    assert not equivalence(network, 0.001).equivalent
    assert equivalence(network, 0.49).equivalent
    one_seed = evaluate(table({"none": 1, "imagenet": 1}, seeds=1), resamples=0).differences[0].network
    assert not equivalence(one_seed, 0.49).equivalent


def test_score_correlation_is_within_classes():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 5000)
    common = rng.normal(size=y.size)
    a, b = (math.sqrt(0.7) * common + math.sqrt(0.3) * rng.normal(size=y.size) for _ in range(2))
    assert score_correlation(y, a + 3 * y, 5 * b + 20 * y) == pytest.approx(0.7, abs=0.02)
    assert math.isnan(score_correlation(y, a, np.zeros(y.size)))


def test_all_three_intervals_and_both_holms_are_needed():
    result = evaluate(table({"none": 1, "imagenet": 1}), resamples=0)
    found = network_difference(readers(result, "imagenet"), readers(result, "none"))
    above, across = Interval(0.01, 0.2), Interval(-0.01, 0.2)
    one, other = (found.networks._replace(interval=each) for each in (above, across))
    found = replace(found, given=found.given._replace(interval=above))
    assert replace(found, networks=one, folds=one, bootstrap=above).excludes_zero
    assert not replace(found, networks=one, folds=one, bootstrap=above, given=other).excludes_zero
    for networks, folds, bootstrap in ((other, one, above), (one, other, above), (one, one, across)):
        assert not replace(found, networks=networks, folds=folds, bootstrap=bootstrap).excludes_zero
    down = found.networks._replace(interval=Interval(-0.2, -0.01))
    assert not replace(found, networks=one, folds=down, bootstrap=above).excludes_zero


def test_no_interval_is_narrower_than_that_of_these_very_networks():
    """Four equal networks: Hillis's reader variance is zero, and folds too; DeLong's of the one network remains."""
    draw = np.random.default_rng(4)
    y = (np.arange(40) % 2).astype(np.int64)
    noise = draw.normal(0, 1, (1, 2, 2, 40))
    found = arm_networks(reader_scores(y, noise + 0.5 * y))
    alone = [structural_components(y, each) for each in (noise + 0.5 * y).reshape(4, 40)]
    malignant = np.mean([each.malignant[0] for each in alone], axis=0)
    benign = np.mean([each.benign[0] for each in alone], axis=0)
    error = np.sqrt(malignant.var(ddof=1) / 20 + benign.var(ddof=1) / 20)
    reach = 1.959964 * error / (found.auroc * (1 - found.auroc))
    logit = np.log(found.auroc / (1 - found.auroc))
    low, high = 1 / (1 + np.exp(-(logit - reach))), 1 / (1 + np.exp(-(logit + reach)))
    assert found.interval.low <= low + 1e-6
    assert found.interval.high >= high - 1e-6


def test_a_difference_of_fixed_networks_is_that_of_the_mean_deviations_and_bounds_a_margin():
    """Patients' variance of the mean difference, from DeLong's components; a margin within its reach is not claimed."""
    draw = np.random.default_rng(7)
    y = (np.arange(40) % 2).astype(np.int64)
    a, b = (reader_scores(y, draw.normal(0, 1, (1, 2, 2, 40)) + shift * y) for shift in (0.6, 0.5))
    found = network_difference(a, b)
    alone = [each.deviations.reshape(4, 40).mean(axis=0) for each in (a, b)]
    error = math.sqrt(((alone[0] - alone[1]) ** 2).sum())
    assert found.given.standard_error == pytest.approx(error)
    low, high = found.difference - 1.959964 * error, found.difference + 1.959964 * error
    assert found.interval.low <= low + 1e-6
    assert found.interval.high >= high - 1e-6
    narrow = found.networks._replace(standard_error=1e-4, df=math.inf)
    alike = replace(found, networks=narrow, folds=narrow)
    margin = abs(found.difference) + error
    assert equivalence(replace(alike, given=None), margin).equivalent
    assert not equivalence(alike, margin).equivalent, "one standard error away, p is 0.16"


def test_an_undefined_test_makes_a_margin_undefined_in_whatever_order():
    draw = np.random.default_rng(7)
    y = (np.arange(40) % 2).astype(np.int64)
    found = network_difference(*(reader_scores(y, draw.normal(0, 1, (1, 2, 2, 40)) + y) for _ in range(2)))
    still = found.networks._replace(standard_error=0.0)
    for networks, folds in ((found.networks, still), (still, found.folds)):
        assert math.isnan(equivalence(replace(found, networks=networks, folds=folds), 0.9).p_value)
