"""The loader: one constructor for every engine, one order, one randomness, batches that the caller owns.

In: a dataset file. Out: `Batch` after `Batch` on the device. Which samples come when is decided here (`order`), what
happens to them too (`randomness`); an engine only moves and resamples pixels.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fastrad.dataset import Card
from fastrad.errors import InputError
from fastrad.loading.augment import Augmentation, augment_batch
from fastrad.loading.engines import direct as ffcv
from fastrad.loading.engines.base import Delivery, Engine, Step
from fastrad.loading.engines.resident import ResidentEngine, free_bytes, needed_bytes
from fastrad.loading.engines.threads import ThreadedEngine
from fastrad.loading.engines.torch import TorchEngine
from fastrad.loading.plan import EpochPlan, sampler_weights, select
from fastrad.loading.policy import Parameters, whole_frame
from fastrad.loading.samples import open_samples
from fastrad.system.devices import choose_device, send
from fastrad.system.processes import available_cores

ENGINES = ("auto", "dali", "ffcv", "resident", "torch")
_RESIDENT_SHARE = 0.6  # of the free memory: the rest is the model's
_log = logging.getLogger("fastrad.loading")


class Batch(NamedTuple):
    """One rank's samples of one step.

    Attributes
    ----------
    images : torch.Tensor
        N x 1 x H x W, channels_last, in the dtype asked for; the receiver's own.
    labels : torch.Tensor
        Class indices, int64, shape (N,), on the same device.
    rows : torch.Tensor
        Manifest rows, int64, shape (N,), on the same device.
    """

    images: torch.Tensor
    labels: torch.Tensor
    rows: torch.Tensor


class Loader:
    """Batches from a `.beton` file or from WebDataset shards.

    Iterating once is one epoch, iterating again is the next; `epoch` says which and can be set. `size` can be set
    between epochs.

    Parameters
    ----------
    path : Path or str
        The dataset file with its card beside it; for shards their card, or one of the tars.
    batch_size : int
        Of one rank.
    engine : str
        "ffcv" reads the samples where they lie, "resident" holds them in the device's memory, "dali" leaves decoding,
        crops and flips to NVIDIA DALI, "torch" is the plain reference; "auto" picks and says what and why.
    size : int
        Images come as size x size pixels.
    train : bool
        True shuffles and augments. False keeps the order of `indices` and resizes the whole frame.
    device : torch.device or str, optional
        Where the batches go; the CPU by default.
    seed : int
        In [0, 2**64). Order and parameters depend on seed, epoch, row and occurrence alone.
    indices : sequence of int, optional
        The selection, as positions in the file; all of them by default. A position may come more than once.
    workers : int, optional
        Threads; by default the CPUs that this process may use.
    rank, world_size : int, optional
        Which part of each step is ours; from `torch.distributed` where that is initialised, else 0 of 1.
    dtype : torch.dtype
        torch.uint8, or float32, float16, bfloat16: then (p / 255 - mean) / std with the card's mean and std.
    augment : Augmentation, optional
        The policy for `train=True`; `Augmentation()` by default.
    on_damage : str
        "raise", or "skip": leave a damaged sample out and count it in `skipped`.
    verify : str
        "first" compares checksums when a sample is first touched, "always" each time, "never" not at all.
    sampler : str or array, optional
        "balanced" draws every class equally often; an array holds one weight for each entry of `indices`. As many
        samples as before are drawn, with replacement.

    Attributes
    ----------
    card : Card
    engine : str
        The engine that works.
    engine_reason : str
        Why it was picked.
    num_samples : int
        Samples of an epoch over all ranks.
    skipped : int
        Damaged samples left out so far.

    Raises
    ------
    InputError
        If an argument can't be used.
    FormatError
        If the file is not a dataset file, or was cut or altered.
    DamagedSampleError
        While iterating, if a sample is damaged.
    """

    def __init__(
        self,
        path: Path | str,
        batch_size: int,
        *,
        engine: str = "auto",
        size: int = 224,
        train: bool = True,
        device: torch.device | str | None = None,
        seed: int = 0,
        indices: Any = None,
        workers: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        dtype: torch.dtype = torch.uint8,
        augment: Augmentation | None = None,
        on_damage: str = "raise",
        verify: str = "first",
        sampler: Any = None,
    ) -> None:
        _require(batch_size >= 1, f"batch_size is {batch_size}, it must be at least 1")
        _require(0 <= seed < 2**64, f"seed is {seed}, it must lie in [0, 2**64)")
        _require(engine in ENGINES, f"engine {engine!r} is none of {', '.join(ENGINES)}")
        _require(on_damage in ("raise", "skip"), f"on_damage {on_damage!r} is neither 'raise' nor 'skip'")
        _require(verify in ("first", "always", "never"), f"verify {verify!r} is none of 'first', 'always', 'never'")
        floats = (torch.float32, torch.float16, torch.bfloat16)
        _require(dtype in (torch.uint8, *floats), f"dtype {dtype} is none of uint8, float32, float16, bfloat16")
        _require(workers is None or workers >= 1, f"workers is {workers}, it must be at least 1")
        self.rank, self.world_size = _rank(rank, world_size)
        self._samples = open_samples(path, verify)
        self.card: Card = self._samples.card
        self.batch_size, self.train, self.seed, self.dtype = batch_size, train, seed, dtype
        if device is not None:
            choose_device(str(device))  # one clear line where it is not there
        self.device = torch.device("cpu" if device is None else device)
        self.workers = workers or available_cores()
        self.augment = (augment or Augmentation()) if train else Augmentation.none()
        self.on_damage, self.verify = on_damage, verify
        self.size = size
        _require(sampler is None or train, "a sampler draws at random: it needs train=True")
        self._plan = self._make_plan(indices, sampler)
        self.skipped = 0
        self._epoch, self._step, self._begun = 0, 0, False
        self.engine, self.engine_reason = self._pick(engine)
        on_gpu = self.device.type == "cuda"
        # what a crop box and flips cannot say, and what a GPU does better, is done to the stored frames on the device
        self._copies = self.augment.has_rotation or (self.engine == "resident" and on_gpu)
        normalises = on_gpu and self.dtype != torch.uint8 and self.engine != "dali"
        self._finishes = self._copies or self.augment.has_intensity or normalises
        self._engine = self._make_engine()
        _log.info("%s: engine %s (%s)", path, self.engine, self.engine_reason)

    def __len__(self) -> int:
        """Steps of an epoch, the same for every rank."""
        return self._plan.number_of_steps

    @property
    def num_samples(self) -> int:
        """Samples of an epoch over all ranks."""
        return len(self._plan.selection)

    @property
    def size(self) -> int:
        """Images come as size x size pixels; a new value holds from the next epoch on."""
        return self._size

    @size.setter
    def size(self, size: int) -> None:
        _require(size >= 1, f"size is {size}, it must be at least 1")
        self._size = size

    @property
    def epoch(self) -> int:
        """The epoch that is being iterated, or was iterated last; setting it says which comes next."""
        return self._epoch

    @epoch.setter
    def epoch(self, epoch: int) -> None:
        _require(0 <= epoch < 2**32, f"epoch is {epoch}, it must lie in [0, 2**32)")
        self._epoch, self._step, self._begun = epoch, 0, False

    def __iter__(self) -> Iterator[Batch]:
        if self._begun:
            self._epoch, self._step = self._epoch + 1, 0
        self._begun = True
        return self._run(self._epoch, self._step, self.size)

    def state_dict(self) -> dict[str, Any]:
        """Where the epoch stands: the number of batches handed out, and what makes them what they are."""
        return {
            "epoch": self._epoch,
            "step": self._step,
            "begun": self._begun,
            "skipped": self.skipped,
            **self._identity(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken: the next iteration yields the rest of that epoch, bit for bit.

        Raises
        ------
        InputError
            If the state is of another file, selection, sampler, seed, policy or global batch size.
        """
        for name, ours in self._identity().items():
            theirs = state.get(name)
            _require(
                theirs == ours,
                f"loader state of another {name.replace('_', ' ')} ({theirs}) than this loader's ({ours}); "
                "make the loader as it was made then, or start the epoch again",
            )
        self.epoch, self.skipped = state["epoch"], state.get("skipped", 0)
        if state["begun"] and state["step"] == len(self):
            self.epoch = state["epoch"] + 1
        else:
            self._step = state["step"]

    def _identity(self) -> dict[str, Any]:
        """What fixes the batches of an epoch, in plain values."""
        weights = self._plan.weights
        return {
            "file": self.card.sha256(),
            "selection": hashlib.sha256(self._plan.selection.tobytes()).hexdigest(),
            "sampler": "none" if weights is None else hashlib.sha256(weights.tobytes()).hexdigest(),
            "global_batch_size": self.batch_size * self.world_size,
            "seed": self.seed,
            "train": self.train,
            "policy": repr(self.augment),
        }

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_engine"], state["_samples"]
        return state | {"_path": self._samples.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._samples = open_samples(state.pop("_path"), state["verify"])
        self.__dict__.update(state)
        self._engine = self._make_engine()

    def _make_plan(self, indices: Any, sampler: Any) -> EpochPlan:
        samples = self._samples
        selection = select(indices, samples.count, samples.path)
        weights = None if sampler is None else sampler_weights(sampler, selection, samples.all_labels)
        return EpochPlan(
            samples.rows,
            samples.frame,
            selection,
            weights,
            train=self.train,
            policy=self.augment,
            seed=self.seed,
            batch_size=self.batch_size,
            rank=self.rank,
            world_size=self.world_size,
        )

    def _make_engine(self) -> Engine:
        samples = self._samples
        delivery = Delivery(
            device=self.device,
            workers=self.workers,
            dtype=torch.uint8 if self._finishes else self.dtype,
            table=_normalisation_table(self.card, self.dtype),
            skip_damaged=self.on_damage == "skip",
        )
        if self.engine == "torch":
            return TorchEngine(samples, delivery)
        if self.engine == "resident":
            return ResidentEngine(samples, delivery, self._plan.selection)
        if self.engine == "dali":
            from fastrad.loading.engines.dali import DaliEngine

            return DaliEngine(samples, delivery, max(1, min(self.batch_size, self.num_samples)))
        return ThreadedEngine(ffcv.filler(samples), samples.frame, delivery)

    def _run(self, epoch: int, first: int, size: int) -> Iterator[Batch]:
        waiting: deque[Step] = deque()
        whole = not self.augment.has_geometry and self._samples.frame == (size, size)

        def steps() -> Iterator[Step]:
            for step in self._plan.steps(epoch, first):
                waiting.append(step)
                yield Step(step.positions, None) if self._copies or whole else step

        delivered = self._engine.run(steps(), size)
        try:
            for images, kept in delivered:
                positions, parameters = waiting.popleft()
                assert parameters is not None
                if kept is not None and not kept.all():
                    self.skipped += int((~kept).sum())
                    positions, parameters = positions[kept], parameters[kept]
                if self._finishes:
                    images = self._finish(images, parameters, size)
                columns = np.stack([self._samples.labels(positions), self._samples.rows[positions]])
                labels, rows = send(columns, self.device)
                if self._epoch == epoch:
                    self._step += 1
                yield Batch(images, labels, rows)
        finally:
            delivered.close()  # type: ignore[attr-defined]

    def _finish(self, images: torch.Tensor, parameters: Parameters, size: int) -> torch.Tensor:
        """Do on the device what the engine left to it: the geometry, the intensities, the normalisation."""
        if not self._copies:  # the engine has cropped and flipped
            done = whole_frame(len(parameters), size, size)
            geometry = ("top", "left", "height", "width", "flip_horizontal", "flip_vertical")
            parameters = replace(parameters, **{name: getattr(done, name) for name in geometry})
        return augment_batch(images, parameters, size, self.card.mean, self.card.std or 1.0, self.dtype)

    def _pick(self, engine: str) -> tuple[str, str]:
        if engine != "auto":
            return engine, "asked for"
        if self.device.type != "cuda":
            return "ffcv", "the batches stay on the CPU, and the page cache holds the file as well as a copy would"
        needed = needed_bytes(len(np.unique(self._plan.selection)), *self._samples.frame)
        free = free_bytes(self.device)
        if needed <= _RESIDENT_SHARE * free:
            return "resident", f"{needed:,} bytes of images fit into {free:,} bytes free on {self.device}"
        return "ffcv", f"{needed:,} bytes of images leave too little of {free:,} bytes free on {self.device}"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise InputError(message)


def _rank(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if rank is None and world_size is None:
        distributed = torch.distributed
        if distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1
    _require(rank is not None and world_size is not None, "rank and world_size go together: give both, or none")
    assert rank is not None
    assert world_size is not None
    _require(0 <= rank < world_size, f"rank {rank} does not lie in 0 .. world_size - 1 with world_size {world_size}")
    return rank, world_size


def _normalisation_table(card: Card, dtype: torch.dtype) -> torch.Tensor:
    """The 256 gray levels as the caller gets them: (p / 255 - mean) / std, or themselves for uint8."""
    levels = torch.arange(256, dtype=torch.float64)
    if dtype == torch.uint8:
        return levels.to(dtype)
    return ((levels / 255 - card.mean) / (card.std or 1.0)).to(dtype)  # std 0: every pixel is the same
