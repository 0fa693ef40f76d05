"""The seam between the loader and its engines: what an engine is given, what it can do, and what it hands back.

The loader decides which samples, which crops and which labels; an engine moves pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import torch

from fastrad.loading.policy import Augmentation, Parameters
from fastrad.loading.samples import Samples

ON_CPU = frozenset({"cpu"})
EVERYWHERE = frozenset({"cpu", "cuda"})


class LeftOver(NamedTuple):
    """What the loader does to an engine's images on their device: all of it begins with uint8 images.

    `geometry`: the engine hands over stored frames. `intensities`: gray values are to be changed. `normalisation`: the
    floats are to be made.
    """

    geometry: bool
    intensities: bool
    normalisation: bool


@dataclass(frozen=True)
class Capabilities:
    """What an engine does by itself.

    Attributes
    ----------
    geometry : frozenset of str
        The types of device whose images it crops, resizes and flips itself ("cpu", "cuda").
    normalisation : frozenset of str
        The types of device whose images it normalises itself where floats are asked for.
    rotation : bool
        It also turns images by `Parameters.angle`.
    intensities : bool
        It also changes gray values: `Parameters.brightness` to `erase`.
    """

    geometry: frozenset[str] = EVERYWHERE
    normalisation: frozenset[str] = ON_CPU
    rotation: bool = False
    intensities: bool = False

    def left_over(self, policy: Augmentation, device: torch.device, dtype: torch.dtype) -> LeftOver:
        """What of a policy, and of a floating dtype, is left to the loader."""
        geometry = device.type not in self.geometry or (policy.has_rotation and not self.rotation)
        intensities = policy.has_intensity and (geometry or not self.intensities)
        floats = dtype != torch.uint8
        normalisation = floats and (geometry or intensities or device.type not in self.normalisation)
        return LeftOver(geometry, intensities, normalisation)


@dataclass(frozen=True)
class Delivery:
    """What an engine is told, and how it hands over its images.

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
    selection : np.ndarray
        int64 positions, all that will be asked for.
    batch_size : int
        The largest number of samples in a step.
    """

    device: torch.device
    workers: int
    dtype: torch.dtype
    table: torch.Tensor
    skip_damaged: bool
    selection: np.ndarray
    batch_size: int


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

    capabilities: ClassVar[Capabilities]
    # seconds in which the caller waited for images; a GPU that is behind makes launches wait too, which is not meant
    waited: float

    def __init__(self, samples: Samples, delivery: Delivery) -> None:
        """Prepare to deliver a dataset's samples."""

    def run(self, steps: Iterator[Step], size: int) -> Iterator[Images]:
        """Deliver one `Images` a step; closing the iterator stops every thread it started."""


def as_images(pixels: torch.Tensor) -> torch.Tensor:
    """A contiguous (N, H, W) tensor as N x 1 x H x W with the canonical channels_last strides, without a copy."""
    return pixels.unsqueeze(-1).permute(0, 3, 1, 2)
