from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_images import CLASSES, tiny_images
from torch.nn import functional

from fastrad.dataset import write_beton
from fastrad.loading import Loader
from fastrad.models.resnet import resnet18
from fastrad.models.weights import load_weights
from fastrad.train.checkpoint import read_checkpoint, write_checkpoint

BATCH, EPOCHS, LR = 12, 2, 0.0005  # a rate at which rounding errors hardly grow from step to step


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """61 samples: five batches of 12, and a last one of which one rank gets nothing and the other one sample."""
    folder = tmp_path_factory.mktemp("data")
    for name, count, seed in (("train", 61, 1), ("val", 23, 2)):
        images, labels = tiny_images(count, seed, size=32)
        write_beton(folder / f"{name}.beton", images, labels, classes=CLASSES)
    return folder


def _train(data: Path, out: Path, *, ranks: int, words: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    program = ["-m", "fastrad", "pretrain", str(data / "train.beton"), "--val", str(data / "val.beton")]
    options = ["--out", str(out), "--epochs", str(EPOCHS), "--batch-size", str(BATCH), "--lr", str(LR)]
    launcher = [sys.executable] if ranks == 1 else [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    if ranks > 1:
        launcher += [f"--nproc-per-node={ranks}"]
    return subprocess.run(
        [*launcher, *program, *options, "--engine", "torch", "--device", "cpu", *words],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def _rows(out: Path) -> list[dict[str, str]]:
    with open(out / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def two_ranks(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("two") / "run"
    done = _train(data, out, ranks=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("weights:") == 1, "one rank speaks for all"
    return out


@pytest.mark.slow
def test_two_ranks_train_as_one_process_that_takes_each_batch_in_two_halves(data, two_ranks):
    """The reference is plain torch: no DistributedDataParallel, no fastrad optimiser or schedule."""
    torch.manual_seed(0)
    model = resnet18(3)
    first = {name: value.clone() for name, value in model.state_dict().items()}
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 5e-5}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=True)
    loader = Loader(data / "train.beton", BATCH, engine="torch", size=32, seed=0)
    steps, peak = EPOCHS * len(loader), LR * BATCH / 256
    step, states = 0, {}
    for epoch in range(EPOCHS):
        loss_sum = 0.0
        for batch in loader:
            images = (batch.images / 255 - loader.card.mean) / loader.card.std
            optimiser.zero_grad()
            before = {name: value.clone() for name, value in model.named_buffers()}
            after = []
            middle = len(images) // 2
            for half in (slice(0, middle), slice(middle, None)):
                with torch.no_grad():
                    for name, value in model.named_buffers():
                        value.copy_(before[name])
                if len(images[half]):
                    model.train(len(images[half]) > 1)
                    loss = functional.cross_entropy(
                        model(images[half]), batch.labels[half], label_smoothing=0.1, reduction="sum"
                    )
                    (loss / BATCH).backward()
                    loss_sum += loss.item()
                after.append({name: value.clone() for name, value in model.named_buffers()})
            with torch.no_grad():
                for name, value in model.named_buffers():
                    if value.is_floating_point():
                        value.copy_((after[0][name] + after[1][name]) / 2)
            rising = round(0.1 * steps)
            falling = 0.5 + 0.5 * np.cos(np.pi * (step - rising) / (steps - rising))
            rate = (step + 1) / rising if step < rising else falling
            for group in optimiser.param_groups:
                group["lr"] = peak * rate
            optimiser.step()
            step += 1
        states[epoch + 1] = {name: value.clone() for name, value in model.state_dict().items()}
        assert float(_rows(two_ranks)[epoch]["train_loss"]) == pytest.approx(loss_sum / 61, rel=5e-3)
    weights = load_weights(two_ranks / "weights.safetensors")
    expected = states[weights.metadata["metrics"]["epoch"]]
    for name in ("conv1.weight", "layer4.1.conv2.weight", "fc.weight", "bn1.running_var"):
        moved, should = weights.state[name] - first[name], expected[name] - first[name]
        assert (moved - should).norm() < 0.1 * should.norm(), name


@pytest.mark.slow
def test_a_run_of_two_ranks_goes_on_with_one(data, two_ranks, tmp_path):
    out = tmp_path / "run"
    (out / "checkpoints").mkdir(parents=True)
    (out / "config.json").write_bytes((two_ranks / "config.json").read_bytes())
    first = sorted((two_ranks / "checkpoints").iterdir())[0]
    (out / "checkpoints" / first.name).write_bytes(first.read_bytes())
    done = _train(data, out, ranks=1, words=("--resume",))
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 1" in done.stderr
    one, two = _rows(out), _rows(two_ranks)
    assert one[0] == two[0]
    assert [row["epoch"] for row in one] == ["1", "2"]


@pytest.mark.slow
def test_a_batch_that_ranks_cannot_share_is_one_line(data, tmp_path):
    done = _train(data, tmp_path / "run", ranks=2, words=("--batch-size", "13"))
    assert done.returncode != 0
    assert "give a multiple of 2" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_ragged_second_step_with_an_empty_rank_does_not_hang(tmp_path):
    """DistributedDataParallel talks to the other ranks in its second forward pass, which one of them never makes."""
    for name, count, seed in (("train", 13, 1), ("val", 23, 2)):
        images, labels = tiny_images(count, seed, size=32)
        write_beton(tmp_path / f"{name}.beton", images, labels, classes=CLASSES)
    done = _train(tmp_path, tmp_path / "run", ranks=2)
    assert done.returncode == 0, done.stderr
    assert [row["epoch"] for row in _rows(tmp_path / "run")] == ["1", "2"]


@pytest.mark.slow
def test_float16_goes_on_where_the_first_step_after_a_resumption_leaves_a_rank_empty(data, tmp_path):
    """The scaler has its scale only from the first loss on, of which such a rank has none."""
    out = tmp_path / "run"
    done = _train(data, out, ranks=2, words=("--amp-dtype", "float16"))
    assert done.returncode == 0, done.stderr
    first, last = sorted((out / "checkpoints").iterdir())
    content = read_checkpoint(first)
    content["progress"]["step"] = 5  # of which the last one is left, with one sample for one of the ranks
    content["loader"] |= {"epoch": 1, "step": 5, "begun": True}
    last.unlink()
    write_checkpoint(out / "checkpoints", 11, content)
    (out / "summary.json").unlink()
    done = _train(data, out, ranks=2, words=("--amp-dtype", "float16", "--resume"))
    assert done.returncode == 0, done.stderr
    assert "going on after epoch 1, step 5 of 6" in done.stderr
