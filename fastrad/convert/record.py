"""What a worker leaves behind of a chunk: its record, and a mark that says how far it has got.

`N.json` is the record; `N.npy` holds the samples' records and the stamps of their source files; `N.at` is the mark. A
record is valid only after the chunk's data have reached the disk. A worker that does not wait for the disk writes
`N.pending`, which the parent makes valid. A record ends with its own hash and holds those of everything else: what a
disk altered between two runs is found, and converted again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np

from fastrad.errors import FormatError, InputError
from fastrad.system.files import sync_folder, write_atomically
from fastrad.system.json_file import decode
from fastrad.system.reading import read_whole

_MARK = struct.Struct("<qq")
_MAX_RECORD_BYTES = 1 << 26
_DIGEST = 64  # hexadecimal digits behind the last line


@dataclass(frozen=True)
class ChunkRecord:
    """What a finished chunk holds.

    Attributes
    ----------
    stored : int
        Number of samples.
    pages : list of str
        SHA-256 of each page; of the stretch of a tar one entry, its CRC-32.
    samples_sha256 : str
        Of `N.npy`.
    quarantined : list of (row, reason)
    value_sum, square_sum, pixels : int
        Exact sums over the pixel values (0 to 255) as they were before JPEG, padding left out; of images that were
        not decoded 0.
    made_square : int
        Images whose pixels were not square.
    gray_levels : str
        Hexadecimal; bit g is 1 where gray level g was seen, in at most 32 rows of each image; 0 where none was decoded.
    """

    stored: int
    pages: list[str]
    samples_sha256: str
    quarantined: list[tuple[int, str]]
    value_sum: int
    square_sum: int
    pixels: int
    made_square: int = 0
    gray_levels: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{1,64}$")] = "0"


def sealed(content: bytes) -> bytes:
    """A text with its own hash behind it."""
    return content + b"\n" + hashlib.sha256(content).hexdigest().encode()


def unsealed(text: bytes) -> bytes | None:
    """The text that `sealed` was given; None where it was altered since, or never sealed."""
    content = text[: -_DIGEST - 1]
    return content if content and sealed(content) == text else None


def samples_file(samples: np.ndarray, stamps: np.ndarray, fingerprints: np.ndarray) -> bytes:
    """The content of `N.npy`."""
    content = io.BytesIO()
    np.save(content, samples)
    np.save(content, stamps)
    np.save(content, fingerprints)
    return content.getvalue()


def write_record(path: Path, record: ChunkRecord, samples: bytes, *, valid: bool) -> None:
    """Write a chunk's record, `path` without its suffix, and `samples_file`: valid, after a wait for the disk, or
    pending."""
    with open(path.with_suffix(".npy"), "wb") as file:
        file.write(samples)
        if valid:
            file.flush()
            os.fsync(file.fileno())
    content = sealed(json.dumps(asdict(record)).encode())
    if valid:
        write_atomically(path.with_suffix(".json"), content)
    else:
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_bytes(content)
        temporary.replace(path.with_suffix(".pending"))


def commit_record(path: Path, data: Path) -> None:
    """Make a pending record valid, after its pages in `data` have reached the disk."""
    pending = path.with_suffix(".pending")
    for file in (data, path.with_suffix(".npy"), pending):
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
    os.replace(pending, path.with_suffix(".json"))
    sync_folder(path.parent)


def read_record(path: Path) -> ChunkRecord | None:
    """The record of a converted chunk, pending or valid; None where it is not converted, or the record was altered."""
    for suffix in (".json", ".pending"):
        try:
            content = unsealed(read_whole(path.with_suffix(suffix), _MAX_RECORD_BYTES, "a chunk's record"))
        except FileNotFoundError:
            continue
        except InputError:
            return None
        try:
            return None if content is None else decode(content, ChunkRecord, str(path), "")
        except FormatError:  # another version's
            return None
    return None


def samples_are_whole(path: Path, record: ChunkRecord) -> bool:
    """Whether `N.npy` is what its record says."""
    try:
        with open(path.with_suffix(".npy"), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == record.samples_sha256
    except OSError:
        return False


def read_arrays(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A finished chunk's samples, placed from the chunk's start, and the stamps of its sources, int64 (n, 2)."""
    with open(path.with_suffix(".npy"), "rb") as file:
        return np.load(file), np.load(file)


def read_fingerprints(path: Path) -> np.ndarray:
    """`FINGERPRINT` of a finished chunk's samples; none where its images come from shards."""
    with open(path.with_suffix(".npy"), "rb") as file:
        return [np.load(file) for _ in range(3)][2]


class Mark:
    """Says, for the parent and for whoever looks after a death, which image a worker is at."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def set(self, position: int, quarantined: int) -> None:
        """The worker begins with the image at this position, after so many were quarantined."""
        os.pwrite(self._descriptor, _MARK.pack(position, quarantined), 0)


@contextmanager
def marking(path: Path) -> Iterator[Mark]:
    """The mark of a chunk that a worker begins."""
    descriptor = os.open(path.with_suffix(".at"), os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        yield Mark(descriptor)
    finally:
        os.close(descriptor)


def read_mark(path: Path) -> tuple[int, int] | None:
    """Position in the chunk that a worker has reached, and its quarantine count; None where it has not begun."""
    try:
        content = path.with_suffix(".at").read_bytes()
    except FileNotFoundError:
        return None
    if len(content) < _MARK.size:
        return None
    position, quarantined = _MARK.unpack(content[: _MARK.size])
    return position, quarantined
