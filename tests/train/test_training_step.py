"""The one step of the optimiser, against the same step written out in plain torch."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from fastrad.imaging.normalisation import Normalisation
from fastrad.models.resnet import resnet18
from fastrad.train.precision import Precision
from fastrad.train.ranks import Ranks
from fastrad.train.schedule import adamw, set_lr, sgd
from fastrad.train.step import Learner, timed_convolutions

CPU = torch.device("cpu")
NORMALISATION = Normalisation.gray(0.4, 0.2)


def gray_batch(count: int = 8, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (count, size, size, 1), dtype=torch.uint8, generator=generator)
    return images.permute(0, 3, 1, 2), torch.arange(count) % 3


def learner_of(precision: str = "float32", **options) -> Learner:
    torch.manual_seed(0)
    model = resnet18(3)
    optimiser = sgd(model, momentum=0.9, weight_decay=1e-4)
    set_lr(optimiser, 0.01)
    return Learner(model, optimiser, Precision(precision), NORMALISATION, Ranks(0, 1, CPU), **options)


def test_two_steps_are_those_of_plain_torch():
    images, labels = gray_batch()
    learner = learner_of(clip_norm=0.5)
    torch.manual_seed(0)
    model = resnet18(3)
    decayed, others = ([p for p in model.parameters() if (p.ndim > 1) is wanted] for wanted in (True, False))
    groups = [{"params": decayed, "weight_decay": 1e-4}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=0.01, momentum=0.9, nesterov=True)
    for number in range(2):
        loss_of = partial(functional.cross_entropy, target=labels, reduction="sum")
        found = learner.step(images, loss_of, number=number, divisor=16)
        optimiser.zero_grad()
        loss = functional.cross_entropy(model((images / 255 - 0.4) / 0.2), labels, reduction="sum")
        (loss / 16).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimiser.step()
        assert found.item() == pytest.approx(loss.item(), rel=1e-4)
    for (name, ours), theirs in zip(learner.model.state_dict().items(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_feature_map_lies_in_channels_last(precision):
    images, labels = gray_batch()
    learner, apart, seen = learner_of(precision), [], set()

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.add(output.dtype)
        if not output.is_contiguous(memory_format=torch.channels_last):
            apart.append(tuple(output.shape))

    for module in learner.model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(look)
    learner.step(images, partial(functional.cross_entropy, target=labels), number=0)
    assert not apart
    assert seen == {getattr(torch, precision)}
    assert {parameter.dtype for parameter in learner.model.parameters()} == {torch.float32}


def test_frozen_layers_and_statistics_stay_as_they_are():
    images, labels = gray_batch()
    torch.manual_seed(0)
    model = resnet18(3)
    optimiser = adamw(model, peak=0.1, backbone_share=0.0, weight_decay=0.01)
    set_lr(optimiser, 1.0)
    learner = Learner(model, optimiser, Precision("float32"), NORMALISATION, Ranks(0, 1, CPU), frozen_statistics=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    learner.step(images, partial(functional.cross_entropy, target=labels), number=0)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_one_image_is_normalised_by_the_running_statistics():
    images, labels = gray_batch(1)
    learner = learner_of()
    before = learner.model.bn1.running_mean.clone()
    loss = learner.step(images, partial(functional.cross_entropy, target=labels), number=0)
    assert torch.isfinite(loss)
    assert torch.equal(learner.model.bn1.running_mean, before)


def test_the_head_and_the_backbone_have_rates_of_their_own():
    model = resnet18(1)
    optimiser = adamw(model, peak=0.2, backbone_share=0.1, weight_decay=0.01)
    set_lr(optimiser, 0.5)
    rate = {id(parameter): group["lr"] for group in optimiser.param_groups for parameter in group["params"]}
    decay = {id(parameter): group["weight_decay"] for group in optimiser.param_groups for parameter in group["params"]}
    for name, parameter in model.named_parameters():
        assert rate[id(parameter)] == pytest.approx(0.1 if name.startswith("fc.") else 0.01), name
        assert (decay[id(parameter)] == 0.01) == (parameter.ndim > 1), name


@pytest.mark.parametrize("before", [False, True])
def test_cudnns_choice_of_algorithms_is_left_as_it_was_found(before):
    found, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, before
    try:
        with timed_convolutions():
            assert torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.benchmark is before
        with pytest.raises(KeyError), timed_convolutions():
            raise KeyError
        assert torch.backends.cudnn.benchmark is before
    finally:
        torch.backends.cudnn.benchmark = found


def test_an_import_leaves_threads_logging_and_torchs_settings_as_they_are():
    program = """
import logging, torch
def state():
    root = logging.getLogger()
    convolutions, products = torch.backends.cudnn.benchmark, torch.get_float32_matmul_precision()
    return torch.get_num_threads(), convolutions, products, torch.get_default_dtype(), root.level, len(root.handlers)
before = state()
import fastrad.train.pretrain, fastrad.train.bench, fastrad.study.networks.tune
assert state() == before
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
