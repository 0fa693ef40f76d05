"""Makes the WebDataset shards of a split out of its parts, with DALI's index beside each, and the card.

In: a `Journal` whose parts are all done. Out: `NAME-000000.tar` and `.idx`, ... and at last `NAME.card.json`: where the
card exists, all of them are complete. Tars are cut between samples, by size alone, so the bytes follow from the plan.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastrad.convert.chunk import read_arrays
from fastrad.convert.destination import Destination
from fastrad.convert.journal import Journal
from fastrad.convert.totals import add_up, make_card, nothing_stored
from fastrad.dataset.card import Card
from fastrad.dataset.tar import layout as tar
from fastrad.errors import InputError
from fastrad.system.files import write_atomically

Stretch = tuple[int, np.ndarray]  # number of the part, records of consecutive samples in it
_COPIED_AT_ONCE = 1 << 22


def finish_tars(journal: Journal, out: Destination) -> Card:
    """Write the shards, then the card, and delete the work folder.

    Raises
    ------
    InputError
        If not one image of the split could be stored.
    """
    plan = journal.plan
    totals = add_up(journal)
    if totals.stored == 0:
        raise InputError(nothing_stored(plan, totals))
    shards = []
    for number, stretches in enumerate(_cut(journal, plan.tar_bytes - len(tar.END_OF_ARCHIVE))):
        shards.append(_write_tar(journal, out, f"{plan.name}-{number:06d}", stretches))
    size = sum(shard["bytes"] for shard in shards)
    card = make_card(plan, totals, {"algorithm": "sha256", "shards": shards}, size)
    path = journal.folder / "card"
    write_atomically(path, card.to_bytes())
    out.put(path, f"{plan.name}.card.json")
    journal.remove()
    return card


def _cut(journal: Journal, limit: int) -> Iterator[list[Stretch]]:
    """The samples of all parts in order, in groups of at most `limit` bytes (or one sample)."""
    group: list[Stretch] = []
    used = 0
    for index in range(journal.plan.shards):
        samples, _ = read_arrays(str(journal.record(index)))
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


def _write_tar(journal: Journal, out: Destination, name: str, stretches: list[Stretch]) -> dict[str, Any]:
    """One shard and its index; what the card says of them."""
    path = journal.folder / f"{name}.tar"
    suffix = tar.SUFFIXES[journal.plan.image.encode]
    digest, lines = hashlib.sha256(), []
    with open(path, "wb") as target:
        for index, samples in stretches:
            begin = int(samples["start"][0])
            positions = (samples["start"].astype(np.int64) + target.tell() - begin).tolist()
            known = zip(samples["row"].tolist(), positions, samples["sizes"].tolist(), strict=True)
            lines += [tar.index_line(row, position, sizes, suffix) for row, position, sizes in known]
            with open(journal.record(index).with_suffix(".pages"), "rb") as part:
                part.seek(begin)
                left = int(samples["start"][-1] + samples["length"][-1]) - begin
                while left:
                    content = part.read(min(left, _COPIED_AT_ONCE))
                    if not content:
                        raise InputError(f"{part.name}: is shorter than its record; delete {journal.folder}")
                    digest.update(content)
                    target.write(content)
                    left -= len(content)
        digest.update(tar.END_OF_ARCHIVE)
        target.write(tar.END_OF_ARCHIVE)
        size = target.tell()
        target.flush()
        os.fsync(target.fileno())
    text = tar.index_text(lines).encode()
    index_path = journal.folder / f"{name}.idx"
    write_atomically(index_path, text)
    out.put(index_path, f"{name}.idx")
    out.put(path, f"{name}.tar")
    return {
        "name": f"{name}.tar",
        "samples": len(lines),
        "bytes": size,
        "sha256": digest.hexdigest(),
        "index_sha256": hashlib.sha256(text).hexdigest(),
    }
