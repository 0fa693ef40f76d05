"""Steps of training on a GPU that is not there: devices, dtypes, layouts, waits of the host, memory."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from fake_cuda import Seen, fake_cuda
from torch.nn import functional

from fastrad.imaging.normalisation import Normalisation
from fastrad.loading.engines import model_bytes
from fastrad.models.resnet import resnet18
from fastrad.study.networks.tune import _binary_loss
from fastrad.train.bench import _learner, _nchw
from fastrad.train.config import PretrainConfig, Recipe
from fastrad.train.ema import AveragedWeights
from fastrad.train.precision import Precision, choose_precision
from fastrad.train.ranks import Ranks
from fastrad.train.run import StopSignals, prepare
from fastrad.train.schedule import adamw, set_lr, sgd
from fastrad.train.step import Learner

NORMALISATION = Normalisation.gray(0.4, 0.2)


def _images(count: int, size: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.empty((count, size, size, 1), dtype=dtype, device="cuda").permute(0, 3, 1, 2)


def _pretraining(
    precision: str, count: int = 8, size: int = 64, **options
) -> tuple[Learner, torch.Tensor, torch.Tensor]:
    device = torch.device("cuda", 0)
    model = resnet18(5).to(device)
    optimiser = sgd(model, momentum=0.9, weight_decay=1e-4)
    set_lr(optimiser, 0.1)
    learner = Learner(model, optimiser, Precision(precision), NORMALISATION, Ranks(0, 1, device), **options)
    images = _images(count, size, Precision(precision).delivered(device))
    return learner, images, torch.zeros(count, dtype=torch.int64, device=device)


def _step(learner: Learner, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    loss_of = partial(functional.cross_entropy, target=labels, label_smoothing=0.1, reduction="sum")
    return learner.step(images, loss_of, number=3, divisor=len(labels))


def _check_convolutions(seen: Seen, precision: str) -> None:
    assert len(seen.convolutions) == 20
    assert {dtype for dtype, _, _ in seen.convolutions} == {getattr(torch, precision)}
    if precision == "float32":  # torch reports the layouts of casts otherwise than a GPU makes them
        assert {form for _, *both in seen.convolutions for form in both} == {torch.channels_last}


@pytest.mark.parametrize("options", [{}, {"clip_norm": 1.0, "ema": 0.99}], ids=["plain", "clipped and averaged"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_pretraining_step_stays_on_the_card_and_never_waits(precision: str, options: dict) -> None:
    with fake_cuda() as seen:
        learner, images, labels = _pretraining(precision, **options)
        _step(learner, images, labels)  # the scaler makes its tensors in the first step
        seen.waits.clear()
        seen.convolutions.clear()
        loss = _step(learner, images, labels)
    assert (loss.device.type, loss.dtype, loss.shape) == ("cuda", torch.float32, ())
    assert not seen.waits
    _check_convolutions(seen, precision)
    for parameter in learner.model.parameters():
        assert (parameter.device.type, parameter.dtype) == ("cuda", torch.float32)
        assert parameter.grad is not None
        assert parameter.grad.device == parameter.device


@pytest.mark.parametrize("share", [0.1, 0.0], ids=["tuned", "head alone"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_tuning_step_stays_on_the_card_and_never_waits(precision: str, share: float) -> None:
    with fake_cuda() as seen:
        device = torch.device("cuda", 0)
        model = resnet18(1).to(device)
        optimiser = adamw(model, peak=1e-3, backbone_share=share, weight_decay=0.01)
        learner = Learner(
            model, optimiser, Precision(precision), NORMALISATION, Ranks(0, 1, device), frozen_statistics=share == 0
        )
        images, targets = _images(8, 64, torch.uint8), torch.zeros(8, device=device)
        loss_of = partial(_binary_loss, targets=targets, positive_weight=torch.ones((), device=device))
        learner.step(images, loss_of, number=0)
        seen.waits.clear()
        seen.convolutions.clear()
        set_lr(optimiser, 0.5)
        loss = learner.step(images, loss_of, number=1)
    assert (loss.device.type, loss.dtype) == ("cuda", torch.float32)
    assert not seen.waits
    _check_convolutions(seen, precision)


def test_statistics_of_averaged_weights_are_computed_without_waiting() -> None:
    with fake_cuda() as seen:
        averaged = AveragedWeights(resnet18(3).to("cuda"), 0.99)
        batches = [_images(4, 64, torch.float32) for _ in range(3)]
        seen.waits.clear()
        averaged.recompute_statistics(batches)
    assert not seen.waits


@pytest.mark.parametrize(("precision", "itemsize"), [("float32", 4), ("bfloat16", 2)])
@pytest.mark.parametrize(("count", "size"), [(64, 224), (256, 160)])
def test_what_is_kept_free_for_the_model_is_what_a_step_takes(
    precision: str, itemsize: int, count: int, size: int
) -> None:
    """Largest sum of live storages up to the end of the forward pass, whose activations the backward pass frees."""
    with fake_cuda() as seen:
        learner, images, labels = _pretraining(precision, count, size)
        weights = 3 * 4 * sum(parameter.numel() for parameter in learner.model.parameters())
        _step(learner, images, labels)
    fixed = model_bytes(0, size, itemsize)
    kept = model_bytes(count, size, itemsize) - fixed
    assert weights < fixed
    assert 0.7 * kept <= seen.peak - weights <= 0.9 * kept


def test_layouts_and_parameters_on_the_cpu_would_be_seen() -> None:
    with fake_cuda() as seen:
        learner, images, labels = _pretraining("float32", memory_format=torch.contiguous_format)
        nchw = images.as_strided(images.shape, (64 * 64, 64 * 64, 64, 1))
        _step(learner, nchw, labels)
        assert torch.contiguous_format in {form for _, *both in seen.convolutions for form in both}
        learner.model.fc = torch.nn.Linear(512, 5)
        with pytest.raises(Exception, match="device"):
            _step(learner, images, labels)


def test_the_bench_measures_nchw_where_it_says_so() -> None:
    """One channel is laid out alike in both: the strides of images and of the stem decide what cuDNN does."""
    with fake_cuda() as seen:
        device = torch.device("cuda", 0)
        learner = _learner(5, 1, NORMALISATION, Precision("float32"), device, torch.contiguous_format)
        images = _nchw(_images(8, 64, torch.float32))
        _step(learner, images, torch.zeros(8, dtype=torch.int64, device=device))
    assert {form for _, *both in seen.convolutions for form in both} == {torch.contiguous_format}


def test_the_precision_of_a_card_is_its_own() -> None:
    with fake_cuda():
        chosen = choose_precision("amp", torch.device("cuda", 0))
    assert chosen.name == "bfloat16"
    assert chosen.delivered(torch.device("cuda", 0)) == torch.bfloat16
    assert chosen.delivered(torch.device("cpu")) == torch.uint8


def test_a_run_on_a_card_trains_on_its_own_number_format_and_validates_on_gray_levels(tiny: Path) -> None:
    """Validation images are normalised by the training file's mean and std, not by those of their own file's loader."""
    config = PretrainConfig(tiny / "train.beton", tiny / "val.beton", tiny / "none", Recipe(ema=0.9), precision="amp")
    with fake_cuda():
        run = prepare(config, Ranks(0, 1, torch.device("cuda", 0)), StopSignals())
    assert run.train.dtype == torch.bfloat16
    assert run.statistics is not None
    assert run.val.dtype == run.statistics.dtype == torch.uint8
    assert run.recipe.batch_size == 64
    assert run.settings["batch_size"] == 64
