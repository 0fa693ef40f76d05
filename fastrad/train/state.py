"""Everything of a run that changes, and its way into a checkpoint and back.

In: a model and its optimiser. Out: plain content for `fastrad.train.checkpoint`. The model draws no random numbers
after its first weights, and order and augmentation are functions of (seed, epoch): so there is no random state to keep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from fastrad.train.ema import AveragedWeights

_MODULES = ("model", "optimiser", "scaler", "averaged")


@dataclass
class State:
    """A run between two steps.

    Attributes
    ----------
    model, optimiser, scaler
        Without wrappers, so that the names are torchvision's for any number of ranks.
    averaged : AveragedWeights or None
        The moving average of the weights, where the recipe asks for one.
    epoch, step : int
        Epochs that are finished, and steps done of the one that is not.
    loss_sum : float
        Of this epoch's samples so far, over all ranks.
    seconds, waited : float
        This epoch's training so far, and how much of it was spent waiting for the loader.
    best_epoch, best_auroc
        The epoch (from 0) whose weights are kept, and its macro AUROC; of equal ones that with the lower loss.
    rows : list of dict
        The lines of metrics.csv.
    class_auroc : list of float
        Of the best epoch, one a class.
    confusion : list of lists of int
        Of the best epoch: true class by predicted class.
    """

    model: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    averaged: AveragedWeights | None = None
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    best_epoch: int = -1
    best_auroc: float = -math.inf
    rows: list[dict[str, Any]] = field(default_factory=list)
    class_auroc: list[float] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)

    @property
    def evaluated(self) -> nn.Module:
        """The model that is validated and kept."""
        return self.model if self.averaged is None else self.averaged.model

    def content(self) -> dict[str, Any]:
        """Tensors and plain values, for a checkpoint."""
        plain = {name: value for name, value in vars(self).items() if name not in _MODULES}
        return {"progress": plain, **{name: module.state_dict() for name, module in self._modules()}}

    def load(self, content: dict[str, Any]) -> None:
        """Go back to where `content` was taken."""
        for name, module in self._modules():
            module.load_state_dict(content[name])
        for name, value in content["progress"].items():
            setattr(self, name, value)

    def _modules(self) -> list[tuple[str, Any]]:
        parts: list[tuple[str, Any]] = [("model", self.model), ("optimiser", self.optimiser), ("scaler", self.scaler)]
        return parts if self.averaged is None else [*parts, ("averaged", self.averaged.model)]
