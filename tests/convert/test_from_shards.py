"""A beton built from shards holds what a direct conversion of the archive holds, without the archive."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastrad.convert.run import ConvertOptions, convert, preview, read_shards
from fastrad.dataset import BetonFile
from fastrad.errors import FormatError, InputError
from fastrad.verify import verify

SHARDS = {"format": "webdataset", "shard_bytes": 90_000, "workers": 1}


def in_splits(manifest):
    """70 images of which 8 are val, 7 test; row 5 is damaged, rows 3 and 4 are unlabelled; half are not square."""
    table = manifest.table.copy()
    table["split"] = ["train"] * 55 + ["val"] * 8 + ["test"] * 7
    table.loc[[3, 4], "label"] = ""
    (manifest.root / table["path"][5]).write_bytes(b"damaged")
    return replace(manifest, table=table)


@pytest.mark.parametrize(
    ("kept", "wanted"),
    [
        ({"encode": "png"}, {"encode": "raw"}),
        ({"encode": "png"}, {"encode": "jpeg", "quality": 80}),
        ({"encode": "jpeg", "quality": 80}, {"encode": "jpeg"}),
        ({"encode": "png", "pass_png": True}, {"encode": "raw"}),
    ],
)
def test_samples_and_card_are_those_of_a_direct_conversion(archive, tmp_path, small_chunks, kept, wanted):
    manifest = in_splits(archive(70, height=200))
    convert(manifest, tmp_path / "shards", ConvertOptions(**SHARDS, **kept))
    shards = read_shards(str(tmp_path / "shards"))
    shutil.move(manifest.root, tmp_path / "away")
    built = convert(shards, tmp_path / "built", ConvertOptions(workers=2, **wanted))
    shutil.move(tmp_path / "away", manifest.root)
    direct = convert(manifest, tmp_path / "direct", ConvertOptions(workers=1, **{**kept, **wanted, "pass_png": False}))
    assert [Path(file.path).name for file in built.files] == ["train.beton", "val.beton", "test.beton"]
    for one, other in zip(built.files, direct.files, strict=True):
        ours, theirs = BetonFile(one.path), BetonFile(other.path)
        for column in ("labels", "patients", "rows", "crc32", "sizes"):
            assert np.array_equal(getattr(ours, column), getattr(theirs, column)), column
        for index in range(len(theirs)):
            assert np.array_equal(ours.image_bytes(index), theirs.image_bytes(index))
        assert (ours.card.mean, ours.card.std) == (theirs.card.mean, theirs.card.std)
        about = ours.card.parameters["from_shards"]
        assert (about["encode"], about["quality"]) == (kept["encode"], kept.get("quality"))
        same = {"parameters": {}, "hashes": {}, "bytes": 0}
        assert replace(ours.card, **same) == replace(theirs.card, **same)
        assert verify(one.path, manifest, workers=1).problems == ()
        if not theirs.card.quarantined:
            assert Path(one.path).read_bytes() == Path(other.path).read_bytes()


def test_pixels_of_jpeg_shards_become_raw_as_they_are_decoded(archive, tmp_path):
    manifest = archive(12, height=150)
    convert(manifest, tmp_path / "shards", ConvertOptions(encode="jpeg", quality=70, **SHARDS))
    (file,) = convert(read_shards(str(tmp_path / "shards")), tmp_path / "out", ConvertOptions(workers=1)).files
    convert(manifest, tmp_path / "jpeg", ConvertOptions(encode="jpeg", quality=70, workers=1))
    beton, jpeg = BetonFile(file.path), BetonFile(tmp_path / "jpeg" / "all.beton")
    pictures = np.stack([cv2.imdecode(jpeg.image_bytes(index).copy(), cv2.IMREAD_GRAYSCALE) for index in range(12)])
    assert np.array_equal(np.stack([beton.decode(index) for index in range(12)]), pictures)
    content = pictures[:, 37:187] / 255
    assert beton.card.mean == pytest.approx(content.mean(), abs=1e-12)
    assert beton.card.std == pytest.approx(content.std(), abs=1e-12)
    result = verify(file.path, manifest, workers=1)
    assert (result.problems, result.compared_with_source) == ((), 12)
    (manifest.root / manifest.table["path"][4]).write_bytes((manifest.root / manifest.table["path"][3]).read_bytes())
    assert verify(file.path, manifest, workers=1).damaged_rows == [4]


def test_given_again_it_is_finished_and_a_direct_conversion_does_not_mix_in(archive, tmp_path):
    manifest = archive(9)
    convert(manifest, tmp_path / "shards", ConvertOptions(encode="png", **SHARDS))
    shards = read_shards(str(tmp_path / "shards"))
    needed = preview(shards, tmp_path / "out", ConvertOptions()).bytes_needed
    convert(shards, tmp_path / "out", ConvertOptions(workers=1))
    assert (tmp_path / "out" / "all.beton").stat().st_size == needed
    assert convert(shards, tmp_path / "out", ConvertOptions(workers=1)).converted == 0
    with pytest.raises(InputError, match="from_shards changed"):
        convert(manifest, tmp_path / "out", ConvertOptions(workers=1))


@pytest.mark.parametrize("name", ["all-000001.tar", "all-000001.idx"])
def test_altered_cut_and_missing_shards_are_one_clear_line(archive, tmp_path, name):
    manifest = archive(12)
    convert(manifest, tmp_path / "shards", ConvertOptions(encode="png", **SHARDS))
    file = tmp_path / "shards" / name
    whole = file.read_bytes()
    for content in (whole[:-1], b"", whole[:50] + bytes([whole[50] ^ 1]) + whole[51:]):
        file.write_bytes(content)
        with pytest.raises(FormatError, match=f"{name}: (was altered|has)"):
            convert(read_shards(str(tmp_path / "shards")), tmp_path / "out", ConvertOptions(workers=1))
        assert not (tmp_path / "out").exists()
    file.unlink()
    with pytest.raises(FormatError, match=f"{name}: is missing"):
        read_shards(str(tmp_path / "shards"))
    with pytest.raises(InputError, match="holds no dataset"):
        read_shards(str(manifest.root))


def test_shards_are_read_and_verified_at_a_url(archive, tmp_path):
    manifest = archive(10)
    convert(manifest, tmp_path / "shards", ConvertOptions(encode="png", **SHARDS))
    url = f"file://{tmp_path}/shards"
    (file,) = convert(read_shards(url), tmp_path / "out", ConvertOptions(workers=1)).files
    convert(manifest, tmp_path / "direct", ConvertOptions(workers=1))
    assert Path(file.path).read_bytes() == (tmp_path / "direct" / "all.beton").read_bytes()
    result = verify(f"{url}/all.card.json", manifest, workers=1)
    assert (result.problems, result.samples, result.compared_with_source) == ((), 10, 10)
