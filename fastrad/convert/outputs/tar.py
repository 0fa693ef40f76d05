"""WebDataset shards: what a worker writes of a chunk, and the tars with DALI's index that chunks are cut into.

A chunk becomes a stretch of a tar in a file of its own. Tars are cut between samples, by size alone, so the bytes
follow from the plan. The card is put in place last: where it exists, all of them are complete.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from isal import isal_zlib

from fastrad.convert.destination import Destination
from fastrad.convert.folder import WorkFolder
from fastrad.convert.outputs.base import DataFile, DoneSplit, Output, rows_a_chunk, too_short
from fastrad.convert.record import read_arrays
from fastrad.convert.sample import Encoded, ImageOptions, Sample
from fastrad.dataset.card import Card
from fastrad.dataset.tar import layout
from fastrad.system.files import write_atomically

Stretch = tuple[int, np.ndarray]  # number of the chunk, records of consecutive samples in it
_COPIED_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class TarOutput(Output):
    """Tars of at most `shard_bytes` bytes."""

    shard_bytes: int

    format = "webdataset"
    encodings = ("png", "jpeg")
    columns = ("label", "patient")
    takes_url = True

    @classmethod
    def plan(cls, rows: int, image: ImageOptions, shard_bytes: int) -> Self:
        """As of `Output`."""
        return cls(rows, image, rows_a_chunk(rows), shard_bytes)

    @property
    def estimated_bytes(self) -> int:
        """PNG are taken to be as large as their pixels, JPEG a quarter of that."""
        image = self.image.size**2 // (4 if self.image.encode == "jpeg" else 1)
        return self.rows * (image + 5 * layout.BLOCK)

    def parameters(self) -> dict[str, Any]:
        """Bytes per tar, and rows per chunk under the name that cards have always given it."""
        return {"shard_bytes": self.shard_bytes, "shard_rows": self.chunk_rows}

    def sink(self, index: int, data: str) -> TarSink:
        """A stretch of a tar in `data`."""
        return TarSink(data)

    def is_whole(self, index: int, data: Path, hashes: list[str]) -> bool:
        """Whether the stretch has its checksum."""
        try:
            checksum = 0
            with open(data, "rb") as file:
                while content := file.read(_COPIED_AT_ONCE):
                    checksum = isal_zlib.crc32(content, checksum)
        except OSError:
            return False
        return hashes == [f"{checksum:08x}"]

    def last_file(self, name: str) -> str:
        """The card."""
        return f"{name}.card.json"

    def finish(self, split: DoneSplit, destination: Destination) -> Card:
        """Write the tars, then the card."""
        shards = []
        limit = self.shard_bytes - len(layout.END_OF_ARCHIVE)
        for number, stretches in enumerate(_cut(split.work, self.chunks, limit)):
            name = f"{split.name}-{number:06d}"
            shards.append(_write_tar(split.work, destination, name, stretches, layout.SUFFIXES[self.image.encode]))
        size = sum(shard["bytes"] for shard in shards)
        card = split.make_card({"algorithm": "sha256", "shards": shards}, size)
        path = split.work.folder / "card"
        write_atomically(path, card.to_bytes())
        destination.put(path, self.last_file(split.name))
        return card


class TarSink:
    """A stretch of a tar file: three members per sample, without the end of an archive."""

    def __init__(self, path: str) -> None:
        self._file = DataFile(path, 0)
        self.hashes: list[str] = []
        self._checksum = 0
        self._records: list[tuple] = []

    def store(self, encoded: Encoded, sample: Sample) -> None:
        """Store one image with its class index and what else is known of it."""
        key = f"{sample.row:09d}"
        crc32 = isal_zlib.crc32(encoded.data)
        about = {
            "row": sample.row,
            "label": sample.label_name,
            "patient": sample.patient_name,
            "content": encoded.content,
            "crc32": crc32,
        }
        texts = (b"%d" % sample.label, json.dumps(about).encode())
        members = layout.member(f"{key}.{layout.SUFFIXES[encoded.kind]}", encoded.data.tobytes())
        members += layout.member(f"{key}.cls", texts[0]) + layout.member(f"{key}.json", texts[1])
        sizes = (len(encoded.data), len(texts[0]), len(texts[1]))
        place = (self._file.position, len(members))
        self._records.append((*place, sample.row, sample.label, sample.patient, crc32, sizes))
        self._file.append(members)
        self._checksum = isal_zlib.crc32(members, self._checksum)

    def records(self) -> np.ndarray:
        """`layout.TAR_SAMPLE` of the stored images."""
        return np.array(self._records, dtype=layout.TAR_SAMPLE)

    def close(self, finished: bool, sync: bool) -> None:
        """End the stretch, and wait for the disk where `sync` asks for it."""
        try:
            if finished:
                self._file.truncate()
                self.hashes = [f"{self._checksum:08x}"]
        finally:
            self._file.close(sync and finished)


def _cut(work: WorkFolder, chunks: int, limit: int) -> Iterator[list[Stretch]]:
    """The samples of all chunks in order, in groups of at most `limit` bytes (or one sample)."""
    group: list[Stretch] = []
    used = 0
    for index in range(chunks):
        samples, _ = read_arrays(work.record_path(index))
        first = 0
        for position, length in enumerate(samples["length"].tolist()):
            if used and used + length > limit:
                if position > first:
                    group.append((index, samples[first:position]))
                yield group
                group, used, first = [], 0, position
            used += length
        if len(samples) > first:
            group.append((index, samples[first:]))
    if group:
        yield group


def _write_tar(
    work: WorkFolder, destination: Destination, name: str, stretches: list[Stretch], suffix: str
) -> dict[str, Any]:
    """One shard and its index; what the card says of them."""
    path = work.folder / f"{name}.tar"
    digest, lines = hashlib.sha256(), []
    path.unlink(missing_ok=True)  # of an earlier attempt; a new file follows no link
    with open(path, "xb") as target:
        for index, samples in stretches:
            begin = int(samples["start"][0])
            positions = (samples["start"].astype(np.int64) + target.tell() - begin).tolist()
            known = zip(samples["row"].tolist(), positions, samples["sizes"].tolist(), strict=True)
            lines += [layout.index_line(row, position, sizes, suffix) for row, position, sizes in known]
            with open(work.data_of(index), "rb") as part:
                part.seek(begin)
                left = int(samples["start"][-1] + samples["length"][-1]) - begin
                while left:
                    content = part.read(min(left, _COPIED_AT_ONCE))
                    if not content:
                        raise too_short(part.name, work.folder)
                    digest.update(content)
                    target.write(content)
                    left -= len(content)
        digest.update(layout.END_OF_ARCHIVE)
        target.write(layout.END_OF_ARCHIVE)
        size = target.tell()
        target.flush()
        os.fsync(target.fileno())
    text = layout.index_text(lines).encode()
    index_path = work.folder / f"{name}.idx"
    write_atomically(index_path, text)
    destination.put(index_path, f"{name}.idx")
    destination.put(path, f"{name}.tar")
    return {
        "name": f"{name}.tar",
        "samples": len(lines),
        "bytes": size,
        "sha256": digest.hexdigest(),
        "index_sha256": hashlib.sha256(text).hexdigest(),
    }
