"""DDTI, on the real archive: labels counted by a regular expression, boxes by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastrad.archives import read_source
from fastrad.archives.base import bounding_box
from fastrad.errors import InputError


def test_labels_cases_and_unlabelled_images(ddti_root: Path) -> None:
    tirads = {path.stem: re.search(r"<tirads>(.*?)</tirads>", path.read_text())[1] for path in ddti_root.glob("*.xml")}
    manifest = read_source("ddti", ddti_root)
    table = manifest.table
    for row in table.itertuples():
        case = row.path.split("_")[0]
        expected = {"": "", "2": "benign", "3": "benign"}.get(tirads[case], "malignant")
        assert (row.label, row.patient, row.box) == (expected, case, None)
    assert table["label"][manifest.usable].value_counts().to_dict() == {"malignant": 288, "benign": 61}
    assert table["patient"][manifest.usable].nunique() == 298
    assert manifest.unlabelled.sum() == 131
    assert table["patient"][manifest.unlabelled].nunique() == 92
    assert len(manifest) == 480


def test_order_is_by_case_and_image_number(ddti_root: Path) -> None:
    numbers = [tuple(map(int, path[:-4].split("_"))) for path in read_source("ddti", ddti_root).table["path"]]
    assert numbers == sorted(numbers)


def test_empty_and_broken_outlines_are_listed(ddti_root: Path) -> None:
    manifest = read_source("ddti", ddti_root)
    row = {path.removesuffix(".jpg"): number for number, path in enumerate(manifest.table["path"])}
    empty = ["62_3", "120_1", "142_2", "213_2", "230_2", "389_1"]
    broken = ["54_1", "127_1", "165_1", "166_1", "176_1", "197_1", "203_1", "205_1"]
    assert f"6 empty outlines: rows {', '.join(str(row[name]) for name in empty)}" in manifest.notes
    assert f"8 broken outlines: rows {', '.join(str(row[name]) for name in broken)}" in manifest.notes


def test_crop_nodule_sets_boxes_and_gives_reasons_where_there_is_no_outline(ddti_root: Path) -> None:
    manifest = read_source("ddti", ddti_root, crop="nodule", margin=0.0)
    table = manifest.table.set_index("path")
    xml = (ddti_root / "389.xml").read_text(), (ddti_root / "2.xml").read_text()
    xs = [int(x) for x in re.findall(r'"x": (\d+)', xml[1])]
    ys = [int(y) for y in re.findall(r'"y": (\d+)', xml[1])]
    assert table.loc["2_1.jpg", "box"] == (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
    assert table.loc["389_1.jpg", "reason"] == "its outline is empty"
    assert "broken" in table.loc["54_1.jpg", "reason"]
    assert (table["reason"] != "").sum() == 14
    assert all((box is None) == (reason != "") for box, reason in zip(table["box"], table["reason"], strict=True))


def test_margin_is_a_part_of_the_longer_side() -> None:
    assert bounding_box([(20, 30), (59, 49)], 0.1) == (16, 26, 64, 54)  # 40 x 20 pixels, 4 on each side
    assert bounding_box([(1, 2), (40, 21)], 0.1) == (0, 0, 45, 26)


def write_case(folder: Path, number: int, tirads: str) -> None:
    (folder / f"{number}.xml").write_text(f"<case><number>{number}</number><tirads>{tirads}</tirads></case>")
    (folder / f"{number}_1.jpg").touch()


def test_unknown_category_broken_xml_and_stray_images_carry_reasons(tmp_path: Path) -> None:
    write_case(tmp_path, 1, "4a")
    write_case(tmp_path, 2, "6")
    write_case(tmp_path, 3, "2")
    (tmp_path / "3.xml").write_text("<case><tirads>2</tirads>")
    (tmp_path / "9_1.jpg").touch()
    table = read_source("ddti", tmp_path).table
    assert table["path"].tolist() == ["1_1.jpg", "2_1.jpg", "3_1.jpg", "9_1.jpg"]
    assert table["label"][0] == "malignant"
    assert table["reason"][0] == ""
    assert "TI-RADS" in table["reason"][1]
    assert "case file cannot be read" in table["reason"][2]
    assert "no case" in table["reason"][3]
    # a pseudonym put for the patient's number in a text that everybody knows would tell whose it is
    assert not any(letter.isdigit() for reason in table["reason"] for letter in reason)


def test_wrong_options_and_folders_are_named(ddti_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no DDTI case"):
        read_source("ddti", tmp_path)
    with pytest.raises(InputError, match="crop 'lobe'"):
        read_source("ddti", ddti_root, crop="lobe")
    with pytest.raises(InputError, match="no option 'table'"):
        read_source("ddti", ddti_root, table="x.csv")


def test_forged_categories_under_the_name_of_ddti_are_refused(tmp_path: Path) -> None:
    (tmp_path / "category.csv").write_text("ID,CATE\n1.PNG,0\n")
    for layout in ("ddti", "table"):
        with pytest.raises(InputError, match="forged"):
            read_source(layout, tmp_path)
    with pytest.raises(InputError, match="forged"):
        read_source("table", tmp_path, table=tmp_path / "category.csv")
