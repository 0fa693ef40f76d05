"""An arm that is not tuned at all: a network's features as they are, under a logistic regression.

The regression becomes the network's head, so that predictions, Grad-CAM and later scoring go the same way as for a
tuned network. Nothing here is a training step: features and scores are float32.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from scipy.special import expit
from torch import nn

from fastrad.errors import InputError
from fastrad.models.weights import Weights
from fastrad.study.networks.score import score_images
from fastrad.study.networks.tune import Epoch, Task, Tuned, start, validate
from fastrad.study.protocol.config import Tuning
from fastrad.train.outputs import outputs, whole_frames

# Inverse strengths of the ridge penalty on standardised features. One is chosen on the fold's validation patients, as
# a tuned network's epoch is.
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def fit_head(
    task: Task,
    weights: Weights | None,
    tuning: Tuning,
    *,
    seed: int,
    fold: int,
    device: torch.device,
    redrawn: bool = False,
    architecture: str = "resnet18",
) -> Tuned:
    """Fit the head on the features of the training images, whole frames without augmentation.

    Parameters
    ----------
    task, weights, tuning, seed, fold, device, redrawn, architecture
        As in `fine_tune`; of the tuning count the size, class weighting and flip averaging.

    Returns
    -------
    Tuned
        `history` has a line a strength instead of one an epoch.

    Raises
    ------
    InputError
        If the training images are of one class, or a score is not a number.
    """
    from sklearn.linear_model import LogisticRegression  # of an extra; `require_regression` has looked for it

    started = time.monotonic()
    model = start(
        weights,
        task.normalisation,
        seed=seed,
        fold=fold,
        device=device,
        redrawn=redrawn,
        architecture=architecture,
    )
    assert isinstance(model.fc, nn.Linear)
    width, model.fc = model.fc.in_features, nn.Identity()
    training, validation, *test = (
        whole_frames(task.dataset, positions, tuning.size, device)
        for positions in (task.training, task.validation, task.test)
        if len(positions)
    )
    features, validated = (
        outputs(model, images, task.normalisation, device, flip_average=tuning.flip_average)
        for images in (training, validation)
    )
    labels = task.labels[task.training]
    if len(np.unique(labels)) < 2:
        raise InputError(f"{task.dataset.path}: the training images of fold {fold} are all of one class")
    mean, spread = features.mean(0), np.maximum(features.std(0), 1e-6)
    prevalence = float(labels.mean())
    shift = math.log((1 - prevalence) / prevalence) if tuning.class_weighting else 0.0

    history: list[Epoch] = []
    heads = []
    for number, strength in enumerate(STRENGTHS, start=1):
        regression = LogisticRegression(
            C=strength, class_weight="balanced" if tuning.class_weighting else None, max_iter=2000
        )
        regression.fit((features - mean) / spread, labels)
        slope = regression.coef_[0] / spread  # of the features as they are
        intercept = float(regression.intercept_[0] - slope @ mean - shift)
        heads.append((slope, intercept))
        chances = np.clip(expit(features @ slope + intercept + shift), 1e-12, 1 - 1e-12)
        train_loss = -float(np.mean(np.where(labels == 1, np.log(chances), np.log1p(-chances))))
        history.append(validate(task, validated @ slope + intercept, number, train_loss))
    best = max(history, key=lambda line: (line.val_auroc, -line.val_loss)).epoch
    slope, intercept = heads[best - 1]

    model.fc = nn.Linear(width, 1)
    state = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
    state["fc.weight"] = torch.from_numpy(slope[None]).to(device, torch.float16)
    state["fc.bias"] = torch.tensor([intercept], device=device, dtype=torch.float16)
    model.load_state_dict({key: value.float() for key, value in state.items()})
    model.to(device)
    validation_scores, *test_scores = (
        score_images(model, images, task.normalisation, device, flip_average=tuning.flip_average)
        for images in (validation, *test)
    )
    return Tuned(
        validation_scores,
        test_scores[0] if test_scores else np.zeros(0),
        {key: value.cpu() for key, value in state.items()},
        tuple(history),
        best,
        time.monotonic() - started,
        len(task.training),
    )
