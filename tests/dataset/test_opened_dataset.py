"""An opened dataset is the same to its reader whatever its format, and the same image is the same decoded pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from fastrad import Loader
from fastrad.archives.manifest import Manifest
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset.opening import open_dataset, reopened
from fastrad.dataset.pixels import pixel_digest, stored_digests

COUNT, SIDE = 12, 40
FORMATS = {
    "raw": {"format": "beton", "encode": "raw"},
    "jpeg": {"format": "beton", "encode": "jpeg"},
    "png shards": {"format": "webdataset", "encode": "png"},
}


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """One archive in each format: the paths, and the pictures; images 3 and 7 are the same picture."""
    root = tmp_path_factory.mktemp("archive")
    pictures = np.random.default_rng(0).integers(0, 255, (COUNT, SIDE, SIDE), dtype=np.uint8)
    pictures[7] = pictures[3]
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(root / f"{number:02d}.png"), picture)
    manifest = Manifest.from_columns(
        root,
        "table",
        path=[f"{number:02d}.png" for number in range(COUNT)],
        label=["benign", "malignant", "malignant"] * (COUNT // 3),
        patient=[f"P{number // 2}" if number else "" for number in range(COUNT)],
    )
    paths = {}
    for name, options in FORMATS.items():
        out = root.parent / f"out-{name.replace(' ', '-')}-{root.name}"
        convert(manifest, out, ConvertOptions(size=SIDE, workers=1, keep_patient_ids=True, **options))
        paths[name] = out / ("all.beton" if options["format"] == "beton" else "all.card.json")
    return paths, pictures


@pytest.mark.parametrize("name", FORMATS)
def test_labels_patients_and_rows_are_those_of_the_archive(converted, name):
    dataset = open_dataset(converted[0][name])
    classes = np.array(dataset.card.classes)[dataset.labels]
    assert classes.tolist() == ["benign", "malignant", "malignant"] * (COUNT // 3)
    patients = [dataset.card.patients[index] if index >= 0 else "" for index in dataset.patients]
    assert patients == [f"P{number // 2}" if number else "" for number in range(COUNT)]
    assert dataset.rows.tolist() == list(range(COUNT))
    assert len(dataset) == COUNT
    assert dataset.frame == (SIDE, SIDE)


@pytest.mark.parametrize("name", FORMATS)
def test_the_stored_bytes_are_what_decode_decodes(converted, name):
    dataset = open_dataset(converted[0][name])
    for index in range(COUNT):
        dataset.check(index)
        stored = dataset.image_bytes(index)
        picture = stored.reshape(SIDE, SIDE) if name == "raw" else cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(dataset.decode(index), picture)
        assert len(stored) == dataset.sizes[index]


def test_the_same_picture_has_one_digest_in_every_lossless_format(converted):
    paths, pictures = converted
    raw, png, jpeg = (stored_digests(open_dataset(paths[name]))[0] for name in ("raw", "png shards", "jpeg"))
    assert raw == png == [pixel_digest(picture) for picture in pictures]
    for digests in (raw, jpeg):
        assert digests[3] == digests[7]
        assert len(set(digests)) == COUNT - 1
    assert not set(raw) & set(jpeg)


def test_a_digest_tells_shapes_apart():
    pixels = np.arange(24, dtype=np.uint8)
    assert pixel_digest(pixels.reshape(4, 6)) != pixel_digest(pixels.reshape(6, 4))
    assert pixel_digest(pixels.reshape(4, 6)) == pixel_digest(np.asfortranarray(pixels.reshape(4, 6)))


@pytest.mark.parametrize("name", FORMATS)
def test_a_loader_takes_the_opened_dataset(converted, name):
    path = converted[0][name]
    ours, theirs = (
        [batch.images for batch in Loader(given, 5, size=SIDE, train=False)] for given in (open_dataset(path), path)
    )
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_a_worker_opens_a_dataset_once_and_anew_where_it_was_written_anew(converted, tmp_path):
    path = converted[0]["raw"]
    assert reopened(path) is reopened(path)
    for file in path.parent.glob("all.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    first = reopened(tmp_path / "all.beton")
    (tmp_path / "new").write_bytes((tmp_path / "all.beton").read_bytes())
    (tmp_path / "new").replace(tmp_path / "all.beton")
    assert reopened(tmp_path / "all.beton") is not first
