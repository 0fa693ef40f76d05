"""Reads a fastrad `.beton` file without FFCV: numpy and the standard library only.

Opening compares size, header and metadata with the card, so a file that was cut or whose labels were altered does not
open; image bytes are compared with their CRC32 by `check`, and everything by `fastrad verify`.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from functools import cached_property
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np

from fastrad.dataset.base import Dataset
from fastrad.dataset.beton import layout
from fastrad.dataset.card import Card
from fastrad.errors import DamagedSampleError, FormatError, InputError

_CHECKED_AT_ONCE = 1 << 16  # samples: columns of all of them, only to be compared, would stay in the process's memory


def beton_of(path: Path | str) -> Path:
    """The dataset file beside a card, whatever the card calls it, since both may have been renamed; else the path."""
    file = Path(path)
    return file.with_name(file.name.removesuffix(".card.json") + ".beton") if file.name.endswith(".card.json") else file


class BetonFile(Dataset):
    """A converted file, opened for reading.

    Parameters
    ----------
    path : Path or str
        The `.beton` file, or its card beside it.
    transform : callable, optional
        As of `Dataset`.

    Attributes
    ----------
    path : Path
    card : Card
    num_samples : int
    encoding : str
        "raw" or "jpeg".
    height, width : int
        Of every stored image, in pixels.
    page_size : int
        In bytes.
    data_start, table_start : int
        Byte positions of the first page and of the allocation table.
    data : numpy.memmap
        The whole file, uint8, read-only.
    metadata : numpy.ndarray
        The raw records (`layout.METADATA`), mapped; positions are not aligned.

    Raises
    ------
    InputError
        If there is no such file.
    FormatError
        If it is not a fastrad file, or was cut or altered.
    """

    path: Path

    def __init__(self, path: Path | str, transform: Callable[[np.ndarray], Any] | None = None) -> None:
        super().__init__(beton_of(path), transform)
        if self.path.is_dir():
            raise InputError(f"{self.path}: is a folder; give the .beton file in it")
        if not self.path.is_file():
            raise InputError(f"{self.path}: there is no such file; `fastrad convert` makes one")
        size = self.path.stat().st_size
        if size < layout.METADATA_START:
            raise FormatError(f"{self.path}: {size} bytes are no .beton file; copy it again, or convert again")
        self.data = np.memmap(self.path, dtype=np.uint8, mode="r")
        header = self.data[: layout.HEADER.itemsize].view(layout.HEADER)[0]
        if header["version"] != layout.FORMAT_VERSION:
            raise FormatError(f"{self.path}: is not a .beton file (FFCV format 2)")
        self.card = Card.read(self.path)
        if self.card.format != "beton":
            raise FormatError(f"{self.path}: its card is of another format; copy the right one beside it")
        if size != self.card.bytes:
            raise FormatError(
                f"{self.path}: has {size} bytes where its card says {self.card.bytes}: "
                "cut short or altered; copy it again, or convert again"
            )
        self._compare_with_card("header", self.data[: layout.METADATA_START])
        self.num_samples = int(header["num_samples"])
        self.page_size = int(header["page_size"])
        self.table_start = int(header["alloc_table_ptr"])
        self.data_start = self.table_start - len(self.card.hashes["pages"]) * self.page_size
        metadata_end = layout.METADATA_START + self.num_samples * layout.METADATA.itemsize
        table_end = self.table_start + self.num_samples * layout.ALLOCATION.itemsize
        if self.num_samples != self.card.samples or not metadata_end <= self.data_start <= self.table_start:
            raise self._altered("header")
        if table_end != size:
            raise self._altered("allocation table")
        self._compare_with_card("metadata", self.data[layout.METADATA_START : self.data_start])
        self.metadata = self.data[layout.METADATA_START : metadata_end].view(layout.METADATA)
        descriptors = self.data[layout.HEADER.itemsize : layout.METADATA_START].view(layout.FIELD_DESCRIPTOR)
        arguments = layout.parse_image_arguments(descriptors[0]["arguments"])
        if arguments is None:
            raise FormatError(f"{self.path}: its image field is not fastrad's one-channel field")
        self.encoding, self.height, self.width, self.quality = arguments
        if not (self.num_samples and self.height and self.width):
            raise FormatError(f"{self.path}: holds no pixel; convert again")
        self._check_samples()

    def _altered(self, part: str) -> FormatError:
        return FormatError(f"{self.path}: its {part} does not match the card: altered; copy it again, or convert again")

    def _compare_with_card(self, part: str, content: np.ndarray) -> None:
        if hashlib.sha256(content).hexdigest() != self.card.hashes[part]:
            raise self._altered(part)

    def _check_samples(self) -> None:
        classes, patients = len(self.card.classes), len(self.card.patients)
        for start in range(0, self.num_samples, _CHECKED_AT_ONCE):
            samples = self.metadata[start : start + _CHECKED_AT_ONCE]
            image, label, patient, crc32 = (samples[name] for name in ("f0", "f1", "f2", "f4"))
            position, size = image["data_ptr"], image["size"]
            sound = (position >= self.data_start) & (position <= self.table_start)
            sound &= position + size <= self.table_start
            sound &= (image["height"] == self.height) & (image["width"] == self.width)
            sound &= (label >= 0) & (label < classes) & (patient >= -1) & (patient < patients)
            sound &= (crc32 >= 0) & (crc32 < 1 << 32)
            if self.encoding == "raw":
                sound &= size == self.height * self.width
            if not sound.all():
                raise self._altered("metadata")

    def __len__(self) -> int:
        return self.num_samples

    @property
    def _end(self) -> int:
        """Where the file ends now; what is touched behind it, in a file that was cut while open, kills by SIGBUS."""
        mapping: mmap = self.data._mmap  # type: ignore[attr-defined]
        return mapping.size()

    def _column(self, values: np.ndarray, dtype: type) -> np.ndarray:
        if self._end < self.data_start:
            raise FormatError(f"{self.path}: was cut to {self._end} bytes while open; copy it again, or convert again")
        column: np.ndarray = np.ascontiguousarray(values, dtype=dtype)
        column.setflags(write=False)
        return column

    @cached_property
    def labels(self) -> np.ndarray:
        """Class indices, int64, shape (num_samples,)."""
        return self._column(self.metadata["f1"], np.int64)

    @cached_property
    def patients(self) -> np.ndarray:
        """Indices into `card.patients`, -1 where unknown; int64, shape (num_samples,)."""
        return self._column(self.metadata["f2"], np.int64)

    @cached_property
    def rows(self) -> np.ndarray:
        """Manifest rows, int64, shape (num_samples,)."""
        return self._column(self.metadata["f3"], np.int64)

    @cached_property
    def crc32(self) -> np.ndarray:
        """CRC32 of each sample's stored bytes, uint32, shape (num_samples,)."""
        return self._column(self.metadata["f4"], np.uint32)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Byte position of each sample's image, uint64, shape (num_samples,)."""
        return self._column(self.metadata["f0"]["data_ptr"], np.uint64)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Length of each sample's image in bytes, uint32, shape (num_samples,)."""
        return self._column(self.metadata["f0"]["size"], np.uint32)

    def image_bytes(self, index: int) -> np.ndarray:
        """The stored bytes of one sample: a uint8 view of the file.

        Raises
        ------
        FormatError or DamagedSampleError
            If the file was cut, while open, so that it ends before the sample does.
        """
        start, size = int(self.offsets[index]), int(self.sizes[index])
        if (end := self._end) < start + size:
            reason = f"the file now ends at byte {end}, before the sample does"
            raise DamagedSampleError(str(self.path), int(self.rows[index]), reason)
        return self.data[start : start + size]

    def check(self, index: int) -> None:
        """Compare one sample's bytes with their CRC32.

        Raises
        ------
        DamagedSampleError
            If they differ.
        """
        if zlib.crc32(self.image_bytes(index)) != self.crc32[index]:
            raise DamagedSampleError(str(self.path), int(self.rows[index]), "its checksum differs")

    def decode(self, index: int) -> np.ndarray:
        """One stored image, uint8, shape (height, width).

        Raises
        ------
        DamagedSampleError
            If a JPEG cannot be decoded to that shape.
        """
        stored = self.image_bytes(index)
        if self.encoding == "raw":
            return np.array(stored).reshape(self.height, self.width)
        import cv2

        image = cv2.imdecode(np.ascontiguousarray(stored), cv2.IMREAD_GRAYSCALE)
        if image is None or image.shape != (self.height, self.width):
            raise DamagedSampleError(str(self.path), int(self.rows[index]), "its JPEG cannot be decoded")
        return image
