"""Fine-tuning learns what is there, learns nothing from shuffled labels, and can be scored again from its file."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from fastrad.dataset import write_beton
from fastrad.dataset.opening import open_dataset
from fastrad.imaging.normalisation import Normalisation
from fastrad.models.resnet import resnet18
from fastrad.models.weights import load_weights
from fastrad.study.inference.auroc import auroc, auroc_interval
from fastrad.study.networks.score import score_images
from fastrad.study.networks.tune import Task, fine_tune
from fastrad.study.protocol.config import Tuning
from fastrad.train.outputs import whole_frames
from fastrad.train.precision import Precision

CPU = torch.device("cpu")
HERE = {"device": CPU, "precision": Precision("float32")}
RECIPE = Tuning(epochs=3, size=32, batch_size=16, learning_rate=1e-3)


def make_task(path, *, seed=0, shuffle=False, images=96):
    """Discs that are darker where malignant, in noise; a third each for training, validation and test."""
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % 2
    pictures_of = labels.copy()
    pictures = rng.normal(128, 30, (images, 32, 32))
    pictures[:, 8:24, 8:24] -= 60 * labels[:, None, None] + rng.normal(0, 25, (images, 1, 1))
    part = np.arange(images) // 2 % 3
    if shuffle:  # half of each class in each part, so that the new labels say nothing at all about the pictures
        for index in (0, 1):
            for label in (0, 1):
                members = np.flatnonzero((part == index) & (pictures_of == label))
                labels[rng.permutation(members)[: len(members) // 2]] = 1 - label
    pictures = np.clip(pictures, 0, 255).astype(np.uint8)
    write_beton(path, pictures, labels, np.arange(images), classes=["benign", "malignant"])
    places = [np.flatnonzero(part == index) for index in range(3)]
    return Task(open_dataset(path), 1, Normalisation.gray(0.45, 0.15), labels, np.arange(images), *places)


def test_a_visible_difference_is_learned_and_the_stored_weights_score_the_same(tmp_path):
    task = make_task(tmp_path / "all.beton")
    run = fine_tune(task, None, RECIPE, seed=0, fold=0, **HERE)
    assert auroc(task.labels[task.test], run.test_scores) > 0.85
    assert run.best_epoch == 1 + int(np.argmax([line.val_auroc for line in run.history]))
    model = resnet18(1)
    model.load_state_dict({key: value.float() for key, value in run.state.items()})
    images = whole_frames(task.dataset, task.test, 32, CPU)
    again = score_images(model, images, task.normalisation, CPU, flip_average=True)
    assert again == pytest.approx(run.test_scores, abs=1e-4)


def test_class_weighting_keeps_the_mean_probability_near_the_prevalence(tmp_path):
    task = make_task(tmp_path / "all.beton")
    rare = np.concatenate(
        (task.training[task.labels[task.training] == 0], task.training[task.labels[task.training] == 1][:4])
    )
    unbalanced = Task(**{**task.__dict__, "training": np.sort(rare)})
    recipe = Tuning(epochs=3, size=32, batch_size=8, learning_rate=1e-3, class_weighting=True)
    weighted = fine_tune(unbalanced, None, recipe, seed=0, fold=0, **HERE)
    shifted = (1 / (1 + np.exp(-weighted.test_scores))).mean()
    assert shifted < 0.4


def test_a_frozen_backbone_stays_as_it_was(tmp_path):
    task = make_task(tmp_path / "all.beton", images=48)
    run = fine_tune(task, None, Tuning(epochs=1, size=32, backbone_rate=0.0), seed=3, fold=1, **HERE)
    other = fine_tune(
        task, None, Tuning(epochs=1, size=32, backbone_rate=0.0, learning_rate=0.1), seed=3, fold=1, **HERE
    )
    for key, value in run.state.items():
        assert torch.equal(value, other.state[key]) == (not key.startswith("fc.")), key


def test_the_start_of_the_head_is_alike_in_every_arm(tmp_path):
    """With a learning rate near zero the head stays as it started."""
    task = make_task(tmp_path / "all.beton", images=48)
    torch.manual_seed(5)
    torch.save(resnet18(1000, 3).state_dict(), tmp_path / "weights.pth")
    recipe = Tuning(epochs=1, size=32, learning_rate=1e-9)
    heads = [
        fine_tune(task, weights, recipe, seed=2, fold=0, **HERE).state["fc.weight"]
        for weights in (None, load_weights(tmp_path / "weights.pth"))
    ]
    assert torch.allclose(heads[0].float(), heads[1].float(), atol=1e-4)


@pytest.mark.slow
def test_shuffled_training_labels_teach_nothing(tmp_path):
    """One network that learned nothing may still rank by brightness, up or down; over shuffles the mean is one half."""
    found = []
    for seed in range(8):
        task = make_task(tmp_path / f"{seed}.beton", seed=seed, shuffle=True)
        run = fine_tune(task, None, RECIPE, seed=seed, fold=0, **HERE)
        found.append(auroc(task.labels[task.test], run.test_scores))
    assert stats.ttest_1samp(found, 0.5).pvalue > 0.001
    true_labels = make_task(tmp_path / "true.beton")
    learned = fine_tune(true_labels, None, RECIPE, seed=0, fold=0, **HERE)
    low, _ = auroc_interval(true_labels.labels[true_labels.test], learned.test_scores)
    assert low > 0.5
