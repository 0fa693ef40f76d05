"""One of two ranks (gloo) fails, vanishes or stands still: both end within 30 s, with the line that matters."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_images import CLASSES, tiny_images

from fastrad.dataset import BetonFile, write_beton

SECONDS = 30


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, count, seed in (("train", 120, 1), ("val", 12, 2)):
        images, labels = tiny_images(count, seed, size=32)
        write_beton(folder / f"{name}.beton", images, labels, classes=CLASSES)
    return folder


def _begin(data: Path, out: Path, *words: str) -> list[subprocess.Popen[str]]:
    """Two ranks without a launcher, which would end one when it sees the other end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = ["-m", "fastrad", "pretrain", str(data / "train.beton"), "--val", str(data / "val.beton")]
    command += ["--out", str(out), "--epochs", "2000", "--batch-size", "8", "--engine", "torch", "--device", "cpu"]
    return [
        subprocess.Popen(
            [sys.executable, *command, *words],
            env={**os.environ, **meet, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]


def _until_it_trains(ranks: list[subprocess.Popen[str]], out: Path) -> None:
    deadline = time.monotonic() + 120
    while not (out / "metrics.csv").exists():
        assert time.monotonic() < deadline
        assert all(rank.poll() is None for rank in ranks), [rank.stderr.read() for rank in ranks if rank.poll()]
        time.sleep(0.1)


def _ends(ranks: list[subprocess.Popen[str]], began: float) -> list[tuple[int, str]]:
    """Status and last line of each; kills what has not ended in time."""
    ended = []
    try:
        for rank in ranks:
            _, errors = rank.communicate(timeout=max(began + SECONDS - time.monotonic(), 1))
            assert "Traceback" not in errors, errors
            ended.append((rank.returncode, errors.rstrip("\n").splitlines()[-1]))
    finally:
        for rank in ranks:
            rank.kill()
    return ended


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "how"), [(0, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_a_rank_that_is_stopped_or_killed_is_named_by_the_other(data, tmp_path, lost, how):
    ranks = _begin(data, tmp_path / "run")
    _until_it_trains(ranks, tmp_path / "run")
    ranks[lost].send_signal(how)
    try:
        ((status, line),) = _ends([ranks[1 - lost]], time.monotonic())
    finally:
        ranks[lost].kill()
        ranks[lost].communicate()
    assert status == 1
    assert f"rank {lost} gives no sign of life" in line


@pytest.mark.slow
def test_a_sample_that_is_damaged_on_one_rank_ends_both(data, tmp_path):
    for path in data.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    file = BetonFile(tmp_path / "train.beton")
    with open(tmp_path / "train.beton", "r+b") as raw:
        raw.seek(int(file.offsets[17]) + 5)
        raw.write(b"\xff\x00\xff")
    ranks = _begin(tmp_path, tmp_path / "run")
    began = time.monotonic() + 30  # to import torch, and to come to that sample
    ended = _ends(ranks, began)
    assert [status for status, _ in ended] == [1, 1]
    assert all("the sample of manifest row 17 is damaged" in line for _, line in ended), ended
    assert sum("ends with rank" in line for _, line in ended) == 1


@pytest.mark.slow
def test_a_rank_without_memory_ends_both(data, tmp_path):
    ranks = _begin(data, tmp_path / "run")
    _until_it_trains(ranks, tmp_path / "run")
    pages = int(Path(f"/proc/{ranks[1].pid}/statm").read_text().split()[0])
    used = pages * resource.getpagesize()
    resource.prlimit(ranks[1].pid, resource.RLIMIT_AS, (used, used))
    resource.prlimit(ranks[1].pid, resource.RLIMIT_DATA, (1 << 20, 1 << 20))
    ended = _ends(ranks, time.monotonic())
    assert [status for status, _ in ended] == [1, 1]
    assert all("out of memory on rank 1" in line for _, line in ended), ended


@pytest.mark.slow
def test_an_interrupt_of_one_rank_stops_both_with_a_checkpoint(data, tmp_path):
    ranks = _begin(data, tmp_path / "run")
    _until_it_trains(ranks, tmp_path / "run")
    ranks[1].send_signal(signal.SIGINT)
    ended = _ends(ranks, time.monotonic())
    assert all("a checkpoint is in" in line for _, line in ended)
    assert list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.slow
def test_a_second_signal_ends_a_rank_that_waits_for_one_that_stands_still(data, tmp_path):
    ranks = _begin(data, tmp_path / "run")
    _until_it_trains(ranks, tmp_path / "run")
    ranks[0].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    time.sleep(0.5)
    for _ in range(2):
        ranks[1].send_signal(signal.SIGTERM)
        time.sleep(0.3)
    try:
        ((status, line),) = _ends([ranks[1]], began)
    finally:
        ranks[0].kill()
        ranks[0].communicate()
    assert status == 128 + signal.SIGTERM
    assert time.monotonic() - began < 14, "not by the watch"
    assert "by a second signal" in line


ONE_LOSS = """
import math, os, torch
from fastrad.train.pretrain import _non_finite, _read_losses
from fastrad.train.ranks import joined

with joined("cpu") as ranks:
    losses = [1.5, math.inf if ranks.rank == 1 else 2.5]
    pending = [(7 + step, 0.1, torch.tensor(loss), torch.tensor([3, 4])) for step, loss in enumerate(losses)]
    (total,) = ranks.sums(_read_losses(pending))
    assert not math.isfinite(total)
    os.write(1, f"{_non_finite(pending)}\\n".encode())  # at once: print may be unbuffered, and both share a pipe
"""


@pytest.mark.slow
def test_a_loss_that_is_no_number_on_one_rank_is_seen_by_all(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", _program(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        "the loss is inf at step 8 (learning rate 0.1; manifest rows 3, 4); lower --lr, or look at these rows with "
        "`fastrad inspect`",
        "the loss of another rank is no longer a number: that one says where",
    ]


def _program(folder: Path) -> Path:
    path = folder / "program.py"
    path.write_text(ONE_LOSS)
    return path
