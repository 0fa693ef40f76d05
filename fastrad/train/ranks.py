"""One process a device, under `torchrun` or alone.

Alone, nothing is initialised and the sums are the numbers themselves.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from fastrad.errors import FastradError
from fastrad.system.devices import choose_device
from fastrad.train.watch import Watch

_CONNECTION = re.compile(r"gloo|NCCL|[Cc]onnection (closed|reset|refused)|[Bb]roken pipe|[Tt]imed out")
_MEMORY = re.compile(r"can't allocate memory|out of memory|bad_alloc|can't start new thread")


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
    FastradError
        If memory is exhausted, or another rank is lost.
    """
    world_size, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    chosen = choose_device(device, int(os.environ.get("LOCAL_RANK", 0)))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world_size == 1:
        with _out_of_memory_in_one_line(""):
            yield Ranks(0, 1, chosen)
        return
    distributed.init_process_group(
        "nccl" if chosen.type == "cuda" else "gloo", device_id=chosen if chosen.type == "cuda" else None
    )
    watch = Watch(rank, world_size)
    try:
        with _out_of_memory_in_one_line(f" on rank {rank}"):
            yield Ranks(rank, world_size, chosen)
    except BaseException as error:
        if getattr(error, "of_all_ranks", False):
            _leave(watch)
            raise
        # the others may be inside a collective: to leave the group would be to wait for them
        atexit.register(_end_without_the_group)
        if _is_of_the_connection(error):
            watch.wait_for_the_reason()
            raise FastradError(f"rank {rank}: the connection to another rank broke ({error})") from error
        watch.fail(str(error) if isinstance(error, FastradError) else f"{type(error).__name__} {error}".strip())
        raise
    _leave(watch)


def _leave(watch: Watch) -> None:
    watch.close()
    distributed.destroy_process_group()


def _end_without_the_group() -> None:
    """At the interpreter's end, before the group is taken down, which waits for work that nobody will do."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(1)


def _is_of_the_connection(error: BaseException) -> bool:
    """Whether gloo or NCCL lost another rank."""
    return isinstance(error, RuntimeError) and (
        isinstance(error, distributed.DistError) or bool(_CONNECTION.search(str(error)))
    )


@contextmanager
def _out_of_memory_in_one_line(where: str) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, FastradError) or not (
            isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or _MEMORY.search(str(error))
        ):
            raise
        raise FastradError(f"out of memory{where}; a smaller --batch-size or --size needs less") from error
