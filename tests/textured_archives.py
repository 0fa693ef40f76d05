"""Archives of pictures that have nothing in common, as files, and what `convert` makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from fastrad.archives.manifest import Manifest
from fastrad.convert.run import ConvertOptions, convert


def picture(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """Smooth noise of several sizes, as no two pictures have it alike; bright up to its edges."""
    rng = np.random.default_rng(seed)
    values = sum(cv2.GaussianBlur(rng.normal(size=(height, width)), (0, 0), size) * size for size in (4, 12, 40))
    return cv2.normalize(values, None, 40, 250, cv2.NORM_MINMAX).astype(np.uint8)


def padded(image: np.ndarray) -> np.ndarray:
    """In the middle of a black square."""
    side = max(image.shape)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    return square


def converted(
    folder: Path,
    pictures: Iterable[np.ndarray],
    labels: Sequence[str],
    *,
    patient: Callable[[int], str] = "patient{}".format,
    **options,
) -> Path:
    """Write pictures as PNG, convert them, and return the folder of `all.beton`; a patient an image."""
    root = folder / "archive"
    root.mkdir(parents=True)
    paths = []
    for number, image in enumerate(pictures):
        paths.append(f"{number:03d}.png")
        cv2.imwrite(str(root / paths[-1]), image)
    patients = [patient(number) for number in range(len(paths))]
    manifest = Manifest.from_columns(root, "table", path=paths, label=list(labels), patient=patients)
    key = folder / "pseudonym.key"
    key.write_text("cd" * 32)
    chosen = {"size": 64, "workers": 1, "pseudonym_key": key, **options}
    convert(manifest, folder / "converted", ConvertOptions(**chosen))
    return folder / "converted"
