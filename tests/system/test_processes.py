"""Worker processes of every stage: Ctrl-C is the parent's alone, and no process outlives it or is left half started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fastrad.system.processes import WorkerPool, uninterrupted

PROGRAM = """
import sys, threading, time
from fastrad.system.processes import WorkerPool

if __name__ == "__main__":
    pool = WorkerPool(3, {method!r})
    try:
        print("begin", flush=True)
        for future in [pool.submit(time.sleep, 0.01) for _ in range(300)]:
            future.result()
    except KeyboardInterrupt:
        pool.shutdown(wait=True, cancel_futures=True)
        print("stopped by Ctrl-C")
"""


def _interrupted_inside(reached: list[str]) -> None:
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        reached.append("the end of the block")


def test_ctrl_c_waits_for_the_end_of_the_block_and_is_not_lost():
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _interrupted_inside(reached)
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_ctrl_c_that_another_thread_takes_waits_too():
    """The kernel gives a process's signal to any thread that does not block it; Python acts in the main thread."""
    stop = threading.Event()
    threading.Thread(target=stop.wait, daemon=True).start()
    reached: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        _interrupted_inside(reached)
    stop.set()
    assert reached


def test_processes_are_started_from_other_threads_too():
    found = []
    with WorkerPool(1, "spawn") as pool:
        thread = threading.Thread(target=lambda: found.append(pool.submit(abs, -3).result()))
        thread.start()
        thread.join()
    assert found == [3]


def test_an_interrupt_that_python_drops_is_raised_again():
    program = """
import time
from fastrad.system.processes import deliver_lost_interrupts

class Dropping:
    def __del__(self):
        raise KeyboardInterrupt

deliver_lost_interrupts()
try:
    Dropping()
    time.sleep(20)
except KeyboardInterrupt:
    print("raised")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("raised\n", "")


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.2, 0.6])
def test_ctrl_c_at_any_moment_is_seen_by_the_parent_alone(tmp_path, method, delay):
    """As from a terminal: the whole group of processes gets it, also those that are just being started."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(method=method))
    process = subprocess.Popen(
        [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "begin\n"
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=30)  # ends when nobody is left who could write
    assert output == "stopped by Ctrl-C\n"
    assert errors == ""


TRAPS = {"fastrad/__init__.py", "fastrad/convert/__init__.py", "numpy.py", "signal.py", "click.py"}


@pytest.fixture
def trapped(tmp_path):
    """A current directory whose modules must not be imported: a clone's parent has a folder fastrad."""
    folder = tmp_path / "parent"
    for trap in TRAPS:
        (folder / trap).parent.mkdir(parents=True, exist_ok=True)
        (folder / trap).write_text("raise SystemExit('imported from the current directory')")
    return folder


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_no_process_imports_from_the_current_directory(trapped, tmp_path, method):
    program = tmp_path / "program.py"
    program.write_text(f"""
import os
from fastrad.convert.pool import start_early
from fastrad.system.processes import WorkerPool

if __name__ == "__main__":
    start_early()
    from fastrad.imaging import fit
    with WorkerPool(1, {method!r}) as pool:
        print(pool.submit(fit, __import__("numpy").zeros((4, 2), "uint8"), 4, "pad").result()[1])
    assert "PYTHONSAFEPATH" not in os.environ, "what the user starts is the user's"
""")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, program], cwd=trapped, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("(0, 1, 4, 2)\n", "", 0)


def test_the_program_as_a_module_imports_nothing_but_its_own_from_the_current_directory(trapped):
    """Without `-P` Python itself looks there, for `fastrad` too; what is ours comes from where fastrad is."""
    for trap in ("fastrad", "signal.py"):
        (trapped / trap).rename(trapped.parent / trap)
    command = [sys.executable, "-m", "fastrad", "--version"]
    done = subprocess.run(command, cwd=trapped, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


TEAM = """
import os, sys, time
from multiprocessing.connection import wait
from fastrad.errors import InputError
from fastrad.system.processes import team


def work(number, what):
    if what == "fails":
        raise InputError(f"job {number} cannot")
    if what == "is killed":
        os.kill(os.getpid(), 9)
    if what == "sleeps":
        time.sleep(60)


if __name__ == "__main__":
    with team(2, work, sys.argv[1]) as jobs:
        if sys.argv[1] != "sleeps":
            for job in jobs:
                try:
                    print(repr(job.recv()))
                except EOFError:
                    print("gone")
"""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("works", ["None", "None"]),
        ("fails", ["InputError('job 0 cannot')", "InputError('job 1 cannot')"]),
        ("is killed", ["gone", "gone"]),
        ("sleeps", []),
    ],
)
def test_a_team_says_how_each_job_ended_and_ends_with_its_block(tmp_path, what, said):
    (tmp_path / "team.py").write_text(TEAM)
    begun = time.monotonic()
    done = subprocess.run([sys.executable, tmp_path / "team.py", what], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout.splitlines()) == (0, said), done.stderr
    assert time.monotonic() - begun < 45
