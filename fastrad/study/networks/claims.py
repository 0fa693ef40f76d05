"""Who does which piece of a study's work: several processes, on one machine or on many, share one folder.

A piece is a network to tune, or whatever else leaves something under a name of its own. Before a process begins one it
claims it, by a lock beside what the piece will leave; the claim says how far the work is, so that every process can
tell the whole study's time left. A process that was killed has no claim any more: another takes its piece over.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from fastrad.system.locks import locked
from fastrad.system.progress import Progress, track

_SECONDS_BETWEEN_LOOKS = 1.0

Tick = Callable[[float], None]
"""Called in the course of a piece with the share of it that is done, from 0 to 1."""


class Piece(ABC):
    """A piece of work.

    Attributes
    ----------
    place : Path
        What it leaves, a folder or a file: there once the piece is done, and whole.
    cost : int
        Training images that pass through the network, about.
    """

    place: Path
    cost: int

    @property
    def finished(self) -> bool:
        """Whether it is done."""
        return self.place.exists()

    @property
    def claim(self) -> Path:
        """The lock of whoever does it."""
        return self.place.with_name(f".{self.place.name}.claim")

    @property
    def ready(self) -> bool:
        """Whether all that it builds on is there."""
        return True

    @abstractmethod
    def do(self, tick: Tick) -> None:
        """Do the work and leave it at `place`, whole or not at all."""

    @abstractmethod
    def line(self) -> str:
        """What became of it, for a reader."""

    @property
    def share(self) -> float:
        """How much of it is done, by whatever process, from 0 to 1."""
        if self.finished:
            return 1.0
        try:
            return float(self.claim.read_bytes())
        except (OSError, ValueError):  # nobody does it, or it was just begun
            return 0.0


class Meter:
    """The progress of all pieces together, whoever does them."""

    def __init__(self, pieces: Sequence[Piece], progress: Progress | None, unit: str) -> None:
        self._pieces, self._progress, self._unit = pieces, progress, unit
        self._done = self._images()
        self._looked = time.monotonic()

    def look(self, *, at_once: bool = False) -> None:
        """Bring the bar up to date; once a second at most, unless `at_once`."""
        now = time.monotonic()
        if self._progress is None or (now - self._looked < _SECONDS_BETWEEN_LOOKS and not at_once):
            return
        self._looked = now
        done = self._images()
        finished = sum(piece.finished for piece in self._pieces)
        self._progress.advance(max(0, done - self._done), **{self._unit: f"{finished}/{len(self._pieces)}"})
        self._done = max(done, self._done)

    def _images(self) -> int:
        return round(sum(piece.cost * piece.share for piece in self._pieces))


@contextmanager
def measured(pieces: Sequence[Piece], description: str, unit: str, *, shown: bool = True) -> Iterator[Meter]:
    """A bar over what is left of the pieces, by the training images that each costs; none where not `shown`."""
    left = [piece for piece in pieces if not piece.finished]
    if not left or not shown:
        yield Meter(pieces, None, unit)
        return
    with track(description, round(sum(piece.cost * (1 - piece.share) for piece in left))) as progress:
        yield Meter(pieces, progress, unit)


def work_through(pieces: Sequence[Piece], meter: Meter, done: Callable[[Piece], None], *, wait: bool) -> None:
    """Do every piece that nobody else does, in this order.

    Parameters
    ----------
    pieces : sequence of Piece
    meter : Meter
        Of these pieces and, it may be, of others.
    done : callable
        Called with each piece that was done here.
    wait : bool
        Stay until the pieces that others do are done too, and take over those that they leave undone.
    """
    left = list(pieces)
    while left := [piece for piece in left if not piece.finished]:
        busy = False
        for piece in left:
            busy |= piece.ready and _done_here(piece, meter, done)
        left = [piece for piece in left if not piece.finished]
        if left and not busy:
            if not wait:
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            meter.look()


def _done_here(piece: Piece, meter: Meter, done: Callable[[Piece], None]) -> bool:
    if piece.finished:
        return False
    piece.place.parent.mkdir(parents=True, exist_ok=True)
    with locked(piece.claim, wait=False) as claim:
        if claim is None or piece.finished:  # another's, or another has done it just now
            return False
        piece.do(_ticking(claim, meter))
    meter.look(at_once=True)
    done(piece)
    return True


def _ticking(claim: IO[bytes], meter: Meter) -> Tick:
    """What notes in a claim, once a second at most, how far its piece is, and brings the bar up to date."""
    noted = -_SECONDS_BETWEEN_LOOKS

    def tick(share: float) -> None:
        nonlocal noted
        if time.monotonic() - noted < _SECONDS_BETWEEN_LOOKS:
            return
        noted = time.monotonic()
        claim.truncate(0)
        claim.write(f"{share:.4f}".encode())  # opened for appending: at the end of nothing
        claim.flush()
        meter.look()

    return tick
