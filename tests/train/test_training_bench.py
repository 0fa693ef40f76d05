from __future__ import annotations

import numpy as np
import pytest
import torch

from fastrad.train.bench import measure_training


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
