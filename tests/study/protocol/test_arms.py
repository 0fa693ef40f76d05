"""Arms: what each starts from, what it is called, and what is no arm."""

from __future__ import annotations

import pytest
import torch
from small_studies import weights_by_chance

from fastrad.errors import InputError, OptionError
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
        "ImageNet",
        "RadImageNet",
        "copy",
        "deeper (ResNet-34)",
        "unfitted (frozen features)",
    ]
    assert [arm.frozen for arm in arms] == [False] * 5 + [True]
    assert arms[2].sha256 == arms[3].sha256 != arms[1].sha256
    assert arms[0].weights is None


def test_an_arm_of_the_abstract_is_a_resnet18(files):
    with pytest.raises(OptionError, match="a ResNet-34; the ImageNet arm is a ResNet-18"):
        make_arms(files["one"], files["deeper"])


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
