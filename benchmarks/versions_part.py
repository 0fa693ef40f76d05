"""The measurements of `versions.py` in one version of fastrad, by names that both versions have.

In: a folder for images and datasets. Out: one line of JSON on stdout, rates per second.
"""

from __future__ import annotations

import contextlib
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

IMAGES, SIDE = 1500, 224
TRAINING = ["--epochs", "1", "--batch-size", "64", "--size", "64", "--seed", "0", "--device", "cpu"]


def make_archive(root: Path, images: int, seed: int) -> None:
    """Smooth pictures with speckle, in class folders."""
    import cv2

    draw = np.random.default_rng(seed)
    for number in range(images):
        coarse = draw.integers(0, 255, (14, 14), dtype=np.uint8)
        picture = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        picture = cv2.add(picture, draw.integers(0, 24, (SIDE, SIDE), dtype=np.uint8))
        path = root / f"class{number % 4}" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)


def fastrad(*words: str | Path) -> float:
    """Run a command; seconds that it took."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "fastrad", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def convert(root: Path, out: Path, encode: str) -> float:
    """Convert class folders anew; seconds that it took."""
    for file in out.glob("*") if out.is_dir() else ():
        file.unlink()
    words = ["convert", "thyroid", root, out, "--layout", "folder", "--size", str(SIDE), "--encode", encode]
    return fastrad(*words, "--keep-patient-ids")


def loading_rate(path: Path, engine: str, *, train: bool, seconds: float = 1.5) -> float:
    """Images a second over whole epochs, the first one left out."""
    from fastrad import Loader

    loader = Loader(path, 256, engine=engine, size=SIDE, train=train, workers=2)
    for _ in loader:
        pass
    count, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        for batch in loader:
            count += len(batch.rows)
    return count / (time.monotonic() - began)


def main() -> None:
    """Measure and print."""
    folder = Path(sys.argv[1])
    root, held_out = folder / "archive", folder / "held-out"
    if not root.is_dir():
        make_archive(held_out, 64, seed=1)
        make_archive(folder / "unfinished", IMAGES, seed=0)
        (folder / "unfinished").rename(root)
        convert(held_out, folder / "val", "raw")
    rates = {f"convert to {encode}": IMAGES / convert(root, folder / encode, encode) for encode in ("raw", "jpeg")}
    with contextlib.redirect_stdout(sys.stderr):
        raw, jpeg = folder / "raw" / "all.beton", folder / "jpeg" / "all.beton"
        rates["load A raw"] = loading_rate(raw, "ffcv", train=False)
        rates["load B raw"] = loading_rate(raw, "ffcv", train=True)
        rates["load B raw, resident"] = loading_rate(raw, "resident", train=True)
        rates["load B jpeg"] = loading_rate(jpeg, "ffcv", train=True)
    run = folder / "run"
    if run.is_dir():
        subprocess.run(["rm", "-r", str(run)], check=True)
    fastrad("pretrain", raw, "--val", folder / "val" / "all.beton", "--out", run, *TRAINING)
    with open(run / "metrics.csv", newline="") as file:
        rates["pretrain float32"] = float(next(csv.DictReader(file))["images_per_second"])
    import fastrad as package

    print(json.dumps({"package": package.__file__, **rates}))


if __name__ == "__main__":
    main()
