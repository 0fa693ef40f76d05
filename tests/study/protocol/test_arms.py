"""Arms: what each starts from, what it is called, and what is no arm."""

from __future__ import annotations

import pytest
import torch
from small_studies import weights_by_chance

from fastrad.errors import InputError, OptionError
from fastrad.models.resnet import resnet
from fastrad.models.weights import save_weights
from fastrad.study.protocol.arms import make_arms


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("weights")
    return {
        "one": str(weights_by_chance(root / "one.safetensors")),
        "two": str(weights_by_chance(root / "two.pth", seed=2)),
        "deeper": str(weights_by_chance(root / "deeper.pth", "resnet34")),
    }


def test_labels_say_what_a_further_arm_is(files):
    arms = make_arms(
        files["one"], files["two"], (("copy", files["one"]), ("deeper", files["deeper"])), (("unfitted", files["one"]),)
    )
    assert [arm.name for arm in arms] == ["none", "imagenet", "radimagenet", "copy", "deeper", "unfitted"]
    assert [arm.label for arm in arms] == [
        "No transfer",
        "two.pth (--imagenet)",
        "one.safetensors (--radimagenet)",
        "copy",
        "deeper (ResNet-34)",
        "unfitted (frozen features)",
    ]
    assert [arm.frozen for arm in arms] == [False] * 5 + [True]
    assert arms[2].sha256 == arms[3].sha256 != arms[1].sha256
    assert arms[0].weights is None


def test_the_three_arms_are_one_network_or_refused(files):
    with pytest.raises(OptionError, match=r"deeper\.pth: a ResNet-34; the imagenet arm is a ResNet-18 like the other"):
        make_arms(files["one"], files["deeper"])
    with pytest.raises(OptionError, match=r"one\.safetensors: a ResNet-18; the imagenet arm is a ResNet-34 like the"):
        make_arms(files["deeper"], files["one"])


def test_the_three_arms_are_of_any_architecture_and_what_differs_from_them_says_so(files, tmp_path):
    other = str(weights_by_chance(tmp_path / "other.pth", "resnet34", seed=5))
    arms = make_arms(files["deeper"], other, (("small", files["one"]), ("copy", other)), null_arm=True)
    assert {arm.name: arm.architecture for arm in arms} == {
        "none": "resnet34",
        "imagenet": "resnet34",
        "radimagenet": "resnet34",
        "null": "resnet34",
        "small": "resnet18",
        "copy": "resnet34",
    }
    labels = {arm.name: arm.label for arm in arms}
    assert (labels["small"], labels["copy"], labels["none"]) == ("small (ResNet-18)", "copy", "No transfer")
    assert make_arms(files["one"], files["two"])[0].identity == "", "as in studies that are there already"
    assert arms[0].identity == "resnet34", "or a study would go on with another network under the same name"


def test_imagenet_weights_are_downloaded_for_the_network_of_the_others(files, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # the discard port: refused at once
    with pytest.raises(InputError, match=r"pytorch\.org/models/resnet34-b627a593\.pth"):
        make_arms(files["deeper"], "torchvision")
    with pytest.raises(InputError, match=r"pytorch\.org/models/resnet18-f37072fd\.pth"):
        make_arms(files["one"], "torchvision")


@pytest.mark.parametrize(
    ("name", "reason"), [("none", "given twice"), ("a b", "letters, digits"), ("../out", "letters, digits")]
)
def test_a_name_is_given_once_and_can_be_a_folders(files, name, reason):
    with pytest.raises(OptionError, match=reason):
        make_arms(files["one"], files["two"], ((name, files["one"]),))


def test_weights_of_something_else_are_refused_by_name(files, tmp_path):
    torch.save({"conv1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth"):
        make_arms(str(tmp_path / "other.pth"), files["two"])


def pretrained(path, **metadata) -> str:
    """Weights with what `pretrain` says of them."""
    about = {"dataset": {"layout": "radimagenet", "split": "train", "samples": 1_080_000}, "synthetic": False}
    about |= {"classes": [f"class{number}" for number in range(165)], "seen": ["a" * 64], **metadata}
    save_weights(path, resnet("resnet18", 2).state_dict(), about)
    return str(path)


@pytest.mark.parametrize(
    ("metadata", "label", "trained_on"),
    [
        ({}, "RadImageNet", "1,080,000 images of 165 classes, radimagenet layout"),
        ({"synthetic": True}, "Synthetic (in domain)", "1,080,000 synthetic images of 165 classes, radimagenet layout"),
        (
            {"dataset": {"layout": "radimagenet", "split": "", "samples": 9000}},
            "radimagenet layout, 9,000 images (--radimagenet)",
            "9,000 images of 165 classes, radimagenet layout",
        ),
        (
            {"dataset": {"layout": "folder", "split": "", "samples": 2_000_000}},
            "folder layout, 2,000,000 images (--radimagenet)",
            "2,000,000 images of 165 classes, folder layout",
        ),
        (  # all images of a class were left out
            {"dataset": {"layout": "radimagenet", "split": "train", "samples": 1_080_000, "classes": 164}},
            "radimagenet layout, 1,080,000 images (--radimagenet)",
            "1,080,000 images of 164 classes, radimagenet layout",
        ),
        ({"dataset": "a study's", "arm": "none"}, "w.safetensors (--radimagenet)", "a network of another study"),
    ],
)
def test_an_arm_is_called_what_its_weights_say_whatever_option_gave_them(files, tmp_path, metadata, label, trained_on):
    _, _, arm = make_arms(pretrained(tmp_path / "w.safetensors", **metadata), files["two"])
    assert (arm.name, arm.label, arm.trained_on) == ("radimagenet", label, trained_on)


def test_imagenet_is_torchvisions_own_file_or_it_is_not_called_so(files, tmp_path):
    _, arm, other = make_arms(files["one"], files["two"])
    assert arm.name == "imagenet"
    assert "ImageNet" not in arm.label + arm.trained_on + other.label + other.trained_on
    phantoms = pretrained(tmp_path / "w.safetensors", synthetic=True)
    _, arm, _ = make_arms(files["one"], phantoms)
    assert arm.label == "Synthetic (out of domain)"


def test_a_users_own_name_stays_and_long_file_names_are_cut(files, tmp_path):
    long = weights_by_chance(tmp_path / f"{'x' * 100}.pth")
    arms = make_arms(str(long), files["two"], (("mine", pretrained(tmp_path / "w.safetensors")),))
    assert arms[3].label == "mine"
    assert arms[3].trained_on.startswith("1,080,000 images")
    assert len(arms[2].label) < 60
