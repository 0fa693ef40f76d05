"""A moving average of the weights, evaluated in place of the last ones.

The copy with averaged weights has batch statistics that are computed anew on training images, since an average of
running statistics belongs to no network that ever was (Izmailov et al., Averaging weights leads to wider optima, UAI
2018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy

import torch
from torch import Tensor, nn


class AveragedWeights:
    """An exponential moving average of a model's parameters.

    Parameters
    ----------
    model : nn.Module
        Where the average starts.
    decay : float
        Share of the old average kept at each step; less in the first steps, (1 + n) / (10 + n) in step n.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = deepcopy(model).requires_grad_(False)
        self.decay = decay

    def update(self, model: nn.Module, step: int) -> None:
        """Take in the model after step `step` (from 0) of the run."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averaged = [value.detach() for value in self.model.parameters()]
        current = [value.detach() for value in model.parameters()]
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def recompute_statistics(
        self, batches: Iterable[Tensor], average: Callable[[list[Tensor], int], None] = lambda buffers, weight: None
    ) -> None:
        """Set the running statistics of batch normalisation to the plain mean over `batches` of model inputs.

        `average` replaces tensors by their mean over all ranks, where each counts by its weight: its batches.
        """
        layers = [layer for layer in self.model.modules() if isinstance(layer, nn.BatchNorm2d)]
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
        self.model.train()
        with torch.no_grad():
            count = 0
            for images in batches:
                count += 1
                for layer in layers:  # torch's own word for a plain mean, None, reads a counter back from the GPU
                    layer.momentum = 1 / count
                self.model(images)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
        average([buffer for buffer in self.model.buffers() if buffer.is_floating_point()], count)
        self.model.eval()
