"""Verifies a `.beton` file by its card, which is proven: every byte, and every sample against its checksum."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from mmap import mmap
from pathlib import Path

import numpy as np

from fastrad.archives.manifest import Manifest
from fastrad.convert.stored import BetonImages
from fastrad.dataset import Card
from fastrad.dataset.beton import layout
from fastrad.errors import FormatError
from fastrad.system.progress import track
from fastrad.verify.findings import Problem, Verification
from fastrad.verify.source import Comparison, Stored, compare_with_source


@dataclass(frozen=True)
class _Regions:
    """Where the parts of the file are by the card, which is proven before; the file's own header may be damaged."""

    page_size: int
    pages: int
    data_start: int
    table_start: int
    end: int

    @staticmethod
    def of(card: Card) -> _Regions:
        pages, page_size = len(card.hashes["pages"]), int(card.parameters["page_size"])
        table_start = card.bytes - card.samples * layout.ALLOCATION.itemsize
        return _Regions(page_size, pages, table_start - pages * page_size, table_start, card.bytes)


def verify_beton(path: Path, card: Card, manifest: Manifest | None, workers: int) -> Verification:
    """As `fastrad.verify.verify`, of a beton file."""
    size = path.stat().st_size
    if size != card.bytes:
        reason = f"has {size} bytes where the card says {card.bytes}: it was cut short or lengthened"
        return Verification(str(path), problems=(Problem("file", None, reason),))
    data = np.memmap(path, dtype=np.uint8, mode="r")
    regions = _Regions.of(card)
    metadata_end = layout.METADATA_START + card.samples * layout.METADATA.itemsize
    metadata = data[layout.METADATA_START : metadata_end].view(layout.METADATA)
    table = data[regions.table_start :].view(layout.ALLOCATION)
    problems = list(_check_regions(data, card, regions))
    problems += _check_records(metadata, table, card, regions)
    with track("verify", card.samples) as progress, ThreadPoolExecutor(workers) as threads:
        for count, found in threads.map(_PageCheck(path, data, metadata, card, regions), range(regions.pages)):
            problems += found
            progress.advance(count, damaged=sum(problem.row is not None for problem in problems))
    comparison = Comparison(0, [], [])
    if manifest is not None:
        image = metadata["f0"]
        images = BetonImages(str(path), image["data_ptr"].astype(np.int64), image["size"].astype(np.int64))
        labels, patients, rows = (metadata[name].astype(np.int64) for name in ("f1", "f2", "f3"))
        stored = Stored(rows, labels, patients, images, whole=True)
        comparison = compare_with_source(card, stored, manifest, workers)
    problems += comparison.differ
    failed = tuple(comparison.not_compared)
    return Verification(str(path), card.samples, regions.pages, 0, comparison.compared, tuple(problems), failed)


def _check_regions(data: np.ndarray, card: Card, regions: _Regions) -> Iterator[Problem]:
    parts = {
        "header": data[: layout.METADATA_START],
        "metadata": data[layout.METADATA_START : regions.data_start],
        "allocation table": data[regions.table_start :],
    }
    for part, content in parts.items():
        if hashlib.sha256(content).hexdigest() != card.hashes[part.replace(" ", "_")]:
            yield Problem(part, None, f"the {part} was altered (its hash differs from the card's)")


def _check_records(metadata: np.ndarray, table: np.ndarray, card: Card, regions: _Regions) -> list[Problem]:
    """What the records themselves contradict; this names the rows where only their hash says that something is off."""
    image = metadata["f0"]
    pointers, sizes = image["data_ptr"].astype(np.int64), image["size"].astype(np.int64)
    page = (pointers - regions.data_start) // regions.page_size
    last_page = (pointers + sizes - 1 - regions.data_start) // regions.page_size
    rows = metadata["f3"]
    labels, patients = metadata["f1"], metadata["f2"]
    wrong = {
        "its image does not lie in one page": (page != last_page) | (page < 0) | (last_page >= regions.pages),
        "the allocation table places its image elsewhere": (table["ptr"] != image["data_ptr"])
        | (table["size"] != image["size"])
        | (table["sample_id"] != np.arange(len(table))),
        "its label is no class of the card": (labels < 0) | (labels >= len(card.classes)),
        "its patient is none of the card's": (patients < -1) | (patients >= max(len(card.patients), 0)),
        "its row does not follow the one before": np.diff(rows, prepend=-1) <= 0,
    }
    problems = [
        Problem("metadata", int(rows[position]), reason)
        for reason, mask in wrong.items()
        for position in np.flatnonzero(mask)
    ]
    inside = labels[(labels >= 0) & (labels < len(card.classes))]
    counts = np.bincount(inside, minlength=len(card.classes)).tolist()
    for name, count in zip(card.classes, counts, strict=True):
        if count != card.class_counts[name]:
            reason = f"class {name} has {count} samples where the card says {card.class_counts[name]}"
            problems.append(Problem("metadata", None, reason))
    return problems


class _PageCheck:
    """Hashes one page and compares the checksums of the samples in it."""

    def __init__(self, path: Path, data: np.memmap, metadata: np.ndarray, card: Card, regions: _Regions) -> None:
        self._path, self._data, self._card, self._regions = path, data, card, regions
        self._pointers = metadata["f0"]["data_ptr"].astype(np.int64)
        self._sizes = metadata["f0"]["size"].astype(np.int64)
        self._crc32 = metadata["f4"].astype(np.int64)
        self._rows = metadata["f3"].astype(np.int64)
        self._page_of = (self._pointers - regions.data_start) // regions.page_size
        self._order = np.argsort(self._page_of, kind="stable")
        self._sorted = self._page_of[self._order]

    def __call__(self, page: int) -> tuple[int, list[Problem]]:
        regions = self._regions
        mapping: mmap = self._data._mmap  # type: ignore[attr-defined]
        if (end := mapping.size()) < regions.end:  # what lies behind it would kill by SIGBUS
            raise FormatError(
                f"{self._path}: was cut to {end} bytes while it was read; copy it again, or convert again"
            )
        start = regions.data_start + page * regions.page_size
        content = self._data[start : start + regions.page_size]
        first, last = np.searchsorted(self._sorted, [page, page + 1])
        problems = []
        for position in self._order[first:last]:
            begin = self._pointers[position] - start
            stored = content[begin : begin + self._sizes[position]]
            if zlib.crc32(np.ascontiguousarray(stored)) != self._crc32[position]:
                problems.append(Problem("sample", int(self._rows[position]), "its checksum differs"))
        if hashlib.sha256(content).hexdigest() != self._card.hashes["pages"][page]:
            where = f"page {page} (from byte {start:,}) was altered"
            if problems:
                problems.append(Problem("page", None, where))
            else:
                problems.append(Problem("padding", None, f"{where} outside of its samples, which are sound"))
        return int(last - first), problems
