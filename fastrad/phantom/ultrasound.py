"""A B-mode scanner: from a map of tissue to the picture on the screen.

In: `Tissue` on the beams' own grid (rows are depth, columns are beams): echogenicity, attenuation and bright
interfaces. Out: a uint8 picture. The chain is the usual one: scatterers with a circular complex Gaussian
amplitude (fully developed speckle; Goodman, "Some fundamental properties of speckle", 1976; Wagner et al., IEEE
Trans. Sonics Ultrason. 30, 1983), a separable Gaussian point spread that widens laterally away from the focus,
depth gain, envelope, log compression to a dynamic range, and scan conversion where the probe is curved.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import fft

from fastrad.phantom.shapes import Blob
from fastrad.phantom.texture import smooth_noise

OVERSAMPLING = 1.5  # beams and samples a pixel of the picture
FOOTPRINT_RADIUS_MM = 50.0  # a curved abdominal probe
SECTOR_HALF_ANGLE = 0.48  # radians
FLUID_DB = -45.0  # echogenicity of a clear fluid
NOISE_FLOOR_DB = -34.0  # electronic noise at full depth, where the depth gain is highest


@dataclass(frozen=True)
class Scanner:
    """The settings of one acquisition.

    Attributes
    ----------
    depth_mm : float
        Depth of the picture; a linear probe's picture is as wide as deep.
    axial_mm, lateral_mm : float
        Full width at half maximum of the point spread, along the beam and (at the focus) across it.
    focus_mm : float
        Depth of the focus.
    dynamic_range_db : float
        From black to white.
    white_db : float
        The echo level shown white, relative to parenchyma (0 dB): the lower, the higher the gain.
    curved : bool
        True for a curved probe with a sector picture.
    """

    depth_mm: float
    axial_mm: float = 0.45
    lateral_mm: float = 0.6
    focus_mm: float = 18.0
    dynamic_range_db: float = 62.0
    white_db: float = 30.0
    curved: bool = False


class Tissue:
    """What the beams meet, painted structure by structure.

    Attributes
    ----------
    x, z : (rows, columns) float32
        Where each sample lies, in mm: lateral from the midline, and depth below the skin.
    echo : (rows, columns) float32
        Echogenicity of the scatterers in dB relative to parenchyma.
    loss : (rows, columns) float32
        Two-way attenuation in dB/mm beyond what the depth gain makes up for; negative in fluid.
    glint : (rows, columns) float32
        Amplitude of interfaces, relative to the root mean square of parenchyma.
    points : list of (row, column, amplitude)
        Single small reflectors.
    box : (slice, slice)
        Which part of the whole grid the arrays are.
    """

    def __init__(self, scanner: Scanner, size: int) -> None:
        count = round(size * OVERSAMPLING)
        self.scanner, self.size = scanner, size
        self.step_mm = scanner.depth_mm / count
        path = (np.arange(count, dtype=np.float32) + np.float32(0.5)) * np.float32(self.step_mm)
        across = (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(count) - np.float32(0.5)
        if scanner.curved:
            angle = across * np.float32(2 * SECTOR_HALF_ANGLE)
            radius = path + np.float32(FOOTPRINT_RADIUS_MM)
            self.x = np.outer(radius, np.sin(angle)).astype(np.float32)
            self.z = (np.outer(radius, np.cos(angle)) - FOOTPRINT_RADIUS_MM).astype(np.float32)
        else:
            self.x, self.z = np.meshgrid(across * np.float32(scanner.depth_mm), path)
        self.path = path
        self.echo = np.zeros((count, count), np.float32)
        self.loss = np.zeros((count, count), np.float32)
        self.glint = np.zeros((count, count), np.float32)
        self.points: list[tuple[int, int, float]] = []
        self.box = (slice(None), slice(None))

    def around(self, blob: Blob, margin_mm: float = 1.5) -> Tissue:
        """The same tissue, cut down to the surroundings of `blob`: what is painted there is painted here."""
        box = blob.box(self.x, self.z, margin_mm)
        part = copy(self)
        for name in ("x", "z", "echo", "loss", "glint"):
            setattr(part, name, getattr(self, name)[box])
        part.box = box
        return part

    def paint(self, cover: np.ndarray, echo: float | np.ndarray, loss: float = 0.0) -> None:
        """Lay tissue over what is there; `cover` (rows, columns) is 0 outside, 1 inside, between them at an edge."""
        self.echo += cover * (echo - self.echo)
        self.loss += cover * (np.float32(loss) - self.loss)

    def reflect(self, distance_mm: np.ndarray, decibel: float, facing: np.ndarray | float = 1.0) -> None:
        """Add an interface along `distance_mm` = 0; `facing` is 1 where the beam meets it squarely, 0 along it."""
        near = np.maximum(1 - np.abs(distance_mm) * np.float32(1 / max(0.3, 1.2 * self.step_mm)), 0)
        self.glint += near * np.float32(10 ** (decibel / 20)) * facing

    def point(self, x: float, z: float, decibel: float) -> None:
        """Add one small bright reflector on the sample nearest to (x, z) mm, unless that is out of the picture."""
        row, column = self._nearest(x, z)
        if 0 <= row < len(self.path) and 0 <= column < len(self.path):
            self.points.append((row, column, 10 ** (decibel / 20)))

    def _nearest(self, x: float, z: float) -> tuple[int, int]:
        if self.scanner.curved:
            reach = np.hypot(x, z + FOOTPRINT_RADIUS_MM) - FOOTPRINT_RADIUS_MM
            across = np.arctan2(x, z + FOOTPRINT_RADIUS_MM) / (2 * SECTOR_HALF_ANGLE)
        else:
            reach, across = z, x / self.scanner.depth_mm
        return int(reach / self.step_mm), int((across + 0.5) * len(self.path))


def envelope(tissue: Tissue, rng: np.random.Generator) -> np.ndarray:
    """The detected echo before compression: (rows, columns) float32, root mean square 1 in parenchyma.

    In homogeneous tissue its values follow the Rayleigh distribution, whose mean is 1.91 standard deviations.
    """
    scanner = tissue.scanner
    rows, columns = tissue.echo.shape
    shadow: np.ndarray = np.cumsum(tissue.loss, axis=0) * np.float32(tissue.step_mm)
    shadow = cv2.GaussianBlur(shadow, (0, 0), sigmaX=0.35 / tissue.step_mm, sigmaY=0.01)
    gain = np.exp(np.maximum(shadow, -14) * np.float32(-np.log(10) / 20))  # enhancement behind fluid ends at 14 dB
    strength = np.exp(tissue.echo * np.float32(np.log(10) / 20)) * gain

    field: np.ndarray = rng.standard_normal((rows, columns, 2), dtype=np.float32) * np.float32(np.sqrt(0.5))
    field *= strength[..., None]
    # An interface is rough: it answers in phase over a millimetre or two, then fades, as fascia and capsules do.
    rough = smooth_noise(rng, (rows, columns), (0.5 / tissue.step_mm, 1.6 / tissue.step_mm))
    field[..., 0] += tissue.glint * gain * (0.3 + 0.45 * rough) / np.float32(_coherent_gain(scanner, tissue.step_mm))
    for row, column, amplitude in tissue.points:
        field[row, column, 0] += amplitude * gain[row, column]
    field = _point_spread(field, tissue)

    noise = rng.standard_normal((rows // 2, columns // 2, 2), dtype=np.float32)
    level = NOISE_FLOOR_DB - 14 * (1 - tissue.path / np.float32(scanner.depth_mm))
    field += cv2.resize(noise, (columns, rows)) * (10 ** (level / 20)).astype(np.float32)[:, None, None]
    return cv2.magnitude(field[..., 0], field[..., 1])


def _coherent_gain(scanner: Scanner, step_mm: float) -> float:
    """How much more than noise a line that answers in phase gains from the point spread, at the focus."""
    return 2 * np.sqrt(np.pi * scanner.axial_mm * scanner.lateral_mm) / (2.3548 * step_mm)


def _point_spread(field: np.ndarray, tissue: Tissue) -> np.ndarray:
    """Blur (rows, columns, 2) by the point spread; white noise keeps its power in every row."""
    scanner = tissue.scanner
    to_sigma = 1 / (2.3548 * tissue.step_mm)
    axial = scanner.axial_mm * to_sigma
    reach = int(np.ceil(4 * axial))
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / axial))
    kernel /= np.sqrt(np.square(kernel).sum())
    field = cv2.sepFilter2D(field, -1, np.ones(1), kernel, borderType=cv2.BORDER_REFLECT)

    spread = np.hypot(1, 0.9 * (tissue.path - scanner.focus_mm) / scanner.focus_mm)
    lateral = scanner.lateral_mm * spread * to_sigma
    count = fft.next_fast_len(field.shape[1] + int(6 * lateral.max()))
    frequency = fft.fftfreq(count).astype(np.float32)
    transfer = np.exp(-2 * np.square(np.pi * lateral[:, None].astype(np.float32) * frequency[None, :]))
    transfer /= np.sqrt(np.square(transfer).mean(axis=1, keepdims=True))
    spectrum = fft.fft(field.view(np.complex64)[..., 0], n=count, axis=1, overwrite_x=True)
    spectrum *= transfer
    blurred = fft.ifft(spectrum, axis=1, overwrite_x=True)[:, : field.shape[1]]
    return np.ascontiguousarray(blurred).view(np.float32).reshape(field.shape)


def picture(tissue: Tissue, rng: np.random.Generator) -> np.ndarray:
    """The B-mode picture, (size, size) uint8: log compression, gray map, and scan conversion of a curved probe."""
    scanner = tissue.scanner
    echo = envelope(tissue, rng)
    if scanner.curved:
        echo = _scan_convert(echo, scanner)
    # Averaging before the logarithm is what the scanners' compounding does: it fills the speckle's deepest nulls.
    echo = cv2.GaussianBlur(echo, (0, 0), 0.6)
    echo = cv2.resize(echo, (tissue.size, tissue.size), interpolation=cv2.INTER_AREA)
    decibel = 20 * np.log10(echo + np.float32(1e-6))
    level = np.clip(1 + (decibel - scanner.white_db) / np.float32(scanner.dynamic_range_db), 0, 1)
    gray = level * np.sqrt(level) * np.float32(255)  # the scanners' gray maps darken the low levels
    return gray.round().astype(np.uint8)


def _scan_convert(echo: np.ndarray, scanner: Scanner) -> np.ndarray:
    """From beams to the sector that they cover, (rows, columns) float32; 0 outside."""
    rows, columns = echo.shape
    wide = 2 * (FOOTPRINT_RADIUS_MM + scanner.depth_mm) * np.sin(SECTOR_HALF_ANGLE)
    sag = FOOTPRINT_RADIUS_MM * (1 - np.cos(SECTOR_HALF_ANGLE))
    scale = max(scanner.depth_mm + sag, wide) / rows
    z, x = np.meshgrid(
        np.arange(rows, dtype=np.float32) * np.float32(scale) - np.float32(sag),
        (np.arange(columns, dtype=np.float32) - np.float32(columns / 2)) * np.float32(scale),
        indexing="ij",
    )
    radius = np.hypot(x, z + np.float32(FOOTPRINT_RADIUS_MM)) - np.float32(FOOTPRINT_RADIUS_MM)
    angle = np.arctan2(x, z + np.float32(FOOTPRINT_RADIUS_MM))
    row = radius * np.float32(rows / scanner.depth_mm) - np.float32(0.5)
    column = (angle / np.float32(2 * SECTOR_HALF_ANGLE) + np.float32(0.5)) * np.float32(columns) - np.float32(0.5)
    return cv2.remap(echo, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
