"""Everything of a run that changes, and its way into a file from which the run goes on, and back.

The model draws no random numbers after its first weights, and order and augmentation are functions of (seed, epoch): so
there is no random state to keep. A checkpoint, `step-NNNNNNNNN.ckpt`, is a magic word, the SHA-256 of what follows, and
a `torch.save` that is read with `weights_only=True`: it is either sound or refused. The newest few are kept.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from torch import Tensor, nn

from fastrad.errors import FormatError, InputError
from fastrad.system.files import write_atomically
from fastrad.system.json_file import MAX_NUMBER, Count, convert
from fastrad.system.reading import open_regular
from fastrad.train.step import Learner

MAGIC = b"FASTRAD-CKPT-1\n"
KEPT = 2
MAX_BYTES = 8 << 30  # that of a ResNet-152 with momenta and a moving average has under 1 GB
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

    def check(self, content: dict[str, Any]) -> None:
        """Compare a checkpoint with this run before anything is taken from it.

        Raises
        ------
        FormatError
            If a part is missing, or of another form than the run's own.
        """
        progress = convert(content.get("progress"), _Progress, "its progress", "it is of another run")
        classes = len(self.learner.model.state_dict()["fc.bias"])
        sizes = {len(progress.class_auroc), len(progress.confusion), *map(len, progress.confusion)}
        if progress.best_epoch >= len(progress.rows) or (progress.rows and sizes != {classes}):
            raise FormatError("its progress contradicts itself")
        if any(row.keys() != progress.rows[0].keys() or "epoch" not in row for row in progress.rows):
            raise FormatError("its lines of metrics.csv differ in their columns")
        for name, module in self._modules():
            mine, theirs = module.state_dict(), content.get(name)
            if name == "optimiser":
                mine, theirs = _with_momentum(mine, module, theirs)
            if not _is_alike(mine, theirs) or (name == "optimiser" and not _is_set_alike(mine, theirs)):
                raise FormatError(f"its {name} is missing, or of another network")

    def load(self, content: dict[str, Any]) -> None:
        """Go back to where `content` was taken, which `check` has seen."""
        for name, module in self._modules():
            module.load_state_dict(content[name])
        for name, value in content["progress"].items():
            setattr(self, name, value)

    def _modules(self) -> list[tuple[str, Any]]:
        """The parts with a state of their own, without wrappers: their names are the same for any number of ranks."""
        learner = self.learner
        parts = [("model", learner.model), ("optimiser", learner.optimiser), ("scaler", learner.scaler)]
        return parts if learner.averaged is None else [*parts, ("averaged", learner.averaged.model)]


class _Progress(msgspec.Struct, forbid_unknown_fields=True):
    epoch: Count
    step: Count
    loss_sum: float
    seconds: float
    waited: float
    best_epoch: Annotated[int, msgspec.Meta(ge=-1, le=MAX_NUMBER)]
    best_auroc: float
    rows: list[dict[str, float]]
    class_auroc: list[float]
    confusion: list[list[int]]


def _is_alike(mine: Any, theirs: Any) -> bool:
    """Whether two states have the same keys, and tensors of the same shapes and types."""
    if isinstance(mine, Tensor):
        alike = isinstance(theirs, Tensor) and theirs.layout == mine.layout
        return alike and theirs.shape == mine.shape and theirs.dtype == mine.dtype
    if isinstance(mine, dict):
        return (
            isinstance(theirs, dict)
            and mine.keys() == theirs.keys()
            and all(_is_alike(value, theirs[key]) for key, value in mine.items())
        )
    if isinstance(mine, list | tuple):
        return (
            isinstance(theirs, list | tuple)
            and len(mine) == len(theirs)
            and all(_is_alike(one, other) for one, other in zip(mine, theirs, strict=True))
        )
    if isinstance(mine, bool) or mine is None:
        return isinstance(theirs, bool) or theirs is None
    return isinstance(theirs, int | float) if isinstance(mine, int | float) else isinstance(theirs, type(mine))


def _is_set_alike(mine: Any, theirs: Any) -> bool:
    """Whether two optimisers, alike in form, have the same settings but for the rate, which each step sets anew."""
    return all(
        0 <= other[key] < 1e6 if key in ("lr", "initial_lr") else value == other[key]
        for group, other in zip(mine["param_groups"], theirs["param_groups"], strict=True)
        for key, value in group.items()
    )


def _with_momentum(mine: Any, optimiser: torch.optim.Optimizer, theirs: Any) -> tuple[Any, Any]:
    """A fresh optimiser's state with the momenta that it will have, and the other one without those not there yet."""
    parameters = [each for group in optimiser.param_groups for each in group["params"]]
    state = theirs.get("state") if isinstance(theirs, dict) else None
    if not isinstance(state, dict) or not set(state) <= set(range(len(parameters))):
        return mine, None
    expected = {number: {"momentum_buffer": parameters[number].detach()} for number in state}
    absent = [number for number, of_one in state.items() if of_one == {"momentum_buffer": None}]
    return (
        {**mine, "state": {number: value for number, value in expected.items() if number not in absent}},
        {**theirs, "state": {number: value for number, value in state.items() if number not in absent}},
    )


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
    InputError
        If it is no regular file.
    """
    with open_regular(path, MAX_BYTES, "a checkpoint") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise FormatError(f"{path}: not a fastrad checkpoint, or cut short")
        digest, payload = file.read(32), file.read()
    if hashlib.sha256(payload).digest() != digest:
        raise FormatError(f"{path}: cut short or altered (its checksum differs)")
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(payload):  # torch compresses nothing
                raise ValueError("compressed")
        content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its unpickler and zip reader meet
        raise FormatError(f"{path}: holds something other than tensors and plain values") from error
    if not isinstance(content, dict):
        raise FormatError(f"{path}: holds something other than a run's state")
    return content


def newest_checkpoint(
    folder: Path, settings: dict[str, object], check: Callable[[dict[str, Any]], None] = lambda content: None
) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest sound checkpoint of the same run, and a line for each newer one that was passed over.

    Parameters
    ----------
    folder : Path
    settings : dict
        What the checkpoint's own `settings` must equal: it holds the hashes of both datasets.
    check : callable
        Raises FormatError for the content of a checkpoint that does not fit the run.
    """
    refused = []
    for path in _newest_first(folder):
        try:
            content = read_checkpoint(path)
        except (InputError, FormatError) as error:
            refused.append(f"{error}; the one before it is used")
            continue
        if not _is_same(content.get("settings"), settings):
            refused.append(f"{path}: from another dataset or with other settings; the one before it is used")
            continue
        try:
            check(content)
        except FormatError as error:
            refused.append(f"{path}: does not fit this run ({error}); the one before it is used")
            continue
        return content, refused
    return None, refused


def _is_same(theirs: Any, mine: dict[str, object]) -> bool:
    """Whether two settings are the same plain values; what a forged one holds may not be comparable."""
    try:
        return json.dumps(theirs, sort_keys=True) == json.dumps(mine, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return False


def _newest_first(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)
