"""The manifest keeps every row, numbers classes by the train split, and changes its hash with any value."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrad.archives import read_source
from fastrad.archives.manifest import COLUMNS, Manifest
from fastrad.errors import InputError

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
ROW = st.tuples(
    TEXT,  # path
    st.integers(0, 2**40),  # frame
    st.one_of(st.just(""), st.sampled_from(["a", "b", "ä", "B", "10", "9", "NA", "nan"])),  # label
    TEXT,  # patient
    st.sampled_from(["", "train", "val", "test"]),
    st.one_of(st.none(), st.tuples(*[st.integers(0, 9000)] * 4)),  # box
    st.sampled_from(["", "damaged"]),
)
ROWS = st.lists(ROW, min_size=1, max_size=12)


def made(rows: list[tuple], root: str = "/somewhere") -> Manifest:
    path, frame, label, patient, split, box, reason = (list(column) for column in zip(*rows, strict=True))
    return Manifest.from_columns(
        Path(root), "table", path=path, frame=frame, label=label, patient=patient, split=split, box=box, reason=reason
    )


@settings(deadline=None)
@given(rows=ROWS)
def test_every_row_comes_back_in_order(rows):
    table = made(rows).table
    assert tuple(table.columns) == COLUMNS
    assert list(table.itertuples(index=False, name=None)) == rows


@settings(deadline=None)
@given(rows=ROWS)
def test_each_row_is_usable_or_unlabelled_or_has_a_reason(rows):
    manifest = made(rows)
    for row, usable, unlabelled in zip(rows, manifest.usable, manifest.unlabelled, strict=True):
        assert (usable, unlabelled, row[6] != "") == (
            row[6] == "" and row[2] != "",
            row[6] == "" and row[2] == "",
            row[6] != "",
        )


@settings(deadline=None)
@given(rows=ROWS)
def test_classes_are_the_sorted_labels_of_train_or_of_all_where_there_is_no_train(rows):
    train = any(row[4] == "train" for row in rows)
    labels = {row[2] for row in rows if row[2] and not row[6] and (row[4] == "train" or not train)}
    assert made(rows).classes == tuple(sorted(labels))


@settings(deadline=None)
@given(rows=ROWS, data=st.data())
def test_the_hash_follows_every_value_and_the_order_but_not_the_place(rows, data):
    manifest = made(rows)
    assert manifest.sha256() == made(rows, "/elsewhere").sha256()
    row, column = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, 6))
    other = data.draw(ROW)[column]
    changed = [tuple(other if (r, c) == (row, column) else v for c, v in enumerate(rows[r])) for r in range(len(rows))]
    assert (made(changed).sha256() == manifest.sha256()) == (changed == rows)
    assert (made(rows[::-1]).sha256() == manifest.sha256()) == (rows[::-1] == rows)


def test_columns_of_unequal_length_and_unknown_splits_are_refused():
    with pytest.raises(InputError, match="column label has 1 rows, path has 2"):
        Manifest.from_columns(Path("."), "table", path=["a", "b"], label=["x"])
    with pytest.raises(InputError, match="split 'dev' is none of train, val, test"):
        Manifest.from_columns(Path("."), "table", path=["a"], split=["dev"])


def test_an_archive_with_splits_can_be_read_as_one_dataset(tmp_path):
    """What the splits alone speak against is no reason then: no split, a label that train lacks, a patient in two."""
    rows = "1.png,a,p,train\n2.png,b,q,test\n3.png,b,r,\n"
    (tmp_path / "labels.csv").write_text("path,label,patient,split\n" + rows)
    split = read_source("table", tmp_path)
    assert split.split_names == ("train", "test")
    assert split.usable.tolist() == [True, False, False]
    whole = read_source("table", tmp_path, ignore_splits=True)
    assert whole.split_names == ("",)
    assert whole.usable.all()
    (tmp_path / "labels.csv").write_text("path,label,patient,split\n" + rows + "4.png,a,p,test\n")
    with pytest.raises(InputError, match="or convert with --ignore-splits"):
        read_source("table", tmp_path)
    assert len(read_source("table", tmp_path, ignore_splits=True)) == 4
