"""Each sentence of the conclusion stands under the condition that makes it true."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastrad.study.inference.networks import NOTHING, NetworkDifference
from fastrad.study.inference.samples import Interval
from fastrad.study.report.conclusion import FILES_NOTE, SYNTHETIC_NOTE, conclusion
from fastrad.study.report.notation import estimate, format_p, range_text

ABOVE, ACROSS = Interval(0.1, 0.3), Interval(-0.1, 0.3)


def test_synthetic_comes_first(record, result):
    assert conclusion(record, result)[0] == SYNTHETIC_NOTE
    assert SYNTHETIC_NOTE not in conclusion({**record, "synthetic": False}, result)


def test_few_patients_are_said_and_nothing_is_detectable(record, result):
    sentences = conclusion(record, result)
    assert "The test set has 14 malignant and 18 benign patients: with fewer than 15" in sentences[1]
    assert not any("80 % power" in sentence for sentence in sentences)
    assert sum("was not shown (" in sentence for sentence in sentences) == len(result.differences)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shown": True}, "ImageNet was better than No transfer on these test patients (difference in one network's"),
        ({"shown": True, "difference": -0.2}, "No transfer was better than ImageNet on"),
        ({"networks": ACROSS}, "between ImageNet and No transfer was not shown (diff"),
        ({"holm": 0.06, "comparisons": 3}, "not shown once 3 comparisons are allowed for"),
        ({"folds": ACROSS}, "was not shown (difference in one network's test AUROC +0.200, 95 % interval -0.100 to"),
        (
            {"folds_holm": 0.06, "comparisons": 3},
            "0.300, the widest of networks, folds and patients alone, adjusted p 0.060",
        ),
        ({"bootstrap": ACROSS}, "was not shown: the bootstrap over patients, folds and seeds gives -0.100 to +0.300"),
        ({"p_value": float("nan")}, "ImageNet against No transfer: no test exists"),
    ],
)
def test_a_difference_is_said_as_it_is(record, enough, changes, said):
    sentences = conclusion(record, enough(**{"shown": False, **changes}))
    assert said in sentences[1]
    assert any(
        "With 32 test patients, 16 of them malignant and 4 networks an arm, a single comparison would find a true "
        "difference of 0.14" in sentence  # (1.960 + 0.842) * 0.05
        for sentence in sentences
    )


def test_a_second_random_start_that_differs_is_a_warning(record, enough):
    labels = {**record, "arms": [*record["arms"], {"name": "null", "label": "Second random start"}]}
    shown, not_shown = (
        conclusion(labels, enough(shown=each, networks=ABOVE if each else ACROSS, names=("null", "none")))[1]
        for each in (True, False)
    )
    assert "two random starts should not differ" in shown
    assert "Second random start and No transfer (negative control) was not shown" in not_shown


def test_one_seed_is_said_first_and_no_sentence_is_about_initialisation(record, result):
    alone = [replace(each, network=NetworkDifference(0.1, None, None, NOTHING)) for each in result.differences]
    sentences = conclusion(record, replace(result, differences=tuple(alone)))
    assert "One seed says nothing about initialisation" in sentences[2]
    assert sum("given the trained networks" in sentence for sentence in sentences) == len(alone)
    assert not any("was not shown (" in sentence for sentence in sentences)


@pytest.mark.parametrize(
    ("difference", "error", "said"),
    [
        (0.0, 0.01, "ImageNet and No transfer differ by less than the margin of 0.05 (two one-sided tests"),
        (0.06, 0.01, "ImageNet was not worse than No transfer by the margin of 0.05 or more"),
        (-0.06, 0.01, "No transfer was not worse than ImageNet by the margin of 0.05 or more"),
        (0.0, 0.1, "That ImageNet and No transfer differ by less than the margin of 0.05 was not shown"),
    ],
)
def test_a_margin_allows_the_sentence_of_its_tests(record, enough, difference, error, said):
    with_margin = {**record, "protocol": {**record["protocol"], "margin": 0.05}}
    found = enough(difference=difference, networks=ACROSS, shown=False)
    (one,) = found.differences
    own = one.network.networks._replace(standard_error=error)
    network = replace(one.network, networks=own, folds=own)
    sentences = conclusion(with_margin, replace(found, differences=(replace(one, network=network),)))
    assert said in sentences[2]
    assert not any("margin" in sentence for sentence in conclusion(record, found))


def test_thresholds_that_do_not_carry_over_are_named(record, result):
    arm = result.arms[0]
    every = arm.operating_point.sensitivity._replace(estimate=1.0, interval=Interval(0.9, 1.0))
    few = every._replace(estimate=0.6, interval=Interval(0.5, 0.7))
    parted = replace(
        arm,
        operating_point=arm.operating_point._replace(sensitivity=every),
        validation_point=arm.validation_point._replace(sensitivity=few),
    )
    sentences = conclusion(record, replace(result, arms=(parted, *result.arms[1:])))
    assert any("No transfer's sensitivity is 1.00 on the test set and was 0.60 on the" in each for each in sentences)


def test_arms_that_are_not_shown_to_beat_chance_are_named(record, result):
    lows = (0.5, 0.51, 0.3, 0.51)
    arms = tuple(
        replace(arm, networks=replace(arm.networks, interval=Interval(low, 0.9)), test_interval=Interval(0.51, 0.9))
        for arm, low in zip(result.arms, lows, strict=True)
    )
    said = conclusion(record, replace(result, arms=arms))
    found = [each for each in said if "chance:" in each]
    assert found == [
        "No transfer, RadImageNet were not shown to do better than chance: the 95 % interval of one network's test "
        "AUROC does not lie above 0.5."
    ]
    alone = [replace(each, network=NetworkDifference(0.1, None, None, NOTHING)) for each in result.differences]
    assert not any(
        "chance:" in each for each in conclusion(record, replace(result, arms=arms, differences=tuple(alone)))
    )


def test_one_weights_file_an_arm_and_shared_training_patients_are_said(record, result):
    *_, files, folds = conclusion(record, result)
    assert files.startswith("ImageNet, RadImageNet, my_frozen (frozen features) come from one weights file each")
    assert "this weights file" in files
    assert FILES_NOTE in files
    assert "two folds share none of theirs" in folds, "of two"
    five = {**record, "protocol": {**record["protocol"], "folds": 5}}
    assert "two folds share 75 % of theirs" in conclusion(five, result)[-1]
    arms = tuple(replace(arm, networks=replace(arm.networks, starts=3)) for arm in result.arms)
    assert not any("weights file" in sentence for sentence in conclusion(record, replace(result, arms=arms)))


def test_labels_with_commas_are_set_off_by_semicolons(record, result):
    small = "radimagenet layout, 9,000 images (--radimagenet)"
    arms = [{**arm, "label": small} if arm["name"] == "radimagenet" else arm for arm in record["arms"]]
    *_, files, _ = conclusion({**record, "arms": arms}, result)
    assert files.startswith(f"ImageNet; {small}; my_frozen (frozen features) come from")


@pytest.mark.parametrize(
    ("p", "text"), [(0.0005, "< 0.001"), (0.001, "0.001"), (0.0496, "0.050"), (1.0, "1.000"), (None, "undefined")]
)
def test_p_values_as_journals_print_them(p, text):
    assert format_p(p) == text
    assert format_p(float("nan")) == "undefined"


def test_estimates_and_ranges():
    assert estimate(0.7126, 0.64, 0.7815) == "0.713 (0.640 to 0.781)"
    assert estimate(-0.05, -0.1, 0.0, digits=2, sign="+") == "-0.05 (-0.10 to +0.00)"
    assert estimate(0.5, None, None) == "0.500"
    assert estimate(None, 0.0, 1.0) == "–"
    assert range_text(0.1, 0.25, ".2f") == "0.10 to 0.25"
    assert range_text(None, 0.25) == "undefined"
