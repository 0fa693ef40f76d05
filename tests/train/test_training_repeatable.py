from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch

from fastrad.train.config import PretrainConfig, Recipe
from fastrad.train.pretrain import pretrain
from fastrad.train.repeatable import repeatable


def _settings() -> tuple[bool, ...]:
    cudnn = torch.backends.cudnn
    filled = torch.utils.deterministic.fill_uninitialized_memory
    return torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark, filled


def test_inside_torch_refuses_what_would_differ_and_outside_all_is_as_before():
    before = _settings()
    with repeatable():
        assert _settings() == (True, True, False, False)
    assert _settings() == before
    with pytest.raises(KeyError), repeatable():
        raise KeyError
    assert _settings() == before


def test_an_operation_without_a_repeatable_algorithm_is_refused_inside():
    """On a CPU: torch names `put_` among those that have none."""
    values = torch.zeros(4)
    with repeatable(), pytest.raises(RuntimeError, match="deterministic"):
        values.put_(torch.tensor([0, 0]), torch.ones(2))
    values.put_(torch.tensor([0, 0]), torch.ones(2))


def test_a_repeatable_run_takes_no_operation_that_torch_refuses_and_says_so_in_its_configuration(tiny, tmp_path):
    config = PretrainConfig(
        tiny / "train.beton",
        tiny / "val.beton",
        tmp_path / "plain",
        Recipe(epochs=1, batch_size=16, size=32, ema=0.9, clip_norm=1.0),
        device="cpu",
    )
    pretrain(config)
    repeated = replace(config, out=tmp_path / "repeatable", deterministic=True)
    pretrain(repeated)
    ours, theirs = (pd.read_csv(folder / "metrics.csv")["val_loss"].tolist() for folder in (repeated.out, config.out))
    assert ours == theirs
    assert '"deterministic": true' in (repeated.out / "config.json").read_text()
