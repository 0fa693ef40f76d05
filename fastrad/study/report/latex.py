"""`table.tex`: the main table and the differences, for `\\input`; needs the package booktabs."""

from __future__ import annotations

from fastrad.study.report.conclusion import SYNTHETIC_NOTE
from fastrad.study.report.notation import estimate, format_p, latex_text, number, range_text

_PUBLISHED = ("abstract_test_auroc", "journal_test_auroc")


def to_latex(values: dict) -> str:
    """The table, from `values.table_values`; caveats stand in it, above the numbers."""
    published = any(arm[name] for arm in values["arms"] for name in _PUBLISHED)
    columns = 7 if published else 5
    unit = values.get("unit", "patients").capitalize()
    lines = [f"% {SYNTHETIC_NOTE}"] if values["synthetic"] else []
    lines += [rf"\begin{{tabular}}{{l{'r' * (columns - 1)}}}"]
    lines += [
        rf"\multicolumn{{{columns}}}{{p{{0.95\linewidth}}}}{{\footnotesize {latex_text(caveat)}}} \\"
        for caveat in values.get("caveats", [])
    ]
    lines += [
        r"\toprule",
        rf"Arm & {unit} & Malignant & One network, mean (SD; 95\,\% interval) & Ensemble (95\,\% interval) "
        rf"{'& Abstract & Journal ' if published else ''}\\",
        r"\midrule",
    ]
    for arm in values["arms"]:
        interval = range_text(arm["network_auroc_low"], arm["network_auroc_high"])
        cells = [
            latex_text(arm["label"]) + (" (synthetic)" if values["synthetic"] else ""),
            f"{values['development']['patients']} + {values['test']['patients']}",
            f"{values['development']['malignant']} + {values['test']['malignant']}",
            f"{arm['network_auroc']:.3f} ({arm['network_auroc_sd']:.3f}; {interval})",
            estimate(arm["test_auroc"], arm["test_auroc_low"], arm["test_auroc_high"]),
            *(number(arm[name], ".2f").replace("–", "--") for name in _PUBLISHED if published),
        ]
        lines.append(" & ".join(cells) + r" \\")
    lines += [
        r"\midrule",
        r"Difference & $p$ & $p$, Holm & One network (95\,\% interval) & Ensemble (95\,\% interval) "
        rf"{'& & ' if published else ''}\\",
        r"\midrule",
    ]
    for each in values["differences"]:
        cells = [
            f"{latex_text(each['a_label'])} $-$ {latex_text(each['b_label'])}",
            _latex_p(each["network_p_value"]),
            _latex_p(each["network_holm_p_value"]),
            estimate(each["network_difference"], each["network_low"], each["network_high"], sign="+"),
            estimate(each["difference"], each["low"], each["high"], sign="+"),
            *([""] * (columns - 5)),
        ]
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def _latex_p(p: float | None) -> str:
    return format_p(p).replace("< ", "$<$ ")
