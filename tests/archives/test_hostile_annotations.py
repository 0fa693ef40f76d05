"""Annotation files that say anything: rows with reasons, or one line that names the file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fastrad.archives import read_source
from fastrad.errors import FastradError, InputError

POINTS = [{"x": 1, "y": 2}, {"x": 9, "y": 2}, {"x": 5, "y": 8}]
ANNOTATIONS = {
    "images": [{"id": 1, "file_name": "00000001_1.png", "patient_id": 1}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
}
VALUES: list[Any] = [None, True, -1, 1.5, 10**400, 1e308, 2**63, "x", "", [], [[]], {}, {"a": 1}, "9" * 400]


def _replaced(content: Any, value: Any) -> list[Any]:
    found = [value]
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, inner in items:
        for changed in _replaced(inner, value):
            copy = dict(content) if isinstance(content, dict) else list(content)
            copy[key] = changed
            found.append(copy)
    return found


def _thyroidxl(folder: Path) -> Path:
    (folder / "train" / "images").mkdir(parents=True)
    cv2.imwrite(str(folder / "train" / "images" / "00000001_1.png"), np.zeros((8, 8), np.uint8))
    return folder / "train_annotations.json"


def _ddti(folder: Path) -> Path:
    cv2.imwrite(str(folder / "1_1.jpg"), np.zeros((8, 8), np.uint8))
    return folder / "1.xml"


def _case(outline: str, category: str = "4a") -> str:
    return f"<case><tirads>{category}</tirads><mark><image>1</image><svg>{outline}</svg></mark></case>"


def _reads(layout: str, folder: Path, crop: str) -> bool:
    """Whether an archive is read, or refused in one line."""
    try:
        table = read_source(layout, folder, crop=crop).table
    except FastradError as error:
        return "\n" not in str(error)
    usable = table[(table["reason"] == "") & (table["label"] != "")]
    boxes_are_there = not crop or bool(usable["box"].notna().all())
    return len(table) > 0 and bool(usable["label"].isin(["benign", "malignant"]).all()) and boxes_are_there


@pytest.mark.parametrize("crop", ["", "nodule"])
def test_every_value_of_annotations_may_be_anything(tmp_path, crop):
    path = _thyroidxl(tmp_path)
    path.write_text(json.dumps(ANNOTATIONS))
    assert read_source("thyroidxl", tmp_path, crop=crop).table["label"].tolist() == ["malignant"]
    for value in VALUES:
        for number, content in enumerate(_replaced(ANNOTATIONS, value)):
            path.write_text(json.dumps(content))
            assert _reads("thyroidxl", tmp_path, crop), f"{str(value)[:20]}, {number}"


def test_every_value_of_an_outline_may_be_anything(tmp_path):
    path = _ddti(tmp_path)
    region = [{"regionType": "freehand", "points": POINTS}]
    path.write_text(_case(json.dumps(region)))
    assert read_source("ddti", tmp_path, crop="nodule", margin=0).table["box"].tolist() == [(1, 2, 10, 9)]
    for value in VALUES:
        for number, content in enumerate(_replaced(region, value)):
            path.write_text(_case(json.dumps(content)))
            assert _reads("ddti", tmp_path, "nodule"), f"{str(value)[:20]}, {number}"


TEXTS = {
    "nested": "[" * 100_000 + "]" * 100_000,
    "numbers of many digits": '{"images": ' + "9" * 400 + "}",
    "NaN": '{"images": NaN}',
    "a lone surrogate": '{"images": "\\ud800"}',
    "cut short": json.dumps(ANNOTATIONS)[:40],
    "empty": "",
    "no UTF-8": "\udcff",
    "a table": "id,file_name\n1,2\n",
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_json_is_one_line(tmp_path, text):
    _thyroidxl(tmp_path).write_text(TEXTS[text], "utf-8", "surrogateescape")
    with pytest.raises(InputError, match=r"train_annotations\.json") as refused:
        read_source("thyroidxl", tmp_path)
    assert "\n" not in str(refused.value)


CASES = {
    "a million laughs": '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + k)} "{f"&{chr(97 + k)};" * 20}">' for k in range(9))
    + "]><case><tirads>&j;</tirads></case>",
    "a file from elsewhere": '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]><case><tirads>&a;</tirads></case>',
    "nested": "<case>" + "<mark>" * 100_000 + "</mark>" * 100_000 + "</case>",
    "cut short": "<case><tirads>2",
    "empty": "",
    "an encoding that nobody knows": '<?xml version="1.0" encoding="klingon"?><case/>',
    "a nested outline": _case("[" * 100_000 + "]" * 100_000),
    "an outline of many digits": _case('[{"regionType": "freehand", "points": [{"x": ' + "9" * 400 + ', "y": 1}]}]'),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_case_has_a_reason_or_no_label(tmp_path, case):
    _ddti(tmp_path).write_text(CASES[case])
    table = read_source("ddti", tmp_path, crop="nodule").table
    assert len(table) == 1
    assert table["reason"][0] or not table["label"][0]


def test_a_case_file_that_is_as_large_as_an_archive_is_not_read(tmp_path):
    with open(_ddti(tmp_path), "wb") as file:
        file.write(b"<case>")
        file.truncate(10**9)
    assert "cannot be read" in read_source("ddti", tmp_path).table["reason"][0]


OBJECT = "<object><name>{}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{}</xmax><ymax>5</ymax></bndbox></object>"


OBJECTS = ["", "<annotation>", OBJECT.format("0", "9" * 400), OBJECT.format("0", "nan"), "pipe", *CASES.values()]


def _voc(folder: Path) -> Path:
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    cv2.imwrite(str(folder / "JPEGImages" / "1.jpg"), np.zeros((8, 8), np.uint8))
    (folder / "ImageSets" / "Main" / "train.txt").write_text("1\n")
    return folder / "Annotations" / "1.xml"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", OBJECTS, ids=range(len(OBJECTS)))
def test_an_object_is_what_it_should_be_or_its_image_has_a_reason(tmp_path, text):
    path = _voc(tmp_path)
    path.write_text(f"<annotation>{OBJECT.format('0', 5)}</annotation>")
    assert read_source("tn5000", tmp_path).table["label"].tolist() == ["benign"]
    path.unlink()
    if text == "pipe":
        os.mkfifo(path)
    else:
        path.write_text(text)
    table = read_source("tn5000", tmp_path).table
    assert table["label"].tolist() == [""]
    assert not any(letter.isdigit() for letter in table["reason"][0])


def test_a_list_leads_to_no_annotation_outside(tmp_path):
    _voc(tmp_path / "root").write_text(f"<annotation>{OBJECT.format('0', 5)}</annotation>")
    (tmp_path / "away.xml").write_text(f"<annotation>{OBJECT.format('1', 5)}</annotation>")
    (tmp_path / "root" / "ImageSets" / "Main" / "train.txt").write_text("1\n../../away\n")
    table = read_source("tn5000", tmp_path / "root").table
    assert table["label"].tolist() == ["benign", ""]
