"""Files that are none, or too large: one line, no hang, nothing read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from fastrad.archives import read_source
from fastrad.dataset.pseudonym import read_key
from fastrad.errors import FastradError, InputError
from fastrad.system.csv_file import read_csv
from fastrad.system.reading import open_regular, read_whole
from fastrad.train.checkpoint import newest_checkpoint, read_checkpoint
from fastrad.train.config import load_recipe


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _loop(path: Path) -> None:
    path.symlink_to(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


def _terabyte(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(1 << 40)


KINDS = (_pipe, _device, _loop, _folder, _socket, _terabyte)
READERS: dict[str, Callable[[Path], object]] = {
    "table.csv": lambda path: read_csv(path, ["a"]),
    "pseudonym.key": read_key,
    "recipe.toml": lambda path: load_recipe(str(path)),
    "step-000000001.ckpt": read_checkpoint,
}


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("name", READERS)
@pytest.mark.timeout(60)
def test_what_is_no_regular_file_is_refused_in_a_line(tmp_path, monkeypatch, name, make):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    make(Path(name))
    with pytest.raises(FastradError, match=rf"{name}: ") as refused:
        READERS[name](tmp_path / name)
    assert "\n" not in str(refused.value)


@pytest.mark.timeout(60)
def test_a_checkpoint_that_is_no_file_is_passed_over(tmp_path):
    _pipe(tmp_path / "step-000000001.ckpt")
    content, refused = newest_checkpoint(tmp_path, {})
    assert content is None
    assert "pipe" in refused[0]


def test_a_file_that_grows_beyond_its_limit_is_not_taken_for_whole(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_whole(tmp_path / "a", 5, "a word") == b"12345"
    with pytest.raises(InputError, match="more than the 4 B that a word may have"):
        read_whole(tmp_path / "a", 4, "a word")
    with pytest.raises(InputError, match="more than the 4 B"):  # no size is stated
        read_whole("/proc/version", 4, "a word")
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "b")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path,label,patient\na.png,x," + "1" * 3_000_000 + "\n", "a line of more than"),
        ("path,label,patient\na.png,x" + "," * 3_000_000 + "\n", "a line of more than"),
        ("path,label,patient\n" + "a.png,x,1\n" * 10 + 'a.png,"' + "long\n" * 200_000 + '",1\n', "field larger than"),
        ("path,label,patient," + ",".join(map(str, range(20_000))) + "\na.png,x,1\n", "20,003 columns"),
    ],
    ids=["cell", "fields", "quoted", "header"],
)
def test_lines_cells_and_columns_of_a_table_are_bounded(tmp_path, text, said):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=said) as refused:
        read_source("table", tmp_path)
    assert len(str(refused.value)) < 500


@pytest.mark.timeout(60)
def test_a_row_that_is_no_file_costs_that_row(tmp_path, monkeypatch):
    """Pipes, folders, loops and a path through a file: listed with a reason, the rest converted, no worker left."""
    import cv2
    import numpy as np
    import psutil

    from fastrad.convert.run import ConvertOptions, convert

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = tmp_path / "root"
    root.mkdir()
    cv2.imwrite(str(root / "x.png"), np.full((8, 8), 7, np.uint8))
    _pipe(root / "pipe.png")
    _pipe(root / "pipe.dcm")
    _pipe(root / "pipe.h5")
    _folder(root / "folder.png")
    _loop(root / "loop.png")
    names = ["x.png", "x.png/..", "x.png/.", "x.png/y.png", "pipe.png", "pipe.dcm", "pipe.h5", "folder.png", "loop.png"]
    names += ["", ".", "/", "..", "a" * 5000, "\u202e.png", "x.png\u0000"[:5] + "x"]
    lines = "".join(f"{name},{'ab'[k % 2]},{k}\n" for k, name in enumerate(names))
    (root / "labels.csv").write_text("path,label,patient\n" + lines, "utf-8")
    before = set(psutil.Process().children(recursive=True))
    (file,) = convert(read_source("table", root), tmp_path / "out", ConvertOptions(size=8, workers=2)).files
    assert file.card.samples == 1
    assert {entry["row"] for entry in file.card.quarantined} == set(range(1, len(names)))
    left = [child for child in psutil.Process().children(recursive=True) if child not in before]
    assert all("forkserver" in " ".join(child.cmdline()) or "resource" in " ".join(child.cmdline()) for child in left)


def test_a_tensor_is_no_mapping():
    """It has `__getitem__` and no `keys`: a checkpoint may hold one anywhere."""
    import torch

    from fastrad.errors import FormatError
    from fastrad.system.json_file import convert

    with pytest.raises(FormatError, match="a value of a kind that has no place there"):
        convert(torch.zeros(3), dict[str, float], "a", "copy it again")
