"""One run of the study: fine-tune a network on the training part of a fold and score the rest.

In: dataset, fold membership, initial weights, recipe. Out: logits of every validation and test image, and the tuned
weights. The epoch is chosen on the fold's validation patients; test labels are not seen here.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fastrad.dataset import Dataset
from fastrad.errors import InputError, OptionError
from fastrad.loading import Loader
from fastrad.loading.policy import Augmentation
from fastrad.models.resnet import Normalisation, resnet
from fastrad.models.weights import Weights, initialise
from fastrad.study.inference.statistics import auroc


@dataclass(frozen=True)
class Recipe:
    """How every network of the study is tuned; the same for all arms.

    Attributes
    ----------
    epochs : int
        At most; `patience` may end a run earlier.
    size : int
        Side of the square input, pixels.
    batch_size : int
        Images a step.
    learning_rate : float
        AdamW's peak, after a linear warm-up over the first tenth of the steps; a cosine to zero follows.
    backbone_rate : float
        The backbone's learning rate as a share of the head's; 0 freezes it (normalisation statistics included).
    weight_decay : float
        On convolution and linear weights; none on biases and normalisation.
    patience : int
        Epochs without a better validation AUROC after which a run ends.
    class_weighting : bool
        Weight both classes alike in the loss; the logits are shifted back to the training prevalence, so that they
        remain calibrated.
    flip_average : bool
        Score an image as the mean logit of itself and its mirror image.
    """

    epochs: int = 30
    size: int = 224
    batch_size: int = 32
    learning_rate: float = 3e-4
    backbone_rate: float = 1.0
    weight_decay: float = 0.01
    patience: int = 10
    class_weighting: bool = False
    flip_average: bool = True

    def __post_init__(self) -> None:
        for name, low in (("epochs", 1), ("size", 32), ("batch_size", 2), ("patience", 1)):
            if getattr(self, name) < low:
                raise OptionError(f"{name} is {getattr(self, name)}, it must be at least {low}")
        if not self.learning_rate > 0 or not self.weight_decay >= 0 or not 0 <= self.backbone_rate <= 1:
            raise OptionError(
                f"learning rate {self.learning_rate} must be above 0, weight decay {self.weight_decay} not below 0, "
                f"the backbone's share of the rate {self.backbone_rate} between 0 and 1"
            )


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
class Run:
    """What a run leaves.

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
    task: Task, weights: Weights | None, recipe: Recipe, *, seed: int, fold: int, device: torch.device
) -> Run:
    """Tune one network and score validation and test images with its best epoch.

    The head's start, the order of the images and their augmentation depend on `seed` and `fold` alone, so they are
    the same for every arm. The best epoch has the highest AUROC over validation patients; of equal ones the one with
    the lower validation loss.

    Raises
    ------
    InputError
        If a score stops being a number.
    """
    started = time.monotonic()
    model = start(weights, task.normalisation, seed=seed, fold=fold, device=device)
    loader = Loader(
        task.dataset,
        recipe.batch_size,
        size=recipe.size,
        train=True,
        device=device,
        seed=_stream(seed, fold),
        indices=task.training,
        augment=Augmentation.nodule(),
    )
    optimiser = torch.optim.AdamW(_parameter_groups(model, recipe), fused=True)
    steps = len(loader) * recipe.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, steps))
    prevalence = float(task.labels[task.training].mean())
    odds = (1 - prevalence) / prevalence if recipe.class_weighting else 1.0
    positive_weight = torch.tensor(odds, device=device)

    # one loader for all epochs: an engine that holds its images in the device's memory fills it once
    validation = whole_frames(task.dataset, task.validation, recipe.size, 4 * recipe.batch_size, device)

    def score(images: Loader, *, flip_average: bool) -> NDArray[np.float64]:
        return score_images(model, images, task.normalisation, device, flip_average=flip_average)

    history: list[Epoch] = []
    best: tuple[float, float] = (-math.inf, -math.inf)
    best_state: dict[str, Tensor] = {}
    best_epoch = images = 0
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        if recipe.backbone_rate == 0:
            _freeze_statistics(model)
        loss_sum, seen = torch.zeros((), device=device), 0
        for batch in loader:
            if len(batch.rows) < 2:  # batch normalisation knows no variance of one value
                continue
            targets = (batch.labels == task.positive_class).float()
            with _autocast(device):
                logits = model(task.normalisation.apply(batch.images)).float()[:, 0]
            loss = functional.binary_cross_entropy_with_logits(logits, targets, pos_weight=positive_weight)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            loss_sum += loss.detach() * len(batch.rows)
            seen += len(batch.rows)
        images += seen
        scores = score(validation, flip_average=False) - math.log(odds)
        epoch_line = validate(task, scores, epoch, float(loss_sum) / max(seen, 1))
        history.append(epoch_line)
        if (epoch_line.val_auroc, -epoch_line.val_loss) > best:
            best, best_epoch = (epoch_line.val_auroc, -epoch_line.val_loss), epoch
            best_state = {key: value.detach().clone() for key, value in model.state_dict().items()}
        elif epoch - best_epoch >= recipe.patience:
            break

    stored = {key: value.half() if value.is_floating_point() else value for key, value in best_state.items()}
    # Logits of a class-weighted loss are shifted for a prevalence of one half: the head's bias takes it back.
    stored["fc.bias"] = stored["fc.bias"] - math.log(odds)
    model.load_state_dict({key: value.float() for key, value in stored.items()})
    test = whole_frames(task.dataset, task.test, recipe.size, 4 * recipe.batch_size, device)
    validation_scores, test_scores = (score(images, flip_average=recipe.flip_average) for images in (validation, test))
    return Run(
        validation_scores,
        test_scores,
        {key: value.cpu() for key, value in stored.items()},
        tuple(history),
        best_epoch,
        time.monotonic() - started,
        images,
    )


def whole_frames(
    dataset: Dataset, positions: NDArray[np.int64] | None, size: int, batch_size: int, device: torch.device
) -> Loader:
    """The images at `positions` of a dataset (None: all), in that order, without augmentation."""
    return Loader(dataset, batch_size, size=size, train=False, device=device, indices=positions)


def score_images(
    model: nn.Module, images: Loader, normalisation: Normalisation, device: torch.device, *, flip_average: bool
) -> NDArray[np.float64]:
    """Logits of a loader's images, in its order.

    Raises
    ------
    InputError
        If one is not a number: training has diverged.
    """
    scores = outputs(model, images, normalisation, device, flip_average=flip_average)[:, 0]
    if not np.isfinite(scores).all():
        raise InputError(
            f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are not numbers: the network has diverged; "
            "lower the learning rate"
        )
    return scores


def outputs(
    model: nn.Module, images: Loader, normalisation: Normalisation, device: torch.device, *, flip_average: bool
) -> NDArray[np.float64]:
    """What a network in evaluation mode gives for a loader's images: (images, outputs)."""
    model.eval()
    parts = []
    with torch.inference_mode(), _autocast(device):
        for batch in images:
            pixels = normalisation.apply(batch.images)
            found = model(pixels).float()
            if flip_average:
                found = (found + model(pixels.flip(-1)).float()) / 2
            parts.append(found.cpu())
    return torch.cat(parts).numpy().astype(np.float64)


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
    weights: Weights | None, normalisation: Normalisation, *, seed: int, fold: int, device: torch.device
) -> nn.Module:
    """The network before its first step: weights, and a fresh head that depends on `seed` and `fold` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_stream(seed, fold))
        model = resnet(weights.architecture if weights is not None else "resnet18", 1)
    if weights is not None:
        initialise(model, weights, normalisation=normalisation)
    return model.to(device)


def _stream(seed: int, fold: int) -> int:
    """A seed of its own for each (seed, fold)."""
    return int(np.random.SeedSequence([seed, fold]).generate_state(1)[0])


def _parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict]:
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        head = name.startswith("fc.")
        if not head and recipe.backbone_rate == 0:
            parameter.requires_grad_(False)
            continue
        groups.setdefault((head, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": recipe.learning_rate * (1.0 if head else recipe.backbone_rate),
            "weight_decay": recipe.weight_decay if decays else 0.0,
        }
        for (head, decays), parameters in groups.items()
    ]


def _rate(step: int, steps: int) -> float:
    warm = max(1, steps // 10)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _freeze_statistics(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _autocast(device: torch.device) -> torch.autocast:
    """bfloat16 on GPUs that compute in it themselves; others would emulate it, slowly."""
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=native)
