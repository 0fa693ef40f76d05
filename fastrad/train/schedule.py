"""The optimisers, the batch size that suits a device, and the learning rate of each step: a linear warm-up, then half
a cosine to zero.

The rate is a function of the step alone, so that a run that goes on has nothing to bring back; torch's schedulers hold
a state, which checkpoints of 0.1.0 lack, and round otherwise.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from fastrad.loading.engines import model_bytes
from fastrad.models.resnet import HEAD

# Up to here a step of ResNet-18 on a large GPU is bound by the host that starts its kernels: 6 to 8 ms, an estimate.
_SMALLEST_BATCH, _LARGEST_BATCH = 64, 1024
_STEPS_OF_AN_EPOCH = 100  # fewer would leave a small archive with too few steps to learn from


def suiting_batch_size(samples: int, size: int, itemsize: int, device: torch.device, world_size: int = 1) -> int:
    """A batch size, over all ranks, for pretraining where none is asked for.

    On a CPU 64. On a GPU the largest power of two from 64 to 1024 that leaves 100 steps an epoch and whose activations
    fit into 0.8 of the card's memory, in equal parts for the ranks.

    Parameters
    ----------
    samples : int
        Of the training file.
    size : int
        The largest side of a training image, pixels.
    itemsize : int
        Bytes of a number in the network: 4 for float32, 2 for mixed precision.
    device : torch.device
        Of a rank.
    world_size : int
        Ranks.
    """
    if device.type == "cpu":
        return _SMALLEST_BATCH
    memory = 0.8 * torch.cuda.mem_get_info(device)[1]
    batch = _LARGEST_BATCH
    while batch > _SMALLEST_BATCH and (
        samples < batch * _STEPS_OF_AN_EPOCH or model_bytes(-(-batch // world_size), size, itemsize) > memory
    ):
        batch //= 2
    return max(batch - batch % world_size, 2 * world_size)


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
