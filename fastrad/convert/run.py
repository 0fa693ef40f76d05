"""Converts an archive into dataset files, one a split: in parallel, resumable, the same bytes every time.

In: a `Manifest` or the shards of an earlier conversion, an output folder and `ConvertOptions`. Out: `OUT/train.beton`,
`val.beton`, `test.beton` (or `all.beton` where the source has no splits), each with its card; and a `ConvertSummary`.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastrad.archives.manifest import Manifest
from fastrad.convert.chunk import changed_sources
from fastrad.convert.cluster import ClusterWorkers
from fastrad.convert.destination import Destination
from fastrad.convert.from_shards import read_shards, refuse_altered_shards
from fastrad.convert.journal import Journal, finished_card, remove_leftover, work_folder
from fastrad.convert.outputs.beton import finish_beton
from fastrad.convert.outputs.tar import finish_tars
from fastrad.convert.plan import ConvertOptions, SplitPlan, plan_splits
from fastrad.convert.pool import LocalWorkers, Shard, ShardRunner, start_early
from fastrad.dataset.card import Card
from fastrad.dataset.pseudonym import default_key_path, pseudonym, read_or_make_key
from fastrad.dataset.tar.shards import ShardSet
from fastrad.errors import FastradError, InputError, OptionError
from fastrad.system.cores import available_cores
from fastrad.system.files import free_space, in_units
from fastrad.system.place import is_url
from fastrad.system.progress import track

__all__ = ["ConvertOptions", "ConvertSummary", "ConvertedFile", "Preview", "convert", "preview", "read_shards"]

_STAT_THREADS = 16


@dataclass(frozen=True)
class ConvertedFile:
    """One finished file.

    Attributes
    ----------
    path : str
        Of the beton; of WebDataset shards, their card. A path or a URL.
    card : Card
    done_before : bool
        True where an earlier run had finished it.
    """

    path: str
    card: Card
    done_before: bool


@dataclass(frozen=True)
class ConvertSummary:
    """What a conversion did.

    Attributes
    ----------
    files : tuple of ConvertedFile
    seconds : float
        Of this run.
    converted : int
        Images that this run stored or quarantined.
    empty_splits : tuple of str
        Splits without one usable row; no file is written for them.
    key_path : Path or None
        The file with the pseudonyms' key, where patients are known; `key_made` says whether it was made now.
    notices : tuple of str
        What the user should know about this run.
    """

    files: tuple[ConvertedFile, ...]
    seconds: float
    converted: int
    empty_splits: tuple[str, ...]
    key_path: Path | None
    key_made: bool
    notices: tuple[str, ...]

    @property
    def quarantine_reasons(self) -> list[tuple[str, int]]:
        """Each reason with the number of rows that it keeps out, the most frequent first."""
        reasons = Counter(entry["reason"] for file in self.files for entry in file.card.quarantined)
        return reasons.most_common()

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "files": [
                {
                    "path": str(file.path),
                    "done_before": file.done_before,
                    "samples": file.card.samples,
                    "classes": file.card.class_counts,
                    "patients": len(file.card.patients),
                    "quarantined": file.card.quarantined,
                    "unlabelled": file.card.unlabelled,
                    "bytes": file.card.bytes,
                    "mean": file.card.mean,
                    "std": file.card.std,
                    "card_sha256": file.card.sha256(),
                }
                for file in self.files
            ],
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.converted / self.seconds, 1) if self.converted else None,
            "empty_splits": list(self.empty_splits),
            "pseudonym_key": None if self.key_path is None else str(self.key_path),
            "notices": list(self.notices),
        }


@dataclass(frozen=True)
class Preview:
    """What a conversion would do.

    Attributes
    ----------
    plans : tuple of SplitPlan
    bytes_needed, bytes_free : int
        On the output's file system; `bytes_needed` counts everything that lies there at the same time.
    """

    plans: tuple[SplitPlan, ...]
    bytes_needed: int
    bytes_free: int


def preview(source: Manifest | Sequence[ShardSet], out_dir: Path | str, options: ConvertOptions) -> Preview:
    """The plan of a conversion; nothing is written.

    Parameters
    ----------
    source, out_dir, options
        As of `convert`.

    Returns
    -------
    Preview

    Raises
    ------
    InputError
        As `convert`.
    """
    plans = plan_splits(source, options, None)
    return Preview(
        plans, sum(_space(plan) for plan in plans if len(plan.rows)), free_space(Destination(out_dir).work_dir)
    )


def convert(
    source: Manifest | Sequence[ShardSet], out_dir: Path | str, options: ConvertOptions | None = None
) -> ConvertSummary:
    """Convert every usable row of a source; go on where an earlier run with the same arguments stopped.

    Parameters
    ----------
    source : Manifest or sequence of ShardSet
        An archive; or, from `read_shards`, what an earlier conversion made of one, which becomes betons.
    out_dir : Path or str
        A folder, made where it does not exist; for WebDataset shards also a URL that fsspec opens.
    options : ConvertOptions, optional

    Returns
    -------
    ConvertSummary

    Raises
    ------
    InputError
        If nothing can be converted, or the folder holds the work of another source or other options.
    FormatError
        If the source is shards and one of them is altered.
    FastradError
        If the disk is full or workers keep dying; what is done is kept.
    """
    options = options or ConvertOptions()
    started = time.monotonic()
    if is_url(out_dir) and options.format == "beton":
        raise OptionError(f"{out_dir}: betons are written to local folders only; choose format webdataset for a URL")
    destination = Destination(out_dir)
    out_dir = destination.work_dir
    if options.scheduler is None:
        start_early()
    name_patient, key_path, key_made = None, None, False
    if isinstance(source, Manifest):
        name_patient, key_path, key_made = _patient_names(source, out_dir, options)
    plans = plan_splits(source, options, name_patient)
    cards = {plan.name: finished_card(plan, destination) for plan in plans}
    to_convert = [plan for plan in plans if len(plan.rows) and cards[plan.name] is None]
    _refuse_full_disk(to_convert, out_dir)
    if to_convert and not isinstance(source, Manifest):
        refuse_altered_shards(source, options.workers or available_cores())
    notices: list[str] = []
    journals: list[Journal] = []
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        for plan in to_convert:
            journals.append(Journal(plan, out_dir))
        todo, done = _open_shards(journals, notices)
        _convert_shards(todo, done, options)
        failures: list[InputError] = []
        for journal in journals:
            try:
                if journal.plan.format == "beton":
                    cards[journal.plan.name] = finish_beton(journal, out_dir)
                else:
                    cards[journal.plan.name] = finish_tars(journal, destination)
            except InputError as error:  # nothing of this split can be stored; the others are finished all the same
                failures.append(error)
        if failures:
            raise failures[0]
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FastradError(
            f"{out_dir}: the disk is full ({error.strerror}); what is converted is kept: free some space and give the "
            "same command again to go on"
        ) from error
    finally:
        for journal in journals:
            journal.close()
    for plan in plans:
        if cards[plan.name] is not None:
            remove_leftover(plan, out_dir)
    notices += [notice for plan in plans if not len(plan.rows) for notice in _left_out(plan)]
    before = {plan.name for plan in plans} - {journal.plan.name for journal in journals}
    ending = "beton" if options.format == "beton" else "card.json"
    files = tuple(
        ConvertedFile(destination.path(f"{name}.{ending}"), card, name in before)
        for name, card in cards.items()
        if card
    )
    return ConvertSummary(
        files=files,
        seconds=time.monotonic() - started,
        converted=sum(journal.plan.shard_size(index) for journal, index in todo),
        empty_splits=tuple(plan.name for plan in plans if not len(plan.rows)),
        key_path=key_path,
        key_made=key_made,
        notices=tuple(notices),
    )


def _patient_names(
    manifest: Manifest, out_dir: Path, options: ConvertOptions
) -> tuple[Callable[[str], str] | None, Path | None, bool]:
    """The function from patient id to pseudonym (None keeps the ids), and where its key lies."""
    if options.keep_patient_ids:
        return None, None, False
    if not (manifest.table["patient"] != "").any():
        return lambda patient: patient, None, False
    path = options.pseudonym_key or default_key_path()
    if out_dir.resolve() in path.resolve().parents:
        raise InputError(f"{path}: the key must lie outside the output {out_dir}, which may be given away")
    key, made = read_or_make_key(path)
    return lambda patient: pseudonym(patient, key), path, made


def _left_out(plan: SplitPlan) -> list[str]:
    """What is wrong with the rows of a split that gets no file, and so no card that could say it."""
    reasons = Counter(entry["reason"] for entry in plan.source.quarantine([]))
    return [f"{plan.name}: {count} rows left out: {reason}" for reason, count in reasons.most_common()]


def _open_shards(journals: list[Journal], notices: list[str]) -> tuple[list[Shard], list[Shard]]:
    """The shards to do and the shards done; a shard whose source files changed since is to be done again."""
    done = [(journal, index) for journal in journals for index in journal.finished()]
    with ThreadPoolExecutor(_STAT_THREADS) as threads:
        changes = list(threads.map(lambda shard: changed_sources(shard[0].task(shard[1])), done))
    for (journal, index), changed in zip(done, changes, strict=True):
        if changed:
            journal.discard(index)
            row = journal.plan.rows[index * journal.plan.shard_rows + changed[0]]
            notices.append(
                f"{journal.plan.name}: {len(changed)} source files (the first: row {row}) changed since they were "
                "converted; their shard is converted again"
            )
    kept = [shard for shard, changed in zip(done, changes, strict=True) if not changed]
    finished = {(journal.plan.name, index) for journal, index in kept}
    todo = [
        (journal, index)
        for journal in journals
        for index in range(journal.plan.shards)
        if (journal.plan.name, index) not in finished
    ]
    return todo, kept


def _convert_shards(todo: list[Shard], done: list[Shard], options: ConvertOptions) -> None:
    count = min(options.workers or available_cores(), max(len(todo), 1))
    total = sum(journal.plan.shard_size(index) for journal, index in todo + done)
    if not todo:
        return
    with track("convert", total) as progress:
        workers = ClusterWorkers(options.scheduler) if options.scheduler else LocalWorkers(count)
        try:
            runner = ShardRunner(workers, lambda images, bad: progress.advance(images, quarantined=bad))
            for shard in done:
                runner.count_finished(shard)
            runner.convert(iter(todo))
        finally:
            workers.close()


def _space(plan: SplitPlan) -> int:
    """Bytes that the conversion of a split needs on disk; what is not raw lies there twice while parts are joined."""
    return plan.estimated_bytes * (1 if plan.image.encode == "raw" else 2)


def _refuse_full_disk(plans: list[SplitPlan], out_dir: Path) -> None:
    """Raw files are of known size: say at once, before anything is written, when they cannot fit."""
    needed = 0
    for plan in plans:
        if plan.image.encode == "raw":
            data = work_folder(plan, out_dir) / "data"
            there = os.stat(data).st_blocks * 512 if data.exists() else 0
            needed += max(_space(plan) - there, 0)
    free = free_space(out_dir)
    if needed > free:
        raise FastradError(
            f"{out_dir}: the disk is too full: {in_units(needed)} are needed, {in_units(free)} are free, "
            f"{in_units(needed - free)} are lacking; free some space, choose another OUT_DIR or a smaller --size, and "
            "give the command again"
        )
