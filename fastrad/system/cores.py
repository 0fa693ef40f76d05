"""How many cores this process may use."""

from __future__ import annotations

import os

from fastrad.system.limits import cpu_quota


def available_cores() -> int:
    """Cores that the affinity mask and a container's quota leave to this process, at least 1."""
    affinity = len(os.sched_getaffinity(0))
    return max(1, min(affinity, cpu_quota() or affinity))
