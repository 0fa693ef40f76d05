"""Where a study's networks looked: Grad-CAM.

Selvaraju et al., ICCV 2017: a stage's maps, weighted by the mean gradient of the logit; for the answer benign the
logit's sign is turned, so that the map shows what spoke for the answer given. The stage is the last one whose maps have
at least 4 x 4 places: at 224 pixels the network's last, on smaller images an earlier one, since a map of 1 x 1 points
nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from fastrad.imaging.normalisation import Normalisation
from fastrad.loading import Loader
from fastrad.study.networks.scorer import load_network
from fastrad.study.protocol.patients import StudyDataset

_STAGES = (("layer4", 32), ("layer3", 16), ("layer2", 8), ("layer1", 4))  # each with its stride in input pixels


def explain(
    weights: Iterable[Path], dataset: StudyDataset, rows: Sequence[int], answers: Sequence[int], size: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Images as networks see them, and where these looked for their answer.

    Parameters
    ----------
    weights : iterable of Path
        The networks of an arm; their maps are averaged.
    dataset : StudyDataset
    rows : sequence of int
        Manifest rows of the images, (N,), at least one.
    answers : sequence of int
        1 explains malignant, -1 benign.
    size : int
        Input side, pixels.

    Returns
    -------
    images : uint8 array, (N, size, size)
    heats : float64 array, (N, size, size)
        From 0 to 1, the maximum of each.
    """
    position = {int(row): index for index, row in enumerate(dataset.rows)}
    positions = [position[row] for row in rows]
    loader = Loader(dataset.dataset, len(positions), size=size, train=False, indices=positions)
    images = torch.cat([batch.images for batch in loader])
    networks = [load_network(path) for path in weights]
    heats = np.mean([grad_cam(each.model, each.normalisation, images, np.array(answers)) for each in networks], axis=0)
    peaks = np.maximum(heats.max(axis=(1, 2), keepdims=True), 1e-12)
    return images[:, 0].numpy(), heats / peaks


def grad_cam(
    model: nn.Module, normalisation: Normalisation, images: torch.Tensor, answers: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Grad-CAM of a one-logit ResNet, resized to the image (from the last stage with maps of 4 x 4 or more).

    Parameters
    ----------
    model : nn.Module
        In evaluation mode.
    images : uint8 tensor, (N, 1, H, W)
    answers : array of shape (N,)
        1 explains malignant, -1 benign.

    Returns
    -------
    array of shape (N, H, W)
        Not below 0; each map's maximum is 1 unless nothing spoke for the answer.
    """
    maps: list[torch.Tensor] = []
    stage = next(name for name, stride in _STAGES if min(images.shape[-2:]) >= 4 * stride or stride == 4)
    hook = model.get_submodule(stage).register_forward_hook(lambda module, inputs, output: maps.append(output))
    try:
        logits = model(normalisation.apply(images))[:, 0]
    finally:
        hook.remove()
    target = (logits * torch.as_tensor(answers, dtype=logits.dtype)).sum()
    (gradients,) = torch.autograd.grad(target, maps[0])
    weighted = functional.relu((maps[0] * gradients.mean((2, 3), keepdim=True)).sum(1, keepdim=True)).detach()
    heat = functional.interpolate(weighted, size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    peak = heat.amax((1, 2), keepdim=True).clamp_min(1e-12)
    return (heat / peak).double().numpy()
