"""Everything of a run that changes, and its way into a file from which the run goes on, and back.

The model draws no random numbers after its first weights, and order and augmentation are functions of (seed, epoch): so
there is no random state to keep. A checkpoint, `step-NNNNNNNNN.ckpt`, is a magic word, the SHA-256 of what follows, and
a `torch.save` that is read with `weights_only=True`: it is either sound or refused. The newest few are kept.
"""

from __future__ import annotations

import hashlib
import io
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fastrad.errors import FormatError
from fastrad.system.files import write_atomically
from fastrad.train.step import Learner

MAGIC = b"FASTRAD-CKPT-1\n"
KEPT = 2
_NAME = re.compile(r"step-(\d{9})\.ckpt")


@dataclass
class State:
    """A run between two steps.

    Attributes
    ----------
    learner : Learner
        Model, optimiser, loss scale and moving average.
    epoch, step : int
        Epochs that are finished, and steps done of the one that is not.
    loss_sum : float
        Of this epoch's samples so far, over all ranks.
    seconds, waited : float
        This epoch's training so far, and how much of it was spent waiting for the loader.
    best_epoch, best_auroc
        The epoch (from 0) whose weights are kept, and its macro AUROC; of equal ones that with the lower loss.
    rows : list of dict
        The lines of metrics.csv.
    class_auroc : list of float
        Of the best epoch, one a class.
    confusion : list of lists of int
        Of the best epoch: true class by predicted class.
    """

    learner: Learner
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    best_epoch: int = -1
    best_auroc: float = -math.inf
    rows: list[dict[str, Any]] = field(default_factory=list)
    class_auroc: list[float] = field(default_factory=list)
    confusion: list[list[int]] = field(default_factory=list)

    @property
    def evaluated(self) -> nn.Module:
        """The model that is validated and kept."""
        averaged = self.learner.averaged
        return self.learner.model if averaged is None else averaged.model

    def content(self) -> dict[str, Any]:
        """Tensors and plain values, for a checkpoint."""
        plain = {name: value for name, value in vars(self).items() if name != "learner"}
        return {"progress": plain, **{name: module.state_dict() for name, module in self._modules()}}

    def load(self, content: dict[str, Any]) -> None:
        """Go back to where `content` was taken."""
        for name, module in self._modules():
            module.load_state_dict(content[name])
        for name, value in content["progress"].items():
            setattr(self, name, value)

    def _modules(self) -> list[tuple[str, Any]]:
        """The parts with a state of their own, without wrappers: their names are the same for any number of ranks."""
        learner = self.learner
        parts = [("model", learner.model), ("optimiser", learner.optimiser), ("scaler", learner.scaler)]
        return parts if learner.averaged is None else [*parts, ("averaged", learner.averaged.model)]


def write_checkpoint(folder: Path, step: int, content: dict[str, Any]) -> Path:
    """Write a checkpoint and remove all but the `KEPT` newest.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    step : int
        Steps of the whole run that are done; it names the file.
    content : dict
        Tensors, numbers, strings, and lists and dicts of them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getbuffer()
    path = folder / f"step-{step:09d}.ckpt"
    write_atomically(path, MAGIC, hashlib.sha256(payload).digest(), payload)
    for old in _newest_first(folder)[KEPT:]:
        old.unlink()
    return path


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint on the CPU.

    Raises
    ------
    FormatError
        If it is cut short, altered, or something else.
    """
    with open(path, "rb") as file:
        magic, digest, payload = file.read(len(MAGIC)), file.read(32), file.read()
    if magic != MAGIC:
        raise FormatError(f"{path}: not a fastrad checkpoint, or cut short")
    if hashlib.sha256(payload).digest() != digest:
        raise FormatError(f"{path}: cut short or altered (its checksum differs)")
    try:
        return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler and zip reader meet
        raise FormatError(f"{path}: holds something other than tensors and plain values") from error


def newest_checkpoint(folder: Path, settings: dict[str, object]) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest sound checkpoint of the same run, and a line for each newer one that was passed over.

    Parameters
    ----------
    folder : Path
    settings : dict
        What the checkpoint's own `settings` must equal: it holds the hashes of both datasets.
    """
    refused = []
    for path in _newest_first(folder):
        try:
            content = read_checkpoint(path)
        except FormatError as error:
            refused.append(f"{error}; the one before it is used")
            continue
        if content["settings"] != settings:
            refused.append(f"{path}: from another dataset or with other settings; the one before it is used")
            continue
        return content, refused
    return None, refused


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)
