"""A score an image, by `train.outputs`: for validation and test, external sets and `predict`."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fastrad.errors import InputError
from fastrad.imaging.normalisation import Normalisation
from fastrad.loading import Loader
from fastrad.train.outputs import outputs


class DivergedError(InputError):
    """A network whose scores are not numbers any more: its learning rate was too high."""


def score_images(
    model: nn.Module, images: Loader, normalisation: Normalisation, device: torch.device, *, flip_average: bool
) -> NDArray[np.float64]:
    """The first logit of each of a loader's images, in its order; raises as `score_classes` does."""
    return score_classes(model, images, normalisation, device, flip_average=flip_average)[:, 0]


def score_classes(
    model: nn.Module, images: Loader, normalisation: Normalisation, device: torch.device, *, flip_average: bool
) -> NDArray[np.float64]:
    """Logits of a loader's images, in its order: (images, outputs).

    Raises
    ------
    DivergedError
        If one is not a number.
    """
    scores = outputs(model, images, normalisation, device, flip_average=flip_average)
    if not np.isfinite(scores).all():
        raise DivergedError(
            f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are not numbers: the network has diverged; "
            "lower the learning rate"
        )
    return scores
