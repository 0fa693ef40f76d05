"""tools/compare_runs.py on real runs: equal, unequal and not comparable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fastrad.train import PretrainConfig, Recipe
from fastrad.train.pretrain import pretrain

SCRIPT = Path(__file__).parents[2] / "tools" / "compare_runs.py"


def said(*folders: Path) -> tuple[int, str]:
    result = subprocess.run([sys.executable, SCRIPT, *folders], capture_output=True, text=True, check=False)
    return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="module")
def runs(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, seed in (("a", 3), ("same", 3), ("other", 4)):
        pretrain(
            PretrainConfig(
                train=tiny / "train.beton",
                val=tiny / "val.beton",
                out=folder / name,
                recipe=Recipe(epochs=1, batch_size=16, size=16),
                seed=seed,
            )
        )
    return folder


def test_two_equal_runs_are_called_equal(runs):
    assert said(runs / "a", runs / "same") == (0, "metrics and weights are equal bit for bit\n")


def test_another_seed_is_named_with_the_first_epoch_that_parts_and_the_distance_of_the_weights(runs):
    status, text = said(runs / "a", runs / "other")
    assert status == 1
    assert "setting: seed" in text
    assert "metrics: part in epoch 1: train_loss" in text
    assert "weights: differ by up to" in text


def test_a_folder_without_a_run_is_one_clear_line(runs, tmp_path):
    status, text = said(runs / "a", tmp_path)
    assert status == 1
    assert len(text.splitlines()) == 1
    assert "config.json" in text
