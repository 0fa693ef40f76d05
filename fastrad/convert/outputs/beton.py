"""Pages of a `.beton` file: how they are laid out, what a worker does to write them, and the finished file.

Raw images have a known size, so every worker knows where in the file its pages go, and writes them there. JPEG have
not: each chunk gets a file of its own, and they are copied together at the end.
"""

from __future__ import annotations

import errno
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from fastrad.convert.destination import Destination
from fastrad.convert.folder import WorkFolder
from fastrad.convert.outputs import base
from fastrad.convert.outputs.base import DataFile, DoneSplit, Output, naming, rows_a_chunk, too_short, write_whole
from fastrad.convert.record import read_arrays
from fastrad.convert.sample import Encoded, ImageOptions, Sample
from fastrad.convert.totals import Totals
from fastrad.dataset.beton import layout
from fastrad.dataset.card import Card
from fastrad.system.files import write_atomically

_SMALL_FILE = 8 * layout.DEFAULT_PAGE_SIZE
# file systems that cannot copy ranges between these files say one of these
_NO_COPY_RANGE = {errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP}


@dataclass(frozen=True)
class BetonOutput(Output):
    """One `.beton` file; `page_size` in bytes."""

    page_size: int

    format = "beton"
    encodings = ("raw", "jpeg")
    columns = ("f1", "f2")
    takes_url = False

    @classmethod
    def plan(cls, rows: int, image: ImageOptions, shard_bytes: int) -> Self:
        """Raw images are stored in whole chunks of whole pages, so that each worker knows where its pages go.

        Small files and JPEG get FFCV's smallest pages, which waste less at a chunk's end; files that would not fill one
        get smaller ones.
        """
        raw, size = image.encode == "raw", image.size**2
        page = layout.DEFAULT_PAGE_SIZE if raw and rows * size > _SMALL_FILE else layout.MIN_PAGE_SIZE
        if 2 * rows * size <= layout.MIN_PAGE_SIZE:
            page = layout.SMALL_PAGE_SIZE
        while page < (size if raw else 2 * size):  # a JPEG of noise can be larger than its pixels
            page *= 2
        if not raw:  # every chunk ends with a page that is partly empty: few chunks
            return cls(rows, image, base.ROWS_A_CHUNK, page)
        a_page = page // size
        return cls(rows, image, -(-rows_a_chunk(rows) // a_page) * a_page, page)

    @property
    def in_place(self) -> bool:
        """Whether the size of every image is known."""
        return self.image.encode == "raw"

    @property
    def data_start(self) -> int:
        """Byte position of the first page."""
        return layout.data_start(self.rows, self.page_size)

    @property
    def _images_a_page(self) -> int:
        return self.page_size // self.image.size**2

    def _pages(self, index: int) -> int:
        """Pages that a chunk of raw images fills when nothing is damaged."""
        return -(-self.chunk_size(index) // self._images_a_page)

    @property
    def estimated_bytes(self) -> int:
        """Exact for raw; JPEG are taken to be a quarter of that."""
        if self.in_place:
            pages = sum(map(self._pages, range(self.chunks)))
            return self.data_start + pages * self.page_size + self.rows * layout.ALLOCATION.itemsize
        a_row = self.image.size**2 // 4 + layout.METADATA.itemsize + layout.ALLOCATION.itemsize
        return self.rows * a_row + (self.chunks + 1) * self.page_size

    def parameters(self) -> dict[str, Any]:
        """Page size, and rows per chunk under the name that cards have always given it."""
        return {"page_size": self.page_size, "shard_rows": self.chunk_rows}

    def sink(self, index: int, data: str) -> PageSink:
        """The pages of chunk `index`: in their place, or from the start of a file of their own."""
        return PageSink(data, self._position(index), self.page_size, self._pages(index) if self.in_place else 0)

    def _position(self, index: int) -> int:
        """Where in its data file the first page of chunk `index` is."""
        if not self.in_place:
            return 0
        return self.data_start + index * (self.chunk_rows // self._images_a_page) * self.page_size

    def is_whole(self, index: int, data: Path, hashes: list[str]) -> bool:
        """Whether each page has its hash."""
        try:
            with open(data, "rb") as file:
                file.seek(self._position(index))
                return all(hashlib.sha256(file.read(self.page_size)).hexdigest() == page for page in hashes)
        except OSError:
            return False

    def last_file(self, name: str) -> str:
        """The beton: its card is put in place before it."""
        return f"{name}.beton"

    def finish(self, split: DoneSplit, destination: Destination) -> Card:
        """Write what comes before and after the pages, then put card and file in place."""
        whole = split.work.data
        data = os.open(whole, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            with naming(whole):
                hashes, size = self._write_around_pages(split.work, split.totals, data)
                os.ftruncate(data, size)
                os.fsync(data)
        finally:
            os.close(data)
        card = split.make_card(hashes, size)
        write_atomically(Card.path_for(destination.work_dir / self.last_file(split.name)), card.to_bytes())
        destination.put(whole, self.last_file(split.name))
        return card

    def _write_around_pages(self, work: WorkFolder, totals: Totals, data: int) -> tuple[dict[str, Any], int]:
        """The card's `hashes`, and the size of the file."""
        starts, page_hashes = self._gather_pages(work, data)
        table_start = self.data_start + len(page_hashes) * self.page_size
        metadata_hash, table_hash = hashlib.sha256(), hashlib.sha256()
        patient_numbers = totals.patient_numbers()
        metadata_at, table_at, written = layout.METADATA_START, table_start, 0
        for index in range(self.chunks):
            metadata, _ = read_arrays(work.record_path(index))
            metadata["f0"]["data_ptr"] += np.uint64(starts[index])
            metadata["f2"] = patient_numbers[metadata["f2"]]
            table = layout.allocation_table(metadata, written).tobytes()
            written += len(metadata)
            metadata_at = _append(data, metadata.tobytes(), metadata_at, metadata_hash)
            table_at = _append(data, table, table_at, table_hash)
        _append(data, bytes(self.data_start - metadata_at), metadata_at, metadata_hash)
        quality = self.image.quality if self.image.encode == "jpeg" else 0
        head = layout.head_bytes(
            samples=totals.stored,
            page_size=self.page_size,
            alloc_table_ptr=table_start,
            arguments=layout.image_arguments(self.image.encode, self.image.size, self.image.size, quality),
        )
        write_whole(data, head, 0)
        hashes = {
            "algorithm": "sha256",
            "header": hashlib.sha256(head).hexdigest(),
            "metadata": metadata_hash.hexdigest(),
            "allocation_table": table_hash.hexdigest(),
            "pages": page_hashes,
        }
        return hashes, table_at

    def _gather_pages(self, work: WorkFolder, data: int) -> tuple[list[int], list[str]]:
        """Bring the pages into the data file, where workers did not put them; return each chunk's start, and hashes."""
        starts: list[int] = []
        hashes: list[str] = []
        for index in range(self.chunks):
            pages = work.finished_record(index).pages
            starts.append(self.data_start + len(hashes) * self.page_size)
            hashes += pages
            if not self.in_place:
                length, part = len(pages) * self.page_size, work.data_of(index)
                with open(part, "rb") as file:
                    if _copy(file.fileno(), data, length, starts[index]) < length:
                        raise too_short(part, work.folder)
        if self.in_place and os.fstat(data).st_size < self.data_start + len(hashes) * self.page_size:
            raise too_short(work.data, work.folder)
        return starts, hashes


class PageSink:
    """Pages of a `.beton` file.

    Parameters
    ----------
    path : str
    position : int
        Byte where the first page goes.
    page_size : int
        Bytes.
    pages : int
        How many pages are to be filled up to; 0 where `path` is a file of the chunk's own.
    """

    def __init__(self, path: str, position: int, page_size: int, pages: int) -> None:
        self._file = DataFile(path, position)
        self._start, self._page_size, self._pages = position, page_size, pages
        self._used, self._digest = 0, hashlib.sha256()  # of the page that is begun
        self.hashes: list[str] = []
        self._records: list[tuple] = []

    def _append(self, content: bytes | memoryview) -> None:
        self._file.append(content)
        self._digest.update(content)
        self._used += len(content)

    def _end_page(self) -> None:
        """Fill the page up with zeros."""
        self._append(bytes(self._page_size - self._used))
        self.hashes.append(self._digest.hexdigest())
        self._used, self._digest = 0, hashlib.sha256()

    def store(self, encoded: Encoded, sample: Sample) -> None:
        """Store one image.

        Raises
        ------
        ValueError
            If it is larger than a page.
        """
        size = len(encoded.data)
        if size > self._page_size:
            raise ValueError(f"a sample of {size} bytes does not fit into a page of {self._page_size}")
        if self._used + size > self._page_size:
            self._end_page()
        position = self._file.position - self._start
        self._append(encoded.data.data)
        crc32 = zlib.crc32(encoded.data)
        self._records.append((position, size, sample.label, sample.patient, sample.row, crc32))
        self._stored = encoded.side, layout.MODES[encoded.kind]

    def records(self) -> np.ndarray:
        """`layout.METADATA` of the stored images; `data_ptr` counts from the chunk's first page."""
        records = np.zeros(len(self._records), dtype=layout.METADATA)  # zeros also between the fields
        if len(records):
            columns = np.array(self._records, dtype=np.int64).T
            image = records["f0"]
            image["data_ptr"], image["size"], records["f1"], records["f2"], records["f3"], records["f4"] = columns
            image["width"] = image["height"] = self._stored[0]
            image["mode"] = self._stored[1]
        return records

    def close(self, finished: bool, sync: bool) -> None:
        """Write what is begun, fill up with empty pages, and wait for the disk where `sync` asks for it."""
        try:
            if finished:
                if self._used:
                    self._end_page()
                while len(self.hashes) < self._pages:  # a chunk that shrank must not keep pages of an earlier attempt
                    self._end_page()
                if not self._pages:
                    self._file.truncate()
        finally:
            self._file.close(sync and finished)


def _append(descriptor: int, content: bytes, position: int, digest: Any) -> int:
    digest.update(content)
    return write_whole(descriptor, content, position)


def _copy(source: int, target: int, length: int, position: int) -> int:
    """Copy `length` bytes from the start of `source` to a position in `target`; how many there were."""
    done = 0
    while done < length:
        try:
            copied = os.copy_file_range(source, target, length - done, done, position + done)
        except OSError as error:
            if error.errno not in _NO_COPY_RANGE:
                raise
            content = os.pread(source, min(length - done, 1 << 22), done)
            copied = write_whole(target, content, position + done) - position - done
        if copied == 0:
            break
        done += copied
    return done
