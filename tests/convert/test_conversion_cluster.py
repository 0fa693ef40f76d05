"""A Dask cluster converts to the same bytes, also when one of its workers is killed half-way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fastrad.convert.run import ConvertOptions, convert
from fastrad.errors import FastradError, InputError

pytest.importorskip("distributed", reason="dask.distributed is not installed")


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers of one thread on loopback, each a process of its own."""
    address = "tcp://127.0.0.1:18786"
    script = "from distributed.cli.{} import main; main()"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    scheduler = subprocess.Popen(
        [
            sys.executable,
            "-c",
            script.format("dask_scheduler"),
            "--host",
            "127.0.0.1",
            "--port",
            "18786",
            "--no-dashboard",
        ],
        **quiet,
    )
    workers = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                script.format("dask_worker"),
                address,
                "--nthreads",
                "1",
                "--no-nanny",
                "--no-dashboard",
            ],
            **quiet,
        )
        for _ in range(2)
    ]
    from distributed import Client

    with Client(address, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
    yield address, workers, scheduler
    for process in (*workers, scheduler):
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_a_worker_killed_half_way_changes_no_byte(archive, tmp_path, small_chunks, cluster):
    address, workers, _ = cluster
    manifest = archive(400)
    records = tmp_path / "out" / ".all.work" / "chunks"
    killed = []

    def kill_one() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if records.is_dir() and len(list(records.glob("*.json"))) >= 3:
                os.kill(workers[0].pid, signal.SIGKILL)
                killed.append(len(list(records.glob("*.json"))))
                return
            time.sleep(0.002)

    killer = threading.Thread(target=kill_one)
    killer.start()
    summary = convert(manifest, tmp_path / "out", ConvertOptions(scheduler=address))
    killer.join()
    assert killed
    assert killed[0] < 10, "the worker was killed too late"
    assert summary.files[0].card.quarantined == []
    convert(manifest, tmp_path / "alone", ConvertOptions(workers=1))
    for name in ("all.beton", "all.card.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGSTOP])
def test_a_scheduler_that_dies_or_stands_still_half_way_is_one_line_that_names_it(
    archive, tmp_path, small_chunks, cluster, monkeypatch, way
):
    address, workers, scheduler = cluster
    monkeypatch.setattr("fastrad.convert.cluster._ASKED_EVERY", 0.5)
    monkeypatch.setattr("fastrad.convert.cluster._SILENT_LOOKS", 4)
    manifest = archive(400)
    records = tmp_path / "out" / ".all.work" / "chunks"
    stopped = []

    def stop() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(list(records.glob("*.json"))) < 3:
            time.sleep(0.002)
        scheduler.send_signal(way)
        stopped.append(time.monotonic())

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(FastradError, match=f"--scheduler {address}: the Dask scheduler (has gone|does not answer)"):
        convert(manifest, tmp_path / "out", ConvertOptions(scheduler=address))
    stopper.join()
    assert time.monotonic() - stopped[0] < 30
    for process in workers:  # none goes on writing what the next conversion writes
        process.kill()
        process.wait()
    convert(manifest, tmp_path / "out", ConvertOptions(workers=1))
    convert(manifest, tmp_path / "alone", ConvertOptions(workers=1))
    for name in ("all.beton", "all.card.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_a_scheduler_that_stands_still_before_the_conversion_is_one_clear_line(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("fastrad.convert.cluster._CONNECT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, as a stopped process's kernel does
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(InputError, match=f"--scheduler {address}: no Dask scheduler answers there"):
            convert(archive(2), Path(tmp_path) / "out", ConvertOptions(scheduler=address))
    assert time.monotonic() - began < 20


def test_an_address_without_a_scheduler_is_one_clear_line(archive, tmp_path, monkeypatch):
    monkeypatch.setattr("fastrad.convert.cluster._CONNECT_SECONDS", 1)
    with pytest.raises(InputError, match="no Dask scheduler answers there"):
        convert(archive(2), Path(tmp_path) / "out", ConvertOptions(scheduler="tcp://127.0.0.1:9"))
