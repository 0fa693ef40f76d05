"""One pass over every stored image: what is needed to find copies and blanks, one line per sample, no pixel kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from fastrad.dataset import Dataset
from fastrad.dataset.opening import reopened
from fastrad.dataset.pixels import pixel_digest
from fastrad.system.processes import WorkerPool
from fastrad.system.progress import track

CHUNK = 512
# A stored ultrasound frame uses most gray levels; two levels or one value on all but a thousandth of it say nothing.
BLANK_DEVIATION = 2.0
BLANK_SHARE = 0.999
_HASHED = 32  # pixels a side


def describe_samples(datasets: Sequence[Dataset], workers: int) -> pd.DataFrame:
    """Read every sample once.

    Parameters
    ----------
    datasets : sequence of Dataset
    workers : int
        Processes that decode.

    Returns
    -------
    pandas.DataFrame
        Columns `dataset` (position in `datasets`), `index` (position in the file), `row`, `label` (class name),
        `patient` (pseudonym or ""), `split`, `digest` (`pixel_digest`, hex), `phash` (uint64),
        `deviation` (standard deviation of the pixels, gray levels), `blank` (bool).
    """
    jobs = [
        (str(dataset.path), number, start, min(start + CHUNK, len(dataset)))
        for number, dataset in enumerate(datasets)
        for start in range(0, len(dataset), CHUNK)
    ]
    parts: list[list[tuple[str, int, float, bool]]] = []
    with track("audit: reading", sum(len(dataset) for dataset in datasets)) as progress:
        for part in _in_processes(jobs, workers):
            progress.advance(len(part))
            parts.append(part)
    frames = []
    measured = [line for part in parts for line in part]
    for number, dataset in enumerate(datasets):
        card = dataset.card
        patients = np.array([*card.patients, ""], dtype=object)
        frames.append(
            pd.DataFrame(
                {
                    "dataset": number,
                    "index": np.arange(len(dataset)),
                    "row": np.asarray(dataset.rows),
                    "label": np.array(card.classes, dtype=object)[np.asarray(dataset.labels)],
                    # -1, the mark of an unknown patient, picks the empty string at the end.
                    "patient": patients[np.asarray(dataset.patients)],
                    "split": card.split or card.name,
                }
            )
        )
    table = pd.concat(frames, ignore_index=True)
    table["digest"] = [line[0] for line in measured]
    table["phash"] = np.array([line[1] for line in measured], dtype=np.uint64)
    table["deviation"] = [line[2] for line in measured]
    table["blank"] = [line[3] for line in measured]
    return table


def _in_processes(jobs: list[tuple[str, int, int, int]], workers: int) -> Iterator[list[tuple[str, int, float, bool]]]:
    if workers <= 1 or len(jobs) == 1:
        yield from map(_describe_chunk, jobs)
        return
    with WorkerPool(min(workers, len(jobs)), "spawn") as pool:
        yield from pool.map(_describe_chunk, jobs)


def _describe_chunk(job: tuple[str, int, int, int]) -> list[tuple[str, int, float, bool]]:
    path, _, start, stop = job
    dataset = reopened(path)
    described = []
    for index in range(start, stop):
        dataset.check(index)
        described.append(describe_image(dataset.decode(index)))
    return described


def describe_image(image: np.ndarray) -> tuple[str, int, float, bool]:
    """Digest, perceptual hash (64 bits), standard deviation and blankness of one (H, W) uint8 image."""
    phash = perceptual_hash(image)
    deviation = float(image.std())
    share = np.bincount(image.ravel(), minlength=256).max() / image.size
    return pixel_digest(image).hex(), phash, deviation, bool(deviation < BLANK_DEVIATION or share > BLANK_SHARE)


def perceptual_hash(image: np.ndarray) -> int:
    """64 bits that stay when an image is scaled, compressed or brightened.

    They say which of the 8 x 8 lowest coefficients of the cosine transform of the image at 32 x 32 pixels lie above
    their median: the hash `phash` of the library ImageHash, bit for bit.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) uint8.

    Returns
    -------
    int
        0 to 2**64 - 1.
    """
    from PIL import Image
    from scipy.fft import dct

    small = np.asarray(Image.fromarray(image).resize((_HASHED, _HASHED), Image.Resampling.LANCZOS), dtype=np.float64)
    low = dct(dct(small, axis=0), axis=1)[:8, :8]
    return int(np.packbits((low > np.median(low)).ravel()).view(">u8")[0])
