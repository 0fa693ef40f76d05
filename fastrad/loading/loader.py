"""The loader: one constructor for every engine, one order, one randomness, batches that the caller owns.

Which samples come when is decided here (`order`), what happens to them too (`policy`); an engine only moves and
resamples pixels.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from fastrad.dataset import Card, Dataset
from fastrad.errors import InputError
from fastrad.imaging.normalisation import Normalisation
from fastrad.loading.augment import augment_batch
from fastrad.loading.engines import engine_class, engine_name
from fastrad.loading.engines.auto import choose_engine
from fastrad.loading.engines.base import Delivery, Step
from fastrad.loading.home_process import HomeProcess
from fastrad.loading.plan import EpochPlan, sampler_weights, select
from fastrad.loading.policy import Augmentation, Parameters, whole_frame
from fastrad.loading.samples import open_samples
from fastrad.system.cores import available_cores
from fastrad.system.devices import choose_device, send

_log = logging.getLogger("fastrad.loading")
# what other loaders call it, and what is meant here
_MEANT = {
    "num_workers": ": the threads are `workers`",
    "shuffle": ": `train=True` shuffles and augments, `train=False` keeps the order",
    "pin_memory": ': with `device="cuda"` batches come through pinned memory by themselves',
    "transform": ": `augment` takes a fastrad.loading.Augmentation; fastrad.Dataset takes a `transform`",
    "batch_sampler": ": `sampler` takes weights, `indices` a selection",
    "image_size": ": it is `size`",
    "img_size": ": it is `size`",
}


class Batch(NamedTuple):
    """One rank's samples of one step.

    Attributes
    ----------
    images : torch.Tensor
        N x 1 x H x W (N x 3 x H x W with `channels=3`), channels_last, in the dtype asked for; the receiver's own.
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
    dataset : Path, str, or an opened Dataset
        The dataset file with its card beside it; for shards their card, or one of the tars. Or one that is open.
    batch_size : int
        Of one rank.
    engine : str
        "direct" reads the samples where they lie, "resident" holds them in the device's memory, "dali" leaves decoding,
        crops and flips to NVIDIA DALI, "torch" is the plain reference; "auto" picks and says what and why.
    size : int, optional
        Images come as size x size pixels; as they are stored by default. A larger one is logged as a warning.
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
    drop_last : bool
        Leave out the last step of an epoch where it has fewer samples than the others.
    channels : int
        1; or 3, the gray image three times, for networks with an RGB stem.
    unknown : object
        Anything else is refused, with the name that was meant where other loaders have it.

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
        dataset: Path | str | Dataset,
        batch_size: int,
        *,
        engine: str = "auto",
        size: int | None = None,
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
        drop_last: bool = False,
        channels: int = 1,
        **unknown: Any,
    ) -> None:
        for name in unknown:
            raise TypeError(f"Loader() has no argument {name!r}" + _MEANT.get(name, ""))
        _require(channels in (1, 3), f"channels is {channels}, it must be 1 or 3")
        _require(batch_size >= 1, f"batch_size is {batch_size}, it must be at least 1")
        _require(0 <= seed < 2**64, f"seed is {seed}, it must lie in [0, 2**64)")
        engine = engine_name(engine)
        _require(on_damage in ("raise", "skip"), f"on_damage {on_damage!r} is neither 'raise' nor 'skip'")
        _require(verify in ("first", "always", "never"), f"verify {verify!r} is none of 'first', 'always', 'never'")
        floats = (torch.float32, torch.float16, torch.bfloat16)
        _require(dtype in (torch.uint8, *floats), f"dtype {dtype} is none of uint8, float32, float16, bfloat16")
        _require(workers is None or workers >= 1, f"workers is {workers}, it must be at least 1")
        self.rank, self.world_size = _rank(rank, world_size)
        self._samples = open_samples(dataset, verify)
        self.card: Card = self._samples.card
        self.batch_size, self.train, self.seed, self.dtype = batch_size, train, seed, dtype
        if device is not None:
            choose_device(str(device))  # one clear line where it is not there
        self.device = torch.device("cpu" if device is None else device)
        self.workers = workers or available_cores()
        self.augment = (augment or Augmentation()) if train else Augmentation.none()
        self.on_damage, self.verify = on_damage, verify
        self.channels = channels
        self.size = self._stored_size() if size is None else size
        _require(sampler is None or train, "a sampler draws at random: it needs train=True")
        self._plan = self._make_plan(indices, sampler, drop_last)
        self.skipped = 0
        self._epoch, self._step, self._begun = 0, 0, False
        self.engine, self.engine_reason = engine, "asked for"
        if engine == "auto":
            batch = min(batch_size, self.num_samples)
            chosen = choose_engine(self._samples, self._plan.selection, self.device, batch, self.size, dtype)
            self.engine, self.engine_reason = chosen
        self._start_engine()
        _log.info("%s: engine %s (%s)", self._samples.path, self.engine, self.engine_reason)

    def __len__(self) -> int:
        """Steps of an epoch, the same for every rank."""
        return self._plan.number_of_steps

    @property
    def num_samples(self) -> int:
        """Samples of an epoch over all ranks."""
        return self._plan.num_samples

    @property
    def waited(self) -> float:
        """Seconds in which whoever iterates waited for images so far, a GPU's launch queue that is full left out."""
        return self._engine.waited

    @property
    def size(self) -> int:
        """Images come as size x size pixels; a new value holds from the next epoch on."""
        return self._size

    @size.setter
    def size(self, size: int) -> None:
        _require(size >= 1, f"size is {size}, it must be at least 1")
        self._size = size
        if size > max(self._samples.frame):
            _say_enlarged(str(self._samples.path), self._samples.frame, size)

    def _stored_size(self) -> int:
        height, width = self._samples.frame
        _require(height == width, f"{self._samples.path}: stored as {width} x {height} pixels; give a size")
        return height

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
        return self._run(self._epoch, self._step, self.size, HomeProcess())

    def __getitem__(self, index: Any) -> Any:
        raise TypeError(
            "a Loader is iterated: `for images, labels, rows in loader`; one sample is fastrad.Dataset(...)[i]"
        )

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
            If the state is of another file, selection, sampler, seed, policy, global batch size or `drop_last`.
        """
        self.check_state(state)
        self.skipped = state.get("skipped", 0)
        ended = state["begun"] and state["step"] == len(self)
        self.epoch, self._step = (state["epoch"] + 1, 0) if ended else (state["epoch"], state["step"])

    def check_state(self, state: Any) -> None:
        """Compare a state with this loader, without taking it; raises as `load_state_dict`."""
        state = {"drop_last": False} | (state if isinstance(state, dict) else {})  # 0.1.0 did not know drop_last
        for name, ours in self._identity().items():
            theirs = state.get(name)
            _require(
                theirs == ours,
                f"loader state of another {name.replace('_', ' ')} ({theirs}) than this loader's ({ours}); "
                "make the loader as it was made then, or start the epoch again",
            )
        counts = (state.get("epoch"), state.get("step"), state.get("skipped", 0))
        sound = all(type(count) is int and 0 <= count < 2**32 for count in counts) and type(state.get("begun")) is bool
        _require(sound and counts[1] <= len(self), "loader state that no loader gave; start the epoch again")

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
            "drop_last": self._plan.drop_last,
        }

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_engine"], state["_samples"]
        return state | {"_path": self._samples.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._samples = open_samples(state.pop("_path"), state["verify"])
        self.__dict__.update(state)
        self._start_engine()

    def _make_plan(self, indices: Any, sampler: Any, drop_last: bool) -> EpochPlan:
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
            drop_last=drop_last,
        )

    def _start_engine(self) -> None:
        """Make the engine, and note what of policy and dtype it leaves to `_finish`."""
        made_by = engine_class(self.engine)
        floats = self.dtype != torch.uint8
        self._normalisation = Normalisation.gray(self.card.mean, self.card.std)
        self._left_over = made_by.capabilities.left_over(self.augment, self.device, self.dtype)
        delivery = Delivery(
            device=self.device,
            workers=self.workers,
            dtype=torch.uint8 if any(self._left_over) else self.dtype,
            table=self._normalisation.table(self.dtype) if floats else torch.arange(256, dtype=torch.uint8),
            skip_damaged=self.on_damage == "skip",
            selection=self._plan.selection,
            batch_size=max(1, min(self.batch_size, self.num_samples)),
        )
        self._engine = made_by(self._samples, delivery)

    def _run(self, epoch: int, first: int, size: int, home: HomeProcess) -> Iterator[Batch]:
        waiting: deque[Step] = deque()
        whole = not self.augment.has_geometry and self._samples.frame == (size, size)

        def steps() -> Iterator[Step]:
            for step in self._plan.steps(epoch, first):
                waiting.append(step)
                yield Step(step.positions, None) if self._left_over.geometry or whole else step

        delivered = self._engine.run(steps(), size)
        with home.closing(delivered):
            for images, kept in delivered:
                positions, parameters = waiting.popleft()
                assert parameters is not None
                if kept is not None and not kept.all():
                    self.skipped += int((~kept).sum())
                    positions, parameters = positions[kept], parameters[kept]
                if any(self._left_over):
                    images = self._finish(images, parameters, size)
                columns = np.stack([self._samples.labels(positions), self._samples.rows[positions]])
                labels, rows = send(columns, self.device)
                if self.channels == 3:
                    images = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
                if self._epoch == epoch:
                    self._step += 1
                yield Batch(images, labels, rows)
                home.refuse_elsewhere()

    def _finish(self, images: torch.Tensor, parameters: Parameters, size: int) -> torch.Tensor:
        """Do on the device what the engine left to it: the geometry, the intensities, the normalisation."""
        if not self._left_over.geometry:  # the engine has cropped and flipped
            done = whole_frame(len(parameters), size, size)
            geometry = ("top", "left", "height", "width", "flip_horizontal", "flip_vertical")
            parameters = replace(parameters, **{name: getattr(done, name) for name in geometry})
        return augment_batch(images, parameters, size, self._normalisation, self.dtype)


@cache
def _say_enlarged(path: str, frame: tuple[int, int], size: int) -> None:
    """Once a process: a study makes many loaders of one file."""
    height, width = frame
    _log.warning("%s: stored as %d x %d pixels, enlarged to %d, which adds no detail", path, width, height, size)


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
