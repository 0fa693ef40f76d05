"""`table.tex`: the main table and the differences, for `\\input`; needs the package booktabs."""

from __future__ import annotations

from fastrad.study.report.conclusion import SYNTHETIC_NOTE
from fastrad.study.report.notation import estimate, format_p, number, range_text


def to_latex(values: dict) -> str:
    """The table, from `values.table_values`."""
    lines = [f"% {SYNTHETIC_NOTE}"] if values["synthetic"] else []
    lines += [r"\begin{tabular}{lrrrrrr}", r"\toprule"]
    lines += [
        r"Arm & Patients & Malignant & One network, mean (SD; 95\,\% interval) & Ensemble (95\,\% interval) "
        r"& Abstract & Journal \\",
        r"\midrule",
    ]
    for arm in values["arms"]:
        interval = range_text(arm["network_auroc_low"], arm["network_auroc_high"])
        cells = [
            _escaped(arm["label"]) + (" (synthetic)" if values["synthetic"] else ""),
            f"{values['development']['patients']} + {values['test']['patients']}",
            f"{values['development']['malignant']} + {values['test']['malignant']}",
            f"{arm['network_auroc']:.3f} ({arm['network_auroc_sd']:.3f}; {interval})",
            estimate(arm["test_auroc"], arm["test_auroc_low"], arm["test_auroc_high"]),
            *(number(arm[name], ".2f").replace("–", "--") for name in ("abstract_test_auroc", "journal_test_auroc")),
        ]
        lines.append(" & ".join(cells) + r" \\")
    lines += [
        r"\midrule",
        r"Difference & $p$ & $p$, Holm & One network (95\,\% interval) & Ensemble (95\,\% interval) & & \\",
        r"\midrule",
    ]
    for each in values["differences"]:
        cells = [
            f"{_escaped(each['a_label'])} $-$ {_escaped(each['b_label'])}",
            _latex_p(each["network_p_value"]),
            _latex_p(each["network_holm_p_value"]),
            estimate(each["network_difference"], each["network_low"], each["network_high"], sign="+"),
            estimate(each["difference"], each["low"], each["high"], sign="+"),
            "",
            "",
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_p(p: float | None) -> str:
    return format_p(p).replace("< ", "$<$ ")


def _escaped(text: str) -> str:
    """Arm names may hold underscores."""
    return text.replace("_", r"\_")
