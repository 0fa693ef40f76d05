from __future__ import annotations

import pytest
import torch

from fastrad.training.bench import measure_training


@pytest.mark.slow
def test_every_variant_is_measured_and_the_ratios_are_of_the_medians(tiny):
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
    real = variants["real loading (torch)"]["median"]
    assert found["real_to_constant"] == pytest.approx(real / variants["constant batch"]["median"], abs=2e-3)
    assert found["real_to_plain"] == pytest.approx(real / variants["plain recipe"]["median"], abs=2e-3)
    assert set(found["parts"]) == {"normalise", "forward", "backward", "optimiser"}
