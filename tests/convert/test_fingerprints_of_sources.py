"""Beside each card lie the fingerprints of its sources: of what was decoded, whatever became of it then."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from fastrad.archives.manifest import Manifest
from fastrad.convert.run import ConvertOptions, convert, read_shards
from fastrad.dataset import BetonFile, Card
from fastrad.dataset.fingerprints import Fingerprints, own_file, read_own
from fastrad.dataset.lookup import SAME, Lookup
from fastrad.dataset.opening import open_dataset
from fastrad.dataset.pixels import FingerprintMaker
from fastrad.errors import FormatError
from fastrad.verify import verify


def written(folder: Path, name: str = "all") -> bytes:
    return (folder / f"{name}.fingerprints").read_bytes()


def test_they_are_of_the_files_pixels_and_the_card_holds_their_hash(archive, tmp_path, small_chunks):
    manifest = archive(90, height=200)
    (manifest.root / manifest.table["path"][60]).write_bytes(b"damaged")
    convert(manifest, tmp_path / "out", ConvertOptions(size=32, workers=2))
    dataset = open_dataset(tmp_path / "out" / "all.beton")
    assert dataset.card.fingerprints == {"sha256": hashlib.sha256(written(tmp_path / "out")).hexdigest()}
    maker = FingerprintMaker(89)
    for row in dataset.rows.tolist():
        maker.add(cv2.imread(str(manifest.root / manifest.table["path"][row]), cv2.IMREAD_GRAYSCALE))
    found = read_own(dataset)
    assert np.array_equal(found.digests, maker.table["digest"])
    assert len(set(found.digests.tolist())) > 80
    assert Lookup(found).among(Fingerprints.of(maker.table)).tolist() == [SAME] * 89


@pytest.mark.parametrize(
    "options",
    [
        {"size": 64},
        {"fit": "crop", "size": 50},
        {"encode": "jpeg", "quality": 40},
        {"format": "webdataset"},
        {"window": (30.0, 170.0)},
        {"workers": 3},
    ],
)
def test_they_stay_the_same_whatever_is_stored(archive, tmp_path, small_chunks, options):
    manifest = archive(60, height=150)
    for name, chosen in (("one", {}), ("other", options)):
        convert(manifest, tmp_path / name, ConvertOptions(**{"workers": 1, "size": 32, **chosen}))
    assert written(tmp_path / "one") == written(tmp_path / "other")


def test_a_box_is_cut_out_after_them(archive, tmp_path):
    manifest = archive(6)
    table = manifest.table.copy()
    table["box"] = [(10, 10, 60, 90)] * 6
    for name, each in (("whole", manifest), ("boxes", replace(manifest, table=table))):
        convert(each, tmp_path / name, ConvertOptions(size=32, workers=1))
    assert written(tmp_path / "whole") == written(tmp_path / "boxes")
    assert (tmp_path / "whole" / "all.beton").read_bytes() != (tmp_path / "boxes" / "all.beton").read_bytes()


def test_values_of_more_than_8_bits_are_told_apart_that_one_window_makes_alike(tmp_path):
    y, x = np.mgrid[0:90, 0:120]
    values = (np.sin(x / 9) * 9000 + np.cos(y / 7) * 9000 + 20000).astype(np.uint16)
    for number in range(2):
        Image.fromarray(values + number).save(tmp_path / f"{number}.png")
    manifest = Manifest.from_columns(tmp_path, "table", path=["0.png", "1.png"], label=["a", "b"])
    convert(manifest, tmp_path / "out", ConvertOptions(size=32, workers=1, window=(0, 65535)))
    dataset = open_dataset(tmp_path / "out" / "all.beton")
    assert np.abs(dataset.decode(0).astype(int) - dataset.decode(1)).max() <= 1
    assert len(set(read_own(dataset).digests.tolist())) == 2


@pytest.mark.parametrize("encode", ["png", "jpeg"])
def test_shards_hand_theirs_on(archive, tmp_path, small_chunks, encode):
    manifest = archive(50)
    convert(manifest, tmp_path / "shards", ConvertOptions(format="webdataset", encode=encode, size=64, workers=1))
    options = ConvertOptions(encode="jpeg" if encode == "jpeg" else "raw", workers=1)
    convert(read_shards(str(tmp_path / "shards")), tmp_path / "built", options)
    assert written(tmp_path / "built") == written(tmp_path / "shards")
    card = Card.read(tmp_path / "built" / "all.beton")
    assert card.fingerprints == Card.read(tmp_path / "shards" / "all.card.json").fingerprints
    (tmp_path / "shards" / "all.fingerprints").unlink()
    convert(read_shards(str(tmp_path / "shards")), tmp_path / "without", options)
    assert Card.read(tmp_path / "without" / "all.beton").fingerprints == {}
    assert b'"fingerprints"' not in (tmp_path / "without" / "all.card.json").read_bytes()


def test_one_that_is_missing_or_altered_is_not_taken_for_sound(archive, tmp_path):
    convert(archive(6), tmp_path / "out", ConvertOptions(size=32, workers=1))
    path = tmp_path / "out" / "all.fingerprints"
    dataset = BetonFile(tmp_path / "out" / "all.beton")
    assert own_file(dataset.path, dataset.card) == path
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(FormatError, match=r"all\.fingerprints: was cut or altered"):
        read_own(dataset)
    (problem,) = verify(tmp_path / "out" / "all.beton").problems
    assert problem.part == "fingerprints"
    path.unlink()
    assert read_own(dataset) is None
    assert not verify(tmp_path / "out" / "all.beton").problems
