"""Which sample comes when: a permutation that depends on (seed, epoch) alone, cut into steps and ranks.

In: how many samples, seed, epoch, batch size, ranks. Out: positions, as int64 arrays. Step s covers
`order[s * B * W : (s + 1) * B * W]` for a rank's batch size B and W ranks; a rank takes its contiguous share of that
chunk. So with the global batch B * W kept, another number of ranks sees the same samples at each step.
"""

from __future__ import annotations

import numpy as np

_SHUFFLE, _SAMPLE = 0, 1  # which stream of (seed, epoch) a use draws from


def _generator(seed: int, epoch: int, stream: int) -> np.random.Generator:
    """A generator whose 128-bit key holds seed, epoch and stream side by side: no two of them share a key."""
    key = np.array([seed, epoch << 8 | stream], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))


def permutation(samples: int | np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Return the epoch's order of the samples, int64 of shape (count,).

    Parameters
    ----------
    samples : int or np.ndarray
        Number of samples, or their positions, int64 of shape (count,).
    seed, epoch : int
        Both at least 0, seed below 2**64, epoch below 2**56. Neighbouring seeds and epochs are independent.
    """
    return _generator(seed, epoch, _SHUFFLE).permutation(samples)


def weighted_order(weights: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Draw `len(weights)` positions with replacement, each in proportion to its weight, int64.

    Parameters
    ----------
    weights : np.ndarray
        Shape (count,), not negative, not all zero.
    """
    count = len(weights)
    cumulative = np.cumsum(weights, dtype=np.float64)
    points = _generator(seed, epoch, _SAMPLE).random(count) * cumulative[-1]
    # rounding may put a point on the total itself: the last sample with a weight takes it
    last = int(np.flatnonzero(weights)[-1])
    return np.minimum(np.searchsorted(cumulative, points, side="right"), last).astype(np.int64)


def balancing_weights(labels: np.ndarray) -> np.ndarray:
    """Weights under which every class that occurs is drawn equally often, float64 of shape (count,)."""
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (1.0 / (counts * len(classes)))[inverse]


def occurrences(order: np.ndarray) -> np.ndarray:
    """How many times each entry's value stood earlier in `order`, int64 of shape (len(order),)."""
    by_value = np.argsort(order, kind="stable")
    ordered = order[by_value]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(order) else np.zeros(0, np.int64)
    lengths = np.diff(np.r_[starts, len(order)])
    result = np.empty(len(order), dtype=np.int64)
    result[by_value] = np.arange(len(order)) - np.repeat(starts, lengths)
    return result


def number_of_steps(count: int, batch_size: int, world_size: int) -> int:
    """Steps of an epoch, the same for every rank; the last may be ragged, or empty for some ranks."""
    return -(-count // (batch_size * world_size))


def rank_share(step: int, count: int, batch_size: int, rank: int, world_size: int) -> slice:
    """The part of the epoch's order that one rank takes at one step.

    A chunk of m samples is cut into `world_size` contiguous parts whose sizes differ by at most one.
    """
    start = step * batch_size * world_size
    chunk = max(0, min(batch_size * world_size, count - start))
    return slice(start + rank * chunk // world_size, start + (rank + 1) * chunk // world_size)
