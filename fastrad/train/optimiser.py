"""The optimiser and its schedule: SGD with Nesterov momentum, warm-up and a cosine, decay on weights alone.

In: a model, the hyperparameters, the step. Out: a torch optimiser and the learning rate of each step.
"""

from __future__ import annotations

import math

import torch
from torch import nn


def sgd(model: nn.Module, *, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD with Nesterov momentum that leaves normalisation layers and biases without weight decay.

    The learning rate starts at zero; `set_lr` gives each step its own.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.SGD(groups, lr=0.0, momentum=momentum, nesterov=momentum > 0, fused=True)
    if momentum:
        # Left to the fused kernel, momentum begins as uninitialised memory, and stays that where the gradients of the
        # first step are infinite, as they often are under a new loss scale. From zero the first step is the same.
        for parameter in trained:
            optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Give all parameter groups the same learning rate."""
    for group in optimiser.param_groups:
        group["lr"] = lr


def learning_rate(step: int, steps: int, *, peak: float, warmup: float) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter, SGDR, ICLR 2017, without restarts).

    Parameters
    ----------
    step : int
        In [0, steps).
    steps : int
        Of the whole run.
    peak : float
        The highest rate, reached at the end of the warm-up.
    warmup : float
        Share of `steps` in the warm-up, [0, 1].
    """
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / (steps - rising)))
