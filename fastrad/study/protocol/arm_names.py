"""What an arm is called in print: what its weights' own metadata say, not the option that they were given by.

The keys in files stay `none`, `imagenet`, `radimagenet` and the user's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fastrad.models.imagenet import imagenet_hashes
from fastrad.models.weights import Weights
from fastrad.study.protocol.abstract import LABELS, UNNAMED
from fastrad.study.protocol.seals import file_sha256

RADIMAGENET_CLASSES, RADIMAGENET_IMAGES = 165, 1_000_000  # the published archive has 165 and 1.35 million
_ROLES = {"imagenet": "out of domain", "radimagenet": "in domain"}
_LONGEST = 36  # characters of a file's name


class ArmName(NamedTuple):
    """`label` is the arm's in tables and figures; `trained_on` says what its weights were made from."""

    label: str
    trained_on: str


def arm_name(key: str, source: str | None, weights: Weights | None) -> ArmName:
    """The name of an arm.

    Parameters
    ----------
    key : str
        "none", "imagenet", "radimagenet", or the user's own, which stays its name.
    source : str or None
        "torchvision", or the weights file; None for no transfer.
    weights : Weights or None
    """
    if source is None or weights is None:
        return ArmName(LABELS.get(key, key), "no images: random initialisation")
    metadata, shown = weights.metadata, _short(source)
    if source == "torchvision" or (
        not weights.seen and file_sha256(Path(source)).startswith(imagenet_hashes(weights.architecture))
    ):
        return ArmName(LABELS["imagenet"] if key in LABELS else key, "photographs: ImageNet-1k, torchvision's weights")
    made_of, classes = metadata.get("dataset"), metadata.get("classes")
    if not isinstance(made_of, dict) or not isinstance(classes, list) or not {"layout", "samples"} <= set(made_of):
        about = "a network of another study" if "arm" in metadata else UNNAMED
        return ArmName(f"{shown} (--{key})" if key in LABELS else key, about)
    synthetic = bool(metadata.get("synthetic"))
    present = int(made_of.get("classes", len(classes)))  # absent in weights of earlier versions
    count = f"{int(made_of['samples']):,} {'synthetic ' if synthetic else ''}images of {present} classes"
    trained_on = f"{count}, {made_of['layout']} layout"
    if key not in LABELS:
        return ArmName(key, trained_on)
    if synthetic:
        return ArmName(f"Synthetic ({_ROLES[key]})", trained_on)
    published = present == RADIMAGENET_CLASSES and int(made_of["samples"]) >= RADIMAGENET_IMAGES
    if made_of["layout"] == "radimagenet" and published:
        return ArmName(LABELS["radimagenet"], trained_on)
    return ArmName(f"{made_of['layout']} layout, {int(made_of['samples']):,} images (--{key})", trained_on)


def _short(source: str) -> str:
    name = source.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(character if character.isprintable() else "�" for character in name)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[-_LONGEST // 2 :]}"
