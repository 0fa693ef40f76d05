"""A pretrained network as its weights describe it: for `evaluate`, and for `predict`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from fastrad.errors import InputError
from fastrad.imaging.normalisation import Normalisation
from fastrad.models.resnet import HEAD, resnet
from fastrad.models.weights import Weights, initialise


@dataclass(frozen=True)
class Classifier:
    """A network with the head that it was pretrained with.

    Attributes
    ----------
    model : nn.Module
        A logit a class, evaluation mode.
    classes : tuple of str
        In the order of the logits.
    normalisation : Normalisation
    size : int
        The side that it was validated at, pixels.
    flip_average : bool
        Whether its logits are means over an image and its mirror image.
    """

    model: nn.Module
    classes: tuple[str, ...]
    normalisation: Normalisation
    size: int
    flip_average: bool


def classifier(weights: Weights, source: Path) -> Classifier:
    """Build the network of some weights.

    Parameters
    ----------
    weights : Weights
    source : Path
        What the user gave, for messages.

    Raises
    ------
    InputError
        If the weights lack classes that fit their head, a normalisation of one channel, or a size.
    """
    classes = weights.metadata.get("classes")
    if not isinstance(classes, list) or HEAD[0] not in weights.state or len(weights.state[HEAD[1]]) != len(classes):
        raise InputError(
            f"{source}: does not say which classes its head tells apart; give weights of `fastrad pretrain`"
        )
    if len(set(classes)) < len(classes):
        raise InputError(f"{source}: two of its classes have one name; give weights of `fastrad pretrain`")
    normalisation = weights.normalisation
    if normalisation is None or not weights.metadata.get("size") or weights.channels != 1:
        raise InputError(f"{source}: does not say what its input is; give weights of `fastrad pretrain`")
    model = resnet(weights.architecture, len(classes)).eval()
    initialise(model, weights, classes=classes)
    flip_average = bool(weights.metadata.get("recipe", {}).get("flip_average"))
    return Classifier(model, tuple(classes), normalisation, int(weights.metadata["size"]), flip_average)
