"""Decoding stills to gray: every kind of pixel, against Pillow and numpy."""

from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fastrad.errors import InputError
from fastrad.imaging import decode_gray, read_gray


@pytest.fixture(scope="module")
def gray() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (37, 53), dtype=np.uint8)


@pytest.fixture(scope="module")
def colour() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def luma(rgb: np.ndarray) -> np.ndarray:
    return rgb.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_gray_comes_out_exactly(gray: np.ndarray, kind: str) -> None:
    np.testing.assert_array_equal(decode_gray(encode(Image.fromarray(gray), kind)), gray)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_gray_stored_as_colour_comes_out_exactly(gray: np.ndarray, kind: str, mode: str) -> None:
    image = Image.fromarray(gray)
    if mode == "P":
        image.putpalette([value for value in range(256) for _ in range(3)])
    np.testing.assert_array_equal(decode_gray(encode(image.convert(mode), kind)), gray)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_colour_becomes_bt601_luma(colour: np.ndarray, kind: str) -> None:
    decoded = decode_gray(encode(Image.fromarray(colour), kind))
    assert np.abs(decoded - luma(colour)).max() <= 0.51


def test_sixteen_bit_maps_the_full_range_linearly() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    decoded = decode_gray(encode(Image.fromarray(values)))
    np.testing.assert_array_equal(decoded, np.rint(values.astype(np.float64) * 255 / 65535))


def test_sixteen_bit_gray_stored_as_rgb_equals_sixteen_bit_gray() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    data = cv2.imencode(".png", np.repeat(values[..., None], 3, 2))[1].tobytes()
    np.testing.assert_array_equal(decode_gray(data), decode_gray(encode(Image.fromarray(values))))


def test_window_maps_low_to_black_and_high_to_white() -> None:
    values = np.array([[0, 1000, 1500, 2000, 65535]], dtype=np.uint16)
    decoded = decode_gray(encode(Image.fromarray(values)), window=(1000, 2000))
    np.testing.assert_array_equal(decoded, [[0, 0, 128, 255, 255]])


def test_empty_window_is_refused(gray: np.ndarray) -> None:
    with pytest.raises(InputError, match="window"):
        decode_gray(encode(Image.fromarray(gray)), window=(10, 10))


def test_float_image_needs_a_window(gray: np.ndarray) -> None:
    data = encode(Image.fromarray(gray.astype(np.float32)), "TIFF")
    with pytest.raises(InputError, match="window"):
        decode_gray(data)
    np.testing.assert_array_equal(decode_gray(data, window=(0, 255)), gray)


def test_what_is_no_number_is_black_and_infinities_are_clipped() -> None:
    values = np.array([[np.nan, -np.inf, np.inf, 100.0]], dtype=np.float32)
    data = encode(Image.fromarray(values), "TIFF")
    np.testing.assert_array_equal(decode_gray(data, window=(0, 255)), [[0, 0, 255, 100]])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_one_bit_becomes_black_and_white(gray: np.ndarray, kind: str) -> None:
    image = Image.fromarray(gray > 127)
    assert image.mode == "1"
    np.testing.assert_array_equal(decode_gray(encode(image, kind)), np.where(gray > 127, 255, 0))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_on_black(gray: np.ndarray, colour: np.ndarray, mode: str) -> None:
    rgb = colour if mode == "RGBA" else np.repeat(gray[..., None], 3, 2)
    alpha = np.random.default_rng(2).integers(0, 256, gray.shape, dtype=np.uint8)
    image = Image.fromarray(rgb if mode == "RGBA" else gray)
    image.putalpha(Image.fromarray(alpha))
    assert image.mode == mode
    assert np.abs(decode_gray(encode(image)) - luma(rgb) * alpha / 255).max() <= 1.01


def test_transparent_gray_value_becomes_black(gray: np.ndarray) -> None:
    decoded = decode_gray(encode(Image.fromarray(gray), transparency=200))
    np.testing.assert_array_equal(decoded, np.where(gray == 200, 0, gray))


def test_colour_jpeg_gives_the_luma_that_it_stores(colour: np.ndarray) -> None:
    smooth = cv2.GaussianBlur(colour, (0, 0), 4)
    data = encode(Image.fromarray(smooth), "JPEG", quality=95, subsampling=0)
    stored = Image.open(io.BytesIO(data))
    stored.draft("L", stored.size)
    assert np.abs(decode_gray(data).astype(int) - np.asarray(stored)).max() <= 1


def test_orientation_in_exif_is_ignored(gray: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_gray(encode(Image.fromarray(gray), "JPEG", exif=exif)).shape == gray.shape
    np.testing.assert_array_equal(decode_gray(encode(Image.fromarray(gray), "PNG", exif=exif)), gray)


def test_box_takes_the_region_and_leaves_out_what_is_outside(gray: np.ndarray) -> None:
    data = encode(Image.fromarray(gray))
    np.testing.assert_array_equal(decode_gray(data, box=(3, 5, 20, 11)), gray[5:11, 3:20])
    np.testing.assert_array_equal(decode_gray(data, box=(-4, -4, 6, 999)), gray[:, :6])
    with pytest.raises(InputError, match="holds no pixel"):
        decode_gray(data, box=(53, 0, 60, 10))


def test_a_still_has_no_second_frame(gray: np.ndarray) -> None:
    with pytest.raises(InputError, match="frame 1"):
        decode_gray(encode(Image.fromarray(gray)), frame=1)


def test_content_decides_not_the_name(gray: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "image.jpg").write_bytes(encode(Image.fromarray(gray), "PNG"))
    np.testing.assert_array_equal(read_gray(tmp_path / "image.jpg"), gray)


def test_link_out_of_the_archive_is_refused_where_asked(gray: np.ndarray, tmp_path: Path) -> None:
    root = tmp_path / "archive"
    root.mkdir()
    for folder in (root, tmp_path):
        (folder / "image.png").write_bytes(encode(Image.fromarray(gray)))
    (root / "inner.png").symlink_to(root / "image.png")
    (root / "outer.png").symlink_to(tmp_path / "image.png")
    np.testing.assert_array_equal(read_gray(root / "inner.png", within=root), gray)
    np.testing.assert_array_equal(read_gray(root / "outer.png"), gray)
    with pytest.raises(InputError, match="leads outside ROOT"):
        read_gray(root / "outer.png", within=root)


def test_real_archive_decodes_as_pillow_does(mini_root: Path) -> None:
    paths = sorted((mini_root / "radiology_ai").rglob("*.png"))[::60]
    for path in paths:
        np.testing.assert_array_equal(read_gray(path), np.asarray(Image.open(path)))
    assert len(paths) > 200


def test_every_ddti_image_decodes(ddti_root: Path) -> None:
    paths = sorted(ddti_root.glob("*.jpg"))
    for path in paths:
        image = Image.open(path)
        image.draft("L", image.size)
        assert np.abs(read_gray(path).astype(int) - np.asarray(image.convert("L"))).max() <= 1
    assert len(paths) == 480


def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match="not a regular file"):
        read_gray(tmp_path / "pipe.png")


def test_a_tiff_of_several_pages_is_refused(gray: np.ndarray) -> None:
    buffer = io.BytesIO()
    pages = [Image.fromarray(gray), Image.fromarray(255 - gray)]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(InputError, match="several pages"):
        decode_gray(buffer.getvalue())
