"""Weights as other tools save them: the tensors of the plain file, or one line that says what to strip or to save."""

from __future__ import annotations

import argparse
import copy
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchvision.models import resnet18 as torchvision_resnet18
from torchvision.models import resnet50 as torchvision_resnet50

from fastrad.errors import FastradError, InputError
from fastrad.models.weights import Weights, load_weights


def _network(seed: int, classes: int = 5, channels: int = 3) -> nn.Module:
    """A ResNet-18 with batch statistics that are not the initial zeros and ones."""
    torch.manual_seed(seed)
    network = torchvision_resnet18(num_classes=classes)
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    with torch.no_grad():
        network(torch.randn(2, channels, 64, 64) * 1.3 + 0.2)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return _network(0)


@pytest.fixture(scope="module")
def other() -> nn.Module:
    return _network(1)


def _prefixed(prefix: str, network: nn.Module) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in network.state_dict().items()}


def _assert_is(weights: Weights, network: nn.Module, *, head: bool = True) -> None:
    """The weights fit torchvision's own network and make the same of it as the plain file."""
    plain = {key: value for key, value in network.state_dict().items() if head or not key.startswith("fc.")}
    assert set(weights.state) == set(plain)
    empty = copy.deepcopy(network).to("meta")
    missing = empty.load_state_dict(weights.state, strict=False, assign=True)
    assert missing.unexpected_keys == []
    assert missing.missing_keys == ([] if head else ["fc.weight", "fc.bias"])
    for key, value in plain.items():
        assert torch.equal(empty.state_dict()[key], value), key


_PREFIXES = (
    *("model.", "net.", "backbone.", "encoder.", "module.", "_orig_mod.", "resnet.", "0."),
    *("module._orig_mod.", "_orig_mod.module.", "model.backbone.", "model.net._orig_mod.", "lit.model.module.body."),
)


@pytest.mark.parametrize("prefix", _PREFIXES)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_any_common_prefix_is_stripped(network, tmp_path: Path, prefix: str, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    (torch.save if suffix == ".pth" else save_file)(_prefixed(prefix, network), path)
    _assert_is(load_weights(path), network)


@pytest.mark.parametrize(
    "nest", ["state_dict", "model_state_dict", "model", "net", "weights", "params", "ema", "model_ema"]
)
def test_the_dictionaries_of_trainers_are_opened(network, tmp_path: Path, nest: str) -> None:
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.randn(1, 3, 64, 64)).sum().backward()
    optimizer.step()  # moments with the shapes of the weights
    content = {"epoch": 3, nest: network.state_dict(), "optimizer": optimizer.state_dict(), "args": {"lr": 0.1}}
    torch.save(content, tmp_path / "w.pt")
    weights = load_weights(tmp_path / "w.pt")
    _assert_is(weights, network)
    assert any("moving average" in notice for notice in weights.notices) == ("ema" in nest)


def test_a_checkpoint_of_lightning_is_read(network, tmp_path: Path) -> None:
    content = {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": OrderedDict(_prefixed("model.", network) | {"criterion.weight": torch.ones(5)}),
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [],
        "hyper_parameters": {"lr": 0.1},
    }
    torch.save(content, tmp_path / "last.ckpt")
    weights = load_weights(tmp_path / "last.ckpt")
    _assert_is(weights, network)
    assert "1 tensor outside of state_dict.model left out: criterion.weight" in weights.notices[0]


def test_a_checkpoint_that_needs_more_than_tensors_says_the_way_out(network, tmp_path: Path) -> None:
    content = {"state_dict": _prefixed("model.", network), "hyper_parameters": argparse.Namespace(lr=0.1)}
    torch.save(content, tmp_path / "last.ckpt")
    torch.save(network, tmp_path / "whole.pth")
    for name, holds in (("last.ckpt", r"it holds argparse\.Namespace"), ("whole.pth", r"it holds torchvision\.")):
        with pytest.raises(InputError, match=rf"{holds}.*nothing else is unpickled.*state_dict alone") as caught:
            load_weights(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("average", ["state_dict_ema", "ema_state_dict", "model_ema", "ema"])
def test_of_a_network_and_its_average_the_network_is_taken_with_a_notice(network, other, tmp_path, average) -> None:
    for nested in (
        {"model": network.state_dict(), average: other.state_dict()},
        {average: other.state_dict(), "state_dict": _prefixed("module.", network)},
    ):
        torch.save(nested, tmp_path / "w.pt")
        weights = load_weights(tmp_path / "w.pt")
        _assert_is(weights, network)
        assert f"is taken, not its moving average or slow copy {average}" in weights.notices[0]


def test_an_averaged_model_of_torch_is_read_with_a_notice(network, tmp_path: Path) -> None:
    averaged = AveragedModel(network)
    averaged.update_parameters(network)
    assert "n_averaged" in averaged.state_dict()
    torch.save(averaged.state_dict(), tmp_path / "swa.pt")
    weights = load_weights(tmp_path / "swa.pt")
    _assert_is(weights, network)
    assert "average of a network over its training" in weights.notices[0]
    assert not any("left out" in notice for notice in weights.notices)


def test_sequential_numbers_are_read_with_a_head_and_without(network, tmp_path: Path) -> None:
    children = list(network.children())
    layouts = {
        "bare": (nn.Sequential(*children[:-1]), False),
        "no_pool": (nn.Sequential(*children[:-2]), False),
        "linear": (nn.Sequential(*children[:-1], nn.Flatten(), network.fc), True),
        "dropout": (nn.Sequential(*children[:-1], nn.Flatten(), nn.Dropout(), network.fc), True),
        "two_layers": (nn.Sequential(*children[:-1], nn.Sequential(nn.Linear(512, 9), nn.Linear(9, 5))), False),
        "features": (nn.Sequential(nn.Sequential(*children[:-1]), nn.Flatten(), nn.Linear(512, 2)), False),
    }
    for name, (module, head) in layouts.items():
        for prefix in ("", "encoder.", "module._orig_mod."):
            torch.save(_prefixed(prefix, module), tmp_path / f"{name}.pt")
            _assert_is(load_weights(tmp_path / f"{name}.pt"), network, head=head)


def test_a_numbered_resnet50_with_its_head_is_read(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = torchvision_resnet50(num_classes=3)
    torch.save(nn.Sequential(*list(network.children())[:-1], nn.Flatten(), network.fc).state_dict(), tmp_path / "w.pt")
    weights = load_weights(tmp_path / "w.pt")
    assert weights.architecture == "resnet50"
    _assert_is(weights, network)


@pytest.mark.parametrize(
    "head",
    ["fc.1.", "fc.0.", "head.", "head.fc.", "classifier.", "classifier.1.", "projector.0.", "projection_head.2."],
)
@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_any_other_head_is_left_out_with_a_notice(network, tmp_path: Path, head: str, prefix: str) -> None:
    state = {key: value for key, value in _prefixed(prefix, network).items() if not key.startswith(f"{prefix}fc.")}
    torch.save({**state, f"{prefix}{head}weight": torch.zeros(128, 512)}, tmp_path / "w.pt")
    weights = load_weights(tmp_path / "w.pt")
    _assert_is(weights, network, head=False)
    assert f"{prefix}{head}weight" in weights.notices[0]


def test_contrastive_pretraining_gives_its_encoder(network, other, tmp_path: Path) -> None:
    body = {key: value for key, value in network.state_dict().items() if not key.startswith("fc.")}
    slow = {key: value for key, value in other.state_dict().items() if not key.startswith("fc.")}
    projection = {"projector.0.weight": torch.zeros(512, 512), "projector.2.weight": torch.zeros(128, 512)}
    moco = {
        **{f"module.encoder_q.{key}": value for key, value in body.items()},
        "module.encoder_q.fc.0.weight": torch.zeros(512, 512),
        "module.encoder_q.fc.2.weight": torch.zeros(128, 512),
        **{f"module.encoder_k.{key}": value for key, value in slow.items()},
        "module.queue": torch.zeros(128, 64),
        "module.queue_ptr": torch.zeros(1, dtype=torch.int64),
    }
    simclr = {**{f"encoder.{key}": value for key, value in body.items()}, **projection}
    byol = {
        **{f"backbone.{key}": value for key, value in body.items()},
        **{f"momentum_backbone.{key}": value for key, value in slow.items()},
        **projection,
    }
    for name, state in (("moco", moco), ("simclr", simclr), ("byol", byol)):
        torch.save({"state_dict": state}, tmp_path / f"{name}.pt")
        weights = load_weights(tmp_path / f"{name}.pt")
        _assert_is(weights, network, head=False)
        assert any("left out" in notice for notice in weights.notices), name
    assert "slow copy state_dict.module.encoder_k" in load_weights(tmp_path / "moco.pt").notices[0]


def test_one_channel_half_precision_and_missing_counters_are_read(tmp_path: Path) -> None:
    gray = _network(4, channels=1)
    torch.save({"net": gray.state_dict()}, tmp_path / "gray.pt")
    _assert_is(load_weights(tmp_path / "gray.pt"), gray)
    state = {f"model.{key}": value for key, value in gray.state_dict().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "old.pt")
    weights = load_weights(tmp_path / "old.pt")
    assert all(torch.equal(weights.state[key[6:]], value) for key, value in state.items())
    torch.save({key: value.half() for key, value in state.items()}, tmp_path / "half.pt")
    half = load_weights(tmp_path / "half.pt")
    assert all(torch.equal(half.state[key[6:]], value.half().float()) for key, value in state.items())


def test_one_network_registered_twice_is_one_and_two_are_refused(network, other, tmp_path: Path) -> None:
    torch.save({**_prefixed("model.", network), **_prefixed("backbone.", network)}, tmp_path / "twice.pt")
    _assert_is(load_weights(tmp_path / "twice.pt"), network)
    torch.save({**_prefixed("left.", network), **_prefixed("right.", other)}, tmp_path / "two.pt")
    with pytest.raises(InputError, match=r"several networks \(left, right\); save .* alone"):
        load_weights(tmp_path / "two.pt")
    clash = {**_prefixed("", network), "_orig_mod.conv1.weight": other.state_dict()["conv1.weight"]}
    torch.save(clash, tmp_path / "clash.pt")
    with pytest.raises(InputError, match=r"conv1.weight and _orig_mod.conv1.weight are both conv1.weight"):
        load_weights(tmp_path / "clash.pt")


def test_timms_plain_resnet_is_read_and_its_other_stems_are_refused_by_name(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    for name in ("resnet18", "resnet34", "resnet50"):
        model = timm.create_model(name, num_classes=3)
        torch.save({"state_dict": model.state_dict(), "arch": name}, tmp_path / "w.pth.tar")
        weights = load_weights(tmp_path / "w.pth.tar")
        assert weights.architecture == name
        assert all(torch.equal(weights.state[key], value) for key, value in model.state_dict().items())
    gray = timm.create_model("resnet18", num_classes=0, in_chans=1)
    torch.save(gray.state_dict(), tmp_path / "gray.pth")
    assert load_weights(tmp_path / "gray.pth").channels == 1
    refused = {
        "resnet18d": r"conv1\.0\.weight .*a stem of several convolutions \(timm's resnet18d",
        "resnext50_32x4d": r"layer1\.0\.conv1\.weight has shape \[128, 64, 1, 1\], expected \[64, 64, 1, 1\]",
        "seresnet50": r"layer1\.0\.se\.fc1\.weight .*not part of a ResNet-50",
    }
    for name, says in refused.items():
        torch.save(_prefixed("module.", timm.create_model(name)), tmp_path / "w.pth")
        with pytest.raises(InputError, match=says) as caught:
            load_weights(tmp_path / "w.pth")
        assert "read behind the prefix 'module.'" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_error_names_the_nearest_name_and_the_prefix(network, tmp_path: Path) -> None:
    state = network.state_dict()
    cases = [
        ({f"resnet18_{k}": v for k, v in state.items()}, r"nearest expected name is conv1.weight: strip 'resnet18_'"),
        (
            {f"net.{k.replace('conv2', 'conv_2')}": v for k, v in state.items()},
            r"net\.layer1\.0\.conv_2\.weight .*'net\.'\); the nearest expected name is layer1\.0\.conv2\.weight",
        ),
        (
            {**_prefixed("model.", network), "model.layer2.0.conv1.weight": torch.zeros(128, 64, 1, 1)},
            r"layer2\.0\.conv1\.weight has shape \[128, 64, 1, 1\], expected \[128, 64, 3, 3\] .*'model\.'",
        ),
        (
            {k: v for k, v in _prefixed("_orig_mod.", network).items() if "layer3.1.bn2.weight" not in k},
            r"layer3\.1\.bn2\.weight is missing .*'_orig_mod\.'",
        ),
        (
            {"features.conv0.weight": torch.zeros(64, 3, 7, 7)},
            r"features\.conv0\.weight .*expected name is conv1\.weight",
        ),
        ({"model." + k: v.to(torch.int8) for k, v in state.items()}, r"conv1\.weight holds int8"),
        (
            {k.upper(): v for k, v in state.items()},
            r"CONV1\.WEIGHT .*nearest expected name is conv1\.weight, in lower case; give",
        ),
        (
            {**state, "layer1.2.bn1.weight": torch.zeros(64)},
            r"layer1\.2\.bn1\.weight .*nearest expected name is layer1\.\d\.bn1\.weight; give",  # nothing to strip
        ),
        (
            {**state, "layer2.1.bn2.running_var": -state["layer2.1.bn2.running_var"]},
            r"layer2\.1\.bn2\.running_var holds negative variances",
        ),
    ]
    for content, says in cases:
        torch.save(content, tmp_path / "w.pth")
        with pytest.raises(FastradError, match=says) as caught:
            load_weights(tmp_path / "w.pth")
        assert str(tmp_path / "w.pth") in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_is_read_as_what_it_is_whatever_its_name(network, tmp_path: Path) -> None:
    save_file(network.state_dict(), tmp_path / "safe.pth")
    torch.save(network.state_dict(), tmp_path / "zip.safetensors")
    torch.save(network.state_dict(), tmp_path / "old.safetensors", _use_new_zipfile_serialization=False)
    for path in tmp_path.iterdir():
        _assert_is(load_weights(path), network)
