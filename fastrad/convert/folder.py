"""The work folder of a split, by paths: the file that grows, and of each chunk its record, mark and data."""

from __future__ import annotations

from pathlib import Path

from fastrad.convert.record import ChunkRecord, read_mark, read_record


class WorkFolder:
    """Where the work on a split lies.

    Parameters
    ----------
    folder : Path
    in_place : bool
        Whether chunks write into one file, `data`; else each into a file of its own.
    """

    def __init__(self, folder: Path, in_place: bool) -> None:
        self.folder, self._in_place = folder, in_place

    @property
    def data(self) -> Path:
        """The file that becomes the dataset."""
        return self.folder / "data"

    @property
    def chunks(self) -> Path:
        """The folder of what belongs to single chunks."""
        return self.folder / "chunks"

    def record_path(self, index: int) -> Path:
        """The record of chunk `index`, without its suffix."""
        return self.chunks / f"{index:06d}"

    def data_of(self, index: int) -> Path:
        """The file that gets the images of chunk `index`."""
        return self.data if self._in_place else self.record_path(index).with_suffix(".pages")

    def is_valid(self, index: int) -> bool:
        """Whether chunk `index` is done and on the disk."""
        return self.record_path(index).with_suffix(".json").exists()

    def record(self, index: int) -> ChunkRecord | None:
        """What chunk `index` holds; None where it is not done."""
        return read_record(self.record_path(index))

    def finished_record(self, index: int) -> ChunkRecord:
        """What chunk `index` holds, which is done."""
        record = self.record(index)
        assert record is not None
        return record

    def mark(self, index: int) -> tuple[int, int] | None:
        """How far the worker of chunk `index` has got, and how much it has quarantined; None before it begins."""
        return read_mark(self.record_path(index))
