"""Near copies of an image: pairs whose perceptual hashes are alike, which the pixels then confirm.

In: hashes, or a dataset with the fingerprints of its stored images. Out: pairs, and groups of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from fastrad.dataset.base import Dataset
from fastrad.dataset.fingerprints import Fingerprints
from fastrad.dataset.lookup import Lookup

NEAR_CORRELATION = 0.98


def near_copies(dataset: Dataset, fingerprints: Fingerprints) -> list[tuple[int, int, float]]:
    """Pairs of stored images that are near copies: hash and code alike, and pixels that correlate.

    One of a pair may be the other's mirror image, left to right: networks train with these. Frames that show next
    to nothing are nobody's copies, and identical ones are left to their digests.

    Parameters
    ----------
    dataset : Dataset
    fingerprints : Fingerprints
        Of its stored images.

    Returns
    -------
    list of (i, j, correlation)
        i < j, sorted.

    Raises
    ------
    DamagedSampleError
        If an image cannot be decoded.
    """
    pairs = [pair for part in Lookup(fingerprints).pairs(fingerprints) for pair in part.tolist()]
    digests = fingerprints.digests
    different = sorted({(i, j, turned) for i, j, turned in pairs if i < j and digests[i] != digests[j]})
    suspects = np.array(different, dtype=np.int64).reshape(-1, 3)
    found: dict[tuple[int, int], float] = {}
    for turned, other in ((0, dataset.decode), (1, lambda index: dataset.decode(index)[:, ::-1])):
        some = suspects[suspects[:, 2] == turned, :2]
        for i, j, correlation in confirm_pairs(some, dataset.decode, NEAR_CORRELATION, other):
            found[i, j] = max(correlation, found.get((i, j), correlation))
    return [(i, j, correlation) for (i, j), correlation in sorted(found.items())]


def near_pairs(hashes: np.ndarray, distance: int) -> np.ndarray:
    """All pairs of 64-bit hashes at most `distance` bits apart.

    By the pigeonhole principle two such hashes agree in at least one of `distance + 1` pieces of their bits, so only
    hashes that share a piece are compared.

    Parameters
    ----------
    hashes : (n,) uint64
    distance : int
        At least 0 and below 64.

    Returns
    -------
    (m, 2) int64
        Positions i < j, each pair once, sorted.
    """
    pieces = distance + 1
    bounds = np.linspace(0, 64, pieces + 1).astype(int)
    found: list[np.ndarray] = []
    for low, high in pairwise(bounds.tolist()):
        piece = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(piece, kind="stable")
        sorted_piece, sorted_hash = piece[order], hashes[order]
        left = np.arange(len(hashes) - 1)
        step = 1
        while len(left := left[left + step < len(hashes)]):
            left = left[sorted_piece[left] == sorted_piece[left + step]]
            apart = np.bitwise_count(sorted_hash[left] ^ sorted_hash[left + step])
            close = left[apart <= distance]
            found.append(np.stack([order[close], order[close + step]], axis=1))
            step += 1
    if not found:
        return np.empty((0, 2), dtype=np.int64)
    pairs = np.sort(np.concatenate(found), axis=1)
    return np.unique(pairs, axis=0)


def confirm_pairs(
    pairs: np.ndarray,
    read: Callable[[int], np.ndarray],
    least_correlation: float,
    read_other: Callable[[int], np.ndarray] | None = None,
) -> list[tuple[int, int, float]]:
    """Keep the pairs whose pixels correlate: a 64-bit hash alone takes two normal heads for one.

    Parameters
    ----------
    pairs : (m, 2) int64
    read : callable
        Position to (H, W) uint8 image.
    least_correlation : float
        Pearson correlation of the pixels from which a pair counts as a copy.
    read_other : callable, optional
        As `read`, for the second of each pair.

    Returns
    -------
    list of (i, j, correlation)
    """
    read_other = read_other or read
    confirmed = []
    cached: tuple[int, np.ndarray | None] = (-1, None)
    for i, j in pairs.tolist():
        if cached[0] != i:
            cached = (i, _standardised(read(i)))
        first, second = cached[1], _standardised(read_other(j))
        if first is None or second is None or first.shape != second.shape:
            continue
        correlation = float(first @ second)
        if correlation >= least_correlation:
            confirmed.append((i, j, correlation))
    return confirmed


def _standardised(image: np.ndarray) -> np.ndarray | None:
    values = image.astype(np.float32).ravel()
    values -= values.mean()
    norm = float(np.linalg.norm(values))
    return values / norm if norm > 0 else None


def groups_of_pairs(pairs: Sequence[Sequence[float]], count: int) -> list[np.ndarray]:
    """Connected groups of positions below `count`, in order of first occurrence; a pair begins with its positions."""
    if not pairs:
        return []
    i, j = np.array([pair[0] for pair in pairs]), np.array([pair[1] for pair in pairs])
    graph = coo_matrix((np.ones(len(i), dtype=np.int8), (i, j)), shape=(count, count))
    _, component = connected_components(graph, directed=False)
    members = np.unique(np.concatenate([i, j]))
    groups = pd.Series(members).groupby(component[members], sort=False)
    return [group.to_numpy() for _, group in groups]
