"""torchvision's ImageNet weights of a ResNet-18: downloaded once, and compared with their published hash each time."""

from __future__ import annotations

import hashlib
import io
from contextlib import redirect_stderr
from pathlib import Path

import torch
from torch import Tensor

from fastrad.errors import FormatError, InputError
from fastrad.system.reading import open_regular


def download_imagenet() -> dict[str, Tensor]:
    """The state dict of `ResNet18_Weights.IMAGENET1K_V1`, from torch's own cache or the network.

    Raises
    ------
    InputError
        If there is no network, or no place for the file.
    FormatError
        If the cache holds another file under this name.
    """
    from torchvision.models import ResNet18_Weights

    url = ResNet18_Weights.IMAGENET1K_V1.url
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
    begins = path.stem.rpartition("-")[2]
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
