"""Makes the finished file of a split out of its shards' records, and its card.

In: a `Journal` whose shards are all done. Out: `OUT/NAME.beton` and `OUT/NAME.card.json`. The card is put in place
first, so that a dataset file that exists has its card and is complete.
"""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from fastrad.convert.chunk import read_arrays
from fastrad.convert.journal import Journal
from fastrad.convert.totals import add_up, make_card, nothing_stored
from fastrad.dataset.beton import layout
from fastrad.dataset.card import Card
from fastrad.errors import InputError
from fastrad.system.files import sync_folder, write_atomically

# file systems that cannot copy ranges between these files say one of these
_NO_COPY_RANGE = {errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP}


def finish_beton(journal: Journal, out_dir: Path) -> Card:
    """Write what comes before and after the pages, put card and file in place, and delete the work folder.

    Raises
    ------
    InputError
        If not one image of the split could be stored.
    """
    plan = journal.plan
    totals = add_up(journal)
    if totals.stored == 0:
        raise InputError(nothing_stored(plan, totals))
    with open(journal.data, "r+b" if journal.data.exists() else "w+b") as data:
        page_hashes = _gather_pages(journal, data.fileno())
        table_start = plan.data_start + len(page_hashes) * plan.page_size
        metadata_hash, table_hash = hashlib.sha256(), hashlib.sha256()
        starts = _shard_starts(journal)
        patient_numbers = totals.patient_numbers()
        metadata_at, table_at, written = layout.METADATA_START, table_start, 0
        for index in range(plan.shards):
            metadata, _ = read_arrays(str(journal.record(index)))
            metadata["f0"]["data_ptr"] += np.uint64(starts[index])
            metadata["f2"] = patient_numbers[metadata["f2"]]
            table = layout.allocation_table(metadata, written).tobytes()
            written += len(metadata)
            metadata_at = _append(data.fileno(), metadata.tobytes(), metadata_at, metadata_hash)
            table_at = _append(data.fileno(), table, table_at, table_hash)
        _append(data.fileno(), bytes(plan.data_start - metadata_at), metadata_at, metadata_hash)
        quality = plan.image.quality if plan.image.encode == "jpeg" else 0
        head = layout.head_bytes(
            samples=totals.stored,
            page_size=plan.page_size,
            alloc_table_ptr=table_start,
            arguments=layout.image_arguments(plan.image.encode, plan.image.size, plan.image.size, quality),
        )
        os.pwrite(data.fileno(), head, 0)
        os.ftruncate(data.fileno(), table_at)
        os.fsync(data.fileno())
    hashes = {
        "algorithm": "sha256",
        "header": hashlib.sha256(head).hexdigest(),
        "metadata": metadata_hash.hexdigest(),
        "allocation_table": table_hash.hexdigest(),
        "pages": page_hashes,
    }
    card = make_card(plan, totals, hashes, table_at)
    path = out_dir / f"{plan.name}.beton"
    write_atomically(Card.path_for(path), card.to_bytes())
    os.replace(journal.data, path)
    sync_folder(out_dir)
    journal.remove()
    return card


def _append(descriptor: int, content: bytes, position: int, digest: Any) -> int:
    digest.update(content)
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, position)
        view, position = view[written:], position + written
    return position


def _shard_starts(journal: Journal) -> list[int]:
    """Byte position of each shard's first page."""
    starts, position = [], journal.plan.data_start
    for index in range(journal.plan.shards):
        summary = journal.finished_summary(index)
        starts.append(position)
        position += len(summary.pages) * journal.plan.page_size
    return starts


def _gather_pages(journal: Journal, data: int) -> list[str]:
    """Bring the pages into the data file, where workers did not put them there already; return their hashes."""
    hashes: list[str] = []
    for index, start in enumerate(_shard_starts(journal)):
        summary = journal.finished_summary(index)
        hashes += summary.pages
        if not journal.plan.shard_pages(index):
            with open(journal.record(index).with_suffix(".pages"), "rb") as pages:
                _copy(pages.fileno(), data, len(summary.pages) * journal.plan.page_size, start)
    return hashes


def _copy(source: int, target: int, length: int, position: int) -> None:
    done = 0
    while done < length:
        try:
            copied = os.copy_file_range(source, target, length - done, done, position + done)
        except OSError as error:
            if error.errno not in _NO_COPY_RANGE:
                raise
            copied = os.pwrite(target, os.pread(source, min(length - done, 1 << 22), done), position + done)
        if copied == 0:
            raise InputError("a part file of the conversion is shorter than its record; delete the work folder")
        done += copied
