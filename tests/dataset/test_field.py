"""FFCV as it is installed reads and writes one-channel images through `GrayscaleImageField`."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from fastrad.dataset import BetonFile, write_beton

ffcv_installed = importlib.util.find_spec("ffcv") is not None
pytestmark = pytest.mark.skipif(not ffcv_installed, reason="FFCV is not installed")


def smooth(count: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    waves = np.sin(np.arange(32)[None, :, None] * rng.uniform(0.05, 0.4, (count, 1, 1)))
    return (127 + 100 * waves * np.cos(np.arange(24)[None, None, :] * 0.2)).astype(np.uint8)


@pytest.mark.parametrize(("encode", "workers", "os_cache"), [("raw", 2, True), ("jpeg", 1, False), ("jpeg", 2, True)])
def test_stock_loader_yields_every_stored_sample(tmp_path, encode, workers, os_cache):
    import ffcv
    from ffcv.loader import OrderOption

    from fastrad.dataset import GrayscaleImageField

    path = tmp_path / "x.beton"
    write_beton(path, smooth(21), np.arange(21) % 3, np.arange(21) % 5, encode=encode, page_size=1 << 14)
    file = BetonFile(path)
    loader = ffcv.Loader(
        str(path),
        batch_size=8,
        num_workers=workers,
        os_cache=os_cache,
        order=OrderOption.RANDOM,
        drop_last=False,
        custom_fields={"image": GrayscaleImageField},
    )
    seen = []
    for images, labels, patients, rows, crc32 in loader:
        assert images.shape[1:] == (32, 24, 1)
        for k, row in enumerate(rows[:, 0].tolist()):
            seen.append(row)
            assert np.array_equal(images[k, :, :, 0].numpy(), file.decode(row))
            assert (labels[k], patients[k], crc32[k]) == (row % 3, row % 5, file.crc32[row])
    assert sorted(seen) == list(range(21))


def test_undecodable_jpeg_is_black_and_said(tmp_path, capfd):
    import ffcv

    from fastrad.dataset import GrayscaleImageField

    path = tmp_path / "x.beton"
    write_beton(path, smooth(4), [0, 1, 2, 3], encode="jpeg", page_size=1 << 14)
    file = BetonFile(path)
    with open(path, "r+b") as stream:
        stream.seek(int(file.offsets[2]))
        stream.write(b"no picture")
    loader = ffcv.Loader(str(path), batch_size=4, num_workers=1, custom_fields={"image": GrayscaleImageField})
    (images, labels, *_rest) = next(iter(loader))
    assert labels[:, 0].tolist() == [0, 1, 2, 3]
    assert not images[2].any()
    assert np.array_equal(images[3, :, :, 0].numpy(), file.decode(3))
    assert "sample 2 cannot be decoded" in capfd.readouterr().err


def test_stock_writer_accepts_the_field(tmp_path):
    import ffcv
    from ffcv.fields import IntField

    from fastrad.dataset import GrayscaleImageField

    class Pairs:
        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            return smooth(6)[index], index

    path = str(tmp_path / "theirs.beton")
    fields = {"image": GrayscaleImageField("raw", 32, 24), "label": IntField()}
    ffcv.DatasetWriter(path, fields, num_workers=1).from_indexed_dataset(Pairs())
    loader = ffcv.Loader(path, batch_size=6, num_workers=1, custom_fields={"image": GrayscaleImageField})
    images, labels = next(iter(loader))
    assert np.array_equal(images[..., 0].numpy(), smooth(6)[labels[:, 0].numpy()])


@pytest.mark.slow
def test_torch_keeps_its_threads():
    program = (
        "import torch; torch.set_num_threads(3); from fastrad.dataset import GrayscaleImageField;"
        "assert torch.get_num_threads() == 3, torch.get_num_threads()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_storage_is_read_without_torch_or_ffcv():
    program = (
        "import sys; import fastrad.dataset; assert not {'torch', 'ffcv', 'pandas', 'numba', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
