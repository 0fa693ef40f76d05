"""The work folder of a conversion, `OUT/.NAME.work`: what is done, kept so that the same command goes on.

It holds `plan.json` (what the run agreed on), `lock`, `data` (the file that grows, where chunks are written in place)
and `chunks/`, with the record of each finished chunk, and its data where they have a file of their own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import cv2
import numpy as np

from fastrad.convert.chunk import ChunkTask
from fastrad.convert.destination import Destination
from fastrad.convert.folder import WorkFolder
from fastrad.convert.from_shards import TarSplit
from fastrad.convert.outputs.base import DoneSplit
from fastrad.convert.plan import SplitPlan, fingerprint
from fastrad.convert.record import (
    commit_record,
    read_arrays,
    read_fingerprints,
    samples_are_whole,
    sealed,
    unsealed,
)
from fastrad.convert.totals import Totals
from fastrad.dataset.card import MAX_CARD_BYTES, Card
from fastrad.dataset.fingerprints import to_bytes
from fastrad.dataset.pseudonym import without_values
from fastrad.errors import FormatError, InputError
from fastrad.system.files import sync_folder, write_atomically
from fastrad.system.json_file import decode
from fastrad.system.reading import read_whole

_MAX_PLAN_BYTES = 1 << 20


class Journal(WorkFolder):
    """The work folder of one split, opened and locked.

    Parameters
    ----------
    plan : SplitPlan
    work_dir : Path
        Where the work folder goes.

    Raises
    ------
    InputError
        If another conversion is writing there, or the folder was begun with another source or other options (they
        are named).
    """

    def __init__(self, plan: SplitPlan, work_dir: Path) -> None:
        super().__init__(work_folder(plan, work_dir), plan.output.in_place)
        self.plan = plan
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._take_lock()
        self.poison: dict[int, dict[int, str]] = {}
        self.plan_was_damaged = False
        try:
            self._agree()
        except BaseException:
            if not (self.folder / "plan.json").exists():  # nothing was begun: leave nothing
                shutil.rmtree(self.folder, ignore_errors=True)
            self.close()
            raise

    def _agree(self) -> None:
        """Note what this run is about, or refuse to go on with a run that was about something else."""
        plan_file = self.folder / "plan.json"
        agreed = {**self.plan.fingerprint(), "OpenCV": cv2.__version__}  # another one's JPEG are other bytes
        before = self._agreed_before(plan_file)
        if before is None:
            for chunks in (self.chunks, self.folder / "shards"):  # of what plan they are nobody knows
                shutil.rmtree(chunks, ignore_errors=True)
            self.chunks.mkdir(exist_ok=True)
            write_atomically(plan_file, sealed(json.dumps(agreed, indent=1).encode()))
            return
        if changed := changed_settings(before, agreed):
            raise InputError(
                f"{self.folder}: an unfinished conversion lies there, but since then {changed}; "
                f"give the earlier command to finish it, or move {self.folder} away to start anew"
            )
        if (self.folder / "shards").is_dir():  # begun by fastrad 0.1.0
            (self.folder / "shards").rename(self.chunks)

    def _agreed_before(self, plan_file: Path) -> dict[str, Any] | None:
        """What the run that began here agreed on; None where there was none, or the disk altered it."""
        try:
            text = read_whole(plan_file, _MAX_PLAN_BYTES, "the plan of a conversion")
            content = text if text.endswith(b"}") else unsealed(text)  # 0.1.0 did not seal it, nor its chunks
            if content is not None:
                return decode(content, dict[str, Any], str(plan_file), "")
        except FileNotFoundError:
            return None
        except FormatError:
            pass
        self.plan_was_damaged = True
        return None

    def _take_lock(self) -> IO[bytes]:
        lock = open(self.folder / "lock", "ab")  # noqa: SIM115 - held until close
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise InputError(f"{self.folder}: another fastrad convert is writing there; wait for it") from None
        return lock

    def close(self) -> None:
        """Let go of the lock; the folder stays."""
        self._lock.close()

    def remove(self) -> None:
        """Delete the folder, after its file is finished."""
        shutil.rmtree(self.folder)
        self.close()

    def task(self, index: int, sync: bool = True) -> ChunkTask:
        """The work on chunk `index`, ready to be sent to a worker."""
        record = self.record_path(index)
        for suffix in (".at", ".pending"):
            record.with_suffix(suffix).unlink(missing_ok=True)
        return self.plan.task(index, self.data_of(index), record, self.poison.get(index, {}), sync)

    def commit(self, index: int) -> None:
        """Wait for the disk and make the record of chunk `index` valid, where the worker has not."""
        if not self.is_valid(index):
            commit_record(self.record_path(index), self.data_of(index))

    def is_whole(self, index: int) -> bool:
        """Whether a chunk that an earlier run finished is on the disk as it was written: record, samples and data."""
        record = self.record(index)
        return (
            record is not None
            and samples_are_whole(self.record_path(index), record)
            and self.plan.output.is_whole(index, self.data_of(index), record.pages)
        )

    def discard(self, index: int) -> None:
        """Forget that chunk `index` is done."""
        self.record_path(index).with_suffix(".json").unlink()
        sync_folder(self.chunks)  # before its pages are written again

    def finished(self) -> list[int]:
        """The chunks with a record."""
        return [index for index in range(self.plan.output.chunks) if self.is_valid(index)]

    @property
    def fingerprints(self) -> Path:
        """The file of them, when all chunks are done."""
        return self.folder / "fingerprints"

    def _write_fingerprints(self) -> dict[str, Any]:
        """Write the file; what the card says of it, nothing where there is none."""
        source = self.plan.source
        if isinstance(source, TarSplit):
            content = source.fingerprints()
            if content is None:
                return {}
        else:
            chunks = range(self.plan.output.chunks)
            content = to_bytes(np.concatenate([read_fingerprints(self.record_path(index)) for index in chunks]))
        write_atomically(self.fingerprints, content)
        return {"sha256": hashlib.sha256(content).hexdigest()}

    def done(self) -> DoneSplit:
        """The split, whose chunks are all done.

        Raises
        ------
        InputError
            If not one image of it could be stored.
        """
        plan = self.plan
        totals = Totals(len(plan.source.classes), len(plan.source.patient_names))
        label, patient = plan.output.columns
        for index in range(plan.output.chunks):
            samples, _ = read_arrays(self.record_path(index))
            totals.add(self.finished_record(index), samples[label], samples[patient])
        if totals.stored == 0:
            row, reason = totals.quarantined[0]
            raise InputError(
                f"{plan.source.place}: none of the {len(plan.rows)} images of {plan.name} could be stored, so no file "
                f"is written; the first reason (row {row}): {without_values(reason)}"
            )
        about = self._write_fingerprints()
        return DoneSplit(plan.name, self, totals, lambda hashes, size: plan.card(totals, hashes, size, about))


class Chunk(NamedTuple):
    """A chunk of a split, by its number."""

    journal: Journal
    number: int


def work_folder(plan: SplitPlan, work_dir: Path) -> Path:
    """Where the work on a split lies."""
    return work_dir / f".{plan.name}.work"


def changed_settings(begun: dict, now: dict) -> str:
    """In words, what differs between two fingerprints; "" where nothing does."""
    words = []
    for name in {**begun, **now}:
        if begun.get(name) != now.get(name):
            hashed = any(isinstance(value, str) and len(value) == 64 for value in (begun.get(name), now.get(name)))
            words.append(
                f"{name} changed"
                + ("" if hashed else f" from {str(begun.get(name))[:80]} to {str(now.get(name))[:80]}")
            )
    follow = [word for word in words if not word.startswith(("page_size", "shard_rows"))]
    return ", ".join(follow or words)


def finished_card(plan: SplitPlan, out: Destination) -> Card | None:
    """The card of the plan's finished files; None where they are not finished.

    Raises
    ------
    InputError
        If what is there was made from another source or with other options (they are named), or was cut.
    """
    name, last = f"{plan.name}.card.json", plan.output.last_file(plan.name)
    text = out.read(name, MAX_CARD_BYTES)
    if text is None:
        if out.size(last) is not None:
            raise InputError(f"{out.path(last)}: its card is missing; move it away, or choose another OUT_DIR")
        return None
    try:
        card = Card.from_bytes(text, out.path(name))
    except FormatError as error:
        raise InputError(f"{error}; or move it away, or choose another OUT_DIR") from error
    changed = changed_settings(_fingerprint_of(card), plan.fingerprint(card.patients))
    if changed:
        raise InputError(
            f"{out.path(name)}: is of a finished conversion, but since then {changed}; choose another "
            "OUT_DIR, or move it away with its files"
        )
    for file, size in card.files():
        found = out.size(file)
        if found is None and file == last:
            return None
        if found != size:
            raise InputError(
                f"{out.path(file)}: was cut, altered or deleted; copy it again, or move its card away to convert again"
            )
    return card


def remove_leftover(plan: SplitPlan, work_dir: Path) -> None:
    """Delete the work folder that a conversion of finished files left, where it ended before it could."""
    if work_folder(plan, work_dir).exists():
        with suppress(InputError):  # somebody writes there
            Journal(plan, work_dir).remove()


def _fingerprint_of(card: Card) -> dict[str, Any]:
    return fingerprint(
        card.layout, card.manifest_sha256, card.classes, card.patients, card.patient_ids, card.parameters
    )
