"""Folders with what no archive should hold: listed or counted, never the end of the walk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastrad.errors import InputError
from fastrad.imaging.walk import walk_images


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user can come to."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_links_that_point_at_each_other_pipes_and_dead_links_do_not_end_a_walk(tmp_path):
    for name in ("loop", "loop.png", "loop.dcm"):
        (tmp_path / name).symlink_to(name)
    (tmp_path / "to").symlink_to("fro")
    (tmp_path / "fro").symlink_to("to")
    (tmp_path / "dead").symlink_to("nowhere")
    (tmp_path / "above").symlink_to("..")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.png").touch()
    found = walk_images(tmp_path)
    assert found.paths == ("a.png", "loop.dcm", "loop.png")
    assert any("5 files are no images" in note for note in found.notes)
    assert any("1 linked folders were not followed" in note for note in found.notes)


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Where the tests run as root, who may read everything, they go on as another user."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        yield


def test_a_folder_that_may_not_be_read_is_counted_and_root_is_named(open_folder, request):
    (open_folder / "closed").mkdir()
    (open_folder / "closed" / "b.png").touch()
    (open_folder / "a.png").touch()
    os.chmod(open_folder / "closed", 0o000)
    request.getfixturevalue("as_nobody")
    found = walk_images(open_folder)
    assert found.paths == ("a.png",)
    assert found.notes == ("1 folders may not be read, and what is in them was left out",)
    with pytest.raises(InputError, match="cannot be listed"):
        walk_images(open_folder / "closed")
