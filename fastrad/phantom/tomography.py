"""CT and MR slices: abdomen, lung and head in Hounsfield units, brain and knee in MR signal.

In: a generator and a size. Out: a windowed slice, uint8. CT noise is correlated as by a soft
reconstruction kernel; MR has a smooth coil shading and Rician noise (Gudbjartsson and Patz, Magn Reson Med 34:910,
1995).
"""

from __future__ import annotations

import cv2
import numpy as np

from fastrad.phantom.shapes import Blob, inside
from fastrad.phantom.texture import smooth_noise

AIR, FAT, WATER, MUSCLE, BONE = -1000.0, -100.0, 5.0, 55.0, 600.0  # HU


class Slice:
    """One slice being painted; x and y run from -1 to 1, to the right and downwards."""

    def __init__(self, size: int, rng: np.random.Generator, background: float) -> None:
        steps = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - np.float32(1)
        self.x, self.y = np.meshgrid(steps, steps)
        turn, shift = rng.normal(0, 0.05), rng.normal(0, 0.03, 2).astype(np.float32)
        cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        self.x, self.y = self.x * cosine + self.y * sine + shift[0], self.y * cosine - self.x * sine + shift[1]
        self.pixel = 2 / size
        self.value = np.full((size, size), background, np.float32)
        self.rng = rng

    def cover(self, blob: Blob, softness: float | None = None) -> np.ndarray:
        """1 inside the outline, 0 outside, (size, size) float32."""
        cover = np.zeros_like(self.value)
        softness = softness or 1.5 * self.pixel
        box = blob.box(self.x, self.y, softness + self.pixel)
        cover[box] = inside(blob.distance(self.x[box], self.y[box])[0], softness)
        return cover

    def paint(self, cover: Blob | np.ndarray, value: float | np.ndarray) -> None:
        """Lay a tissue over what is there, inside an outline or by a cover."""
        box: tuple[slice, slice] = (slice(None), slice(None))
        if isinstance(cover, Blob):
            box = cover.box(self.x, self.y, 2 * self.pixel)
            cover = inside(cover.distance(self.x[box], self.y[box])[0], 1.5 * self.pixel)
        if isinstance(value, np.ndarray):
            value = value[box]
        self.value[box] += cover * (value - self.value[box])

    def noise(self, cell: float) -> np.ndarray:
        """A smooth random field; `cell` is its grain in pixels of a slice of 128."""
        grain = cell * self.value.shape[0] / 128
        return smooth_noise(self.rng, self.value.shape, (grain, grain))

    def waves(self, amplitude: float, counts: tuple[int, ...] = (2, 3, 4)) -> tuple[tuple[int, float, float], ...]:
        """Bulges for a `Blob`."""
        return tuple((count, self.rng.uniform(0, amplitude), self.rng.uniform(0, 6.3)) for count in counts)

    def ct(self, level: float, width: float, noise_hu: float) -> np.ndarray:
        """Add noise and show the window, (size, size) uint8."""
        noise = cv2.GaussianBlur(self.rng.standard_normal(self.value.shape, dtype=np.float32), (0, 0), 0.8)
        shown = cv2.GaussianBlur(self.value, (0, 0), 0.6) + noise * np.float32(noise_hu / 0.35)
        return np.clip((shown - (level - width / 2)) * (255 / width), 0, 255).round().astype(np.uint8)

    def mr(self, noise: float) -> np.ndarray:
        """Add coil shading and Rician noise and scale signal 1 to 230, (size, size) uint8."""
        slope = self.rng.uniform(-0.3, 0.3, 2)
        shading = np.exp(np.float32(slope[0]) * self.x + np.float32(slope[1]) * self.y) * (1 + 0.06 * self.noise(60))
        signal = cv2.GaussianBlur(self.value, (0, 0), 0.6) * shading
        grain = self.rng.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(noise)
        return np.clip(cv2.magnitude(signal + grain[0], grain[1]) * 230, 0, 255).round().astype(np.uint8)


def ct_abdomen(rng: np.random.Generator, size: int, lesion: bool) -> np.ndarray:
    """Upper abdomen after contrast: liver, spleen, kidneys, stomach, bowel, spine; optionally foci in the liver."""
    image = Slice(size, rng, AIR)
    wide, tall = rng.uniform(0.82, 0.92), rng.uniform(0.58, 0.7)
    image.paint(np.abs(image.y - (0.8 + 0.08 * np.square(image.x))) < 0.012, -300)  # the table
    image.paint(Blob(0, 0, wide, tall, ((2, 0.02, 0), (4, 0.03, np.pi))), FAT)
    rind = rng.uniform(0.05, 0.13)
    wall = Blob(0, 0, wide - rind, tall - rind, ((4, 0.03, np.pi),))
    image.paint(wall, MUSCLE)
    image.paint(Blob(0, 0, wall.width - 0.06, wall.height - 0.06, ((4, 0.03, np.pi),)), FAT + 8 * image.noise(3))
    for side in (-1, 1):
        image.paint(Blob(side * 0.17, wall.height * 0.74, 0.13, 0.12), MUSCLE)
    for turn in np.linspace(0.15, 2.99, 7):
        for side in (-1, 1):
            x, y = side * (wall.width - 0.03) * np.sin(turn), -(wall.height - 0.03) * np.cos(turn)
            if rng.random() < 0.75:
                image.paint(Blob(x, y, 0.045, 0.022, tilt=np.arctan2(y, x) + np.pi / 2), BONE)
    _vertebra(image, 0.0, wall.height * 0.62)
    for _ in range(int(rng.integers(5, 11))):
        loop = Blob(
            rng.uniform(-0.1, 0.5),
            rng.uniform(-0.3, 0.15),
            rng.uniform(0.05, 0.1),
            rng.uniform(0.05, 0.1),
            image.waves(0.15),
        )
        image.paint(loop, rng.uniform(30, 70))
        if rng.random() < 0.35:
            image.paint(Blob(loop.x, loop.y - 0.02, loop.width * 0.5, loop.height * 0.4), -800)
    phase = rng.uniform(0, 1)
    for side in (-1, 1):
        if rng.random() < 0.85:
            _ct_kidney(image, side, wall, phase)
    image.paint(Blob(0.09, wall.height * 0.36, 0.065, 0.065), 130 + 90 * phase)  # aorta
    image.paint(Blob(-0.12, wall.height * 0.36, 0.075, 0.06), 100 + 50 * phase)  # vena cava
    stomach = Blob(
        0.36, -0.24, rng.uniform(0.18, 0.3), rng.uniform(0.11, 0.18), image.waves(0.1), rng.uniform(-0.5, 0.3)
    )
    image.paint(stomach, 70)
    fluid = Blob(stomach.x, stomach.y, stomach.width - 0.035, stomach.height - 0.035, stomach.waves, stomach.tilt)
    content = image.cover(fluid)
    image.paint(content, 15 + 10 * image.noise(3))
    image.paint(content * (image.y < stomach.y - rng.uniform(0, 0.08)), -900)
    image.paint(Blob(0.58 * wide / 0.87, 0.13, 0.15, 0.22, image.waves(0.07), 0.3), 95 + 35 * phase)  # spleen
    liver = Blob(
        -0.36 * wide / 0.87, -0.08, 0.4, 0.35, ((2, 0.1, rng.uniform(2.6, 3.6)), (3, 0.1, rng.uniform(0, 6.3))), 0.3
    )
    body = image.cover(liver) * image.cover(Blob(0, 0, wall.width - 0.075, wall.height - 0.075))
    image.paint(body, 75 + 40 * phase)
    for _ in range(int(rng.integers(4, 9))):
        vessel = Blob(
            liver.x + rng.normal(0, 0.13),
            liver.y + rng.normal(0, 0.12),
            rng.uniform(0.02, 0.09),
            0.017,
            (),
            rng.uniform(-1, 1),
        )
        image.paint(image.cover(vessel) * body, 100 + 70 * phase)
    if lesion:
        for _ in range(int(rng.integers(1, 5))):
            focus = Blob(
                liver.x + rng.normal(0, 0.12),
                liver.y + rng.normal(0, 0.11),
                rng.uniform(0.04, 0.12),
                rng.uniform(0.04, 0.12),
                image.waves(0.1),
            )
            image.paint(image.cover(focus, 0.03) * body, rng.uniform(10, 60))
    return image.ct(rng.uniform(40, 70), rng.uniform(330, 430), rng.uniform(9, 18))


def _ct_kidney(image: Slice, side: int, wall: Blob, phase: float) -> None:
    rng = image.rng
    kidney = Blob(side * rng.uniform(0.36, 0.44), wall.height * 0.5, 0.12, 0.15, image.waves(0.06), side * 0.4)
    image.paint(kidney, 130 + 80 * phase)
    image.paint(Blob(kidney.x - side * 0.05, kidney.y, 0.06, 0.06, image.waves(0.2, (3, 5))), FAT + 30)


def _vertebra(image: Slice, x: float, y: float) -> None:
    rng = image.rng
    image.paint(Blob(x, y + 0.14, 0.13, 0.05, ((3, 0.3, np.pi / 2),)), BONE * 0.8)
    image.paint(Blob(x, y, 0.14, 0.11), BONE)
    image.paint(Blob(x, y, 0.115, 0.085), 230 + 50 * image.noise(2))
    image.paint(Blob(x, y + 0.135, 0.055, 0.045), 30)
    image.paint(Blob(x, y + 0.23, 0.02, 0.07), BONE * rng.uniform(0.6, 1))
    for side in (-1, 1):
        image.paint(Blob(x + side * 0.17, y + 0.12, 0.09, 0.022, (), side * 0.3), BONE * 0.8)


def ct_lung(rng: np.random.Generator, size: int, nodule: bool) -> np.ndarray:
    """Chest in the lung window: lungs with vessels, heart, aorta, ribs, spine; optionally with nodules."""
    image = Slice(size, rng, AIR)
    wide, tall = rng.uniform(0.84, 0.93), rng.uniform(0.6, 0.7)
    image.paint(Blob(0, 0, wide, tall, ((4, 0.03, np.pi),)), FAT)
    chest = Blob(0, 0, wide - 0.07, tall - 0.06, ((4, 0.03, np.pi),))
    image.paint(chest, MUSCLE)
    cavity = image.cover(Blob(0, -0.01, chest.width - 0.09, chest.height - 0.09, ((4, 0.03, np.pi),)))
    lungs = np.zeros_like(cavity)
    for side in (-1, 1):
        lung = Blob(side * rng.uniform(0.39, 0.43), 0.0, 0.34, 0.5, ((2, 0.05, 0), (3, 0.06, 0 if side > 0 else np.pi)))
        lungs = np.maximum(lungs, image.cover(lung) * cavity)
    lungs *= 1 - image.cover(
        Blob(rng.uniform(0.08, 0.2), -0.1, rng.uniform(0.16, 0.3), rng.uniform(0.15, 0.28), image.waves(0.08))
    )
    density = -870 + 35 * image.noise(14) + 60 * image.y
    image.paint(lungs, density)
    image.paint(lungs, _lung_vessels(image, density))
    for turn in np.linspace(0.3, 2.9, 8):
        for side in (-1, 1):
            x, y = side * (chest.width - 0.045) * np.sin(turn), -(chest.height - 0.045) * np.cos(turn)
            image.paint(Blob(x, y, 0.06, 0.022, (), np.arctan2(y, x) + np.pi / 2), BONE)
    image.paint(Blob(0.1, 0.24, 0.06, 0.06), 120)
    image.paint(Blob(0.0, 0.02, 0.045, 0.05), -950)  # trachea
    _vertebra(image, 0.0, 0.36)
    if nodule:
        for _ in range(int(rng.integers(1, 4))):
            side = rng.choice([-1, 1])
            radius = rng.uniform(0.045, 0.11)
            focus = Blob(
                side * rng.uniform(0.35, 0.55),
                rng.uniform(-0.25, 0.25),
                radius,
                radius * rng.uniform(0.8, 1.2),
                image.waves(0.12, (3, 5, 8)),
            )
            image.paint(image.cover(focus, 0.025) * np.clip(lungs * 2, 0, 1), rng.uniform(-120, 60))
    return image.ct(rng.uniform(-600, -450), rng.uniform(1300, 1600), rng.uniform(20, 45))


def _lung_vessels(image: Slice, density: np.ndarray) -> np.ndarray:
    """Density with vessels that leave each hilum, branch and thin out."""
    size = len(image.value)
    canvas = np.zeros((size, size), np.float32)
    rng = image.rng

    def grow(x: float, y: float, heading: float, width: float) -> None:
        for _ in range(int(rng.integers(3, 6))):
            ahead = (x + 0.055 * np.cos(heading), y + 0.055 * np.sin(heading))
            ends = [tuple(int((c + 1) / 2 * size * 16) for c in point) for point in ((x, y), ahead)]
            cv2.line(canvas, ends[0], ends[1], min(1.0, width / 1.6), max(1, round(width * size / 128)), cv2.LINE_AA, 4)
            (x, y), heading, width = ahead, heading + rng.normal(0, 0.25), width * 0.9
        if width > 0.55:
            for turn in (-1, 1):
                grow(x, y, heading + turn * rng.uniform(0.3, 0.7), width * 0.72)

    for side in (-1, 1):
        for heading in np.linspace(-1.4, 1.4, 6) + rng.normal(0, 0.15, 6):
            grow(side * 0.2, 0.0, heading if side > 0 else np.pi - heading, rng.uniform(1.6, 2.6))
    for x, y in rng.uniform(-0.65, 0.65, (int(rng.integers(60, 110)), 2)):  # vessels cut across
        centre = (int((x + 1) / 2 * size * 16), int((y + 1) / 2 * size * 16))
        cv2.circle(
            canvas, centre, int(rng.uniform(0.3, 0.9) * size / 128 * 16), rng.uniform(0.3, 0.8), -1, cv2.LINE_AA, 4
        )
    return density + canvas * (20 - density)


def _brain(image: Slice, skull: Blob, gray: float, white: float, fluid: float) -> np.ndarray:
    """Cortex with sulci, white matter, the lateral ventricles and the deep nuclei; returns the brain's cover."""
    rng = image.rng
    inner = Blob(skull.x, skull.y, skull.width - 0.07, skull.height - 0.07, skull.waves)
    distance = inner.distance(image.x, image.y)[0]
    brain = inside(distance, 1.5 * image.pixel)
    image.paint(brain, gray)
    folds = image.noise(7)
    depth = -distance + 0.035 * folds
    image.paint(inside(0.1 - depth, 0.05), white)  # white matter
    sulci = inside(np.abs(image.noise(9)) - 0.12, 0.2) * inside(depth - 0.13, 0.05) * brain
    image.paint(sulci * rng.uniform(0.3, 0.9), fluid)
    image.paint(
        brain * inside(np.abs(image.x - skull.x) - 0.008, 0.015) * inside(0.25 - np.abs(image.y - skull.y), 0.05), fluid
    )
    opening = rng.uniform(0.8, 1.5)
    for side in (-1, 1):
        nuclei = Blob(side * 0.21, skull.y + 0.04, 0.085, 0.15, image.waves(0.06), side * 0.25)
        image.paint(image.cover(nuclei, 0.04), gray)
        horn = Blob(side * 0.075 * opening, skull.y - 0.14, 0.035 * opening, 0.13, (), -side * 0.3)
        image.paint(horn, fluid)
        image.paint(Blob(side * 0.13 * opening, skull.y + 0.24, 0.035 * opening, 0.12, (), side * 0.45), fluid)
    image.paint(Blob(0, skull.y + 0.06, 0.014 * opening, 0.09), fluid)
    return brain


def ct_head(rng: np.random.Generator, size: int, bleed: bool) -> np.ndarray:
    """Head in the brain window; optionally with blood in the brain or along the skull."""
    image = Slice(size, rng, AIR)
    skull = Blob(0, 0, rng.uniform(0.56, 0.66), rng.uniform(0.72, 0.82), ((3, 0.02, np.pi / 2), (4, 0.015, 0)))
    image.paint(Blob(0, 0, skull.width + 0.05, skull.height + 0.05, skull.waves), 20)
    image.paint(skull, 1000)
    brain = _brain(image, skull, gray=rng.uniform(36, 40), white=rng.uniform(27, 31), fluid=6)
    if bleed:
        side = rng.choice([-1, 1])
        if rng.random() < 0.5:
            x, y = side * rng.uniform(0.15, 0.35), rng.uniform(-0.3, 0.35)
            width, height = rng.uniform(0.07, 0.19, 2)
            image.paint(image.cover(Blob(x, y, width * 1.6, height * 1.6, image.waves(0.12)), 0.08) * brain, 20)
            image.paint(
                image.cover(Blob(x, y, width, height, image.waves(0.12, (2, 3, 5)))) * brain, rng.uniform(58, 75)
            )
        else:
            shift = rng.uniform(0.08, 0.2)
            hollow = Blob(-side * shift, rng.uniform(-0.1, 0.1), skull.width - 0.04, skull.height - 0.02)
            image.paint((1 - image.cover(hollow)) * brain * (side * image.x > 0), rng.uniform(55, 72))
    return image.ct(rng.uniform(35, 42), rng.uniform(75, 95), rng.uniform(2.2, 4))


def mr_brain(rng: np.random.Generator, size: int, lesion: bool) -> np.ndarray:
    """Brain, T2-weighted or FLAIR; optionally with a bright lesion and its oedema."""
    image = Slice(size, rng, 0.02)
    fluid = 0.95 if rng.random() < 0.5 else 0.12
    skull = Blob(0, 0, rng.uniform(0.58, 0.68), rng.uniform(0.74, 0.84), ((3, 0.02, np.pi / 2), (4, 0.02, 0)))
    image.paint(Blob(0, 0, skull.width + 0.08, skull.height + 0.08, skull.waves), rng.uniform(0.5, 0.8))
    image.paint(Blob(0, 0, skull.width + 0.015, skull.height + 0.015, skull.waves), 0.05)
    image.paint(Blob(0, 0, skull.width - 0.05, skull.height - 0.05, skull.waves), 0.6 * fluid)
    brain = _brain(image, skull, gray=rng.uniform(0.52, 0.62), white=rng.uniform(0.34, 0.44), fluid=fluid)
    if lesion:
        x, y = rng.choice([-1, 1]) * rng.uniform(0.15, 0.38), rng.uniform(-0.4, 0.4)
        width, height = rng.uniform(0.08, 0.2, 2)
        image.paint(
            image.cover(Blob(x, y, width * 1.7, height * 1.7, image.waves(0.2, (2, 3, 5, 7))), 0.08) * brain, 0.78
        )
        image.paint(image.cover(Blob(x, y, width, height, image.waves(0.1, (2, 3, 5)))) * brain, rng.uniform(0.55, 1.0))
        if rng.random() < 0.5:
            image.paint(
                image.cover(Blob(x, y, width * 0.5, height * 0.5, image.waves(0.2))) * brain, rng.uniform(0.1, 0.4)
            )
    return image.mr(rng.uniform(0.015, 0.045))


def mr_knee(rng: np.random.Generator, size: int, effusion: bool) -> np.ndarray:
    """Sagittal knee, fat bright; optionally with fluid above and behind the patella."""
    image = Slice(size, rng, 0.02)
    middle = 0.05 * np.sin(2.5 * image.y + rng.uniform(0, 6))
    image.paint(inside(np.abs(image.x - middle) - (0.62 + 0.06 * np.cos(2 * image.y)), 2 * image.pixel), 0.85)
    muscle = inside(np.abs(image.x - 0.08 - middle) - 0.5, 0.05) * inside(-np.abs(image.y) + 0.3 - 0.1 * image.x, 0.2)
    image.paint(muscle, 0.36 + 0.05 * image.noise(4))
    joint = rng.uniform(-0.02, 0.08)
    marrow = 0.72 + 0.03 * image.noise(5)
    if effusion:
        pouch = Blob(-0.36, joint - 0.48, rng.uniform(0.07, 0.14), rng.uniform(0.2, 0.32), image.waves(0.12), 0.15)
        image.paint(pouch, 1.0)
        image.paint(Blob(-0.3, joint - 0.18, rng.uniform(0.08, 0.14), rng.uniform(0.12, 0.2), image.waves(0.1)), 1.0)
        image.paint(Blob(0.42, joint, 0.07, rng.uniform(0.1, 0.2), image.waves(0.15)), 0.95)
    condyle = Blob(0.05, joint - 0.27, 0.35, 0.27, image.waves(0.03))
    plateau = Blob(0.05, joint + 0.22, 0.37, 0.2, ((4, 0.06, 0),))
    shaft_up = inside(np.abs(image.x - 0.05) - 0.2, 0.02) * inside(image.y - condyle.y, 0.02)
    shaft_down = inside(np.abs(image.x - 0.05) - 0.21, 0.02) * inside(plateau.y - image.y, 0.02)
    for grow, value in ((0.045, 0.55), (0.018, 0.06), (-0.012, None)):  # cartilage, cortex, marrow
        upper = image.cover(Blob(condyle.x, condyle.y, condyle.width + grow, condyle.height + grow, condyle.waves))
        lower = image.cover(Blob(plateau.x, plateau.y, plateau.width + grow, plateau.height + grow, plateau.waves))
        narrow = min(grow, 0.018)
        shafts = np.maximum(
            inside(np.abs(image.x - 0.05) - 0.2 - narrow, 0.02) * (shaft_up > 0),
            inside(np.abs(image.x - 0.05) - 0.21 - narrow, 0.02) * (shaft_down > 0),
        )
        image.paint(
            np.maximum(np.maximum(upper, lower), shafts if grow < 0.04 else 0), marrow if value is None else value
        )
    for side in (-1, 1):  # menisci
        image.paint(Blob(0.05 + side * 0.27, joint, 0.08, 0.035, ((3, 0.3, 0 if side < 0 else np.pi),)), 0.05)
    patella = Blob(-0.47, joint - 0.3, 0.085, 0.17, image.waves(0.05), 0.1)
    image.paint(Blob(patella.x, patella.y, patella.width + 0.02, patella.height + 0.02, patella.waves, 0.1), 0.06)
    image.paint(Blob(patella.x, patella.y, patella.width - 0.01, patella.height - 0.01, patella.waves, 0.1), marrow)
    image.paint(Blob(-0.5, joint + 0.1, 0.022, 0.26, (), -0.12), 0.08)  # patellar tendon
    image.paint(Blob(-0.47, joint - 0.72, 0.025, 0.28, (), -0.05), 0.08)  # quadriceps tendon
    image.paint(Blob(0.1, joint - 0.01, 0.03, 0.17, (), 0.9), 0.12)  # cruciate ligament
    return image.mr(rng.uniform(0.015, 0.04))
