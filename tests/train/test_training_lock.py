"""One run a folder at a time."""

from __future__ import annotations

import pytest

from fastrad.errors import InputError
from fastrad.train.run_folder import RunFolder


def test_a_folder_takes_one_run_at_a_time_and_keeps_no_file_of_the_lock(tmp_path):
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    first.lock()
    with pytest.raises(InputError, match="another fastrad pretrain is writing there"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()
    assert list((tmp_path / "run").iterdir()) == []
