"""Abdominal and pelvic ultrasound: liver, kidney, gallbladder, ovary and fibroid, through a curved probe.

In: a generator and a size. Out: a sector picture, uint8.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastrad.phantom.shapes import Blob, inside
from fastrad.phantom.texture import smooth_noise, wave
from fastrad.phantom.ultrasound import FLUID_DB, Scanner, Tissue, picture


def organ_picture(organ: str, rng: np.random.Generator, size: int) -> np.ndarray:
    """A picture of one of `ORGANS`, (size, size) uint8."""
    depth = rng.uniform(90, 125)
    scanner = Scanner(
        depth_mm=depth,
        axial_mm=rng.uniform(1.1, 1.5),
        lateral_mm=rng.uniform(1.8, 2.6),
        focus_mm=rng.uniform(0.45, 0.7) * depth,
        dynamic_range_db=rng.uniform(56, 68),
        white_db=rng.uniform(20, 27),
        curved=True,
    )
    tissue = Tissue(scanner, size)
    _paint_wall(tissue, rng)
    ORGANS[organ](tissue, rng)
    return picture(tissue, rng)


def _cells(tissue: Tissue, rng: np.random.Generator, rows_mm: float, columns_mm: float) -> np.ndarray:
    cell = 1 / tissue.step_mm
    return smooth_noise(rng, tissue.echo.shape, (rows_mm * cell, columns_mm * cell))


def _paint_wall(tissue: Tissue, rng: np.random.Generator) -> None:
    """Fat behind everything, and the abdominal wall in front."""
    fibres = _cells(tissue, rng, 1.6, 18)
    tissue.paint(np.ones_like(tissue.x), 2 + 4 * _cells(tissue, rng, 5, 9) + 2 * fibres, 0.06)
    depth = np.broadcast_to(tissue.path[:, None], tissue.x.shape)
    wall = rng.uniform(10, 19) + 0.8 * wave(rng, tissue.x[0], 60)
    tissue.paint(inside(depth - wall, 1.5), -5 + 5 * fibres)
    tissue.reflect(depth - wall, 14)
    tissue.paint(inside(depth - 3, 1.5), 6)


def _liver(tissue: Tissue, rng: np.random.Generator) -> None:
    side = 1 if rng.random() < 0.5 else -1
    body = Blob(side * rng.uniform(5, 18), rng.uniform(58, 66), rng.uniform(62, 75), rng.uniform(42, 52), _gentle(rng))
    distance, facing = body.distance(tissue.x, tissue.z)
    steatosis = rng.uniform(0, 0.1) if rng.random() < 0.4 else 0.0
    tissue.paint(inside(distance, 1.5), 1.2 * _cells(tissue, rng, 6, 6) + 60 * steatosis, steatosis)
    tissue.reflect(distance, 22, np.square(facing))  # the diaphragm behind, the capsule in front
    for _ in range(int(rng.integers(4, 9))):
        vessel = Blob(
            body.x + rng.uniform(-0.6, 0.6) * body.width,
            body.y + rng.uniform(-0.55, 0.55) * body.height,
            rng.uniform(2.5, 13),
            rng.uniform(1.8, 3.6),
            tilt=rng.uniform(-1.2, 1.2),
        )
        _paint_fluid(tissue, vessel, wall_db=rng.choice([4.0, 15.0]))  # portal veins have bright walls
    if rng.random() < 0.35:
        width, height = rng.uniform(6, 13, 2)
        lesion = Blob(rng.uniform(-25, 25), rng.uniform(45, 75), width, height, _gentle(rng))
        part = tissue.around(lesion, 5)
        distance, _ = lesion.distance(part.x, part.z)
        part.paint(inside(distance, 2), rng.choice([9.0, -9.0]))


def _kidney(tissue: Tissue, rng: np.random.Generator) -> None:
    body = Blob(
        rng.uniform(-10, 10),
        rng.uniform(50, 62),
        rng.uniform(40, 50),
        rng.uniform(20, 25),
        _gentle(rng),
        rng.uniform(-0.3, 0.3),
    )
    liver = Blob(body.x + rng.uniform(-20, 20), body.y - body.height - rng.uniform(12, 16), 75, 15, _gentle(rng))
    distance, facing = liver.distance(tissue.x, tissue.z)
    tissue.paint(inside(distance, 1.5), 1.0 * _cells(tissue, rng, 6, 6))
    distance, facing = body.distance(tissue.x, tissue.z)
    tissue.paint(inside(distance, 1.2), -5 + 1.5 * _cells(tissue, rng, 5, 5))
    tissue.reflect(distance, 17, np.square(facing))
    sinus = Blob(
        body.x,
        body.y,
        body.width * 0.6,
        body.height * 0.42,
        ((5, 0.14, rng.uniform(0, 6.3)), (8, 0.1, rng.uniform(0, 6.3))),
        body.tilt,
    )
    distance, _ = sinus.distance(tissue.x, tissue.z)
    tissue.paint(inside(distance, 2.5), 10 + 4 * _cells(tissue, rng, 3, 5))
    for turn in np.linspace(0, 2 * np.pi, 9)[:-1] + rng.uniform(0, 0.7):  # the pyramids
        across, down = 0.76 * body.width * np.cos(turn), 0.68 * body.height * np.sin(turn)
        cosine, sine = np.cos(body.tilt), np.sin(body.tilt)
        pyramid = Blob(
            body.x + across * cosine - down * sine, body.y + across * sine + down * cosine, *rng.uniform(3.0, 5.0, 2)
        )
        part = tissue.around(pyramid)
        distance, _ = pyramid.distance(part.x, part.z)
        part.paint(inside(distance, 2.5), -12)
    if rng.random() < 0.35:
        pelvis = Blob(body.x, body.y, rng.uniform(6, 16), rng.uniform(3, 7), _gentle(rng), body.tilt)
        _paint_fluid(tissue, pelvis, 4)
    if rng.random() < 0.25:
        _paint_stone(tissue, rng, body.x + rng.uniform(-12, 12), body.y + rng.uniform(-4, 4), rng.uniform(2, 4))


def _gallbladder(tissue: Tissue, rng: np.random.Generator) -> None:
    liver = Blob(rng.uniform(-20, 20), rng.uniform(45, 55), 80, rng.uniform(34, 44), _gentle(rng))
    distance, facing = liver.distance(tissue.x, tissue.z)
    tissue.paint(inside(distance, 1.5), 1.2 * _cells(tissue, rng, 6, 6))
    tissue.reflect(distance, 15, np.square(facing))
    lumen = Blob(
        rng.uniform(-10, 10),
        rng.uniform(48, 62),
        rng.uniform(22, 34),
        rng.uniform(8, 14),
        ((1, 0.12, rng.uniform(0, 6.3)), (3, 0.05, rng.uniform(0, 6.3))),
        rng.uniform(-0.6, 0.6),
    )
    distance, _ = lumen.distance(tissue.x, tissue.z)
    tissue.paint(inside(np.abs(distance - 1.5) - rng.uniform(1, 2.2), 1), 6)
    _paint_fluid(tissue, lumen, 12)
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 5))):
            along = rng.uniform(-0.6, 0.6) * lumen.width
            bottom = lumen.height * np.sqrt(1 - (along / lumen.width) ** 2)
            radius = rng.uniform(1.8, 4.5)
            x = lumen.x + along * np.cos(lumen.tilt) - (bottom - radius) * np.sin(lumen.tilt)
            _paint_stone(
                tissue, rng, x, lumen.y + along * np.sin(lumen.tilt) + (bottom - radius) * np.cos(lumen.tilt), radius
            )


def _ovary(tissue: Tissue, rng: np.random.Generator) -> None:
    body = Blob(
        rng.uniform(-14, 14),
        rng.uniform(48, 64),
        rng.uniform(21, 30),
        rng.uniform(14, 20),
        _gentle(rng),
        rng.uniform(-0.5, 0.5),
    )
    distance, facing = body.distance(tissue.x, tissue.z)
    tissue.paint(inside(distance, 2), -5 + 2 * _cells(tissue, rng, 4, 4))
    tissue.reflect(distance, 13, np.square(facing))
    for turn in rng.permutation(12)[: int(rng.integers(4, 11))] * (2 * np.pi / 12):
        radius = rng.uniform(2.2, 5.0)
        reach = rng.uniform(0.45, 0.7)
        x, z = body.x + reach * body.width * np.cos(turn), body.y + reach * body.height * np.sin(turn)
        _paint_fluid(tissue, Blob(x, z, radius, radius * rng.uniform(0.7, 1)), 8)


def _fibroid(tissue: Tissue, rng: np.random.Generator) -> None:
    uterus = Blob(
        rng.uniform(-8, 8),
        rng.uniform(52, 62),
        rng.uniform(44, 54),
        rng.uniform(25, 32),
        _gentle(rng),
        rng.uniform(-0.3, 0.3),
    )
    distance, facing = uterus.distance(tissue.x, tissue.z)
    tissue.paint(inside(distance, 2), -3 + 2 * _cells(tissue, rng, 4, 7))
    tissue.reflect(distance, 15, np.square(facing))
    lining = Blob(uterus.x, uterus.y, uterus.width * 0.55, rng.uniform(2, 4.5), (), uterus.tilt)
    distance, _ = lining.distance(tissue.x, tissue.z)
    tissue.paint(inside(distance, 2), 8)
    for _ in range(int(rng.integers(1, 4))):
        mass = Blob(
            uterus.x + rng.uniform(-0.6, 0.6) * uterus.width,
            uterus.y + rng.uniform(-0.5, 0.5) * uterus.height,
            rng.uniform(9, 17),
            rng.uniform(9, 17),
            _gentle(rng),
        )
        distance, facing = mass.distance(tissue.x, tissue.z)
        whorls = np.sin(distance * np.float32(1.1) + 2 * _cells(tissue, rng, 6, 6))
        tissue.paint(inside(distance, 1.5), rng.uniform(-12, -6) + 3.5 * whorls, rng.uniform(0.2, 0.55))
        tissue.reflect(distance, 10, np.square(facing))


def _paint_fluid(tissue: Tissue, lumen: Blob, wall_db: float) -> None:
    part = tissue.around(lumen, 4)
    distance, facing = lumen.distance(part.x, part.z)
    part.paint(inside(distance, 1.0), FLUID_DB, -0.22)
    part.reflect(distance - 0.5, wall_db, 0.4 + 0.6 * facing)


def _paint_stone(tissue: Tissue, rng: np.random.Generator, x: float, z: float, radius: float) -> None:
    stone = Blob(x, z, radius, radius * 0.7, _gentle(rng))
    part = tissue.around(stone)
    distance, _ = stone.distance(part.x, part.z)
    part.paint(inside(distance, 1), 19, 7)


def _gentle(rng: np.random.Generator) -> tuple[tuple[int, float, float], ...]:
    return tuple((count, rng.uniform(0.0, 0.06), rng.uniform(0, 6.3)) for count in (2, 3, 4))


ORGANS: dict[str, Callable[[Tissue, np.random.Generator], None]] = {
    "liver": _liver,
    "kidney": _kidney,
    "gb": _gallbladder,
    "ovary": _ovary,
    "fibroid": _fibroid,
}
