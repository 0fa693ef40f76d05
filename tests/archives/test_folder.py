"""Class folders, with and without splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastrad.archives import read_source
from fastrad.errors import InputError


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def test_one_folder_a_class_in_sorted_path_order(tmp_path: Path) -> None:
    touch(tmp_path, "malignant/2.png", "benign/deep/er/1.JPG", "benign/0.png", "stray.png")
    table = read_source("folder", tmp_path).table
    assert table["path"].tolist() == ["benign/0.png", "benign/deep/er/1.JPG", "malignant/2.png", "stray.png"]
    assert table["label"].tolist() == ["benign", "benign", "malignant", ""]
    assert table["reason"].tolist() == ["", "", "", "lies in no class folder"]


def test_one_class_alone_is_allowed(tmp_path: Path) -> None:
    touch(tmp_path, "nodule/1.png")
    assert read_source("folder", tmp_path).classes == ("nodule",)


def test_split_folders(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/2.png", "valid/a/3.png", "Test/b/4.png", "notes/x/5.png", "Test/6.png")
    table = read_source("folder", tmp_path).table.set_index("path")
    assert table["split"].to_dict() == {
        "train/a/1.png": "train",
        "train/b/2.png": "train",
        "valid/a/3.png": "val",
        "Test/b/4.png": "test",
        "notes/x/5.png": "train",
        "Test/6.png": "test",
    }
    assert "no train, val or test" in table.loc["notes/x/5.png", "reason"]
    assert "no class folder" in table.loc["Test/6.png", "reason"]
    assert (table["reason"] != "").sum() == 2


def test_class_that_train_lacks_is_a_reason(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "test/b/2.png")
    assert "'b' does not occur in the train split" in " ".join(read_source("folder", tmp_path).table["reason"])


def test_hidden_files_linked_folders_and_other_files_are_left_out_and_counted(tmp_path: Path) -> None:
    root, outside = tmp_path / "archive", tmp_path / "outside"
    touch(root, "a/1.png", "a/.hidden.png", ".git/a/2.png", "__MACOSX/a/1.png", "a/Thumbs.db", "a/readme.txt")
    touch(outside, "3.png")
    (root / "linked").symlink_to(outside)
    (root / "a" / "4.png").symlink_to(outside / "3.png")
    manifest = read_source("folder", root)
    assert manifest.table["path"].tolist() == ["a/1.png", "a/4.png"]
    assert manifest.table["reason"].tolist() == ["", "a link that leads outside ROOT"]
    assert any("1 files are no images" in note for note in manifest.notes)
    assert "readme" not in " ".join(manifest.notes), "notes go into the card; a name may be a person's"
    assert any("1 linked folders" in note for note in manifest.notes)


def test_output_folder_inside_the_source_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "out/sheet.png")
    assert read_source("folder", tmp_path, exclude=[tmp_path / "out"]).table["path"].tolist() == ["a/1.png"]


def test_name_that_is_not_utf8_carries_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with open(bytes(tmp_path / "a") + b"/caf\xe9.png", "wb"):
        pass
    manifest = read_source("folder", tmp_path)
    assert "UTF-8" in manifest.table["reason"][0]
    manifest.sha256()


def test_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images"):
        read_source("folder", tmp_path)


def test_dicom_files_are_found_whatever_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png")
    for name in ("1.2.840.113619.2.55", "scan.ima", "IM0001"):
        (tmp_path / "a" / name).write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    found = read_source("folder", tmp_path).table["path"].tolist()
    assert found == ["a/1.2.840.113619.2.55", "a/1.png", "a/IM0001", "a/scan.ima"]


def test_source_images_in_the_output_folder_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png", "b/3.bmp")
    manifest = read_source("folder", tmp_path, exclude=[tmp_path / "b"])
    assert "2 images in the folder where the output goes were left out" in manifest.notes
