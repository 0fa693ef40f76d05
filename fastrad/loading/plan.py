"""An epoch's plan: which samples come at which step on one rank, and what happens to them.

In: the selection, its weights, the policy, seed and ranks. Out: one `Step` after another. `order` and `randomness` draw
the numbers; nothing here touches a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastrad.errors import InputError
from fastrad.loading import order
from fastrad.loading.engines.base import Step
from fastrad.loading.policy import Augmentation, draw, whole_frame

# parameters are drawn for so many samples at once: numpy takes 0.35 ms for 256, 0.5 ms for 1024, 0.9 ms for 4096, and
# meanwhile the batches wait for it
_DRAWN_AT_ONCE = 1024


@dataclass(frozen=True)
class EpochPlan:
    """What fixes the steps of every epoch.

    Attributes
    ----------
    rows : np.ndarray
        Manifest row of every position of the file, int64.
    frame : tuple of two int
        Height and width of the stored frames.
    selection : np.ndarray
        int64 file positions.
    weights : np.ndarray or None
        One for each entry of `selection`: samples are drawn in proportion to them, with replacement.
    train : bool
        Shuffle and augment, where False keeps the selection's order and the whole frame.
    policy : Augmentation
    seed : int
    batch_size : int
        Of one rank.
    rank, world_size : int
    drop_last : bool
        Leave out a last step of fewer samples.
    """

    rows: np.ndarray
    frame: tuple[int, int]
    selection: np.ndarray
    weights: np.ndarray | None
    train: bool
    policy: Augmentation
    seed: int
    batch_size: int
    rank: int
    world_size: int
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.drop_last and len(self.selection) and not self.number_of_steps:
            raise InputError(
                f"drop_last leaves nothing: {len(self.selection)} samples are fewer than the {self.batch_size} of each "
                f"of {self.world_size} ranks; lower batch_size"
            )

    @property
    def num_samples(self) -> int:
        """Samples of an epoch over all ranks."""
        every = self.batch_size * self.world_size
        return self.number_of_steps * every if self.drop_last else len(self.selection)

    @property
    def number_of_steps(self) -> int:
        """Steps of an epoch, the same for every rank."""
        if self.drop_last:
            return len(self.selection) // (self.batch_size * self.world_size)
        return order.number_of_steps(len(self.selection), self.batch_size, self.world_size)

    def positions(self, epoch: int) -> np.ndarray:
        """File positions of the whole epoch, over all ranks, int64."""
        if not self.train or not len(self.selection):
            return self.selection
        if self.weights is not None:
            return self.selection[order.weighted_order(self.weights, self.seed, epoch)]
        return order.permutation(self.selection, self.seed, epoch)

    def steps(self, epoch: int, first: int) -> Iterator[Step]:
        """This rank's steps from step `first` on; parameters are drawn for many samples at once."""
        positions = self.positions(epoch)
        occurrence = order.occurrences(positions) if self._repeats() else None
        start = first
        while start < self.number_of_steps:
            end = min(start + max(1, _DRAWN_AT_ONCE // self.batch_size), self.number_of_steps)
            shares = [
                order.rank_share(step, len(positions), self.batch_size, self.rank, self.world_size)
                for step in range(start, end)
            ]
            ours = np.concatenate([np.arange(share.start, share.stop) for share in shares])
            chosen = positions[ours]
            if self.train:
                repeats = np.zeros(len(ours), dtype=np.int64) if occurrence is None else occurrence[ours]
                drawn = draw(self.policy, self.seed, epoch, self.rows[chosen], repeats, *self.frame)
            else:
                drawn = whole_frame(len(ours), *self.frame)
            done = 0
            for share in shares:
                begin, done = done, done + share.stop - share.start
                yield Step(chosen[begin:done], drawn[begin:done])
            start = end

    def _repeats(self) -> bool:
        """Whether a sample may come more than once an epoch."""
        if self.weights is not None:
            return True
        if (self.selection[1:] > self.selection[:-1]).all():  # as it mostly is
            return False
        return bool((np.bincount(self.selection, minlength=1) > 1).any())


def select(indices: Any, count: int, path: Path) -> np.ndarray:
    """The positions that a caller chose of a file with `count` samples, int64; all of them for None.

    Raises
    ------
    InputError
        If they are not integers, or lie outside of the file.
    """
    if indices is None:
        return np.arange(count)
    chosen = np.asarray(indices)
    if chosen.size == 0:
        return np.zeros(0, dtype=np.int64)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise InputError("indices must be one row of integers")
    outside = chosen[(chosen < 0) | (chosen >= count)]
    if len(outside):
        raise InputError(f"indices: {outside[:1]} is not a position in {path} (0 to {count - 1})")
    return chosen.astype(np.int64)


def sampler_weights(sampler: Any, selection: np.ndarray, labels: Callable[[], np.ndarray]) -> np.ndarray:
    """One weight for each selected sample, float64.

    Parameters
    ----------
    sampler : str or array
        "balanced", or the weights themselves.
    selection : np.ndarray
        int64 file positions.
    labels : callable
        Gives the class index of each position of the file.

    Raises
    ------
    InputError
        If the weights can't be used.
    """
    if isinstance(sampler, str):
        if sampler != "balanced":
            raise InputError(f"sampler {sampler!r} is neither 'balanced' nor an array of weights")
        return order.balancing_weights(labels()[selection])
    weights = np.asarray(sampler, dtype=np.float64)
    if weights.shape != selection.shape:
        raise InputError(f"sampler: weights of shape {weights.shape} for {len(selection)} samples")
    sound = bool(np.isfinite(weights).all() and (weights >= 0).all() and (weights > 0).any())
    if weights.size and not sound:
        raise InputError("sampler: weights must be finite and not negative, and not all zero")
    return weights
