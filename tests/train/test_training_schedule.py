from __future__ import annotations

import pytest
import torch
from fake_cuda import fake_cuda
from torch import nn

from fastrad.models.resnet import resnet18
from fastrad.train.schedule import learning_rate, set_lr, sgd, suiting_batch_size


def test_the_rate_rises_linearly_and_falls_along_a_cosine():
    rates = [learning_rate(step, 100, peak=2.0, rising=10) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser := torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0), T_max=90
    )
    for step in range(10, 100):
        assert rates[step] == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()


@pytest.mark.parametrize("rising", [0, 7])
def test_a_run_may_be_all_warm_up_or_none(rising):
    rates = [learning_rate(step, 7, peak=1.0, rising=rising) for step in range(7)]
    assert max(rates) == 1.0
    assert rates == sorted(rates, reverse=rising == 0)


def test_only_weights_of_convolutions_and_the_head_decay():
    model = resnet18(3)
    optimiser = sgd(model, momentum=0.9, weight_decay=0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed = {names[id(p)] for group in optimiser.param_groups if group["weight_decay"] for p in group["params"]}
    modules = dict(model.named_modules())
    expected = {
        f"{name}.weight" for name, module in modules.items() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)
    }
    assert decayed == expected
    assert sum(len(group["params"]) for group in optimiser.param_groups) == len(names)


def test_one_step_is_nesterovs():
    """Sutskever et al. 2013 in torch's form: v = m v + g; p -= lr (g + m v)."""
    layer = torch.nn.Linear(1, 1, bias=False)
    optimiser = sgd(layer, momentum=0.5, weight_decay=0.0)
    set_lr(optimiser, 0.1)
    weight, velocity = layer.weight.item(), 0.0
    for gradient in (1.0, 3.0):
        layer.weight.grad = torch.full((1, 1), gradient)
        optimiser.step()
        velocity = 0.5 * velocity + gradient
        weight -= 0.1 * (gradient + 0.5 * velocity)
    assert layer.weight.item() == pytest.approx(weight)


def test_infinite_gradients_in_the_first_step_leave_the_momentum_at_zero():
    """As under a new loss scale in float16. The fused kernel would leave the momentum what stood in memory."""
    for _ in range(20):
        layer = nn.Linear(64, 64)
        optimiser = sgd(layer, momentum=0.9, weight_decay=0.0)
        set_lr(optimiser, 0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
        scaler.scale(layer(torch.ones(1, 64)).sum() * torch.inf).backward()
        scaler.step(optimiser)
        scaler.update()
        optimiser.zero_grad()
        before = layer.weight.detach().clone()
        scaler.scale(layer(torch.ones(1, 64)).sum()).backward()
        scaler.step(optimiser)
        # Nesterov's first step: the gradient is 1, momentum and look-ahead make it 1.9
        torch.testing.assert_close(layer.weight.detach(), before - 0.1 * 1.9)


@pytest.mark.parametrize(
    ("samples", "size", "itemsize", "gib", "ranks", "expected"),
    [
        (1_350_000, 192, 2, 80, 1, 1024),
        (20_000, 192, 2, 80, 1, 128),  # 156 steps an epoch; 256 would leave 78
        (3_000, 192, 2, 80, 1, 64),
        (1_350_000, 224, 4, 15, 1, 256),  # a T4: 512 images take 18.6 GB of 12.9, 256 take 10.9
        (1_350_000, 224, 4, 15, 4, 1024),
        (1_350_000, 192, 2, 80, 3, 1023),
    ],
)
def test_a_gpus_batch_leaves_steps_and_fits_its_memory(samples, size, itemsize, gib, ranks, expected):
    with fake_cuda(total=gib << 30):
        assert suiting_batch_size(samples, size, itemsize, torch.device("cuda", 0), ranks) == expected


def test_a_cpus_batch_is_what_it_was():
    assert suiting_batch_size(1_350_000, 224, 4, torch.device("cpu")) == 64
