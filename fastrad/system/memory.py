"""How much memory this process may have: what the machine has, within the limits of a container or a job."""

from __future__ import annotations

from pathlib import Path

from fastrad.system.limits import memory_limits


def total_memory() -> int:
    """Bytes of memory, of the machine or of the tightest limit."""
    return min([_of_the_machine()[0], *(limit for limit, _ in memory_limits())])


def available_memory() -> int:
    """Bytes of memory that can be had without swapping, the page cache's among them."""
    return min([_of_the_machine()[1], *(left for _, left in memory_limits())])


def _of_the_machine(meminfo: Path = Path("/proc/meminfo")) -> tuple[int, int]:
    """Bytes in all, and available, from Linux itself; from psutil elsewhere."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        total, available = (int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
        return total, available
    except (OSError, KeyError, ValueError):
        import psutil

        memory = psutil.virtual_memory()
        return memory.total, memory.available
