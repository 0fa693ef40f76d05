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


def test_one_class_alone_is_asked_about(tmp_path: Path) -> None:
    touch(tmp_path, "nodule/1.png")
    with pytest.raises(InputError, match="one class; give the folder that holds all the class folders, or --one-class"):
        read_source("folder", tmp_path)
    assert read_source("folder", tmp_path, one_class=True).classes == ("nodule",)


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
    touch(root, "a/._1.png", "a/desktop.ini", "b/.DS_Store", "b/1.png", "b/DICOMDIR")
    touch(outside, "3.png")
    (root / "linked").symlink_to(outside)
    (root / "a" / "4.png").symlink_to(outside / "3.png")
    manifest = read_source("folder", root)
    assert manifest.table["path"].tolist() == ["a/1.png", "a/4.png", "b/1.png"]
    assert manifest.table["reason"].tolist() == ["", "a link that leads outside ROOT", ""]
    assert "1 files are no images by their names and were left out" in manifest.notes
    assert "5 files that are hidden or the operating system's were left out" in manifest.notes
    assert "2 folders that are hidden or the operating system's were left out" in manifest.notes
    assert "1 DICOMDIR, indices without an image, were left out" in manifest.notes
    assert "readme" not in " ".join(manifest.notes), "notes go into the card; a name may be a person's"
    assert any("1 linked folders" in note for note in manifest.notes)


def test_output_folder_inside_the_source_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png", "out/sheet.png")
    assert read_source("folder", tmp_path, exclude=[tmp_path / "out"]).table["path"].tolist() == ["a/1.png", "b/1.png"]


def test_name_that_is_not_utf8_carries_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with open(bytes(tmp_path / "a") + b"/caf\xe9.png", "wb"):
        pass
    manifest = read_source("folder", tmp_path, one_class=True)
    assert "UTF-8" in manifest.table["reason"][0]
    manifest.sha256()


def test_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images"):
        read_source("folder", tmp_path)


def test_dicom_files_are_found_whatever_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png")
    for name in ("1.2.840.113619.2.55", "scan.ima", "IM0001"):
        (tmp_path / "a" / name).write_bytes(b"\0" * 128 + b"DICM")
    (tmp_path / "a" / "no-preamble").write_bytes(b"\x08\0\x05\0CS\x0a\0ISO_IR 100")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    found = read_source("folder", tmp_path, one_class=True).table["path"].tolist()
    assert found == ["a/1.2.840.113619.2.55", "a/1.png", "a/IM0001", "a/no-preamble", "a/scan.ima"]


def test_source_images_in_the_output_folder_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png", "b/3.bmp")
    manifest = read_source("folder", tmp_path, exclude=[tmp_path / "b"], one_class=True)
    assert "2 images in the folder where the output goes were left out" in manifest.notes


def test_masks_beside_their_images_are_left_out_and_counted(tmp_path: Path) -> None:
    for label in ("benign", "malignant"):
        touch(tmp_path, f"{label}/{label} (1).png", f"{label}/{label} (1)_mask.png", f"{label}/{label} (1)_mask_1.png")
    touch(
        tmp_path, "benign/x.jpg", "benign/x-mask.png", "benign/x_seg.tif", "benign/mask_x.png", "benign/x_lesion_GT.bmp"
    )
    touch(tmp_path, "benign/x_Annotation.png", "benign/lone_mask.png")
    manifest = read_source("folder", tmp_path)
    assert manifest.table["path"].tolist() == [
        "benign/benign (1).png",
        "benign/lone_mask.png",
        "benign/x.jpg",
        "malignant/malignant (1).png",
    ]
    assert "9 masks beside the images of their names were left out" in manifest.notes
    assert "1 images are called like masks, lie beside no image of that name and are taken" in manifest.notes


@pytest.mark.parametrize("name", ["mask", "Masks", "labels", "annotations", "ground_truth", "GroundTruth", "seg", "gt"])
@pytest.mark.parametrize("images", ["{label}/{number}.png", "{label}/images/{number}.png", "{label}/us/{number}.png"])
def test_folders_of_masks_beside_images_are_left_out_and_counted(tmp_path: Path, name: str, images: str) -> None:
    for label in ("a", "b"):
        for number in (1, 2):
            touch(tmp_path, images.format(label=label, number=number), f"{label}/{name}/{number}_{name}.png")
    manifest = read_source("folder", tmp_path)
    assert [path.startswith(images[:7]) or name not in path for path in manifest.table["path"]] == [True] * 4
    assert manifest.classes == ("a", "b")
    assert "4 images in folders of masks beside those of images were left out" in manifest.notes


def test_a_class_may_be_called_like_masks(tmp_path: Path) -> None:
    touch(tmp_path, "label/p1.png", "label/p2.png", "other/q1.png", "other/q2_label.png")
    manifest = read_source("folder", tmp_path)
    assert manifest.table["label"].tolist() == ["label", "label", "other", "other"]


def test_copies_beside_their_originals_are_listed(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "a/1 (copy).png", "a/1 - Copy.png", "a/1 - Copy (2).png", "a/1 copy.png", "a/1 (1).png")
    touch(tmp_path, "a/Copy of 1.png", "a/lone (copy).png", "b/benign (1).png", "b/benign.png")
    (tmp_path / "b" / "benign.png").write_bytes(b"another image than benign (1)")
    table = read_source("folder", tmp_path).table.set_index("path")["reason"]
    assert table[table == ""].index.tolist() == ["a/1.png", "a/lone (copy).png", "b/benign (1).png", "b/benign.png"]
    assert set(table[table != ""]) == {"a copy, by its name, of the file beside it"}


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["set/a/1.png", "set/b/1.png"], "whose 2 folders may be the classes: give {root}/set as ROOT"),
        (["x/y/a/1.png", "x/y/b/1.png", "readme.png"], "give {root}/x/y as ROOT"),
        (["set/train/a/1.png", "set/test/a/1.png"], "give {root}/set as ROOT"),
        (["train/set/a/1.png", "train/set/b/1.png"], "whose 2 folders may be the classes: move them up"),
        (["images/1.png", "masks/1.png"], "no class by its name"),
        (["images/a/1.png", "images/b/2.png", "masks/a/1.png", "masks/b/2.png"], "give {root}/images as ROOT"),
        (["1.png", "2.png"], "lie in no class folder; ROOT is the folder that holds the class folders, perhaps"),
        (["a/train/1.png", "a/test/2.png", "b/train/1.png", "b/test/2.png"], "test, train lie within classes"),
        (["a/1.png", "a/Testing/2.png", "b/1.png"], "Testing lie within classes"),
        (["fold_1/a/1.png", "fold_2/a/1.png"], "fold_1, fold_2 are folds by their names"),
        (["a/1.png", "a - Copy/1.png"], "a - Copy is a copy of a by its name; leave it out with --exclude"),
        (["train/Benign/1.png", "test/benign/1.png"], "Benign and benign differ in case only"),
        (["test/a/1.png", "others/b/1.png"], "test may be a split or a class, beside others"),
    ],
)
def test_other_arrangements_are_one_line_that_says_what_to_do(tmp_path: Path, paths: list[str], message: str) -> None:
    touch(tmp_path, *paths)
    with pytest.raises(InputError) as caught:
        read_source("folder", tmp_path)
    assert message.format(root=tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "names", [("Training", "Validation", "Testing"), ("TRAIN", "VAL", "TEST"), ("train_set", "val-data", "testset")]
)
def test_splits_are_known_by_their_usual_names(tmp_path: Path, names: tuple[str, str, str]) -> None:
    touch(tmp_path, *(f"{name}/{label}/1.png" for name in names for label in ("a", "b")))
    manifest = read_source("folder", tmp_path)
    assert manifest.split_names == ("train", "val", "test")
    assert manifest.classes == ("a", "b")


def test_patterns_choose_files_by_their_paths(tmp_path: Path) -> None:
    touch(tmp_path, "a/train/1.png", "a/test/1.png", "b/train/2.png", "b/test/2.png", "b/train/x_overlay.png")
    options = {"include_patterns": ("*/train/*",), "exclude_patterns": ("*_overlay.*",)}
    manifest = read_source("folder", tmp_path, **options)
    assert manifest.table["path"].tolist() == ["a/train/1.png", "b/train/2.png"]
    assert {"2 images were left out by --include", "1 images were left out by --exclude"} <= set(manifest.notes)
    with pytest.raises(InputError, match="--exclude 'mask' matches no image"):
        read_source("folder", tmp_path, exclude_patterns=("mask",))


def test_predict_finds_what_convert_finds(tmp_path: Path) -> None:
    from fastrad.study.networks.files import images_in

    touch(tmp_path, "a/1.png", "a/1_mask.png", "b/.2.png", "b/3.TIFF", "b/3 (copy).TIFF", "b/masks/3.png", "b/4.dicom")
    (tmp_path / "a" / "IM0001").write_bytes(b"\0" * 128 + b"DICM")
    table = read_source("folder", tmp_path).table
    root, found = images_in(tmp_path)
    assert root == tmp_path
    assert found == list(zip(table["path"], table["reason"], strict=True))
    assert [path for path, _ in found] == ["a/1.png", "a/IM0001", "b/3 (copy).TIFF", "b/3.TIFF", "b/4.dicom"]
    assert images_in(tmp_path / "a" / "IM0001") == (tmp_path / "a", [("IM0001", "")])


def test_folders_of_one_name_in_two_spellings_are_one_class(tmp_path: Path) -> None:
    touch(tmp_path, "caf\u00e9/1.png", "cafe\u0301/2.png", "x/3.png")
    assert read_source("folder", tmp_path).classes == ("caf\u00e9", "x")


@pytest.mark.parametrize("name", ["roi", "labels", "annotated", "Masks"])
def test_a_class_called_like_masks_is_asked_about_and_may_be_named(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "other/1.png", "other/2.png", f"{name}/1.png", f"{name}/2.png", f"other/{name}/1.png")
    with pytest.raises(InputError) as caught:
        read_source("folder", tmp_path)
    assert f"{name} is taken for a folder of masks" in str(caught.value)
    assert f"--class 'other' --class '{name}'" in str(caught.value)
    manifest = read_source("folder", tmp_path, classes=("other", name))
    assert manifest.classes == tuple(sorted(("other", name)))
    assert len(manifest) == 4
    assert "1 images in folders of masks beside those of images were left out" in manifest.notes


def test_classes_that_are_named_are_all_there_are(tmp_path: Path) -> None:
    touch(tmp_path, "Test/1.png", "Train/1.png", "fold_1/1.png", "data/1.png", "data/deep/2.png")
    manifest = read_source("folder", tmp_path, classes=["Test", "Train", "data"])
    assert manifest.split_names == ("",)
    assert manifest.classes == ("Test", "Train", "data")
    assert [reason for reason in manifest.table["reason"] if reason] == ["lies in no folder that --class names"]
    with pytest.raises(InputError, match="--class 'x' is no folder of images there; Test, Train, data and 1 more are"):
        read_source("folder", tmp_path, classes=["x"])


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (
            ["data/a/1.png", "data/b/2.png", "docs/f.png"],
            "the folders a, b, beside docs; if those .* {root}/data as",
        ),
        (
            ["mri/set/a/1.png", "mri/set/b/2.png", "x/f.png"],
            "mri/set/ holds .* beside x; .* {root}/mri/set as ROOT",
        ),
        (["benign/1.png", "malignant/1.png", "Figures/1.png"], "Figures is no class by its name; .* 'Figures/\\*'"),
    ],
)
def test_root_a_level_too_high_beside_stray_images_is_asked_about(
    tmp_path: Path, paths: list[str], message: str
) -> None:
    touch(tmp_path, *paths)
    with pytest.raises(InputError, match=message.format(root=tmp_path)) as caught:
        read_source("folder", tmp_path)
    assert "--class" in str(caught.value)


def test_folders_of_patients_within_classes_are_no_level_too_many(tmp_path: Path) -> None:
    touch(tmp_path, "benign/p1/1.png", "benign/p2/1.png", "malignant/p3/1.png", "normal/p4/1.png", "normal/p5/1.png")
    assert read_source("folder", tmp_path).classes == ("benign", "malignant", "normal")


def test_splits_are_known_by_a_word_in_their_names_and_it_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "Sample of Traindata/a/1.png", "Sample of Testdata/a/2.png")
    manifest = read_source("folder", tmp_path, one_class=True)
    assert manifest.split_names == ("train", "test")
    assert "the folder Sample of Traindata is read as split train" in manifest.notes
    touch(tmp_path, "more/a/1.png")
    with pytest.raises(InputError, match="may be splits by their names, beside more; call them train, val and test"):
        read_source("folder", tmp_path)


def test_a_split_word_without_train_is_part_of_a_class(tmp_path: Path) -> None:
    touch(tmp_path, "stress test/1.png", "control/1.png", "strain/1.png")
    assert read_source("folder", tmp_path).classes == ("control", "strain", "stress test")


def test_names_with_a_backslash_or_no_utf8_are_listed_as_they_are(tmp_path: Path) -> None:
    touch(tmp_path, "a/b/1.png", "a/b\\1.png", "c/x.png", "b\\c/1.png")
    with open(bytes(tmp_path / "c") + b"/caf\xe9.png", "wb"):
        pass
    table = read_source("folder", tmp_path).table.set_index("path")
    assert table["label"].to_dict() == {
        "a/b/1.png": "a",
        "a/b\\1.png": "a",
        "b\\c/1.png": "b\\c",
        "c/caf\\udce9.png": "c",
        "c/x.png": "c",
    }
    assert table["reason"].to_dict() == dict.fromkeys(table.index, "") | {
        "c/caf\\udce9.png": "its name is not UTF-8; rename it"
    }


def test_a_line_break_in_a_class_name_is_a_reason(tmp_path: Path) -> None:
    touch(tmp_path, "be\nnign/1.png", "malignant/1.png", "normal/1.png")
    manifest = read_source("folder", tmp_path)
    assert manifest.classes == ("malignant", "normal")
    assert "holds a line break" in manifest.table["reason"][0]


def test_spellings_of_one_class_in_two_splits_are_one(tmp_path: Path) -> None:
    touch(tmp_path, "train/caf\u00e9/1.png", "train/x/1.png", "test/cafe\u0301/2.png")
    manifest = read_source("folder", tmp_path)
    assert manifest.usable.all()
    assert manifest.classes == ("caf\u00e9", "x")
