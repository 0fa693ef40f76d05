"""What a computation ran on, for a record: processor, cores, memory, GPU. Never the machine's name."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from fastrad.system.cores import available_cores
from fastrad.system.memory import total_memory


def describe_hardware(device: torch.device) -> dict[str, str | int]:
    """The hardware behind a device.

    Returns
    -------
    dict
        `processor`, `cores` (that this process may use), `memory` (bytes) and, for a GPU, `gpu`.
    """
    found: dict[str, str | int] = {
        "processor": _processor(),
        "cores": available_cores(),
        "memory": total_memory(),
    }
    if device.type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model", "cpu model") and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
