"""A network and what its images must look like: a finished study's, or a pretrained one.

In: weights files. Out: networks in evaluation mode, and their logits of a dataset's images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fastrad.dataset import Dataset
from fastrad.errors import InputError
from fastrad.imaging.normalisation import Normalisation
from fastrad.models.metadata import Converted, Tuned, as_written
from fastrad.models.resnet import HEAD, resnet
from fastrad.models.weights import Weights, load_weights
from fastrad.study.networks.score import score_classes
from fastrad.system.progress import say
from fastrad.train.outputs import whole_frames
from fastrad.train.pretrained import classifier


@dataclass(frozen=True)
class Scorer:
    """A network and what its images must look like.

    Attributes
    ----------
    model : nn.Module
        Evaluation mode: one logit of a study's network, a logit a class of a pretrained one.
    normalisation : Normalisation
    size : int
        Input side, pixels.
    flip_average : bool
    stored_size, fit_mode, window : int, str, tuple or None
        How the dataset that it learned from was converted: images from a folder are treated alike.
    square : bool
        Whether pixels that a file says are not square were made so.
    crop : str
        What of an image was stored, "nodule" say; "" for all of it.
    storage : dict
        How pixels were stored: `encode`, and `quality` where that loses some.
    arm : str
        Of a study's network; "" of a pretrained one.
    classes : tuple of str
        Of a pretrained network, in the order of its logits; () of a study's.
    about : Weights
        What the file says of itself, without its tensors.
    """

    model: nn.Module
    normalisation: Normalisation
    size: int
    flip_average: bool
    stored_size: int
    fit_mode: str
    window: tuple[float, float] | None
    square: bool
    crop: str
    storage: dict[str, Any]
    arm: str
    classes: tuple[str, ...]
    about: Weights


def load_scorer(path: Path) -> Scorer:
    """Load a network of a study or a pretrained one.

    Raises
    ------
    InputError
        If the file is of another origin: it lacks what either writes.
    """
    weights = load_weights(path)
    if "arm" not in weights.metadata and "classes" in weights.metadata:
        return _pretrained(weights, path)
    if not _is_tuned(weights):
        raise InputError(
            f"{path}: is not a network of a study, nor a pretrained one; give OUT/runs/ARM-*/weights.safetensors of "
            "compare, or OUT/weights.safetensors of pretrain"
        )
    return _tuned(weights, path)


def load_network(path: Path) -> Scorer:
    """Load one network of a study.

    Raises
    ------
    InputError
        If the file is of another origin: it lacks what a study writes.
    """
    weights = load_weights(path)
    if not _is_tuned(weights):
        raise InputError(f"{path}: is not a network of a study; give OUT/runs/ARM-*/weights.safetensors of compare")
    return _tuned(weights, path)


def _is_tuned(weights: Weights) -> bool:
    head = weights.state.get(HEAD[0])
    known = "flip_average" in weights.metadata and weights.normalisation is not None
    return known and head is not None and len(head) == 1


def _tuned(weights: Weights, path: Path) -> Scorer:
    metadata, normalisation = weights.metadata, weights.normalisation
    assert normalisation is not None
    as_written(metadata, Tuned, str(path))
    model = resnet(weights.architecture, 1)
    model.load_state_dict(weights.state)
    return Scorer(
        model.eval(),
        normalisation,
        int(metadata["size"]),
        bool(metadata["flip_average"]),
        **_conversion_said(metadata),
        arm=str(metadata["arm"]),
        classes=(),
        about=replace(weights, state={}),
    )


def _pretrained(weights: Weights, path: Path) -> Scorer:
    network, metadata = classifier(weights, path), weights.metadata
    if "parameters" in metadata:
        as_written(metadata, Converted, str(path))
    else:  # earlier versions did not keep it
        metadata = {**metadata, "parameters": {"size": network.size, "fit": "pad", "encode": "raw"}}
    return Scorer(
        network.model,
        network.normalisation,
        network.size,
        network.flip_average,
        **_conversion_said(metadata),
        arm="",
        classes=network.classes,
        about=replace(weights, state={}),
    )


def _conversion_said(metadata: Mapping[str, Any]) -> dict[str, Any]:
    parameters = metadata["parameters"]
    window = parameters.get("window")
    return {
        "stored_size": int(parameters["size"]),
        "fit_mode": str(parameters["fit"]),
        "window": None if window is None else tuple(window),
        "square": parameters.get("pixel_aspect") != "ignore",
        "crop": str(metadata.get("source_options", {}).get("crop") or ""),
        "storage": storage(parameters),
    }


def storage(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """How a card's pixels are stored, as far as that changes them."""
    if parameters.get("encode") == "jpeg":
        return {"encode": "jpeg", "quality": int(parameters["quality"])}
    return {"encode": "raw"}


def conversion(network: Scorer) -> tuple:
    """What two networks must share for the same files to be the same images to both."""
    return network.stored_size, network.fit_mode, network.window, network.square, network.storage


def class_logits(networks: Sequence[Scorer], dataset: Dataset, device: torch.device) -> NDArray[np.float64]:
    """Logits (networks, images, outputs) of every image of a dataset."""
    return np.stack(
        [
            score_classes(
                network.model.to(device),
                whole_frames(dataset, None, network.size, device),
                network.normalisation,
                device,
                flip_average=network.flip_average,
            )
            for network in networks
        ]
    )


def score_dataset(networks: Sequence[Scorer], dataset: Dataset, device: torch.device) -> NDArray[np.float64]:
    """Logits (networks, images) of every image of a dataset, by networks of a study."""
    return class_logits(networks, dataset, device)[:, :, 0]


def say_if_converted_otherwise(file: Dataset, network: Scorer) -> None:
    """A notice where a dataset's images were not made like those that a network learned from."""
    parameters, window = file.card.parameters, file.card.parameters.get("window")
    theirs = {
        "fit": str(parameters.get("fit", network.fit_mode)),
        "window": None if window is None else tuple(window),
        "crop": str(file.card.source_options.get("crop") or ""),
        **storage(parameters),
    }
    ours = {"fit": network.fit_mode, "window": network.window, "crop": network.crop, **network.storage}
    different = [
        f"{name} {theirs.get(name) or 'none'}, not {ours.get(name) or 'none'}"
        for name in dict.fromkeys([*ours, *theirs])
        if ours.get(name) != theirs.get(name)
    ]
    if different:
        whose = "images that the network learned from" if network.classes else "study's images"
        say(f"notice: {file.path}: was converted otherwise than the {whose} ({'; '.join(different)})")
