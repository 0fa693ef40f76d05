"""What the numbers do and do not show, in sentences; and the notes that stand wherever they do."""

from __future__ import annotations

import math

from fastrad.study.inference.differences import FEWEST_FOR_A_TEST
from fastrad.study.inference.evaluation import StudyResult
from fastrad.study.report.notation import format_p

SYNTHETIC_NOTE = "Synthetic images: these numbers show that the software works and say nothing about patients."
INTERVAL_NOTE = (
    "Test AUROC with 95 % interval (DeLong, logit scale, t quantile): sampling of test patients, given the trained "
    "networks. A patient's score is the mean logit over images, folds and seeds. Cross-validated AUROC is that of "
    "the best epoch on each fold's own validation patients, hence slightly favourable. Differences: DeLong's paired "
    "test, p adjusted after Holm over the abstract's three pairs, and over all pairs with further arms apart."
)


def conclusion(study: dict, result: StudyResult) -> list[str]:
    """What the numbers do and do not show, in sentences."""
    labels = {arm["name"]: arm["label"] for arm in study["arms"]}
    sentences = [SYNTHETIC_NOTE] if study["synthetic"] else []
    malignant = int(result.labels.sum())
    few = min(malignant, len(result.labels) - malignant) < FEWEST_FOR_A_TEST
    if few:
        sentences.append(
            f"The test set has {malignant} malignant and {len(result.labels) - malignant} benign patients: with fewer "
            f"than {FEWEST_FOR_A_TEST} of either, DeLong's p is too small too often, so no difference is called shown."
        )
    for difference in result.differences:
        a, b = labels[difference.a], labels[difference.b]
        if math.isnan(difference.interval.low):
            sentences.append(f"{a} against {b}: no test exists, neither arm's scores vary within a class.")
            continue
        measured = (
            f"difference in test AUROC {difference.difference:+.3f}, "
            f"95 % interval {difference.interval.low:+.3f} to {difference.interval.high:+.3f}, "
            f"adjusted p {format_p(difference.holm_p_value)}"
        )
        if difference.shown:
            better, worse = (a, b) if difference.difference > 0 else (b, a)
            sentences.append(f"{better} was better than {worse} on these test patients ({measured}).")
        elif few or difference.interval.low <= 0 <= difference.interval.high:
            sentences.append(f"A difference between {a} and {b} was not shown ({measured}).")
        else:
            sentences.append(
                f"A difference between {a} and {b} was not shown once {difference.comparisons} comparisons are "
                f"allowed for ({measured})."
            )
    detectable = [difference.detectable for difference in result.differences if difference.detectable < 1]
    if detectable and not few:
        low, high = min(detectable), max(detectable)
        size = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        sentences.append(
            f"With {len(result.labels)} test patients, {malignant} of them malignant, a single comparison would find a "
            f"true difference of {size} in AUROC with 80 % power, and with less once several are allowed for; a "
            "smaller one may well be missed."
        )
    return sentences
