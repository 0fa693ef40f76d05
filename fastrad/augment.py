"""Augmentation: which policy, as a frozen configuration.

In: nothing. Out: `Augmentation`, from which the loader draws each sample's parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastrad.errors import InputError


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
    def pretraining(cls) -> Augmentation:
        """The usual policy for pretraining: random resized crop (8 to 100 % of the area) and horizontal flip."""
        return cls()

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
    def has_rotation(self) -> bool:
        """True where a crop box and flips can't say the geometry."""
        return self.max_rotation > 0

    @property
    def has_intensity(self) -> bool:
        """True where grey values change."""
        return any((self.brightness, self.contrast, self.gamma, self.speckle, self.noise, self.erase))
