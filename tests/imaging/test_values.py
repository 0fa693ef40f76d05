"""Values of more than 8 bits become gray levels by range or window; pixels that are not square become square."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile

from fastrad.imaging import ImageError, decode_gray, make_square
from fastrad.imaging.values import Values, of_bits


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_the_range_of_the_stored_bits_becomes_0_to_255(bits):
    top = (1 << bits) - 1
    stored = np.array([[0, top // 2, top]], dtype=np.uint8 if bits == 8 else np.uint16)
    assert np.abs(of_bits(stored, bits, "PNG").to_uint8(None, "x") - [0, 127.5, 255]).max() <= 0.5
    assert of_bits(stored, bits, "PNG", inverted=True).to_uint8(None, "x")[0].tolist() == [255, 128, 0]


def test_a_window_takes_the_place_of_the_range():
    stored = np.array([[0, 1000, 2000, 4000]], dtype=np.uint16)
    assert of_bits(stored, 16, "TIFF").to_uint8((1000, 2000), "x")[0].tolist() == [0, 0, 255, 255]


def test_values_without_range_and_window_are_refused_with_the_way_out():
    with pytest.raises(ImageError, match="give --window LOW,HIGH"):
        Values(np.zeros((2, 2), np.float32), None, "TIFF, float32", 32).to_uint8(None, "x")


@pytest.mark.parametrize(("aspect", "shape"), [(2, (64, 48)), (0.5, (32, 96)), (1.005, (32, 48)), (1, (32, 48))])
def test_the_coarser_axis_is_enlarged_and_none_shrunk(aspect, shape):
    image = np.arange(32 * 48, dtype=np.uint32).reshape(32, 48) * 255 // (32 * 48)
    assert make_square(image.astype(np.uint8), aspect).shape == shape


def test_a_circle_on_pixels_twice_as_high_as_wide_is_round_again():
    y, x = np.mgrid[-1:1:200j, -1:1:200j]
    circle = ((x**2 + y**2) < 0.6).astype(np.uint8) * 255
    again = make_square(circle[::2], 2)
    height, width = np.ptp(np.argwhere(again > 127), axis=0) + 1
    assert abs(height - width) <= 2


@pytest.mark.parametrize(
    ("unit", "resolution", "shape"),
    [(2, (300, 150), (80, 60)), (3, (300, 150), (80, 60)), (1, (300, 150), (40, 60)), (2, (300, 300), (40, 60))],
)
def test_tiff_resolution_counts_where_its_unit_is_a_length(unit, resolution, shape):
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((40, 60), np.uint8), resolution=resolution, resolutionunit=unit)
    assert decode_gray(stream.getvalue()).shape == shape
    assert decode_gray(stream.getvalue(), pixel_aspect="ignore").shape == (40, 60)
