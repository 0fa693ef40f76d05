"""`table.md`, and what `compare` prints."""

from __future__ import annotations

from fastrad.study.report.conclusion import INTERVAL_NOTE, SYNTHETIC_NOTE
from fastrad.study.report.notation import estimate, format_p, subgroup_text


def to_markdown(values: dict) -> str:
    """The table, from `values.table_values`."""
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
                estimate(difference["difference"], difference["low"], difference["high"], sign="+"),
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
                estimate(arm["average_precision"], arm["average_precision_low"], arm["average_precision_high"]),
                *(
                    estimate(arm[rate]["estimate"], arm[rate]["low"], arm[rate]["high"], digits=2)
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
                [arm["label"], estimate(arm["test_auroc"], arm["test_auroc_low"], arm["test_auroc_high"])]
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
