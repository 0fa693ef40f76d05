"""What the numbers do and do not show, in sentences; and the notes that stand wherever they do."""

from __future__ import annotations

import math

from fastrad.study.inference.differences import FEWEST_FOR_A_TEST, Difference
from fastrad.study.inference.equivalence import equivalence
from fastrad.study.inference.evaluation import StudyResult
from fastrad.study.report.notation import enumerated, format_p

SYNTHETIC_NOTE = "Synthetic images: these numbers show that the software works and say nothing about patients."
INTERVAL_NOTE = (
    "One network: mean test AUROC over all networks of an arm (each seed and fold), SD over them; the 95 % interval "
    "is for other networks and other test patients (Obuchowski and Rockette with Hillis's degrees of freedom, the "
    "widest of networks and folds as readers and of these very networks). Its differences: networks as readers, and "
    "beside them folds, because intervals and p of networks alone are too favourable where an arm suits the training "
    "patients of one fold more than those of another (simulated: 95 % intervals that cover 68 to 91 %); p adjusted "
    "after Holm over the abstract's three pairs, and over all pairs with further arms apart. One is shown only if "
    "both, the interval of these very networks for other patients, and a bootstrap over patients, folds and seeds "
    "exclude zero. Ensemble: the mean logit over images, folds and seeds, with DeLong's 95 % interval (logit scale, t "
    "quantile): sampling of test patients, given the trained networks."
)
EPOCH_NOTE = (
    "Cross-validated AUROC of an arm that is tuned is that of the epoch that was chosen on the same validation "
    "patients, which favours it; the same networks' mean test AUROC stands beside it."
)
PUBLISHED_NOTE = (
    "The published figures are of thyroid nodules of other patients (abstract: 145 of 721; journal: JACR 2024, 101 "
    "test patients): they stand beside arms whose weights may be of that kind, to compare the order. "
)
FILES_NOTE = (  # cell 14 of tools/simulate_study.py
    "where such files differ by SD 0.03 in AUROC, equal ways of pretraining came out as different in 12.5 % of "
    "simulated studies"
)
RANDOM_STARTS = ("none", "null")  # arms that start from no file: every network is another start


def conclusion(study: dict, result: StudyResult) -> list[str]:
    """What the numbers do and do not show, in sentences."""
    labels = {arm["name"]: arm["label"] for arm in study["arms"]}
    sentences = [SYNTHETIC_NOTE] if study["synthetic"] else []
    malignant = int(result.labels.sum())
    few = min(malignant, len(result.labels) - malignant) < FEWEST_FOR_A_TEST
    one_seed = any(each.network.networks is None for each in result.differences)
    if few:
        sentences.append(
            f"The test set has {malignant} malignant and {len(result.labels) - malignant} benign patients: with fewer "
            f"than {FEWEST_FOR_A_TEST} of either, DeLong's p is too small too often, so no difference is called shown."
        )
    if one_seed:
        sentences.append(
            "One seed says nothing about initialisation: another seed gives other networks. No difference is called "
            "shown; intervals and p below hold for these trained networks alone."
        )
    sentences += [_of_difference(labels, each, few) for each in result.differences]
    margin = study["protocol"].get("margin")
    if margin is not None and not one_seed:
        sentences += [_of_margin(labels, each, margin) for each in result.differences]
    sentences += _of_largest_image(labels, result)
    sentences += _of_thresholds(labels, result)
    sentences += _of_chance(labels, result, one_seed)
    sentences += _of_power(result, few, one_seed)
    return sentences + _uncovered(labels, result, 0 if one_seed else study["protocol"]["folds"])


def _of_difference(labels: dict[str, str], difference: Difference, few: bool) -> str:
    a, b = labels[difference.a], labels[difference.b]
    network, folds = difference.network.networks, difference.network.folds
    if network is None or folds is None:
        return (
            f"{a} and {b}: the ensembles' test AUROC differed by {difference.difference:+.3f} (95 % interval "
            f"{difference.interval.low:+.3f} to {difference.interval.high:+.3f}, adjusted p "
            f"{format_p(difference.holm_p_value)}, given the trained networks)."
        )
    if math.isnan(network.p_value) or math.isnan(folds.p_value):
        return f"{a} against {b}: no test exists, neither arm's scores vary within a class."
    interval = difference.network.interval
    adjusted = max(difference.network_holm_p_value, difference.folds_holm_p_value)
    measured = (
        f"difference in one network's test AUROC {difference.network.difference:+.3f}, "
        f"95 % interval {interval.low:+.3f} to {interval.high:+.3f}, the widest of networks, folds and patients alone, "
        f"adjusted p {format_p(adjusted)}"
    )
    control = " (negative control)" if {difference.a, difference.b} == set(RANDOM_STARTS) else ""
    if difference.shown:
        better, worse = (a, b) if difference.network.difference > 0 else (b, a)
        warning = ": two random starts should not differ, so trust no other difference here" if control else ""
        return f"{better} was better than {worse}{control} on these test patients ({measured}){warning}."
    not_shown = f"A difference between {a} and {b}{control} was not shown"
    if few or interval.low <= 0 <= interval.high:
        return f"{not_shown} ({measured})."
    if adjusted >= 0.05:
        return f"{not_shown} once {difference.comparisons} comparisons are allowed for ({measured})."
    bootstrap = difference.network.bootstrap
    return (
        f"{not_shown}: the bootstrap over patients, folds and seeds gives {bootstrap.low:+.3f} to "
        f"{bootstrap.high:+.3f} ({measured})."
    )


def _of_margin(labels: dict[str, str], difference: Difference, margin: float) -> str:
    a, b = labels[difference.a], labels[difference.b]
    found = equivalence(difference.network, margin)
    if found.equivalent:
        tests = f"two one-sided tests, p {format_p(found.p_value)}"
        return f"{a} and {b} differ by less than the margin of {margin:g} ({tests})."
    for one, other, p in ((a, b, found.p_above), (b, a, found.p_below)):
        if p < 0.05:
            return (
                f"{one} was not worse than {other} by the margin of {margin:g} or more (one-sided p {format_p(p)}); "
                "that the two are equivalent was not shown."
            )
    return f"That {a} and {b} differ by less than the margin of {margin:g} was not shown (p {format_p(found.p_value)})."


def _of_largest_image(labels: dict[str, str], result: StudyResult) -> list[str]:
    if result.largest_image is None:
        return []
    changes = [
        f"{labels[one.a]} − {labels[one.b]} {other.network.difference:+.3f} instead of {one.network.difference:+.3f}"
        for one, other in zip(result.differences, result.largest_image.differences, strict=True)
    ]
    count = result.largest_image.patients
    return [
        f"{count} test patient{'s have' if count > 1 else ' has'} benign and malignant images and "
        f"{'count' if count > 1 else 'counts'} as malignant. With the largest instead of the mean score over a "
        f"patient's images, one network's difference is: {'; '.join(changes)}."
    ]


def _of_thresholds(labels: dict[str, str], result: StudyResult) -> list[str]:
    found = []
    for arm in result.arms:
        for rate in arm.parted:
            tested, known = getattr(arm.operating_point, rate), getattr(arm.validation_point, rate)
            found.append(
                f"{labels[arm.arm]}'s {rate} is {tested.estimate:.2f} on the test set and was {known.estimate:.2f} on "
                "the validation folds, where its threshold was fixed: the threshold does not carry over."
            )
    return found


def _of_chance(labels: dict[str, str], result: StudyResult, one_seed: bool) -> list[str]:
    """The arms whose interval does not lie above 0.5: among networks that learned nothing no start is better."""
    found = [
        labels[arm.arm] for arm in result.arms if (arm.test_interval if one_seed else arm.networks.interval).low <= 0.5
    ]
    if not found:
        return []
    whose = "the ensemble's" if one_seed else "one network's"
    return [
        f"{enumerated(found)} {'was' if len(found) == 1 else 'were'} not shown to do better than chance: the 95 % "
        f"interval of {whose} test AUROC does not lie above 0.5."
    ]


def _of_power(result: StudyResult, few: bool, one_seed: bool) -> list[str]:
    found = [each.detectable if one_seed else each.network.detectable for each in result.differences]
    detectable = [value for value in found if value < 1]
    if few or not detectable:
        return []
    low, high = min(detectable), max(detectable)
    size = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
    sizes = sorted({arm.run_test_auroc.size for arm in result.arms})
    with_networks = "" if one_seed else f" and {' to '.join(map(str, {sizes[0]: 0, sizes[-1]: 0}))} networks an arm"
    return [
        f"With {len(result.labels)} test patients, {int(result.labels.sum())} of them malignant{with_networks}, a "
        f"single comparison would find a true difference of {size} in AUROC with 80 % power, and with less once "
        "several are allowed for; a smaller one may well be missed."
    ]


def _uncovered(labels: dict[str, str], result: StudyResult, folds: int) -> list[str]:
    """What no interval here holds; `folds` is 0 where the intervals are of the trained networks alone."""
    single = [labels[arm.arm] for arm in result.arms if arm.arm not in RANDOM_STARTS and arm.networks.starts == 1]
    sentences = []
    if single:
        each = (
            "comes from one weights file: what is said of it"
            if len(single) == 1
            else ("come from one weights file each: what is said of them")
        )
        simulated = f"; {FILES_NOTE}" if folds else ""
        sentences.append(
            f"{enumerated(single)} {each} is said of this weights file, not of others that were pretrained "
            f"alike{simulated}."
        )
    if folds:
        share = "none" if folds == 2 else f"{100 * (folds - 2) / (folds - 1):.0f} %"
        sentences.append(
            f"In no interval here: all networks learned from the same development patients (two folds share {share} of "
            "theirs), so that another sample of training patients may differ more than they do."
        )
    return sentences
