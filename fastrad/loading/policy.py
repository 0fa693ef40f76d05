"""What may happen to an image (`Augmentation`), and what does happen to each sample (`Parameters`).

Crop, flip and intensity are a pure function of (seed, epoch, row, occurrence).
Numbers come from the counter-based generator Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011): key (seed, epoch), counter (row, occurrence, draw), so that no state, thread, rank or engine can
change them. The crop is torchvision's `RandomResizedCrop.get_params`, for a whole batch at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from fastrad.errors import InputError

_CROP_TRIES = 10  # as torchvision; try k uses draw k
_GEOMETRY, _INTENSITY, _NOISE, _ERASE = 16, 17, 18, 19  # further draws
_ERASE_AREA, _ERASE_RATIO = (0.02, 0.2), (0.3, 3.3)

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)
_LOW, _BITS = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox4x32(counter: tuple[np.ndarray, ...], key: tuple[int, int], rounds: int = 10) -> tuple[np.ndarray, ...]:
    """Philox4x32 of counters, a vectorised block cipher.

    Parameters
    ----------
    counter : tuple of four np.ndarray
        The counter's 32-bit words as uint64 arrays of one shape (or shapes that broadcast).
    key : tuple of two int
        The key's 32-bit words.

    Returns
    -------
    tuple of four np.ndarray
        Random 32-bit words as uint64 arrays.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        product0, product1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product1 >> _BITS) ^ c1 ^ np.uint64(k0),
            product1 & _LOW,
            (product0 >> _BITS) ^ c3 ^ np.uint64(k1),
            product0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


@dataclass(frozen=True)
class Augmentation:
    """What may happen to a training image; the default is the usual random resized crop with a horizontal flip.

    Attributes
    ----------
    scale : tuple of two floats, or None
        Bounds of the crop's share of the frame's area, 0 < low <= high <= 1; None keeps the whole frame.
    ratio : tuple of two floats
        Bounds of the crop's width over height. (1, 1) keeps the shapes on a square frame.
    flip_horizontal, flip_vertical : bool
        Mirror left and right, or top and bottom, for half of the images. Laterality matters in radiology: leave
        off what would make an anatomy that does not exist.
    max_rotation : float
        Largest rotation either way, degrees.
    brightness, contrast : float
        Largest relative change: 0.2 draws a factor from [0.8, 1.2]. Contrast turns about the image's own mean.
    gamma : float
        Largest change of the exponent: 0.2 draws it log-uniformly from [1 / 1.2, 1.2].
    speckle : float
        Largest standard deviation of the multiplicative noise (each image draws its own from [0, speckle]).
    noise : float
        Largest standard deviation of the additive noise, in units of the full scale (255 gray levels).
    erase : float
        Probability that a rectangle of 2 to 20 % of the area is set to black.
    """

    scale: tuple[float, float] | None = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_horizontal: bool = True
    flip_vertical: bool = False
    max_rotation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    speckle: float = 0.0
    noise: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        if self.scale is not None and not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise InputError(f"augmentation: scale {self.scale} is not 0 < low <= high <= 1")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise InputError(f"augmentation: ratio {self.ratio} is not 0 < low <= high")
        for name, limit in (
            ("max_rotation", 180.0),
            ("brightness", 1.0),
            ("contrast", 1.0),
            ("gamma", math.inf),
            ("speckle", math.inf),
            ("noise", math.inf),
            ("erase", 1.0),
        ):
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise InputError(f"augmentation: {name} is {value}, it must lie in [0, {limit:g}]")

    @classmethod
    def nodule(cls) -> Augmentation:
        """Isotropic crops that keep at least 70 % of the area, and horizontal flips: a nodule's shape is diagnostic.

        The lower bound lies above 0.7 by what rounding to whole pixels can take away at 64 pixels.
        """
        return cls(scale=(0.72, 1.0), ratio=(1.0, 1.0))

    @classmethod
    def none(cls) -> Augmentation:
        """The whole frame as it is."""
        return cls(scale=None, flip_horizontal=False)

    @property
    def has_geometry(self) -> bool:
        """True where pixels change their places."""
        return any((self.scale is not None, self.flip_horizontal, self.flip_vertical, self.has_rotation))

    @property
    def has_rotation(self) -> bool:
        """True where a crop box and flips can't say the geometry."""
        return self.max_rotation > 0

    @property
    def has_intensity(self) -> bool:
        """True where grey values change."""
        return any((self.brightness, self.contrast, self.gamma, self.speckle, self.noise, self.erase))


@dataclass(frozen=True)
class Parameters:
    """What happens to each of N samples, every field of shape (N,) unless said otherwise.

    Attributes
    ----------
    top, left, height, width : np.ndarray
        int64, the crop box in pixels of the stored frame.
    flip_horizontal, flip_vertical : np.ndarray
        bool, after the crop.
    angle : np.ndarray
        float64, rotation about the crop's centre, radians, counter-clockwise as the viewer sees it.
    brightness, contrast, gamma : np.ndarray
        float64 factors and exponent, 1 where nothing changes.
    speckle, noise : np.ndarray
        float64, standard deviations of the multiplicative noise and of the additive noise (full scale 1).
    noise_seed : np.ndarray
        int64 below 2**32, from which the noise of a sample's pixels is computed.
    erase : np.ndarray
        float64 of shape (N, 4): top, left, bottom, right of the erased rectangle as shares of the output; all 0
        where nothing is erased.
    """

    top: np.ndarray
    left: np.ndarray
    height: np.ndarray
    width: np.ndarray
    flip_horizontal: np.ndarray
    flip_vertical: np.ndarray
    angle: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    gamma: np.ndarray
    speckle: np.ndarray
    noise: np.ndarray
    noise_seed: np.ndarray
    erase: np.ndarray

    def __len__(self) -> int:
        return len(self.top)

    def __getitem__(self, chosen: slice | np.ndarray) -> Parameters:
        """The parameters of some of the samples."""
        return Parameters(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def whole_frame(count: int, height: int, width: int) -> Parameters:
    """Parameters that leave `count` frames of `height` x `width` pixels as they are."""
    zeros, ones, no = np.zeros(count), np.ones(count), np.zeros(count, dtype=bool)
    origin = np.zeros(count, dtype=np.int64)
    size = np.full(count, height, dtype=np.int64), np.full(count, width, dtype=np.int64)
    return Parameters(
        origin, origin, *size, no, no, zeros, ones, ones, ones, zeros, zeros, origin, np.zeros((count, 4))
    )


def draw(
    policy: Augmentation, seed: int, epoch: int, rows: np.ndarray, occurrence: np.ndarray, height: int, width: int
) -> Parameters:
    """Draw every sample's parameters.

    Parameters
    ----------
    policy : Augmentation
        The bounds.
    seed : int
        In [0, 2**64).
    epoch : int
        In [0, 2**32).
    rows, occurrence : np.ndarray
        int64 of shape (N,), each in [0, 2**32): the manifest row, and how often it came earlier in this epoch.
    height, width : int
        The stored frame, pixels.
    """
    rows, occurrence = np.asarray(rows).astype(np.uint64), np.asarray(occurrence).astype(np.uint64)

    def words(number: int, chosen: slice | np.ndarray = slice(None)) -> tuple[np.ndarray, ...]:
        tail = np.array(number, dtype=np.uint64), np.array(seed >> 32, dtype=np.uint64)
        return philox4x32((rows[chosen], occurrence[chosen], *tail), (seed & 0xFFFFFFFF, epoch))

    result = whole_frame(len(rows), height, width)
    changed: dict[str, np.ndarray] = {}
    if policy.scale is not None:
        changed.update(
            zip(("top", "left", "height", "width"), _crops(policy, words, len(rows), height, width), strict=True)
        )
    if policy.flip_horizontal or policy.flip_vertical or policy.has_rotation:
        first, second, third, _ = words(_GEOMETRY)
        if policy.flip_horizontal:
            changed["flip_horizontal"] = first < np.uint64(1 << 31)
        if policy.flip_vertical:
            changed["flip_vertical"] = second < np.uint64(1 << 31)
        if policy.has_rotation:
            changed["angle"] = _uniform(third, -1, 1) * math.radians(policy.max_rotation)
    if policy.has_intensity:
        changed.update(_intensities(policy, words))
    return Parameters(**{field.name: changed.get(field.name, getattr(result, field.name)) for field in fields(result)})


def _uniform(word: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map 32-bit words into the open interval (low, high)."""
    return low + (word.astype(np.float64) + 0.5) * ((high - low) * 2.0**-32)


def _integer(word: np.ndarray, bound: np.ndarray) -> np.ndarray:
    """Map 32-bit words onto 0 .. bound - 1."""
    return (word * bound.astype(np.uint64) >> _BITS).astype(np.int64)


def _crops(policy: Augmentation, words, count: int, height: int, width: int) -> tuple[np.ndarray, ...]:
    assert policy.scale is not None
    low, high = policy.ratio
    top, left = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    crop_height, crop_width = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    open_rows = np.arange(count)
    for attempt in range(_CROP_TRIES):
        if not len(open_rows):
            break
        first, second, third, fourth = words(attempt, open_rows)
        area = height * width * _uniform(first, *policy.scale)
        ratio = np.exp(_uniform(second, math.log(low), math.log(high)))
        w, h = np.rint(np.sqrt(area * ratio)).astype(np.int64), np.rint(np.sqrt(area / ratio)).astype(np.int64)
        fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
        done, w, h = open_rows[fits], w[fits], h[fits]
        crop_height[done], crop_width[done] = h, w
        top[done], left[done] = _integer(third[fits], height - h + 1), _integer(fourth[fits], width - w + 1)
        open_rows = open_rows[~fits]
    if len(open_rows):  # torchvision's fallback: the largest central crop whose ratio lies within the bounds
        h, w = height, width
        if width / height < low:
            h = round(width / low)
        elif width / height > high:
            w = round(height * high)
        crop_height[open_rows], crop_width[open_rows] = h, w
        top[open_rows], left[open_rows] = (height - h) // 2, (width - w) // 2
    return top, left, crop_height, crop_width


def _intensities(policy: Augmentation, words) -> dict[str, np.ndarray]:
    brightness, contrast, gamma, speckle = words(_INTENSITY)
    noise, noise_seed, chance, area = words(_NOISE)
    ratio, top, left, _ = words(_ERASE)
    bound = math.log1p(policy.gamma)
    log_ratio = _uniform(ratio, math.log(_ERASE_RATIO[0]), math.log(_ERASE_RATIO[1]))
    share = _uniform(area, *_ERASE_AREA)
    h, w = np.minimum(np.sqrt(share * np.exp(-log_ratio)), 1), np.minimum(np.sqrt(share * np.exp(log_ratio)), 1)
    y, x = _uniform(top, 0, 1) * (1 - h), _uniform(left, 0, 1) * (1 - w)
    erased = _uniform(chance, 0, 1) < policy.erase
    return {
        "brightness": _uniform(brightness, 1 - policy.brightness, 1 + policy.brightness),
        "contrast": _uniform(contrast, 1 - policy.contrast, 1 + policy.contrast),
        "gamma": np.exp(_uniform(gamma, -bound, bound)),
        "speckle": _uniform(speckle, 0, policy.speckle),
        "noise": _uniform(noise, 0, policy.noise),
        "noise_seed": noise_seed.astype(np.int64),
        "erase": np.stack([y, x, y + h, x + w], axis=1) * erased[:, None],
    }
