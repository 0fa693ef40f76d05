from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from fastrad.dataset import write_beton
from fastrad.models.weights import load_weights

CLASSES = ["dark", "light", "striped"]
TIMING = ("seconds", "images_per_second", "loader_wait")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for name, count in (("train", 320), ("val", 24)):
        labels = np.arange(count) % 3
        images = random.normal(128, 30, (count, 16, 16)) + np.where(labels == 1, 40, -40)[:, None, None]
        images[labels == 2, :, ::2] += 80
        write_beton(folder / f"{name}.beton", np.clip(images, 0, 255).astype(np.uint8), labels, classes=CLASSES)
    return folder


def _command(data: Path, out: Path, *words: str) -> list[str]:
    program = [sys.executable, "-m", "fastrad", "pretrain", str(data / "train.beton"), "--val", str(data / "val.beton")]
    return [*program, "--out", str(out), "--epochs", "2", "--batch-size", "16", "--engine", "torch", "--amp", *words]


def _run(data: Path, out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(data, out, *words), capture_output=True, text=True, timeout=300)


def _metrics(out: Path) -> list[dict[str, str]]:
    with open(out / "metrics.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name not in TIMING} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    done = _run(data, out, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["weights"] == str(out / "weights.safetensors")
    assert result["val_macro_auroc"] == max(float(row["val_macro_auroc"]) for row in _metrics(out))
    return out


def _in_the_second_epoch(process: subprocess.Popen, out: Path) -> None:
    """Return some steps after the first epoch's line has appeared."""
    limit = time.monotonic() + 240
    while not (out / "metrics.csv").exists():
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.02)
    time.sleep(0.7)
    assert process.poll() is None, "the run ended before it could be disturbed: give it more samples"


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
def test_a_disturbed_run_that_goes_on_equals_the_undisturbed_one_bit_for_bit(data, undisturbed, tmp_path, number):
    out = tmp_path / "run"
    process = subprocess.Popen(_command(data, out), stderr=subprocess.PIPE, text=True)
    _in_the_second_epoch(process, out)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert not (out / "summary.json").exists()
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + number
        assert "--resume" in stderr.splitlines()[-1]
        assert "Traceback" not in stderr
    resumed = _run(data, out, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert "going on after epoch 1" in resumed.stderr
    if number != signal.SIGKILL:
        assert "step" in resumed.stderr.split("going on after epoch 1")[1].splitlines()[0]
    assert _metrics(out) == _metrics(undisturbed)
    ours, theirs = (load_weights(folder / "weights.safetensors").state for folder in (out, undisturbed))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.slow
def test_the_command_says_the_same_run_is_finished_and_exits_0(data, undisturbed):
    again = _run(data, undisturbed, "--amp")
    assert again.returncode == 0
    assert "finished already" in again.stderr
    assert "weights.safetensors" in again.stdout


def test_wrong_usage_is_2_and_bad_input_is_1_with_one_line(data, tmp_path):
    no_val = subprocess.run(
        [sys.executable, "-m", "fastrad", "pretrain", str(data / "train.beton")], capture_output=True, text=True
    )
    assert no_val.returncode == 2
    absent = _run(data / "nowhere", tmp_path / "run")
    assert absent.returncode == 1
    assert len(absent.stderr.strip().splitlines()) == 1
    assert "nowhere" in absent.stderr
    assert not (tmp_path / "run").exists()
