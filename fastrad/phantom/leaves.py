"""Colour pictures of natural statistics: dead leaves, for pretraining outside radiology.

In: a class and a generator. Out: a uint8 RGB picture. Opaque leaves of power-law sizes fall on one another, which
gives the edges, occlusions and 1/f spectra of photographs (Lee, Mumford and Huang, Int J Comput Vis 41:35, 2001; as
a training set: Baradad et al., "Learning to see by looking at noise", NeurIPS 2021). A class is a shape and a texture,
which a random resized crop leaves as they are (it would not leave a law of sizes); colours, light and arrangement vary
within it. Leaves and textures are large enough to be told apart at 48 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fastrad.phantom.texture import smooth_noise

OVERSAMPLING = 2
SUBPIXELS = 16  # of cv2's drawing functions, shift=4
EXPONENT = 2.6  # sizes are drawn from size ** -EXPONENT: 3 is scale-invariant, smaller has more large leaves
PERIODS = (0.09, 0.15)  # of a texture's stripes, in parts of the picture's side


@dataclass(frozen=True)
class Species:
    """One class of leaves.

    Attributes
    ----------
    corners : int
        Vertices of a regular outline; 0 for an ellipse.
    slenderness : (float, float)
        Range of length over width.
    texture : str
        "plain", "veined", "grained", "mottled" or "checked".
    notch : float
        How far every second vertex is drawn in, 0 to 1: stars and lobed leaves.
    """

    corners: int
    slenderness: tuple[float, float]
    texture: str
    notch: float = 0.0


CLASSES: dict[str, Species] = {
    "pebbles": Species(0, (1.0, 1.4), "mottled"),
    "blades": Species(0, (5.0, 10.0), "veined"),
    "petals": Species(0, (1.7, 2.6), "veined"),
    "tiles": Species(4, (1.0, 1.3), "plain"),
    "planks": Species(4, (4.0, 8.0), "grained"),
    "shards": Species(3, (1.0, 2.2), "plain"),
    "cloth": Species(4, (1.0, 2.0), "checked"),
    "gravel": Species(6, (1.0, 1.5), "plain"),
    "stars": Species(10, (1.0, 1.3), "mottled", notch=0.5),
    "bark": Species(7, (2.0, 3.5), "grained", notch=0.15),
}


def leaves_picture(name: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """A picture of the class `name` of `CLASSES`, (size, size, 3) uint8 RGB."""
    species = CLASSES[name]
    length = size * OVERSAMPLING
    smallest, largest = 0.07 * length, 0.45 * length
    count = 180
    radius = _power_law(rng, count, smallest, largest, EXPONENT)
    owner = np.zeros((length, length), np.int32)
    centres = rng.uniform(-0.1, 1.1, (count, 2)) * length
    turns = rng.uniform(0, 2 * np.pi, count)
    slender = rng.uniform(*species.slenderness, count)
    order = np.argsort(-radius * rng.uniform(0.5, 1.5, count))  # mostly the large ones below, so that few are lost
    outlines = _outlines(species, centres[order], radius[order], slender[order], turns[order])
    for leaf, outline in enumerate(outlines, start=1):
        cv2.fillPoly(owner, [outline], leaf, cv2.LINE_8, 4)
    colours = _palette(rng, count + 1)
    angle = np.concatenate([[0.0], turns[order]]).astype(np.float32)[owner]
    shade = _texture(rng, species.texture, owner, angle)
    light = 1 + np.float32(0.12) * np.clip(smooth_noise(rng, owner.shape, (length / 2, length / 2)), -2, 2)
    picture = colours[owner] * (shade * light * _relief(owner))[..., None]
    picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(0.012)
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)


def _power_law(rng: np.random.Generator, count: int, smallest: float, largest: float, exponent: float) -> np.ndarray:
    """Sizes between two limits with density proportional to size ** -exponent, by the inverse of its distribution."""
    power = 1 - exponent
    return (smallest**power + rng.random(count) * (largest**power - smallest**power)) ** (1 / power)


def _outlines(
    species: Species, centres: np.ndarray, radius: np.ndarray, slender: np.ndarray, turns: np.ndarray
) -> np.ndarray:
    """The vertices of every leaf, (leaves, vertices, 2) int32 in sixteenths of a pixel."""
    corners = species.corners or 24
    angles = (np.arange(corners) + 0.5) * (2 * np.pi / corners)
    reach = np.where(np.arange(corners) % 2, 1 - species.notch, 1.0)
    across = (radius * np.sqrt(slender))[:, None] * (reach * np.cos(angles))
    down = (radius / np.sqrt(slender))[:, None] * (reach * np.sin(angles))
    cosine, sine = np.cos(turns)[:, None], np.sin(turns)[:, None]
    points = np.stack([across * cosine - down * sine, across * sine + down * cosine], axis=2) + centres[:, None]
    return np.round(points * SUBPIXELS).astype(np.int32)


def _palette(rng: np.random.Generator, count: int) -> np.ndarray:
    """Colours of a scene, (count, 3) float32 in 0..1: luminance varies most, then blue to yellow, then red to green.

    These are the principal axes of natural colours (Ruderman, Cronin and Chiao, J Opt Soc Am A 15:2036, 1998).
    """
    scene = rng.normal(0, [0.25, 0.16, 0.05])
    log = scene + rng.normal(0, [0.55, 0.22, 0.09], (count, 3))
    axes = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt([[3], [6], [2]])
    return np.clip(0.45 * np.exp(log @ axes), 0, 1).astype(np.float32)


def _texture(rng: np.random.Generator, kind: str, owner: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Brightness of each leaf's surface about 1, drawn along the leaf's own axis `angle` (radians)."""
    length = owner.shape[0]
    fine = smooth_noise(rng, owner.shape, (3.0, 3.0))
    if kind == "plain":
        return 1 + np.float32(0.03) * fine
    if kind == "mottled":
        return 1 + np.float32(0.1) * fine + np.float32(0.2) * smooth_noise(rng, owner.shape, (0.04 * length,) * 2)
    position = np.arange(length, dtype=np.float32)
    cosine, sine = np.cos(angle), np.sin(angle)
    along = position[None, :] * cosine + position[:, None] * sine
    across = position[:, None] * cosine - position[None, :] * sine
    frequency = np.float32(2 * np.pi / (rng.uniform(*PERIODS) * length))
    if kind == "veined":
        return 1 + np.float32(0.28) * np.sin(frequency * across + np.float32(0.4) * fine)
    if kind == "grained":
        warp = 2 * smooth_noise(rng, owner.shape, (0.1 * length,) * 2)
        return (
            1
            + np.float32(0.28) * np.sin(frequency * across + warp + np.float32(0.02) * along)
            + np.float32(0.05) * fine
        )
    return 1 + np.float32(0.25) * np.sign(np.sin(frequency * across)) * np.sign(np.sin(frequency * along))


def _relief(owner: np.ndarray) -> np.ndarray:
    """Light from above: a leaf's edge is darker where another one lies on it."""
    edge = (owner != np.roll(owner, 1, axis=0)) | (owner != np.roll(owner, 1, axis=1))
    return 1 - np.float32(0.5) * cv2.GaussianBlur(edge.astype(np.float32), (0, 0), 2.0)
