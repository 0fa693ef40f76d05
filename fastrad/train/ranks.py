"""One process a device, under `torchrun` or alone.

Alone, nothing is initialised and the sums are the numbers themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from fastrad.system.devices import choose_device


@dataclass(frozen=True)
class Ranks:
    """This process among its equals.

    Attributes
    ----------
    rank, world_size : int
    device : torch.device
        This rank's own.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """True for the one rank that writes and prints."""
        return self.rank == 0

    def sums(self, *values: float) -> list[float]:
        """Each value added up over all ranks."""
        if self.world_size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(total)
        return total.tolist()

    def average_(self, tensors: list[Tensor], weight: int | None = None) -> None:
        """Replace floating tensors by their mean over all ranks, in one message; a rank counts `weight` times."""
        if self.world_size == 1:
            return
        share = 1 / self.world_size
        if weight is not None:
            total = self.sums(weight)[0]
            share = weight / total if total else share
        torch._foreach_mul_(tensors, share)
        self.add_(tensors)

    def add_(self, tensors: list[Tensor]) -> None:
        """Replace floating tensors by their sum over all ranks, in one message."""
        if self.world_size > 1:
            self._reduce_(tensors)

    def _reduce_(self, tensors: list[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def gather(self, values: Tensor) -> Tensor:
        """All ranks' values, rank after rank, for first dimensions that may differ (or be zero)."""
        if self.world_size == 1:
            return values
        counts = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.world_size)]
        distributed.all_gather(counts, torch.tensor([len(values)], device=self.device))
        lengths = [int(count) for count in counts]
        padded = values.new_zeros((max(lengths), *values.shape[1:]))
        padded[: len(values)] = values
        parts = [torch.empty_like(padded) for _ in lengths]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    def wait(self) -> None:
        """Return when every rank has come here."""
        if self.world_size > 1:
            distributed.barrier()


@contextmanager
def joined(device: str | None) -> Iterator[Ranks]:
    """Join the process group that `torchrun` describes (NCCL on GPUs, gloo on CPUs), and leave it at the end.

    Parameters
    ----------
    device : str or None
        As in `PretrainConfig`. "cuda" is each rank's own GPU.

    Raises
    ------
    InputError
        If the device cannot be used.
    """
    world_size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", 0)))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world_size == 1:
        yield Ranks(0, 1, chosen)
        return
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Ranks(rank, world_size, chosen)
    finally:
        distributed.destroy_process_group()
