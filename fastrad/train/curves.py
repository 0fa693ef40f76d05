"""The learning curve as a picture.

In: the lines of metrics.csv. Out: a PNG with the losses on the left and the validation's metrics on the right.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from fastrad.system.files import write_atomically


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
