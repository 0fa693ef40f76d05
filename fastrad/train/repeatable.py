"""The same bits each time, for those who want them on a GPU and pay with speed.

A GPU adds the gradients of convolutions up in whatever order its threads end, and cuDNN takes the algorithm that was
fastest when it was timed: two runs with one seed differ in the last digits, and so does a run that goes on from a
checkpoint. On a CPU a run repeats itself without this.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch


@contextmanager
def repeatable() -> Iterator[None]:
    """Inside this context torch takes only algorithms that give the same bits on the same GPU with the same software.

    An operation that has none raises `RuntimeError`; training has no such operation after torch's own list
    (`torch.use_deterministic_algorithms`). cuBLAS reads its setting when it is first used: be in here before that.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    cudnn, memory = torch.backends.cudnn, cast(Any, torch.utils.deterministic)  # which sets it through its class
    algorithms = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    before = cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    # nothing here reads memory that it has not written, so that filling it first would only take time
    cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory = True, False, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms, warn_only=warn_only)
        cudnn.deterministic, cudnn.benchmark, memory.fill_uninitialized_memory = before
