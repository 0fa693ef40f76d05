"""Which number format a run computes in: float32, or autocast where the device gains from it.

The rule is one for pretraining and for tuning. It is for training steps: a score of a study is computed in float32 on
every device (`fastrad.train.outputs`).
"""

from __future__ import annotations

import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from fastrad.errors import InputError

# Up to here a stride of 2 meets a feature map of one pixel. Where its kernel meets padding alone the gradient is zero;
# torch 2.14's bfloat16 convolution on a CPU (oneDNN) leaves there what stood in memory instead.
_DEGENERATE_SIDE = 16
PRECISIONS = ("float32", "amp", "bfloat16", "float16")


@dataclass(frozen=True)
class Precision:
    """How to compute.

    Attributes
    ----------
    name : str
        "float32", "bfloat16" or "float16".
    notice : str
        Why it is not what was asked; empty where it is.
    """

    name: str
    notice: str = ""

    def delivered(self, device: torch.device) -> torch.dtype:
        """The dtype of training images: on a GPU this precision's own, normalised by the loader on its way.

        On a CPU gray levels, which a step normalises: it is the smallest part of the step there.
        """
        return torch.uint8 if device.type == "cpu" else getattr(torch, self.name)

    def autocast(self, device: torch.device) -> AbstractContextManager:
        """The context for forward passes."""
        if self.name == "float32":
            return nullcontext()
        return torch.autocast(device.type, dtype=getattr(torch, self.name))

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Loss scaling, which float16 needs and the others pass through."""
        return torch.amp.GradScaler(device.type, enabled=self.name == "float16")


def choose_precision(asked: str, device: torch.device, smallest: int | None = None) -> Precision:
    """The precision to run in: bfloat16 before float16, and float32 where neither is native.

    Parameters
    ----------
    asked : str
        One of `PRECISIONS`.
    device : torch.device
    smallest : int, optional
        The smallest side of a training image, pixels, where it is known.

    Raises
    ------
    InputError
        If `asked` is none of `PRECISIONS`.
    """
    if asked not in PRECISIONS:
        raise InputError(f"precision {asked!r} is none of {', '.join(PRECISIONS)}")
    if asked == "float32":
        return Precision("float32")
    if device.type == "cpu":
        if not cpu_has_native_bfloat16():
            return Precision("float32", "this CPU has no native bfloat16, autocast would be slower: float32 is used")
        if smallest is not None and smallest <= _DEGENERATE_SIDE:
            return Precision(
                "float32", f"images of {smallest} px: float32 is used, bfloat16 on a CPU gives wrong gradients"
            )
        return Precision("bfloat16" if asked == "amp" else asked)
    if device.type == "cuda" and asked != "float16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return Precision("float16", "" if asked == "amp" else "this GPU has no native bfloat16: float16 is used")
    return Precision("bfloat16" if asked == "amp" else asked)


def cpu_has_native_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """True where the CPU computes in bfloat16 itself: AVX512-BF16, AMX-BF16, or Arm's bf16.

    torch's own answer says yes for every AVX512 CPU, which emulates it at a tenth of the speed of float32.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return platform.system() == "Darwin" and platform.machine() == "arm64"
    flags = {word for line in lines if line.startswith(("flags", "Features")) for word in line.split(":", 1)[1].split()}
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})
