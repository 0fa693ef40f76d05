"""An opened dataset as PyTorch's DataLoader takes it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import fastrad
from fastrad.archives.manifest import Manifest
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset import BetonFile
from fastrad.dataset.tar.shards import ShardSet
from fastrad.errors import DamagedSampleError

COUNT, SIDE = 23, 32


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIDE, SIDE), dtype=np.uint8)


@pytest.fixture(scope="module", params=["beton", "webdataset"])
def path(request, tmp_path_factory, images) -> Path:
    import cv2

    root = tmp_path_factory.mktemp("archive")
    for number, image in enumerate(images):
        cv2.imwrite(str(root / f"{number}.png"), image)
    names = [f"{number}.png" for number in range(COUNT)]
    manifest = Manifest.from_columns(root, "table", path=names, label=["ab"[number % 2] for number in range(COUNT)])
    out = tmp_path_factory.mktemp("out")
    encode = "raw" if request.param == "beton" else "png"
    convert(manifest, out, ConvertOptions(size=SIDE, workers=1, format=request.param, encode=encode, shard_bytes=9000))
    return out / ("all.beton" if request.param == "beton" else "all.card.json")


def test_each_sample_is_image_label_and_row(path, images):
    dataset = fastrad.Dataset(path)
    assert isinstance(dataset, BetonFile if path.suffix == ".beton" else ShardSet)
    assert isinstance(dataset, fastrad.Dataset)
    assert len(dataset) == COUNT
    for index in (0, 7, COUNT - 1, -1, np.int64(3), torch.tensor(4)):
        image, label, row = dataset[index]
        place = int(index) % COUNT
        assert image.dtype == np.uint8
        assert np.array_equal(image, images[place][None])
        assert (label, row) == (place % 2, place)
    image[:] = 0  # the caller's own
    assert np.array_equal(dataset[4][0], images[4][None])
    with pytest.raises(IndexError, match="holds 23 samples"):
        dataset[COUNT]
    assert [row for _, _, row in dataset] == list(range(COUNT))


@pytest.mark.parametrize("context", [None, "fork", "forkserver"])
def test_a_dataloader_delivers_every_sample_once(path, images, context):
    dataset = fastrad.Dataset(path)
    dataset[0]  # opens a tar, which a fork takes over
    workers = {} if context is None else {"num_workers": 2, "multiprocessing_context": context}
    batches = list(DataLoader(dataset, batch_size=5, shuffle=True, **workers))
    rows = torch.cat([rows for _, _, rows in batches])
    assert sorted(rows.tolist()) == list(range(COUNT))
    assert torch.equal(torch.cat([each for each, _, _ in batches]), torch.from_numpy(images[rows.numpy()])[:, None])


def _halved(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image[::2, ::2] / np.float32(255))[None]


def test_a_transform_stands_in_the_images_place_and_survives_pickling(path, images):
    dataset = pickle.loads(pickle.dumps(fastrad.Dataset(path, transform=_halved)))
    found = dataset[2][0]
    assert torch.equal(found, torch.from_numpy(images[2][::2, ::2] / np.float32(255))[None])


def test_a_pickled_dataset_holds_no_images(path):
    assert len(pickle.dumps(fastrad.Dataset(path))) < 500


def test_a_damaged_sample_raises_with_its_row(tmp_path, images):
    from fastrad.dataset import write_beton

    write_beton(tmp_path / "a.beton", images, np.zeros(COUNT, np.int64), rows=np.arange(100, 100 + COUNT))
    offset = int(BetonFile(tmp_path / "a.beton").offsets[3])
    with open(tmp_path / "a.beton", "r+b") as file:
        file.seek(offset + 5)
        byte = file.read(1)[0]
        file.seek(offset + 5)
        file.write(bytes([byte ^ 1]))
    dataset = fastrad.Dataset(tmp_path / "a.beton")
    dataset[2]
    with pytest.raises(DamagedSampleError, match="row 103"):
        dataset[3]
