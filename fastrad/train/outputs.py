"""What a network says of images: the one way of scoring, for `evaluate` and for all of a study.

An output is computed in float32 on every device, whatever the network was trained in: then it belongs to the weights
and the image. In bfloat16 it would have three digits, samples would tie, and a machine without bfloat16 would give
others. Every batch has one length, the last one being filled up with black: an image's output does not depend on what
else is scored, so that a second scoring gives the first one's bit for bit on one machine.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fastrad.dataset import Dataset
from fastrad.imaging.normalisation import Normalisation
from fastrad.loading import Loader

_BATCH = 32


def whole_frames(dataset: Dataset, positions: NDArray[np.int64] | None, size: int, device: torch.device) -> Loader:
    """The images at `positions` of a dataset (None: all), in that order, without augmentation."""
    return Loader(dataset, _BATCH, size=size, train=False, device=device, indices=positions)


def outputs(
    model: nn.Module, images: Loader, normalisation: Normalisation, device: torch.device, *, flip_average: bool
) -> NDArray[np.float64]:
    """What a network in evaluation mode gives for a loader's images: (images, outputs)."""
    model.eval()
    parts = []
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        for batch in images:
            pixels = normalisation.apply(_filled(batch.images, images.batch_size))
            found = model(pixels)
            if flip_average:
                found = (found + model(pixels.flip(-1))) / 2
            parts.append(found[: len(batch.images)].cpu())
    return torch.cat(parts).numpy().astype(np.float64)


def _filled(images: Tensor, count: int) -> Tensor:
    """A batch of `count` images, laid out as the loader's."""
    if len(images) == count:
        return images
    _, _, height, width = images.shape
    whole = images.new_zeros((count, height, width, 1)).permute(0, 3, 1, 2)
    whole[: len(images)] = images
    return whole
