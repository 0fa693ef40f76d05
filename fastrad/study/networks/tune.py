"""Tune one network of the study on the training part of a fold, and score validation and test images with it.

The epoch is chosen on the fold's validation patients; test labels are not seen here. A step is that of pretraining
(`fastrad.train.step`), in the precision that the caller chooses; scores are float32 (`score`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fastrad.dataset import Dataset
from fastrad.imaging.normalisation import Normalisation
from fastrad.loading import Loader
from fastrad.loading.policy import Augmentation
from fastrad.models.resnet import HEAD, resnet
from fastrad.models.weights import Weights, initialise
from fastrad.study.inference.auroc import auroc
from fastrad.study.networks.score import score_images
from fastrad.study.protocol.config import Tuning
from fastrad.train.outputs import whole_frames
from fastrad.train.precision import Precision
from fastrad.train.ranks import Ranks
from fastrad.train.schedule import adamw, learning_rate, set_lr
from fastrad.train.step import Learner, timed_convolutions


@dataclass(frozen=True)
class Task:
    """The images of one fold, as positions in the dataset file.

    Attributes
    ----------
    dataset : Dataset
        The opened file.
    positive_class : int
        The file's class index that counts as malignant.
    normalisation : Normalisation
        Of the development images; the same for every arm and fold.
    labels : int64 array, shape (images in the file,)
        1 is malignant.
    patient_of : int64 array, shape (images in the file,)
    training, validation, test : int64 arrays of positions
        `test` is empty where no test patient may be scored yet.
    """

    dataset: Dataset
    positive_class: int
    normalisation: Normalisation
    labels: NDArray[np.int64]
    patient_of: NDArray[np.int64]
    training: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Epoch:
    """One line of a run's history."""

    epoch: int
    train_loss: float
    val_loss: float
    val_auroc: float


@dataclass(frozen=True)
class Tuned:
    """What a tuned network leaves.

    Attributes
    ----------
    validation_scores, test_scores : float64 arrays
        Logits in the order of the task's positions, from the weights as they are stored.
    state : dict of str to tensor
        The best epoch's weights, float16 (half the disk; `num_batches_tracked` stays an integer).
    history : tuple of Epoch
    best_epoch : int
        Counted from 1.
    seconds, images : float, int
        Wall time, and training images seen.
    """

    validation_scores: NDArray[np.float64]
    test_scores: NDArray[np.float64]
    state: dict[str, Tensor]
    history: tuple[Epoch, ...]
    best_epoch: int
    seconds: float
    images: int


def fine_tune(
    task: Task,
    weights: Weights | None,
    tuning: Tuning,
    *,
    seed: int,
    fold: int,
    device: torch.device,
    precision: Precision,
    redrawn: bool = False,
    architecture: str = "resnet18",
    tick: Callable[[float], None] = lambda share: None,
) -> Tuned:
    """Tune one network and score validation and test images with its best epoch.

    The head's start, the order of the images and their augmentation depend on `seed` and `fold` alone, so they are
    the same for every arm. `architecture` is of a network without weights. The best epoch has the highest AUROC over
    validation patients; of equal ones the one with the lower validation loss.

    Raises
    ------
    InputError
        If a score stops being a number.
    """
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
    head_alone = min(math.ceil(tuning.head_first * tuning.epochs), tuning.epochs - 1)  # epochs
    share = 0.0 if head_alone else tuning.backbone_rate
    learner = _learner(model, tuning, share, task.normalisation, precision, device)
    loader = Loader(
        task.dataset,
        tuning.batch_size,
        size=tuning.size,
        train=True,
        device=device,
        seed=_stream(seed, fold),
        indices=task.training,
        augment=Augmentation.nodule(),
    )
    steps = len(loader) * tuning.epochs
    prevalence = float(task.labels[task.training].mean())
    odds = (1 - prevalence) / prevalence if tuning.class_weighting else 1.0
    binary_loss = partial(_binary_loss, positive_weight=torch.tensor(odds, device=device))

    # one loader for all epochs: an engine that holds its images in the device's memory fills it once
    validation = whole_frames(task.dataset, task.validation, tuning.size, device)

    def score(images: Loader, *, flip_average: bool) -> NDArray[np.float64]:
        return score_images(model, images, task.normalisation, device, flip_average=flip_average)

    history: list[Epoch] = []
    best: tuple[float, float] = (-math.inf, -math.inf)
    best_state: dict[str, Tensor] = {}
    best_epoch = images = done = 0
    first, ahead = 0, len(loader) * (head_alone or tuning.epochs)  # steps before a warm-up, and to its cosine's end
    for epoch in range(1, tuning.epochs + 1):
        if head_alone and epoch == head_alone + 1:
            learner = _learner(model, tuning, tuning.backbone_rate, task.normalisation, precision, device)
            first, ahead = done, steps - done
        loss_sum, seen = torch.zeros((), device=device), 0
        with timed_convolutions():
            for batch in loader:
                if len(batch.rows) < 2:  # batch normalisation knows no variance of one value
                    continue
                rising = max(1, ahead // 10)
                set_lr(learner.optimiser, learning_rate(done - first, ahead, rising=rising))
                targets = (batch.labels == task.positive_class).float()
                loss = learner.step(batch.images, partial(binary_loss, targets=targets), number=done)
                done += 1
                loss_sum += loss * len(batch.rows)
                seen += len(batch.rows)
                tick(done / (steps + 1))  # at most: an epoch without improvement may be the last
        images += seen
        scores = score(validation, flip_average=False) - math.log(odds)
        epoch_line = validate(task, scores, epoch, float(loss_sum) / max(seen, 1))
        history.append(epoch_line)
        if (epoch_line.val_auroc, -epoch_line.val_loss) > best:
            best, best_epoch = (epoch_line.val_auroc, -epoch_line.val_loss), epoch
            best_state = {key: value.detach().clone() for key, value in model.state_dict().items()}
        elif epoch - max(best_epoch, head_alone) >= tuning.patience:  # all layers have their chance
            break

    stored = {key: value.half() if value.is_floating_point() else value for key, value in best_state.items()}
    # Logits of a class-weighted loss are shifted for a prevalence of one half: the head's bias takes it back.
    stored["fc.bias"] = stored["fc.bias"] - math.log(odds)
    model.load_state_dict({key: value.float() for key, value in stored.items()})
    test = [whole_frames(task.dataset, task.test, tuning.size, device)] if len(task.test) else []
    validation_scores, *test_scores = (score(each, flip_average=tuning.flip_average) for each in (validation, *test))
    return Tuned(
        validation_scores,
        test_scores[0] if test_scores else np.zeros(0),
        {key: value.cpu() for key, value in stored.items()},
        tuple(history),
        best_epoch,
        time.monotonic() - started,
        images,
    )


def _learner(
    model: nn.Module,
    tuning: Tuning,
    share: float,
    normalisation: Normalisation,
    precision: Precision,
    device: torch.device,
) -> Learner:
    """The network with an optimiser whose backbone learns at a share of the rate; with 0 the head learns alone."""
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return Learner(
        model,
        adamw(model, peak=tuning.learning_rate, backbone_share=share, weight_decay=tuning.weight_decay),
        precision,
        normalisation,
        Ranks(0, 1, device),
        frozen_statistics=share == 0,
    )


def _binary_loss(logits: Tensor, *, targets: Tensor, positive_weight: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(logits[:, 0], targets, pos_weight=positive_weight)


def patient_means(patient_of: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[NDArray, NDArray[np.float64]]:
    """The patients that occur, ascending, and the mean of each one's values."""
    patients, inverse = np.unique(patient_of, return_inverse=True)
    return patients, np.bincount(inverse, weights=values) / np.bincount(inverse)


def validate(task: Task, scores: NDArray[np.float64], epoch: int, train_loss: float) -> Epoch:
    """A line of the history from the logits of the validation images."""
    owners, labels = task.patient_of[task.validation], task.labels[task.validation]
    _, patient_scores = patient_means(owners, scores)
    _, shares = patient_means(owners, labels.astype(np.float64))
    # -log sigmoid(s) for malignant, -log(1 - sigmoid(s)) for benign images
    loss = float(np.mean(np.logaddexp(0, np.where(labels == 1, -scores, scores))))
    return Epoch(epoch, train_loss, loss, auroc((shares > 0).astype(np.int64), patient_scores))


def start(
    weights: Weights | None,
    normalisation: Normalisation,
    *,
    seed: int,
    fold: int,
    device: torch.device,
    redrawn: bool = False,
    architecture: str = "resnet18",
) -> nn.Module:
    """The network before its first step: weights, and a fresh head that depends on `seed` and `fold` alone.

    Without weights it is of `architecture`, and the layers below the head are drawn by `seed` and `fold` too, and drawn
    again where `redrawn`.
    """
    architecture = weights.architecture if weights is not None else architecture
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_stream(seed, fold))
        model = resnet(architecture, 1)
        if redrawn:
            torch.manual_seed(_stream(seed, fold, 1))
            head = {name: value for name, value in model.state_dict().items() if name in HEAD}
            model.load_state_dict({**resnet(architecture, 1).state_dict(), **head})
    if weights is not None:
        initialise(model, weights, normalisation=normalisation)
    return model.to(device)


def _stream(*key: int) -> int:
    """A seed of its own for each (seed, fold), and for each further draw."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])
