"""Thyroid nodules on B-mode ultrasound: what a nodule is like, and the neck around it.

In: a seed, a patient's number and a picture's number. Out: uint8 pictures with the features they were drawn from.

The features are those of ACR TI-RADS (Tessler et al., J Am Coll Radiol 14:587, 2017). How often each occurs among
benign and malignant nodules (`FEATURES`) leans on published series: solid 78 against 63 %, hypoechoic 71 against 29 %,
irregular margin 35 against 8 % and microcalcifications 33 against 8 % of malignant and benign nodules (Singapore Med
J, "Diagnostic performance of ATA, BTA and TIRADS sonographic patterns in the prediction of malignancy"); taller than
wide with a sensitivity of 26 % and a specificity of 84 to 95 % (Eur Thyroid J 9(2), 2020); spongiform and cystic
nodules are almost all benign. Given the label the features are independent, and the ideal reader of all five has an
AUROC of 0.89: no reader of the pictures can do better. 45 % of the patients are malignant, as in a surgical series
(42 % of nodules in Endocr Connect 9(9), 2020) and unlike in screening.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastrad.phantom.shapes import Blob, inside
from fastrad.phantom.texture import smooth_noise, wave
from fastrad.phantom.ultrasound import FLUID_DB, Scanner, Tissue, picture

LABELS = ("benign", "malignant")
MALIGNANT_OF_TWENTY = 9  # in every block of twenty patients, so that small archives are balanced as well
PICTURES_OF_A_PATIENT = (0.6, 0.3, 0.1)  # the share of patients with one, two and three pictures

# feature -> value -> (share among benign, share among malignant)
FEATURES: dict[str, dict[str, tuple[float, float]]] = {
    "composition": {
        "cystic": (0.10, 0.01),
        "spongiform": (0.10, 0.01),
        "mixed": (0.28, 0.18),
        "solid": (0.52, 0.80),
    },
    "echogenicity": {
        "hyperechoic": (0.16, 0.04),
        "isoechoic": (0.54, 0.24),
        "hypoechoic": (0.27, 0.53),
        "very hypoechoic": (0.03, 0.19),
    },
    "shape": {"wider than tall": (0.93, 0.72), "taller than wide": (0.07, 0.28)},
    "margin": {"smooth": (0.70, 0.36), "ill-defined": (0.22, 0.26), "irregular": (0.08, 0.38)},
    "foci": {
        "none": (0.68, 0.50),
        "comet tail": (0.12, 0.02),
        "macrocalcification": (0.12, 0.13),
        "punctate": (0.08, 0.35),
    },
}
ECHO_DB = {"hyperechoic": 5.0, "isoechoic": -0.5, "hypoechoic": -8.0, "very hypoechoic": -15.0}


@dataclass(frozen=True)
class Nodule:
    """One patient's nodule; the five features are values of `FEATURES`, sizes are diameters in mm."""

    label: str
    composition: str
    echogenicity: str
    shape: str
    margin: str
    foci: str
    transverse_mm: float
    anteroposterior_mm: float
    length_mm: float


def draw_nodule(seed: int, patient: int) -> Nodule:
    """The nodule of a patient (counted from 0), a pure function of its arguments."""
    block, place = divmod(patient, 20)
    malignant = np.random.default_rng([seed, 10, block]).permutation(20)[place] < MALIGNANT_OF_TWENTY
    rng = np.random.default_rng([seed, 11, patient])
    values = {
        feature: str(rng.choice(list(shares), p=[share[int(malignant)] for share in shares.values()]))
        for feature, shares in FEATURES.items()
    }
    transverse = float(np.clip(rng.lognormal(np.log(14), 0.32), 7, 26))
    ratio = rng.uniform(1.08, 1.5) if values["shape"] == "taller than wide" else rng.uniform(0.55, 0.95)
    return Nodule(
        label=LABELS[int(malignant)],
        **values,
        transverse_mm=transverse / np.sqrt(ratio),
        anteroposterior_mm=transverse * np.sqrt(ratio),
        length_mm=transverse * rng.uniform(1.0, 1.35),
    )


def count_pictures(seed: int, patient: int) -> int:
    """How many pictures a patient has: 1, 2 or 3."""
    return int(np.random.default_rng([seed, 12, patient]).choice(3, p=PICTURES_OF_A_PATIENT)) + 1


def view_of(number: int) -> str:
    """The first and third picture are transverse, the second is longitudinal."""
    return "longitudinal" if number == 1 else "transverse"


Box = tuple[int, int, int, int]


def nodule_picture(nodule: Nodule, seed: int, patient: int, number: int, size: int) -> np.ndarray:
    """Picture `number` (0, 1 or 2) of a patient's nodule, (size, size) uint8, a pure function of its arguments."""
    return outlined_picture(nodule, seed, patient, number, size)[0]


def outlined_picture(nodule: Nodule, seed: int, patient: int, number: int, size: int) -> tuple[np.ndarray, Box]:
    """As `nodule_picture`, and the box around the nodule: left, top, right, bottom in pixels, the last two excluded."""
    fixed = np.random.default_rng([seed, 13, patient])
    rng = np.random.default_rng([seed, 14, patient, number])
    deepest = 19 + nodule.anteroposterior_mm
    scanner = _settings(rng, float(np.clip(rng.uniform(1.0, 1.2) * deepest, 30, 52)))
    tissue = Tissue(scanner, size)
    side = 1 if fixed.random() < 0.5 else -1
    longitudinal = view_of(number) == "longitudinal"
    level = 1.0 if number < 2 else 0.85  # the third picture cuts the nodule off its middle
    across = nodule.length_mm if longitudinal else nodule.transverse_mm
    half = (level * across / 2, level * nodule.anteroposterior_mm / 2)
    centre = paint_neck(tissue, rng, side, longitudinal, room_for=half)
    outline = paint_nodule(tissue, rng, nodule, centre, half).outline() / scanner.depth_mm * size
    outline[:, 0] += size / 2  # x is measured from the midline
    left, top = np.floor(outline.min(0)).clip(0, size).astype(int).tolist()
    right, bottom = np.ceil(outline.max(0)).clip(0, size).astype(int).tolist()
    return picture(tissue, rng), (left, top, right, bottom)


def normal_picture(rng: np.random.Generator, size: int) -> np.ndarray:
    """A thyroid lobe without a nodule, (size, size) uint8."""
    tissue = Tissue(_settings(rng, rng.uniform(32, 42)), size)
    paint_neck(tissue, rng, 1 if rng.random() < 0.5 else -1, rng.random() < 0.4)
    return picture(tissue, rng)


def _settings(rng: np.random.Generator, depth_mm: float) -> Scanner:
    return Scanner(
        depth_mm=depth_mm,
        axial_mm=rng.uniform(0.38, 0.5),
        lateral_mm=rng.uniform(0.6, 0.9),
        focus_mm=rng.uniform(0.4, 0.6) * depth_mm,
        dynamic_range_db=rng.uniform(56, 68),
        white_db=rng.uniform(20, 27),
    )


def paint_neck(
    tissue: Tissue,
    rng: np.random.Generator,
    side: int,
    longitudinal: bool,
    room_for: tuple[float, float] = (0.0, 0.0),
) -> tuple[float, float]:
    """Paint skin, fat, strap muscles, the lobe with its capsule, carotid, trachea and the muscle behind.

    Parameters
    ----------
    side : 1 or -1
        Where the trachea lies: to the right or to the left of the picture.
    room_for : (half width, half height)
        What the lobe must hold, in mm.

    Returns
    -------
    (x, z) : where in the lobe something of that size fits, in mm.
    """
    x, z = tissue.x, tissue.z
    shape = tissue.echo.shape
    cell = 1 / tissue.step_mm  # pixels a mm
    fibres = smooth_noise(rng, shape, (0.45 * cell, 5 * cell))
    coarse = smooth_noise(rng, shape, (1.4 * cell, 2.5 * cell))
    line = x[0]

    fat = rng.uniform(2.2, 5.0) + 0.3 * wave(rng, line, 25)
    strap = fat + rng.uniform(2.5, 5.5) + 0.4 * wave(rng, line, 30) - 0.0025 * np.square(line)
    streaks = smooth_noise(rng, shape, (0.6 * cell, 7 * cell))
    ripple = 0.8 * wave(rng, line, 22)
    tissue.paint(np.float32(1) + 0 * x, 1 + 3.0 * coarse + 5.0 * streaks, 0.16)  # connective tissue behind everything
    tissue.paint(inside(z - strap, 0.8), -9 + 4.0 * fibres + 2 * coarse, 0.05)
    tissue.paint(inside(z - fat, 0.6), -5 + 5.5 * fibres + 2 * coarse)
    tissue.paint(inside(z - np.float32(1.2), 0.5), 8 + 2 * fibres)
    tissue.paint(inside(z - np.float32(0.4), 0.2), 2)
    tissue.reflect(z - fat, 19)
    tissue.reflect(z - (0.45 * fat + 0.55 * strap) - 0.3 * ripple, 14)
    tissue.reflect(z - strap, 15)
    tissue.reflect(z - np.float32(0.55) * fat - 0.5 * ripple, 12)

    half_width = max(rng.uniform(9, 13), room_for[0] * 1.25) if not longitudinal else tissue.scanner.depth_mm * 0.62
    half_height = max(rng.uniform(6.5, 9.0), room_for[1] * 1.18)
    middle = float(strap[len(line) // 2])
    lobe = Blob(
        x=-side * rng.uniform(0.5, 2.5),
        y=middle + half_height - 0.4,
        width=half_width,
        height=half_height,
        waves=((2, rng.uniform(0, 0.03), rng.uniform(0, 6.3)), (3, rng.uniform(0, 0.04), rng.uniform(0, 6.3))),
        tilt=rng.uniform(-0.12, 0.12),
    )
    _paint_behind(tissue, rng, lobe, fibres, cell)
    if not longitudinal:
        _paint_trachea(tissue, rng, side, lobe, middle)
    distance, facing = lobe.distance(x, z)
    parenchyma = 1.1 * smooth_noise(rng, shape, (2.5 * cell, 2.5 * cell)) + 0.8 * coarse
    tissue.paint(inside(distance, 0.3), parenchyma)
    tissue.reflect(distance, 19, np.square(np.square(facing)))
    if not longitudinal:
        _paint_carotid(tissue, rng, side, lobe)

    slack_x, slack_z = (max(0.0, lobe.width - room_for[0] * 1.15), max(0.0, lobe.height - room_for[1] * 1.12))
    slack_x = min(slack_x, tissue.scanner.depth_mm * 0.46 - room_for[0]) if longitudinal else slack_x
    turn, reach = rng.uniform(0, 2 * np.pi), 0.6 * np.sqrt(rng.random())
    return lobe.x + max(0.0, slack_x) * reach * np.cos(turn), lobe.y + slack_z * reach * np.sin(turn)


def _paint_behind(tissue: Tissue, rng: np.random.Generator, lobe: Blob, fibres: np.ndarray, cell: float) -> None:
    """The long muscle of the neck behind the lobe, and the bone behind it with its shadow."""
    x, z = tissue.x, tissue.z
    top = lobe.y + lobe.height
    muscle = Blob(
        lobe.x + rng.uniform(-4, 4),
        top + rng.uniform(3.2, 5),
        rng.uniform(12, 22),
        rng.uniform(3.0, 4.6),
        ((3, 0.08, rng.uniform(0, 6.3)), (5, 0.05, rng.uniform(0, 6.3))),
        rng.uniform(-0.15, 0.15),
    )
    distance, facing = muscle.distance(x, z)
    tissue.paint(inside(distance, 1.2), -9 + 4.5 * fibres, 0.15)
    squarely = np.square(facing)
    tissue.reflect(distance, 14, squarely * squarely)
    bone = muscle.y + muscle.height + rng.uniform(1.0, 4) + 1.1 * wave(rng, x[0], 30)
    distance = z - bone
    tissue.paint(inside(-distance, 0.8), -4 + 2 * fibres, 1.3)
    tissue.reflect(distance, 18)
    tissue.reflect(distance - 0.7, 14)


def _paint_trachea(tissue: Tissue, rng: np.random.Generator, side: int, lobe: Blob, anterior: float) -> None:
    x, z = tissue.x, tissue.z
    radius = rng.uniform(8, 10)
    edge = lobe.x + side * (lobe.width + rng.uniform(-1.5, 1.0))
    ring = Blob(edge + side * radius * 0.95, anterior + radius + rng.uniform(2.0, 4.5), radius, radius * 0.95)
    distance, facing = ring.distance(x, z)
    bridge = inside(np.abs(z - (anterior + 1.6)) - 1.7, 0.4) * inside(-side * (x - lobe.x), 1)  # the isthmus
    tissue.paint(bridge, 0.0)
    tissue.paint(inside(distance, 0.5), -14, 1.3)
    tissue.paint(inside(np.abs(distance + 0.9) - 0.7, 0.4), -13, 0.2)  # cartilage
    squarely = np.square(facing)
    tissue.reflect(distance, 12, squarely)
    for echo in range(1, 4):  # air throws the pulse back and forth
        tissue.reflect(distance + np.float32(1.8 * echo), 26 - 3.0 * echo, squarely * squarely)


def _paint_carotid(tissue: Tissue, rng: np.random.Generator, side: int, lobe: Blob) -> None:
    radius = rng.uniform(2.6, 3.6)
    vessel = Blob(
        lobe.x - side * (lobe.width + radius * rng.uniform(0.75, 1.15)),
        lobe.y + rng.uniform(-0.1, 0.55) * lobe.height,
        radius,
        radius * rng.uniform(0.88, 1.0),
    )
    part = tissue.around(vessel)
    distance, facing = vessel.distance(part.x, part.z)
    part.paint(inside(distance - 0.5, 0.4), 4)
    part.paint(inside(distance, 0.3), FLUID_DB, -0.7)
    part.reflect(distance, 13, np.square(facing))
    if rng.random() < 0.6:
        vein = Blob(
            vessel.x - side * rng.uniform(1, 4),
            vessel.y - radius - rng.uniform(2, 3.2),
            rng.uniform(3, 5),
            rng.uniform(1.1, 2),
        )
        part = tissue.around(vein)
        distance, facing = vein.distance(part.x, part.z)
        part.paint(inside(distance, 0.3), FLUID_DB + 6, -0.4)
        part.reflect(distance, 10, np.square(facing))


def paint_nodule(
    tissue: Tissue, rng: np.random.Generator, nodule: Nodule, centre: tuple[float, float], half: tuple[float, float]
) -> Blob:
    """Paint a nodule with its features at `centre`, with the semi-axes `half`, all in mm; its outline."""
    cell = 1 / tissue.step_mm
    outline = Blob(*centre, *half, _margin_waves(rng, nodule), rng.uniform(-0.1, 0.1))
    tissue = tissue.around(outline)
    distance, facing = outline.distance(tissue.x, tissue.z)
    softness = 0.22 * min(half) if nodule.margin == "ill-defined" else 0.3
    cover = inside(distance, softness)
    uneven = smooth_noise(rng, tissue.echo.shape, (1.6 * cell, 1.6 * cell))
    echo = ECHO_DB[nodule.echogenicity] + rng.normal(0, 1.2)

    if nodule.margin == "smooth" and nodule.composition != "cystic" and rng.random() < 0.65:
        halo = inside(np.abs(distance - 0.35) - rng.uniform(0.3, 0.6), 0.4)
        tissue.paint(halo, echo - 9)
    if nodule.composition == "solid":
        tissue.paint(cover, echo + 1.6 * uneven, 0.12)
    elif nodule.composition == "cystic":
        tissue.paint(cover, FLUID_DB + 3 * uneven, -0.75)
        tissue.reflect(distance, 12, np.square(facing))
    elif nodule.composition == "spongiform":
        pores = smooth_noise(rng, tissue.echo.shape, (0.7 * cell, 1.0 * cell))
        tissue.paint(cover, echo + np.where(pores > -0.1, np.float32(-19), np.float32(4)), -0.15)
    else:
        tissue.paint(cover, echo + 2.5 * uneven, 0.05)
        _paint_lake(tissue, rng, outline, cover)
    if nodule.margin == "smooth":
        tissue.reflect(distance, 10, np.square(np.square(facing)))
    if nodule.foci != "none":
        _FOCI[nodule.foci](tissue, rng, outline)
    return outline


def _margin_waves(rng: np.random.Generator, nodule: Nodule) -> tuple[tuple[int, float, float], ...]:
    waves = [(count, rng.uniform(0.0, 0.035), rng.uniform(0, 6.3)) for count in (2, 3)]
    if nodule.margin == "irregular":
        deep = 0.4 if nodule.composition == "cystic" else 1.0  # fluid rounds its wall
        bulges = rng.choice(range(4, 9), 3, replace=False)  # wide enough to be seen on 48 pixels
        waves += [(int(count), deep * rng.uniform(0.09, 0.15), rng.uniform(0, 6.3)) for count in bulges]
    return tuple(waves)


def _paint_lake(tissue: Tissue, rng: np.random.Generator, outline: Blob, cover: np.ndarray) -> None:
    """The fluid of a mixed nodule: one large space, or two, inside the solid wall."""
    for _ in range(int(rng.integers(1, 3))):
        turn = rng.uniform(0, 2 * np.pi)
        lake = Blob(
            outline.x + 0.3 * outline.width * np.cos(turn),
            outline.y + 0.3 * outline.height * np.sin(turn),
            outline.width * rng.uniform(0.35, 0.6),
            outline.height * rng.uniform(0.35, 0.6),
            ((2, 0.12, rng.uniform(0, 6.3)), (3, 0.1, rng.uniform(0, 6.3)), (5, 0.06, rng.uniform(0, 6.3))),
        )
        distance, facing = lake.distance(tissue.x, tissue.z)
        tissue.paint(inside(distance, 0.4) * cover, FLUID_DB, -0.75)
        tissue.reflect(distance, 8, np.square(facing) * cover)


def _within(rng: np.random.Generator, outline: Blob, reach: float) -> tuple[float, float]:
    turn, radius = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.random())
    return outline.x + outline.width * radius * np.cos(turn), outline.y + outline.height * radius * np.sin(turn)


def _punctate(tissue: Tissue, rng: np.random.Generator, outline: Blob) -> None:
    """Small bright dots without a shadow."""
    for _ in range(int(rng.integers(6, 15))):
        tissue.point(*_within(rng, outline, 0.8), rng.uniform(27, 34))


def _comet_tail(tissue: Tissue, rng: np.random.Generator, outline: Blob) -> None:
    """Bright dots, each with a tail of echoes that tapers off with depth."""
    for _ in range(int(rng.integers(1, 4))):
        x, z = _within(rng, outline, 0.6)
        pitch = rng.uniform(0.7, 0.9)
        for echo in range(int(rng.integers(4, 7))):
            tissue.point(x, z + pitch * echo, 26 - 4.0 * echo)


def _macrocalcification(tissue: Tissue, rng: np.random.Generator, outline: Blob) -> None:
    """A coarse bright arc that lets nothing through."""
    x, z = _within(rng, outline, 0.5)
    half = float(np.clip(rng.uniform(0.15, 0.35) * outline.width, 0.9, 2.4))
    plate = Blob(x, z, half, 0.55, (), rng.uniform(-0.3, 0.3))
    part = tissue.around(plate)
    distance, _ = plate.distance(part.x, part.z)
    part.paint(inside(distance, 0.3), 22, 16)


_FOCI = {"punctate": _punctate, "comet tail": _comet_tail, "macrocalcification": _macrocalcification}
