"""Each kind of system call fails at each place that it may: nothing wrong is stored, one line says what happened, and
the same command goes on.

The calls are made to fail by a library that is put before libc (`failing_calls.c`), compiled here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from picture_archives import picture
from PIL import Image

HERE = Path(__file__).parent
# places at which each kind of call fails, spread over all
SPREAD = int(os.environ.get("FASTRAD_FAULT_PLACES", "2"))


class Program:
    """A process that runs commands with failing calls."""

    def __init__(self, library: Path, scratch: Path) -> None:
        plan = scratch / "plan"
        plan.write_bytes(bytes(544))
        environment = os.environ | {"LD_PRELOAD": str(library), "FAULT_PLAN": str(plan), "OMP_NUM_THREADS": "1"}
        environment |= {"XDG_CONFIG_HOME": str(scratch / "config"), "PYTHONPATH": str(HERE.parents[1])}
        self.process = subprocess.Popen(
            [sys.executable, HERE / "program.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(
        self, words: list[object], call: str = "", number: int = 0, at: int = 0, below: Path | str = "/", always=False
    ) -> dict[str, Any]:
        asked = {"words": [str(word) for word in words], "call": call, "errno": number, "at": at}
        asked |= {"below": str(below), "always": always}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> Iterator[Program]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler here to make the library with (apt-get install gcc)")
    scratch = tmp_path_factory.mktemp("faults")
    library = scratch / "failing_calls.so"
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "failing_calls.c", "-ldl"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"the C compiler here cannot make the library: {done.stderr.splitlines()[:1]}")
    started = Program(library, scratch)
    yield started
    started.process.stdin.close()
    started.process.wait(30)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """60 pictures, PNG and TIFF, of 30 patients and 3 classes, with their table."""
    folder = tmp_path_factory.mktemp("archive")
    lines = ["path,label,patient"]
    for number in range(60):
        name = f"{number:03d}.{'tif' if number % 4 == 3 else 'png'}"
        Image.fromarray(picture(number, 40, 40)).save(folder / name)
        lines.append(f"{name},c{number % 3},p{number // 2}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def _hashes(folder: Path) -> dict[str, str]:
    """Of every file in a folder, hidden ones too: temporary files would be seen."""
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _places(calls: int) -> list[int]:
    return sorted({1 + (calls - 1) * part // max(SPREAD - 1, 1) for part in range(SPREAD)} if calls else ())


def _one_line(answer: dict[str, Any], what: str) -> None:
    last = answer["stderr"].rstrip("\n").splitlines()[-1:]
    assert answer["status"] == 1, f"{what}: {answer}"
    assert last[0].startswith("fastrad: "), f"{what}: {answer}"
    assert "Traceback" not in answer["stderr"], f"{what}: {answer}"


def _hold_against_faults(
    program: Program, begin: Callable[[], list[object]], below: Path, calls: tuple[str, ...], whole: dict[str, str]
) -> None:
    """Let each kind of call on files `below` fail at places spread over a command, and look at what it left.

    `begin` clears what an earlier run made and gives the words of the command; `whole` is what it makes.
    """
    for call in calls:
        count = program.run(begin(), call, below=below)["calls"]
        for place in _places(count):
            for name in ("ENOSPC", "EIO") if place > 1 else ("ENOSPC", "EIO", "EROFS"):
                what = f"{name} at {call} {place} of {count}"
                answer = program.run(begin(), call, getattr(errno, name), place, below)
                if answer["status"] != 0:
                    _one_line(answer, what)
                    answer = program.run(begin.again, call, below=below)  # type: ignore[attr-defined]
                    assert answer["status"] == 0, f"the same command after {what}: {answer}"
                assert _hashes(below) == whole, what


class Conversion:
    """`convert`, from nothing; `again` is the same command on what the last run left."""

    def __init__(self, root: Path, out: Path, *words: str) -> None:
        self.out, self.again = out, ["convert", "table", root, out, "--size", "32", "--workers", "1", *words]

    def __call__(self) -> list[object]:
        shutil.rmtree(self.out, ignore_errors=True)
        return self.again


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--encode", "raw"), ("--encode", "jpeg"), ("--format", "webdataset")])
def test_a_conversion_whose_output_fails_ends_in_one_line_and_goes_on_to_the_same_bytes(program, root, tmp_path, words):
    begin = Conversion(root, tmp_path / "out", *words)
    assert program.run(begin())["status"] == 0
    whole = _hashes(begin.out)
    calls = ("open", "write", "truncate", "sync", "rename", "mkdir", "unlink", "stat")
    _hold_against_faults(program, begin, begin.out, calls, whole)


@pytest.mark.parametrize("where", ["archive", "libraries"])
def test_no_image_is_left_out_because_a_call_failed_once(program, root, tmp_path, where):
    """A full table of open files, a library that cannot be loaded: that is nothing about an image."""
    begin = Conversion(root, tmp_path / "out")
    assert program.run(begin())["status"] == 0
    whole = _hashes(begin.out)
    below = root if where == "archive" else Path(find_spec("tifffile").origin).parent
    for call, number in (("open", errno.ENFILE), ("open", errno.ENOSPC), ("read", errno.EIO), ("stat", errno.EIO)):
        count = program.run(begin(), call, below=below)["calls"]
        for place in _places(count):
            what = f"{errno.errorcode[number]} at {call} {place} of {count}"
            answer = program.run(begin(), call, number, place, below)
            if answer["status"] == 0:
                assert _hashes(begin.out) == whole, what
            else:
                _one_line(answer, what)


def test_a_file_that_cannot_be_read_for_good_is_listed_and_a_machine_that_fails_for_good_ends_the_run(
    program, root, tmp_path
):
    begin = Conversion(root, tmp_path / "out")
    answer = program.run(begin(), "open", errno.EIO, 1, root / "007.tif", always=True)
    assert answer["status"] == 0, answer
    card = json.loads((begin.out / "all.card.json").read_text())
    assert [(entry["row"], entry["reason"]) for entry in card["quarantined"]] == [
        (7, "cannot be read (Input/output error)")
    ]
    answer = program.run(begin(), "open", errno.EMFILE, 1, root / "007.tif", always=True)
    _one_line(answer, "no more open files")
    assert "Too many open files" in answer["stderr"]
    assert not (begin.out / "all.beton").exists()


def test_locks_that_cannot_be_made_are_not_called_a_full_disk(program, root, tmp_path):
    begin = Conversion(root, tmp_path / "out")
    for number in (errno.ENOSPC, errno.ENOENT, errno.EACCES):
        answer = program.run(begin(), "sem_open", number, 1, "/dev/shm")
        _one_line(answer, "sem_open")
        assert "/dev/shm: worker processes need it" in answer["stderr"]
        assert "--shm-size" in answer["stderr"]
