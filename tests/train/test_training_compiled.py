"""`torch.compile` for a known set of shapes: everything is compiled before the first epoch, and nothing in it."""

from __future__ import annotations

import pytest
import torch
from tiny_images import CLASSES, tiny_images
from torch import nn

from fastrad.dataset import write_beton
from fastrad.imaging.normalisation import Normalisation
from fastrad.loading import Loader
from fastrad.train.precision import Precision
from fastrad.train.step import compile_for

SIZES = range(8, 8 * 11, 8)  # more shapes than dynamo compiles by itself


def _network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(4, 3)).to(memory_format=torch.channels_last)


@pytest.mark.slow
def test_no_batch_of_the_loader_is_compiled_for_again(tmp_path):
    images, labels = tiny_images(16, 1, size=32)
    write_beton(tmp_path / "a.beton", images, labels, classes=CLASSES)
    network, plain = _network(), _network()
    statistics = network[1].running_mean.clone()
    compiled, notice = compile_for(network, list(SIZES), 8, torch.device("cpu"), Precision("float32"))
    assert compiled is not None, notice
    assert torch.equal(network[1].running_mean, statistics)
    loader, normalisation = Loader(tmp_path / "a.beton", 8, device="cpu"), Normalisation.gray(0.4, 0.2)
    plain.train()
    with torch.compiler.set_stance("fail_on_recompile"):
        for size in SIZES:
            loader.size = size
            for batch in loader:
                pixels = normalisation.apply(batch.images)
                found, expected = compiled(pixels), plain(pixels)
                torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
                found.sum().backward()
    assert network[0].weight.grad is not None
