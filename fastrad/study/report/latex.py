"""`table.tex`: the main table and the differences, for `\\input`; needs the package booktabs."""

from __future__ import annotations

from fastrad.study.report.conclusion import SYNTHETIC_NOTE
from fastrad.study.report.notation import estimate, format_p


def to_latex(values: dict) -> str:
    """The table, from `values.table_values`."""
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
            estimate(arm["test_auroc"], arm["test_auroc_low"], arm["test_auroc_high"]),
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
            estimate(each["difference"], each["low"], each["high"], sign="+"),
            _latex_p(each["holm_p_value"]),
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_p(p: float | None) -> str:
    return format_p(p).replace("< ", "$<$ ")


def _escaped(text: str) -> str:
    """Arm names may hold underscores."""
    return text.replace("_", r"\_")
