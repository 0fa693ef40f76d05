"""A study whose arms are no ResNet-18: the arm without transfer is drawn as the network of the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.models import resnet34

from fastrad.errors import InputError
from fastrad.imaging.normalisation import Normalisation
from fastrad.models.resnet import HEAD, architecture_of, resnet
from fastrad.models.weights import Weights, load_weights
from fastrad.study.networks.predict import predict
from fastrad.study.networks.runs import check_finished, tune
from fastrad.study.networks.tune import start

CPU = torch.device("cpu")
GRAY = Normalisation.gray(0.5, 0.25)


@pytest.mark.parametrize("architecture", ["resnet34", "resnet50"])
def test_without_transfer_the_backbone_is_drawn_and_the_head_is_that_of_the_other_arms(architecture):
    weights = Weights({key: value.detach() for key, value in resnet(architecture, 3).state_dict().items()})

    def begun(given, fold=0, redrawn=False):
        found = start(given, GRAY, seed=1, fold=fold, device=CPU, redrawn=redrawn, architecture=architecture)
        return found.state_dict()

    none, again, transfer, null = begun(None), begun(None), begun(weights), begun(None, redrawn=True)
    assert {architecture_of(each) for each in (none, transfer, null)} == {architecture}
    assert all(torch.equal(none[key], again[key]) for key in none)
    for key in HEAD:
        assert torch.equal(none[key], transfer[key])
        assert torch.equal(none[key], null[key])
        assert not torch.equal(none[key], begun(None, fold=1)[key])
    deep = "layer3.5.conv1.weight"
    assert torch.equal(transfer[deep], weights.state[deep])
    assert not torch.equal(none[deep], transfer[deep])
    assert not torch.equal(none[deep], null[deep])


def test_such_a_network_is_kept_scored_again_and_not_taken_for_another(finished, tmp_path):
    protocol, networks, _ = finished
    arm = replace(networks[0].arm, drawn="resnet34")
    deeper = replace(networks[0], arm=arm)
    tune([deeper], protocol, tmp_path, CPU, shown=False)
    path = tmp_path / deeper.name / "weights.safetensors"
    assert set(load_weights(path).state) == set(resnet34().state_dict())
    kept = pd.read_csv(tmp_path / deeper.name / "predictions.csv").set_index("row")["score"]
    assert np.array_equal(predict([path], protocol.dataset.path, "cpu").set_index("row").loc[kept.index, "score"], kept)
    assert check_finished([deeper], protocol, tmp_path) == [True]
    with pytest.raises(InputError, match="made with weights_sha256 resnet34, now none"):
        check_finished([networks[0]], protocol, tmp_path)
