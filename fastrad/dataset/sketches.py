"""The fast part of fingerprints, compiled: a hash of every value, and what a coarse picture of the frame looks like.

In: a decoded frame. Out: integers, which are the same on every machine.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from fastrad.dataset.fingerprints import WAVES, WAVES_OF_AN_AXIS
from fastrad.system.compiled import compiled

WHOLE, TRIMMED = 0, 1
CELLS = 32  # a side of the coarse picture, in which a cell is 256 times the mean gray level
_REACH = 4  # a cell is compared with the mean of the 9 x 9 cells around it
_WINDOW = 2 * _REACH + 1
_CLEARLY = 0.25  # of the standard deviation of those differences
_BORDER = 0.004  # of the frame's range: the mean of a row or column that shows nothing
_WORTH_TRIMMING = 16  # a border of less than one part in so many is none
_FLAT = 0.02  # of the frame's range: cells that differ by less from the mean show nothing
_SHOWN = 64  # cells of 1,024 that must show something
_LEAST_DEVIATION = 1.0  # gray levels, of the cells: noise

_PRIME_1, _PRIME_2 = np.uint64(11400714785074694791), np.uint64(14029467366897019727)
_PRIME_3, _PRIME_4 = np.uint64(1609587929392839161), np.uint64(9650029242287828579)
_PRIME_5 = np.uint64(2870177450012600261)

_POINTS, _WAVES = 16, WAVES_OF_AN_AXIS  # of an axis: what the cosine transform sees, and what a hash takes
_COSINES = np.cos(np.pi * (2 * np.arange(_POINTS) + 1)[:, None] * np.arange(_WAVES) / (2 * _POINTS))
_COSINES = _COSINES.astype(np.float32)
_PAIRS = np.array(WAVES)


@njit
def _turned(value, bits):
    return (value << bits) | (value >> (np.uint64(64) - bits))


@njit
def _mixed(lane, word):
    return _turned(lane + word * _PRIME_2, np.uint64(31)) * _PRIME_1


@njit
def _xxh64(data, seed):
    count = len(data) // 8
    words, tail = data[: 8 * count].view(np.uint64), data[8 * count :]
    if count >= 4:
        first, second = seed + _PRIME_1 + _PRIME_2, seed + _PRIME_2
        third, fourth = seed, seed - _PRIME_1
        for at in range(0, count - 3, 4):
            first = _mixed(first, words[at])
            second = _mixed(second, words[at + 1])
            third = _mixed(third, words[at + 2])
            fourth = _mixed(fourth, words[at + 3])
        found = _turned(first, np.uint64(1)) + _turned(second, np.uint64(7))
        found += _turned(third, np.uint64(12)) + _turned(fourth, np.uint64(18))
        for lane in (first, second, third, fourth):
            found = (found ^ _mixed(np.uint64(0), lane)) * _PRIME_1 + _PRIME_4
    else:
        found = seed + _PRIME_5
    found += np.uint64(len(data))
    for at in range(count - count % 4, count):
        found = _turned(found ^ _mixed(np.uint64(0), words[at]), np.uint64(27)) * _PRIME_1 + _PRIME_4
    at = 0
    if len(tail) >= 4:
        word = np.uint64(tail[0]) | np.uint64(tail[1]) << np.uint64(8)
        word |= np.uint64(tail[2]) << np.uint64(16) | np.uint64(tail[3]) << np.uint64(24)
        found = _turned(found ^ word * _PRIME_1, np.uint64(23)) * _PRIME_2 + _PRIME_3
        at = 4
    for left in range(at, len(tail)):
        found = _turned(found ^ np.uint64(tail[left]) * _PRIME_5, np.uint64(11)) * _PRIME_1
    found = (found ^ found >> np.uint64(33)) * _PRIME_2
    found = (found ^ found >> np.uint64(29)) * _PRIME_3
    return found ^ found >> np.uint64(32)


def xxh64(data: np.ndarray, seed: int = 0) -> int:
    """XXH64 of the bytes of a C-contiguous array (Y. Collet, xxHash specification 0.1.1); not for secrets."""
    return int(_xxh64(data.reshape(-1).view(np.uint8), np.uint64(seed)))


@njit
def _range(image):
    low, high = image[0, 0], image[0, 0]
    for y in range(image.shape[0]):
        row = image[y]
        for x in range(len(row)):
            low, high = min(low, row[x]), max(high, row[x])
    return np.float64(low), np.float64(high)


@njit
def _shown_box(image, threshold):
    """(top, bottom, left, right) without the rows and columns at the edges whose mean is at most `threshold`."""
    height, width = image.shape
    top, bottom, left, right = 0, height, 0, width
    while top < bottom and image[top].sum() <= threshold * width:
        top += 1
    while bottom > top and image[bottom - 1].sum() <= threshold * width:
        bottom -= 1
    for from_left in (True, False):
        while left < right:
            total = np.int64(0)
            x = left if from_left else right - 1
            for y in range(top, bottom):
                total += np.int64(image[y, x])
            if total > threshold * (bottom - top):
                break
            left += from_left
            right -= not from_left
    return top, bottom, left, right


@njit
def _average(image, top, bottom, left, right, held, cells):
    """256 times the mean of each of 32 x 32 cells of a box, a pixel's part counted in 1/32 of its side."""
    height, width = bottom - top, right - left
    scale = 256.0 / (height * width)
    for i in range(CELLS):
        first, last = i * height, (i + 1) * height  # in 1/32 pixel
        for x in range(width):
            held[x] = 0
        for y in range(first // CELLS, (last + CELLS - 1) // CELLS):
            part = np.int32(min(last, (y + 1) * CELLS) - max(first, y * CELLS))
            row = image[top + y, left:right]
            for x in range(width):
                held[x] += part * np.int32(row[x])
        before = np.int64(0)
        sum_to = np.int64(0)
        at = 0
        for j in range(CELLS):
            end = (j + 1) * width
            while at < end // CELLS:
                sum_to += held[at]
                at += 1
            total = CELLS * sum_to
            if at < width:
                total += np.int64(held[at]) * (end - at * CELLS)
            cells[i, j] = np.int32((total - before) * scale)
            before = total


@njit
def _shows_something(cells, spread):
    """Whether enough cells differ from the mean, and by more than noise."""
    total = np.int64(0)
    for y in range(CELLS):
        for x in range(CELLS):
            total += cells[y, x]
    mean, least = np.int32(total // (CELLS * CELLS)), np.int32(_FLAT * spread * 256)
    shown, squares = 0, np.int64(0)
    for y in range(CELLS):
        for x in range(CELLS):
            away = cells[y, x] - mean
            shown += abs(away) > least
            squares += np.int64(away) * away
    return shown >= _SHOWN and squares >= (_LEAST_DEVIATION * 256) ** 2 * CELLS * CELLS


@njit
def _hash(cells):
    """The signs of the 64 lowest waves of a cosine transform (DCT-II) of 16 x 16 means, without the mean of all."""
    down = np.zeros((_WAVES, _POINTS), np.float32)
    both = np.zeros((_WAVES, _WAVES), np.float32)
    row = np.empty(_POINTS, np.float32)
    for y in range(_POINTS):
        for x in range(_POINTS):
            row[x] = (
                cells[2 * y, 2 * x] + cells[2 * y, 2 * x + 1] + cells[2 * y + 1, 2 * x] + cells[2 * y + 1, 2 * x + 1]
            )
        for u in range(_WAVES):
            wave = _COSINES[y, u]
            for x in range(_POINTS):
                down[u, x] += wave * row[x]
    for u in range(_WAVES):
        for x in range(_POINTS):
            for v in range(_WAVES):
                both[u, v] += down[u, x] * _COSINES[x, v]
    found = np.uint64(0)
    for bit in range(64):
        found |= np.uint64(both[_PAIRS[bit, 0], _PAIRS[bit, 1]] > 0) << np.uint64(bit)
    return found


@njit
def _code(cells, code):
    """Which cells are clearly brighter than those around them: a bit each, row by row, the lowest bit first."""
    down = np.zeros(CELLS + 2 * _REACH, np.int32)  # sums over nine rows, mirrored beyond the edges
    upto = np.zeros(CELLS + 2 * _REACH + 1, np.int32)
    above = np.empty((CELLS, CELLS), np.int32)
    squares = np.zeros(CELLS, np.float32)
    for y in range(-_REACH, _REACH + 1):
        for x in range(CELLS):
            down[_REACH + x] += cells[y if y >= 0 else -1 - y, x]
    for y in range(CELLS):
        for x in range(_REACH):
            down[_REACH - 1 - x] = down[_REACH + x]
            down[CELLS + _REACH + x] = down[CELLS + _REACH - 1 - x]
        for x in range(CELLS + 2 * _REACH):
            upto[x + 1] = upto[x] + down[x]
        for x in range(CELLS):
            away = _WINDOW * _WINDOW * cells[y, x] - (upto[x + _WINDOW] - upto[x])
            above[y, x] = away
            squares[x] += np.float32(away) * np.float32(away)
        goes, comes = y - _REACH, y + _REACH + 1
        goes = -1 - goes if goes < 0 else goes
        comes = 2 * CELLS - 1 - comes if comes >= CELLS else comes
        for x in range(CELLS):
            down[_REACH + x] += cells[comes, x] - cells[goes, x]
    least = np.int32(_CLEARLY * np.sqrt(squares.sum() / (CELLS * CELLS)))
    for word in range(len(code)):
        bits = np.uint64(0)
        for half in range(2):
            for x in range(CELLS):
                bits |= np.uint64(above[2 * word + half, x] > least) << np.uint64(CELLS * half + x)
        code[word] = bits


@compiled(
    "UniTuple(uint64, 2)(Array(uint8, 1, 'C', readonly=True), Array(uint8, 2, 'C', readonly=True), int32[::1], "
    "uint64[::1], uint64[:, ::1])"
)
def sketch(data, image, held, hashes, codes):
    """Digest, and hash and code of a frame and of what is left of it without its dark border.

    Parameters
    ----------
    data : (n,) uint8
        The bytes of the decoded frame.
    image : (H, W) uint8
        The frame in 8 bits.
    held : int32, at least as long as a row
        Room.
    hashes : (2,) uint64
    codes : (2, 16) uint64
        Filled as far as the number says.

    Returns
    -------
    digest, number : uint64
        XXH64 of the data, seeded by height and width. The number is 0 for a frame that shows next to nothing, 1 for one
        without a dark border, else 2.
    """
    height, width = image.shape
    digest = _xxh64(data, np.uint64(height) << np.uint64(32) | np.uint64(width))
    low, high = _range(image)
    if low == high:
        return digest, np.uint64(0)
    cells = np.empty((CELLS, CELLS), np.int32)
    top, bottom, left, right = 0, height, 0, width
    for number in range(2):
        _average(image, top, bottom, left, right, held, cells)
        if number == 0 and not _shows_something(cells, high - low):
            return digest, np.uint64(0)
        hashes[number] = _hash(cells)
        _code(cells, codes[number])
        if number == 0:
            top, bottom, left, right = _shown_box(image, low + _BORDER * (high - low))
            rows, columns = height - (bottom - top), width - (right - left)
            if rows * _WORTH_TRIMMING < height and columns * _WORTH_TRIMMING < width:
                return digest, np.uint64(1)
    return digest, np.uint64(2)
