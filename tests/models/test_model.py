from __future__ import annotations

import pytest
import torch
from torchvision.models import resnet18 as torchvision_resnet18

from fastrad.imaging.normalisation import Normalisation
from fastrad.models.resnet import resnet18


def test_the_one_channel_network_has_torchvisions_names_and_shapes_but_for_the_stem():
    ours, theirs = resnet18(5).state_dict(), torchvision_resnet18(num_classes=5).state_dict()
    assert list(ours) == list(theirs)
    different = [key for key in ours if ours[key].shape != theirs[key].shape]
    assert different == ["conv1.weight"]
    assert ours["conv1.weight"].shape == (64, 1, 7, 7)
    assert resnet18(5).layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)


def test_normalisation_is_the_formula_on_uint8():
    gray_images = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8)
    found = Normalisation.gray(0.25, 0.5).apply(gray_images)
    torch.testing.assert_close(found, (gray_images / 255.0 - 0.25) / 0.5)
    assert found.dtype == torch.float32


def test_constant_images_are_normalised_by_a_deviation_of_one():
    images = torch.full((1, 1, 2, 2), 51, dtype=torch.uint8)
    assert torch.equal(Normalisation.gray(0.2, 0.0).apply(images), torch.zeros(1, 1, 2, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_table_of_levels_and_the_normalised_batch_are_the_same_numbers(dtype):
    normalisation = Normalisation.gray(0.31, 0.17)
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    exact = (torch.arange(256, dtype=torch.float64) / 255 - 0.31) / 0.17
    assert torch.equal(normalisation.table(dtype), exact.to(dtype))
    torch.testing.assert_close(normalisation.apply(levels).flatten().double(), exact, rtol=1e-6, atol=1e-6)
