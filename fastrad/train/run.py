"""What a run is, from the first step to the last: data, recipe, folder, ranks, and the signals that may stop it.

Everything is checked here before anything is written. SIGTERM, SIGHUP, SIGUSR1 (SLURM's warning) and Ctrl-C ask for a
checkpoint and an end; they are looked at between two steps.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np
import torch

from fastrad.dataset import Card
from fastrad.errors import FastradError, InputError
from fastrad.imaging.normalisation import Normalisation
from fastrad.loading import Loader
from fastrad.system.progress import Progress, say, track
from fastrad.train.config import PretrainConfig, Recipe, settings_of
from fastrad.train.precision import Precision, choose_precision
from fastrad.train.ranks import Ranks
from fastrad.train.run_folder import RunFolder
from fastrad.train.schedule import suiting_batch_size

HEARTBEAT = 50  # steps between two looks at a GPU
STATISTICS_BATCHES = 100  # for the batch statistics of averaged weights
STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
_PATIENCE_SECONDS = 5.0  # after a second signal, for an end in order


class Stopped(FastradError):
    """A run that ended early, with a checkpoint, because a signal asked for it.

    Attributes
    ----------
    signal : int
        Its number; the process's exit status is 128 more.
    """

    of_all_ranks = True  # they have agreed on it

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.signal = number


class StopSignals:
    """Inside this context the first stopping signal is only noted; a second one of the kind acts as usual.

    Where the process waits inside C++, for another rank say, Python handles no signal: a thread that hears of each one
    ends the process, five seconds after a second of the kind.

    Attributes
    ----------
    received : int
        The signal's number, 0 while there is none.
    """

    def __init__(self) -> None:
        self.received = 0
        self._usual: dict[int, Any] = {}
        self._over = threading.Event()
        self._heard: tuple[socket.socket, socket.socket] | None = None

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # Python handles signals nowhere else
            for number in STOPPING:
                if signal.getsignal(number) is not signal.SIG_IGN:  # `nohup` has it so
                    self._usual[number] = signal.signal(number, self._note)
            self._heard = socket.socketpair()
            self._heard[1].setblocking(False)
            self._before = signal.set_wakeup_fd(self._heard[1].fileno(), warn_on_full_buffer=False)
            threading.Thread(target=self._listen, args=(self._heard[0],), daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, usual in self._usual.items():
            signal.signal(number, usual)
        self._over.set()
        if self._heard is not None:
            signal.set_wakeup_fd(self._before)
            self._heard[1].close()  # which ends the thread

    def _listen(self, heard: socket.socket) -> None:
        counts: Counter[int] = Counter()
        with heard:
            while numbers := heard.recv(64):
                counts.update(number for number in numbers if number in self._usual)
                again = [number for number, count in counts.items() if count > 1]
                if again and not self._over.wait(_PATIENCE_SECONDS):
                    say("fastrad: ended by a second signal, at once; go on with --resume")
                    os._exit(128 + again[0])

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        signal.signal(number, self._usual[number])


@dataclass(frozen=True)
class Run:
    """What stays the same from the first step to the last."""

    config: PretrainConfig
    recipe: Recipe
    settings: dict[str, object]
    folder: RunFolder
    ranks: Ranks
    precision: Precision
    normalisation: Normalisation
    train: Loader
    val: Loader
    statistics: Loader | None  # training images for the batch statistics of averaged weights
    signals: StopSignals

    @property
    def steps(self) -> int:
        """Steps of one epoch."""
        return len(self.train)

    @property
    def heartbeat(self) -> int:
        """Steps between two looks at the device."""
        return HEARTBEAT if self.ranks.device.type == "cuda" else 1

    def samples_of(self, step: int) -> int:
        """Samples of one step over all ranks; of the last step of an epoch there may be less."""
        return min(self.recipe.batch_size, self.train.num_samples - step * self.recipe.batch_size)

    def is_ragged(self, step: int) -> bool:
        """Whether the ranks' batches of one step may differ in length."""
        return self.ranks.world_size > 1 and self.samples_of(step) < self.recipe.batch_size

    def say(self, line: str) -> None:
        """Tell the user, once for all ranks."""
        if self.ranks.first:
            say(line)

    def shown(self, description: str, total: int) -> AbstractContextManager[Progress | None]:
        """A progress bar on the first rank."""
        return track(description, total, "") if self.ranks.first else nullcontext()


def prepare(config: PretrainConfig, ranks: Ranks, signals: StopSignals) -> Run:
    """Check what can be checked before anything is written."""
    card, val_card = _matching_cards(config.train, config.val)
    recipe = replace(config.recipe, size=config.recipe.size or int(card.parameters["size"]))
    sizes = [recipe.training_size(epoch) for epoch in range(recipe.epochs)]
    precision = choose_precision(config.precision, ranks.device, min(sizes))
    if not recipe.batch_size:
        itemsize = getattr(torch, precision.name).itemsize
        suiting = suiting_batch_size(card.samples, max(sizes), itemsize, ranks.device, ranks.world_size)
        recipe = replace(recipe, batch_size=suiting)
    if recipe.batch_size % ranks.world_size or recipe.batch_size < 2 * ranks.world_size:
        raise InputError(
            f"batch size {recipe.batch_size} is that of all {ranks.world_size} ranks together and leaves them unequal "
            f"or with one image each; give a multiple of {ranks.world_size} from {2 * ranks.world_size} on"
        )
    train = _loader(
        config,
        recipe,
        ranks,
        config.train,
        training=True,
        sampling=recipe.sampling,
        dtype=precision.delivered(ranks.device),
    )
    val = _loader(config, recipe, ranks, config.val, training=False)
    statistics = None
    if recipe.ema:
        first = np.random.default_rng(config.seed).permutation(card.samples)[: STATISTICS_BATCHES * recipe.batch_size]
        statistics = _loader(config, recipe, ranks, config.train, training=True, indices=first)
    settings = settings_of(recipe, config.seed, precision.name, card.sha256(), val_card.sha256())
    folder, normalisation = RunFolder(config.out), Normalisation.gray(card.mean, card.std)
    return Run(config, recipe, settings, folder, ranks, precision, normalisation, train, val, statistics, signals)


def _loader(
    config: PretrainConfig,
    recipe: Recipe,
    ranks: Ranks,
    path: Path,
    *,
    training: bool,
    sampling: str = "natural",
    dtype: torch.dtype = torch.uint8,
    indices: np.ndarray | None = None,
) -> Loader:
    return Loader(
        path,
        recipe.batch_size // ranks.world_size,
        engine=config.engine,
        size=recipe.size,
        train=training,
        device=ranks.device,
        seed=config.seed,
        indices=indices,
        workers=config.workers,
        rank=ranks.rank,
        world_size=ranks.world_size,
        dtype=dtype,
        augment=recipe.augment,
        sampler="balanced" if sampling == "balanced" else None,
    )


def _matching_cards(train: Path, val: Path) -> tuple[Card, Card]:
    ours, theirs = Card.read(train), Card.read(val)
    for path, card in ((train, ours), (val, theirs)):
        if not card.samples:
            raise InputError(f"{path}: holds no samples; nothing can be trained or validated on it")
        present = [name for name, count in card.class_counts.items() if count]
        if len(present) < 2:
            raise InputError(f"{path}: holds samples of one class ({present[0]}); pretraining needs at least two")
    if ours.sha256() == theirs.sha256():
        raise InputError(f"{val}: is the training file itself; give a file of other images for --val")
    if ours.classes != theirs.classes:
        odd = sorted(set(theirs.classes) ^ set(ours.classes))
        found = f"{odd[0]!r} is in one of them only" if odd else "they come in another order"
        raise InputError(
            f"{val}: its {len(theirs.classes)} classes are not the {len(ours.classes)} of {train} ({found}); "
            "convert both splits from one archive in one go"
        )
    return ours, theirs


def stopped(run: Run, epoch: int, step: int) -> Stopped:
    """The end that a signal asked for, after a checkpoint."""
    return Stopped(
        run.signals.received or signal.SIGTERM,
        f"stopped by a signal in epoch {epoch + 1} after step {step} of {run.steps}; a checkpoint is in "
        f"{run.folder.checkpoints}: go on with --resume",
    )
