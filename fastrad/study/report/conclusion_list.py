"""The sentences that `conclusion.py` makes, as a list for readers: what stands in braces is a name or a number."""

from __future__ import annotations

from typing import NamedTuple

from fastrad.study.report.conclusion import FILES_NOTE


class Conclusion(NamedTuple):
    """One sentence of the conclusion, and when it is made; of several alternatives in `[a|b]` one is printed."""

    text: str
    condition: str


_MEASURED = (
    "(difference in one network's test AUROC {difference}, 95 % interval {low} to {high}, the widest of networks, "
    "folds and patients alone, adjusted p {p})"
)

CONCLUSIONS = (
    Conclusion(
        "Synthetic images: these numbers show that the software works and say nothing about patients.",
        "the dataset's card says synthetic",
    ),
    Conclusion(
        "The test set has {m} malignant and {n} benign patients: with fewer than 15 of either, DeLong's p is too small "
        "too often, so no difference is called shown.",
        "a class has fewer than 15 test patients",
    ),
    Conclusion(
        "One seed says nothing about initialisation: another seed gives other networks. No difference is called shown; "
        "intervals and p below hold for these trained networks alone.",
        "there is one seed",
    ),
    Conclusion(
        "{a} and {b}: the ensembles' test AUROC differed by {difference} (95 % interval {low} to {high}, adjusted p "
        "{p}, given the trained networks).",
        "of each pair, with one seed",
    ),
    Conclusion(
        "{a} against {b}: no test exists, neither arm's scores vary within a class.",
        "of each pair without a standard error, with several seeds",
    ),
    Conclusion(
        f"{{a}} was better than {{b}} on these test patients {_MEASURED}.",
        "of each pair, with several seeds: the intervals with networks and folds as readers and the bootstrap exclude "
        "zero, both p are below 0.05 after Holm, and each class has 15 test patients",
    ),
    Conclusion(
        f"{{a}} was better than {{b}} (negative control) on these test patients {_MEASURED}: two random starts should "
        "not differ, so trust no other difference here.",
        "the same, of two arms without transfer",
    ),
    Conclusion(
        f"A difference between {{a}} and {{b}}[ (negative control)|] was not shown {_MEASURED}.",
        "of each pair, with several seeds: the wider interval holds zero, or a class has fewer than 15 test patients; "
        "a control is a pair without transfer",
    ),
    Conclusion(
        "A difference between {a} and {b}[ (negative control)|] was not shown once {comparisons} comparisons are "
        f"allowed for {_MEASURED}.",
        "of each pair, with several seeds: the interval excludes zero, and p after Holm is 0.05 or more",
    ),
    Conclusion(
        "A difference between {a} and {b}[ (negative control)|] was not shown: the bootstrap over patients, folds and "
        f"seeds gives {{low}} to {{high}} {_MEASURED}.",
        "of each pair, with several seeds: only the bootstrap's interval holds zero",
    ),
    Conclusion(
        "{a} and {b} differ by less than the margin of {margin} (two one-sided tests, p {p}).",
        "of each pair, with --margin and several seeds: both one-sided p are below 0.05",
    ),
    Conclusion(
        "{a} was not worse than {b} by the margin of {margin} or more (one-sided p {p}); that the two are equivalent "
        "was not shown.",
        "of each pair, with --margin and several seeds: one of the one-sided p is below 0.05",
    ),
    Conclusion(
        "That {a} and {b} differ by less than the margin of {margin} was not shown (p {p}).",
        "of each pair, with --margin and several seeds: neither one-sided p is below 0.05",
    ),
    Conclusion(
        "{count} test [patients have|patient has] benign and malignant images and [count|counts] as malignant. With "
        "the largest instead of the mean score over a patient's images, one network's difference is: {changes}.",
        "a test patient has images of both classes",
    ),
    Conclusion(
        "{arm}'s [sensitivity|specificity] is {tested} on the test set and was {validated} on the validation folds, "
        "where its threshold was fixed: the threshold does not carry over.",
        "of each arm and rate whose intervals on test set and validation folds do not overlap by chance alone",
    ),
    Conclusion(
        "{arms} [was|were] not shown to do better than chance: the 95 % interval of [the ensemble's|one network's] "
        "test AUROC does not lie above 0.5.",
        "of the arms whose interval begins at 0.5 or below; of the ensemble's with one seed",
    ),
    Conclusion(
        "With {count} test patients, {m} of them malignant[ and {networks} networks an arm|], a single comparison "
        "would find a true difference of {size} in AUROC with 80 % power, and with less once several are "
        "allowed for; a smaller one may well be missed.",
        "each class has 15 test patients, and a standard error is known",
    ),
    Conclusion(
        "{arms} [comes from one weights file: what is said of it|come from one weights file each: what is said of "
        f"them] is said of this weights file, not of others that were pretrained alike[; {FILES_NOTE}|].",
        "an arm starts from one weights file; what was simulated, with several seeds",
    ),
    Conclusion(
        "In no interval here: all networks learned from the same development patients (two folds share {share} of "
        "theirs), so that another sample of training patients may differ more than they do.",
        "there are several seeds",
    ),
)
