"""Where a shard's encoded images go: pages of a `.beton` file, or a stretch of a tar file. numpy only.

In: encoded images one after another. Out: bytes in the task's data file, one record a sample, and hashes of the pages.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from dataclasses import dataclass

import numpy as np

from fastrad.storage import layout
from fastrad.storage.tar import SUFFIXES, TAR_SAMPLE, member


@dataclass(frozen=True)
class Encoded:
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


@dataclass(frozen=True)
class Sample:
    """What is stored beside an image: manifest row, class index and name, patient index and name."""

    row: int
    label: int
    label_name: str
    patient: int
    patient_name: str | None


class _Target:
    """The task's data file, open for writing at a position."""

    def __init__(self, path: str, position: int) -> None:
        self.descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        self.position = position

    def append(self, content: bytes | memoryview) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self.descriptor, view, self.position)
            view, self.position = view[written:], self.position + written

    def close(self, sync: bool) -> None:
        try:
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
        self._page_size, self._pages = page_size, pages
        self._filler = layout.PageFiller(page_size, self._write)
        self.hashes: list[str] = []
        self._records: list[tuple] = []

    def _write(self, page: layout.Page) -> None:
        self._target.append(page.content)
        self.hashes.append(hashlib.sha256(page.content).hexdigest())

    def store(self, encoded: Encoded, sample: Sample) -> None:
        """Store one image."""
        position = self._filler.place(encoded.data.data)
        crc32 = zlib.crc32(encoded.data)
        self._records.append((position, len(encoded.data), sample.label, sample.patient, sample.row, crc32))
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
            self._filler.flush()
            while len(self.hashes) < self._pages:  # a shard that shrank must not keep pages of an earlier attempt
                self._write(layout.Page(len(self.hashes), memoryview(bytes(self._page_size))))
            if not self._pages:
                os.ftruncate(self._target.descriptor, self._target.position)
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
            os.ftruncate(self._target.descriptor, self._target.position)
        self._target.close(sync)
