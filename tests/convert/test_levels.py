"""An archive whose gray levels would not survive 8 bits stops before it is converted; one window serves all of it."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from fastrad.archives.manifest import Manifest
from fastrad.cli import main
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset.opening import open_dataset
from fastrad.errors import InputError, OptionError

SIDE = 64


def pictures(count: int, top: int) -> np.ndarray:
    """Smooth pictures with values 0 to `top`, (count, SIDE, SIDE) uint16."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 8, 8)).astype(np.uint8)
    smooth = np.stack([cv2.resize(each, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for each in coarse])
    return (smooth.astype(np.float64) * top / 255).astype(np.uint16)


def manifest_of(root: Path, images: np.ndarray, suffix: str = ".png") -> Manifest:
    root.mkdir(exist_ok=True)
    for number, image in enumerate(images):
        if suffix == ".tif":
            tifffile.imwrite(root / f"{number}.tif", image)
        else:
            cv2.imwrite(str(root / f"{number}{suffix}"), image)
    paths = [f"{number}{suffix}" for number in range(len(images))]
    return Manifest.from_columns(root, "table", path=paths, label="a")


def test_12_bit_values_in_16_bits_stop_with_the_option_that_mends_it(tmp_path):
    manifest = manifest_of(tmp_path / "in", pictures(5, 4095))
    with pytest.raises(InputError, match=r"leaves about 1\d of 256 gray levels; .*--window auto, or --window LOW,HIGH"):
        convert(manifest, tmp_path / "out", ConvertOptions(size=SIDE, workers=1))
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_auto_takes_one_window_for_all_and_the_card_says_it(tmp_path, suffix):
    images = pictures(6, 4095)
    images[3] //= 2  # a darker image stays darker
    manifest = manifest_of(tmp_path / "in", images, suffix)
    convert(manifest, tmp_path / "out", ConvertOptions(size=SIDE, workers=1, window="auto"))
    dataset = open_dataset(tmp_path / "out" / "all.beton")
    low, high = dataset.card.parameters["window"]
    assert dataset.card.parameters["window_from"] == "auto"
    pooled = np.percentile(images, [0.5, 99.5])
    assert abs(low - pooled[0]) <= 2
    assert abs(high - pooled[1]) <= 2
    for index, image in enumerate(images):
        expected = np.rint((image.astype(float) - low) * 255 / (high - low)).clip(0, 255)
        assert np.abs(dataset.decode(index) - expected).max() <= 1
    assert dataset.card.gray_levels > 200


def test_16_bit_values_that_use_their_range_are_converted_without_a_word(tmp_path):
    images = pictures(4, 65535)
    convert(manifest_of(tmp_path / "in", images), tmp_path / "out", ConvertOptions(size=SIDE, workers=1))
    dataset = open_dataset(tmp_path / "out" / "all.beton")
    assert dataset.card.parameters["window"] is None
    assert np.abs(dataset.decode(2) - images[2] / 257).max() <= 0.5


def test_blank_images_are_not_judged(tmp_path):
    images = np.concatenate([np.full((20, SIDE, SIDE), 7, np.uint16), pictures(2, 65535)])
    convert(manifest_of(tmp_path / "in", images), tmp_path / "out", ConvertOptions(size=SIDE, workers=1))
    assert (tmp_path / "out" / "all.beton").exists()


def test_a_kind_that_is_rare_in_the_archive_is_judged_too(tmp_path):
    root = tmp_path / "in"
    manifest_of(root, pictures(300, 255).astype(np.uint8))
    tifffile.imwrite(root / "one.tif", pictures(1, 4095)[0])
    paths = [*(f"{number}.png" for number in range(300)), "one.tif"]
    manifest = Manifest.from_columns(root, "table", path=paths, label="a")
    with pytest.raises(InputError, match="TIFF, 16 bits"):
        convert(manifest, tmp_path / "out", ConvertOptions(size=SIDE, workers=1))
    with pytest.raises(InputError, match=r"several kinds of images \(PNG, 8 bits, TIFF, 16 bits\)"):
        convert(manifest, tmp_path / "out", ConvertOptions(size=SIDE, workers=1, window="auto"))


def test_auto_has_nothing_to_choose_in_an_archive_of_8_bits(tmp_path):
    manifest = manifest_of(tmp_path / "in", pictures(3, 255).astype(np.uint8))
    with pytest.raises(OptionError, match="more than 8 stored bits"):
        convert(manifest, tmp_path / "out", ConvertOptions(size=SIDE, workers=1, window="auto"))


def _with_significant_bits(values: np.ndarray, bits: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"sBIT", bytes([bits])), chunk(b"IDAT", zlib.compress(lines))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def test_significant_bits_scaled_in_some_files_and_not_in_others_are_not_guessed(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    for number, image in enumerate(pictures(4, 4095)):
        stored = image.astype(np.uint32) * 16 if number == 3 else image
        (root / f"{number}.png").write_bytes(_with_significant_bits(stored, 12))
    paths = [f"{number}.png" for number in range(4)]
    plain = Manifest.from_columns(root, "table", path=paths[:3], label="a")
    convert(plain, tmp_path / "plain", ConvertOptions(size=SIDE, workers=1))
    both = Manifest.from_columns(root, "table", path=paths, label="a")
    with pytest.raises(InputError, match="scaled"):
        convert(both, tmp_path / "out", ConvertOptions(size=SIDE, workers=1))


def test_the_words_of_the_command_line_and_of_the_summary(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    manifest_of(tmp_path / "in" / "a", pictures(3, 4095))
    manifest_of(tmp_path / "in" / "b", pictures(3, 4095))
    words = ["convert", "folder", str(tmp_path / "in"), str(tmp_path / "out"), "--size", str(SIDE), "--window", "auto"]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert not stop.value.code
    said = capsys.readouterr().out
    assert "of 256 gray levels are used" in said
    assert "(auto)" in said
    with pytest.raises(SystemExit):
        main(["inspect", str(tmp_path / "out" / "all.beton"), "--json"])
    assert json.loads(capsys.readouterr().out)["gray_levels"] > 100
    with pytest.raises(SystemExit) as stop:
        main([*words[:-1], "bone"])
    assert stop.value.code == 2
    assert "LOW,HIGH are needed, or one of auto, ct-soft" in capsys.readouterr().err


def test_pixels_that_are_not_square_are_made_so_and_counted(tmp_path):
    root = tmp_path / "in"
    root.mkdir()
    image = pictures(1, 255)[0].astype(np.uint8)
    tifffile.imwrite(root / "0.tif", image[::2], resolution=(200, 100), resolutionunit="INCH")
    manifest = Manifest.from_columns(root, "table", path=["0.tif"], label="a")
    convert(manifest, tmp_path / "square", ConvertOptions(size=SIDE, workers=1))
    made = open_dataset(tmp_path / "square" / "all.beton")
    assert made.card.made_square == 1
    assert np.abs(made.decode(0).astype(int) - image).mean() < 6
    convert(manifest, tmp_path / "as-is", ConvertOptions(size=SIDE, workers=1, pixel_aspect="ignore"))
    kept = open_dataset(tmp_path / "as-is" / "all.beton")
    assert kept.card.made_square == 0
    assert kept.card.parameters["pixel_aspect"] == "ignore"
    assert not kept.decode(0)[:16].any()  # padding above half the height


def test_a_card_without_gray_levels_keeps_the_hash_of_its_bytes(tmp_path):
    manifest = manifest_of(tmp_path / "in", pictures(3, 255).astype(np.uint8))
    convert(manifest, tmp_path / "out", ConvertOptions(size=SIDE, workers=1))
    card = open_dataset(tmp_path / "out" / "all.beton").card
    former = type(card)(**{**vars(card), "gray_levels": 0, "made_square": 0})
    assert b"gray_levels" not in former.to_bytes()
    assert type(card).from_bytes(former.to_bytes(), "card").sha256() == former.sha256()


def test_labels_in_white_do_not_hide_that_few_levels_are_left(tmp_path):
    images = pictures(6, 4095)
    images[:, :6, :12] = 65535  # a burned-in label
    with pytest.raises(InputError, match="of 256 gray levels"):
        convert(manifest_of(tmp_path / "in", images), tmp_path / "out", ConvertOptions(size=SIDE, workers=1))


def test_few_values_spread_over_the_range_are_no_fault(tmp_path):
    images = (pictures(4, 15) * 4369).astype(np.uint16)  # 16 values, 0 to 65535
    convert(manifest_of(tmp_path / "in", images), tmp_path / "out", ConvertOptions(size=SIDE, workers=1))
    assert (tmp_path / "out" / "all.beton").exists()


def test_a_window_is_not_applied_to_8_bits_beside_deeper_images(tmp_path):
    root = tmp_path / "in"
    manifest_of(root, pictures(3, 4095))
    cv2.imwrite(str(root / "shallow.png"), pictures(1, 255)[0].astype(np.uint8))
    manifest = Manifest.from_columns(root, "table", path=["0.png", "1.png", "shallow.png"], label="a")
    with pytest.raises(InputError, match="images of 8 bits and deeper ones"):
        convert(manifest, tmp_path / "out", ConvertOptions(size=SIDE, workers=1, window=(0, 4095)))


def test_hounsfield_presets_are_for_hounsfield_units(tmp_path):
    manifest = manifest_of(tmp_path / "in", pictures(3, 255).astype(np.uint8))
    with pytest.raises(InputError, match="is in Hounsfield units"):
        convert(manifest, tmp_path / "out", ConvertOptions(size=SIDE, workers=1, window="ct-soft"))


@pytest.mark.parametrize("window", [None, "auto"])
@pytest.mark.parametrize("dark", [2, 5, 8])
def test_images_on_two_scales_are_not_pooled(tmp_path, dark, window):
    images = pictures(10, 65535)
    images[:dark] //= 16  # 12 bits in 16
    manifest = manifest_of(tmp_path / "in", images)
    with pytest.raises(InputError, match=rf"{dark} images of a sample .* two scales.*convert the two apart"):
        convert(manifest, tmp_path / "out", ConvertOptions(size=SIDE, workers=1, window=window))
    convert(manifest, tmp_path / "out", ConvertOptions(size=SIDE, workers=1, window=(0, 65535)))


def test_images_of_any_brightness_are_on_one_scale(tmp_path):
    images = pictures(10, 65535)
    images = np.stack([image // (2**number) for number, image in enumerate(images)])
    manifest = manifest_of(tmp_path / "in", images)
    convert(manifest, tmp_path / "out", ConvertOptions(size=SIDE, workers=1))
