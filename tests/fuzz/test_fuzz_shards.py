"""Damaged WebDataset shards: `verify` finds every change, and no sample comes out other than it was stored."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from isolated import Unforeseen, run_isolated
from mutations import damaged, speckle

from fastrad.archives.manifest import Manifest
from fastrad.convert.run import ConvertOptions, convert
from fastrad.errors import FastradError
from fastrad.verify import verify


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of 32 x 32 in one tar with its index and card."""
    folder = tmp_path_factory.mktemp("shards")
    names = [f"{k}.png" for k in range(8)]
    for name, image in zip(names, speckle(8, 32), strict=True):
        assert cv2.imwrite(str(folder / name), image)
    labels = ["benign", "malignant"] * 4
    manifest = Manifest.from_columns(folder, "folder", path=names, label=labels)
    options = ConvertOptions(size=32, format="webdataset", encode="png", workers=1)
    convert(manifest, folder / "out", options)
    return folder / "out"


def _read(folder: str) -> dict[int, bytes] | str:
    """Pixels of every sample by its row, or the first error."""
    from fastrad.dataset.tar.shards import ShardSet

    found = {}
    try:
        dataset = ShardSet(Path(folder) / "all.card.json")
        for index in range(len(dataset)):
            found[int(dataset.rows[index])] = dataset.decode(index).tobytes()
    except FastradError as error:
        return str(error)
    return found


def _verified(folder: str) -> bool | str:
    try:
        return not verify(Path(folder) / "all.card.json", workers=1).problems
    except FastradError as error:
        return str(error)


def _copies(whole: Path, folder: Path, seed: int, count: int) -> list[tuple[str, str]]:
    cases = []
    for path in sorted(whole.iterdir()):
        if path.name.startswith("."):
            continue
        for number, (name, bad) in enumerate(damaged(path.read_bytes(), seed, count)):
            copy = folder / f"{path.name}-{number}"
            shutil.copytree(whole, copy)
            (copy / path.name).write_bytes(bad)
            cases.append((f"{path.name}, {name}", str(copy)))
    return cases


def _check(whole: Path, folder: Path, seed: int, count: int) -> None:
    (stored,) = run_isolated(_read, [("whole", str(whole))])
    assert len(stored) == 8
    cases = _copies(whole, folder, seed, count)
    assert len(cases) == 4 * count  # tar, index, card, fingerprints
    for (name, _), sound in zip(cases, run_isolated(_verified, cases), strict=True):
        assert not isinstance(sound, Unforeseen), f"{name}: {sound}"
        assert sound is not True, f"{name}: verify found nothing"
    for (name, _), found in zip(cases, run_isolated(_read, cases), strict=True):
        assert not isinstance(found, Unforeseen), f"{name}: {found}"
        if isinstance(found, str):
            assert "\n" not in found, name
        else:
            assert found == stored, f"{name}: another sample"


def test_damaged_shards_are_found_and_never_read_wrong(shards, tmp_path, seed):
    _check(shards, tmp_path, seed, 40)


@pytest.mark.slow
def test_many_damaged_shards_are_found_and_never_read_wrong(shards, tmp_path, seed):
    for turn in range(1, 4):
        _check(shards, tmp_path / str(turn), seed + turn, 200)


def test_verify_finds_flipped_bytes_of_tar_and_index_everywhere(shards, tmp_path, seed):
    folder = tmp_path / "copy"
    shutil.copytree(shards, folder)
    for path in (*folder.glob("*.tar"), *folder.glob("*.idx")):
        content = bytearray(path.read_bytes())
        for position in np.random.default_rng(seed).integers(0, len(content), 100):
            content[position] ^= 1 << int(position % 8)
            path.write_bytes(content)
            assert verify(folder / "all.card.json", workers=1).problems, f"{path.name}, byte {position}"
            content[position] ^= 1 << int(position % 8)
        path.write_bytes(content)


def test_a_flipped_byte_of_a_label_does_not_go_into_a_beton(shards, tmp_path, capsys):
    """A sample's own checksum covers its image alone; conversion compares whole tars first."""
    from fastrad.cli import main
    from fastrad.dataset.tar.shards import ShardSet

    folder = tmp_path / "copy"
    shutil.copytree(shards, folder)
    dataset = ShardSet(folder / "all.card.json")
    (tar,) = folder.glob("*.tar")
    content = bytearray(tar.read_bytes())
    content[content.index(b"benign", int(dataset.samples.where["about"][0]))] ^= 1
    tar.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["convert", "shards", str(folder), str(tmp_path / "out")])
    assert ended.value.code == 1
    assert "was altered" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.beton"))
