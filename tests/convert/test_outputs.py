"""Another format is an `Output` and its line in `FORMATS`: planned, resumed, parallel and finished like the others."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fastrad.convert.options import ConvertOptions
from fastrad.convert.outputs import FORMATS
from fastrad.convert.outputs.base import DataFile, Output, rows_a_chunk
from fastrad.convert.run import convert, preview
from fastrad.dataset import Card
from fastrad.system.files import write_atomically

SAMPLE = np.dtype([("label", "<i8"), ("patient", "<i8")])


class ArraySink:
    """Pixels, one image after another."""

    def __init__(self, path: str) -> None:
        self._file = DataFile(path, 0)
        self.hashes: list[str] = []
        self._records: list[tuple[int, int]] = []

    def store(self, encoded, sample) -> None:
        self._file.append(encoded.data.data)
        self._records.append((sample.label, sample.patient))

    def records(self) -> np.ndarray:
        return np.array(self._records, dtype=SAMPLE)

    def close(self, finished: bool, sync: bool) -> None:
        if finished:
            self._file.truncate()
        self._file.close(sync)


@dataclass(frozen=True)
class ArrayOutput(Output):
    """One file of numpy's, (N, side, side) uint8."""

    format = "array"
    encodings = ("raw",)
    columns = ("label", "patient")
    takes_url = False

    @classmethod
    def plan(cls, rows, image, shard_bytes):
        return cls(rows, image, rows_a_chunk(rows))

    @property
    def estimated_bytes(self):
        return self.rows * self.image.size**2

    def parameters(self):
        return {}

    def sink(self, index, data):
        return ArraySink(data)

    def last_file(self, name):
        return f"{name}.card.json"

    def finish(self, split, destination):
        content = b"".join(split.work.data_of(index).read_bytes() for index in range(self.chunks))
        images = np.frombuffer(content, np.uint8).reshape(-1, self.image.size, self.image.size)
        whole = split.work.folder / "whole.npy"
        np.save(whole, images)
        digest = hashlib.sha256(whole.read_bytes()).hexdigest()
        about = {"name": f"{split.name}.npy", "samples": len(images), "bytes": whole.stat().st_size}
        hashes = {"algorithm": "sha256", "shards": [{**about, "sha256": digest, "index_sha256": digest}]}
        card = split.make_card(hashes, about["bytes"])
        destination.put(whole, about["name"])
        write_atomically(destination.work_dir / self.last_file(split.name), card.to_bytes())
        return card


def test_a_format_of_ones_own_is_a_class_and_a_line(archive, tmp_path, small_chunks, monkeypatch):
    monkeypatch.setitem(FORMATS, "array", ArrayOutput)
    manifest = archive(100)
    (manifest.root / manifest.table["path"][60]).write_bytes(b"damaged")
    options = ConvertOptions(format="array", workers=1)
    (plan,) = preview(manifest, tmp_path / "out", options).plans
    assert (options.encode, plan.output.chunks, plan.bytes_needed) == ("raw", 3, 2 * 100 * 224 * 224)
    (file,) = convert(manifest, tmp_path / "out", options).files
    stored = np.load(tmp_path / "out" / "all.npy")
    rows = [row for row in range(100) if row != 60]
    for position, row in enumerate(rows):
        assert np.array_equal(stored[position], np.asarray(Image.open(manifest.root / manifest.table["path"][row])))
    assert Card.read(tmp_path / "out" / "all.card.json").class_counts == {"class0": 33, "class1": 33, "class2": 33}
    assert [entry["row"] for entry in file.card.quarantined] == [60]
    assert convert(manifest, tmp_path / "out", options).converted == 0
