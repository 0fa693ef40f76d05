from __future__ import annotations

import pytest
import torch
from torch import nn

from fastrad.models.resnet import resnet18
from fastrad.train.ema import AveragedWeights


def test_the_average_follows_the_formula_step_by_step():
    layer = nn.Linear(1, 1, bias=False)
    expected = layer.weight.item()
    averaged = AveragedWeights(layer, 0.5)
    for step, value in enumerate((3.0, -1.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 5.0)):
        with torch.no_grad():
            layer.weight.fill_(value)
        averaged.update(layer, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert averaged.model.weight.item() == pytest.approx(expected, rel=1e-5)


def test_statistics_are_the_mean_over_the_batches_and_training_is_untouched():
    torch.manual_seed(0)
    model = resnet18(2)
    before = model.bn1.running_mean.clone()
    averaged = AveragedWeights(model, 0.9)
    batches = [torch.randn(4, 1, 32, 32) for _ in range(3)]
    averaged.recompute_statistics(iter(batches))
    with torch.no_grad():
        outputs = [model.conv1(batch) for batch in batches]
    mean = torch.stack([output.mean((0, 2, 3)) for output in outputs]).mean(0)
    variance = torch.stack([output.var((0, 2, 3)) for output in outputs]).mean(0)
    torch.testing.assert_close(averaged.model.bn1.running_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(averaged.model.bn1.running_var, variance, rtol=1e-4, atol=1e-5)
    assert torch.equal(model.bn1.running_mean, before)
    assert averaged.model.bn1.momentum == model.bn1.momentum
    assert not averaged.model.training


def test_each_rank_counts_by_its_batches_and_one_without_any_not_at_all():
    torch.manual_seed(0)
    batches = [torch.randn(4, 1, 32, 32) for _ in range(3)]
    shares: list[tuple[torch.Tensor, int]] = []
    for mine in (batches, []):
        ranks = AveragedWeights(resnet18(2), 0.9)
        ranks.recompute_statistics(iter(mine), lambda buffers, weight: shares.append((buffers[0].clone(), weight)))
    assert [weight for _, weight in shares] == [3, 0]
    assert not torch.equal(shares[0][0], shares[1][0])
