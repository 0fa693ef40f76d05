"""Verifies WebDataset shards by their card, which is proven: every byte of tars and indexes, and every sample.

An index is trusted after its hash was compared; it says where in a tar, damaged or not, samples are.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastrad.archives.manifest import Manifest
from fastrad.dataset import Card
from fastrad.dataset.tar.layout import BLOCK, WHERE, read_index
from fastrad.dataset.tar.shards import MAX_INDEX_BYTES, Facts, TarSamples, is_tar
from fastrad.errors import DamagedSampleError, FormatError, InputError
from fastrad.system.place import Place
from fastrad.system.progress import track
from fastrad.verify.findings import Problem, Verification
from fastrad.verify.source import Comparison, Stored, compare_with_source

_READ_AT_ONCE = 1 << 22
_COLUMNS = ("where", "labels", "patients")


@dataclass(frozen=True)
class _CheckedTar:
    """What was found in one tar: problems, and of its sound samples where they lie, class and patient indices."""

    problems: list[Problem]
    samples: int
    where: np.ndarray
    labels: np.ndarray
    patients: np.ndarray


def verify_shards(path: str, card: Card, manifest: Manifest | None, workers: int) -> Verification:
    """As `fastrad.verify.verify`, of all shards of a card, or of one tar.

    Raises
    ------
    InputError
        If the card does not list the tar.
    """
    folder, _, name = path.rpartition("/")
    shards = card.hashes["shards"]
    if is_tar(name):
        shards = [shard for shard in shards if shard["name"] == name]
        if not shards:
            raise InputError(f"{path}: its card does not list it: it is of another conversion, whose card is not here")
    place, names = Place(folder or "."), tuple(shard["name"] for shard in shards)
    check = _TarCheck(place, card, names)
    problems: list[Problem] = []
    tars: list[_CheckedTar] = []
    with track("verify", sum(shard["samples"] for shard in shards)) as progress, ThreadPoolExecutor(workers) as threads:
        for shard, tar in zip(shards, threads.map(check, range(len(shards)), shards), strict=True):
            tars.append(tar)
            problems += tar.problems
            progress.advance(shard["samples"], damaged=sum(problem.row is not None for problem in problems))
    where, labels, patients = (np.concatenate([getattr(tar, column) for tar in tars]) for column in _COLUMNS)
    whole = not is_tar(name) and not problems
    if whole:
        problems += _check_counts(card, labels)
    comparison = Comparison(0, [], [])
    if manifest is not None:
        samples = TarSamples(str(place), names, where)
        stored = Stored(samples.rows, labels, patients, samples, whole)
        comparison = compare_with_source(card, stored, manifest, workers)
    problems += comparison.differ
    checked, failed = sum(tar.samples for tar in tars), tuple(comparison.not_compared)
    return Verification(path, checked, 0, len(tars), comparison.compared, tuple(problems), failed)


class _TarCheck:
    """Reads one tar from its beginning to its end, hashes it, and compares the samples in it."""

    def __init__(self, place: Place, card: Card, names: tuple[str, ...]) -> None:
        self._place, self._names = place, names
        self._classes = {name: number for number, name in enumerate(card.classes)}
        self._patients: dict[str | None, int] = {name: number for number, name in enumerate(card.patients)}
        self._patients[None] = -1

    def __call__(self, number: int, shard: dict[str, Any]) -> _CheckedTar:
        tar, index = shard["name"], shard["name"][: -len("tar")] + "idx"
        text, problems, where = self._place.read(index, MAX_INDEX_BYTES), [], np.empty(0, WHERE)
        if text is None:
            problems.append(Problem("index", None, f"{index} is missing"))
        elif hashlib.sha256(text).hexdigest() != shard["index_sha256"]:
            problems.append(Problem("index", None, f"{index} was altered or cut (its hash differs from the card's)"))
        else:
            try:
                where = read_index(text, number, name=index, size=shard["bytes"], samples=shard["samples"])
            except FormatError as error:
                problems.append(Problem("index", None, str(error)))
        size = self._place.size(tar)
        if size is None:
            return _CheckedTar([*problems, Problem("file", None, f"{tar} is missing")], 0, *_no_samples())
        samples = TarSamples(str(self._place), self._names, where)
        damaged, facts, digest = self._read(samples, tar)
        problems += damaged
        if size != shard["bytes"]:
            reason = f"{tar} has {size} bytes where the card says {shard['bytes']}: it was cut short or lengthened"
            problems.append(Problem("file", None, reason))
        elif digest != shard["sha256"]:
            beside = len(where) and not damaged
            reason = f"{tar} was altered" + (" outside of its samples, which are sound" if beside else "")
            problems.append(Problem("padding" if beside else "file", None, reason))
        columns = np.array(facts, dtype=np.int64).reshape(-1, 3)
        return _CheckedTar(problems, len(where), where[columns[:, 0]], columns[:, 1], columns[:, 2])

    def _read(self, samples: TarSamples, tar: str) -> tuple[list[Problem], list[tuple[int, int, int]], str]:
        """Damaged samples; position, class and patient of the sound ones; and the tar's hash."""
        problems: list[Problem] = []
        facts: list[tuple[int, int, int]] = []
        digest, reached = hashlib.sha256(), 0
        with self._place.open(tar) as file:
            for position, (row, _, image, image_size, about, about_size) in enumerate(samples.where.tolist()):
                content = file.read(about + about_size - reached)
                digest.update(content)
                members, reached = memoryview(content)[image - reached :], about + about_size
                try:
                    found = samples.parse(position, members[:image_size], members[about - image :])[1]
                    facts.append((position, *self._numbers(found, members[-(-image_size // BLOCK) * BLOCK + BLOCK :])))
                except DamagedSampleError as error:
                    problems.append(Problem("sample", row, f"{error.reason} ({tar})"))
                except _Contradiction as error:
                    problems.append(Problem("sample", row, f"{error} ({tar})"))
            while content := file.read(_READ_AT_ONCE):
                digest.update(content)
        return problems, facts, digest.hexdigest()

    def _numbers(self, facts: Facts, class_member: memoryview) -> tuple[int, int]:
        """Class and patient index of a sample, which its `.json` names and its `.cls` repeats."""
        label, patient = self._classes.get(facts.label), self._patients.get(facts.patient)
        if label is None or bytes(class_member[:BLOCK]).rstrip(b"\0") != b"%d" % label:
            raise _Contradiction("its .cls and its .json name no one class of the card")
        if patient is None:
            raise _Contradiction("its patient is none of the card's")
        return label, patient


class _Contradiction(Exception):
    """A sample whose members disagree; `str(error)` is the reason."""


def _no_samples() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    none = np.empty(0, dtype=np.int64)
    return np.empty(0, WHERE), none, none


def _check_counts(card: Card, labels: np.ndarray) -> list[Problem]:
    counts = np.bincount(labels, minlength=len(card.classes)).tolist()
    return [
        Problem("card", None, f"class {name} has {count} samples where the card says {card.class_counts[name]}")
        for name, count in zip(card.classes, counts, strict=True)
        if count != card.class_counts[name]
    ]
