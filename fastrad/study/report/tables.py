"""The study's table in the forms that people take away: Markdown, CSV, JSON.

In: the study's record (`study.json`) and its `StudyResult`. Out: texts. Every number comes from the one dictionary
of `table`, so that no two forms can differ.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence

from fastrad.study.inference.decision import Proportion
from fastrad.study.inference.evaluation import FEWEST_FOR_A_TEST, ArmResult, Difference, StudyResult
from fastrad.study.inference.statistics import Interval
from fastrad.study.protocol.arms import ABSTRACT_TEST_AUROC

SYNTHETIC_NOTE = "Synthetic images: these numbers show that the software works and say nothing about patients."
INTERVAL_NOTE = (
    "Test AUROC with 95 % interval (DeLong, logit scale, t quantile): sampling of test patients, given the trained "
    "networks. A patient's score is the mean logit over images, folds and seeds. Cross-validated AUROC is that of "
    "the best epoch on each fold's own validation patients, hence slightly favourable. Differences: DeLong's paired "
    "test, p adjusted after Holm over the abstract's three pairs, and over all pairs with further arms apart."
)


def table(
    study: dict, result: StudyResult, external: Sequence[StudyResult] = (), subgroups: Sequence[dict] = ()
) -> dict:
    """Everything printed, as JSON values; what is undefined is None.

    Parameters
    ----------
    study : dict
        `study.json`.
    result : StudyResult
    external : sequence of StudyResult
        One for each of the study's external datasets.
    subgroups : sequence of dict
        From `external.subgroups`.
    """
    labels = {arm["name"]: arm["label"] for arm in study["arms"]}
    return {
        "synthetic": study["synthetic"],
        "development": study["development"],
        "test": {**study["test"], "prevalence": _number(float(result.labels.mean()))},
        "folds": study["protocol"]["folds"],
        "seeds": study["protocol"]["seeds"],
        "arms": [_arm(labels[arm.arm], arm) for arm in result.arms],
        "differences": [_difference(labels, difference) for difference in result.differences],
        "external": [
            {
                **{name: about[name] for name in ("name", "patients", "images", "malignant", "synthetic")},
                "arms": [_arm(labels[arm.arm], arm) for arm in each.arms],
                "differences": [_difference(labels, difference) for difference in each.differences],
            }
            for about, each in zip(study["external"], external, strict=True)
        ],
        "subgroups": list(subgroups),
        "conclusion": conclusion(study, result),
    }


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


def format_p(p: float | None) -> str:
    """A p value as journals print it."""
    if p is None or math.isnan(p):
        return "undefined"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def to_json(values: dict) -> str:
    """`table.json`."""
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def to_csv(values: dict) -> str:
    """`table.csv`: one line an arm, numbers in full."""
    out = io.StringIO()
    shared = {
        "development_patients": values["development"]["patients"],
        "development_images": values["development"]["images"],
        "test_patients": values["test"]["patients"],
        "test_images": values["test"]["images"],
        "test_malignant": values["test"]["malignant"],
        "synthetic": values["synthetic"],
    }
    lines = []
    for arm in values["arms"]:
        line = {name: value for name, value in arm.items() if not isinstance(value, list | dict)}
        for rate in ("sensitivity", "specificity", "ppv", "npv"):
            line.update(
                {rate: arm[rate]["estimate"], f"{rate}_low": arm[rate]["low"], f"{rate}_high": arm[rate]["high"]}
            )
        lines.append({**line, **shared})
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def to_markdown(values: dict) -> str:
    """`table.md`, and what `compare` prints."""
    development, test = values["development"], values["test"]
    lines = [f"**{SYNTHETIC_NOTE}**", ""] if values["synthetic"] else []
    lines += [
        f"Held-out test set: {test['patients']} patients, {test['images']} images, {test['malignant']} patients "
        f"malignant. Cross-validation: {values['folds']} folds over {development['patients']} patients, "
        f"{development['images']} images, {development['malignant']} patients malignant; "
        f"{len(values['seeds'])} seed{'s' if len(values['seeds']) > 1 else ''}.",
        "",
    ]
    lines += _grid(
        ["Arm", "CV AUROC, mean (SD)", "Test AUROC (95 % interval)", "Abstract's test AUROC"],
        [
            [
                arm["label"],
                f"{arm['cv_auroc']:.3f} ({arm['cv_auroc_sd']:.3f})",
                f"{arm['test_auroc']:.3f} ({arm['test_auroc_low']:.3f} to {arm['test_auroc_high']:.3f})",
                "" if arm["abstract_test_auroc"] is None else f"{arm['abstract_test_auroc']:.2f}",
            ]
            for arm in values["arms"]
        ],
    )
    lines += [""]
    lines += _grid(
        ["Difference in test AUROC", "Estimate (95 % interval)", "p", "p, Holm", "Detectable at 80 % power"],
        [
            [
                f"{difference['a_label']} − {difference['b_label']}",
                _estimate(difference["difference"], difference["low"], difference["high"], sign="+"),
                format_p(difference["p_value"]),
                format_p(difference["holm_p_value"]),
                "–" if difference["detectable"] is None else f"{difference['detectable']:.3f}",
            ]
            for difference in values["differences"]
        ],
    )
    lines += [""]
    lines += _grid(
        ["Arm", "AUPRC", "Sensitivity", "Specificity", "PPV", "NPV", "Brier", "Calibration slope"],
        [
            [
                arm["label"],
                _estimate(arm["average_precision"], arm["average_precision_low"], arm["average_precision_high"]),
                *(
                    _estimate(arm[rate]["estimate"], arm[rate]["low"], arm[rate]["high"], digits=2)
                    for rate in ("sensitivity", "specificity", "ppv", "npv")
                ),
                f"{arm['brier']:.3f}",
                "–" if arm["calibration_slope"] is None else f"{arm['calibration_slope']:.2f}",
            ]
            for arm in values["arms"]
        ],
    )
    for external in values["external"]:
        lines += [
            "",
            f"External: {external['name']}, {external['patients']} patients, {external['images']} images, "
            f"{external['malignant']} patients malignant{', synthetic' if external['synthetic'] else ''}.",
            "",
        ]
        lines += _grid(
            ["Arm", "External AUROC (95 % interval)"],
            [
                [arm["label"], _estimate(arm["test_auroc"], arm["test_auroc_low"], arm["test_auroc_high"])]
                for arm in external["arms"]
            ],
        )
    if values["subgroups"]:
        lines += [""]
        lines += _grid(
            ["Test patients", "Malignant", *(arm["label"] for arm in values["arms"])],
            [
                [
                    f"{group['column']} {group['value']}: {group['patients']}",
                    str(group["malignant"]),
                    *(subgroup_text(group["arms"].get(arm["arm"])) for arm in values["arms"]),
                ]
                for group in values["subgroups"]
            ],
        )
    lines += [
        "",
        f"AUPRC: average precision; a random score gives the prevalence, {test['prevalence']:.3f}. Thresholds were "
        "fixed on the validation folds (largest Youden index). " + INTERVAL_NOTE,
        "",
        *(f"- {sentence}" for sentence in values["conclusion"]),
    ]
    return "\n".join(lines) + "\n"


def subgroup_text(arm: dict | None) -> str:
    """AUROC and interval of one arm in one subgroup."""
    return "too few" if arm is None else _estimate(arm["auroc"], arm["low"], arm["high"], digits=2)


def to_latex(values: dict) -> str:
    """`table.tex`: the main table and the differences, for `\\input`; needs the package booktabs."""
    lines = [f"% {SYNTHETIC_NOTE}"] if values["synthetic"] else []
    lines += [r"\begin{tabular}{lrrrrr}", r"\toprule"]
    lines += [
        r"Arm & Patients & Malignant & CV AUROC, mean (SD) & Test AUROC (95\,\% interval) & Abstract \\",
        r"\midrule",
    ]
    for arm in values["arms"]:
        cells = [
            _escaped(arm["label"]) + (" (synthetic)" if values["synthetic"] else ""),
            f"{values['development']['patients']} + {values['test']['patients']}",
            f"{values['development']['malignant']} + {values['test']['malignant']}",
            f"{arm['cv_auroc']:.3f} ({arm['cv_auroc_sd']:.3f})",
            _estimate(arm["test_auroc"], arm["test_auroc_low"], arm["test_auroc_high"]),
            "--" if arm["abstract_test_auroc"] is None else f"{arm['abstract_test_auroc']:.2f}",
        ]
        lines.append(" & ".join(cells) + r" \\")
    lines += [r"\midrule", r"Difference & & & $p$ & Estimate (95\,\% interval) & $p$, Holm \\", r"\midrule"]
    for each in values["differences"]:
        cells = [
            f"{_escaped(each['a_label'])} $-$ {_escaped(each['b_label'])}",
            "",
            "",
            _latex_p(each["p_value"]),
            _estimate(each["difference"], each["low"], each["high"], sign="+"),
            _latex_p(each["holm_p_value"]),
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_p(p: float | None) -> str:
    return format_p(p).replace("< ", "$<$ ")


def _escaped(text: str) -> str:
    """Arm names may hold underscores."""
    return text.replace("_", r"\_")


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _spread(name: str, interval: Interval) -> dict:
    return {f"{name}_low": _number(interval.low), f"{name}_high": _number(interval.high)}


def _rate(proportion: Proportion) -> dict:
    return {
        "estimate": _number(proportion.estimate),
        "low": proportion.interval.low,
        "high": proportion.interval.high,
        "successes": proportion.successes,
        "trials": proportion.trials,
    }


def _arm(label: str, arm: ArmResult) -> dict:
    point = arm.operating_point
    return {
        "arm": arm.arm,
        "label": label,
        "cv_auroc": arm.cv_auroc,
        "cv_auroc_sd": arm.cv_auroc_sd,
        "test_auroc": arm.test_auroc,
        **_spread("test_auroc", arm.test_interval),
        "abstract_test_auroc": ABSTRACT_TEST_AUROC.get(arm.arm),
        "average_precision": arm.average_precision,
        **_spread("average_precision", arm.average_precision_interval),
        "threshold": point.threshold,
        "sensitivity": _rate(point.sensitivity),
        "specificity": _rate(point.specificity),
        "ppv": _rate(point.ppv),
        "npv": _rate(point.npv),
        "brier": arm.brier,
        "calibration_slope": _number(arm.calibration.slope),
        "calibration_intercept": _number(arm.calibration.intercept),
        "calibration_in_the_large": _number(arm.calibration.intercept_at_slope_one),
        "seed_sd": _number(arm.seed_sd),
        "cv_auroc_by_seed_and_fold": arm.fold_auroc.tolist(),
        "test_auroc_by_seed_and_fold": arm.run_test_auroc.tolist(),
        "test_auroc_by_seed": arm.seed_test_auroc.tolist(),
    }


def _difference(labels: dict[str, str], difference: Difference) -> dict:
    return {
        "a": difference.a,
        "b": difference.b,
        "a_label": labels[difference.a],
        "b_label": labels[difference.b],
        "difference": difference.difference,
        "low": _number(difference.interval.low),
        "high": _number(difference.interval.high),
        **_spread("bootstrap", difference.bootstrap_interval),
        "standard_error": difference.standard_error,
        "p_value": _number(difference.p_value),
        "holm_p_value": _number(difference.holm_p_value),
        "detectable": _number(difference.detectable),
        "shown": difference.shown,
    }


def _estimate(value: float | None, low: float | None, high: float | None, digits: int = 3, sign: str = "") -> str:
    if value is None:
        return "–"
    form = f"{sign}.{digits}f"
    if low is None or high is None:
        return format(value, form)
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def _grid(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table with columns padded, so that it reads in a terminal too."""
    rows = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [head, *rows]
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return lines
