"""What the operating system grants this process: cores, memory, disk, shared memory, descriptors, GPUs, without torch.

Cores, memory and disk are the numbers that conversion and loading go by themselves.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from fastrad.system.cores import available_cores
from fastrad.system.files import free_space
from fastrad.system.memory import available_memory, total_memory


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as the driver describes it; memory in bytes, 0 where it shares the system's."""

    name: str
    memory: int
    free_memory: int
    driver: str


@dataclass(frozen=True)
class Machine:
    """What this process may use.

    Attributes
    ----------
    cores : int
        CPUs of the machine.
    usable_cores : int
        CPUs left by affinity and by the container's quota, at least 1.
    memory, free_memory : int
        Bytes of memory, and of it what can be had without swapping; a container's limit counts as the memory.
    disk_folder : Path
        The folder asked about; `free_disk` is in bytes.
    shared_memory : int
        Size of /dev/shm in bytes, 0 where there is none.
    descriptors, descriptors_limit : int
        How many files may be open at once, and what that can be raised to without root.
    gpus : tuple of Gpu
        What nvidia-smi lists; empty where it is absent or fails.
    """

    cores: int
    usable_cores: int
    memory: int
    free_memory: int
    disk_folder: Path
    free_disk: int
    shared_memory: int
    descriptors: int
    descriptors_limit: int
    gpus: tuple[Gpu, ...]

    @staticmethod
    def here(folder: Path) -> Machine:
        """Look at this machine; `folder` (it must exist) is where large files would go."""
        usable_cores = available_cores()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        return Machine(
            cores=os.cpu_count() or usable_cores,
            usable_cores=usable_cores,
            memory=total_memory(),
            free_memory=available_memory(),
            disk_folder=folder.resolve(),
            free_disk=free_space(folder),
            shared_memory=shutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else 0,
            descriptors=soft,
            descriptors_limit=hard,
            gpus=_gpus(),
        )


def _gpus() -> tuple[Gpu, ...]:
    command = [
        "nvidia-smi",
        "--query-gpu=name,memory.total,memory.free,driver_version",
        "--format=csv,noheader,nounits",
    ]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return ()
    gpus = []
    for line in lines:
        name, total, free, driver = (word.strip() for word in line.split(","))
        own = total.isdigit() and free.isdigit()  # "[N/A]" for a GPU that shares the system's memory
        gpus.append(Gpu(name, int(total) << 20 if own else 0, int(free) << 20 if own else 0, driver))
    return tuple(gpus)
