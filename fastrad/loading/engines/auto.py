"""Which engine suits a selection and a device where the caller left it open."""

from __future__ import annotations

import numpy as np
import torch

from fastrad.loading.engines import RESIDENT_SHARE
from fastrad.loading.engines.resident import free_bytes, needed_bytes
from fastrad.loading.samples import Samples


def choose_engine(samples: Samples, selection: np.ndarray, device: torch.device) -> tuple[str, str]:
    """The engine's name, and why.

    Parameters
    ----------
    samples : Samples
    selection : np.ndarray
        int64 positions that an epoch may ask for.
    device : torch.device
        Where the batches go.
    """
    if device.type != "cuda":
        return "direct", "the batches stay on the CPU, and the page cache holds the file as well as a copy would"
    needed = needed_bytes(len(np.unique(selection)), *samples.frame)
    free = free_bytes(device)
    if needed <= RESIDENT_SHARE * free:
        return "resident", f"{needed:,} bytes of images fit into {free:,} bytes free on {device}"
    return "direct", f"{needed:,} bytes of images leave too little of {free:,} bytes free on {device}"
