"""ResNet-18 and its family with a one-channel stem, in `channels_last`, under torchvision's parameter names."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

import torch
from torch import nn

STEM = "conv1.weight"
HEAD = ("fc.weight", "fc.bias")
# (bottlenecks, blocks of the third stage): He et al., CVPR 2016, table 1
_FAMILY = {
    (False, 2): "resnet18",
    (False, 6): "resnet34",
    (True, 6): "resnet50",
    (True, 23): "resnet101",
    (True, 36): "resnet152",
}


def resnet18(num_classes: int, in_channels: int = 1) -> nn.Module:
    """torchvision's ResNet-18, freshly initialised, in `channels_last`, with a stem for `in_channels`.

    Parameters
    ----------
    num_classes : int
        Outputs of the head.
    in_channels : int
        1 for gray images (N, 1, H, W).

    Returns
    -------
    nn.Module
    """
    return resnet("resnet18", num_classes, in_channels)


def resnet(architecture: str, num_classes: int, in_channels: int = 1) -> nn.Module:
    """As `resnet18`, of any architecture that `Weights.architecture` may name.

    Parameters
    ----------
    architecture : str
        torchvision's name, for example "resnet50".
    num_classes, in_channels : int
        As of `resnet18`.

    Returns
    -------
    nn.Module
    """
    import torchvision.models

    model = getattr(torchvision.models, architecture)(weights=None, num_classes=num_classes)
    if in_channels != 3:
        model.conv1 = nn.Conv2d(in_channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    return model.to(memory_format=torch.channels_last)


def architecture_label(architecture: str) -> str:
    """For a reader: "ResNet-50"."""
    return architecture.replace("resnet", "ResNet-")


def architecture_of(keys: Collection[str]) -> str:
    """torchvision's name of the network that a state dict with these keys looks like; "resnet18" where none fits."""
    blocks = {key.split(".")[1] for key in keys if key.startswith("layer3.")}
    return _FAMILY.get(("layer1.0.conv3.weight" in keys, len(blocks)), "resnet18")


@cache
def expected_shapes(architecture: str) -> dict[str, tuple[int, ...]]:
    """The shape of each entry of torchvision's state dict, with three channels and 1000 classes."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in resnet(architecture, 1000, 3).state_dict().items()}
