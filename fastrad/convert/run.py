"""Converts an archive into dataset files, one per split: in parallel, resumable, the same bytes every time."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastrad.archives.manifest import Manifest
from fastrad.convert.archive import ArchiveSplit
from fastrad.convert.chunk import changed_sources
from fastrad.convert.cluster import ClusterWorkers
from fastrad.convert.destination import Destination
from fastrad.convert.from_shards import read_shards, refuse_altered_shards
from fastrad.convert.journal import Chunk, Journal, finished_card, remove_leftover, work_folder
from fastrad.convert.levels import settle_window
from fastrad.convert.options import ConvertOptions
from fastrad.convert.outputs import FORMATS
from fastrad.convert.plan import SplitPlan, plan_splits
from fastrad.convert.pool import ChunkRunner, LocalWorkers, start_early
from fastrad.convert.rows import SUFFIX, private_paths, rows_csv
from fastrad.convert.summary import ConvertedFile, ConvertSummary, Preview
from fastrad.dataset.card import Card
from fastrad.dataset.fingerprints import fingerprints_path
from fastrad.dataset.pseudonym import default_key_path, pseudonym, read_or_make_key
from fastrad.dataset.tar.shards import ShardSet
from fastrad.errors import FastradError, InputError, OptionError
from fastrad.system.cores import available_cores
from fastrad.system.files import free_space, in_units, write_atomically
from fastrad.system.place import is_url
from fastrad.system.progress import track

__all__ = ["ConvertOptions", "ConvertSummary", "ConvertedFile", "Preview", "convert", "preview", "read_shards"]

_STAT_THREADS = 16


def preview(source: Manifest | Sequence[ShardSet], out_dir: Path | str, options: ConvertOptions) -> Preview:
    """The plan of a conversion, and which files are not there; nothing is written.

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
    plans = plan_splits(source, _settled(source, options), None)
    needed = sum(plan.bytes_needed for plan in plans if len(plan.rows))
    absent = {plan.name: plan.source.absent() for plan in plans}
    return Preview(plans, needed, free_space(Destination(out_dir).work_dir), absent)


def convert(
    source: Manifest | Sequence[ShardSet], out_dir: Path | str, options: ConvertOptions | None = None
) -> ConvertSummary:
    """Convert every usable row of a source; go on where an earlier run with the same arguments stopped.

    Parameters
    ----------
    source : Manifest or sequence of ShardSet
        An archive; or, from `read_shards`, what an earlier conversion made of one, which becomes beton files.
    out_dir : Path or str
        A folder, made where it does not exist; for WebDataset shards also a URL that fsspec opens.
    options : ConvertOptions, optional

    Returns
    -------
    ConvertSummary
        Its files are `OUT/train.beton`, `val.beton`, `test.beton`, or `all.beton` where the source has no splits, each
        with its card; or their shards.

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
    if is_url(out_dir) and not FORMATS[options.format].takes_url:
        raise OptionError(
            f"{out_dir}: beton files are written to local folders only; choose format webdataset for a URL"
        )
    destination = Destination(out_dir)
    work_dir = destination.work_dir
    if options.scheduler is None:
        start_early()

    options = _settled(source, options)
    patients = _name_patients(source, work_dir, options)
    plans = plan_splits(source, options, patients.name)
    finished_before = {plan.name: card for plan in plans if (card := finished_card(plan, destination)) is not None}
    to_convert = [plan for plan in plans if len(plan.rows) and plan.name not in finished_before]
    _refuse_full_disk(to_convert, work_dir)
    if to_convert and not isinstance(source, Manifest):
        refuse_altered_shards(source, options.workers or available_cores())

    with _full_disk_in_one_line(work_dir), _open_journals(to_convert, work_dir) as journals:
        todo, done, notices = _chunks(journals)
        _convert_chunks(todo, done, options)
        made, listings = _finish(journals, destination)
        cards = {**finished_before, **made}

    row_paths: list[str] = []
    for plan in plans:
        if plan.name in cards:
            if options.rows_csv and isinstance(plan.source, ArchiveSplit):
                row_paths += _write_rows(plan, cards[plan.name], destination)
            remove_leftover(plan, work_dir)
        elif not len(plan.rows):
            notices += _left_out(plan)
    return ConvertSummary(
        files=tuple(
            ConvertedFile(destination.path(plan.output.last_file(plan.name)), card, plan.name in finished_before)
            for plan in plans
            if (card := cards.get(plan.name)) is not None
        ),
        seconds=time.monotonic() - started,
        converted=sum(journal.plan.output.chunk_size(index) for journal, index in todo),
        empty_splits=tuple(plan.name for plan in plans if not len(plan.rows)),
        key_path=patients.key_path,
        key_made=patients.key_made,
        notices=tuple(notices) + _key_notice(patients.key_path),
        listings=tuple(listings),
        row_paths=tuple(row_paths),
        rows=len(source) if isinstance(source, Manifest) else 0,
    )


def _write_rows(plan: SplitPlan, card: Card, destination: Destination) -> list[str]:
    """Write NAME.rows.csv, and the paths where it holds none; where these are, or why they are not."""
    assert isinstance(plan.source, ArchiveSplit)
    destination.work_dir.mkdir(parents=True, exist_ok=True)
    draft = destination.work_dir / f".{plan.name}{SUFFIX}"
    write_atomically(draft, rows_csv(plan.source, card))
    destination.put(draft, plan.name + SUFFIX)
    paths = private_paths(plan.source, card)
    if not paths:
        return []
    from fastrad.convert.listing import write_paths

    try:
        return [str(write_paths(destination, plan.name, paths))]
    except (OSError, RuntimeError) as error:
        return [f"not listed ({getattr(error, 'strerror', None) or error})"]


def _settled(source: Manifest | Sequence[ShardSet], options: ConvertOptions) -> ConvertOptions:
    """Options whose window is settled; shards hold 8 bits already."""
    return settle_window(source, options) if isinstance(source, Manifest) else options


@dataclass(frozen=True)
class _PatientNames:
    """From patient id to what is stored of it (None keeps the ids); and the file with the key of the pseudonyms."""

    name: Callable[[str], str] | None = None
    key_path: Path | None = None
    key_made: bool = False


def _name_patients(source: Manifest | Sequence[ShardSet], work_dir: Path, options: ConvertOptions) -> _PatientNames:
    if not isinstance(source, Manifest) or options.keep_patient_ids:  # shards have pseudonyms already
        return _PatientNames()
    if not (source.table["patient"] != "").any():
        return _PatientNames(lambda patient: patient)
    path = options.pseudonym_key or default_key_path()
    if work_dir.resolve() in path.resolve().parents:
        raise InputError(f"{path}: the key must lie outside the output {work_dir}, which may be given away")
    key, made = read_or_make_key(path)
    return _PatientNames(lambda patient: pseudonym(patient, key), path, made)


def _refuse_full_disk(plans: list[SplitPlan], work_dir: Path) -> None:
    """Files of known size: say at once, before anything is written, when they cannot fit."""
    needed = 0
    for plan in plans:
        if plan.output.in_place:
            data = work_folder(plan, work_dir) / "data"
            there = os.stat(data).st_blocks * 512 if data.exists() else 0
            needed += max(plan.bytes_needed - there, 0)
    free = free_space(work_dir)
    if needed > free:
        raise FastradError(
            f"{work_dir}: the disk is too full: {in_units(needed)} are needed, {in_units(free)} are free, "
            f"{in_units(needed - free)} are lacking; free some space, choose another OUT_DIR or a smaller --size, and "
            "give the command again"
        )


@contextmanager
def _full_disk_in_one_line(work_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FastradError(
            f"{work_dir}: the disk is full ({error.strerror}); what is converted is kept: free some space and give the "
            "same command again to go on"
        ) from error


@contextmanager
def _open_journals(plans: list[SplitPlan], work_dir: Path) -> Iterator[list[Journal]]:
    """The work folder of each split, locked until the end of the block."""
    work_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as opened:
        journals = []
        for plan in plans:
            journals.append(Journal(plan, work_dir))
            opened.callback(journals[-1].close)
        yield journals


def _chunks(journals: list[Journal]) -> tuple[list[Chunk], list[Chunk], list[str]]:
    """The chunks to do, and those done, with notices; one whose source files changed since is to be done again."""
    notices = [
        f"{journal.plan.name}: the work of an earlier run was altered on the disk; all of it is done again"
        for journal in journals
        if journal.plan_was_damaged
    ]
    recorded = [Chunk(journal, index) for journal in journals for index in journal.finished()]
    with ThreadPoolExecutor(available_cores()) as threads:
        whole = list(threads.map(lambda chunk: chunk.journal.is_whole(chunk.number), recorded))
    for journal in journals:
        altered = [
            index for (other, index), sound in zip(recorded, whole, strict=True) if other is journal and not sound
        ]
        for index in altered:
            journal.discard(index)
        if altered:
            notices.append(
                f"{journal.plan.name}: {len(altered)} chunks of an earlier run were altered on the disk, or are an "
                "earlier version's; they are converted again"
            )
    recorded = [chunk for chunk, sound in zip(recorded, whole, strict=True) if sound]
    with ThreadPoolExecutor(_STAT_THREADS) as threads:
        changes = list(threads.map(lambda chunk: changed_sources(chunk.journal.task(chunk.number)), recorded))
    for (journal, index), changed in zip(recorded, changes, strict=True):
        if changed:
            journal.discard(index)
            row = journal.plan.rows[index * journal.plan.output.chunk_rows + changed[0]]
            notices.append(
                f"{journal.plan.name}: {len(changed)} source files (the first: row {row}) changed since they were "
                "converted; their chunk is converted again"
            )
    done = [chunk for chunk, changed in zip(recorded, changes, strict=True) if not changed]
    finished = {(chunk.journal.plan.name, chunk.number) for chunk in done}
    todo = [
        Chunk(journal, index)
        for journal in journals
        for index in range(journal.plan.output.chunks)
        if (journal.plan.name, index) not in finished
    ]
    return todo, done, notices


def _convert_chunks(todo: list[Chunk], done: list[Chunk], options: ConvertOptions) -> None:
    if not todo:
        return
    count = min(options.workers or available_cores(), len(todo))
    total = sum(journal.plan.output.chunk_size(index) for journal, index in todo + done)
    with track("convert", total) as progress:
        workers = ClusterWorkers(options.scheduler) if options.scheduler else LocalWorkers(count)
        try:
            runner = ChunkRunner(workers, lambda images, bad: progress.advance(images, quarantined=bad))
            for chunk in done:
                runner.count_finished(chunk)
            runner.convert(todo)
        finally:
            workers.close()


def _finish(journals: list[Journal], destination: Destination) -> tuple[dict[str, Card], list[str]]:
    """Make the files of splits whose chunks are all done; a failure of one is raised after the others are finished.

    Returns the cards, and where the paths of quarantined rows are listed or why they are not.
    """
    cards: dict[str, Card] = {}
    listings: list[str] = []
    failures: list[InputError] = []
    for journal in journals:
        try:
            done = journal.done()
            if journal.fingerprints.exists():  # before the files: where these are, all is complete
                destination.put(journal.fingerprints, fingerprints_path(f"{journal.plan.name}.beton"))
            cards[journal.plan.name] = journal.plan.output.finish(done, destination)
            listings += _listed(journal.plan, done.totals.quarantined, destination)
        except InputError as error:
            failures.append(error)
        else:
            journal.remove()
    if failures:
        raise failures[0]
    return cards, listings


def _listed(plan: SplitPlan, found: list[tuple[int, str]], destination: Destination) -> list[str]:
    """Write the list of a split's quarantined files, where there are any; where it is, or why it is not."""
    rows = plan.source.quarantined_paths(found)
    if not rows:
        return []
    from fastrad.convert.listing import write_listing

    try:
        return [str(write_listing(destination, plan.name, rows))]
    except (OSError, RuntimeError) as error:  # no home, or none that may be written to: the data are whole without
        return [f"not listed ({getattr(error, 'strerror', None) or error})"]


def _key_notice(path: Path | None) -> tuple[str, ...]:
    """That others may read the key of the pseudonyms, which would give them the ids."""
    mode = 0 if path is None else path.stat().st_mode
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return ()
    return (f"others may read the key {path}, and could find the patients behind the pseudonyms: chmod 600 {path}",)


def _left_out(plan: SplitPlan) -> list[str]:
    """What is wrong with the rows of a split that gets no file, and so no card that could say it."""
    reasons = Counter(entry["reason"] for entry in plan.source.quarantine([]))
    reasons += Counter({"unlabelled": plan.source.unlabelled()["count"]})
    return [f"{plan.name}: {count} rows left out: {reason}" for reason, count in reasons.most_common()]
