"""Damaged tables and case files: rows, or one line that says what is wrong; never another row's label."""

from __future__ import annotations

import csv
import io
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from isolated import Unforeseen, run_isolated
from mutations import damaged_text, speckle
from PIL import Image

from fastrad.errors import FastradError
from fastrad.system.csv_file import read_csv

SPLITS_HEAD = "patient,set,fold\n"


def _read(case: tuple[str, str]) -> list[tuple[str, str, str, str]] | str:
    """Path, label, patient and split of every row that has no reason against it, or the error."""
    from fastrad.archives import read_source

    layout, root = case
    try:
        table = read_source(layout, Path(root)).table
    except FastradError as error:
        return str(error)
    usable = table[table["reason"] == ""]
    return list(usable[["path", "label", "patient", "split"]].itertuples(index=False, name=None))


def _read_splits(case: tuple[str, str]) -> dict[str, int] | str:
    from fastrad.study.protocol.patients import read_patients
    from fastrad.study.protocol.splits import read_splits

    dataset, path = case
    try:
        splits = read_splits(Path(path), read_patients(dataset), folds=2)
    except FastradError as error:
        return str(error)
    return dict(zip(splits.patients, splits.fold.tolist(), strict=True))


def _archive(root: Path, table: str, content: bytes, images: list[str]) -> Path:
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(root.parent / "image.png")
    (root / table).write_bytes(content)
    return root


def _check(layout: str, table: str, text: str, images: list[str], folder: Path, seed: int, count: int) -> None:
    Image.fromarray(speckle(1, 8)[0]).save(folder / "image.png")
    (whole,) = run_isolated(_read, [("whole", (layout, str(_archive(folder / "whole", table, text.encode(), images))))])
    assert len(whole) == len(images)
    cases = []
    for number, (name, content) in enumerate(damaged_text(text, seed, count)):
        root = _archive(folder / str(number), table, content, images)
        cases.append((name, (layout, str(root))))
    for (name, _), found in zip(cases, run_isolated(_read, cases), strict=True):
        assert not isinstance(found, Unforeseen), f"{name}: {found}"
        if isinstance(found, str):
            assert "\n" not in found, name
        elif any(kind in name for kind in ("utf-8-sig", "cp1252", ": utf-16", "'\\r\\n'")):
            assert found == whole, f"{name}: other rows"
        elif "shuffled" in name and "only the first" not in name:
            assert set(found) <= set(whole), f"{name}: a row with another's label"


def _radimagenet() -> tuple[str, list[str]]:
    names = [f"radiology_ai/{place}{k}.png" for k in range(3) for place in ("CT/abd/normal/a", "US/thyroid/usn")]
    return "filename,label\n" + "".join(f"{name},label {k % 2}\n" for k, name in enumerate(names)), names


def _table() -> tuple[str, list[str]]:
    names = [f"images/{k}.png" for k in range(6)]
    lines = [f"{name},{'benign' if k % 2 else 'malignant'},P{k:03d},train" for k, name in enumerate(names)]
    return "path,label,patient,split\n" + "\n".join(lines) + "\n", names


def test_damaged_radimagenet_tables(tmp_path, seed):
    _check("radimagenet", "RadiologyAI_train.csv", *_radimagenet(), tmp_path, seed, 60)


def test_damaged_labels_tables(tmp_path, seed):
    _check("table", "labels.csv", *_table(), tmp_path, seed, 60)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(1, 5))
def test_many_damaged_tables(tmp_path, seed, turn):
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
    _check("radimagenet", "RadiologyAI_train.csv", *_radimagenet(), tmp_path / "one", seed + turn, 200)
    _check("table", "labels.csv", *_table(), tmp_path / "two", seed + turn, 200)


def test_damaged_splits_keep_every_patient_in_one_place_or_are_refused(small_study, tmp_path, seed):
    dataset, patients = small_study
    lines = [f"{name},{'test,' if k < 8 else f'development,{k % 2}'}\n" for k, name in enumerate(patients)]
    text = SPLITS_HEAD + "".join(lines)
    cases = []
    for number, (name, content) in enumerate(damaged_text(text, seed, 60)):
        (tmp_path / f"{number}.csv").write_bytes(content)
        cases.append((name, (str(dataset), str(tmp_path / f"{number}.csv"))))
    for (name, _), found in zip(cases, run_isolated(_read_splits, cases), strict=True):
        assert not isinstance(found, Unforeseen), f"{name}: {found}"
        assert isinstance(found, dict) or "\n" not in found, name
        assert isinstance(found, str) or set(found) == set(patients), name


@pytest.fixture
def small_study(tmp_path: Path) -> tuple[Path, list[str]]:
    """A dataset of 24 patients, half of them malignant, and their pseudonyms."""
    from fastrad.dataset import write_beton

    path = tmp_path / "all.beton"
    patients = [f"p{k:02d}" for k in range(24)]
    write_beton(
        path, speckle(24, 8), np.arange(24) % 2, np.arange(24), classes=["benign", "malignant"], patient_names=patients
    )
    return path, patients


CASE = """<?xml version="1.0" encoding="UTF-8"?>
<case><number>1</number><tirads>4a</tirads><mark><image>1</image>
<svg>[{"points": [{"x": 10, "y": 12}, {"x": 30, "y": 12}, {"x": 20, "y": 28}], "regionType": "freehand"}]</svg>
</mark></case>
"""


def _read_ddti(root: str) -> list[tuple[str, str, str]] | str:
    from fastrad.archives import read_source

    try:
        table = read_source("ddti", Path(root), crop="nodule").table
    except FastradError as error:
        return str(error)
    return list(zip(table["label"], table["box"], table["reason"], strict=True))


def _ddti_cases(folder: Path, contents: list[tuple[str, bytes]]) -> list[tuple[str, str]]:
    cases = []
    for number, (name, content) in enumerate(contents):
        root = folder / str(number)
        root.mkdir()
        (root / "1.xml").write_bytes(content)
        (root / "1_1.jpg").write_bytes(b"")
        cases.append((name, str(root)))
    return cases


def test_damaged_case_files_cost_their_case_alone(tmp_path, seed):
    cases = _ddti_cases(tmp_path, list(damaged_text(CASE, seed, 80)))
    for (name, _), found in zip(cases, run_isolated(_read_ddti, cases), strict=True):
        assert not isinstance(found, Unforeseen), f"{name}: {found}"
        assert isinstance(found, list), f"{name}: {found}"
        assert len(found) == 1, name


def test_case_files_with_senseless_outlines_cost_their_case_alone(tmp_path):
    outline = CASE[CASE.index("[") : CASE.rindex("]") + 1]
    outlines = [
        "[" * 100_000,
        outline.replace("10", "1e999"),
        outline.replace("10", "NaN"),
        outline.replace("10", "-Infinity"),
        outline.replace("10", "9" * 5000),
        outline.replace("10", "1e300"),
        outline.replace("10", "null"),
        outline.replace("10", '"ten"'),
        '{"points": 3}',
        "[3]",
        '[{"regionType": "freehand", "points": {"a": 1, "b": 2, "c": 3}}]',
        '[{"regionType": "freehand", "points": 7}]',
        '[{"regionType": ["freehand"], "points": []}]',
        "null",
    ]
    bomb = CASE.replace(
        "<case>",
        '<!DOCTYPE c [<!ENTITY a "'
        + "x" * 1000
        + '">'
        + "".join(f'<!ENTITY {chr(98 + k)} "{("&" + chr(97 + k) + ";") * 10}">' for k in range(8))
        + "]><case>",
    ).replace("4a", "&i;")
    contents = [(text[:60], CASE.replace(outline, text).encode()) for text in outlines] + [("bomb", bomb.encode())]
    cases = _ddti_cases(tmp_path, contents)
    for (name, _), found in zip(cases, run_isolated(_read_ddti, cases), strict=True):
        assert not isinstance(found, Unforeseen), f"{name}: {found}"
        assert isinstance(found, list), f"{name}: {found}"
        assert found[0][2], f"{name}: used with the box {found[0][1]}"


def _as_read(field: str, column: int) -> str:
    """What may be left of a field: blanks at its ends are none of it, and labels and patients are composed."""
    return field.strip() if column == 0 else unicodedata.normalize("NFC", field.strip()).strip(INVISIBLE).strip()


INVISIBLE = "\ufeff\u200b\u2060"
_TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), max_size=12)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(_TEXT, _TEXT, _TEXT), min_size=1, max_size=8),
    separator=st.sampled_from(",;\t"),
    ends=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
@example(rows=[("", "", "")], separator=",", ends="\n", encoding="utf-8", quoting=csv.QUOTE_MINIMAL)
@example(rows=[('"', "a\nb", "NA")], separator=";", ends="\r\n", encoding="utf-8-sig", quoting=csv.QUOTE_ALL)
def test_a_table_comes_back_as_the_csv_module_wrote_it(tmp_path, rows, separator, ends, encoding, quoting):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=ends, quoting=quoting)
    writer.writerow(["path", "label", "patient"])
    writer.writerows(rows)
    path = tmp_path / "table.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    expected = [tuple(_as_read(field, name) for name, field in enumerate(row)) for row in rows]
    found = _rows_or_reason(path)
    if isinstance(found, str):  # a field that holds what rows are made of may be rows that a stray quote swallows
        assert "swallows" in found
        assert any("\n" in field and separator in field for row in rows for field in row)
    else:
        assert found == expected


def _rows_or_reason(path: Path) -> list[tuple[str, ...]] | str:
    try:
        table = read_csv(path, ["path", "label", "patient"], verbatim=["path"])
    except FastradError as error:
        return str(error)
    return list(table.itertuples(index=False, name=None))
