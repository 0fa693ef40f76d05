"""Exit statuses: 2 for an option that no data could make right, 1 for a failure, one clear line for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastrad.cli import COMMANDS, main


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
        main([name, "--help"])
    assert not stop.value.code
    assert "Usage: fastrad" in capsys.readouterr().out
