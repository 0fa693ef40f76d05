"""Outlines: what anatomy is drawn with.

In: coordinates, in whatever unit the picture is drawn in. Out: signed distances and covers between 0 and 1, float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Blob:
    """A rounded outline in the picture's plane: an ellipse with optional waves on its edge.

    Attributes
    ----------
    x, y : float
        Centre: to the right and downwards.
    width, height : float
        Semi-axes.
    waves : tuple of (count, amplitude, phase)
        Harmonics of the radius: `count` bulges a turn with a relative `amplitude`.
    tilt : float
        Rotation in radians.
    """

    x: float
    y: float
    width: float
    height: float
    waves: tuple[tuple[int, float, float], ...] = ()
    tilt: float = 0.0

    def box(self, x: np.ndarray, y: np.ndarray, margin: float) -> tuple[slice, slice]:
        """The rows and columns that hold all of the outline and `margin` around it; empty slices where none do."""
        swell = 1 + sum(abs(amplitude) for _, amplitude, _ in self.waves)
        longest = max(self.width, self.height) if self.tilt else 0.0
        near = np.abs(x - np.float32(self.x)) < max(self.width, longest) * swell + margin
        near &= np.abs(y - np.float32(self.y)) < max(self.height, longest) * swell + margin
        rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
        if len(rows) == 0:
            return slice(0), slice(0)
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def outline(self, points: int = 360) -> np.ndarray:
        """Points on the outline, (points, 2) float64: x and y."""
        turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
        edge = 1 + sum(amplitude * np.cos(count * turn + phase) for count, amplitude, phase in self.waves)
        across, along = self.width * edge * np.cos(turn), self.height * edge * np.sin(turn)
        cosine, sine = np.cos(self.tilt), np.sin(self.tilt)
        return np.column_stack([self.x + across * cosine - along * sine, self.y + across * sine + along * cosine])

    def distance(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance to the outline (negative inside; true near the edge only), and how far it faces up or down."""
        across, along = x - np.float32(self.x), y - np.float32(self.y)
        if self.tilt:
            cosine, sine = np.float32(np.cos(self.tilt)), np.float32(np.sin(self.tilt))
            across, along = across * cosine + along * sine, along * cosine - across * sine
        across, along = across / np.float32(self.width), along / np.float32(self.height)
        radius = np.sqrt(across * across + along * along) + np.float32(1e-6)
        slope, steepness = across / np.float32(self.width), along / np.float32(self.height)
        normal = np.sqrt(slope * slope + steepness * steepness) + np.float32(1e-6)
        facing = np.abs(steepness) / normal
        unit = radius / normal  # the ellipse's gradient: what a unit of relative radius is in length
        edge: np.ndarray = np.ones((), np.float32)
        if self.waves:
            turn = np.arctan2(along, across)
            edge = edge + sum(
                np.float32(amplitude) * np.cos(np.float32(count) * turn + np.float32(phase))
                for count, amplitude, phase in self.waves
            )
        return (radius - edge) * unit, facing


def inside(distance: np.ndarray, softness: float = 0.2) -> np.ndarray:
    """From a signed distance to a cover: 1 inside, 0 outside, linear over `softness`."""
    return np.clip(np.float32(0.5) - distance * np.float32(1 / softness), 0, 1)
