"""Compiled code is kept only where nobody else can put some: numba's cache holds pickles."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastrad.system.compiled import cache_folder, is_ours_alone


def test_a_folder_is_ours_alone_by_its_owner_its_mode_and_those_above_it(tmp_path):
    folder = tmp_path / "above" / "cache"
    folder.mkdir(parents=True, mode=0o700)
    assert is_ours_alone(folder)
    for mode, ours in ((0o755, True), (0o775, False), (0o777, False), (0o1777, False)):
        folder.chmod(mode)
        assert is_ours_alone(folder) is ours, oct(mode)
    folder.chmod(0o700)
    for mode, ours in ((0o777, False), (0o1777, True), (0o755, True)):  # whoever can rename it can replace it
        folder.parent.chmod(mode)
        assert is_ours_alone(folder) is ours, oct(mode)
    assert not is_ours_alone(tmp_path / "absent")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_not_ours(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    os.chown(folder, 4321, 4321)
    assert not is_ours_alone(folder)


def test_a_cache_that_others_can_write_to_is_neither_read_nor_written(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(shared))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own" / "fastrad" / "numba"
    code = "import numpy as np; from fastrad.loading.kernels.resample import look_up; o = np.zeros(3, np.uint16);"
    code += "look_up(np.array([1, 0, 2], np.uint8), np.arange(5, 261).astype(np.uint16), o); print(o.tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[6, 5, 7]\n", done.stderr
    assert list(shared.iterdir()) == []
    kept = list((tmp_path / "own").rglob("*look_up*.nbi"))
    assert kept
    assert all(Path(path).stat().st_uid == os.geteuid() for path in kept)
    (tmp_path / "own" / "fastrad" / "numba").chmod(0o777)
    assert cache_folder() is None
