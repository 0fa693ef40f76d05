"""Cells of `table.md`: every number is its value, rounded; what is undefined is a dash."""

from __future__ import annotations

import re

import pytest

from fastrad.study.report.conclusion import SYNTHETIC_NOTE
from fastrad.study.report.markdown import to_markdown


def tables(text: str) -> list[list[list[str]]]:
    """The cells of each table, its head first and without the rule below."""
    found, block = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("| "):
            cells = [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            block.append(cells)
        elif block:
            assert all(set(cell) == {"-"} for cell in block[1])
            assert {len(row) for row in block} == {len(block[0])}
            found.append([block[0], *block[2:]])
            block = []
    return found


def within(cell: str, *expected: float | None, digits: int = 3) -> None:
    numbers = [float(word) for word in re.findall(r"[-+]?\d+\.\d+", cell)]
    assert numbers == pytest.approx([value for value in expected if value is not None], abs=0.5001 * 10**-digits), cell


def test_every_cell_is_the_value(values):
    arms, differences, ensembles, more, calibration, external, groups, between = tables(to_markdown(values))
    for row, arm in zip(arms[1:], values["arms"], strict=True):
        assert row[0] == arm["label"]
        within(row[1], arm["network_auroc"], arm["network_auroc_sd"])
        within(row[2], arm["network_auroc_low"], arm["network_auroc_high"])
        within(row[3], arm["test_auroc"], arm["test_auroc_low"], arm["test_auroc_high"])
        within(row[4], arm["ensemble_gain"])
        within(row[5], arm["cv_auroc"], arm["cv_auroc_sd"])
        assert len(row) == 6, "the published figures are of other images"
    for row, each in zip(differences[1:], values["differences"], strict=True):
        assert row[0] == f"{each['a_label']} − {each['b_label']}"
        within(row[1], each["network_difference"], each["network_low"], each["network_high"])
        assert row[1][0] in "+-"
        within(row[2], each["network_standard_error"])
        within(row[3], each["network_p_value"])
        within(row[4], each["network_holm_p_value"])
        within(row[5], each["folds_low"], each["folds_high"])
        assert row[6] == ("yes" if each["shown"] else "no")
    for row, each in zip(ensembles[1:], values["differences"], strict=True):
        within(row[1], each["difference"], each["low"], each["high"])
        within(row[2], each["standard_error"])
        within(row[3], each["holm_p_value"])
        within(row[4], each["score_correlation"], digits=2)
        within(row[5], each["auroc_correlation"], digits=2)
        within(row[6], each["detectable"])
    for row, arm in zip(more[1:], values["arms"], strict=True):
        within(row[1], arm["average_precision"], arm["average_precision_low"], arm["average_precision_high"])
        for place, rate in ((2, "sensitivity"), (4, "specificity"), (6, "ppv"), (7, "npv")):
            rated = arm[rate]["estimate"] is not None
            within(row[place], *([arm[rate][name] for name in ("estimate", "low", "high")] if rated else []), digits=2)
            assert rated or row[place] == "–"
        within(row[3], arm["validation"]["sensitivity"]["estimate"], digits=2)
        within(row[5], arm["validation"]["specificity"]["estimate"], digits=2)
    for row, arm in zip(calibration[1:], values["arms"], strict=True):
        within(row[1], arm["brier"], arm["brier_low"], arm["brier_high"])
        for cell, name in zip(row[2:], ("calibration_slope", "calibration_intercept"), strict=True):
            within(cell, arm[name], arm[f"{name}_low"], arm[f"{name}_high"], digits=2)
    for row, arm in zip(external[1:], values["external"][0]["arms"], strict=True):
        within(row[1], arm["network_auroc"], arm["network_auroc_sd"])
        within(row[2], arm["network_auroc_low"], arm["network_auroc_high"])
        within(row[3], arm["test_auroc"], arm["test_auroc_low"], arm["test_auroc_high"])
    for row, other, group in zip(groups[1:], between[1:], values["subgroups"], strict=True):
        assert row[:2] == [f"{group['column']} {group['value']}: {group['patients']}", str(group["malignant"])]
        for cell, arm in zip(row[2:], values["arms"], strict=True):
            of_arm = group["arms"][arm["arm"]]
            within(cell, of_arm["auroc"], of_arm["low"], of_arm["high"], digits=2)
        for cell, each in zip(other[1:], group["differences"], strict=True):
            within(cell, each["network_difference"], each["network_low"], each["network_high"], digits=2)


def test_a_bar_in_a_value_breaks_no_table(values):
    assert any("|" in group["value"] for group in values["subgroups"])
    assert "süd|west" in tables(to_markdown(values))[-1][1][0] + tables(to_markdown(values))[-1][2][0]


def test_what_is_undefined_is_said(values):
    difference = values["differences"][0]
    names = ("network_p_value", "network_holm_p_value", "network_low", "network_high", "network_standard_error")
    difference.update(dict.fromkeys((*names, "folds_low", "folds_high", "detectable", "score_correlation")))
    values["differences"][1].update(network_p_value=0.0004, network_holm_p_value=0.0012)
    arm = values["arms"][0]
    arm.update(dict.fromkeys(("calibration_slope", "calibration_slope_low", "network_auroc_low", "journal_test_auroc")))
    arm["abstract_test_auroc"] = 0.74
    arm["ppv"].update(estimate=None, low=0.0, high=1.0)
    values["subgroups"][0].update(arms={}, differences=[])
    arms, differences, ensembles, more, calibration, _, groups, between = tables(to_markdown(values))
    estimate = f"{difference['network_difference']:+.3f}"
    assert differences[1][1:6] == [estimate, "–", "undefined", "undefined", "undefined"]
    assert differences[2][3:5] == ["< 0.001", "0.001"]
    assert ensembles[1][4] == ensembles[1][6] == "–"
    assert (arms[1][2], arms[1][7]) == ("undefined", "–")
    assert more[1][6] == calibration[1][2] == "–"
    assert groups[1][2:] == ["too few"] * 4
    assert between[1][1:] == ["too few"] * 6


def test_with_one_seed_a_subgroups_difference_is_the_ensembles(values):
    group = values["subgroups"][0]
    for each in group["differences"]:
        each.update(network_low=None, network_high=None)
    row = tables(to_markdown(values))[-1][1]
    for cell, each in zip(row[1:], group["differences"], strict=True):
        within(cell, each["difference"], each["low"], each["high"], digits=2)


def test_published_figures_are_explained_where_they_stand(values):
    assert "JACR" not in to_markdown(values), "generated images"
    values["arms"][0].update(abstract_test_auroc=0.74, journal_test_auroc=0.69)
    text = to_markdown(values)
    assert "journal: JACR 2024" in text
    assert tables(text)[0][1][6:] == ["0.74", "0.69"]


def test_synthetic_images_are_called_so_in_the_first_line(values):
    assert to_markdown(values).startswith(f"**{SYNTHETIC_NOTE}**\n")
    values.update(synthetic=False, caveats=[])
    values["external"][0]["synthetic"] = True
    text = to_markdown(values)
    assert text.startswith("Held-out test set: 32 patients, 45 images, 14 patients malignant.")
    assert "External: away, 26 patients, 40 images, 13 patients malignant, synthetic." in text


def test_columns_line_up_in_a_terminal(values):
    blocks = [block for block in to_markdown(values).split("\n\n") if block.startswith("|")]
    assert all(len({len(line) for line in block.splitlines()}) == 1 for block in blocks)


def test_every_sentence_of_the_conclusion_is_there(values):
    text = to_markdown(values)
    assert [line[2:] for line in text.splitlines() if line.startswith("- ")] == [
        sentence for sentence in values["conclusion"] if sentence != SYNTHETIC_NOTE
    ], "which stands at the top"


def test_caveats_stand_at_the_top_and_nowhere_else(values):
    values["caveats"] = ["One thing.", "Another <b>thing</b>."]
    text = to_markdown(values)
    assert text.startswith("**One thing.**\n\n**Another &lt;b>thing&lt;/b>.**\n\nHeld-out test set:")
    assert text.count("One thing.") == 1


def test_names_of_files_groups_and_sets_are_text_and_no_markup(values):
    for place in (values["arms"][1], values["external"][0]["arms"][1]):
        place["label"] = "<script>alert(1)</script>"
    values["differences"][0]["a_label"] = "[x](javascript:alert(1))"
    values["external"][0]["name"] = "<img src=x onerror=alert(1)>"
    values["subgroups"][0]["value"] = "line\n| break `"
    values["conclusion"].append("<script>alert(2)</script> was better than [y](z).")
    text = to_markdown(values)
    assert not re.search(r"<[A-Za-z/!?]|(?<!\\)\[", text)
    assert r"line \| break \`" in text
    assert len(tables(text)) == 8


def test_images_that_count_as_patients_are_called_images(values):
    values.update(unit="images", caveats=[])
    assert to_markdown(values).startswith(
        "Held-out test set: 45 images, each counted as a patient, 14 malignant. Cross-validation: 2 folds over 45 im"
    )
