"""`verify` finds every flipped byte and every cut, and names the rows that are damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastrad.cli import main
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset import BetonFile, Card, write_beton
from fastrad.dataset.beton import layout
from fastrad.verify import read_source_again, verify

PAGE = 4096


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """17 images of 30 x 40 on six pages, with padding after every third."""
    images = np.random.default_rng(2).integers(0, 256, (17, 30, 40), dtype=np.uint8)
    path = tmp_path / "small.beton"
    write_beton(path, images, np.arange(17) % 3, np.arange(17) // 3, np.arange(17) * 3, page_size=PAGE)
    return path


def test_a_sound_file_has_no_findings(small):
    result = verify(small)
    assert (result.problems, result.samples, result.pages) == ((), 17, 6)


def flipped(path: Path, positions) -> list[int]:
    """The positions at which a flipped bit is not found."""
    whole = path.read_bytes()
    missed = []
    for position in positions:
        with open(path, "r+b") as file:
            file.seek(position)
            file.write(bytes([whole[position] ^ 1 << position % 8]))
        if not verify(path, workers=1).problems:
            missed.append(position)
        with open(path, "r+b") as file:
            file.seek(position)
            file.write(whole[position : position + 1])
    return missed


def test_flipped_bits_are_found_in_every_part(small):
    """Every byte of header, one descriptor, one record; each structure's first and last; every 97th of the rest."""
    file = BetonFile(small)
    end = file.card.bytes
    edges = {layout.METADATA_START, file.data_start, file.table_start, end}
    edges |= {file.data_start + k * PAGE for k in range(6)}
    near = {edge + step for edge in edges for step in (-2, -1, 0, 1)}
    ranges = {*range(30), *range(layout.METADATA_START, layout.METADATA_START + 56), *range(0, end, 97)}
    assert flipped(small, sorted(position for position in near | ranges if position < end)) == []


@pytest.mark.slow
def test_a_flipped_bit_is_found_in_every_byte(small):
    assert flipped(small, range(small.stat().st_size)) == []


def test_a_damaged_image_names_its_row_and_no_other(small):
    file = BetonFile(small)
    begin = int(file.offsets[7])
    for position in (begin, begin + 600, begin + 1199):
        content = bytearray(small.read_bytes())
        content[position] ^= 8
        small.write_bytes(content)
        assert verify(small).damaged_rows == [21]
        content[position] ^= 8
        small.write_bytes(content)


def test_damaged_padding_damages_no_row(small):
    content = bytearray(small.read_bytes())
    content[BetonFile(small).data_start + 3 * 1200 + 5] ^= 8
    small.write_bytes(content)
    (found,) = verify(small).problems
    assert (found.part, found.row) == ("padding", None)
    assert "its samples, which are sound" in found.reason


def test_a_swapped_label_is_found(small):
    content = bytearray(small.read_bytes())
    label = layout.METADATA_START + 56 * 4 + 24
    content[label] = 2
    small.write_bytes(content)
    reasons = [found.reason for found in verify(small).problems]
    assert any("metadata was altered" in reason for reason in reasons)
    assert any("class 2 has 6 samples where the card says 5" in reason for reason in reasons)


def test_a_cut_anywhere_is_found(small):
    whole = small.read_bytes()
    for length in (0, 1, 24, 5229, 8192, 10_000, len(whole) - 24, len(whole) - 1):
        small.write_bytes(whole[:length])
        (found,) = verify(small).problems
        assert found.part == "file"
        assert f"has {length} bytes where the card says {len(whole)}" in found.reason


def test_an_altered_card_is_a_finding(small):
    card = Card.path_for(small)
    card.write_bytes(card.read_bytes().replace(b'"synthetic": false', b'"synthetic": true'))
    (found,) = verify(small).problems
    assert found.part == "card"


def test_pixels_are_compared_with_the_source(archive, tmp_path):
    manifest = archive(12)
    lines = [
        f"{path},{label},{path[:5]}"
        for path, label in zip(manifest.table["path"], manifest.table["label"], strict=True)
    ]
    (manifest.root / "labels.csv").write_text("\n".join(["path,label,patient", *lines]) + "\n")
    from fastrad.archives import read_source

    for encode in ("raw", "jpeg"):
        out = tmp_path / encode
        convert(read_source("table", manifest.root), out, ConvertOptions(encode=encode, workers=1))
        again = read_source_again(out / "all.beton", manifest.root)
        result = verify(out / "all.beton", again, workers=1)
        assert (result.problems, result.compared_with_source) == ((), 12)
    Image.fromarray(np.zeros((224, 224), np.uint8)).save(manifest.root / manifest.table["path"][5])
    (manifest.root / manifest.table["path"][9]).unlink()
    for encode in ("raw", "jpeg"):
        path = tmp_path / encode / "all.beton"
        result = verify(path, read_source_again(path, manifest.root), workers=1)
        assert result.damaged_rows == [5]
        assert result.is_as_written
        ((row, reason),) = [(found.row, found.reason) for found in result.not_compared]
        assert (row, reason) == (9, "its source cannot be read any more (no such file)")
        assert result.compared_with_source == 11
    (manifest.root / "labels.csv").write_text("\n".join(["path,label,patient", *lines[1:]]) + "\n")
    result = verify(path, read_source_again(path, manifest.root), workers=1)
    assert (result.problems, result.compared_with_source) == ((), 0)
    assert "is not the one that was converted" in result.not_compared[0].reason


def test_the_command_tells_what_is_damaged_from_what_differs_and_what_could_not_be_compared(archive, tmp_path, capsys):
    manifest = archive(6)
    lines = [
        f"{path},{label},{path[:5]}"
        for path, label in zip(manifest.table["path"], manifest.table["label"], strict=True)
    ]
    (manifest.root / "labels.csv").write_text("\n".join(["path,label,patient", *lines]) + "\n")
    dataset = str(tmp_path / "out" / "all.beton")
    main_ends(["convert", "table", str(manifest.root), str(tmp_path / "out"), "--workers", "1"], 0)
    main_ends(["verify", dataset, "--source", str(manifest.root)], 0)
    capsys.readouterr()

    def said(*words: str) -> tuple[str, str]:
        main_ends(["verify", dataset, *words], 1)
        out, error = capsys.readouterr()
        assert "delete" not in out + error
        return out, error.splitlines()[-1]

    out, error = said("--source", str(tmp_path / "nowhere"))
    assert f"could not compare: {tmp_path}/nowhere: no such folder (the dataset was made from layout table)" in out
    assert "sound: 6 samples" in out
    assert "as it was written, as far as that can be told without its archive" in error
    Image.fromarray(np.zeros((224, 224), np.uint8)).save(manifest.root / manifest.table["path"][3])
    out, error = said("--source", str(manifest.root))
    assert "source: row 3: its pixels differ from the source's" in out
    assert "as it was written, but 1 finding where" in error
    with open(dataset, "r+b") as file:
        file.seek(Path(dataset).stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    assert "1 damaged row; copy the file again from where it is sound, or convert again into another" in said()[1]


def main_ends(words: list[str], status: int) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert (stop.value.code or 0) == status
