"""Every layout of the registry is a command with the options of its dataclass: also one that was added just now."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from fastrad import archives
from fastrad.archives import LAYOUTS, layout_module
from fastrad.cli import COMMANDS, cli, main
from fastrad.cli.options import help_of

TOY = '''"""Toy: one text file with a line an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fastrad.archives.base import Row, manifest_of_rows
from fastrad.archives.manifest import Manifest


@dataclass(frozen=True)
class Options:
    """What can be chosen about toys.

    Attributes
    ----------
    view : str
        Which toys to take.
    weight : float
        Of a toy at least.
    places : tuple of str
        Shelves to look at.
    """

    view: str = field(default="all", metadata={"choices": ("all", "red")})
    weight: float = 0.5
    places: tuple[str, ...] = ()


def read(root: Path, options: Options, *, exclude: Sequence[Path | str] = ()) -> Manifest:
    """Read toys."""
    rows = []
    for line in (root / "toys.txt").read_text().splitlines():
        path, label, colour, weight, place = line.split()
        if options.view in ("all", colour) and float(weight) >= options.weight:
            if not options.places or place in options.places:
                rows.append(Row(path, label=label))
    return manifest_of_rows(root, "toy", rows, ["these are toys"])
'''


def _convert(capsys: pytest.CaptureFixture[str], *words: object, status: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        main(["convert", *map(str, words)])
    assert int(stop.value.code or 0) == status
    out, error = capsys.readouterr()
    return out, error


def _command(*words: str) -> click.Command:
    found: click.Command = cli
    for word in words:
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None, words
        found = inner
    return found


def _options(command: click.Command) -> set[str]:
    return {str(each.name) for each in command.params if isinstance(each, click.Option)}


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A layout that is added as a newcomer adds one, a module and a line of the registry, and an archive in it."""
    (tmp_path / "layouts").mkdir()
    (tmp_path / "layouts" / "toy.py").write_text(TOY)
    monkeypatch.setattr(archives, "__path__", [*archives.__path__, str(tmp_path / "layouts")])
    monkeypatch.setitem(LAYOUTS, "toy", "Toys on shelves.")
    root = tmp_path / "toys"
    root.mkdir()
    for number, colour in enumerate(["red", "blue", "red"]):
        Image.fromarray(np.full((9, 9), 50 * number, np.uint8)).save(root / f"{number}.png")
        with open(root / "toys.txt", "a") as file:
            file.write(f"{number}.png {'ab'[number % 2]} {colour} {number} {'top' if number else 'floor'}\n")
    yield root
    sys.modules.pop("fastrad.archives.toy", None)


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_a_layouts_command_has_the_options_of_its_dataclass(layout: str) -> None:
    own = {each.name for each in dataclasses.fields(layout_module(layout).Options)}
    extra = {"template"} if layout == "table" else set()
    assert _options(_command("convert", layout)) - _options(_command("convert", "phantom")) == (
        own | extra | {"ignore_splits", "val_fraction"}
    ) - {"kind", "images", "seed"}
    assert own <= set(help_of(layout_module(layout).Options)), "an option without help"


def test_the_old_spelling_has_the_options_of_all_layouts() -> None:
    every = {
        each.name
        for name in LAYOUTS
        if name != "radimagenet"
        for each in dataclasses.fields(layout_module(name).Options)
    }
    assert every <= _options(_command("convert", "thyroid"))
    assert {"crop", "margin", "table", "columns", "labels", "frames", "doppler"} <= every


def test_a_module_and_a_line_make_a_command_that_converts_and_verifies(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, _ = _convert(capsys, "--help")
    assert "toy" in said
    assert "Toys on shelves." in said
    said, _ = _convert(capsys, "toy", "--help")
    assert "Which toys to take. [all]" in " ".join(said.split())
    out = tmp_path / "out"
    words = ("toy", toys, out, "--view", "red", "--places", "top", "--places", "floor", "--weight", "0", "--size", "8")
    said, _ = _convert(capsys, *words, "--workers", "1")
    assert "2 images" in said
    assert "these are toys" in said
    card = json.loads((out / "all.card.json").read_text())
    assert card["layout"] == "toy"
    assert card["source_options"] == {"view": "red", "weight": 0.0, "places": ["top", "floor"]}
    with pytest.raises(SystemExit) as stop:
        main(["verify", str(out / "all.beton"), "--source", str(toys), "--workers", "1"])
    assert not stop.value.code
    assert "2 compared with the source" in capsys.readouterr().out
    assert "'green' is not one of 'all', 'red'" in _convert(capsys, "toy", toys, out, "--view", "green", status=2)[1]


def test_an_option_of_another_layout_is_refused_with_the_layouts_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, error = _convert(capsys, "thyroid", tmp_path, tmp_path / "o", "--layout", "table", "--crop", "nodule", status=2)
    takes = "table, columns, labels, frames, doppler, encoding"
    assert error == f"fastrad: layout table has no option 'crop'; it takes {takes}\n"
    assert "No such option" in _convert(capsys, "table", tmp_path, tmp_path / "o", "--crop", "nodule", status=2)[1]


def _hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_both_spellings_write_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "own"
    root.mkdir()
    for number in range(6):
        Image.fromarray(np.full((20, 30), 40 * number, np.uint8)).save(root / f"{number}.png")
    codes = ["1", "M", "Bethesda VI", "0", "B", "unclear"]
    lines = [f"{number}.png;{code};{number // 2}\n" for number, code in enumerate(codes)]
    (root / "list.csv").write_text("FILE;DX;MRN\n" + "".join(lines))
    own = ("--table", root / "list.csv", "--columns", "path=FILE,label=DX,patient=MRN", "--doppler", "count")
    labels = ("--labels", "malignant=1,M,Bethesda VI", "benign=0,B")
    rest = ("--size", "16", "--workers", "1")
    _convert(capsys, "thyroid", root, tmp_path / "old", "--layout", "table", *labels, *own, *rest)
    _convert(capsys, "table", *labels, *rest, root, tmp_path / "new", *own)
    assert _hashes(tmp_path / "old") == _hashes(tmp_path / "new")
    assert json.loads((tmp_path / "new" / "all.card.json").read_text())["source_options"] == {
        "columns": {"path": "FILE", "label": "DX", "patient": "MRN"},
        "labels": {"malignant": ["1", "M", "Bethesda VI"], "benign": ["0", "B"]},
        "doppler": "count",
    }


def test_the_template_is_the_tables_own_wherever_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    text, _ = _convert(capsys, "table", "--template")
    assert text.startswith("path,label,patient")
    assert _convert(capsys, "thyroid", "--template")[0] == text
    assert "No such option" in _convert(capsys, "ddti", "--template", status=2)[1]


def test_help_of_convert_needs_no_heavy_import() -> None:
    code = (
        "import sys; from fastrad.cli import cli; cli.main(['convert', '--help'], standalone_mode=False);"
        "print([name for name in ('pandas', 'numpy', 'cv2', 'h5py', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_layouts_know_neither_dataset_files_nor_torch() -> None:
    code = (
        "import sys; from fastrad.archives import LAYOUTS, layout_module;"
        "[layout_module(name).read for name in LAYOUTS];"
        "print([name for name in ('torch', 'fastrad.dataset', 'fastrad.convert') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("words", [words for words in COMMANDS if " " in words])
def test_a_command_in_a_group_is_the_module_of_its_words(words: str) -> None:
    assert _command(*words.split()).name == words.rpartition(" ")[2]
    assert (Path(archives.__file__).parents[1] / "cli" / f"{words.replace(' ', '_')}.py").is_file()
