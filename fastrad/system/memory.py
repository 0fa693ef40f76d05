"""Memory that this process may use: the machine's, or less where a control group limits it (a container's, a job's)."""

from __future__ import annotations

from pathlib import Path

_GIVEN_BACK = ("inactive_file ", "slab_reclaimable ")  # of a control group's memory, when it is wanted


def memory() -> tuple[int, int]:
    """All of it, and what can be had without swapping (the page cache's among it), bytes.

    The limits are those of Linux control groups, version 2: `memory.max` of the process's own group and of those
    around it.
    """
    import psutil

    machine = psutil.virtual_memory()
    total, free = machine.total, machine.available
    for group in control_groups():
        limit, used = words(group / "memory.max"), words(group / "memory.current")
        if limit and used and limit[0] != "max":
            cache = sum(int(line.split()[1]) for line in _lines(group / "memory.stat") if line.startswith(_GIVEN_BACK))
            total, free = min(total, int(limit[0])), min(free, int(limit[0]) - int(used[0]) + cache)
    return total, max(0, free)


def available_memory() -> int:
    """Bytes of host memory that can be had without swapping."""
    return memory()[1]


def control_groups() -> list[Path]:
    """This process's control group (version 2) and those around it: a container's or a SLURM job's limits."""
    own = next((line[3:] for line in _lines(Path("/proc/self/cgroup")) if line.startswith("0::")), "/")
    group = Path("/sys/fs/cgroup") / own.lstrip("/")
    return [group, *[parent for parent in group.parents if parent.is_relative_to("/sys/fs/cgroup")]]


def words(path: Path) -> list[str]:
    """The words of a small file; none where it cannot be read."""
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:  # not on this kernel
        return []
