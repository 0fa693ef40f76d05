"""Copies inside a study keep patients together, blank frames do not, and one image has one label."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from textured_archives import picture

from fastrad.dataset import write_beton
from fastrad.errors import InputError
from fastrad.study.protocol.patients import read_patients
from fastrad.study.protocol.splits import make_splits

CLASSES = ["benign", "malignant"]


def written(path, images, labels):
    """A patient an image."""
    names = [f"p{number}" for number in range(len(labels))]
    write_beton(
        path, np.stack(images), labels, np.arange(len(labels)), classes=["benign", "malignant"], patient_names=names
    )
    return read_patients(path)


def _jpeg(image):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], cv2.IMREAD_GRAYSCALE)


@pytest.fixture
def images():
    return [picture(seed, 64, 64) for seed in range(40)]


def test_near_copies_keep_their_patients_together(tmp_path, images):
    images[9] = _jpeg(images[3])
    images[22] = cv2.convertScaleAbs(images[4], alpha=0.9, beta=12)
    images[31] = np.clip(images[22].astype(int) + np.random.default_rng(0).integers(-3, 4, (64, 64)), 0, 255).astype(
        np.uint8
    )
    labels = np.arange(40) % 2
    labels[[9, 22, 31]] = labels[[3, 4, 4]]
    dataset = written(tmp_path / "all.beton", images, labels)
    joined = {tuple(np.array(dataset.patients)[dataset.groups == group]) for group in dataset.groups}
    assert {each for each in joined if len(each) > 1} == {("p3", "p9"), ("p22", "p31", "p4")}
    assert (dataset.copies.near, dataset.copies.near_across, dataset.copies.joined) == (4, 4, 5)
    assert any("4 pairs of images are near copies" in notice for notice in dataset.notices)
    for seed in range(5):
        fold = make_splits(dataset, test_fraction=0.3, folds=2, seed=seed).fold
        for names in (("p3", "p9"), ("p22", "p31", "p4")):
            assert len({int(fold[dataset.patients.index(name)]) for name in names}) == 1


def test_mirror_images_keep_their_patients_together_and_those_of_another_label_are_refused(tmp_path, images):
    images[9], images[22] = images[3][:, ::-1], _jpeg(np.ascontiguousarray(images[4][:, ::-1]))
    images[31] = images[5][::-1]  # upside down: not looked for
    labels = np.arange(40) % 2
    labels[[9, 22]] = labels[[3, 4]]
    dataset = written(tmp_path / "all.beton", images, labels)
    joined = {tuple(np.array(dataset.patients)[dataset.groups == group]) for group in dataset.groups}
    assert {each for each in joined if len(each) > 1} == {("p3", "p9"), ("p22", "p4")}
    labels[9] = 1 - labels[3]
    with pytest.raises(InputError, match="one image, mirrored or not, stands under two labels: rows 3"):
        written(tmp_path / "two.beton", images, labels)


def _black(rng):
    return np.zeros((64, 64), np.uint8)


def _titled(rng):
    frame = np.zeros((64, 64), np.uint8)
    cv2.putText(frame, "LEFT", (2, 10), cv2.FONT_HERSHEY_PLAIN, 0.6, 255)
    return frame


def _nearly_black(rng):
    return rng.integers(0, 3, (64, 64), dtype=np.uint8)


@pytest.mark.parametrize("blank", [_black, _titled, _nearly_black])
def test_frames_that_show_nothing_join_nobody(tmp_path, images, blank):
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 2)
    both = [frame for image in images for frame in (image, blank(rng))]
    labels = np.repeat(np.arange(40) % 2, 2)
    names = [f"p{number}" for number in range(40)]
    write_beton(
        tmp_path / "all.beton", np.stack(both), labels, patients, classes=["benign", "malignant"], patient_names=names
    )
    dataset = read_patients(tmp_path / "all.beton")
    assert len(set(dataset.groups.tolist())) == 40
    assert dataset.copies.blank == 40
    sizes = np.bincount(make_splits(dataset, test_fraction=0.25, folds=5).fold + 1)
    assert sizes.tolist() == [10, 6, 6, 6, 6, 6]


def test_one_image_under_two_labels_is_refused_with_its_rows(tmp_path, images):
    images[11] = images[4]
    with pytest.raises(InputError, match=r"stands under two labels: rows 4 \(benign\) and 11 \(malignant\); correct"):
        written(tmp_path / "all.beton", images, np.arange(40) % 2)
    images[11] = _jpeg(images[4])
    with pytest.raises(InputError, match=r"rows 4 \(benign\) and 11 \(malignant\)"):
        written(tmp_path / "near.beton", images, np.arange(40) % 2)


def test_other_pictures_are_no_copies(tmp_path, images):
    dataset = written(tmp_path / "all.beton", images, np.arange(40) % 2)
    assert (dataset.copies.identical, dataset.copies.near, dataset.copies.joined, dataset.copies.largest) == (
        0,
        0,
        0,
        1,
    )
