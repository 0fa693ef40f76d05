"""Commands on damaged files: status 1 and one line on stderr, whatever the damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutations import damaged, damaged_text

from fastrad.cli import main
from fastrad.dataset import Card


def _fails_with_one_line(words: list[str], capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 1, name
    last = capsys.readouterr().err.rstrip("\n").splitlines()[-1]
    assert last.startswith("fastrad: "), f"{name}: {last}"


def test_looking_at_damaged_files_fails_with_one_line(small_raw_beton: Path, seed, capsys):
    whole, card = small_raw_beton.read_bytes(), Card.path_for(small_raw_beton)
    for name, content in damaged(whole, seed, 12):
        small_raw_beton.write_bytes(content)
        _fails_with_one_line(["verify", str(small_raw_beton)], capsys, name)
    small_raw_beton.write_bytes(whole)
    for name, content in damaged(card.read_bytes(), seed, 12):
        card.write_bytes(content)
        for command in ("verify", "inspect"):
            _fails_with_one_line([command, str(small_raw_beton)], capsys, f"{command}: {name}")
        _fails_with_one_line(
            ["pretrain", str(small_raw_beton), "--val", str(small_raw_beton), "--out", str(card.parent / "run")],
            capsys,
            f"pretrain: {name}",
        )


def test_exporting_damaged_weights_fails_with_one_line(tmp_path, seed, capsys):
    path = tmp_path / "w.safetensors"
    for name, content in damaged(b"\x40\0\0\0\0\0\0\0" + b'{"conv1.weight":{"dtype":"F32"}}'.ljust(64), seed, 20):
        path.write_bytes(content)
        _fails_with_one_line(["export", str(path), str(tmp_path / "out.pth"), "--to", "torchvision"], capsys, name)


PREDICTIONS = "arm,seed,fold,set,patient,row,label,score\n" + "".join(
    f"none,0,{k % 2},{'test' if k < 8 else 'val'},p{k},{k},{k % 2},0.{k}\n" for k in range(20)
)


def test_a_damaged_study_fails_with_one_line(tmp_path, seed, capsys):
    record, predictions = tmp_path / "study.json", tmp_path / "predictions.csv"
    predictions.write_text(PREDICTIONS)
    for text in ("", "{", "\xff", "[1, 2", "nonsense"):
        record.write_text(text, encoding="latin-1")
        _fails_with_one_line(["report", str(tmp_path)], capsys, text)
    record.write_text('{"external": []}')
    for name, content in damaged_text(PREDICTIONS.replace("0.", "zero"), seed, 12):  # no score is a number
        predictions.write_bytes(content)
        _fails_with_one_line(["report", str(tmp_path)], capsys, name)
