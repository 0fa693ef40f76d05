"""Fitting into a square: aspect ratio, rounding, area averages by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fastrad.errors import InputError
from fastrad.imaging import fit


def area_average(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Exact mean over the source area of each target pixel."""

    def weights(source: int, target: int) -> np.ndarray:
        step = Fraction(source, target)
        overlap = [
            [max(Fraction(0), min((t + 1) * step, s + 1) - max(t * step, s)) / step for s in range(source)]
            for t in range(target)
        ]
        return np.array(overlap, dtype=np.float64)

    return weights(image.shape[0], height) @ image.astype(np.float64) @ weights(image.shape[1], width).T


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (90, 140), dtype=np.uint8)


@pytest.mark.parametrize("mode", ["pad", "squash", "crop"])
def test_an_image_of_the_right_size_is_untouched(image: np.ndarray, mode: str) -> None:
    square = image[:64, :64].copy()
    stored, content = fit(square, 64, mode)
    np.testing.assert_array_equal(stored, square)
    assert content == (0, 0, 64, 64)


def test_pad_keeps_the_aspect_ratio_and_centres(image: np.ndarray) -> None:
    stored, (top, left, height, width) = fit(image, 56, "pad")
    assert (top, left, height, width) == (10, 0, 36, 56)
    assert stored.shape == (56, 56)
    assert not stored[:10].any()
    assert not stored[46:].any()
    expected = area_average(image, 36, 56)
    assert np.abs(stored[10:46].astype(float) - expected).max() <= 0.51


def test_pad_of_a_tall_image_puts_the_odd_pixel_right() -> None:
    stored, content = fit(np.full((80, 41), 9, np.uint8), 40, "pad")
    assert content == (0, 9, 40, 21)  # 41 * 40 / 80 = 20.5 rounds up
    assert not stored[:, :9].any()
    assert not stored[:, 30:].any()
    assert (stored[:, 9:30] == 9).all()


def test_pad_of_a_line_keeps_one_pixel() -> None:
    stored, content = fit(np.full((1, 900), 200, np.uint8), 32, "pad")
    assert content == (15, 0, 1, 32)
    assert (stored[15] == 200).all()


def test_pad_copies_exactly_where_only_padding_is_needed(image: np.ndarray) -> None:
    stored, content = fit(image, 140, "pad")
    assert content == (25, 0, 90, 140)
    np.testing.assert_array_equal(stored[25:115], image)


def test_squash_averages_each_axis_over_its_area(image: np.ndarray) -> None:
    stored, content = fit(image, 33, "squash")
    assert content == (0, 0, 33, 33)
    assert np.abs(stored.astype(float) - area_average(image, 33, 33)).max() <= 0.51


def test_squash_that_shrinks_one_axis_and_grows_the_other_averages_the_first() -> None:
    image = np.tile(np.array([0, 200], np.uint8), (20, 50))  # 20 x 100, columns alternate
    stored, _ = fit(image, 50, "squash")
    assert (stored == 100).all()


def test_crop_takes_the_centred_square(image: np.ndarray) -> None:
    stored, content = fit(image, 90, "crop")
    np.testing.assert_array_equal(stored, image[:, 25:115])
    assert content == (0, 0, 90, 90)


def test_enlarging_is_bilinear() -> None:
    stored, _ = fit(np.array([[0, 100], [0, 100]], np.uint8), 4, "pad")
    # Target centres lie at source positions -0.25, 0.25, 0.75, 1.25; outside, the edge is repeated.
    np.testing.assert_array_equal(stored, np.tile([0, 25, 75, 100], (4, 1)))


def test_wrong_arguments_are_named(image: np.ndarray) -> None:
    with pytest.raises(InputError, match="pad, squash, crop"):
        fit(image, 64, "stretch")
    with pytest.raises(InputError, match="size 0"):
        fit(image, 0, "pad")
    with pytest.raises(InputError, match="uint8"):
        fit(image.astype(np.float32), 64, "pad")
