"""Which images are among those that somebody has seen, by fingerprints alone.

Two images are the same where their digests agree. A pair whose hashes differ by at most 7 of 64 bits is looked at by
its codes: where these agree too it is confirmed, where they contradict each other the hashes were alike by chance, and
between the two it is possible. `benchmarks/fingerprints.py` chose the limits, and measures what they take for one.

Networks see images mirrored left to right as well, so that each image asked about is looked up both ways, which
needs no pixels: waves with an odd number of half turns across the image change their sign, and a code's rows turn. A
mirrored pair is confirmed by the same limit, or counts for nothing: nearly alike are some that share no image.

The images asked about, thousands, are held; the others, millions, are read in stretches: seconds, and little memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastrad.dataset.fingerprints import WAVES, Fingerprints, Sketches

UNSEEN, POSSIBLE, CONFIRMED, SAME = range(4)
HASH_BITS = 7
CONFIRMED_DISTANCE, POSSIBLE_DISTANCE = 0.15, 0.30

_PIECES, _PIECE_BITS = 4, 16  # of a hash: 7 differing bits leave a piece with at most one
_NEIGHBOURS = np.array([0, *(1 << bit for bit in range(_PIECE_BITS))], dtype=np.uint64)
_PAIRS_AT_ONCE = 1 << 18
_SWAPS = [(np.uint64(bits), np.uint64(((1 << 64) - 1) // ((1 << bits) + 1))) for bits in (1, 2, 4, 8, 16)]
_ODD = np.uint64(sum((v & 1) << bit for bit, (_, v) in enumerate(WAVES)))


def code_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """1 - Dice's coefficient of two codes' bits: 0 for the same, 1 where no bit is shared.

    L. R. Dice, Ecology 26 (1945) 297: twice what both have, over what each has.

    Parameters
    ----------
    first, second : (n, 16) uint64

    Returns
    -------
    (n,) float64
    """
    shared = np.bitwise_count(first & second).sum(axis=-1, dtype=np.int64)
    each = np.bitwise_count(first).sum(axis=-1, dtype=np.int64) + np.bitwise_count(second).sum(axis=-1, dtype=np.int64)
    return 1 - 2 * shared / np.maximum(each, 1)


def mirrored(sketches: Sketches) -> Sketches:
    """The sketches of the images mirrored left to right."""
    codes = sketches.codes
    for bits, low in _SWAPS:  # neighbours, pairs, ...: at last the 32 bits of each row are in the opposite order
        codes = codes >> bits & low | (codes & low) << bits
    return Sketches(sketches.images, sketches.hashes ^ _ODD, codes)


class Lookup:
    """Looks images, and their mirror images, up among others.

    Parameters
    ----------
    asked : Fingerprints
        Of the images asked about.
    """

    def __init__(self, asked: Fingerprints) -> None:
        self._count = len(asked)
        self._digest_order = np.argsort(asked.digests, kind="stable")
        self._digests = asked.digests[self._digest_order]
        parts = list(asked.sketches())
        self._upright = sum(len(part.images) for part in parts)  # behind these lie as many of mirror images
        if parts:
            both = [*parts, *map(mirrored, parts)]
            self._sketches = Sketches(*(np.concatenate(column) for column in zip(*both, strict=True)))
        else:
            self._sketches = Sketches(np.empty(0, "<u4"), np.empty(0, "<u8"), np.empty((0, 16), "<u8"))
        self._tables = [_near_keys(_piece(self._sketches.hashes, number)) for number in range(_PIECES)]

    def among(self, known: Fingerprints) -> np.ndarray:
        """Of each image asked about `UNSEEN`, `POSSIBLE`, `CONFIRMED` or `SAME`, whichever is most; (n,) uint8."""
        levels = np.zeros(self._count, np.uint8)
        for stretch in known.sketches():
            for theirs, ours in self._near(stretch.hashes):
                distances = code_distances(stretch.codes[theirs], self._sketches.codes[ours])
                found = np.where(distances <= CONFIRMED_DISTANCE, CONFIRMED, POSSIBLE).astype(np.uint8)
                limits = np.where(ours < self._upright, POSSIBLE_DISTANCE, CONFIRMED_DISTANCE)
                close = distances <= limits
                np.maximum.at(levels, self._sketches.images[ours[close]], found[close])
        levels[self._digest_order[self._agreeing(known.digests)]] = SAME
        return levels

    def pairs(self, known: Fingerprints) -> Iterator[np.ndarray]:
        """Pairs (image of `known`, image asked about, whether mirrored) whose codes do not contradict each other.

        Yields
        ------
        (m, 3) int64
        """
        for stretch in known.sketches():
            for theirs, ours in self._near(stretch.hashes):
                close = code_distances(stretch.codes[theirs], self._sketches.codes[ours]) <= POSSIBLE_DISTANCE
                ours = ours[close]
                found = stretch.images[theirs[close]], self._sketches.images[ours], ours >= self._upright
                yield np.stack(found, axis=1).astype(np.int64)

    def _agreeing(self, digests: np.ndarray) -> np.ndarray:
        """Positions in the sorted digests that occur in `digests`; 0 is none."""
        digests = digests[digests != 0]
        first = np.searchsorted(self._digests, digests, "left")
        last = np.searchsorted(self._digests, digests, "right")
        ends = np.bincount(first[first < last], minlength=self._count + 1) > 0
        stops = np.bincount(last[first < last], minlength=self._count + 1) > 0
        depth = np.cumsum(ends.astype(np.int64) - stops)
        return np.flatnonzero(depth[: self._count] > 0)

    def _near(self, hashes: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs (position in `hashes`, in the sketches asked about) at most `HASH_BITS` apart, each once."""
        for number, (starts, near) in enumerate(self._tables):
            keys = _piece(hashes, number)
            counts = starts[keys + 1] - starts[keys]
            ends = np.cumsum(counts)
            begin = 0
            while begin < len(keys):
                before = int(ends[begin - 1]) if begin else 0
                stop = max(int(np.searchsorted(ends, before + _PAIRS_AT_ONCE, "right")), begin + 1)
                some = counts[begin:stop]
                theirs = np.repeat(np.arange(begin, stop), some)
                within = np.arange(len(theirs)) - np.repeat(ends[begin:stop] - some - before, some)
                ours = near[starts[keys[theirs]] + within]
                apart = hashes[theirs] ^ self._sketches.hashes[ours]
                keep = np.bitwise_count(apart) <= HASH_BITS
                for earlier in range(number):  # found by that piece already
                    keep &= np.bitwise_count(_piece(apart, earlier)) > 1
                begin = stop
                if keep.any():
                    yield theirs[keep], ours[keep]


def _piece(hashes: np.ndarray, number: int) -> np.ndarray:
    return (hashes >> np.uint64(_PIECE_BITS * number) & np.uint64((1 << _PIECE_BITS) - 1)).astype(np.int64)


def _near_keys(pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each value of a piece, which of `pieces` differ from it by a bit at most: starts, and positions behind."""
    keys = (pieces[:, None] ^ _NEIGHBOURS.astype(np.int64)).reshape(-1)
    order = np.argsort(keys, kind="stable")
    starts = np.zeros((1 << _PIECE_BITS) + 1, np.int64)
    starts[1:] = np.cumsum(np.bincount(keys, minlength=1 << _PIECE_BITS))
    return starts, (order // len(_NEIGHBOURS)).astype(np.int64)
