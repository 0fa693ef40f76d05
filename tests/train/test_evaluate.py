"""A pretrained network, of any architecture, on a dataset: from training to its figures."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score
from tiny_images import CLASSES, tiny_images

from fastrad.archives import read_source
from fastrad.cli import main
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset import write_beton
from fastrad.errors import InputError
from fastrad.models.export import export
from fastrad.models.weights import load_weights
from fastrad.train.config import EvaluateConfig, PretrainConfig, Recipe
from fastrad.train.evaluate import evaluate
from fastrad.train.pretrain import pretrain


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    recipe = Recipe(architecture="resnet34", epochs=2, batch_size=12, lr=0.02)
    out = tmp_path_factory.mktemp("resnet34") / "run"
    return PretrainConfig(tiny / "train.beton", tiny / "val.beton", out, recipe, device="cpu")


@pytest.fixture(scope="module")
def weights(run):
    return pretrain(run)


@pytest.fixture(scope="module")
def test_file(tmp_path_factory):
    """Classes in another order, one more that has no image, two images a patient."""
    images, labels = tiny_images(50, 3)
    path = tmp_path_factory.mktemp("test") / "test.beton"
    order = ["flat", "none of these", "bars", "blobs"]
    labels = np.array([order.index(CLASSES[label]) for label in labels])
    write_beton(path, images, labels, rows=np.arange(50), classes=order, patients=np.arange(50) // 2)
    return path


def test_another_architecture_goes_through_all_that_follows(run, weights, tmp_path):
    loaded = load_weights(weights)
    assert loaded.architecture == "resnet34"
    assert loaded.metadata["architecture"] == "resnet34, one channel"
    assert (run.out / "MODEL_CARD.md").read_text().startswith("# ResNet-34, 3 classes")
    assert export(weights, "torchvision", tmp_path / "a.pth") < 1e-3
    from torchvision.models import resnet34

    assert set(load_weights(tmp_path / "a.pth").state) == set(resnet34().state_dict())


def test_another_architecture_is_another_run(run, weights):
    with pytest.raises(InputError, match="architecture resnet34 there, resnet18 asked"):
        pretrain(replace(run, recipe=replace(run.recipe, architecture="resnet18")))


def test_figures_are_scikit_learns_on_the_logits_that_are_left(weights, test_file, tmp_path, capsys):
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(weights), str(test_file), "--out", str(out), "--resamples", "50"])
    assert not ended.value.code
    shown = capsys.readouterr()
    record = json.loads((out / "evaluation.json").read_text())
    with open(out / "logits.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [int(line["row"]) for line in lines] == list(range(50))
    labels = np.array([int(line["label"]) for line in lines])
    assert np.array_equal(labels, tiny_images(50, 3)[1])  # in the network's order again
    scores = np.array([[float(line[f"logit_{index}"]) for index in range(3)] for line in lines])
    scores -= np.log(np.exp(scores).sum(1, keepdims=True))
    expected = [roc_auc_score(labels == index, scores[:, index]) for index in range(3)]
    assert [record["classes"][name]["auroc"] for name in CLASSES] == pytest.approx(expected, abs=1e-6)
    assert record["metrics"]["macro_auroc"]["value"] == pytest.approx(np.mean(expected), abs=1e-6)
    low, high = record["metrics"]["macro_auroc"]["interval"]
    assert low <= np.mean(expected) <= high
    assert record["resampled"] == "patients"
    assert record["metrics"]["top1"]["value"] == pytest.approx((scores.argmax(1) == labels).mean())
    assert f"macro AUROC          {np.mean(expected):.4f} ({low:.4f} to {high:.4f})" in shown.out
    assert (out / "classes.png").stat().st_size > 10_000


def test_the_file_that_chose_the_epoch_gives_the_recorded_figures_and_is_named(tiny, weights):
    found = evaluate(weights, tiny / "val.beton", EvaluateConfig(resamples=0))
    recorded = load_weights(weights).metadata["metrics"]
    assert found.found.macro_auroc == pytest.approx(recorded["val_macro_auroc"], abs=1e-6)
    assert found.found.loss == pytest.approx(recorded["val_loss"], rel=1e-4)
    assert any("trained or chosen on these very images" in notice for notice in found.notices)
    assert found.intervals == {}


def _converted(root, count, seed, *more):
    """Generated pictures as PNG in a folder a class, and `more` ones (picture, class name), converted."""
    images, labels = tiny_images(count, seed, size=32)
    pictures = [(image, CLASSES[label]) for image, label in zip(images, labels, strict=True)] + list(more)
    for number, (image, name) in enumerate(pictures):
        (root / "images" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / "images" / name / f"{seed}-{number}.png")
    convert(read_source("folder", root / "images"), root / "out", ConvertOptions(size=32, workers=1))
    return root / "out" / "all.beton", pictures


def test_seen_images_in_another_archive_are_counted(tmp_path):
    train, _ = _converted(tmp_path / "train", 36, 1)
    val, pictures = _converted(tmp_path / "val", 24, 2)
    weights = pretrain(PretrainConfig(train, val, tmp_path / "run", Recipe(epochs=1, batch_size=12), device="cpu"))
    for known, told in ((pictures[:12], "12 of its 32 images have trained or chosen the network"), ([], "")):
        mixed, _ = _converted(tmp_path / f"mixed{len(known)}", 32 - len(known), 3, *known)
        notices = evaluate(weights, mixed, EvaluateConfig(resamples=0)).notices
        said = [notice for notice in notices if "trained or chosen" in notice]
        assert len(said) == bool(told)
        assert all(told in notice for notice in said)


def test_classes_that_the_network_does_not_know_are_refused(weights, tmp_path):
    images, labels = tiny_images(9, 4)
    write_beton(tmp_path / "other.beton", images, labels, rows=np.arange(9), classes=["bars", "spots", "flat"])
    with pytest.raises(InputError, match=r"1 of its classes are none of the network's 3 \(first: 'spots'\)"):
        evaluate(weights, tmp_path / "other.beton")
