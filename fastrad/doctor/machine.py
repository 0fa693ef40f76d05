"""What the operating system grants this process: cores, memory, disk, shared memory, descriptors, GPUs.

In: /proc, /sys, the system calls and nvidia-smi. Out: a `Machine`, in bytes and whole numbers. torch is not needed.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


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
        memory, free_memory = _memory()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        affinity = len(os.sched_getaffinity(0))
        return Machine(
            cores=os.cpu_count() or affinity,
            usable_cores=max(1, min(affinity, _cpu_quota() or affinity)),
            memory=memory,
            free_memory=free_memory,
            disk_folder=folder.resolve(),
            free_disk=shutil.disk_usage(folder).free,
            shared_memory=shutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else 0,
            descriptors=soft,
            descriptors_limit=hard,
            gpus=_gpus(),
        )


_GIVEN_BACK = ("inactive_file ", "slab_reclaimable ")  # of a control group's memory, when it is wanted


def _memory() -> tuple[int, int]:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    for group in _control_groups():
        limit, used = _words(group / "memory.max"), _words(group / "memory.current")
        if limit and used and limit[0] != "max":
            cache = sum(int(line.split()[1]) for line in _lines(group / "memory.stat") if line.startswith(_GIVEN_BACK))
            total, free = min(total, int(limit[0])), min(free, int(limit[0]) - int(used[0]) + cache)
    return total, max(0, free)


def _cpu_quota() -> int | None:
    """Whole CPUs of the tightest quota, rounded up; None where there is none."""
    quotas = [words for group in _control_groups() if (words := _words(group / "cpu.max")) and words[0] != "max"]
    return min((-(-int(quota) // int(period)) for quota, period in quotas), default=None)


def _control_groups() -> list[Path]:
    """This process's control group (version 2) and those around it: a container's or a SLURM job's limits."""
    own = next((line[3:] for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::")), "/")
    group = Path("/sys/fs/cgroup") / own.lstrip("/")
    return [group, *[parent for parent in group.parents if parent.is_relative_to("/sys/fs/cgroup")]]


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # not on this kernel
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


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
