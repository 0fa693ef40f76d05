"""`verify` finds every flipped byte of tars and indexes, and every cut; `inspect` shows what shards hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset import Card
from fastrad.dataset.inspect import contact_sheet, describe
from fastrad.dataset.opening import datasets_in, open_dataset
from fastrad.dataset.tar.shards import ShardSet
from fastrad.errors import FormatError, InputError
from fastrad.verify import verify


@pytest.fixture
def shards(archive, tmp_path) -> Path:
    """The card of ten images of 16 x 16 in two tars."""
    manifest = archive(10, height=16, width=16)
    options = ConvertOptions(size=16, format="webdataset", encode="png", shard_bytes=18_000, workers=1)
    convert(manifest, tmp_path / "out", options)
    assert len(list((tmp_path / "out").glob("*.tar"))) == 2
    return tmp_path / "out" / "all.card.json"


def missed(path: Path, positions, card: Path) -> list[int]:
    """The positions of a file at which a flipped bit is not found."""
    whole = path.read_bytes()
    found = []
    for position in positions:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :])
        if not verify(card, workers=1).problems:
            found.append(position)
    path.write_bytes(whole)
    return found


def test_sound_shards_have_no_findings(shards, archive):
    manifest = archive(10, height=16, width=16)
    result = verify(shards, manifest, workers=2)
    assert (result.problems, result.samples, result.tars, result.compared_with_source) == ((), 10, 2, 10)
    one = verify(shards.with_name("all-000001.tar"), manifest, workers=1)
    assert (one.problems, one.tars) == ((), 1)
    assert one.samples == one.compared_with_source < 10


@pytest.mark.parametrize("name", ["all-000000.tar", "all-000001.idx", "all.card.json"])
def test_flipped_bits_are_found(shards, name):
    file = shards.with_name(name)
    size = file.stat().st_size
    positions = {*range(0, 2600, 13), *range(0, size, 131), size - 1}
    assert missed(file, sorted(position for position in positions if position < size), shards) == []


@pytest.mark.slow
def test_a_flipped_bit_is_found_in_every_byte(shards):
    for name in ("all-000001.tar", "all-000001.idx"):
        file = shards.with_name(name)
        assert missed(file, range(file.stat().st_size), shards) == []


def test_damaged_members_name_their_row_and_padding_none(shards):
    tar = shards.with_name("all-000000.tar")
    whole = tar.read_bytes()
    words = shards.with_name("all-000000.idx").read_text().splitlines()[1 + 3].split()
    image, size, class_text, about, about_size = (int(words[k]) for k in (1, 2, 5, 9, 10))
    cases = [(image, [3]), (image + size - 1, [3]), (class_text, [3]), (about + 20, [3]), (about + about_size - 2, [3])]
    for position, rows in [*cases, (image - 1, []), (len(whole) - 1, [])]:
        tar.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        result = verify(shards)
        assert result.damaged_rows == rows, position
        assert [found.part for found in result.problems] == (["sample", "file"] if rows else ["padding"])


def test_a_cut_or_missing_tar_is_a_clear_error_and_names_what_is_lost(shards):
    tar = shards.with_name("all-000000.tar")
    whole = tar.read_bytes()
    image = int(shards.with_name("all-000000.idx").read_text().splitlines()[1 + 2].split()[1])
    for length in (0, 1, image + 5, len(whole) - 1):
        tar.write_bytes(whole[:length])
        result = verify(shards)
        assert f"all-000000.tar has {length} bytes where the card says {len(whole)}" in result.problems[-1].reason
        if length == image + 5:
            assert result.damaged_rows[0] == 2
        with pytest.raises(FormatError, match=f"has {length} bytes where its card says {len(whole)}"):
            ShardSet(shards)
    tar.unlink()
    assert "all-000000.tar is missing" in verify(shards).problems[0].reason
    with pytest.raises(InputError, match="no such file"):
        verify(shards.with_name("none.card.json"))


def test_pixels_labels_and_patients_are_compared_with_the_source(shards, archive):
    manifest = archive(10, height=16, width=16)
    Image.fromarray(np.zeros((16, 16), np.uint8)).save(manifest.root / manifest.table["path"][8])
    assert verify(shards, manifest, workers=1).damaged_rows == [8]
    manifest.table.loc[0, "label"] = "class1"
    (found,) = verify(shards, manifest, workers=1).not_compared
    assert "is not the one that was converted" in found.reason


def test_a_patient_without_a_stored_image_does_not_confuse_the_comparison(archive, tmp_path):
    manifest = archive(8)
    for number in (2, 3):  # both images of the second patient
        (manifest.root / manifest.table["path"][number]).unlink()
    for options in (ConvertOptions(workers=1), ConvertOptions(format="webdataset", encode="png", workers=1)):
        out = tmp_path / options.format
        (file,) = convert(manifest, out, options).files
        assert verify(file.path, manifest, workers=1).problems == ()
        assert convert(manifest, out, options).converted == 0


def test_inspect_describes_shards_as_it_does_betons(shards, tmp_path):
    opened = open_dataset(shards.with_name("all-000001.tar"))
    content = describe(opened)
    assert (content["samples"], content["shards"], content["image"]["encoding"]) == (10, 2, "png")
    card = Card.read(shards)
    for sample in content["sample_rows"]:
        row = sample["row"]
        assert (sample["label"], sample["patient"]) == (f"class{row % 3}", card.patients[row // 2])
    assert contact_sheet(opened, tmp_path / "sheet.png", count=9) == 9
    assert Image.open(tmp_path / "sheet.png").size == (8 * 134 + 6, 34 + 2 * 164)
    assert datasets_in(str(shards.parent)) == [str(shards)]
