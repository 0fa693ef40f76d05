"""Locks: one holder or holders who agree, gone with whoever held them, and no file left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from fastrad.system.locks import locked, shared

HOLDER = """
import sys, time
from pathlib import Path
from fastrad.system.locks import locked

with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_holds_a_lock_and_another_gets_nothing_or_waits(tmp_path):
    path, order = tmp_path / "lock", []

    def second():
        with locked(path):
            order.append("second")

    with locked(path) as first:
        assert first is not None
        with locked(path, wait=False) as other:
            assert other is None
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=0.2)
        order.append("first")
    thread.join(timeout=10)
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_a_lock_ends_with_the_process_that_was_killed(tmp_path):
    path = tmp_path / "lock"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with locked(path, wait=False) as mine:
        assert mine is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.exists()
    with locked(path, wait=False) as mine:
        assert mine is not None
    assert not path.exists()


def test_a_lock_is_let_go_where_its_block_fails(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        print(1 / 0)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_shared_by_those_who_agree(tmp_path):
    path = tmp_path / "lock"
    with shared(path, b"one") as first:
        with shared(path, b"one") as second, shared(path, b"other") as third:
            assert (first, second, third) == (True, True, False)
        assert path.read_bytes() == b"one", "it is still held"
    assert not path.exists()
    with shared(path, b"other") as alone:
        assert alone
