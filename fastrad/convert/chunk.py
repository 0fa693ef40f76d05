"""What a conversion worker does with one chunk of a plan: its images into the chunk's data, then a record beside.

A worker imports neither torch nor FFCV nor pandas, and holds one image at a time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from fastrad.convert.from_shards import TarImages
from fastrad.convert.images import SourceImages, UnusableImageError
from fastrad.convert.outputs.base import Output
from fastrad.convert.record import ChunkRecord, marking, read_arrays, samples_file, write_record
from fastrad.dataset.pixels import FingerprintMaker

_ROWS_SEEN = 32  # of an image: enough of them together show which gray levels are used, for a tenth of the time


@dataclass(frozen=True)
class ChunkTask:
    """One chunk: which images, and where they go.

    Attributes
    ----------
    index : int
        The chunk's number in its plan.
    images : SourceImages or TarImages
        With what is stored beside them.
    output : Output
    data : Path
        The file that gets the images.
    record : Path
        Path of the record without its suffix.
    poison : dict
        Position in the chunk -> reason, for images that killed a worker and are not to be touched.
    sync : bool
        Whether the worker waits for the disk and makes its record valid; else the parent does, meanwhile.
    """

    index: int
    images: SourceImages | TarImages
    output: Output
    data: Path
    record: Path
    poison: dict[int, str]
    sync: bool


def begin_worker() -> None:
    """What every process that works on chunks begins with."""
    cv2.setNumThreads(1)  # the processes are the parallelism
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # reasons for quarantine say more


def convert_chunk(task: ChunkTask) -> int:
    """Convert one chunk and write its record; return the number of samples stored."""
    sink, images = task.output.sink(task.index, str(task.data)), task.images
    stamps = np.empty((len(images.rows), 2), dtype=np.int64)
    quarantined: list[tuple[int, str]] = []
    fingerprints = FingerprintMaker(len(images.rows))
    stored = value_sum = square_sum = pixels = made_square = 0
    seen = np.zeros(256, dtype=bool)
    finished = all_seen = False
    try:
        with marking(task.record) as mark:
            for index, row in enumerate(images.rows.tolist()):
                mark.set(index, len(quarantined))
                stamps[index] = images.stamp(index)
                if index in task.poison:
                    quarantined.append((row, task.poison[index]))
                    continue
                try:
                    image, encoded = images.load(index)
                except UnusableImageError as error:
                    quarantined.append((row, str(error).encode("utf-8", "backslashreplace").decode()))
                    continue
                if image is not None:
                    top, left, height, width = encoded.content
                    content = image[top : top + height, left : left + width]
                    mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(content))
                    # cv2 divides exact sums: what rounding took is far less than one half
                    value_sum += round(mean * content.size)
                    square_sum += round((deviation**2 + mean**2) * content.size)
                    pixels += content.size
                    if not all_seen:
                        some = content[:: max(1, height // _ROWS_SEEN)]
                        seen |= cv2.calcHist([some], [0], None, [256], [0, 256]).ravel() > 0
                        all_seen = bool(seen.all())
                made_square += encoded.made_square
                if encoded.source is not None:
                    fingerprints.add(encoded.source)
                sink.store(encoded, images.sample(index))
                stored += 1
            mark.set(len(images.rows), len(quarantined))
        finished = True
    finally:
        sink.close(finished, task.sync)
    gray_levels = sum(1 << level for level in np.flatnonzero(seen).tolist())
    samples = samples_file(sink.records(), stamps, fingerprints.table)
    record = ChunkRecord(
        stored,
        sink.hashes,
        hashlib.sha256(samples).hexdigest(),
        quarantined,
        value_sum,
        square_sum,
        pixels,
        made_square,
        f"{gray_levels:x}",
    )
    write_record(task.record, record, samples, valid=task.sync)
    return stored


def changed_sources(task: ChunkTask) -> list[int]:
    """Positions in a finished chunk whose source files changed since it was converted."""
    _, stamps = read_arrays(task.record)
    now = np.array([task.images.stamp(index) for index in range(len(stamps))], dtype=np.int64).reshape(-1, 2)
    return np.flatnonzero((now != stamps).any(axis=1)).tolist()
