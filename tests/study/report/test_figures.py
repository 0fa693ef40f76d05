"""Figures hold the study's numbers, fit their page, and are the same bytes each time."""

from __future__ import annotations

import re
from itertools import pairwise

import cv2
import numpy as np
import pytest
from matplotlib.collections import LineCollection, PathCollection
from sklearn.metrics import auc

from fastrad.study.inference.learning_curve import learning_curve
from fastrad.study.predictions import read_predictions
from fastrad.study.report import figures


@pytest.fixture(scope="module")
def curve(kept):
    return learning_curve(read_predictions(kept / "learning_curve.csv"))


@pytest.fixture(scope="module")
def drawn(record, result, curve):
    return figures.draw_all(record, result, curve)


def test_there_is_a_learning_curve_where_one_was_run(record, result, drawn):
    assert list(drawn) == ["roc", "runs", "differences", "calibration", "learning-curve"]
    assert "learning-curve" not in figures.draw_all(record, result)


def test_the_roc_curves_are_those_of_the_scores(drawn, result):
    (axes,) = drawn["roc"].axes
    lines = {line.get_label().split(":")[0]: line for line in axes.lines if ":" in line.get_label()}
    assert list(lines) == ["No transfer", "ImageNet", "RadImageNet", "my_frozen (frozen features)"]
    for line, arm in zip(lines.values(), result.arms, strict=True):
        assert auc(line.get_xdata(), line.get_ydata()) == pytest.approx(arm.test_auroc)
        low, high = arm.test_interval
        assert line.get_label().endswith(f": {arm.test_auroc:.2f} ({low:.2f} to {high:.2f})")


def test_nothing_of_the_roc_curves_lies_over_the_edge_where_names_are_long(record, result):
    long = "radimagenet layout, 10,676 images (--radimagenet), " + "a network of our own " * 3
    drawn = figures.roc_figure({**record, "arms": [{**arm, "label": long} for arm in record["arms"]]}, result)
    drawn.canvas.draw()
    (axes,) = drawn.axes
    (legend,) = drawn.legends
    below, curves, edge = legend.get_window_extent(), axes.get_tightbbox(), drawn.bbox
    assert edge.x0 <= below.x0 < below.x1 <= edge.x1
    assert edge.y0 <= below.y0 < below.y1 <= curves.y0 < curves.y1 <= edge.y1


def test_every_network_is_a_mark(drawn, result):
    for axes, name in zip(drawn["runs"].axes, ("fold_auroc", "run_test_auroc"), strict=True):
        marks = [each.get_offsets()[:, 1] for each in axes.collections if isinstance(each, PathCollection)]
        for found, arm in zip(marks, result.arms, strict=True):
            assert sorted(found) == pytest.approx(sorted(getattr(arm, name).ravel()))


def test_differences_stand_in_the_tables_order_from_the_top(drawn, result):
    (axes,) = drawn["differences"].axes
    points = [line for line in axes.lines if line.get_marker() == "o"]
    found = {int(line.get_ydata()[0]): float(line.get_xdata()[0]) for line in points}
    expected = [each.network.difference for each in result.differences]
    assert [found[place] for place in sorted(found, reverse=True)] == pytest.approx(expected)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[-1] == "ImageNet − No transfer"


def test_calibration_shows_five_groups_an_arm(drawn, result):
    for axes, arm in zip(drawn["calibration"].axes, result.arms, strict=True):
        (line,) = [line for line in axes.lines if line.get_marker() not in ("None", "", None)]
        assert len(line.get_xdata()) == 5
        assert np.average(line.get_ydata(), weights=[7, 7, 6, 6, 6]) == pytest.approx(result.labels.mean())
        assert f"Brier {arm.brier:.3f}" in axes.get_title(loc="left")


def test_the_learning_curve_holds_its_points(drawn, curve):
    (axes,) = drawn["learning-curve"].axes
    for line, arm in zip(axes.lines, ("none", "imagenet", "radimagenet", "my_frozen"), strict=True):
        points = sorted((each for each in curve if each["arm"] == arm), key=lambda each: each["patients"])
        assert line.get_ydata() == pytest.approx([each["auroc"] for each in points])
    bars = [each for each in axes.collections if isinstance(each, LineCollection)]
    assert len(bars) == 4
    assert [label.get_text() for label in axes.get_xticklabels()] == ["8", "15"]


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_images_are_called_so_in_every_figure(record, result, curve, synthetic):
    for name, figure in figures.draw_all({**record, "synthetic": synthetic}, result, curve).items():
        texts = [axes.get_title(loc="left") for axes in figure.axes] + [figure.get_suptitle()]
        assert any("synthetic" in text for text in texts) == synthetic, name


def test_a_figure_is_the_same_bytes_each_time_and_can_share_a_page(record, result, tmp_path):
    elements = [
        figures.save(figures.runs_figure(record, result), tmp_path / folder, "runs") for folder in ("one", "two")
    ]
    assert elements[0] == elements[1]
    for name in ("runs.svg", "runs.png"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    height, width = cv2.imread(str(tmp_path / "one" / "runs.png")).shape[:2]
    assert (width, height) == (1440, 720)
    identifiers = re.findall(r'\bid="([^"]+)"', elements[0])
    assert identifiers
    assert all(each.startswith("runs-") for each in identifiers)
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', elements[0])) <= set(identifiers)


def test_a_heat_map_colours_what_it_marks():
    image = np.full((4, 4), 200, dtype=np.uint8)
    heat = np.zeros((4, 4))
    heat[0, 0] = 1
    mixed = figures.overlay(image, heat)
    assert mixed.shape == (4, 4, 3)
    assert mixed.dtype == np.uint8
    assert (mixed[1:] == 200).all()
    assert not (mixed[0, 0] == 200).any()


@pytest.mark.parametrize("name", ["differences", "runs"])
def test_no_label_leaves_its_figure_or_lies_on_another(drawn, name):
    figure = drawn[name]
    figure.draw_without_rendering()
    for axes in figure.axes:
        low, high = axes.get_xlim()
        ticks = [each for each in axes.get_xticklabels() if each.get_text() and low <= each.get_position()[0] <= high]
        labels = [each for each in (axes.xaxis.label, axes.yaxis.label, *axes.get_yticklabels()) if each.get_text()]
        for box in (each.get_window_extent() for each in (*ticks, *labels)):
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= figure.bbox.x1 + 1
        boxes = [each.get_window_extent() for each in ticks if each.get_rotation() == 0]
        assert all(one.x1 < other.x0 for one, other in pairwise(boxes))
