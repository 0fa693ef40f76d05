"""TN3K, TN5000, ThyroidXL and the AIMI cine clips: small archives in the documented layouts."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from fastrad.archives import read_source
from fastrad.errors import InputError
from fastrad.imaging import read_gray


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


class TestTN3K:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        touch(
            tmp_path,
            *(
                f"{part}-{kind}/000{i}.jpg"
                for part in ("trainval", "test")
                for kind in ("image", "mask")
                for i in range(3)
            ),
        )
        (tmp_path / "label4trainval.csv").write_text("0001.jpg,1\n0000.jpg,0\n")
        (tmp_path / "label4test.csv").write_text("0000.jpg,1\n0001.jpg,0\n0002.jpg,2\n")
        return tmp_path

    def test_each_table_is_about_its_own_folder(self, root: Path) -> None:
        table = read_source("tn3k", root).table
        rows = list(table[["path", "label", "split"]].itertuples(index=False, name=None))
        assert rows == [
            ("trainval-image/0001.jpg", "malignant", "train"),
            ("trainval-image/0000.jpg", "benign", "train"),
            ("test-image/0000.jpg", "malignant", "test"),
            ("test-image/0001.jpg", "benign", "test"),
            ("test-image/0002.jpg", "", "test"),
            ("trainval-image/0002.jpg", "", "train"),
        ]
        assert "label '2'" in table["reason"][4]
        assert (table["reason"][[0, 1, 2, 3, 5]] == "").all()

    def test_missing_table_and_folder_are_named(self, root: Path, tmp_path: Path) -> None:
        (root / "label4test.csv").unlink()
        with pytest.raises(InputError, match=r"label4test\.csv: no such table"):
            read_source("tn3k", root)
        (tmp_path / "other").mkdir()
        with pytest.raises(InputError, match="trainval-image/"):
            read_source("tn3k", tmp_path / "other")


def test_tn5000_takes_splits_and_labels_from_its_folders(tmp_path: Path) -> None:
    touch(
        tmp_path, "Train/Benign/1.png", "Train/Malignant/2.png", "Valid/Benign/3.png", "Test/Malignant/4.png", "5.png"
    )
    manifest = read_source("tn5000", tmp_path)
    table = manifest.table.set_index("path")
    assert table["label"].to_dict() == {
        "5.png": "",
        "Train/Benign/1.png": "benign",
        "Train/Malignant/2.png": "malignant",
        "Valid/Benign/3.png": "benign",
        "Test/Malignant/4.png": "malignant",
    }
    assert table["split"].drop("5.png").to_dict() == {
        "Train/Benign/1.png": "train",
        "Train/Malignant/2.png": "train",
        "Valid/Benign/3.png": "val",
        "Test/Malignant/4.png": "test",
    }
    assert table.loc["5.png", "reason"].startswith("lies in no Benign/")
    assert "" not in manifest.split_names


class TestThyroidXL:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        names = ["00000012_AB_1.png", "00000012_AB_2.png", "00000345_CD_1.png", "00000345_CD_2.png"]
        touch(tmp_path, *(f"train/images/{name}" for name in names), "test/images/00000777_EF_1.png")
        box = [10, 20, 40, 30]
        train = {
            "images": [
                {"id": 1, "file_name": "12_AB_1.png", "patient_id": 12},
                {"id": 2, "file_name": "00000012_AB_2", "patient_id": 12},
                {"id": 3, "file_name": "train/images/00000345_CD_1.png", "patient_id": "345"},
            ],
            "annotations": [
                {"image_id": 1, "category_id": 0, "bbox": box},
                {"image_id": 2, "category_id": 0, "bbox": box},
                {"image_id": 2, "category_id": 1, "bbox": [0, 0, 5, 5]},
                {"image_id": 3, "category_id": 1, "bbox": box},
            ],
        }
        test = {
            "images": [{"id": 1, "file_name": "00000777_EF_1.png", "patient_id": 777}],
            "annotations": [{"image_id": 1, "category_id": 1, "bbox": box}],
        }
        (tmp_path / "train_annotations.json").write_text(json.dumps(train))
        (tmp_path / "test" / "test_annotations.json").write_text(json.dumps(test))
        return tmp_path

    def test_annotations_at_either_place_give_labels_and_padded_patients(self, root: Path) -> None:
        table = read_source("thyroidxl", root).table
        rows = list(table[["path", "label", "patient", "split"]].itertuples(index=False, name=None))
        assert rows == [
            ("train/images/00000012_AB_1.png", "benign", "00000012", "train"),
            ("train/images/00000012_AB_2.png", "", "00000012", "train"),
            ("train/images/00000345_CD_1.png", "malignant", "00000345", "train"),
            ("train/images/00000345_CD_2.png", "", "00000345", "train"),
            ("test/images/00000777_EF_1.png", "malignant", "00000777", "test"),
        ]
        assert "benign and malignant nodules" in table["reason"][1]
        assert (table["reason"][[0, 2, 3, 4]] == "").all()

    def test_crop_makes_a_row_of_each_nodule(self, root: Path) -> None:
        table = read_source("thyroidxl", root, crop="nodule", margin=0.1).table
        of_both = table[table["path"] == "train/images/00000012_AB_2.png"]
        assert of_both["label"].tolist() == ["benign", "malignant"]
        assert of_both["box"].tolist() == [(6, 16, 54, 54), (0, 0, 6, 6)]
        assert (of_both["reason"] == "").all()

    def test_what_is_no_annotation_file_is_named(self, root: Path) -> None:
        (root / "train_annotations.json").write_text('{"images": [{"id": 1}], "annotations": []}')
        with pytest.raises(InputError, match=r"train_annotations\.json: .*not the annotations"):
            read_source("thyroidxl", root)
        (root / "train_annotations.json").unlink()
        with pytest.raises(InputError, match=r"no train_annotations\.json"):
            read_source("thyroidxl", root)


class TestAIMI:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        images = np.random.default_rng(0).integers(0, 256, (7, 30, 40), dtype=np.uint8)
        with h5py.File(tmp_path / "dataset.hdf5", "w") as file:
            file["image"] = images
            file["annot_id"] = [b"3_1", b"3_1", b"3_1", b"9_", b"9_", b"3_2", b"77_"]
            file["frame_num"] = [2, 0, 1, 0, 1, 0, 0]
        (tmp_path / "metadata.csv").write_text("annot_id,age,histopath_diagnosis\n3_1,50,1\n3_2,50,0\n9_,40,0\n")
        return tmp_path

    def test_frames_carry_the_nodules_diagnosis_and_keep_patients_together(self, root: Path) -> None:
        manifest = read_source("aimi", root)
        table = manifest.table
        assert table["frame"].tolist() == list(range(7))
        assert table["label"].tolist() == ["malignant"] * 3 + ["benign"] * 3 + [""]
        assert table["patient"].tolist() == ["3", "3", "3", "9", "9", "3", "77"]
        assert any("under different labels" in note for note in manifest.notes)
        with h5py.File(root / "dataset.hdf5") as file:
            images = file["image"][...]
        for row in table.itertuples():
            np.testing.assert_array_equal(read_gray(root / row.path, frame=row.frame), images[row.frame])

    def test_frame_choice_follows_the_frame_numbers(self, root: Path) -> None:
        assert read_source("aimi", root, frames="first").table["frame"].tolist() == [1, 3, 5, 6]
        assert read_source("aimi", root, frames="middle").table["frame"].tolist() == [2, 4, 5, 6]
        assert read_source("aimi", root, frames="every:2").table["frame"].tolist() == [0, 1, 3, 5, 6]
        with pytest.raises(InputError, match="every:N"):
            read_source("aimi", root, frames="every:0")

    def test_missing_parts_are_named(self, root: Path) -> None:
        with pytest.raises(InputError, match="has no frame 7: it holds 7"):
            read_gray(root / "dataset.hdf5", frame=7)
        with h5py.File(root / "dataset.hdf5", "a") as file:
            del file["annot_id"]
        with pytest.raises(InputError, match="no dataset annot_id"):
            read_source("aimi", root)
        (root / "dataset.hdf5").write_bytes((root / "dataset.hdf5").read_bytes()[:2000])
        with pytest.raises(InputError, match="HDF5 file is damaged or cut short"):
            read_source("aimi", root)


def test_forged_categories_beside_images_and_masks_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "p_image/1.PNG", "p_mask/1.PNG")
    (tmp_path / "p_category.csv").write_text("name,class\n1.PNG,0\n")
    with pytest.raises(InputError, match="forged"):
        read_source("table", tmp_path)
    with pytest.raises(InputError, match="forged"):
        read_source("table", tmp_path, table=tmp_path / "p_category.csv", columns={"path": "name", "label": "class"})


def test_an_institutions_own_category_table_is_no_forgery(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4), np.uint8))
    (tmp_path / "category.csv").write_text("path,label,patient\na.png,benign,1\n")
    assert len(read_source("table", tmp_path, table=tmp_path / "category.csv")) == 1


class TestTN5000AsPublished:
    """VOC's form: names 0 and 1, splits in lists."""

    @staticmethod
    def annotate(root: Path, name: str, *objects: tuple[str, tuple[float, float, float, float]]) -> None:
        edges = ("xmin", "ymin", "xmax", "ymax")
        text = "".join(
            f"<object><name>{label}</name><bndbox>"
            + "".join(f"<{edge}>{value}</{edge}>" for edge, value in zip(edges, box, strict=True))
            + "</bndbox></object>"
            for label, box in objects
        )
        (root / "Annotations").mkdir(exist_ok=True)
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation><folder>x</folder>{text}</annotation>")

    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        root = tmp_path / "TN5000_forReview"
        touch(root, *(f"JPEGImages/00000{number}.jpg" for number in range(1, 8)))
        box = (11, 21, 60, 50)
        for name, *labels in ("1", "0"), ("2", "1"), ("3", "1", "1"), ("4", "0", "1"), ("5",), ("7", "1"):
            self.annotate(root, f"00000{name}", *((label, box) for label in labels))
        lists = {"train": "000002\n000001\n", "val": "000003\r\n", "test": "000004\n000005\n000006\n000099\n"}
        for split, text in lists.items():
            (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
            (root / "ImageSets" / "Main" / f"{split}.txt").write_text(text)
        (root / "ImageSets" / "Main" / "trainval.txt").write_text("000001\n000002\n000003\n")
        return root

    def test_lists_give_the_order_and_splits_and_names_the_labels(self, root: Path) -> None:
        manifest = read_source("tn5000", root)
        rows = list(manifest.table[["path", "label", "split"]].itertuples(index=False, name=None))
        assert rows == [
            ("JPEGImages/000002.jpg", "malignant", "train"),
            ("JPEGImages/000001.jpg", "benign", "train"),
            ("JPEGImages/000003.jpg", "malignant", "val"),
            ("JPEGImages/000004.jpg", "", "test"),
            ("JPEGImages/000005.jpg", "", "test"),
            ("JPEGImages/000006.jpg", "", "test"),
            ("JPEGImages/000099.jpg", "", "test"),
            ("JPEGImages/000007.jpg", "", "train"),
        ]
        reasons = manifest.table["reason"].tolist()
        assert reasons[3] == "holds benign and malignant nodules; crop=nodule parts them"
        assert reasons[7] == "is in no list of ImageSets/Main/"
        assert [reasons[row] for row in (0, 1, 2, 4, 5, 6)] == [""] * 6
        assert "3 images have no annotated object: they are unlabelled" in manifest.notes

    def test_each_nodule_is_cropped_by_its_box(self, root: Path) -> None:
        table = read_source("tn5000", root, crop="nodule", margin=0.0).table
        image = table[table["path"] == "JPEGImages/000004.jpg"]
        assert image["label"].tolist() == ["benign", "malignant"]
        assert image["box"].tolist() == [(10, 20, 60, 50)] * 2  # from 1, both ends included: 50 x 30 pixels

    def test_what_is_odd_is_a_reason(self, root: Path) -> None:
        self.annotate(root, "000001", ("2", (1, 1, 9, 9)))
        self.annotate(root, "000002", ("1", (9, 1, 5, 9)))
        (root / "Annotations" / "000003.xml").write_text("<annotation><object>")
        reasons = read_source("tn5000", root).table["reason"].tolist()
        assert "an object of its annotation is none of 0, 1" in reasons[1]
        assert "encloses nothing" in reasons[0]
        assert "its annotation cannot be read" in reasons[2]

    def test_root_is_asked_about(self, root: Path) -> None:
        with pytest.raises(InputError, match=f"give {root} as ROOT"):
            read_source("tn5000", root.parent)
        (root.parent / "other").mkdir()
        with pytest.raises(InputError, match="holds neither JPEGImages/ and Annotations/ nor Train/"):
            read_source("tn5000", root.parent / "other")


def test_where_the_labels_of_tn3k_come_from_is_said(tmp_path: Path) -> None:
    touch(tmp_path, "trainval-image/0000.jpg")
    with pytest.raises(InputError, match=r"no such table; TN3K's labels come from another repository .*ACL"):
        read_source("tn3k", tmp_path)
