"""Tables of DICOM files: frame choice and colour Doppler, on the real ultrasound files."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastrad.archives import read_source
from fastrad.archives.clips import choose_frames
from fastrad.archives.manifest import Manifest
from fastrad.archives.table import template
from fastrad.errors import InputError


@pytest.fixture
def read(dicom_root: Path, tmp_path: Path):
    def read_rows(*rows: str, **options: object) -> Manifest:
        table = tmp_path / "list.csv"
        table.write_text("path,label,patient\n" + "".join(f"{row}\n" for row in rows))
        return read_source("table", dicom_root, table=table, **options)

    return read_rows


CINE, STILL, CLIP = "GREYSCALE_CINE.dcm,a,1", "GREYSCALE_IMAGE.dcm,b,2", "examples_ybr_color.dcm,a,3"


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ("first", [0, 0, 0]),
        ("middle", [13, 0, 15]),
        ("every:13", [0, 13, 26, 0, 0, 13, 26]),
    ],
)
def test_frames_of_clips_are_chosen(read, frames: str, expected: list[int]) -> None:
    manifest = read(CINE, STILL, CLIP, frames=frames)
    assert manifest.table["frame"].tolist() == expected
    assert manifest.usable.all()


def test_all_frames_keep_the_tables_order(read) -> None:
    table = read(CLIP, STILL, CINE, frames="all").table
    assert table["frame"].tolist() == [*range(30), 0, *range(27)]
    assert (
        table["path"].tolist()
        == ["examples_ybr_color.dcm"] * 30 + ["GREYSCALE_IMAGE.dcm"] + ["GREYSCALE_CINE.dcm"] * 27
    )
    assert table["patient"].tolist() == ["3"] * 30 + ["2"] + ["1"] * 27


def test_missing_files_and_paths_outside_keep_their_row(read) -> None:
    table = read("gone.dcm,a,1", "../GREYSCALE_CINE.dcm,a,1", CINE, frames="middle").table
    assert table["frame"].tolist() == [0, 0, 13]
    assert table["reason"].tolist() == ["", "its path leads outside ROOT", ""]


def test_colour_doppler_is_counted_or_excluded(read) -> None:
    rows = [STILL, "examples_rgb_color.dcm,a,4", "examples_jpeg2k.dcm,a,5", "OBXXXX1A.dcm,b,6"]
    counted = read(*rows)
    assert counted.notes[0] == "colour Doppler: 2 of 4 files looked at; 2 rows are kept"
    assert counted.usable.all()
    excluded = read(*rows, doppler="exclude")
    assert excluded.table["reason"].tolist() == ["", *["colour Doppler is excluded"] * 2, ""]
    assert not any("Doppler" in note for note in read(*rows, doppler="ignore").notes)
    with pytest.raises(InputError, match="doppler 'yes'"):
        read(*rows, doppler="yes")


def test_screens_that_are_stored_whole_are_counted(read) -> None:
    manifest = read(STILL, "examples_rgb_color.dcm,a,4", "gone.dcm,a,5", "examples_jpeg2k.dcm,a,6", doppler="ignore")
    (note,) = manifest.notes
    assert note.startswith("2 DICOM files do not say where the screen shows tissue (first: row 1)")
    assert read(STILL, doppler="ignore").notes == ()


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        ("first", "the first of each is stored: 2 of 57 frames"),
        ("middle", "the middle one of each is stored: 2 of 57 frames"),
        ("all", "all are stored: 57 of 57 frames"),
        ("every:13", "some of each are stored: 6 of 57 frames"),
    ],
)
def test_how_many_frames_of_clips_are_stored_is_said(read, frames: str, said: str) -> None:
    notes = read(CINE, STILL, CLIP, "gone.dcm,a,9", frames=frames).notes
    assert f"2 files hold several frames; {said}" in notes


def test_every_layout_says_it_of_clips_and_whole_screens(dicom_root: Path, tmp_path: Path) -> None:
    for name, place in (
        ("GREYSCALE_CINE.dcm", "a/IM1"),
        ("examples_rgb_color.dcm", "b/1.2.840.5"),
        ("OBXXXX1A.dcm", "b/x"),
    ):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        shutil.copy(dicom_root / name, tmp_path / place)
    notes = read_source("folder", tmp_path).notes
    assert "1 files hold several frames; the first of each is stored: 1 of 27 frames" in notes
    assert any("DICOM files do not say where the screen shows tissue" in note for note in notes)
    notes = read_source("tn5000", _as_tn5000(tmp_path)).notes
    assert any("the first of each is stored: 1 of 27 frames" in note for note in notes)
    assert any("do not say where the screen shows tissue" in note for note in notes)


def _as_tn5000(root: Path) -> Path:
    (root / "Train").mkdir()
    (root / "a").rename(root / "Train" / "Benign")
    (root / "b").rename(root / "Train" / "Malignant")
    return root


def test_frames_of_hdf5_files_are_counted(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "clip.h5", "w") as file:
        file["image"] = np.zeros((5, 8, 8), np.uint8)
    (tmp_path / "labels.csv").write_text("path,label,patient\nclip.h5,a,1\n")
    notes = read_source("table", tmp_path).notes
    assert "1 files hold several frames; the first of each is stored: 1 of 5 frames" in notes


def test_pictures_may_show_text_too(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("path,label,patient\n1.png,a,1\n2.jpg,a,2\n")
    assert any(
        "2 files are pictures" in note and "may name the patient" in note
        for note in read_source("table", tmp_path).notes
    )
    (tmp_path / "fastrad-synthetic.json").write_text("{}")
    assert read_source("table", tmp_path).notes == ()


def test_frame_column_and_frame_choice_do_not_go_together(dicom_root: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label,patient,frame\nGREYSCALE_CINE.dcm,a,1,5\n")
    assert read_source("table", dicom_root, table=tmp_path / "list.csv").table["frame"].tolist() == [5]
    with pytest.raises(InputError, match="has a column frame"):
        read_source("table", dicom_root, table=tmp_path / "list.csv", frames="all")


def test_frame_choices() -> None:
    assert choose_frames("middle", 1) == [0]
    assert choose_frames("middle", 4) == [2]
    assert choose_frames("every:3", 8) == [0, 3, 6]
    for wrong in ("last", "every:0", "every:-1", "every:", "all "):
        with pytest.raises(InputError, match="frames"):
            choose_frames(wrong, 5)


def test_the_template_is_a_table_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(template())
    manifest = read_source("table", tmp_path)
    assert manifest.classes == ("benign", "malignant")
    assert manifest.split_names == ("train", "val", "test")
    assert manifest.usable.all()
