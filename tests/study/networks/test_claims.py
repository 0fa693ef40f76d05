"""Pieces of work that several processes share: each is done once, and by somebody."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from fastrad.study.networks.claims import Meter, Piece, measured, work_through
from fastrad.system.locks import locked


class Note(Piece):
    """A piece that takes a moment and leaves a line with who did it."""

    cost = 100

    def __init__(self, place: Path, seconds: float = 0.02) -> None:
        self.place, self.seconds = place, seconds

    def line(self) -> str:
        return "done"

    def do(self, tick) -> None:
        assert not self.place.exists()
        tick(0.25)
        time.sleep(self.seconds)
        self.place.write_text(threading.current_thread().name)


def silent(pieces) -> Meter:
    return Meter(pieces, None, "pieces")


def test_workers_that_share_a_folder_do_each_piece_once_and_all_of_them(tmp_path):
    pieces = [Note(tmp_path / f"{number}") for number in range(20)]
    done: list[Path] = []

    def work():
        mine = [Note(piece.place) for piece in pieces]
        work_through(mine, silent(mine), lambda piece: done.append(piece.place), wait=True)
        assert all(piece.finished for piece in mine)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    assert sorted(done) == sorted(piece.place for piece in pieces)
    assert len({piece.place.read_text() for piece in pieces}) > 1, "one worker did everything"
    assert len(list(tmp_path.iterdir())) == 20, "claims are left"


def test_a_claim_of_a_killed_process_is_taken_over(tmp_path):
    piece = Note(tmp_path / "piece")
    piece.claim.write_bytes(b"0.5000")
    assert piece.share == 0.5
    work_through([piece], silent([piece]), lambda piece: None, wait=False)
    assert piece.finished
    assert not piece.claim.exists()


def test_what_another_does_is_left_to_it_or_waited_for(tmp_path):
    pieces = [Note(tmp_path / "theirs"), Note(tmp_path / "ours")]
    with locked(pieces[0].claim):
        work_through(pieces, silent(pieces), lambda piece: None, wait=False)
        assert [piece.finished for piece in pieces] == [False, True]
        waiting = threading.Thread(
            target=work_through, args=(pieces, silent(pieces), lambda piece: None), kwargs={"wait": True}
        )
        waiting.start()
        waiting.join(timeout=0.3)
        assert waiting.is_alive()
    waiting.join(timeout=20)
    assert pieces[0].finished, "its worker gave it up"


def test_a_piece_that_builds_on_another_comes_after_it(tmp_path):
    first = Note(tmp_path / "first")

    class Second(Note):
        @property
        def ready(self) -> bool:
            return first.finished

    order: list[str] = []
    pieces = [Second(tmp_path / "second"), first]
    work_through(pieces, silent(pieces), lambda piece: order.append(piece.place.name), wait=True)
    assert order == ["first", "second"]


def test_an_error_lets_the_claim_go(tmp_path):
    class Fails(Note):
        def do(self, tick) -> None:
            raise ValueError("diverged")

    piece = Fails(tmp_path / "piece")
    with pytest.raises(ValueError, match="diverged"):
        work_through([piece], silent([piece]), lambda piece: None, wait=True)
    assert list(tmp_path.iterdir()) == []


def test_the_bar_counts_what_others_have_done_too(tmp_path, capfd):
    pieces = [Note(tmp_path / f"{number}") for number in range(4)]
    pieces[0].place.write_text("before")
    with measured(pieces, "working", "pieces") as meter:
        pieces[1].claim.write_bytes(b"0.5")
        meter.look(at_once=True)
        pieces[1].place.write_text("another")
        pieces[2].place.write_text("another")
        meter.look(at_once=True)
    assert capfd.readouterr().err.splitlines()[-1].startswith("working: 200/300 images, ")
