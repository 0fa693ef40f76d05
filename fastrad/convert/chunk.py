"""What a conversion worker does with one shard of a plan.

In: a `ShardTask`. Out: the shard's pages in the data file, and a record beside it that says what they hold. The record
is valid only after the pages have reached the disk, so a record that exists is true. Imports neither torch nor FFCV: a
worker holds one page and one image at a time.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fastrad.convert.from_shards import TarImages
from fastrad.convert.images import SourceImages, UnusableImageError
from fastrad.convert.outputs.sinks import PageSink, TarSink
from fastrad.system.files import sync_folder, write_atomically

_MARK = struct.Struct("<qq")


@dataclass(frozen=True)
class ShardTask:
    """One shard: which images, and where they go.

    Attributes
    ----------
    index : int
        The shard's number in its plan.
    images : SourceImages or TarImages
        With what is stored beside them.
    page_size : int
        Bytes; 0 for a stretch of a tar file instead of pages.
    pages : int
        How many pages the shard may fill; 0 where they go into a file of their own.
    data : str
        The file that gets the pages, `position` the byte where the first page goes.
    position : int
    record : str
        Path of the record without its suffix.
    poison : dict
        Position in the shard -> reason, for images that killed a worker and are not to be touched.
    sync : bool
        Whether the worker waits for the disk and makes its record valid; else the parent does, meanwhile.
    """

    index: int
    images: SourceImages | TarImages
    page_size: int
    pages: int
    data: str
    position: int
    record: str
    poison: dict[int, str]
    sync: bool

    def sink(self) -> PageSink | TarSink:
        """Where the images go."""
        if self.page_size == 0:
            return TarSink(self.data)
        return PageSink(self.data, self.position, self.page_size, self.pages)


@dataclass(frozen=True)
class ShardRecord:
    """What a finished shard holds; `metadata` and `stamps` lie in a file of their own.

    Attributes
    ----------
    stored : int
        Number of samples.
    pages : list of str
        SHA-256 of each page; none for a tar.
    quarantined : list of (row, reason)
    value_sum, square_sum, pixels : int
        Exact sums over the pixel values (0 to 255) as they were before JPEG, padding left out; of images that were
        not decoded 0.
    """

    stored: int
    pages: list[str]
    quarantined: list[tuple[int, str]]
    value_sum: int
    square_sum: int
    pixels: int


def convert_shard(task: ShardTask) -> int:
    """Convert one shard and write its record; return the number of samples stored."""
    sink, images = task.sink(), task.images
    stamps = np.empty((len(images.rows), 2), dtype=np.int64)
    quarantined: list[tuple[int, str]] = []
    stored = value_sum = square_sum = pixels = 0
    mark = os.open(task.record + ".at", os.O_WRONLY | os.O_CREAT, 0o644)
    finished = False
    try:
        for index, row in enumerate(images.rows.tolist()):
            os.pwrite(mark, _MARK.pack(index, len(quarantined)), 0)
            stamps[index] = images.stamp(index)
            if index in task.poison:
                quarantined.append((row, task.poison[index]))
                continue
            try:
                image, encoded = images.load(index)
            except UnusableImageError as error:
                quarantined.append((row, str(error)))
                continue
            if image is not None:
                top, left, height, width = encoded.content
                content = image[top : top + height, left : left + width]
                mean, deviation = (float(value[0, 0]) for value in cv2.meanStdDev(content))
                # cv2 divides exact sums: what rounding took is far less than one half
                value_sum += round(mean * content.size)
                square_sum += round((deviation**2 + mean**2) * content.size)
                pixels += content.size
            sink.store(encoded, images.sample(index))
            stored += 1
        os.pwrite(mark, _MARK.pack(len(images.rows), len(quarantined)), 0)
        finished = True
    finally:
        os.close(mark)
        sink.close(finished, task.sync)
    summary = ShardRecord(stored, sink.hashes, quarantined, value_sum, square_sum, pixels)
    _write_record(task, summary, sink.records(), stamps)
    return stored


def _write_record(task: ShardTask, summary: ShardRecord, samples: np.ndarray, stamps: np.ndarray) -> None:
    """Write a shard's record; the JSON file comes last and makes it valid."""
    with open(task.record + ".npy", "wb") as file:
        np.save(file, samples)
        np.save(file, stamps)
        if task.sync:
            file.flush()
            os.fsync(file.fileno())
    content = json.dumps(asdict(summary)).encode()
    if task.sync:
        write_atomically(Path(task.record + ".json"), content)
    else:
        temporary = Path(f"{task.record}.{os.getpid()}.tmp")
        temporary.write_bytes(content)
        temporary.replace(task.record + ".pending")


def commit_record(record: str, data: str) -> None:
    """Make a pending record valid, after its pages in `data` have reached the disk."""
    for path in (data, record + ".npy", record + ".pending"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
    os.replace(record + ".pending", record + ".json")
    sync_folder(Path(record).parent)


def read_summary(record: str) -> ShardRecord | None:
    """The record of a converted shard, pending or valid; None where it is not converted."""
    for suffix in (".json", ".pending"):
        try:
            content: dict[str, Any] = json.loads(Path(record + suffix).read_bytes())
            break
        except FileNotFoundError:
            continue
    else:
        return None
    content["quarantined"] = [(row, reason) for row, reason in content["quarantined"]]
    return ShardRecord(**content)


def read_arrays(record: str) -> tuple[np.ndarray, np.ndarray]:
    """A finished shard's metadata (`data_ptr` counts from the shard's first page) and its source stamps (n, 2)."""
    with open(record + ".npy", "rb") as file:
        return np.load(file), np.load(file)


def read_mark(record: str) -> tuple[int, int] | None:
    """Position in the shard that a worker has reached, and its quarantine count; None where it has not begun."""
    try:
        content = Path(record + ".at").read_bytes()
    except FileNotFoundError:
        return None
    if len(content) < _MARK.size:
        return None
    position, quarantined = _MARK.unpack(content[: _MARK.size])
    return position, quarantined


def changed_sources(task: ShardTask) -> list[int]:
    """Positions in a finished shard whose source files changed since it was converted."""
    _, stamps = read_arrays(task.record)
    now = np.array([task.images.stamp(index) for index in range(len(stamps))], dtype=np.int64).reshape(-1, 2)
    return np.flatnonzero((now != stamps).any(axis=1)).tolist()
