"""Patients, not images, are split: stratified, complete, reusable, and without a leak."""

from __future__ import annotations

import numpy as np
import pytest

from fastrad.dataset import write_beton
from fastrad.errors import InputError
from fastrad.study.protocol.patients import read_patients
from fastrad.study.protocol.splits import make_splits, read_splits


def write_dataset(path, labels, patients, images=None, **card):
    rng = np.random.default_rng(0)
    if images is None:
        images = rng.integers(0, 256, (len(labels), 8, 8), dtype=np.uint8)
    write_beton(path, images, labels, patients, classes=["benign", "malignant"], **card)
    return read_patients(path)


@pytest.fixture
def paper(tmp_path):
    """721 patients as in the abstract, 219 malignant, 822 images."""
    patients = np.concatenate((np.arange(721), np.arange(101)))
    return write_dataset(tmp_path / "all.beton", (patients % 721 < 219).astype(int), patients)


def test_the_abstracts_proportion_is_exact(paper):
    splits = make_splits(paper)
    assert splits.test().sum() == 145
    assert paper.patient_labels[splits.test()].sum() == 44
    sizes = [splits.validation(fold).sum() for fold in range(5)]
    malignant = [paper.patient_labels[splits.validation(fold)].sum() for fold in range(5)]
    assert sum(sizes) == 576
    assert max(sizes) - min(sizes) <= 1
    assert sorted(malignant) == [35, 35, 35, 35, 35]


def test_every_patient_is_in_one_place(paper):
    splits = make_splits(paper)
    for fold in range(5):
        parts = np.stack((splits.test(), splits.validation(fold), splits.training(fold)))
        assert (parts.sum(axis=0) == 1).all()


def test_splits_depend_on_the_seed_alone(paper):
    assert make_splits(paper, seed=3).to_csv() == make_splits(paper, seed=3).to_csv()
    assert make_splits(paper, seed=3).to_csv() != make_splits(paper, seed=4).to_csv()


def test_written_splits_read_back_the_same(paper, tmp_path):
    splits = make_splits(paper, seed=1)
    (tmp_path / "splits.csv").write_text(splits.to_csv())
    assert read_splits(tmp_path / "splits.csv", paper).to_csv() == splits.to_csv()


def test_imported_test_patients_get_folds_drawn(paper, tmp_path):
    lines = [f"{name},{'test' if index % 5 == 0 else 'development'}" for index, name in enumerate(paper.patients)]
    (tmp_path / "by-time.csv").write_text("patient,set\n" + "\n".join(lines) + "\n")
    splits = read_splits(tmp_path / "by-time.csv", paper, folds=4)
    assert splits.test().tolist() == [index % 5 == 0 for index in range(721)]
    assert splits.folds == 4
    assert len(set(splits.fold[~splits.test()])) == 4


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda text: text + text.splitlines()[1].replace("development", "test").rsplit(",", 1)[0] + ",\n", "two sets"),
        (lambda text: text.rsplit("\n", 2)[0] + "\n", "1 patients of the dataset are missing"),
        (lambda text: text + "nobody,0,test,\n", "line 723: the dataset has no such patient"),
        (lambda text: text.replace("patient,label,set", "who,label,set"), "no column patient"),
        (lambda text: text.replace(",development,", ",training,"), "'training' is neither"),
        (lambda text: text.replace(",development,0", ",development,", 1), "some have none"),
    ],
)
def test_splits_that_leak_or_lack_are_refused(paper, tmp_path, edit, reason):
    text = make_splits(paper).to_csv()
    header, *lines = text.splitlines()
    lines.sort(key=lambda line: ",test," in line)
    (tmp_path / "splits.csv").write_text(edit("\n".join([header, *lines]) + "\n"))
    with pytest.raises(InputError, match=reason):
        read_splits(tmp_path / "splits.csv", paper)


def test_patients_that_share_an_image_stay_together_and_it_is_said(tmp_path):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (60, 8, 8), dtype=np.uint8)
    images[[7, 31, 32]] = images[5]
    images[50] = images[20]
    labels = np.arange(60) % 2
    labels[[7, 31, 32, 5]] = 1
    dataset = write_dataset(tmp_path / "all.beton", labels, np.arange(60), images)
    assert any("2 groups of images" in notice and "2 of them across" in notice for notice in dataset.notices)
    place = {name: index for index, name in enumerate(dataset.patients)}
    for seed in range(20):
        fold = make_splits(dataset, seed=seed, folds=3).fold
        assert len({fold[place[f"p{index}"]] for index in (5, 7, 31, 32)}) == 1
        assert fold[place["p20"]] == fold[place["p50"]]


def test_imported_splits_that_separate_identical_images_are_refused(tmp_path):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (40, 8, 8), dtype=np.uint8)
    images[20] = images[2]
    dataset = write_dataset(tmp_path / "all.beton", np.arange(40) % 2, np.arange(40), images)
    text = "patient,set\n" + "".join(f"p{index},{'test' if index < 10 else 'development'}\n" for index in range(40))
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(InputError, match=r"p2, p20 share an image .* leak"):
        read_splits(tmp_path / "splits.csv", dataset)


def test_images_without_a_known_patient_count_alone_and_it_is_said(tmp_path):
    dataset = write_dataset(tmp_path / "all.beton", [0, 1] * 10, None)
    assert len(dataset.patients) == 20
    assert "20 of 20 images belong to no known patient" in dataset.notices[0]


def test_a_patient_with_a_malignant_image_is_malignant(tmp_path):
    dataset = write_dataset(tmp_path / "all.beton", [0, 1, 0, 0], [0, 0, 1, 1])
    assert dataset.patient_labels.tolist() == [1, 0]
    assert "1 patients have benign and malignant images" in dataset.notices[0]


@pytest.mark.parametrize(
    ("benign", "malignant", "options", "reason"),
    [
        (40, 3, {}, "the test set has 1 malignant patients of 3"),
        (40, 6, {"test_fraction": 0.4}, "fold 4 has no malignant patient"),
        (40, 40, {"folds": 1}, "at least 2"),
        (40, 40, {"test_fraction": 1.5}, "not between 0 and 1"),
    ],
)
def test_too_few_patients_are_one_clear_line(tmp_path, benign, malignant, options, reason):
    labels = [0] * benign + [1] * malignant
    dataset = write_dataset(tmp_path / "all.beton", labels, np.arange(len(labels)))
    with pytest.raises(InputError, match=reason):
        make_splits(dataset, **options)


def test_the_positive_class_must_be_known(tmp_path):
    images = np.zeros((4, 8, 8), dtype=np.uint8)
    write_beton(tmp_path / "all.beton", images, [0, 1, 0, 1], classes=["gutartig", "maligne"])
    with pytest.raises(InputError, match="--positive"):
        read_patients(tmp_path)
    with pytest.raises(InputError, match="no class 'malignant'"):
        read_patients(tmp_path, "malignant")
    assert read_patients(tmp_path, "maligne").labels.tolist() == [0, 1, 0, 1]
    write_beton(tmp_path / "one.beton", images, [0, 0, 0, 0], classes=["benign"])
    with pytest.raises(InputError, match="single class"):
        read_patients(tmp_path / "one.beton")
    with pytest.raises(InputError, match=r"no all\.beton"):
        read_patients(tmp_path.parent)
