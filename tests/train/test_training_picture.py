from __future__ import annotations

import cv2
import numpy as np
import pytest

from fastrad.train.pictures import _confusions, draw_classes


def test_the_largest_confusions_are_listed_with_share_and_both_names():
    confusion = np.array([[90, 10, 0], [0, 50, 0], [30, 0, 70]])
    lines = _confusions(["normal", "cyst", "tear"], confusion)
    assert lines == [
        "    30 ( 30%)  tear",
        "          taken for normal",
        "    10 ( 10%)  normal",
        "          taken for cyst",
    ]
    assert _confusions(["a", "b"], np.eye(2, dtype=int)) == ["none"]


@pytest.mark.parametrize("classes", [2, 165])
def test_the_picture_is_drawn_for_few_and_many_classes_with_some_absent(tmp_path, classes):
    random = np.random.default_rng(0)
    confusion = random.integers(0, 5, (classes, classes))
    confusion[1] = 0
    auroc = random.uniform(0.5, 1, classes)
    auroc[1] = np.nan
    names = [f"MR__anatomy_{index}__pathology" for index in range(classes)]
    draw_classes(tmp_path / "classes.png", names, auroc, confusion, title="title")
    picture = cv2.imread(str(tmp_path / "classes.png"))
    assert picture.shape[1] == 1700
    assert picture.std() > 10
