"""What control groups leave to this process: the limits of a container or of a SLURM job, in versions 1 and 2.

Files and their meaning are those of the kernel's `Documentation/admin-guide/cgroup-v1` and `cgroup-v2.rst`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_OWN_GROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")
# of what a group uses, what the kernel takes back when memory is wanted: file pages, and its own caches
_GIVEN_BACK = {"inactive_file", "active_file", "slab_reclaimable"}
_GIVEN_BACK_V1 = {"total_inactive_file", "total_active_file"}


def cpu_quota() -> int | None:
    """Whole CPUs of the tightest quota, rounded up; None where there is none."""
    quotas = []
    for group in _groups(""):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        quotas.append((quota, period))
    for group in _groups("cpu"):
        quotas.append((_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")))
    # "max" in version 2 and -1 in version 1 mean no quota
    return min((-(-int(quota) // int(period)) for quota, period in quotas if quota.isdigit()), default=None)


def memory_limits() -> Iterator[tuple[int, int]]:
    """Of each group with a limit: the limit, and what of it can still be had, in bytes."""
    for group in _groups(""):
        yield from _memory(group, "memory.max", "memory.current", _GIVEN_BACK)
    for group in _groups("memory"):
        yield from _memory(group, "memory.limit_in_bytes", "memory.usage_in_bytes", _GIVEN_BACK_V1)


def _memory(group: Path, limit_file: str, used_file: str, given_back: set[str]) -> Iterator[tuple[int, int]]:
    limit, used = _text(group / limit_file), _text(group / used_file)
    if limit.isdigit() and used.isdigit():  # "max": no limit; version 1 has a number larger than any memory instead
        counts = (line.split() for line in _text(group / "memory.stat").splitlines())
        cache = sum(int(count) for name, count in counts if name in given_back)
        yield int(limit), max(0, int(limit) - int(used) + cache)


def _groups(controller: str) -> list[Path]:
    """This process's group and those around it; of a controller of version 1, or "" for version 2."""
    for line in _text(_OWN_GROUPS).splitlines():
        _, controllers, own = line.split(":", 2)
        if controller in controllers.split(","):
            top = _MOUNT / controllers
            group = top / own.lstrip("/")
            return [group, *(parent for parent in group.parents if parent.is_relative_to(top))]
    return []


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # no such group here, or not on this kernel
        return ""
