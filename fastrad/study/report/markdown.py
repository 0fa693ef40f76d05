"""`table.md`, and what `compare` prints."""

from __future__ import annotations

from fastrad.study.report.conclusion import EPOCH_NOTE, INTERVAL_NOTE, PUBLISHED_NOTE, SYNTHETIC_NOTE
from fastrad.study.report.notation import estimate, format_p, number, range_text, subgroup_text
from fastrad.study.report.search import markdown_lines
from fastrad.system.markdown import markdown_text


def to_markdown(values: dict) -> str:
    """The table, from `values.table_values`."""
    development, test = values["development"], values["test"]
    caveats = values.get("caveats", [SYNTHETIC_NOTE] if values["synthetic"] else [])
    published = any(arm["abstract_test_auroc"] for arm in values["arms"])
    lines = [line for caveat in caveats for line in (f"**{markdown_text(caveat)}**", "")]
    lines += [
        f"Held-out test set: {_counts(test, values)}. Cross-validation: {values['folds']} folds over "
        f"{_counts(development, values)}; {len(values['seeds'])} seed{'s' if len(values['seeds']) > 1 else ''}.",
        "",
    ]
    lines += _grid(
        [
            "Arm",
            "One network, mean (SD over networks)",
            "95 % interval",
            "Ensemble AUROC (95 % interval)",
            "Gain",
            "CV AUROC, mean (SD)",
            *(("Abstract", "Journal") if published else ()),
        ],
        [
            [
                arm["label"],
                f"{arm['network_auroc']:.3f} ({arm['network_auroc_sd']:.3f})",
                range_text(arm["network_auroc_low"], arm["network_auroc_high"]),
                estimate(arm["test_auroc"], arm["test_auroc_low"], arm["test_auroc_high"]),
                f"{arm['ensemble_gain']:+.3f}",
                f"{arm['cv_auroc']:.3f} ({arm['cv_auroc_sd']:.3f})",
                *(number(arm[f"{name}_test_auroc"], ".2f") for name in ("abstract", "journal") if published),
            ]
            for arm in values["arms"]
        ],
    )
    lines += [""]
    lines += _grid(
        [
            "Difference in one network's AUROC",
            "Networks as readers (95 % interval)",
            "SE",
            "p",
            "p, Holm",
            "Folds as readers",
            "Shown",
        ],
        [
            [
                f"{each['a_label']} − {each['b_label']}",
                estimate(each["network_difference"], each["network_low"], each["network_high"], sign="+"),
                number(each["network_standard_error"], ".3f"),
                format_p(each["network_p_value"]),
                format_p(each["network_holm_p_value"]),
                range_text(each["folds_low"], each["folds_high"], "+.3f"),
                "yes" if each["shown"] else "no",
            ]
            for each in values["differences"]
        ],
    )
    lines += [""]
    lines += _grid(
        [
            "Difference of the ensembles",
            "Estimate (95 % interval)",
            "SE",
            "p, Holm",
            "r of scores",
            "r of AUROCs",
            "Detectable at 80 % power",
        ],
        [
            [
                f"{each['a_label']} − {each['b_label']}",
                estimate(each["difference"], each["low"], each["high"], sign="+"),
                f"{each['standard_error']:.3f}",
                format_p(each["holm_p_value"]),
                number(each["score_correlation"], ".2f"),
                number(each["auroc_correlation"], ".2f"),
                number(each["detectable"], ".3f"),
            ]
            for each in values["differences"]
        ],
    )
    lines += [""]
    lines += _grid(
        ["Arm", "AUPRC", "Sensitivity", "in validation", "Specificity", "in validation", "PPV", "NPV"],
        [
            [
                arm["label"],
                estimate(arm["average_precision"], arm["average_precision_low"], arm["average_precision_high"]),
                *(
                    text
                    for rate in ("sensitivity", "specificity")
                    for text in (_rate(arm[rate]), number(arm["validation"][rate]["estimate"], ".2f"))
                ),
                _rate(arm["ppv"]),
                _rate(arm["npv"]),
            ]
            for arm in values["arms"]
        ],
    )
    lines += [""]
    lines += _grid(
        ["Arm", "Brier", "Calibration slope", "Calibration intercept"],
        [
            [
                arm["label"],
                estimate(arm["brier"], arm["brier_low"], arm["brier_high"]),
                *(
                    estimate(arm[name], arm[f"{name}_low"], arm[f"{name}_high"], digits=2)
                    for name in ("calibration_slope", "calibration_intercept")
                ),
            ]
            for arm in values["arms"]
        ],
    )
    for external in values["external"]:
        lines += [
            "",
            f"External: {markdown_text(external['name'])}, {external['patients']} patients, "
            f"{external['images']} images, {external['malignant']} patients malignant"
            f"{', synthetic' if external['synthetic'] else ''}.",
            "",
        ]
        lines += _grid(
            ["Arm", "One network, mean (SD over networks)", "95 % interval", "Ensemble AUROC (95 % interval)"],
            [
                [
                    arm["label"],
                    f"{arm['network_auroc']:.3f} ({arm['network_auroc_sd']:.3f})",
                    range_text(arm["network_auroc_low"], arm["network_auroc_high"]),
                    estimate(arm["test_auroc"], arm["test_auroc_low"], arm["test_auroc_high"]),
                ]
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
        lines += [""]
        lines += _grid(
            ["Test patients", *(f"{each['a_label']} − {each['b_label']}" for each in values["differences"])],
            [
                [
                    f"{group['column']} {group['value']}: {group['patients']}",
                    *(_of_group(group, each) for each in values["differences"]),
                ]
                for group in values["subgroups"]
            ],
        )
    lines += markdown_lines(values)
    lines += [
        "",
        f"AUPRC: average precision; a random score gives the prevalence, {test['prevalence']:.3f}. Thresholds were "
        "fixed on the validation folds (largest Youden index), on copies of the scores that are calibrated on each "
        "network's own fold; Brier score and calibration are of these copies. "
        + (PUBLISHED_NOTE if published else "")
        + INTERVAL_NOTE
        + (f" {EPOCH_NOTE}" if values.get("epoch_chosen") else ""),
        "",
        *(f"- {markdown_text(sentence)}" for sentence in values["conclusion"] if sentence not in caveats),
    ]
    return "\n".join(lines) + "\n"


def _counts(part: dict, values: dict) -> str:
    if values.get("unit", "patients") == "images":
        return f"{part['images']} images, each counted as a patient, {part['malignant']} malignant"
    return f"{part['patients']} patients, {part['images']} images, {part['malignant']} patients malignant"


def _rate(rate: dict) -> str:
    return estimate(rate["estimate"], rate["low"], rate["high"], digits=2)


def _of_group(group: dict, difference: dict) -> str:
    """A difference among the patients of a subgroup: one network's, or with one seed the ensembles'."""
    for each in group["differences"]:
        if (each["a"], each["b"]) == (difference["a"], difference["b"]):
            kind = "low" if each["network_low"] is None else "network_low"
            name = "difference" if kind == "low" else "network_difference"
            return estimate(each[name], each[kind], each[kind.replace("low", "high")], digits=2, sign="+")
    return "too few"


def _grid(head: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table with columns padded, so that it reads in a terminal too."""
    head, *rows = [[markdown_text(cell) for cell in row] for row in [head, *rows]]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [head, *rows]
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return lines
