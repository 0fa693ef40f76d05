"""Exit statuses: 2 for an option that no data could make right, 1 for a failure, one clear line for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastrad.cli import COMMANDS, main
from fastrad.dataset import write_beton


def _run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return int(stop.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["--size", "0"],
        ["--workers", "0"],
        ["--window", "3"],
        ["--window", "30,3"],
        ["--window", "nan,3"],
        ["--encode", "jpeg", "--quality", "0"],
        ["--quality", "30"],
        ["--encode", "png"],
        ["--shard-size", "many"],
        ["--no-such-option"],
    ],
)
def test_a_wrong_option_of_convert_exits_2(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, error = _run(["convert", "radimagenet", str(tmp_path), str(tmp_path / "out"), *words], capsys)
    assert status == 2
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_an_option_of_another_layout_exits_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["convert", "thyroid", str(tmp_path), str(tmp_path / "out"), "--layout", "table", "--crop", "nodule"]
    status, error = _run(words, capsys)
    assert status == 2
    assert "crop" in error


def test_a_missing_folder_exits_1_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, error = _run(["convert", "radimagenet", str(tmp_path / "none"), str(tmp_path / "out")], capsys)
    assert status == 1
    assert error.count("\n") == 1
    assert "none" in error


def test_debug_keeps_the_traceback(tmp_path: Path) -> None:
    from fastrad.errors import InputError

    with pytest.raises(InputError):
        main(["convert", "radimagenet", str(tmp_path / "none"), str(tmp_path / "out"), "--debug"])


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_listed_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*name.split(), "--help"])
    assert not stop.value.code
    assert "Usage: fastrad" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "thyroid", "{}", "{}/o", "--layout", "ddti", "--margin", "0.3"],
        ["convert", "thyroidxl", "{}", "{}/o", "--margin", "0.3"],
        ["convert", "ddti", "{}", "{}/o", "--crop", "nodule", "--margin", "11"],
        ["convert", "table", "{}", "{}/o", "--frames", "every:0"],
        ["convert", "thyroid", "{}", "{}/o", "--layout", "table", "--shard-size", "1MB"],
        ["convert", "thyroid", "{}", "{}/o", "--layout", "table", "--keep-patient-ids", "--pseudonym-key", "{}/k"],
        ["convert", "thyroid", "{}", "{}/o", "--layout", "table", "--window", "0,inf"],
        ["convert", "thyroid", "{}", "", "--layout", "folder"],
        ["convert", "thyroid", "{}", "{}/o", "--layout", "table", "--columns", "foo=bar"],
        ["convert", "thyroid", "{}", "{}/o", "--layout", "table", "--labels", "malignant=x", "benign=x"],
        ["convert", "phantom", "{}/o", "--kind", "thyroid", "--images", "0"],
        ["verify", "{}", "--table", "{}/labels.csv"],
        ["inspect", "{}/a.beton", "--sheet", "{}/a.beton"],
        ["inspect", "{}/a.beton", "--sheet", "{}/sheet.jpg"],
    ],
)
def test_options_that_could_do_nothing_or_harm_are_wrong_usage(words, tmp_path, capfd):
    (tmp_path / "labels.csv").write_text("path,label,patient\n1.png,a,P1\n")
    (tmp_path / "1.png").write_bytes(b"")
    write_beton(tmp_path / "a.beton", np.zeros((2, 8, 8), np.uint8), [0, 0])
    before = (tmp_path / "a.beton").read_bytes()
    with pytest.raises(SystemExit) as ended:
        main([word.format(tmp_path) for word in words])
    assert ended.value.code == 2, capfd.readouterr().err
    assert (tmp_path / "a.beton").read_bytes() == before
