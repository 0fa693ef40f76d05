"""The test patients that an arm got most wrong, and where its networks looked.

In: the study's folder with its weights, the dataset and the result. Out: `errors/` with two pictures a patient (the
image, and Grad-CAM over it) and `errors.json`. Grad-CAM: Selvaraju et al., ICCV 2017: a stage's maps, weighted by the
mean gradient of the logit; for a false negative the logit's sign is turned, so that the map shows what spoke for the
answer given. The stage is the last one whose maps have at least 4 x 4 places: at 224 pixels the network's last, on
smaller images an earlier one, since a map of 1 x 1 points nowhere.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import nn
from torch.nn import functional

from fastrad.imaging.normalisation import Normalisation
from fastrad.loading import Loader
from fastrad.models.resnet import resnet
from fastrad.models.weights import load_weights
from fastrad.study.inference.evaluation import StudyResult
from fastrad.study.protocol.patients import StudyDataset
from fastrad.study.report.figures import overlay
from fastrad.system.files import write_atomically

PER_ARM = 4
_STAGES = (("layer4", 32), ("layer3", 16), ("layer2", 8), ("layer1", 4))  # each with its stride in input pixels


def write_errors(
    folder: Path, dataset: StudyDataset, result: StudyResult, predictions: pd.DataFrame, size: int
) -> None:
    """Write the pictures of the `PER_ARM` most confident errors of each arm; the networks of the first seed look.

    An error is confident where the probability of the true class is low; a patient is shown by the image that speaks
    most for the error.
    """
    test = predictions[predictions["set"] == "test"]
    means = test.groupby(["arm", "patient", "row"])["score"].mean()
    position = {int(row): index for index, row in enumerate(dataset.rows)}
    seed = int(predictions["seed"].min())
    entries = []
    (folder / "errors").mkdir(exist_ok=True)
    for arm in result.scores:
        truth = np.where(result.labels == 1, 1, -1)
        margin = truth * result.scores[arm]
        chosen = [index for index in np.argsort(margin, kind="stable")[:PER_ARM] if margin[index] < 0]
        rows = []
        for index in chosen:
            of_patient = means.loc[(arm, result.patients[index])]
            rows.append(int((truth[index] * of_patient).idxmin()))
        if not rows:
            continue
        images = _images(dataset, [position[row] for row in rows], size)
        answers = np.array([1 if result.scores[arm][index] > 0 else -1 for index in chosen])
        heats = np.mean(
            [
                grad_cam(_network(path), normalisation, images, answers)
                for path, normalisation in _weights(folder, arm, seed)
            ],
            axis=0,
        )
        for number, (index, row) in enumerate(zip(chosen, rows, strict=True)):
            name = f"{arm}-{number + 1}"
            image = images[number, 0].numpy()
            heat = heats[number] / max(float(heats[number].max()), 1e-12)
            for suffix, picture in (("", image), ("-cam", overlay(image, heat)[..., ::-1])):
                _, encoded = cv2.imencode(".png", picture)
                write_atomically(folder / "errors" / f"{name}{suffix}.png", encoded.tobytes())
            entries.append(
                {
                    "arm": arm,
                    "picture": name,
                    "row": row,
                    "label": int(result.labels[index]),
                    "probability": float(expit(result.scores[arm][index])),
                }
            )
    write_atomically(folder / "errors" / "errors.json", (json.dumps(entries, indent=1) + "\n").encode())


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


def _images(dataset: StudyDataset, positions: list[int], size: int) -> torch.Tensor:
    loader = Loader(dataset.dataset, len(positions), size=size, train=False, indices=positions)
    return torch.cat([batch.images for batch in loader])


def _weights(folder: Path, arm: str, seed: int) -> list[tuple[Path, Normalisation]]:
    found = []
    for path in sorted((folder / "runs").glob(f"{arm}-seed{seed}-fold*/weights.safetensors")):
        normalisation = load_weights(path).normalisation
        assert normalisation is not None, path  # the study wrote it
        found.append((path, normalisation))
    return found


def _network(path: Path) -> nn.Module:
    weights = load_weights(path)
    model = resnet(weights.architecture, 1)
    model.load_state_dict(weights.state, strict=True)
    return model.eval()
