"""torchvision's ImageNet weights of a ResNet: downloaded once, and compared with their published hash each time."""

from __future__ import annotations

import hashlib
import io
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fastrad.errors import FormatError, InputError
from fastrad.imaging.normalisation import IMAGENET_MEAN, IMAGENET_STD
from fastrad.system.reading import open_regular


def _name(architecture: str) -> str:
    """What torchvision calls its first weights of a network: "ResNet18_Weights.IMAGENET1K_V1"."""
    return f"{architecture.replace('resnet', 'ResNet')}_Weights.IMAGENET1K_V1"


def imagenet_metadata(architecture: str) -> dict[str, Any]:
    """What these weights would say of themselves, had fastrad written them."""
    return {
        "normalisation": {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)},
        "dataset": f"ImageNet-1k (torchvision {_name(architecture)})",
    }


def imagenet_hashes(architecture: str) -> tuple[str, ...]:
    """How the SHA-256 of each file begins that torchvision publishes of a network: its name says so."""
    from torchvision.models import get_model_weights

    return tuple(_stated_hash(weights.url) for weights in get_model_weights(architecture))


def _stated_hash(name: str) -> str:
    return name.rpartition("-")[2].removesuffix(".pth")


def download_imagenet(architecture: str = "resnet18") -> dict[str, Tensor]:
    """The state dict of torchvision's first weights of a network, from torch's own cache or the network.

    Parameters
    ----------
    architecture : str
        torchvision's name.

    Raises
    ------
    InputError
        If there is no network, or no place for the file.
    FormatError
        If the cache holds another file under this name.
    """
    from torchvision.models import get_weight

    url = get_weight(_name(architecture)).url
    _check_cached(Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2])
    try:
        with redirect_stderr(io.StringIO()):  # torch announces the download before it knows whether there is a network
            return torch.hub.load_state_dict_from_url(
                url, map_location="cpu", check_hash=True, weights_only=True, progress=False
            )
    except OSError as error:  # no network, or no place for the file
        reason = getattr(error, "reason", error)
        raise InputError(
            f"the ImageNet weights cannot be downloaded from {url} ({reason}); "
            "fetch that file where there is a network and give its path instead of 'torchvision'"
        ) from error


def _check_cached(path: Path) -> None:
    """A file downloaded before is compared with the SHA-256 in its name: torch does so only while it downloads."""
    begins = _stated_hash(path.name)
    try:
        with open_regular(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return
    if not found.startswith(begins):
        raise FormatError(
            f"{path}: is not the file that torchvision publishes under this name (its SHA-256 does not begin with "
            f"{begins}); move it away, and give the command again to download it"
        )
