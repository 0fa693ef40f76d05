"""From predictions to numbers: averaging over images, folds and seeds; thresholds; what can't be compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fastrad.errors import InputError
from fastrad.study.inference.evaluation import evaluate

ARMS = ("none", "imagenet", "radimagenet")


def make_predictions(strength, *, patients=120, test=40, seeds=(0, 1), folds=5, rng_seed=0, shuffle_test_labels=False):
    """Logits of patients with one or two images; `strength` is each arm's separation of the classes."""
    rng = np.random.default_rng(rng_seed)
    labels = (np.arange(patients) % 3 == 0).astype(int)
    names = np.array([f"p{index:03d}" for index in range(patients)])
    images = [(patient, row) for row, patient in enumerate(np.concatenate((np.arange(patients), np.arange(20))))]
    fold_of = np.where(np.arange(patients) < test, -1, np.arange(patients) % folds)
    shown = labels.copy()
    if shuffle_test_labels:
        shown[:test] = rng.permutation(shown[:test])
    lines = []
    for arm in ARMS:
        for seed in seeds:
            for fold in range(folds):
                for patient, row in images:
                    if fold_of[patient] in (-1, fold):
                        set_ = "test" if fold_of[patient] == -1 else "val"
                        score = rng.normal() + strength[arm] * labels[patient] - 1
                        lines.append((arm, seed, fold, set_, names[patient], row, shown[patient], score))
    return pd.DataFrame(lines, columns=["arm", "seed", "fold", "set", "patient", "row", "label", "score"])


@pytest.fixture(scope="module")
def predictions():
    return make_predictions({"none": 0.2, "imagenet": 0.4, "radimagenet": 0.8})


def test_a_patients_score_is_the_mean_over_images_then_folds_then_seeds(predictions):
    result = evaluate(predictions)
    test = predictions[(predictions.arm == "imagenet") & (predictions.set == "test")]
    for patient, score in zip(result.patients, result.scores["imagenet"], strict=True):
        mine = test[test.patient == patient]
        by_seed = [
            np.mean([mine[(mine.seed == seed) & (mine.fold == fold)].score.mean() for fold in range(5)])
            for seed in (0, 1)
        ]
        assert score == pytest.approx(np.mean(by_seed))


def test_in_a_large_sample_bootstrap_and_delong_intervals_of_a_difference_agree():
    large = make_predictions({"none": 0.2, "imagenet": 0.4, "radimagenet": 0.8}, patients=900, test=600, seeds=(0,))
    for each in evaluate(large).differences:
        width = each.interval.high - each.interval.low
        assert each.bootstrap_interval == pytest.approx(each.interval, abs=0.06 * width)


def test_a_missing_score_is_refused_and_one_given_twice_too(predictions):
    """Else a patient's mean would be one over other networks, or weigh one of them more."""
    for set_ in ("test", "val"):
        one = predictions[predictions["set"] == set_].index[3]
        with pytest.raises(InputError, match="lack scores"):
            evaluate(predictions.drop(one))
        with pytest.raises(InputError, match="twice"):
            evaluate(pd.concat([predictions, predictions.loc[[one]]]))
    tested = predictions[predictions["set"] == "test"]
    one_fold = tested[(tested["row"] == tested["row"].iloc[0]) & (tested["fold"] == 2)]
    with pytest.raises(InputError, match="lack scores"):  # in every arm and seed
        evaluate(predictions.drop(one_fold.index))


def test_the_conclusion_counts_the_comparisons_that_holm_adjusts_for():
    predictions = make_predictions({"none": 0.0, "imagenet": 0.3, "radimagenet": 0.6})
    further = [
        predictions[predictions["arm"] == "imagenet"].assign(arm=name, score=lambda table: table["score"] * 0.9)
        for name in ("mine", "yours")
    ]
    for each in evaluate(pd.concat([predictions, *further])).differences:
        assert each.comparisons == (3 if {each.a, each.b} <= set(ARMS) else 7)


def test_cross_validated_auroc_is_that_of_each_runs_own_validation_patients(predictions):
    arm = evaluate(predictions).arm("radimagenet")
    expected = np.empty((2, 5))
    for seed in (0, 1):
        for fold in range(5):
            part = predictions.query("arm == 'radimagenet' and set == 'val' and seed == @seed and fold == @fold")
            means = part.groupby("patient")[["label", "score"]].mean()
            expected[seed, fold] = roc_auc_score(means.label, means.score)
    assert arm.fold_auroc == pytest.approx(expected)
    assert arm.cv_auroc == pytest.approx(expected.mean())
    assert arm.cv_auroc_sd == pytest.approx(expected.mean(axis=0).std(ddof=1))


def test_the_threshold_comes_from_validation_patients_alone(predictions):
    changed = predictions.copy()
    changed.loc[changed.set == "test", "label"] = 1 - changed.loc[changed.set == "test", "label"]
    for arm in ARMS:
        threshold = evaluate(predictions).arm(arm).operating_point.threshold
        assert evaluate(changed).arm(arm).operating_point.threshold == threshold


def test_seed_variance_is_apart_from_sampling_variance(predictions):
    arm = evaluate(predictions).arm("none")
    assert arm.seed_test_auroc.shape == (2,)
    assert arm.seed_sd == pytest.approx(np.std(arm.seed_test_auroc, ddof=1))
    assert np.isnan(evaluate(predictions[predictions.seed == 0]).arm("none").seed_sd)


def test_every_pair_is_compared_later_minus_earlier(predictions):
    result = evaluate(predictions)
    pairs = [(difference.a, difference.b) for difference in result.differences]
    assert pairs == [("imagenet", "none"), ("radimagenet", "none"), ("radimagenet", "imagenet")]
    for difference in result.differences:
        expected = result.arm(difference.a).test_auroc - result.arm(difference.b).test_auroc
        assert difference.difference == pytest.approx(expected)
        assert difference.holm_p_value >= difference.p_value
        assert difference.network_holm_p_value >= difference.network.networks.p_value


def test_equal_arms_are_never_shown_to_differ():
    result = evaluate(make_predictions(dict.fromkeys(ARMS, 0.5)).assign(score=lambda table: np.round(table.score, 1)))
    assert not any(difference.shown for difference in result.differences)


def test_a_large_planted_difference_is_shown_and_ranked():
    result = evaluate(make_predictions({"none": 0.0, "imagenet": 0.3, "radimagenet": 1.5}, patients=240, test=120))
    assert result.arm("none").test_auroc < result.arm("imagenet").test_auroc < result.arm("radimagenet").test_auroc
    assert next(each for each in result.differences if (each.a, each.b) == ("radimagenet", "none")).shown


def test_nothing_is_called_shown_on_fewer_than_fifteen_malignant_test_patients():
    strength = {"none": 0.0, "imagenet": 0.3, "radimagenet": 3.0}
    few = evaluate(make_predictions(strength, patients=240, test=42))  # 14 malignant, 28 benign
    enough = evaluate(make_predictions(strength, patients=240, test=43))
    few, enough = few.differences[1], enough.differences[1]
    assert few.network_holm_p_value < 0.05 > enough.network_holm_p_value
    assert few.network.excludes_zero
    assert enough.network.excludes_zero
    assert not few.shown
    assert enough.shown


def test_shuffled_test_labels_give_one_half_within_the_interval():
    inside = 0
    for seed in range(20):
        result = evaluate(
            make_predictions(dict.fromkeys(ARMS, 1.0), seeds=(0,), folds=2, rng_seed=seed, shuffle_test_labels=True)
        )
        inside += result.arm("imagenet").test_interval.low <= 0.5 <= result.arm("imagenet").test_interval.high
    assert inside >= 17


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda table: table.drop(columns="fold"), "no column fold"),
        (lambda table: table[(table.arm != "none") | (table.seed == 0)], "other seeds or folds"),
        (lambda table: table[(table.arm != "none") | (table.patient != "p000")], "tested on other patients"),
        (lambda table: table.assign(score=table.score.where(table.row != 3)), "have no score"),
    ],
)
def test_what_cannot_be_compared_is_refused(predictions, spoil, reason):
    with pytest.raises(InputError, match=reason):
        evaluate(spoil(predictions))


@pytest.mark.parametrize("set_", ["test", "val"])
def test_an_arm_without_scores_of_a_set_is_named(predictions, set_):
    lacking = predictions[(predictions["arm"] != "imagenet") | (predictions["set"] != set_)]
    with pytest.raises(InputError, match=f"no {set_} scores of the arm imagenet"):
        evaluate(lacking)
    with pytest.raises(InputError, match="no external scores of the arm none"):
        evaluate(predictions, "external")


def test_patients_with_both_labels_are_analysed_by_their_largest_image_too(predictions):
    assert evaluate(predictions, resamples=0).largest_image is None
    benign_image = (predictions["patient"] == "p000") & (predictions["row"] == 0)  # p000 is malignant in row 120
    both = predictions.assign(label=predictions["label"].where(~benign_image, 0))
    result = evaluate(both, resamples=0)
    assert result.labels[0] == 1
    found = result.largest_image
    assert found.patients == 1
    largest = both[both["set"] == "test"].groupby(["arm", "seed", "fold", "patient"])[["label", "score"]].max()
    means = [roc_auc_score(part["label"], part["score"]) for _, part in largest.loc["none"].groupby(["seed", "fold"])]
    assert found.arms["none"].auroc == pytest.approx(np.mean(means))
    assert found.arms["none"].auroc != result.arm("none").networks.auroc
    assert [(each.a, each.b) for each in found.differences] == [(each.a, each.b) for each in result.differences]
