"""Datasets of noise and weights by chance, for studies that end in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fastrad.dataset import write_beton
from fastrad.models.resnet import resnet
from fastrad.models.weights import save_weights


def noise(folder: Path, labels, *, classes=("benign", "malignant"), names=None, **card) -> Path:
    """A folder with an `all.beton` of 32 x 32 pixels, a patient an image."""
    folder.mkdir(parents=True)
    labels = np.asarray(labels)
    images = np.random.default_rng(len(labels)).integers(0, 256, (len(labels), 32, 32), dtype=np.uint8)
    patients = np.arange(len(labels))
    names = list(names) if names is not None else [f"{folder.name}{index}" for index in patients]
    write_beton(folder / "all.beton", images, labels, patients, classes=list(classes), patient_names=names, **card)
    return folder


def weights_by_chance(path: Path, architecture: str = "resnet18", seed: int = 1) -> Path:
    """A file in torchvision's format: three channels, 1000 outputs; `.pth`, or `.safetensors` without metadata."""
    torch.manual_seed(seed)
    state = resnet(architecture, 1000, 3).state_dict()
    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        save_weights(path, state, {})
    return path
