"""Verifies a dataset file: every byte against the card, every sample against its checksum, and the pixels against the
source where it is at hand.

In: the path of a `.beton` file, and perhaps the archive that it was made from. Out: a `Verification` that lists what is
wrong, with the manifest row of each damaged sample. Nothing in the file is trusted before its hash was compared.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fastrad.conversion.images import differing_images
from fastrad.conversion.plan import ConvertOptions, SplitPlan, plan_splits
from fastrad.conversion.workers import LocalWorkers
from fastrad.errors import FormatError, InputError
from fastrad.manifest import Manifest
from fastrad.processes import available_cores
from fastrad.progress import track
from fastrad.sources import read_source
from fastrad.storage import Card, layout

_COMPARED_AT_ONCE = 512


@dataclass(frozen=True)
class Problem:
    """Something that is not as it was written.

    Attributes
    ----------
    part : str
        "file", "card", "header", "metadata", "page", "padding", "allocation table", "sample" or "source".
    row : int or None
        Manifest row of the sample that is damaged; None where no sample, or no single one, is.
    reason : str
        What was found.
    """

    part: str
    row: int | None
    reason: str


@dataclass(frozen=True)
class Verification:
    """What was verified and found.

    Attributes
    ----------
    path : Path
    samples : int
        Samples whose checksum was compared.
    pages : int
        Pages whose hash was compared.
    compared_with_source : int
        Samples whose pixels were made again from the source and compared.
    problems : tuple of Problem
    """

    path: Path
    samples: int
    pages: int
    compared_with_source: int
    problems: tuple[Problem, ...]

    @property
    def damaged_rows(self) -> list[int]:
        """Manifest rows of the damaged samples, ascending."""
        return sorted({problem.row for problem in self.problems if problem.row is not None})


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


def verify(path: Path | str, manifest: Manifest | None = None, workers: int | None = None) -> Verification:
    """Read a whole file and compare it with its card, and with its source.

    Parameters
    ----------
    path : Path or str
        The `.beton` file, or the `.card.json` of WebDataset shards.
    manifest : Manifest, optional
        The source, read anew; then every image of a beton is converted again and compared.
    workers : int, optional
        Threads, and processes for the source; one a core by default.

    Raises
    ------
    InputError
        If there is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        card = Card.read(path)
    except FormatError as error:
        return Verification(path, 0, 0, 0, (Problem("card", None, str(error)),))
    if card.format == "webdataset":
        return _verify_shards(path, card)
    size = path.stat().st_size
    if size != card.bytes:
        reason = f"has {size} bytes where the card says {card.bytes}: it was cut short or lengthened"
        return Verification(path, 0, 0, 0, (Problem("file", None, reason),))
    workers = workers or available_cores()
    data = np.memmap(path, dtype=np.uint8, mode="r")
    regions = _Regions.of(card)
    metadata_end = layout.METADATA_START + card.samples * layout.METADATA.itemsize
    metadata = data[layout.METADATA_START : metadata_end].view(layout.METADATA)
    table = data[regions.table_start :].view(layout.ALLOCATION)
    problems = list(_check_regions(data, card, regions))
    problems += _check_records(metadata, table, card, regions)
    with track("verify", card.samples) as progress, ThreadPoolExecutor(workers) as threads:
        for count, found in threads.map(_PageCheck(data, metadata, card, regions), range(regions.pages)):
            problems += found
            progress.advance(count, damaged=sum(problem.row is not None for problem in problems))
    compared = 0
    if manifest is not None:
        compared, found = _compare_with_source(path, card, metadata, manifest, workers)
        problems += found
    return Verification(path, card.samples, regions.pages, compared, tuple(problems))


def _verify_shards(path: Path, card: Card) -> Verification:
    problems: list[Problem] = []
    with track("verify", card.samples) as progress:
        for shard in card.hashes["shards"]:
            problems += _check_shard(path.parent / shard["name"], shard)
            progress.advance(shard["samples"], damaged=len(problems))
    return Verification(path, card.samples, 0, 0, tuple(problems))


def _check_shard(path: Path, shard: dict[str, Any]) -> list[Problem]:
    """Compare a tar and its index with the card; where the tar differs, name the samples that do."""
    index = path.with_suffix(".idx")
    missing = [Problem("file", None, f"{name.name} is missing") for name in (path, index) if not name.is_file()]
    if missing:
        return missing
    text = index.read_bytes()
    problems = []
    if hashlib.sha256(text).hexdigest() != shard["index_sha256"]:
        problems.append(Problem("file", None, f"{index.name} was altered (its hash differs from the card's)"))
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() == shard["sha256"]:
            return problems
        problems.append(Problem("file", None, f"{path.name} was altered or cut (its hash differs from the card's)"))
        if len(problems) == 1:  # the index is sound and says where the samples are
            for line in text.decode().splitlines()[1:]:
                words = line.split()
                image, about = (_file_part(file, *map(int, words[k + 1 : k + 3])) for k in (0, 8))
                row = int(words[3].split(".")[0])
                if not about.endswith(f'"crc32": {zlib.crc32(image)}}}'.encode()):
                    problems.append(Problem("sample", row, f"its checksum differs ({path.name})"))
    return problems


def _file_part(file: BinaryIO, position: int, size: int) -> bytes:
    """`size` bytes of a file from `position`."""
    file.seek(position)
    return file.read(size)


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

    def __init__(self, data: np.ndarray, metadata: np.ndarray, card: Card, regions: _Regions) -> None:
        self._data, self._card, self._regions = data, card, regions
        self._pointers = metadata["f0"]["data_ptr"].astype(np.int64)
        self._sizes = metadata["f0"]["size"].astype(np.int64)
        self._crc32 = metadata["f4"].astype(np.int64)
        self._rows = metadata["f3"].astype(np.int64)
        self._page_of = (self._pointers - regions.data_start) // regions.page_size
        self._order = np.argsort(self._page_of, kind="stable")
        self._sorted = self._page_of[self._order]

    def __call__(self, page: int) -> tuple[int, list[Problem]]:
        regions = self._regions
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


def _compare_with_source(
    path: Path, card: Card, metadata: np.ndarray, manifest: Manifest, workers: int
) -> tuple[int, list[Problem]]:
    if manifest.sha256() != card.manifest_sha256:
        reason = (
            f"the table of {manifest.root} is not the one that was converted (its hash differs): files or labels were "
            "added, removed or changed, or other options are needed"
        )
        return 0, [Problem("source", None, reason)]
    plan = _plan_again(card, manifest)
    rows = metadata["f3"]
    positions = np.minimum(np.searchsorted(plan.rows, rows), len(plan.rows) - 1)
    wrong = {
        "is no row to be stored of the source": plan.rows[positions] != rows,
        "its label differs from the source's": plan.labels[positions] != metadata["f1"],
        "its patient differs from the source's": plan.patients[positions] != metadata["f2"],
    }
    problems = [Problem("source", int(row), reason) for reason, mask in wrong.items() for row in rows[mask]]
    missing = set(plan.rows.tolist()) - set(rows.tolist()) - {entry["row"] for entry in card.quarantined}
    problems += [Problem("source", row, "is neither stored nor quarantined") for row in sorted(missing)]
    metadata = metadata[plan.rows[positions] == rows]
    pool = LocalWorkers(workers)
    try:
        with track("compare with the source", len(metadata)) as progress:
            futures = []
            for first in range(0, len(metadata), _COMPARED_AT_ONCE):
                records = np.array(metadata[first : first + _COMPARED_AT_ONCE])
                futures.append(pool.submit(differing_images, plan.source_images(records["f3"]), str(path), records))
            for first, future in zip(range(0, len(metadata), _COMPARED_AT_ONCE), futures, strict=True):
                problems += [Problem("source", row, reason) for row, reason in future.result()]
                progress.advance(min(_COMPARED_AT_ONCE, len(metadata) - first), differing=len(problems))
    finally:
        pool.close()
    return len(metadata), problems


def _plan_again(card: Card, manifest: Manifest) -> SplitPlan:
    parameters: dict[str, Any] = card.parameters
    options = ConvertOptions(
        size=parameters["size"],
        fit=parameters["fit"],
        encode=parameters["encode"],
        quality=parameters["quality"] or 90,
        window=tuple(parameters["window"]) if parameters["window"] else None,
    )
    return next(plan for plan in plan_splits(manifest, options, None) if plan.split == card.split)


def read_source_again(path: Path | str, root: Path, table: Path | None = None) -> Manifest:
    """Read the archive that a file was made from, with the options that its card keeps.

    Parameters
    ----------
    path : Path or str
        The `.beton` file.
    root : Path
        The archive's folder, wherever it lies now.
    table : Path, optional
        The archive's CSV, where it is not at its usual place.
    """
    card = Card.read(path)
    options = dict(card.source_options)
    if table is not None:
        options["table"] = table
    return read_source(card.layout, root, exclude=[Path(path).parent], **options)
