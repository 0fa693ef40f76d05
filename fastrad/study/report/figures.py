"""The study's figures: readable at a journal column's width, as SVG and PNG whose bytes depend on the numbers alone."""

from __future__ import annotations

import io
from pathlib import Path
from textwrap import fill

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from scipy.special import expit

from fastrad.study.inference import decision
from fastrad.study.inference.bootstrap import resample_counts
from fastrad.study.inference.evaluation import StudyResult
from fastrad.system.files import write_atomically

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = ("#6b6b6b", "#d98a00", "#0072b2", "#009e73", "#cc79a7", "#8b4513", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GRID = np.linspace(0, 1, 101)


def draw_all(study: dict, result: StudyResult, curve: list[dict] | None = None) -> dict[str, Figure]:
    """Every figure by its name; `curve` holds the points of the learning curve where one was run."""
    drawn = {
        "roc": roc_figure(study, result),
        "runs": runs_figure(study, result),
        "differences": differences_figure(study, result),
        "calibration": calibration_figure(study, result),
    }
    if curve:
        drawn["learning-curve"] = learning_curve_figure(study, curve)
    return drawn


def roc_figure(study: dict, result: StudyResult) -> Figure:
    """ROC curves on the test patients with pointwise 95 % bootstrap bands; the same resamples for every arm."""
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, linestyle=(0, (4, 4)))
    counts = resample_counts(result.labels, repetitions=1000)
    for name, label, colour, _ in _styles(study):
        arm = result.arm(name)
        low, high = decision.roc_band(result.labels, result.scores[name], counts, GRID)
        axes.fill_between(GRID, low, high, color=colour, alpha=0.10, linewidth=0)
        false_rate, true_rate = decision.roc_curve(result.labels, result.scores[name])
        bounds = f"{arm.test_interval.low:.2f} to {arm.test_interval.high:.2f}"
        axes.plot(
            false_rate,
            true_rate,
            color=colour,
            linewidth=2,
            label=fill(f"{label}: {arm.test_auroc:.2f} ({bounds})", 56),
        )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 − specificity", ylabel="Sensitivity", aspect="equal")
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.set_yticks(np.linspace(0, 1, 6))
    # below the curves: long names would lie upon them, and reach over the figure's edge
    legend = figure.legend(
        loc="outside lower left", frameon=False, title="Ensemble AUROC (95 % interval)", alignment="left"
    )
    lines = 1 + sum(1 + text.get_text().count("\n") for text in legend.get_texts())
    figure.set_figheight(5.4 + 0.22 * lines)
    axes.set_anchor("N")
    _finish(axes, study, f"{len(result.labels)} held-out patients, {int(result.labels.sum())} malignant")
    return figure


def runs_figure(study: dict, result: StudyResult) -> Figure:
    """Every network by itself: validation AUROC of its fold, and test AUROC."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, values, title in (
        (left, [arm.fold_auroc for arm in result.arms], "Validation fold"),
        (right, [arm.run_test_auroc for arm in result.arms], "Test set"),
    ):
        for position, ((_, _, colour, marker), table) in enumerate(zip(_styles(study), values, strict=True)):
            seeds, folds = table.shape
            spread = np.linspace(-0.24, 0.24, folds)[None, :] + np.linspace(-0.02, 0.02, seeds)[:, None]
            axes.scatter(
                position + spread.ravel(), table.ravel(), s=26, color=colour, marker=marker, alpha=0.75, linewidth=0
            )
            axes.plot([position - 0.34, position + 0.34], [table.mean()] * 2, color=colour, linewidth=2)
        _name_arms(axes, [label for _, label, _, _ in _styles(study)])
        axes.set_xlim(-0.6, len(values) - 0.4)
        axes.axhline(0.5, color="#bbbbbb", linewidth=1, linestyle=(0, (4, 4)))
        _finish(axes, study, title)
    left.set_ylabel("AUROC")
    return figure


def differences_figure(study: dict, result: StudyResult) -> Figure:
    """Differences of one network's test AUROC with 95 % intervals, and what the study could have detected.

    With one seed, of the ensembles: nothing else has an interval.
    """
    labels = {name: label for name, label, _, _ in _styles(study)}
    figure = Figure(figsize=(5.2, 1.2 + 0.5 * len(result.differences)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="#444444", linewidth=1)
    one_seed = any(each.network.networks is None for each in result.differences)
    for position, each in enumerate(reversed(result.differences)):
        networks = each.network.networks
        interval = each.interval if networks is None else each.network.interval
        estimate = each.difference if networks is None else networks.estimate
        detectable = each.detectable if networks is None else each.network.detectable
        axes.plot([-detectable, detectable], [position] * 2, color="#e3e3e3", linewidth=11, zorder=0)
        axes.plot(interval, [position] * 2, color="#0072b2", linewidth=2)
        axes.plot(estimate, position, "o", color="#0072b2", markersize=7)
    names = [fill(f"{labels[each.a]} − {labels[each.b]}", 28) for each in reversed(result.differences)]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(4))  # long names leave little room for numbers
    what = "the ensembles'" if one_seed else "one network's"
    axes.set_xlabel(f"Difference in {what}\ntest AUROC (95 % interval)")  # beside long names one line is cut off
    _finish(axes, study, "")
    return figure


def calibration_figure(study: dict, result: StudyResult) -> Figure:
    """Observed share of malignant patients against the predicted probability, in groups of equal size."""
    columns = len(result.arms)
    figure = Figure(figsize=(2.45 * columns, 2.8), layout="constrained")
    grid = np.atleast_1d(figure.subplots(1, columns, sharey=True))
    for axes, (name, label, colour, marker) in zip(grid, _styles(study), strict=True):
        groups = decision.reliability(result.labels, expit(result.arm(name).calibrated))
        mean = np.array([value for value, _ in groups])
        observed = np.array([share.estimate for _, share in groups])
        bounds = np.array([share.interval for _, share in groups]).T
        axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, linestyle=(0, (4, 4)))
        axes.vlines(mean, bounds[0], bounds[1], color=colour, linewidth=1, alpha=0.6)
        axes.plot(mean, observed, marker=marker, color=colour, linewidth=1.5, markersize=5)
        slope = result.arm(name).calibration.slope
        slope_text = "" if np.isnan(slope) else f", slope {slope:.{2 if abs(slope) < 10 else 0}f}"
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="Predicted probability")
        axes.set_xticks([0, 0.5, 1])
        _finish(axes, {"synthetic": False}, f"{fill(label, 24)}\nBrier {result.arm(name).brier:.3f}{slope_text}")
    grid[0].set_ylabel("Malignant, observed")
    if study["synthetic"]:
        figure.suptitle("synthetic images", fontsize=9.5, x=0.01, ha="left")
    return figure


def learning_curve_figure(study: dict, curve: list[dict]) -> Figure:
    """Test AUROC against the number of training patients of a fold; bars are 95 % intervals."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for index, (name, label, colour, marker) in enumerate(_styles(study)):
        points = sorted((each for each in curve if each["arm"] == name), key=lambda each: each["patients"])
        x = np.array([each["patients"] for each in points]) * 1.03 ** (index - 1)  # side by side, not on top
        axes.vlines(x, [each["low"] for each in points], [each["high"] for each in points], color=colour, alpha=0.5)
        axes.plot(x, [each["auroc"] for each in points], color=colour, marker=marker, linewidth=1.5, label=label)
    axes.set_xscale("log")
    ticks = sorted({each["patients"] for each in curve})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set(xlabel="Training patients a fold", ylabel="Test AUROC")
    axes.legend(frameon=False)
    _finish(axes, study, "")
    return figure


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write NAME.svg and NAME.png (200 dots an inch) and return the SVG element, for use inside a page."""
    vector, raster = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
        figure.savefig(vector, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(raster, format="png", dpi=200, metadata={"Software": None})
    folder.mkdir(exist_ok=True)
    write_atomically(folder / f"{name}.svg", vector.getvalue().encode())
    write_atomically(folder / f"{name}.png", raster.getvalue())
    text = vector.getvalue()
    # Several figures in one page: identifiers are made their own.
    for attribute in ('id="', 'href="#', "url(#"):
        text = text.replace(attribute, f"{attribute}{name}-")
    return text[text.index("<svg") :]


def _styles(study: dict) -> list[tuple[str, str, str, str]]:
    """Name, label, colour and marker of each arm."""
    return [
        (arm["name"], arm["label"], COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])
        for index, arm in enumerate(study["arms"])
    ]


def _name_arms(axes: Axes, labels: list[str]) -> None:
    """Labels below an axis of half the figure's width: beneath each other's reach, or from three arms on aslant."""
    if len(labels) < 4 and all(len(word) <= 14 for label in labels for word in label.split()):
        axes.set_xticks(range(len(labels)), [fill(label, 14) for label in labels])
    else:
        axes.set_xticks(range(len(labels)), [fill(label, 22) for label in labels], rotation=35, ha="right")
        axes.tick_params(axis="x", pad=1)


def _finish(axes: Axes, study: dict, title: str) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    parts = [part for part in (title, "synthetic images" if study["synthetic"] else "") if part]
    axes.set_title(" · ".join(parts), fontsize=9.5, loc="left")
    axes.tick_params(labelsize=9)


def overlay(image: NDArray[np.uint8], heat: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Lay a heat map (H, W) in [0, 1] over a gray image (H, W): (H, W, 3) uint8."""
    colours = matplotlib.colormaps["inferno"](heat)[..., :3]
    weight = 0.55 * heat[..., None]
    mixed = (1 - weight) * (image[..., None] / 255) + weight * colours
    return np.round(255 * mixed).astype(np.uint8)
