"""How long a study's networks will take here: what passes through them, over what this machine was just seen to do.

The count is the most that a study can need: a run that stops improving ends before its last epoch.
"""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from torch.nn import functional

from fastrad.imaging.normalisation import Normalisation
from fastrad.models.resnet import resnet
from fastrad.study.protocol.config import Tuning
from fastrad.study.protocol.plan import Network, Protocol
from fastrad.study.protocol.search import Recipe
from fastrad.study.protocol.splits import training_subset
from fastrad.system.progress import time_text
from fastrad.train.precision import choose_precision
from fastrad.train.ranks import Ranks
from fastrad.train.schedule import adamw, set_lr
from fastrad.train.step import Learner

_FORWARD = 3  # a score costs a third of a training step: the way back through a network is twice the way forward
# 1e9 operations of a forward pass at 224 px, as torchvision lists them
_OPERATIONS = {"resnet18": 1.81, "resnet34": 3.66, "resnet50": 4.09, "resnet101": 7.80, "resnet152": 11.51}
_PROBE = 8  # images of a step that is timed on a CPU; a GPU gets whole batches
_PROBE_SECONDS = 0.5


def images_passed(network: Network, protocol: Protocol) -> int:
    """The work of a network, at most; where its recipe is to be searched for, that of the fixed one."""
    splits, dataset = protocol.splits, protocol.dataset
    images = np.bincount(dataset.patient_of, minlength=len(splits.patients))
    training = int(images[training_subset(splits, network.fold, network.patients, network.seed)].sum())
    validation, test = (int(images[part].sum()) for part in (splits.validation(network.fold), splits.test()))
    return work(training, validation, test, Recipe(protocol.tuning, network.arm.frozen), network.arm.architecture)


def work(training: int, validation: int, test: int, recipe: Recipe, architecture: str) -> int:
    """The work of a run at most, counted in training images of a ResNet-18; images that it scores count a third.

    A frozen network passes all its images forward, once.
    """
    tuning, frozen = recipe
    scored = (validation + test) * (2 if tuning.flip_average else 1)
    if frozen:
        passed = (training + validation + scored) / _FORWARD
    else:
        passed = training * tuning.epochs + (validation * tuning.epochs + scored) / _FORWARD
    return math.ceil(passed * _OPERATIONS[architecture] / _OPERATIONS["resnet18"])


def images_per_second(tuning: Tuning, device: torch.device) -> float:
    """Images of training a second of a ResNet-18 on this device, measured over about half a second."""
    batch = tuning.batch_size if device.type == "cuda" else min(_PROBE, tuning.batch_size)
    with torch.random.fork_rng(devices=[]):
        model = resnet("resnet18", 1).to(device)
    optimiser = adamw(model, peak=tuning.learning_rate, backbone_share=tuning.backbone_rate, weight_decay=0.0)
    precision = choose_precision("amp", device, tuning.size)
    learner = Learner(model, optimiser, precision, Normalisation.gray(0.5, 0.25), Ranks(0, 1, device))
    set_lr(optimiser, 0.0)
    images = torch.zeros(batch, tuning.size, tuning.size, 1, dtype=torch.uint8, device=device).permute(0, 3, 1, 2)
    targets = torch.zeros(batch, device=device)

    def step() -> float:
        loss = learner.step(
            images, lambda logits: functional.binary_cross_entropy_with_logits(logits[:, 0], targets), number=0
        )
        return float(loss)  # waits for the device

    step()  # the first one chooses its algorithms
    started, done = time.monotonic(), 0
    while done == 0 or time.monotonic() - started < _PROBE_SECONDS:
        step()
        done += batch
    return done / (time.monotonic() - started)


def announcement(what: str, images: int, tuning: Tuning, device: torch.device) -> str:
    """What is ahead, in a line: how many images (of `work`), and how long that takes here at most."""
    rate = images_per_second(tuning, device)
    early = "; less where a run ends early" if tuning.epochs > tuning.patience else ""
    return (
        f"{what}, {images:,} images at {tuning.size} px: at most {time_text(images / rate)} at the {rate:,.0f} "
        f"images/s that {device} was just measured to do{early}"
    )
