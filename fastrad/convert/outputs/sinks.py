"""Where a shard's encoded images go: pages of a `.beton` file, or a stretch of a tar file. numpy only.

In: encoded images one after another. Out: bytes in the task's data file, one record a sample, and hashes of the pages.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from typing import NamedTuple

import numpy as np

from fastrad.dataset.beton import layout
from fastrad.dataset.tar.layout import SUFFIXES, TAR_SAMPLE, member

_WRITTEN_AT_ONCE = 1 << 17  # bytes; to hold more costs page faults at every image
_PIECES = 512  # Linux takes 1024 in one call


class Encoded(NamedTuple):
    """One image as it is stored.

    Attributes
    ----------
    data : numpy.ndarray
        uint8, one axis.
    kind : str
        "raw", "jpeg" or "png".
    side : int
        Of the stored square, pixels.
    content : (top, left, height, width)
        Where it holds image, not padding.
    """

    data: np.ndarray
    kind: str
    side: int
    content: tuple[int, int, int, int]


class Sample(NamedTuple):
    """What is stored beside an image: manifest row, class index and name, patient index and name."""

    row: int
    label: int
    label_name: str
    patient: int
    patient_name: str | None


class _Target:
    """The task's data file, open for writing at a position. What is appended is held until there is enough of it."""

    def __init__(self, path: str, position: int) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        self.position = position  # with what is held
        self._held: list[memoryview] = []
        self._bytes_held = 0

    def append(self, content: bytes | memoryview) -> None:
        view = memoryview(content)
        self._held.append(view)
        self._bytes_held += len(view)
        self.position += len(view)
        if self._bytes_held >= _WRITTEN_AT_ONCE or len(self._held) >= _PIECES:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        while self._bytes_held:
            written = os.pwritev(self.descriptor, self._held, self.position - self._bytes_held)
            self._bytes_held -= written
            while self._held and written >= len(self._held[0]):
                written -= len(self._held.pop(0))
            if written:
                self._held[0] = self._held[0][written:]

    def truncate(self) -> None:
        """Cut off what an earlier attempt left behind the end."""
        self.flush()
        os.ftruncate(self.descriptor, self.position)

    def close(self, sync: bool) -> None:
        try:
            self.flush()
            if sync:
                os.fdatasync(self.descriptor)
        finally:
            os.close(self.descriptor)


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
        How many pages are to be filled up to; 0 where `path` is a file of the shard's own.
    """

    def __init__(self, path: str, position: int, page_size: int, pages: int) -> None:
        self._target = _Target(path, position)
        self._start, self._page_size, self._pages = position, page_size, pages
        self._used, self._digest = 0, hashlib.sha256()  # of the page that is begun
        self.hashes: list[str] = []
        self._records: list[tuple] = []

    def _append(self, content: bytes | memoryview) -> None:
        self._target.append(content)
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
        position = self._target.position - self._start
        self._append(encoded.data.data)
        crc32 = zlib.crc32(encoded.data)
        self._records.append((position, size, sample.label, sample.patient, sample.row, crc32))
        self._stored = encoded.side, layout.MODES[encoded.kind]

    def records(self) -> np.ndarray:
        """`layout.METADATA` of the stored images; `data_ptr` counts from the shard's first page."""
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
        if finished:
            if self._used:
                self._end_page()
            while len(self.hashes) < self._pages:  # a shard that shrank must not keep pages of an earlier attempt
                self._end_page()
            if not self._pages:
                self._target.truncate()
        self._target.close(sync)


class TarSink:
    """A stretch of a tar file: three members a sample, without the end of an archive."""

    def __init__(self, path: str) -> None:
        self._target = _Target(path, 0)
        self.hashes: list[str] = []
        self._records: list[tuple] = []

    def store(self, encoded: Encoded, sample: Sample) -> None:
        """Store one image with its class index and what else is known of it."""
        key = f"{sample.row:09d}"
        crc32 = zlib.crc32(encoded.data)
        about = {
            "row": sample.row,
            "label": sample.label_name,
            "patient": sample.patient_name,
            "content": encoded.content,
            "crc32": crc32,
        }
        texts = (b"%d" % sample.label, json.dumps(about).encode())
        members = member(f"{key}.{SUFFIXES[encoded.kind]}", encoded.data.tobytes())
        members += member(f"{key}.cls", texts[0]) + member(f"{key}.json", texts[1])
        sizes = (len(encoded.data), len(texts[0]), len(texts[1]))
        place = (self._target.position, len(members))
        self._records.append((*place, sample.row, sample.label, sample.patient, crc32, sizes))
        self._target.append(members)

    def records(self) -> np.ndarray:
        """`TAR_SAMPLE` of the stored images."""
        return np.array(self._records, dtype=TAR_SAMPLE)

    def close(self, finished: bool, sync: bool) -> None:
        """End the stretch, and wait for the disk where `sync` asks for it."""
        if finished:
            self._target.truncate()
        self._target.close(sync)
