"""The RadImageNet layout, on the real mini archive and on small trees made here."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from fastrad.archives import read_source
from fastrad.errors import InputError

PATHS = ("CT/abd/normal/a.png", "MR/af/Plantar_plate_tear/b.png", "US/thyroid/usn1.png")


def make_tree(root: Path, paths: tuple[str, ...] = PATHS) -> Path:
    for path in paths:
        (root / "radiology_ai" / path).parent.mkdir(parents=True, exist_ok=True)
        (root / "radiology_ai" / path).write_bytes(b"an image")
    return root


def write_table(path: Path, rows: list[tuple[str, str]]) -> None:
    path.write_text("filename,label\n" + "".join(f"radiology_ai/{name},{label}\n" for name, label in rows))


def test_real_tables_come_one_after_another_and_unsorted(mini_root: Path) -> None:
    expected = []
    for split in ("train", "val", "test"):
        with open(mini_root / f"RadiologyAI_{split}.csv", newline="") as file:
            expected += [(row["filename"], row["label"], split) for row in csv.DictReader(file)]
    manifest = read_source("radimagenet", mini_root)
    assert list(manifest.table[["path", "label", "split"]].itertuples(index=False, name=None)) == expected
    assert manifest.table["split"].value_counts().to_dict() == {"train": 10796, "val": 485, "test": 850}
    assert manifest.classes == ("abd_normal", "breast_normal", "head_normal", "lung_normal", "thyroid")
    assert manifest.usable.all()
    assert not manifest.synthetic


def test_root_may_be_the_image_folder_itself(mini_root: Path) -> None:
    outer, inner = read_source("radimagenet", mini_root), read_source("radimagenet", mini_root / "radiology_ai")
    assert inner.sha256() == outer.sha256()
    assert inner.root == outer.root == mini_root
    assert (inner.root / inner.table["path"].iloc[0]).is_file()


def test_without_tables_labels_are_folders_and_no_ultrasound_is_lost(mini_root: Path) -> None:
    # A tree of links to the real image folder's files would be refused; the walk is what is tested, so names suffice.
    manifest = read_source("radimagenet", mini_root)
    listed = manifest.table["path"].tolist()
    copy = mini_root.parent / "mini-names"
    for path in listed:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).touch()
    walked = read_source("radimagenet", copy)
    assert walked.table["path"].tolist() == sorted(listed)
    assert walked.table["label"].value_counts().to_dict() == {
        "CT__abd__normal": 3000,
        "CT__head__normal": 3000,
        "CT__lung__normal": 3000,
        "MR__breast__normal": 3000,
        "US__thyroid": 131,
    }
    assert walked.split_names == ("",)
    shutil.rmtree(copy)


def test_tables_may_lie_inside_the_image_folder_and_be_incomplete(tmp_path: Path) -> None:
    make_tree(tmp_path)
    write_table(tmp_path / "radiology_ai" / "RadiologyAI_train.csv", [(path, "x") for path in PATHS])
    manifest = read_source("radimagenet", tmp_path)
    assert len(manifest) == 3
    assert manifest.split_names == ("train",)
    assert any("RadiologyAI_val.csv" in note for note in manifest.notes)


def test_table_written_on_windows_is_read(tmp_path: Path) -> None:
    make_tree(tmp_path)
    rows = "".join("radiology_ai\\" + path.replace("/", "\\") + ",x\r\n" for path in PATHS)
    (tmp_path / "RadiologyAI_train.csv").write_bytes(("\ufefffilename,label\r\n" + rows).encode())
    manifest = read_source("radimagenet", tmp_path)
    assert manifest.table["path"].tolist() == [f"radiology_ai/{path}" for path in PATHS]


def test_image_folder_of_another_name_is_read(tmp_path: Path) -> None:
    make_tree(tmp_path)
    (tmp_path / "radiology_ai").rename(tmp_path / "images")
    write_table(tmp_path / "images" / "RadiologyAI_train.csv", [(path, "x") for path in PATHS])
    manifest = read_source("radimagenet", tmp_path / "images")
    assert manifest.table["path"].tolist() == list(PATHS)
    assert all((manifest.root / path).is_file() for path in manifest.table["path"])


def test_images_in_no_pathology_folder_carry_a_reason(tmp_path: Path) -> None:
    make_tree(tmp_path, (*PATHS, "CT/abd/stray.png", "US/stray.png", "XR/chest/normal/x.png"))
    table = read_source("radimagenet", tmp_path).table.set_index("path")
    assert (table.loc[[f"radiology_ai/{path}" for path in PATHS], "reason"] == "").all()
    assert "no pathology folder" in table.loc["radiology_ai/CT/abd/stray.png", "reason"]
    assert "no organ folder" in table.loc["radiology_ai/US/stray.png", "reason"]
    assert "outside CT/" in table.loc["radiology_ai/XR/chest/normal/x.png", "reason"]


def test_label_that_train_lacks_is_a_reason_on_its_row(tmp_path: Path) -> None:
    make_tree(tmp_path)
    write_table(tmp_path / "RadiologyAI_train.csv", [(PATHS[0], "abd"), (PATHS[1], "foot")])
    write_table(tmp_path / "RadiologyAI_val.csv", [(PATHS[2], "thyroid")])
    manifest = read_source("radimagenet", tmp_path)
    assert manifest.table["reason"].tolist() == ["", "", "label 'thyroid' does not occur in the train split"]
    assert manifest.classes == ("abd", "foot")


def test_repeated_rows_and_images_under_several_labels(tmp_path: Path) -> None:
    make_tree(tmp_path)
    write_table(
        tmp_path / "RadiologyAI_train.csv",
        [(PATHS[0], "abd"), (PATHS[1], "foot"), (PATHS[0], "abd"), (PATHS[0], "foot")],
    )
    write_table(tmp_path / "RadiologyAI_test.csv", [(PATHS[1], "foot")])
    manifest = read_source("radimagenet", tmp_path)
    assert manifest.table["reason"].tolist() == ["", "", "repeats row 0", "", "repeats row 1 of split train"]
    assert any("1 images are listed under several labels" in note and "rows 0 and 3" in note for note in manifest.notes)


def test_paths_that_leave_the_archive_are_refused(tmp_path: Path) -> None:
    make_tree(tmp_path / "archive")
    outside = make_tree(tmp_path / "elsewhere") / "radiology_ai"
    (tmp_path / "archive/radiology_ai/CT/link").symlink_to(outside / "CT" / "abd")
    rows = ["../../elsewhere/x.png", "CT/../../../etc/passwd", "CT/link/normal/a.png", "CT/abd/../abd/normal/a.png"]
    write_table(tmp_path / "archive/RadiologyAI_train.csv", [(row, "x") for row in rows])
    with open(tmp_path / "archive/RadiologyAI_train.csv", "a") as file:
        file.write("/etc/passwd,x\n,x\n")
    table = read_source("radimagenet", tmp_path / "archive").table
    for row, part in enumerate(
        ["outside ROOT", "outside ROOT", "linked folder outside ROOT", "", "absolute", "no path"]
    ):
        assert part in table["reason"][row]
    assert table["reason"][3] == ""
    assert table["path"][3] == "radiology_ai/CT/abd/normal/a.png"


def test_folder_that_is_no_such_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="radiology_ai"):
        read_source("radimagenet", tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_source("radimagenet", tmp_path / "gone")


def test_rubbish_of_operating_systems_and_excluded_folders_are_left_out(tmp_path: Path) -> None:
    rubbish = ("CT/abd/normal/._a.png", "__MACOSX/CT/abd/a.png", "CT/abd/normal/Thumbs.db", "out/shards/s.png")
    make_tree(tmp_path, (*PATHS, *rubbish))
    manifest = read_source("radimagenet", tmp_path, exclude=[tmp_path / "radiology_ai" / "out"])
    assert manifest.table["path"].tolist() == [f"radiology_ai/{path}" for path in PATHS]


def test_a_file_of_another_spelling_is_named(tmp_path: Path) -> None:
    root = make_tree(tmp_path, ("CT/abd/normal/a.PNG", "US/thyroid/usn1.png", "MR/af/pes/cafe\u0301.png"))
    rows = [("CT/abd/normal/a.png", "x"), ("US/thyroid/usn1.png", "y"), ("MR/af/pes/caf\u00e9.png", "x")]
    write_table(root / "RadiologyAI_train.csv", [*rows, ("US/thyroid/usn2.png", "y")])
    table = read_source("radimagenet", root).table
    there = "no such file; with the suffix .PNG it is there"
    assert table["reason"].tolist() == [there, "", "", ""], "what is not there at all is found when it is read"
    assert table["path"][2] == "radiology_ai/MR/af/pes/cafe\u0301.png"


def test_classes_by_folder_that_are_alike_are_said(tmp_path: Path) -> None:
    root = make_tree(tmp_path, ("US/Thyroid/1.png", "US/thyroid/2.png", "US/cafe\u0301/3.png", "US/caf\u00e9/4.png"))
    manifest = read_source("radimagenet", root)
    assert manifest.classes == ("US__Thyroid", "US__caf\u00e9", "US__thyroid")
    assert "labels that may mean the same are kept apart: 'US__Thyroid', 'US__thyroid'" in manifest.notes


def test_tables_may_lie_in_another_folder(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "images")
    (tmp_path / "lists").mkdir()
    with pytest.raises(InputError, match=r"lists: holds none of RadiologyAI_train\.csv, RadiologyAI_val\.csv"):
        read_source("radimagenet", root, tables=tmp_path / "lists")
    write_table(tmp_path / "lists" / "RadiologyAI_train.csv", [(PATHS[0], "x"), (PATHS[2], "y")])
    table = read_source("radimagenet", root, tables=tmp_path / "lists").table
    assert table["path"].tolist() == [f"radiology_ai/{PATHS[0]}", f"radiology_ai/{PATHS[2]}"]
