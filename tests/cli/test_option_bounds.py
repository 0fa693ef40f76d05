"""Options beyond any sense: said at once, with status 2, before anything is opened."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from fastrad.cli import main

DATASET = "nothing.beton"
WORDS = [
    *(["convert", "folder", "ROOT", "OUT", "--scheduler", address] for address in ("x", "x:y", "tcp://", "", "http://a:1")),
    *(["convert", "folder", "ROOT", "OUT", "--format", "webdataset", "--shard-size", size]
      for size in ("1" + "0" * 27, "9" * 400, "0", "1e9999GB", "-1")),
    *(["convert", "folder", "ROOT", "OUT", option, "9" * 30] for option in ("--size", "--workers", "--quality")),
    *(["convert", "ddti", "ROOT", "OUT", "--crop", "nodule", "--margin", value] for value in ("nan", "inf", "1e300")),
    *(["pretrain", DATASET, "--val", DATASET, "--out", "OUT", option, value]
      for option, value in (("--epochs", "1" + "0" * 18), ("--size", "1000000"), ("--lr", "inf"),
                            ("--batch-size", "1" + "0" * 12), ("--lr", "nan"), ("--workers", "1" + "0" * 9),
                            ("--seed", "1" + "0" * 30))),
    *(["compare", DATASET, "--out", "OUT", "--radimagenet", "w", option, value]
      for option, value in (("--seeds", "1" + "0" * 18), ("--seed", "1" + "0" * 30))),
    *(["doctor", "job", option, "1" + "0" * 30] for option in ("--images", "--epochs")),
]  # fmt: skip


@pytest.mark.parametrize("words", WORDS, ids=lambda words: " ".join(words)[:60])
def test_values_beyond_any_sense_are_wrong_usage(tmp_path: Path, words, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("ROOT").mkdir()
    begun = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert time.monotonic() - begun < 20
    assert "Traceback" not in capsys.readouterr().err
    assert not Path("OUT").exists()


@pytest.mark.parametrize("value", [10**18, -1, 0])
def test_a_study_is_tuned_within_bounds(value):
    from fastrad.errors import OptionError
    from fastrad.study.protocol.config import Tuning

    for name in ("epochs", "size", "batch_size", "patience"):
        with pytest.raises(OptionError, match=name):
            Tuning(**{name: value})
