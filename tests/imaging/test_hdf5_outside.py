"""HDF5 can place a dataset's bytes in another file: none of them becomes a pixel, and what is refused is one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastrad.archives import read_source
from fastrad.errors import InputError
from fastrad.imaging import ImageError, read_gray
from fastrad.imaging.hdf5 import hdf5_frame_count

SHAPE = (2, 4, 5)
PIXELS = np.arange(40, dtype=np.uint8).reshape(SHAPE)


def _external_storage(file: h5py.File, secret: Path) -> None:
    file.create_dataset("image", SHAPE, np.uint8, external=[(str(secret), 0, h5py.h5f.UNLIMITED)])


def _external_link(file: h5py.File, secret: Path) -> None:
    file["image"] = h5py.ExternalLink(str(_other(secret)), "/image")


def _link_over_another_file(file: h5py.File, secret: Path) -> None:
    file["away"] = h5py.ExternalLink(str(_other(secret)), "/")
    file["image"] = h5py.SoftLink("/away/image")


def _virtual_dataset(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout(shape=SHAPE, dtype=np.uint8)
    layout[:] = h5py.VirtualSource(str(_other(secret)), "image", shape=SHAPE)
    file.create_virtual_dataset("image", layout)


def _other(secret: Path) -> Path:
    path = secret.with_suffix(".hdf5")
    with h5py.File(path, "w") as file:
        file["image"] = np.frombuffer(secret.read_bytes(), np.uint8)[:40].reshape(SHAPE)
    return path


def _links_in_a_circle(file: h5py.File, secret: Path) -> None:
    file["image"], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/image")


def _group(file: h5py.File, secret: Path) -> None:
    file.create_group("image")


def _link_to_nothing(file: h5py.File, secret: Path) -> None:
    file["image"] = h5py.SoftLink("/nothing")


def _large_chunks(file: h5py.File, secret: Path) -> None:
    file.create_dataset("image", (2, 1 << 16, 1 << 15), np.uint8, chunks=(1, 1 << 16, 1 << 15), compression="gzip")


def _texts(file: h5py.File, secret: Path) -> None:
    file.create_dataset("image", SHAPE, h5py.string_dtype())


def _no_pixels(file: h5py.File, secret: Path) -> None:
    file.create_dataset("image", (2, 0, 5), np.uint8)


WAYS: dict[str, tuple[Callable[[h5py.File, Path], None], str]] = {
    "external storage": (_external_storage, "bytes lie in another file"),
    "an external link": (_external_link, "a link to another file"),
    "a soft link over an external one": (_link_over_another_file, "a link to another file"),
    "a virtual dataset": (_virtual_dataset, "bytes lie in another file"),
    "links in a circle": (_links_in_a_circle, "go in a circle"),
    "a group": (_group, "is a group"),
    "a link to nothing": (_link_to_nothing, "no dataset"),
    "chunks of 2 GB": (_large_chunks, "chunks of more than"),
    "texts": (_texts, "of numbers"),
    "no pixels": (_no_pixels, "is empty"),
}


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside of every archive."""
    path = tmp_path / "away" / "secret"
    path.parent.mkdir()
    path.write_bytes(b"a word that must not be stored as pixels in any dataset")
    return path


@pytest.mark.parametrize("way", WAYS)
def test_what_lies_outside_the_file_is_refused_in_a_line(tmp_path, secret, way):
    write, said = WAYS[way]
    path = tmp_path / "x.png"  # content decides, not the name
    with h5py.File(path, "w") as file:
        write(file, secret)
    with pytest.raises(ImageError, match=said) as refused:
        read_gray(path, frame=1)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("way", list(WAYS)[:7])  # the rest is about frames
@pytest.mark.parametrize("column", ["image", "annot_id", "frame_num"])
def test_the_cine_clips_take_no_part_of_their_index_from_elsewhere(tmp_path, secret, way, column):
    write, _ = WAYS[way]
    with h5py.File(tmp_path / "dataset.hdf5", "w") as file:
        write(file, secret)
        if way == "links in a circle":
            del file["image"], file["other"]
            file[column], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink(f"/{column}")
        else:
            file.move("image", column)
        for name, values in {"image": PIXELS, "annot_id": [b"1_", b"2_"], "frame_num": [0, 0]}.items():
            if name != column and name not in file:
                file[name] = values
    (tmp_path / "metadata.csv").write_text("annot_id,histopath_diagnosis\n1_,1\n2_,0\n")
    with pytest.raises(InputError, match=r"dataset\.hdf5: HDF5 file (whose|in which)"):
        read_source("aimi", tmp_path)


def test_links_within_the_file_are_followed(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["clips/first"] = PIXELS
        file["clips/here"] = h5py.SoftLink("./first")
        file["image"] = h5py.SoftLink("/clips/here")
    np.testing.assert_array_equal(read_gray(tmp_path / "a.h5", frame=1), PIXELS[1])
    assert hdf5_frame_count(str(tmp_path / "a.h5")) == 2


def test_an_index_of_a_thousand_million_rows_is_not_read(tmp_path):
    with h5py.File(tmp_path / "dataset.hdf5", "w") as file:
        file["image"] = PIXELS
        file.create_dataset("annot_id", (10**9,), "S4", chunks=(1 << 20,))
        file.create_dataset("frame_num", (10**9,), np.int64, chunks=(1 << 20,))
    (tmp_path / "metadata.csv").write_text("annot_id,histopath_diagnosis\n1_,1\n")
    with pytest.raises(InputError, match="has 1,000,000,000 rows"):
        read_source("aimi", tmp_path)


def test_texts_of_an_index_are_bounded_and_of_any_length(tmp_path):
    with h5py.File(tmp_path / "dataset.hdf5", "w") as file:
        file["image"], file["frame_num"] = PIXELS, [0, 0]
        file.create_dataset("annot_id", (2, 1), h5py.string_dtype(), data=[["1_"], ["x" * 10**6]])
    (tmp_path / "metadata.csv").write_text("annot_id,histopath_diagnosis\n1_,1\n2_,0\n")
    with pytest.raises(InputError, match="texts of more than 128"):
        read_source("aimi", tmp_path)
    with h5py.File(tmp_path / "dataset.hdf5", "a") as file:
        file["annot_id"][1, 0] = "2_"
    assert read_source("aimi", tmp_path).table["patient"].tolist() == ["1", "2"]


def test_a_pipe_named_as_hdf5_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "a.h5")
    with pytest.raises(ImageError, match="regular file"):
        hdf5_frame_count(str(tmp_path / "a.h5"))
