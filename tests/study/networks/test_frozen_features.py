"""Frozen features under a logistic regression, against torchvision's network and scikit-learn put together by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_fine_tuning import CPU, make_task

from fastrad.models.weights import load_weights, save_weights
from fastrad.study.networks.frozen import STRENGTHS, fit_head
from fastrad.study.protocol.config import Tuning

RECIPE = Tuning(size=32, flip_average=False)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(11)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_weights(path, torchvision.models.resnet18(num_classes=7).state_dict(), {})
    return load_weights(path)


def features_by_hand(task, weights, positions):
    """The stored images through torchvision's three-channel network: gray in each channel, normalised alike."""
    model = torchvision.models.resnet18(num_classes=7)
    model.load_state_dict(weights.state)
    model.fc = torch.nn.Identity()
    file = task.dataset
    images = torch.tensor(np.stack([file.decode(index) for index in positions]))[:, None].float() / 255
    with torch.inference_mode():
        return model.eval()(((images - 0.45) / 0.15).expand(-1, 3, -1, -1)).double().numpy()


def test_the_head_is_scikit_learns_regression_on_torchvisions_features(tmp_path, weights):
    task = make_task(tmp_path / "all.beton")
    run = fit_head(task, weights, RECIPE, seed=0, fold=0, device=CPU)
    chosen = STRENGTHS[run.best_epoch - 1]
    regression = make_pipeline(StandardScaler(), LogisticRegression(C=chosen, max_iter=2000))
    regression.fit(features_by_hand(task, weights, task.training), task.labels[task.training])
    expected = regression.decision_function(features_by_hand(task, weights, task.test))
    assert run.test_scores == pytest.approx(expected, abs=0.02)  # the weights are stored as float16
    assert [line.epoch for line in run.history] == [1, 2, 3, 4, 5]
    assert run.best_epoch == 1 + int(np.argmax([line.val_auroc for line in run.history]))


def test_nothing_below_the_head_changes(tmp_path, weights):
    task = make_task(tmp_path / "all.beton", images=48)
    run = fit_head(task, weights, RECIPE, seed=0, fold=0, device=CPU)
    for key, value in run.state.items():
        if key not in ("conv1.weight", "fc.weight", "fc.bias"):  # the stem is summed over the channels
            assert torch.equal(value.float(), weights.state[key].half().float()), key


def test_class_weighting_keeps_the_mean_probability_near_the_prevalence(tmp_path, weights):
    task = make_task(tmp_path / "all.beton")
    benign, malignant = (task.training[task.labels[task.training] == label] for label in (0, 1))
    unbalanced = replace(task, training=np.sort(np.concatenate((benign, malignant[:4]))))
    recipe = replace(RECIPE, class_weighting=True)
    run = fit_head(unbalanced, weights, recipe, seed=0, fold=0, device=CPU)
    assert expit(run.validation_scores[task.labels[task.validation] == 0]).mean() < 0.4
