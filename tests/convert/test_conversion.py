"""Every usable image is stored as it is; everything else is named."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastrad.archives import read_source
from fastrad.archives.manifest import Manifest
from fastrad.convert.run import ConvertOptions, convert, preview
from fastrad.dataset import BetonFile, GrayscaleImageField, write_beton
from fastrad.errors import InputError

WHOLE = ConvertOptions(workers=1)


def test_every_pixel_label_patient_and_row_is_stored(archive, tmp_path, small_chunks):
    manifest = archive(100)
    summary = convert(manifest, tmp_path / "out", WHOLE)
    file = BetonFile(tmp_path / "out" / "all.beton")
    assert [Path(entry.path).name for entry in summary.files] == ["all.beton"]
    assert file.rows.tolist() == list(range(100))
    values = []
    for index, path in enumerate(manifest.table["path"]):
        pixels = np.asarray(Image.open(manifest.root / path))
        assert np.array_equal(file.decode(index), pixels)
        file.check(index)
        values.append(pixels)
    assert [file.card.classes[label] for label in file.labels] == manifest.table["label"].tolist()
    assert file.patients.tolist() == [index // 2 for index in range(100)]
    scaled = np.stack(values) / 255
    assert file.card.mean == pytest.approx(scaled.mean(), abs=1e-12)
    assert file.card.std == pytest.approx(scaled.std(), abs=1e-12)


@pytest.mark.parametrize("encode", ["raw", "jpeg"])
def test_bytes_are_those_of_the_plain_writer(archive, tmp_path, encode):
    manifest = archive(100)
    options = ConvertOptions(encode=encode, keep_patient_ids=True, workers=2)
    (file,) = convert(manifest, tmp_path / "out", options).files
    images = np.stack([np.asarray(Image.open(manifest.root / path)) for path in manifest.table["path"]])
    plain = write_beton(
        tmp_path / "plain.beton",
        images,
        np.arange(100) % 3,
        np.arange(100) // 2,
        encode=encode,
        page_size=file.card.parameters["page_size"],
    )
    assert Path(file.path).read_bytes() == (tmp_path / "plain.beton").read_bytes()
    assert file.card.hashes == plain.hashes
    assert len(plain.hashes["pages"]) == (3 if encode == "raw" else 1)


def test_mean_and_std_leave_the_padding_out(archive, tmp_path):
    convert(archive(6, height=112, width=224), tmp_path / "out", WHOLE)
    file = BetonFile(tmp_path / "out" / "all.beton")
    inner = np.stack([file.decode(index)[56:168] for index in range(6)]) / 255
    assert not any(file.decode(index)[:56].any() for index in range(6))
    assert file.card.mean == pytest.approx(inner.mean(), abs=1e-12)
    assert file.card.std == pytest.approx(inner.std(), abs=1e-12)


def test_splits_become_files_with_the_same_class_indices(archive, tmp_path):
    manifest = archive(30)
    table = manifest.table.copy()
    table["split"] = ["train"] * 20 + ["val"] * 4 + ["test"] * 6
    table.loc[21:23, "label"] = "class2"
    summary = convert(replace(manifest, table=table), tmp_path / "out", WHOLE)
    assert [Path(entry.path).name for entry in summary.files] == ["train.beton", "val.beton", "test.beton"]
    val = BetonFile(tmp_path / "out" / "val.beton")
    assert val.card.classes == ["class0", "class1", "class2"]
    assert [val.card.classes[label] for label in val.labels] == table["label"][20:24].tolist()
    assert sum(len(BetonFile(entry.path)) for entry in summary.files) == 30


def test_damaged_and_missing_images_are_quarantined_and_named(archive, tmp_path, small_chunks):
    manifest = archive(60)
    paths = [manifest.root / path for path in manifest.table["path"]]
    paths[3].write_bytes(paths[3].read_bytes()[:400])
    paths[41].write_text("this is no picture")
    paths[50].unlink()
    summary = convert(manifest, tmp_path / "out", WHOLE)
    file = BetonFile(summary.files[0].path)
    assert [entry["row"] for entry in file.card.quarantined] == [3, 41, 50]
    assert file.rows.tolist() == [row for row in range(60) if row not in (3, 41, 50)]
    assert sum(file.card.class_counts.values()) == len(file) == 57
    assert "no such file" in file.card.quarantined[2]["reason"]
    for index, row in enumerate(file.rows):
        assert np.array_equal(file.decode(index), np.asarray(Image.open(paths[row])))


def test_no_patient_id_reaches_an_output(archive, tmp_path):
    manifest = archive(6)
    (manifest.root / manifest.table["path"][4]).unlink()
    convert(manifest, tmp_path / "out", WHOLE)
    text = (tmp_path / "out" / "all.card.json").read_text()
    card = json.loads(text)
    expected = [hashlib.blake2b(f"p000{n}".encode(), key=b"\xab" * 32, digest_size=8).hexdigest() for n in range(3)]
    assert card["patients"] == expected
    assert card["quarantined"] == [{"row": 4, "reason": "no such file"}]
    assert "p000" not in text
    assert str(tmp_path) not in text


def test_patient_ids_are_kept_on_demand(archive, tmp_path):
    convert(archive(6), tmp_path / "out", ConvertOptions(workers=1, keep_patient_ids=True))
    card = BetonFile(tmp_path / "out" / "all.beton").card
    assert (card.patient_ids, card.patients) == ("kept", ["p0000", "p0001", "p0002"])


def test_unlabelled_rows_are_counted_and_left_out(archive, tmp_path):
    manifest = archive(10)
    table = manifest.table.copy()
    table.loc[[4, 5, 6], "label"] = ""
    table.loc[[8], "reason"] = "its label is excluded"
    convert(replace(manifest, table=table), tmp_path / "out", WHOLE)
    card = BetonFile(tmp_path / "out" / "all.beton").card
    assert card.unlabelled == {"count": 3, "patients": 2, "rows": [4, 5, 6]}
    assert [(entry["row"], entry["reason"]) for entry in card.quarantined] == [(8, "its label is excluded")]
    assert card.samples == 6


def test_jpeg_is_smaller_and_close(archive, tmp_path):
    manifest = archive(50)
    convert(manifest, tmp_path / "out", ConvertOptions(encode="jpeg", quality=95, workers=1))
    file = BetonFile(tmp_path / "out" / "all.beton")
    assert file.encoding == "jpeg"
    assert file.sizes.max() < 224 * 224 / 2
    for index, path in enumerate(manifest.table["path"]):
        file.check(index)
        difference = file.decode(index).astype(int) - np.asarray(Image.open(manifest.root / path))
        assert np.abs(difference).mean() < 2


def test_a_box_and_a_window_reach_the_pixels(tmp_path):
    root = tmp_path / "archive"
    root.mkdir()
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 10
    Image.fromarray(values).save(root / "deep.png")
    manifest = Manifest.from_columns(root, "table", path=["deep.png"], label=["a"], box=[(8, 16, 40, 48)])
    convert(manifest, tmp_path / "out", ConvertOptions(size=32, window=(10000.0, 30000.0), workers=1))
    stored = BetonFile(tmp_path / "out" / "all.beton").decode(0)
    expected = np.clip((values[16:48, 8:40].astype(float) - 10000) / 20000, 0, 1) * 255
    assert np.abs(stored - expected).max() <= 0.5 + 1e-9


def test_a_split_without_usable_rows_gets_no_file(archive, tmp_path):
    manifest = archive(6)
    table = manifest.table.copy()
    table["split"] = ["train"] * 5 + ["val"]
    table.loc[5, "reason"] = "its label does not occur in train"
    summary = convert(replace(manifest, table=table), tmp_path / "out", WHOLE)
    assert summary.empty_splits == ("val",)
    assert not (tmp_path / "out" / "val.beton").exists()


def test_nothing_usable_is_one_clear_line_and_no_file(archive, tmp_path):
    manifest = archive(4)
    for path in manifest.table["path"]:
        (manifest.root / path).write_bytes(b"")
    with pytest.raises(InputError, match="none of the 4 images of all could be stored"):
        convert(manifest, tmp_path / "out", WHOLE)
    assert not list((tmp_path / "out").glob("*.beton"))
    unlabelled = manifest.table.assign(label="")
    with pytest.raises(InputError, match="none of 4 images has a label"):
        convert(replace(manifest, table=unlabelled), tmp_path / "out", WHOLE)


@pytest.mark.parametrize("path", ["../secret.png", "/etc/secret.png", "a/../../secret.png"])
def test_a_path_that_leaves_the_root_is_refused(tmp_path, path):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "secret.png")
    (tmp_path / "archive").mkdir()
    manifest = Manifest.from_columns(tmp_path / "archive", "table", path=[path], label=["a"])
    with pytest.raises(InputError, match="row 0 leaves this folder"):
        convert(manifest, tmp_path / "out", WHOLE)


def test_the_key_must_lie_outside_the_output(archive, tmp_path):
    inside = ConvertOptions(workers=1, pseudonym_key=tmp_path / "out" / "key")
    with pytest.raises(InputError, match="outside the output"):
        convert(archive(2), tmp_path / "out", inside)


def test_preview_knows_the_exact_size_of_raw_files(archive, tmp_path, small_chunks):
    manifest = archive(100)
    expected = preview(manifest, tmp_path / "out", WHOLE)
    assert not (tmp_path / "out").exists()
    convert(manifest, tmp_path / "out", WHOLE)
    assert expected.bytes_needed == (tmp_path / "out" / "all.beton").stat().st_size


def test_preview_says_which_files_are_not_there(archive, tmp_path):
    manifest = archive(20)
    for row in (3, 17):
        (manifest.root / manifest.table["path"][row]).unlink()
    found = preview(manifest, tmp_path / "out", WHOLE)
    assert found.absent == {"all": [3, 17]}
    assert "all: the files of 2 rows are not there (rows 3, 17)" in found.to_text()
    assert found.to_dict()["files"][0]["absent_rows"] == [3, 17]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"size": 0}, "size 0"),
        ({"fit": "stretch"}, "fit 'stretch'"),
        ({"encode": "png"}, "encode 'png'"),
        ({"quality": 101}, "quality 101"),
        ({"window": (5.0, 5.0)}, "window"),
        ({"workers": 0}, "workers 0"),
    ],
)
def test_impossible_options_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        ConvertOptions(**wrong)


@pytest.mark.slow
def test_the_mini_archive_loses_nothing(mini_root: Path, tmp_path):
    """12,131 real images at size 64, against PIL; the ultrasound frames against an area average of our own."""
    from fastrad.archives import read_source

    manifest = read_source("radimagenet", mini_root)
    summary = convert(manifest, tmp_path / "out", ConvertOptions(size=64))
    assert [entry.card.samples for entry in summary.files] == [10_796, 485, 850]
    for entry in summary.files:
        file = BetonFile(entry.path)
        assert (len(file.card.classes), file.card.quarantined) == (5, [])
        for index, row in enumerate(file.rows):
            pixels = np.asarray(Image.open(mini_root / manifest.table["path"][row]).convert("L"))
            if pixels.shape != (64, 64):
                pixels = padded_area_average(pixels, 64)
            assert np.abs(file.decode(index).astype(int) - pixels).max() <= (
                1 if "US/" in manifest.table["path"][row] else 0
            )


def padded_area_average(pixels: np.ndarray, size: int) -> np.ndarray:
    """Each output pixel is the mean of the area that it covers, by matrices of overlaps; black above and below."""

    def overlaps(length: int, target: int) -> np.ndarray:
        edges = np.arange(target + 1) * length / target
        cells = np.arange(length)
        return np.clip(np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells), 0, None) / (
            length / target
        )

    height, width = pixels.shape
    longer = max(height, width)
    new_height, new_width = round(height * size / longer), round(width * size / longer)
    shrunk = overlaps(height, new_height) @ pixels.astype(float) @ overlaps(width, new_width).T
    whole = np.zeros((size, size))
    top, left = (size - new_height) // 2, (size - new_width) // 2
    whole[top : top + new_height, left : left + new_width] = shrunk
    return np.round(whole).astype(int)


def test_a_split_of_which_nothing_can_be_stored_does_not_keep_the_others_from_being_finished(tmp_path):
    rows = "".join(
        f"{split}{k}.png,{'ab'[k]},p{split}{k},{split}\n" for split in ("train", "val", "test") for k in (0, 1)
    )
    (tmp_path / "labels.csv").write_text("path,label,patient,split\n" + rows)
    for name in ("train0", "train1", "test0", "test1"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match="none of the 2 images of val could be stored"):
        convert(read_source("table", tmp_path), tmp_path / "out", ConvertOptions(size=8, workers=1))
    assert sorted(path.name for path in (tmp_path / "out").glob("*.beton")) == ["test.beton", "train.beton"]


def test_rows_of_a_split_that_gets_no_file_are_said(tmp_path):
    rows = "1.png,a,p,train\n2.png,b,q,train\n3.png,other,r,val\n"
    (tmp_path / "labels.csv").write_text("path,label,patient,split\n" + rows)
    for name in "123":
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / f"{name}.png")
    summary = convert(read_source("table", tmp_path), tmp_path / "out", ConvertOptions(size=8, workers=1))
    assert summary.empty_splits == ("val",)
    assert any(notice.startswith("val: 1 rows left out: ") for notice in summary.notices)


@pytest.mark.parametrize("encode", ["raw", "jpeg"])
def test_a_few_images_take_little_room_and_stock_ffcv_reads_them(archive, tmp_path, encode):
    loader = pytest.importorskip("ffcv.loader")
    manifest = archive(14)
    convert(manifest, tmp_path / "out", ConvertOptions(size=48, workers=1, encode=encode))
    path = tmp_path / "out" / "all.beton"
    assert path.stat().st_size < 500_000
    stored = BetonFile(path)
    for os_cache in (True, False):
        batches = loader.Loader(
            str(path),
            batch_size=7,
            num_workers=1,
            os_cache=os_cache,
            order=loader.OrderOption.SEQUENTIAL,
            custom_fields={"image": GrayscaleImageField},
        )
        got = np.concatenate([np.asarray(batch[0]).reshape(7, 48, 48) for batch in batches])
        assert np.array_equal(got, np.stack([stored.decode(index) for index in range(14)]))
