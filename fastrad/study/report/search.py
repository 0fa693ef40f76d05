"""What a search of recipes found, for the table and the page: each arm's choices, every trial, and the fixed recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fastrad.study.report.notation import estimate, format_p


def choices(study: Mapping[str, Any]) -> list[dict[str, str]]:
    """Each searched arm's recipes, with the number of folds that chose each; none without a search."""
    rows = _rows(study)
    folds = study["protocol"]["folds"]
    found = []
    for arm in study["arms"]:
        chosen = Counter(row["recipe"] for row in rows if row["arm"] == arm["name"] and row["chosen"])
        if chosen:
            words = ", ".join(f"{name} ({count} of {folds} folds)" for name, count in chosen.most_common())
            found.append({"label": arm["label"], "recipes": words})
    return found


def trials(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every arm's and recipe's mean log loss in each fold: `label`, `recipe`, `losses` (text, chosen) by fold."""
    rows = _rows(study)
    labels = {arm["name"]: arm["label"] for arm in study["arms"]}
    found: dict[tuple[str, str], list[tuple[str, bool]]] = {}
    for row in rows:
        loss = "diverged" if row["log_loss"] is None else f"{row['log_loss']:.3f}"
        found.setdefault((row["arm"], row["recipe"]), []).append((loss, row["chosen"]))
    return [{"label": labels[arm], "recipe": recipe, "losses": losses} for (arm, recipe), losses in found.items()]


def markdown_lines(values: Mapping[str, Any]) -> Sequence[str]:
    """The choices, and the fixed recipe beside them, as lines of `table.md`; none without a search."""
    if "search" not in values:
        return ()
    fixed = values["fixed_recipe"]
    return (
        "",
        "Recipes chosen in inner validation, from one grid for every arm: "
        + "; ".join(f"{each['label']}: {each['recipes']}" for each in values["search"]["choices"])
        + ".",
        "",
        "With the fixed recipe instead (sensitivity analysis): "
        + "; ".join(
            f"{arm['label']} {estimate(arm['test_auroc'], arm['test_auroc_low'], arm['test_auroc_high'])}"
            for arm in fixed["arms"]
        )
        + "; "
        + "; ".join(
            f"{each['a_label']} − {each['b_label']} "
            f"{estimate(each['difference'], each['low'], each['high'], sign='+')}, p {format_p(each['p_value'])}"
            for each in fixed["differences"]
        )
        + " (ensembles, DeLong).",
    )


def _rows(study: Mapping[str, Any]) -> list[dict[str, Any]]:
    return (study["protocol"].get("search") or {}).get("trials", [])
