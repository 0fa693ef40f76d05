"""A run as pictures: its learning curve, and what its best epoch gets right and wrong.

With 165 classes they stay readable: the worst are named, and the largest confusions are listed in words.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastrad.system.files import write_atomically

NAMED = 25  # classes and confusions that are written out
_LONGEST = 34  # letters of a name


def draw_curves(path: Path, rows: list[dict[str, Any]], *, synthetic: bool) -> None:
    """Draw losses and metrics over epochs; `synthetic` is written above them."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    for axes, columns in (
        (left, {"train_loss": "training (smoothed labels)", "val_loss": "validation"}),
        (
            right,
            {
                "val_macro_auroc": "macro AUROC",
                "val_micro_auroc": "micro AUROC",
                "val_top1": "top-1",
                "val_top5": "top-5",
                "val_balanced_accuracy": "balanced accuracy",
            },
        ),
    ):
        for column, label in columns.items():
            axes.plot(epochs, [row[column] for row in rows], marker="o", markersize=3, label=label)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    left.set_ylabel("cross-entropy, nats")
    right.set_ylabel("validation")
    right.set_ylim(top=1.01)
    if synthetic:
        figure.suptitle("synthetic images")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_atomically(path, picture.getvalue())


def draw_classes(
    path: Path, classes: Sequence[str], auroc: Sequence[float], confusion: np.ndarray, *, title: str
) -> None:
    """Draw the AUROCs in order (worst first), the confusion matrix in that order, and the most frequent confusions.

    Parameters
    ----------
    path : Path
        PNG.
    classes : sequence of str
    auroc : sequence of float
        One a class; NaN where the class is absent from validation.
    confusion : int array, (C, C)
        True class by predicted class.
    title : str
    """
    from matplotlib.figure import Figure

    values = np.asarray(auroc, dtype=float)
    counts = confusion.sum(1)
    order = np.argsort(np.where(np.isnan(values), np.inf, values), kind="stable")
    present = order[counts[order] > 0]
    figure = Figure(figsize=(17, 8), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1.25, 1])
    figure.suptitle(title)

    worst = present[:NAMED]
    left.barh(range(len(worst)), values[worst], color="#4477aa")
    left.set_yticks(range(len(worst)), [f"{_short(classes[index])} ({counts[index]})" for index in worst], fontsize=8)
    left.invert_yaxis()
    left.set_xlim(min(0.5, float(np.nanmin(values))) if len(worst) else 0.5, 1)
    left.set_xlabel("AUROC, one against rest (validation images in brackets)")
    shown = f"the {len(worst)} worst of {len(present)} classes" if len(present) > len(worst) else "all classes"
    left.set_title(f"AUROC: {shown}")

    shares = confusion[np.ix_(present, present)] / np.maximum(counts[present, None], 1)
    picture = middle.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    if len(present) <= NAMED:
        names = [_short(classes[index]) for index in present]
        middle.set_xticks(range(len(present)), names, rotation=90, fontsize=8)
        middle.set_yticks(range(len(present)), names, fontsize=8)
    middle.set_xlabel("predicted")
    middle.set_ylabel("true")
    middle.set_title("share of each true class (worst AUROC first)")
    figure.colorbar(picture, ax=middle, shrink=0.6)

    right.axis("off")
    right.set_title("most frequent confusions")
    right.text(0, 1, "\n".join(_confusions(classes, confusion)), va="top", fontsize=8, family="monospace")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    write_atomically(path, content.getvalue())


def _confusions(classes: Sequence[str], confusion: np.ndarray) -> list[str]:
    """The largest entries beside the diagonal, as lines."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    counts = confusion.sum(1)
    lines = []
    for flat in np.argsort(-wrong, axis=None, kind="stable")[:NAMED]:
        true, predicted = divmod(int(flat), len(classes))
        if wrong[true, predicted]:
            share = wrong[true, predicted] / counts[true]
            lines.append(f"{wrong[true, predicted]:6d} ({share:4.0%})  {_short(classes[true])}")
            lines.append(f"          taken for {_short(classes[predicted])}")
    return lines or ["none"]


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
