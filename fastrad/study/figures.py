"""The study's figures, as matplotlib draws them.

In: the study's record and `StudyResult`. Out: PNG files that read at a journal column's width.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib.figure import Figure

from fastrad.study import decision
from fastrad.study.evaluation import StudyResult

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#7a7a7a", "#e69f00", "#0072b2", "#009e73", "#cc79a7", "#d55e00")


def roc_figure(study: dict, result: StudyResult) -> Figure:
    """ROC curves of the arms on the test patients, with AUROC and interval in the legend."""
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, linestyle=(0, (4, 4)))
    for arm, colour, record in zip(result.arms, COLOURS, study["arms"], strict=False):
        false_rate, true_rate = decision.roc_curve(result.labels, result.scores[arm.arm])
        low, high = arm.test_interval
        axes.plot(
            false_rate,
            true_rate,
            color=colour,
            linewidth=2,
            label=f"{record['label']}: {arm.test_auroc:.2f} ({low:.2f} to {high:.2f})",
        )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 − specificity", ylabel="Sensitivity", aspect="equal")
    ticks = np.linspace(0, 1, 6)
    axes.set_xticks(ticks)
    axes.set_yticks(ticks)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, title="Test AUROC (95 % interval)", alignment="left")
    malignant = int(result.labels.sum())
    axes.set_title(
        f"{len(result.labels)} held-out patients, {malignant} malignant"
        + (" · synthetic images" if study["synthetic"] else ""),
        fontsize=10,
        loc="left",
    )
    return figure


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure at 200 dots an inch; the bytes depend on the figure alone."""
    partial = path.with_name(f".{path.name}.partial")
    figure.savefig(partial, format="png", dpi=200, metadata={"Software": None})
    partial.replace(path)
