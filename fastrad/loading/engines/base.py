"""The seam between the loader and its engines: what an engine is given, and what it hands back.

In: a dataset file, how to deliver (`Delivery`), and one `Step` after another. Out: `Images`, one a step, in order. The
loader decides which samples, which crops and which labels; an engine moves pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from fastrad.loading.policy import Parameters


@dataclass(frozen=True)
class Delivery:
    """How an engine hands over its images.

    Attributes
    ----------
    device : torch.device
        Where the images end up.
    workers : int
        Threads that may work at once.
    dtype : torch.dtype
        torch.uint8, or a floating type: then pixel p comes as `table[p]`.
    table : torch.Tensor
        The 256 normalised gray levels in `dtype`, on the CPU.
    skip_damaged : bool
        Leave a damaged sample out, where False raises.
    """

    device: torch.device
    workers: int
    dtype: torch.dtype
    table: torch.Tensor
    skip_damaged: bool


class Step(NamedTuple):
    """One rank's samples of one step.

    `positions` are int64 file positions; `parameters` their crops and flips, or None where the stored frame is to be
    handed over as it is.
    """

    positions: np.ndarray
    parameters: Parameters | None


class Images(NamedTuple):
    """`images` is N x 1 x H x W, channels_last, owned by the receiver; `kept` masks the step's samples (None: all)."""

    images: torch.Tensor
    kept: np.ndarray | None


class Engine(Protocol):
    """What the loader asks of an engine."""

    def run(self, steps: Iterator[Step], size: int) -> Iterator[Images]:
        """Deliver one `Images` a step; closing the iterator stops every thread it started."""


def available_memory() -> int:
    """Bytes of host memory that can be had without swapping, the page cache's among them."""
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024


def as_images(pixels: torch.Tensor) -> torch.Tensor:
    """A contiguous (N, H, W) tensor as N x 1 x H x W with the canonical channels_last strides, without a copy."""
    return pixels.unsqueeze(-1).permute(0, 3, 1, 2)
