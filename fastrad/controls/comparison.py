"""From the test patients' scores to differences with intervals, and to what a reader is told.

In: scores by network, (sets of training patients, test patients). Out: numbers in JSON's types, and a Markdown table.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from fastrad.controls.plan import CONTRASTS, NETWORKS, QUESTION, ControlsPlan


@dataclass(frozen=True)
class Contrast:
    """The difference between two networks' AUROCs, mean over the sets of training patients.

    Attributes
    ----------
    upper, lower : str
        Keys of `NETWORKS`.
    difference, standard_error, df, low, high, p_value : float
        With a 95 % interval from Student's t; p is two-sided and not corrected.
    """

    upper: str
    lower: str
    difference: float
    standard_error: float
    df: float
    low: float
    high: float
    p_value: float


def contrast(
    upper: str, lower: str, labels: NDArray[np.int64], a: NDArray[np.float64], b: NDArray[np.float64]
) -> Contrast:
    """Compare two networks whose scores were fitted on the same sets of training patients.

    The variance has two parts: of the test patients, from DeLong's components averaged over the sets (DeLong et al.,
    Biometrics 1988;44:837), and of the training patients, from the differences' variance between the disjoint sets.
    The degrees of freedom are Satterthwaite's (Biometrics Bulletin 1946;2:110).

    Parameters
    ----------
    labels : int array, (patients,)
    a, b : float arrays, (sets, patients)
    """
    from scipy.special import stdtr, stdtrit

    from fastrad.study.inference.auroc import structural_components

    ours, theirs = structural_components(labels, *a), structural_components(labels, *b)
    of_sets = ours.auroc - theirs.auroc
    parts = []
    for above, below in ((ours.malignant, theirs.malignant), (ours.benign, theirs.benign)):
        averaged = (above - below).mean(0)
        parts.append((averaged.var(ddof=1) / averaged.size, averaged.size - 1))
    parts.append((of_sets.var(ddof=1) / of_sets.size, of_sets.size - 1))
    variance = sum(part for part, _ in parts)
    df = variance**2 / sum(part**2 / freedom for part, freedom in parts) if variance else math.inf
    difference, error = float(of_sets.mean()), math.sqrt(variance)
    half = float(stdtrit(df, 0.975)) * error if variance else 0.0
    p_value = 2 * float(stdtr(df, -abs(difference) / error)) if variance else math.nan
    return Contrast(upper, lower, difference, error, float(df), difference - half, difference + half, p_value)


def report(labels: NDArray[np.int64], scores: dict[str, NDArray[np.float64]], plan: ControlsPlan) -> dict:
    """Everything that was found of the frozen networks, in JSON's types."""
    found = compared(labels, scores)
    same, again = found["contrasts"][:2]
    return {
        "plan": asdict(plan),
        "test_patients": len(labels),
        "malignant": int(labels.sum()),
        **found,
        "positive_control": same["low"] > plan.least_advantage,
        "negative_control": again["low"] <= 0 <= again["high"]
        and max(-again["low"], again["high"]) <= plan.least_advantage,
    }


def compared(labels: NDArray[np.int64], scores: dict[str, NDArray[np.float64]]) -> dict:
    """Each network's AUROC over the sets, and the differences between them, in JSON's types.

    Parameters
    ----------
    labels : int array, (patients,)
    scores : dict of str to float array, (sets, patients)
    """
    from fastrad.study.inference.auroc import structural_components
    from fastrad.study.inference.differences import holm

    contrasts = [contrast(upper, lower, labels, scores[upper], scores[lower]) for upper, lower in CONTRASTS]
    aurocs = {name: structural_components(labels, *of_sets).auroc for name, of_sets in scores.items()}
    corrected = holm([each.p_value for each in contrasts[QUESTION]])
    return {
        "auroc": {name: {"mean": float(each.mean()), "sd": float(each.std(ddof=1))} for name, each in aurocs.items()},
        "contrasts": [asdict(each) for each in contrasts],
        "holm_p_values": {
            f"{each.upper} - {each.lower}": p_value
            for each, p_value in zip(contrasts[QUESTION], corrected, strict=True)
        },
    }


def table(found: dict) -> str:
    """The result for a reader, as Markdown."""
    plan = found["plan"]
    lines = [
        f"{found['test_patients']} test patients ({found['malignant']} malignant), generated images; mean over "
        f"{plan['sets']} disjoint sets of {plan['set_patients']} training patients.",
        "",
        *_tables(found, "frozen"),
    ]
    least = plan["least_advantage"]
    for name, what in (
        ("positive_control", f"the task itself over random weights, lower limit above {least:g}"),
        ("negative_control", f"two random starts, an interval that holds 0 and lies within {least:g}"),
    ):
        lines += ["", f"{name.replace('_', ' ').capitalize()} ({what}): {'passed' if found[name] else 'FAILED'}."]
    if not found["negative_control"]:
        lines += [
            "",
            "Each network is one start, and the intervals hold for these very networks: what random starts differ by "
            "among themselves is not in them. A difference about as large as that between the two random starts may "
            "come from the start alone.",
        ]
    if "tuned" in found:
        said = "; ".join(f"{NETWORKS[name]}: {', '.join(each)}" for name, each in found["tuned"]["recipes"].items())
        lines += [
            "",
            f"Tuned on the first {plan['tuned_sets']} sets, each network by the recipe that a search within the set "
            "chose (part of no control):",
            "",
            *_tables(found["tuned"], "tuned"),
            "",
            f"Recipes chosen, a set each: {said}.",
        ]
    return "\n".join(lines)


def _tables(found: dict, how: str) -> list[str]:
    """The lines of two tables: AUROCs, and differences."""
    lines = [
        f"| network, {how} | AUROC, mean | SD over sets |",
        "| --- | --- | --- |",
        *(f"| {NETWORKS[name]} | {each['mean']:.3f} | {each['sd']:.3f} |" for name, each in found["auroc"].items()),
        "",
        "| difference | AUROC | 95 % interval | p | Holm's p |",
        "| --- | --- | --- | --- | --- |",
    ]
    for each in found["contrasts"]:
        name = f"{each['upper']} - {each['lower']}"
        holm_p = found["holm_p_values"].get(name)
        shown = "" if holm_p is None else f"{holm_p:.2g}"
        interval = f"{each['low']:+.3f} to {each['high']:+.3f}"
        lines.append(f"| {name} | {each['difference']:+.3f} | {interval} | {each['p_value']:.2g} | {shown} |")
    return lines
