"""The seam between the loader and its engines: what an engine is given, and what it hands back.

In: a dataset file, how to deliver (`Delivery`), and one `Step` after another. Out: `Images`, one a step, in order. The
loader decides which samples, which crops and which labels; an engine moves pixels.
"""

from __future__ import annotations

import mmap
import os
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from fastrad.errors import DamagedSampleError
from fastrad.loading.randomness import Parameters
from fastrad.storage import BetonFile

_CACHE_SHARE = 0.8  # of the available memory: a larger file is read ahead of the permutation


@dataclass(frozen=True)
class Delivery:
    """How an engine hands over its images.

    Attributes
    ----------
    device : torch.device
        Where the images end up.
    workers : int
        Threads that may work at once.
    dtype : torch.dtype
        torch.uint8, or a floating type: then pixel p comes as `table[p]`.
    table : torch.Tensor
        The 256 normalised gray levels in `dtype`, on the CPU.
    skip_damaged : bool
        Leave a damaged sample out, where False raises.
    """

    device: torch.device
    workers: int
    dtype: torch.dtype
    table: torch.Tensor
    skip_damaged: bool


class Step(NamedTuple):
    """One rank's samples of one step.

    `positions` are int64 file positions; `parameters` their crops and flips, or None where the stored frame is to be
    handed over as it is.
    """

    positions: np.ndarray
    parameters: Parameters | None


class Images(NamedTuple):
    """`images` is N x 1 x H x W, channels_last, owned by the receiver; `kept` masks the step's samples (None: all)."""

    images: torch.Tensor
    kept: np.ndarray | None


class Engine(Protocol):
    """What the loader asks of an engine."""

    def run(self, steps: Iterator[Step], size: int) -> Iterator[Images]:
        """Deliver one `Images` a step; closing the iterator stops every thread it started."""


def available_memory() -> int:
    """Bytes of host memory that can be had without swapping, the page cache's among them."""
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024


def _release_mapping(file: BetonFile) -> None:
    """Take the columns into memory, once, and let go of the mapped pages: 76 MB for 1.35 million samples."""
    for column in (file.offsets, file.sizes, file.labels, file.rows, file.crc32):
        assert len(column) == file.num_samples
    mapping: mmap.mmap = file.data._mmap  # type: ignore[attr-defined]
    mapping.madvise(mmap.MADV_DONTNEED)


def as_images(pixels: torch.Tensor) -> torch.Tensor:
    """A contiguous (N, H, W) tensor as N x 1 x H x W with the canonical channels_last strides, without a copy."""
    return pixels.unsqueeze(-1).permute(0, 3, 1, 2)


class Samples:
    """The stored bytes of a file's samples, compared with their checksums.

    Reads through a descriptor instead of the memory map: a file that is cut short while open then gives a short
    read, where touching the map would kill the process.

    Parameters
    ----------
    file : BetonFile
        The dataset file.
    verify : str
        "first" compares a sample's checksum when it is first touched, "always" each time, "never" not at all.
    """

    def __init__(self, file: BetonFile, verify: str) -> None:
        self.file = file
        self.descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        self.reads_ahead = file.path.stat().st_size > _CACHE_SHARE * available_memory()
        if self.reads_ahead:  # the kernel's guess that a reader goes on where it is would read what nobody asked for
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        _release_mapping(file)
        self._always = verify == "always"
        self._unchecked = np.full(file.num_samples, verify != "never")

    def announce(self, positions: np.ndarray) -> None:
        """Start reading samples that will be asked for soon, where the page cache can't hold the file."""
        if self.reads_ahead:
            for start, size in zip(self.file.offsets[positions], self.file.sizes[positions], strict=True):
                os.posix_fadvise(self.descriptor, int(start), int(size), os.POSIX_FADV_WILLNEED)

    def unchecked(self, positions: np.ndarray) -> np.ndarray:
        """Which of the positions are still to be compared with their checksums, bool."""
        return self._unchecked[positions]

    def read(self, position: int) -> np.ndarray:
        """One sample's stored bytes, uint8, compared with its checksum where that is due.

        Raises
        ------
        DamagedSampleError
            If the file ends too early or the checksum differs.
        OSError
            If the file cannot be read.
        """
        size = int(self.file.sizes[position])
        stored = os.pread(self.descriptor, size, int(self.file.offsets[position]))
        if len(stored) < size:
            length = os.fstat(self.descriptor).st_size
            raise self.damaged(position, f"the file now ends at byte {length}, before the sample does")
        if self._unchecked[position]:
            if zlib.crc32(stored) != self.file.crc32[position]:
                raise self.damaged(position, "its checksum differs")
            self._unchecked[position] = self._always
        return np.frombuffer(stored, dtype=np.uint8)

    def damaged(self, position: int, reason: str) -> DamagedSampleError:
        """The error for a damaged sample."""
        return DamagedSampleError(str(self.file.path), int(self.file.rows[position]), reason)
