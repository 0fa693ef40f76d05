"""The compiled training step: `torch.compile` for the full batches, before the first epoch rather than in it.

In: the network, the sizes it will see, one batch size. Out: the compiled network, or a line that says why not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from fastrad.train.precision import Precision

_SPARE = 8  # dynamo compiles a function for so many shapes and leaves further ones uncompiled, without a word


def compile_for(
    network: nn.Module, sizes: Sequence[int], batch_size: int, device: torch.device, precision: Precision
) -> tuple[nn.Module | None, str]:
    """Compile `network` for training batches of one size each, and leave weights and statistics as they were.

    Every shape is run forwards and backwards once here, so that nothing is compiled in mid-epoch; batches of another
    length, as an epoch's last, are for the plain network.

    Returns
    -------
    (network or None, str)
        None and the reason where the compiler fails.
    """
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    fast: nn.Module = torch.compile(network, dynamic=False)  # type: ignore[assignment]
    network.train()
    try:
        settings = torch._dynamo.config
        limit = "recompile_limit" if hasattr(settings, "recompile_limit") else "cache_size_limit"  # as in torch 2.6
        with settings.patch({limit: len(sizes) + _SPARE}):
            for size in sizes:
                # laid out as the loader's: for other strides everything would be compiled once more
                images = torch.zeros(batch_size, size, size, 1, device=device).permute(0, 3, 1, 2)
                with precision.autocast(device):
                    logits = fast(images)
                logits.float().sum().backward()
    except Exception as error:  # the compiler, its C++ or CUDA tool chain, and its cache fail in their own ways
        return None, f"torch.compile failed ({type(error).__name__}): the plain model is trained"
    finally:
        network.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, value in network.named_buffers():
                value.copy_(buffers[name])
    return fast, ""
