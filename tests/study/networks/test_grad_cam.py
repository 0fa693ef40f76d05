"""Grad-CAM against derivatives by finite differences, and what `explain` returns."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional

from fastrad.imaging.normalisation import Normalisation
from fastrad.models.resnet import resnet
from fastrad.study.networks.grad_cam import explain, grad_cam


def by_differences(model, pixels, answers, stages, step=1e-5):
    """A channel's weight: the change of the logit when it rises everywhere, over its number of places."""
    before, behind = stages
    with torch.inference_mode():
        maps = functional.max_pool2d(torch.relu(model.bn1(model.conv1(pixels))), 3, 2, 1)
        for name in before:
            maps = model.get_submodule(name)(maps)

        def logits(maps):
            for name in behind:
                maps = model.get_submodule(name)(maps)
            return model.fc(maps.mean((2, 3)))[:, 0]

        heats = []
        for image, answer in zip(maps, answers, strict=True):
            raised = image + step * torch.eye(len(image), dtype=image.dtype)[:, :, None, None]
            slopes = answer * (logits(raised) - logits(image[None])) / step / image[0].numel()
            heats.append(torch.relu((image * slopes[:, None, None]).sum(0)))
        heat = functional.interpolate(torch.stack(heats)[:, None], size=pixels.shape[-2:], mode="bilinear")[:, 0]
    return (heat / heat.amax((1, 2), keepdim=True)).numpy()


@pytest.mark.parametrize(
    ("architecture", "size", "stages"),
    [
        ("resnet18", 32, (("layer1", "layer2"), ("layer3", "layer4"))),
        ("resnet18", 64, (("layer1", "layer2", "layer3"), ("layer4",))),
        ("resnet50", 32, (("layer1", "layer2"), ("layer3", "layer4"))),
    ],
)
def test_the_map_is_the_sum_of_channels_weighted_by_their_derivative(architecture, size, stages):
    """Of the last stage with 4 x 4 places or more."""
    torch.manual_seed(4)  # both images have places that spoke for their answer
    model = resnet(architecture, 1).eval()
    images = torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8)
    found = grad_cam(model, Normalisation.gray(0.5, 0.25), images, np.array([1, -1]))
    pixels = (images.double() / 255 - 0.5) / 0.25
    expected = by_differences(copy.deepcopy(model).double(), pixels, (1, -1), stages)
    assert found == pytest.approx(expected, abs=2e-3)
    assert found.min() >= 0
    assert found.max(axis=(1, 2)) == pytest.approx(1)


def test_images_are_those_of_the_rows_and_heats_have_their_maximum_at_one(finished):
    protocol, networks, runs = finished
    rows = [int(protocol.dataset.rows[index]) for index in (5, 2, 40)]
    paths = [runs / network.name / "weights.safetensors" for network in networks]
    images, heats = explain(paths, protocol.dataset, rows, [1, -1, 1], 32)
    for image, index in zip(images, (5, 2, 40), strict=True):
        assert np.array_equal(image, protocol.dataset.dataset.decode(index))
    assert heats.shape == (3, 32, 32)
    assert heats.min() >= 0
    assert set(heats.max(axis=(1, 2)).round(9)) <= {0.0, 1.0}
    opposite = explain(paths, protocol.dataset, rows, [-1, 1, -1], 32)[1]
    assert not np.allclose(heats, opposite)
