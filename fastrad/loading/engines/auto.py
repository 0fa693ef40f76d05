"""Which engine suits a selection and a device where the caller left it open."""

from __future__ import annotations

import numpy as np
import torch

from fastrad.loading.engines import model_bytes
from fastrad.loading.engines.resident import free_bytes, needed_bytes
from fastrad.loading.samples import Samples


def choose_engine(
    samples: Samples, selection: np.ndarray, device: torch.device, batch_size: int, size: int, dtype: torch.dtype
) -> tuple[str, str]:
    """The engine's name, and why.

    Images stay on a GPU where they leave what the training of a model takes. Every loader of a process takes its memory
    when it is made, so the next one sees what is left: the card is shared out once, not a share of the rest each time.

    Parameters
    ----------
    samples : Samples
    selection : np.ndarray
        int64 positions that an epoch may ask for.
    device : torch.device
        Where the batches go.
    batch_size, size : int
        Of the batches.
    dtype : torch.dtype
        Of the batches; that of the model's activations, where it is a floating type.
    """
    if device.type != "cuda":
        return "direct", "the batches stay on the CPU, and the page cache holds the file as well as a copy would"
    needed, free = needed_bytes(len(np.unique(selection)), *samples.frame), free_bytes(device)
    model = model_bytes(batch_size, size, dtype.itemsize if dtype.is_floating_point else 4)
    left = f"{free:,} bytes free on {device}, of which a model takes some {model:,}"
    if needed + model <= free:
        return "resident", f"{needed:,} bytes of images fit into {left}"
    return "direct", f"{needed:,} bytes of images do not fit into {left}"
