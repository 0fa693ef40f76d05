from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from fastrad.imaging.normalisation import Normalisation
from fastrad.train.bench import _learner, _nchw, measure_training
from fastrad.train.precision import Precision


@pytest.mark.slow
def test_every_variant_is_measured_and_the_ratios_are_taken_within_rounds(tiny):
    found = measure_training(
        tiny / "train.beton", size=16, batch_size=8, device=torch.device("cpu"), engine="torch", rounds=2, steps=1
    )
    variants = found["variants"]
    names = {
        "constant batch",
        "replayed batches",
        "real loading (torch)",
        "constant batch, three channels",
        "plain recipe",
    }
    assert names <= set(variants)
    assert all(0 < one["minimum"] <= one["median"] <= one["maximum"] for one in variants.values())
    real = found["images_per_second"]["real loading (torch)"]
    for name, ratio in (("constant batch", "real_to_constant"), ("plain recipe", "real_to_plain")):
        pairs = zip(real, found["images_per_second"][name], strict=True)
        assert found[ratio] == pytest.approx(np.median([one / other for one, other in pairs]), abs=0.03)
    assert set(found["parts"]) == {"normalise", "forward", "backward", "optimiser"}


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
def test_each_layout_is_what_its_convolutions_see(memory: torch.memory_format):
    """One channel lies in memory in both layouts alike: the strides alone say which one is meant."""
    gray = torch.zeros((4, 32, 32, 1), dtype=torch.uint8).permute(0, 3, 1, 2)
    images = gray if memory == torch.channels_last else _nchw(gray)
    learner = _learner(3, 1, Normalisation.gray(0.4, 0.2), Precision("float32"), torch.device("cpu"), memory)
    seen = []
    learner.model.conv1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    loss_of = partial(functional.cross_entropy, target=torch.zeros(4, dtype=torch.int64))
    learner.step(images, loss_of, number=0)
    assert [output.is_contiguous(memory_format=memory) for output in seen] == [True]
