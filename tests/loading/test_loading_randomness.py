"""Parameters of a sample: Philox against its published vectors, crops against torchvision's distribution."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop

from fastrad.loading.policy import Augmentation, Parameters, draw, philox4x32

EVERYTHING = Augmentation(
    flip_vertical=True, max_rotation=20, brightness=0.2, contrast=0.3, gamma=0.4, speckle=0.1, noise=0.05, erase=0.5
)


def _draw(policy: Augmentation, count: int = 4000, seed: int = 0, epoch: int = 0, occurrence: int = 0) -> Parameters:
    return draw(policy, seed, epoch, np.arange(count), np.full(count, occurrence), 224, 200)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # kat_vectors of the Random123 distribution
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers(counter: tuple, key: tuple, expected: tuple) -> None:
    words = philox4x32(tuple(np.array([word], dtype=np.uint64) for word in counter), key)
    assert tuple(int(word[0]) for word in words) == expected


def test_a_samples_parameters_do_not_depend_on_the_samples_beside_it() -> None:
    together = _draw(EVERYTHING, 50)
    alone = draw(EVERYTHING, 0, 0, np.array([33]), np.array([0]), 224, 200)
    for field in fields(Parameters):
        assert np.array_equal(getattr(together, field.name)[33:34], getattr(alone, field.name)), field.name


@pytest.mark.parametrize("change", [{"seed": 1}, {"epoch": 1}, {"occurrence": 1}, {"seed": 1 << 32}])
def test_seed_epoch_and_occurrence_each_change_the_crops_independently(change: dict) -> None:
    base, other = _draw(Augmentation()), _draw(Augmentation(), **change)
    assert abs(stats.pearsonr(base.top, other.top).statistic) < 4 / math.sqrt(4000)
    assert abs(stats.pearsonr(base.width, other.width).statistic) < 4 / math.sqrt(4000)
    assert stats.binomtest(int((base.flip_horizontal == other.flip_horizontal).sum()), 4000).pvalue > 1e-3


@pytest.mark.parametrize("policy", [Augmentation(), Augmentation.nodule(), Augmentation(scale=(0.5, 1), ratio=(2, 4))])
def test_crops_are_distributed_as_torchvisions(policy: Augmentation) -> None:
    """The last policy rarely fits, so that the fallback is taken too."""
    assert policy.scale is not None
    ours = _draw(policy)
    torch.manual_seed(0)
    frame = torch.zeros(1, 224, 200)
    theirs = np.array([RandomResizedCrop.get_params(frame, policy.scale, policy.ratio) for _ in range(4000)])
    for name, column in zip(("top", "left", "height", "width"), theirs.T, strict=True):
        assert stats.ks_2samp(getattr(ours, name), column).pvalue > 1e-3, name


def test_crops_stay_inside_the_frame() -> None:
    drawn = _draw(Augmentation())
    assert (drawn.top >= 0).all()
    assert (drawn.left >= 0).all()
    assert (drawn.height > 0).all()
    assert (drawn.top + drawn.height <= 224).all()
    assert (drawn.left + drawn.width <= 200).all()


@pytest.mark.parametrize("size", [64, 96, 224, 512])
def test_nodule_crops_are_square_and_keep_seven_tenths(size: int) -> None:
    drawn = draw(Augmentation.nodule(), 0, 0, np.arange(5000), np.zeros(5000, np.int64), size, size)
    assert np.array_equal(drawn.height, drawn.width)
    assert (drawn.height * drawn.width / size**2).min() >= 0.7
    assert not drawn.flip_vertical.any()


def test_no_augmentation_is_the_whole_frame_unchanged() -> None:
    drawn = _draw(Augmentation.none(), 10)
    boxes = np.stack([drawn.top, drawn.left, drawn.height, drawn.width], axis=1)
    assert boxes.tolist() == [[0, 0, 224, 200]] * 10
    assert not drawn.flip_horizontal.any()
    assert set(drawn.brightness) | set(drawn.gamma) | set(drawn.contrast) == {1.0}
    assert not drawn.erase.any()


def test_flips_are_fair_and_can_be_off_for_each_axis() -> None:
    both = _draw(Augmentation(flip_vertical=True))
    for flips in (both.flip_horizontal, both.flip_vertical, both.flip_horizontal ^ both.flip_vertical):
        assert stats.binomtest(int(flips.sum()), 4000).pvalue > 1e-3
    assert not _draw(Augmentation(flip_horizontal=False)).flip_horizontal.any()


def test_intensities_fill_their_bounds_and_erase_hits_its_share() -> None:
    drawn = _draw(EVERYTHING)
    expected = {
        "angle": stats.uniform(-math.radians(20), 2 * math.radians(20)),
        "brightness": stats.uniform(0.8, 0.4),
        "contrast": stats.uniform(0.7, 0.6),
        "speckle": stats.uniform(0, 0.1),
        "noise": stats.uniform(0, 0.05),
    }
    for name, distribution in expected.items():
        assert stats.kstest(getattr(drawn, name), distribution.cdf).pvalue > 1e-3, name
    assert stats.kstest(np.log(drawn.gamma), stats.uniform(-math.log(1.4), 2 * math.log(1.4)).cdf).pvalue > 1e-3
    top, left, bottom, right = drawn.erase.T
    area = (bottom - top) * (right - left)
    assert stats.binomtest(int((area > 0).sum()), 4000).pvalue > 1e-3
    assert 0 <= drawn.erase.min() <= drawn.erase.max() <= 1
    assert 0.019 < area[area > 0].min() <= area.max() < 0.21
