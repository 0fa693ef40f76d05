"""How much memory this process may have: what the machine has, within the limits of a container or a job."""

from __future__ import annotations

from fastrad.system.limits import memory_limits


def total_memory() -> int:
    """Bytes of memory, of the machine or of the tightest limit."""
    import psutil

    return min([psutil.virtual_memory().total, *(limit for limit, _ in memory_limits())])


def available_memory() -> int:
    """Bytes of memory that can be had without swapping, the page cache's among them."""
    import psutil

    return min([psutil.virtual_memory().available, *(left for _, left in memory_limits())])
