from __future__ import annotations

import pickle

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.models import resnet18 as torchvision_resnet18

from fastrad.errors import FastradError, InputError
from fastrad.imaging.normalisation import IMAGENET, Normalisation
from fastrad.models.imagenet import imagenet_hashes
from fastrad.models.resnet import resnet, resnet18
from fastrad.models.weights import initialise, load_weights, save_weights


def _rgb_network(num_classes: int = 7, seed: int = 0) -> torch.nn.Module:
    """A three-channel ResNet-18 with batch statistics that are not the initial zeros and ones."""
    torch.manual_seed(seed)
    network = torchvision_resnet18(num_classes=num_classes)
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64) * 1.3 + 0.2)
    return network.eval()


@pytest.fixture(scope="module")
def rgb():
    return _rgb_network()


@pytest.fixture
def gray_images():
    return torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_the_summed_stem_equals_torchvision_on_replicated_gray(rgb, gray_images, tmp_path):
    torch.save(rgb.state_dict(), tmp_path / "rgb.pth")
    model = resnet18(7).eval()
    initialise(model, load_weights(tmp_path / "rgb.pth"))
    model.fc.load_state_dict(rgb.fc.state_dict())
    gray = Normalisation.gray(0.3, 0.2).apply(gray_images)
    with torch.no_grad():
        torch.testing.assert_close(model(gray), rgb(gray.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_a_stem_trained_with_imagenet_statistics_is_exact_inside_and_close_at_the_border(rgb, gray_images, tmp_path):
    from torchvision.transforms.functional import normalize

    save_weights(
        tmp_path / "rgb.safetensors",
        rgb.state_dict(),
        {"normalisation": {"mean": list(IMAGENET.mean), "std": list(IMAGENET.std)}},
    )
    model = resnet18(7).eval()
    fed = Normalisation.gray(0.31, 0.27)
    initialise(model, load_weights(tmp_path / "rgb.safetensors"), normalisation=fed)
    theirs = normalize(gray_images.expand(-1, 3, -1, -1) / 255, list(IMAGENET.mean), list(IMAGENET.std))
    with torch.no_grad():
        expected = rgb.bn1(rgb.conv1(theirs))
        found = model.bn1(model.conv1(fed.apply(gray_images)))
        plain = resnet18(7).eval()
        initialise(plain, load_weights(tmp_path / "rgb.safetensors"))
        unfolded = plain.bn1(plain.conv1(fed.apply(gray_images)))
    inside = (..., slice(2, -2), slice(2, -2))  # a 7 x 7 filter of stride 2 reaches three pixels over the border
    torch.testing.assert_close(found[inside], expected[inside], rtol=1e-4, atol=1e-4)
    assert (found - expected).abs().mean() < 0.2 * (unfolded - expected).abs().mean()


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
def test_nested_and_prefixed_state_dicts_are_read(rgb, tmp_path, nest, prefix):
    state = {prefix + key: value for key, value in rgb.state_dict().items()}
    torch.save({nest: state, "epoch": 3} if nest else state, tmp_path / "a.pth")
    weights = load_weights(tmp_path / "a.pth")
    assert torch.equal(weights.state["layer4.1.conv2.weight"], rgb.state_dict()["layer4.1.conv2.weight"])
    assert weights.channels == 3
    assert weights.normalisation is None
    assert "normalisation" in weights.notices[0]


def test_radimagenets_own_file_of_a_resnet50_is_read_by_its_numbered_children(tmp_path):
    torch.manual_seed(2)
    network = torchvision.models.resnet50(weights=None)
    children = torch.nn.Sequential(*list(network.children())[:-1])  # as its authors saved it: without the head
    torch.save({f"backbone.{key}": value for key, value in children.state_dict().items()}, tmp_path / "r50.pt")
    weights = load_weights(tmp_path / "r50.pt")
    assert weights.architecture == "resnet50"
    model = resnet("resnet50", 2)
    assert not initialise(model, weights)
    gray = torch.rand(2, 1, 64, 64)
    network.fc = model.fc
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(gray), network.eval()(gray.expand(-1, 3, -1, -1)), rtol=1e-3, atol=1e-4)


def test_weights_of_another_depth_are_not_put_into_a_network(tmp_path):
    save_weights(tmp_path / "w.safetensors", resnet("resnet34", 5).state_dict(), {})
    with pytest.raises(InputError, match="ResNet-34's, the network is a ResNet-18"):
        initialise(resnet18(5), load_weights(tmp_path / "w.safetensors"))


def test_a_head_of_another_form_is_left_out(rgb, tmp_path):
    state = {key: value for key, value in rgb.state_dict().items() if not key.startswith("fc.")}
    torch.save({**state, "fc.1.weight": torch.zeros(2, 64)}, tmp_path / "a.pth")
    weights = load_weights(tmp_path / "a.pth")
    assert "fc.weight" not in weights.state
    assert not initialise(resnet18(2), weights, classes=["a", "b"])


def test_the_head_is_kept_for_the_same_classes_only(tmp_path):
    source = resnet18(3)
    save_weights(tmp_path / "w.safetensors", source.state_dict(), {"classes": ["a", "b", "c"]})
    weights = load_weights(tmp_path / "w.safetensors")
    same, other = resnet18(3), resnet18(3)
    assert initialise(same, weights, classes=["a", "b", "c"])
    assert torch.equal(same.fc.weight, source.fc.weight)
    fresh = other.fc.weight.clone()
    assert not initialise(other, weights, classes=["a", "c", "b"])
    assert torch.equal(other.fc.weight, fresh)
    assert torch.equal(other.conv1.weight, source.conv1.weight)


def test_metadata_survives_a_round_trip(tmp_path):
    metadata = {
        "classes": ["a,b", "ü"],
        "normalisation": {"mean": [0.5], "std": [0.25]},
        "synthetic": False,
        "metrics": {"val_macro_auroc": 0.5},
    }
    save_weights(tmp_path / "w.safetensors", resnet18(2).state_dict(), metadata)
    weights = load_weights(tmp_path / "w.safetensors")
    assert weights.metadata == metadata
    assert weights.normalisation == Normalisation((0.5,), (0.25,))
    assert weights.notices == ()
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def _changed(state: dict, key: str, value: object) -> dict:
    return {**state, key: value}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: _changed(s, "conv1.weight", torch.zeros(64, 2, 7, 7)), r"conv1.weight .*\[64, 2, 7, 7\].*1 or 3"),
        (
            lambda s: _changed(s, "layer2.0.conv1.weight", torch.zeros(1, 2)),
            r"layer2.0.conv1.weight .*\[128, 64, 3, 3\]",
        ),
        (lambda s: _changed(s, "layer1.0.conv3.weight", torch.zeros(1)), r"layer1.0.conv3.weight .*not part"),
        (lambda s: _changed(s, "fc.weight", torch.zeros(7, 2048)), r"fc.weight .*\[7, 2048\].*512"),
        (lambda s: _changed(s, "bn1.bias", torch.full((64,), float("nan"))), r"bn1.bias .*not finite"),
        (lambda s: {k: v for k, v in s.items() if k != "layer3.1.bn2.weight"}, r"layer3.1.bn2.weight is missing"),
        (lambda s: {}, r"conv1.weight is missing"),
        (lambda s: {"state_dict": {"epoch": 3}}, r"epoch is a int"),
    ],
)
def test_anything_that_is_not_a_resnet18_is_one_line_naming_key_and_shapes(rgb, tmp_path, change, says):
    torch.save(change(rgb.state_dict()), tmp_path / "a.pth")
    with pytest.raises(FastradError, match=says) as caught:
        load_weights(tmp_path / "a.pth")
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "a.pth") in str(caught.value)


class _Trap:
    def __reduce__(self):
        import os

        return os.mkdir, ("trap-was-sprung",)


def test_objects_are_never_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": _Trap()}, "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(_Trap()))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(FastradError, match="nothing else is unpickled"):
            load_weights(name)
    assert not (tmp_path / "trap-was-sprung").exists()


def test_files_that_are_absent_cut_or_of_another_kind_are_one_line(tmp_path):
    save_file({"x": torch.zeros(1000)}, tmp_path / "cut.safetensors")
    whole = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    torch.save(resnet18(2).state_dict(), tmp_path / "cut.pth")
    whole = (tmp_path / "cut.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "empty.safetensors").touch()
    for name in ("absent.pth", "cut.safetensors", "cut.pth", "text.pth", "empty.safetensors"):
        with pytest.raises(FastradError) as caught:
            load_weights(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 400


def test_imagenet_weights_without_a_network_say_how_to_pass_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # the discard port: refused at once
    with pytest.raises(FastradError, match="give its path instead of 'torchvision'"):
        load_weights("torchvision")


def test_torchvisions_own_files_are_known_by_what_their_names_say_of_their_hash():
    assert imagenet_hashes("resnet18") == ("f37072fd",)
    assert imagenet_hashes("resnet50") == ("0676ba61", "11ad3fa6")  # IMAGENET1K_V1 and _V2


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    with pytest.raises(TypeError):
        save_weights(tmp_path / "w.safetensors", resnet18(2).state_dict(), {"bad": object()})
    assert list(tmp_path.iterdir()) == []


def test_metadata_that_names_other_channels_than_the_stem_is_one_line(tmp_path):
    model = resnet18(3)
    normalisation = {"mean": [0.1, 0.2, 0.3], "std": [0.1, 0.2, 0.3]}
    save_weights(tmp_path / "a.safetensors", model.state_dict(), {"normalisation": normalisation})
    with pytest.raises(InputError, match="3 means and 3 SDs for 1 input channels"):
        initialise(resnet18(3), load_weights(tmp_path / "a.safetensors"), normalisation=Normalisation.gray(0.2, 0.3))


@pytest.mark.parametrize("seen", [3, {"a": 1}, [None, ["x"], "known"], None])
def test_what_weights_have_seen_is_read_from_any_metadata(tmp_path, seen):
    save_weights(tmp_path / "a.safetensors", resnet18(3).state_dict(), {"seen": seen, "dataset": "a study's file"})
    expected = {"a study's file"} | ({"known"} if isinstance(seen, list) else set())
    assert load_weights(tmp_path / "a.safetensors").seen == expected
