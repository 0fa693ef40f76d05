"""Fingerprints: how fast images are looked up among 1.35 million, in how much memory, and what is taken for another.

    python benchmarks/fingerprints.py speed [--images 1350000] [--asked 5000] [--out FILE.json]
    python benchmarks/fingerprints.py matches ARCHIVE ARCHIVE... [--most 1000] [--out FILE.json]

`speed` makes fingerprints up: their hashes lie in clusters, as those of one organ do, so that far more pairs are looked
at than chance would give. `matches` takes folders of images that share nothing (two at least). On the even images of
each it shows how many pairs of different archives each limit would take for one; on the odd ones it judges the limits
that `fastrad.dataset.lookup` has. It also changes some images (size, padding, JPEG, window) and counts what is found.
"""

from __future__ import annotations

import argparse
import json
import resource
import struct
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from provenance import commit, processor

from fastrad.dataset.fingerprints import Fingerprints, read_fingerprints
from fastrad.dataset.lookup import CONFIRMED, HASH_BITS, POSSIBLE, SAME, Lookup, code_distances
from fastrad.dataset.pixels import FINGERPRINT, FingerprintMaker
from fastrad.imaging import read_values
from fastrad.imaging.walk import walk_images

_AT_ONCE = 1 << 16
_CLUSTERS, _TURNED = 500, 14  # hashes of made-up images: bits turned in one of so many patterns


def _hashes(count: int, rng: np.random.Generator, centres: np.ndarray) -> np.ndarray:
    turned = np.zeros(count, np.uint64)
    for _ in range(_TURNED):
        turned ^= np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64)
    return centres[rng.integers(0, len(centres), count)] ^ turned


def _made_up(path: Path, images: int) -> None:
    """A file of fingerprints, six of ten images with a sketch without border."""
    rng = np.random.default_rng(0)
    centres = rng.integers(0, 2**63, _CLUSTERS, dtype=np.uint64)
    count = images + int(0.6 * images)
    with open(path, "wb") as file:
        file.write(struct.pack("<8sIIQQ", b"fastrad\0", 1, 0, images, count))
        file.write(rng.integers(1, 2**63, images, dtype=np.uint64).tobytes())
        file.write(np.sort(np.r_[np.arange(images), np.arange(count - images)]).astype("<u4").tobytes())
        file.write(_hashes(count, rng, centres).tobytes())
        for begin in range(0, count, _AT_ONCE):
            codes = rng.integers(0, 2**63, (min(_AT_ONCE, count - begin), 16), dtype=np.uint64)
            file.write((codes & rng.integers(0, 2**63, codes.shape, dtype=np.uint64)).tobytes())


def speed(images: int, asked: int) -> dict:
    """Seconds and memory of looking `asked` images up, twenty of which are there with three bits of the hash turned."""
    import hashlib

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made-up.fingerprints"
        maker = get_context("spawn").Process(target=_made_up, args=(path, images))  # its memory is not the look-up's
        maker.start()
        maker.join()
        with open(path, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        rng = np.random.default_rng(1)
        table = np.zeros(asked, FINGERPRINT)
        table["digest"], table["sketches"] = rng.integers(1, 2**63, asked), 2
        centres = np.random.default_rng(0).integers(0, 2**63, _CLUSTERS, dtype=np.uint64)
        table["hash"] = _hashes(2 * asked, rng, centres).reshape(asked, 2)
        table["code"] = rng.integers(0, 2**63, (asked, 2, 16), dtype=np.uint64)
        known = read_fingerprints(path, sha256)
        first = next(known.sketches())
        table["hash"][:20, 0], table["code"][:20, 0] = first.hashes[:20] ^ np.uint64(0b10101), first.codes[:20]
        Lookup(Fingerprints.of(table[:50])).among(Fingerprints.of(table[:50]))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, cpu = time.perf_counter(), time.process_time()
        known = read_fingerprints(path, sha256)
        levels = Lookup(Fingerprints.of(table)).among(known)
        spent = time.perf_counter() - began, time.process_time() - cpu
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
        return {
            "images": images,
            "asked": asked,
            "file_megabytes": round(path.stat().st_size / 1e6, 1),
            "seconds": round(spent[0], 2),
            "cpu_seconds": round(spent[1], 2),
            "megabytes_more": round(memory, 1),
            "found": int((levels[:20] >= CONFIRMED).sum()),
        }


def _frames(folder: Path, most: int) -> list[np.ndarray]:
    paths = [path for path, reason in walk_images(folder) if not reason]
    frames = []
    for path in paths[:: max(1, len(paths) // most)]:
        values = read_values(folder / path)
        frames.append(values.pixels if values.source is None else values.source)
    return frames


def _table(frames: list[np.ndarray]) -> np.ndarray:
    maker = FingerprintMaker(len(frames))
    for frame in frames:
        maker.add(frame)
    return maker.table


def _padded(image: np.ndarray) -> np.ndarray:
    side = max(image.shape)
    square = np.zeros((side, side), image.dtype)
    top, left = (side - image.shape[0]) // 2, (side - image.shape[1]) // 2
    square[top : top + image.shape[0], left : left + image.shape[1]] = image
    return cv2.resize(square, (224, 224), interpolation=cv2.INTER_AREA)


def _jpeg(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_GRAYSCALE)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "224 x 224": lambda image: cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR),
    "96 x 96": lambda image: cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA),
    "padded to 224 x 224": _padded,
    "JPEG, quality 60": _jpeg,
    "padded, JPEG": lambda image: _jpeg(_padded(image)),
    "window 20 to 220": lambda image: np.clip((image.astype(np.float32) - 20) * 255 / 200, 0, 255).astype(np.uint8),
    "gamma 0.8": lambda image: (255 * (image / 255) ** 0.8).astype(np.uint8),
    "mirrored": lambda image: image[:, ::-1],
    "mirrored, padded to 224 x 224": lambda image: _padded(image[:, ::-1]),
    "1 % cut off": lambda image: image[image.shape[0] // 100 + 1 :, image.shape[1] // 100 + 1 :],
}


def _pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Distances of the codes of all pairs whose hashes are alike, as they are or with one image mirrored."""
    lookup = Lookup(Fingerprints.of(one))
    found: list[np.ndarray] = [np.empty(0)]
    for stretch in Fingerprints.of(other).sketches():
        for theirs, ours in lookup._near(stretch.hashes):
            found.append(code_distances(stretch.codes[theirs], lookup._sketches.codes[ours]))
    return np.concatenate(found)


def matches(archives: list[Path], most: int) -> dict:
    """False matches between archives that share nothing, chosen on one half and judged on the other, and recall."""
    frames = {archive: _frames(archive, most) for archive in archives}
    tables = {archive: _table(each) for archive, each in frames.items()}
    report: dict = {"hash_bits": HASH_BITS, "archives": {each.name: len(frames[each]) for each in archives}}
    for name, begin in (("chosen on", 0), ("judged on", 1)):
        alike, images, levels = [np.empty(0)], 0, np.empty(0, np.uint8)
        for one, other in combinations(archives, 2):
            first, second = tables[one][begin::2], tables[other][begin::2]
            images += len(first) * len(second)
            alike.append(_pairs(first, second))
            levels = np.r_[levels, Lookup(Fingerprints.of(first)).among(Fingerprints.of(second))]
        distances = np.concatenate(alike)
        report[name] = {
            "pairs_of_images": images,
            "pairs_of_alike_hashes": len(distances),
            "least_distance": round(float(distances.min()), 3) if len(distances) else None,
            "pairs_within": {f"{limit:.2f}": int((distances <= limit).sum()) for limit in np.arange(0.05, 0.51, 0.05)},
            "images_looked_up": len(levels),
            "images_confirmed": int((levels == CONFIRMED).sum()),
            "images_the_same": int((levels == SAME).sum()),
            "images_possible": int((levels == POSSIBLE).sum()),
        }
    report["found_after_a_change"] = {
        archive.name: {name: _recall(tables[archive], each, change) for name, change in CHANGES.items()}
        for archive, each in frames.items()
    }
    return report


def _recall(table: np.ndarray, frames: list[np.ndarray], change: Callable[[np.ndarray], np.ndarray]) -> dict:
    chosen = [each for each in range(1, len(frames), 5) if frames[each].dtype == np.uint8 and table["sketches"][each]]
    if not chosen:
        return {"images": 0}
    changed = _table([np.ascontiguousarray(change(frames[each])) for each in chosen])
    levels = Lookup(Fingerprints.of(changed)).among(Fingerprints.of(table[chosen]))
    return {
        "images": len(chosen),
        "confirmed": int((levels >= CONFIRMED).sum()),
        "possible": int((levels == POSSIBLE).sum()),
    }


def main() -> None:
    """Measure, print, and write where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("speed", "matches"))
    parser.add_argument("archives", nargs="*", type=Path)
    parser.add_argument("--images", type=int, default=1_350_000)
    parser.add_argument("--asked", type=int, default=5000)
    parser.add_argument("--most", type=int, default=1000, help="images of an archive")
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    found = speed(words.images, words.asked) if words.part == "speed" else matches(words.archives, words.most)
    text = json.dumps({"commit": commit(), "processor": processor(), words.part: found}, indent=1)
    print(text)
    if words.out is not None:
        words.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
