"""Which device a command computes on, asked for or a GPU where there is one; and how small arrays get there."""

from __future__ import annotations

import numpy as np
import torch

from fastrad.errors import InputError


def choose_device(asked: str | None = None, local_rank: int = 0) -> torch.device:
    """The device asked for; None takes a GPU where there is one.

    Parameters
    ----------
    asked : str, optional
        "cpu", "cuda" or "cuda:N".
    local_rank : int
        Which GPU "cuda" is in this process.

    Raises
    ------
    InputError
        If it is unknown or not there.
    """
    if asked is None:
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise InputError(f"device {asked!r} is unknown; give cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device {asked!r} cannot be used here; give cpu, cuda or cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise InputError(f"device {asked!r}: torch {torch.__version__} sees no GPU; give --device cpu")
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        if device.index >= torch.cuda.device_count():
            raise InputError(f"device {device}: there are {torch.cuda.device_count()} GPUs, numbered from 0")
    return device


def send(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor on the device; the host does not wait for a GPU, as it would with pageable memory."""
    tensor = torch.from_numpy(values)
    if device.type != "cuda":
        return tensor
    pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    pinned.numpy()[...] = values
    return pinned.to(device, non_blocking=True)
