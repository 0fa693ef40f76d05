"""Augmentation on the device against scipy, OpenCV and numpy."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from fastrad.errors import InputError
from fastrad.imaging.normalisation import Normalisation
from fastrad.loading.augment import augment_batch
from fastrad.loading.policy import Augmentation, Parameters, draw, whole_frame

MEAN, STD = 0.3, 0.2


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Six smooth textures, 60 x 80."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.standard_normal((6, 60, 80)), (0, 2, 2))
    scaled = 127.5 + 60 * smooth / smooth.std()
    return torch.from_numpy(scaled.clip(0, 255).astype(np.uint8))[:, None]


def _draw(policy: Augmentation, count: int = 6, height: int = 60, width: int = 80) -> Parameters:
    return draw(policy, 1, 0, np.arange(count), np.zeros(count, np.int64), height, width)


def _augment(images: torch.Tensor, parameters: Parameters, size: int = 48, dtype=torch.uint8) -> torch.Tensor:
    return augment_batch(images, parameters, size, Normalisation.gray(MEAN, STD), dtype)


def test_crops_and_flips_are_opencvs(images: torch.Tensor) -> None:
    p = _draw(Augmentation(flip_vertical=True))
    ours = _augment(images, p)
    for index, image in enumerate(images[:, 0].numpy()):
        crop = image[p.top[index] : p.top[index] + p.height[index], p.left[index] : p.left[index] + p.width[index]]
        expected = cv2.resize(crop, (48, 48), interpolation=cv2.INTER_LINEAR)
        expected = expected[:: -1 if p.flip_vertical[index] else 1, :: -1 if p.flip_horizontal[index] else 1]
        assert np.abs(ours[index, 0].numpy().astype(int) - expected).max() <= 1


def test_the_whole_frame_at_its_own_size_is_copied_exactly(images: torch.Tensor) -> None:
    square = images[:, :, :, :60]
    assert torch.equal(_augment(square, whole_frame(6, 60, 60), size=60), square)


def test_rotation_is_scipys_about_the_crops_centre(images: torch.Tensor) -> None:
    """Sampling points from the rotation matrix; interior pixels, since scipy treats the border otherwise."""
    p = _draw(Augmentation(scale=(0.3, 0.5), max_rotation=30))
    ours = _augment(images, p, dtype=torch.uint8)[:, 0].numpy().astype(float)
    assert (np.abs(p.angle) > 0.01).all()
    for index, image in enumerate(images[:, 0].numpy().astype(float)):
        u = (np.arange(48) + 0.5) / 48 - 0.5
        across = u[None, :] * p.width[index] * (-1 if p.flip_horizontal[index] else 1)
        down = u[:, None] * p.height[index]
        cosine, sine = math.cos(p.angle[index]), math.sin(p.angle[index])
        x = p.left[index] + p.width[index] / 2 + cosine * across - sine * down - 0.5
        y = p.top[index] + p.height[index] / 2 + sine * across + cosine * down - 0.5
        expected = ndimage.map_coordinates(image, [y, x], order=1, mode="nearest")
        assert np.abs(ours[index] - expected).max() <= 1


def test_positive_angles_turn_the_picture_counter_clockwise() -> None:
    """A bright spot right of the centre moves to the top of the picture at +90 degrees."""
    image = torch.zeros(1, 1, 41, 41, dtype=torch.uint8)
    image[0, 0, 18:23, 33:38] = 255
    turned = _augment(image, replace(whole_frame(1, 41, 41), angle=np.array([math.pi / 2])), size=41)[0, 0]
    rows, columns = np.nonzero(turned.numpy() > 128)
    assert rows.mean() == pytest.approx(5, abs=0.6)
    assert columns.mean() == pytest.approx(20, abs=0.6)


def test_brightness_contrast_and_gamma_follow_their_formulas(images: torch.Tensor) -> None:
    square = images[:, :, :, :60]
    p = replace(
        whole_frame(6, 60, 60),
        brightness=np.linspace(0.7, 1.3, 6),
        contrast=np.linspace(1.4, 0.6, 6),
        gamma=np.linspace(0.7, 1.4, 6),
    )
    ours = _augment(square, p, size=60, dtype=torch.float32)[:, 0].double().numpy() * STD + MEAN
    gray = square[:, 0].numpy() / 255
    average = gray.mean(axis=(1, 2), keepdims=True)
    each = [column[:, None, None] for column in (p.brightness, p.contrast, p.gamma)]
    expected = (((gray - average) * each[1] + average) * each[0]).clip(0, 1) ** each[2]
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_noise_is_normal_independent_and_of_the_asked_strength() -> None:
    flat = torch.full((3, 1, 128, 128), 128, dtype=torch.uint8)
    base = replace(whole_frame(3, 128, 128), noise_seed=np.array([1, 2, 2**32 - 1]))
    additive = _augment(flat, replace(base, noise=np.full(3, 0.05)), 128, torch.float32)[:, 0].numpy() * STD + MEAN
    speckle = _augment(flat, replace(base, speckle=np.full(3, 0.1)), 128, torch.float32)[:, 0].numpy() * STD + MEAN
    gray = 128 / 255
    fields = [(image - gray) / 0.05 for image in additive] + [(image / gray - 1) / 0.1 for image in speckle]
    for field in fields:
        assert stats.kstest(field.ravel(), "norm").pvalue > 1e-3
        for shift in ((0, 1), (1, 0), (1, 1)):
            assert abs(stats.pearsonr(field.ravel(), np.roll(field, shift, (0, 1)).ravel()).statistic) < 4 / 128
    for first in range(len(fields)):
        for second in range(first):
            assert abs(stats.pearsonr(fields[first].ravel(), fields[second].ravel()).statistic) < 4 / 128


def test_a_samples_noise_does_not_depend_on_its_batch(images: torch.Tensor) -> None:
    p = _draw(Augmentation(noise=0.1, speckle=0.2, brightness=0.2, contrast=0.2, gamma=0.3, erase=0.5, max_rotation=10))
    together = _augment(images, p)
    alone = torch.cat([_augment(images[index : index + 1], p[index : index + 1]) for index in range(6)])
    assert (together.int() - alone.int()).abs().max() <= 1  # float sums may round otherwise


def test_erasing_blackens_its_rectangle_and_nothing_else(images: torch.Tensor) -> None:
    square = images[:, :, :, :60].clamp(min=1)
    erase = np.zeros((6, 4))
    erase[2] = [0.25, 0.5, 0.5, 0.9]
    ours = _augment(square, replace(whole_frame(6, 60, 60), erase=erase), size=60)
    expected = square.clone()
    expected[2, 0, 15:30, 30:54] = 0
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_floats_are_normalised_last_and_channels_last(images: torch.Tensor, dtype: torch.dtype) -> None:
    p = _draw(Augmentation())
    ours, gray = _augment(images, p, dtype=dtype), _augment(images, p)
    assert ours.dtype == dtype
    assert ours.stride() == gray.stride() == (48 * 48, 1, 48, 1)
    expected = (gray.double() / 255 - MEAN) / STD
    tolerance = 0.5 / 255 / STD + 8 * torch.finfo(dtype).eps
    assert (ours.double() - expected).abs().max() <= tolerance * 1.01


def test_an_empty_batch_stays_empty() -> None:
    empty = torch.empty((0, 1, 60, 80), dtype=torch.uint8)
    assert _augment(empty, whole_frame(0, 60, 80)).shape == (0, 1, 48, 48)


@pytest.mark.parametrize(
    "wrong", [{"scale": (0, 1)}, {"scale": (0.5, 1.5)}, {"ratio": (2, 1)}, {"noise": -1}, {"erase": 2}]
)
def test_impossible_policies_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        Augmentation(**wrong)
