"""The optimisers, and the learning rate of each step: a linear warm-up, then half a cosine to zero.

The rate is a function of the step alone, so that a run that goes on has nothing to bring back; torch's schedulers hold
a state, which checkpoints of 0.1.0 lack, and round otherwise.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from fastrad.models.resnet import HEAD


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


def adamw(model: nn.Module, *, peak: float, backbone_share: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with a rate of its own for the head, and without weight decay on normalisation layers and biases.

    Parameters
    ----------
    model : nn.Module
        Of `fastrad.models.resnet`.
    peak : float
        The head's highest rate; `set_lr` gives each step its share of it.
    backbone_share : float
        The other layers' rate as a share of the head's; 0 leaves them out, and their parameters without gradients.
    weight_decay : float
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if name not in HEAD and backbone_share == 0:
            parameter.requires_grad_(False)
            continue
        groups.setdefault((name in HEAD, parameter.ndim > 1), []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "peak": peak * (1.0 if head else backbone_share),
                "weight_decay": weight_decay if decays else 0.0,
            }
            for (head, decays), parameters in groups.items()
        ],
        lr=0.0,
        fused=True,
    )


def set_lr(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give all parameter groups a learning rate, or, where a group has a peak of its own, that share of it."""
    for group in optimiser.param_groups:
        group["lr"] = group.get("peak", 1.0) * rate


def learning_rate(step: int, steps: int, *, rising: int, peak: float = 1.0) -> float:
    """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter, SGDR, ICLR 2017, without restarts).

    Parameters
    ----------
    step : int
        In [0, steps).
    steps : int
        Of the whole run.
    rising : int
        Steps of the warm-up, [0, steps].
    peak : float
        The highest rate, reached at the end of the warm-up.
    """
    if step < rising:
        return peak * (step + 1) / rising
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
