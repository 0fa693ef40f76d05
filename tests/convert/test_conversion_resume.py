"""Whatever kills a conversion, the same command finishes it, with the bytes of an undisturbed run."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from fastrad.convert.chunk import convert_chunk
from fastrad.convert.journal import Journal
from fastrad.convert.plan import plan_splits
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset import BetonFile
from fastrad.errors import FastradError, InputError

SCRIPT = """
import sys
from pathlib import Path
import pandas
from fastrad.convert.outputs import base
from fastrad.convert.run import ConvertOptions, convert
from fastrad.archives.manifest import Manifest

base.ROWS_A_CHUNK = 41
if __name__ == "__main__":
    root, out, encode = sys.argv[1:]
    table = pandas.read_pickle(root + ".table")
    convert(Manifest(Path(root), "table", table), Path(out), ConvertOptions(encode=encode, workers=2))
"""


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("encode", ["raw", "jpeg"])
def test_bytes_do_not_depend_on_the_number_of_workers(archive, tmp_path, small_chunks, encode):
    manifest = archive(130)
    (manifest.root / manifest.table["path"][60]).write_bytes(b"damaged")
    for workers in (1, 2, 3):
        convert(manifest, tmp_path / str(workers), ConvertOptions(encode=encode, workers=workers))
    one = digests(tmp_path / "1")
    assert set(one) == {"all.beton", "all.card.json", "all.fingerprints"}
    assert digests(tmp_path / "2") == digests(tmp_path / "3") == one


@pytest.mark.parametrize("encode", ["raw", pytest.param("jpeg", marks=pytest.mark.slow)])
def test_a_run_goes_on_after_its_process_was_killed(archive, tmp_path, small_chunks, encode):
    manifest = archive(330)
    manifest.table.to_pickle(f"{manifest.root}.table")
    script = tmp_path / "run.py"
    script.write_text(SCRIPT)
    out = tmp_path / "out"
    process = subprocess.Popen([sys.executable, script, manifest.root, out, encode], stderr=subprocess.DEVNULL)
    records = out / ".all.work" / "chunks"
    wait_until(lambda: records.is_dir() and len(list(records.glob("*.json"))) >= 2)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert not (out / "all.beton").exists()
    done = {path.name: path.stat().st_mtime_ns for path in records.glob("*.json")}
    assert 2 <= len(done) < 9
    wait_until(lambda: not any(map(runs, children)))

    second = subprocess.Popen([sys.executable, script, manifest.root, out, encode], stderr=subprocess.DEVNULL)
    kept: set[str] = set()
    while second.poll() is None:
        kept |= {
            name
            for name, at in done.items()
            if mtime(records / name) == at and len(list(records.glob("*.json"))) > len(done)
        }
        time.sleep(0.005)
    assert second.returncode == 0
    assert kept == set(done), "finished chunks were converted again"
    convert(manifest, tmp_path / "undisturbed", ConvertOptions(encode=encode, workers=1))
    assert digests(out) == digests(tmp_path / "undisturbed")


def test_a_killed_worker_costs_a_retry_and_no_image(archive, tmp_path, small_chunks):
    manifest = archive(160)
    slow = manifest.root / manifest.table["path"][90]
    Image.fromarray(np.zeros((5000, 6000), np.uint8)).save(slow)
    out = tmp_path / "out"
    killer = Killer(out / ".all.work" / "chunks" / "000002.at", position=8, times=1)
    summary = convert(manifest, out, ConvertOptions(workers=2))
    killer.join()
    assert killer.kills == 1
    assert summary.files[0].card.quarantined == []
    convert(manifest, tmp_path / "undisturbed", ConvertOptions(workers=1))
    assert digests(out) == digests(tmp_path / "undisturbed")


def test_a_file_that_kills_its_worker_twice_is_quarantined(archive, tmp_path, small_chunks):
    manifest = archive(160)
    deadly = manifest.root / manifest.table["path"][90]
    Image.fromarray(np.zeros((5000, 6000), np.uint8)).save(deadly)
    out = tmp_path / "out"
    killer = Killer(out / ".all.work" / "chunks" / "000002.at", position=8, times=2)
    card = convert(manifest, out, ConvertOptions(workers=2)).files[0].card
    killer.join()
    assert killer.kills == 2
    assert [entry["row"] for entry in card.quarantined] == [90]
    assert "died twice at this file" in card.quarantined[0]["reason"]
    assert card.samples == 159


def test_a_finished_conversion_given_again_changes_nothing(archive, tmp_path):
    manifest = archive(20)
    convert(manifest, tmp_path / "out", ConvertOptions(workers=1))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    summary = convert(manifest, tmp_path / "out", ConvertOptions(workers=2))
    assert [entry.done_before for entry in summary.files] == [True]
    assert summary.converted == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"fit": "squash"}, "fit changed from pad to squash"), ({"size": 100}, "size changed from 224 to 100")],
)
def test_other_options_are_named_not_mixed_in(archive, tmp_path, changed, named):
    manifest = archive(4)
    begin(manifest, tmp_path / "half")
    with pytest.raises(InputError, match=named):
        convert(manifest, tmp_path / "half", ConvertOptions(workers=1, **changed))
    convert(manifest, tmp_path / "out", ConvertOptions(workers=1))
    with pytest.raises(InputError, match=named):
        convert(manifest, tmp_path / "out", ConvertOptions(workers=1, **changed))


def test_another_source_is_named_not_mixed_in(archive, tmp_path):
    manifest = archive(4)
    begin(manifest, tmp_path / "half")
    convert(manifest, tmp_path / "out", ConvertOptions(workers=1))
    relabelled = replace(manifest, table=manifest.table.assign(label=["class0", "class1", "class2", "class2"]))
    for folder in ("half", "out"):
        with pytest.raises(InputError, match="the source's table changed"):
            convert(relabelled, tmp_path / folder, ConvertOptions(workers=1))


def test_source_files_changed_meanwhile_are_converted_again(archive, tmp_path, small_chunks):
    manifest = archive(100)
    begin(manifest, tmp_path / "out", chunks=[0, 1])
    Image.fromarray(np.full((224, 224), 200, np.uint8)).save(manifest.root / manifest.table["path"][50])
    summary = convert(manifest, tmp_path / "out", ConvertOptions(workers=1))
    assert any("1 source files (the first: row 50) changed" in notice for notice in summary.notices)
    assert (BetonFile(summary.files[0].path).decode(50) == 200).all()
    convert(manifest, tmp_path / "undisturbed", ConvertOptions(workers=1))
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


def test_what_fastrad_0_1_0_began_is_gone_on_with(archive, tmp_path, small_chunks):
    """It called the folder of the records `shards`."""
    manifest = archive(100)
    begin(manifest, tmp_path / "out", chunks=[0, 2])
    work = tmp_path / "out" / ".all.work"
    (work / "chunks").rename(work / "shards")
    (manifest.root / manifest.table["path"][5]).touch()  # of the two chunks, only this one is converted again
    summary = convert(manifest, tmp_path / "out", ConvertOptions(workers=1))
    assert summary.converted == 82
    convert(manifest, tmp_path / "undisturbed", ConvertOptions(workers=1))
    assert digests(tmp_path / "out") == digests(tmp_path / "undisturbed")


def test_two_conversions_into_one_folder_do_not_meet(archive, tmp_path):
    manifest = archive(4)
    (plan,) = plan_splits(manifest, ConvertOptions(), str)
    journal = Journal(plan, tmp_path / "out")
    with pytest.raises(InputError, match="another fastrad convert is writing there"):
        convert(manifest, tmp_path / "out", ConvertOptions(workers=1, keep_patient_ids=True))
    journal.close()


def test_a_full_disk_is_one_clear_line_and_keeps_what_is_done(archive, tmp_path, small_chunks):
    """On a real small file system; JPEG, whose size is not known before."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", disk]).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        manifest = archive(200)
        options = ConvertOptions(encode="jpeg", workers=1)
        with pytest.raises(FastradError, match="the disk is full"):
            convert(manifest, disk / "out", options)
        assert list((disk / "out" / ".all.work" / "chunks").glob("*.json"))
        assert not list((disk / "out").glob("*.beton"))
        with pytest.raises(FastradError, match=r"the disk is too full: 12.6 MB are needed, [\d.]+ .?B are free"):
            convert(manifest, disk / "raw", ConvertOptions(workers=1))
        assert not (disk / "raw").exists()
        subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
        convert(manifest, disk / "out", options)
        convert(manifest, tmp_path / "undisturbed", options)
        assert digests(disk / "out") == digests(tmp_path / "undisturbed")
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("moment", ["workers are started", "workers work"])
def test_ctrl_c_stops_within_two_seconds_and_says_how_to_go_on(archive, tmp_path, moment):
    manifest = archive(300)
    (manifest.root / "labels.csv").write_text(
        "path,label,patient\n" + "".join(f"{path},a,{path[:5]}\n" for path in manifest.table["path"])
    )
    words = ["convert", "thyroid", str(manifest.root), str(tmp_path / "out"), "--layout", "table", "--workers", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fastrad", *words, "--size", "1500"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    work = tmp_path / "out" / ".all.work"
    mark = work / "chunks" / "000000.at"
    if moment == "workers work":
        wait_until(lambda: mark.is_file() and mark.stat().st_size > 0)
    else:
        wait_until(work.is_dir)
    children = psutil.Process(process.pid).children(recursive=True)
    asked = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, errors = process.communicate(timeout=20)
    assert time.monotonic() - asked < 8  # at once on idle cores, which the tests do not have to themselves
    assert process.returncode == 130
    assert "give the same command again to go on" in errors
    assert "Traceback" not in errors
    wait_until(lambda: not any(map(runs, children)))


def begin(manifest, out: Path, chunks: tuple[int, ...] | list[int] = ()) -> None:
    """Leave an unfinished conversion behind, with the given chunks done."""
    from fastrad.dataset.pseudonym import default_key_path, pseudonym, read_or_make_key

    key, _ = read_or_make_key(default_key_path())
    (plan,) = plan_splits(manifest, ConvertOptions(), lambda patient: pseudonym(patient, key))
    journal = Journal(plan, out)
    for index in chunks:
        convert_chunk(journal.task(index))
    journal.close()


class Killer(threading.Thread):
    """Kills the worker that is at `position` of a chunk, `times` times, as an out-of-memory killer would."""

    def __init__(self, mark: Path, position: int, times: int) -> None:
        super().__init__(daemon=True)
        self.mark, self.position, self.times, self.kills = mark, position, times, 0
        self.start()

    def run(self) -> None:
        deadline = time.monotonic() + 60
        while self.kills < self.times and time.monotonic() < deadline:
            if self.reached():
                for worker in multiprocessing.active_children():
                    if holds_open(worker.pid, self.mark):
                        os.kill(worker.pid, signal.SIGKILL)
                        self.kills += 1
                        wait_until(lambda: not self.reached())
            time.sleep(0.001)

    def reached(self) -> bool:
        try:
            return int.from_bytes(self.mark.read_bytes()[:8], "little", signed=True) == self.position
        except FileNotFoundError:
            return False


def holds_open(pid: int | None, path: Path) -> bool:
    try:
        return any(file.path == str(path) for file in psutil.Process(pid).open_files())
    except psutil.Error:
        return False


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def mtime(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def wait_until(happened, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)
