"""Cells of `table.tex`, and names that LaTeX would read otherwise."""

from __future__ import annotations

import pytest

from fastrad.study.report.conclusion import SYNTHETIC_NOTE
from fastrad.study.report.latex import to_latex


def rows(text: str) -> list[list[str]]:
    lines = [line.removesuffix(r"\\") for line in text.splitlines() if line.endswith(r" \\")]
    return [[cell.strip() for cell in line.split("&")] for line in lines if not line.startswith(r"\multicolumn")]


@pytest.mark.parametrize("published", [True, False])
def test_every_cell_is_the_value(values, published):
    if published:
        values["arms"][1].update(abstract_test_auroc=0.80, journal_test_auroc=0.79)
    head, *lines = rows(to_latex(values))
    assert {len(row) for row in [head, *lines]} == {7 if published else 5}
    arms, between, differences = lines[:4], lines[4], lines[5:]
    for row, arm in zip(arms, values["arms"], strict=True):
        figures = [arm["abstract_test_auroc"], arm["journal_test_auroc"]] if published else []
        assert row[1:] == [
            "31 + 32",
            "15 + 14",
            f"{arm['network_auroc']:.3f} ({arm['network_auroc_sd']:.3f}; "
            f"{arm['network_auroc_low']:.3f} to {arm['network_auroc_high']:.3f})",
            f"{arm['test_auroc']:.3f} ({arm['test_auroc_low']:.3f} to {arm['test_auroc_high']:.3f})",
            *("--" if figure is None else f"{figure:.2f}" for figure in figures),
        ]
    assert between[0] == "Difference"
    for row, each in zip(differences, values["differences"], strict=True):
        assert row[1:5] == [
            f"{each['network_p_value']:.3f}",
            f"{each['network_holm_p_value']:.3f}",
            f"{each['network_difference']:+.3f} ({each['network_low']:+.3f} to {each['network_high']:+.3f})",
            f"{each['difference']:+.3f} ({each['low']:+.3f} to {each['high']:+.3f})",
        ]


def test_underscores_are_escaped_and_small_p_is_mathematics(values):
    values["differences"][0].update(network_p_value=0.00001, network_holm_p_value=None)
    text = to_latex(values)
    assert r"my\_frozen (frozen features) $-$ No transfer" in text
    assert "my_frozen" not in text
    assert "$<$ 0.001" in text
    assert rows(text)[6][2] == "undefined"


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_arms_are_called_so_in_their_row(values, synthetic):
    values["synthetic"] = synthetic
    text = to_latex(values)
    assert text.startswith(f"% {SYNTHETIC_NOTE}") == synthetic
    assert text.count("(synthetic)") == (4 if synthetic else 0)


def test_the_table_is_one_tabular(values):
    text = to_latex(values)
    assert text.count(r"\begin{tabular}{lrrrr}") == text.count(r"\end{tabular}") == 1
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 1


def test_caveats_stand_in_the_table_above_the_numbers(values):
    values["caveats"] = ["100 % of A_B & C were {seen} ~ twice^2: 0.5 < 1 \\end{tabular}"]
    text = to_latex(values)
    line = text.splitlines()[2]
    assert line.startswith(r"\multicolumn{5}{p{0.95\linewidth}}{\footnotesize 100 \% of A\_B \& C were \{seen\} ")
    assert r"\textasciitilde{} twice\textasciicircum{}2: 0.5 \textless{} 1 \textbackslash{}end\{tabular\}} \\" in line
    assert text.index(line) < text.index(r"\toprule")
    assert text.count(r"\end{tabular}") == 1
