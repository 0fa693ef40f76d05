"""A study folder as 0.1.0 wrote it gives the same tables and a page."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from fastrad.study.report.page import write_report

FORMER = Path(__file__).parent / "study-0.1.0"
_NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


@pytest.fixture(scope="module")
def written_again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "study"
    shutil.copytree(FORMER, folder)
    for name in ("table.md", "table.tex", "table.csv", "table.json"):
        (folder / name).unlink()
    write_report(folder)
    return folder


@pytest.mark.parametrize("name", ["table.md", "table.tex"])
def test_its_tables_are_the_same_to_the_byte(written_again: Path, name: str) -> None:
    assert (written_again / name).read_bytes() == (FORMER / name).read_bytes()


@pytest.mark.parametrize("name", ["table.csv", "table.json"])
def test_its_numbers_are_the_same_to_the_last_rounding(written_again: Path, name: str) -> None:
    ours, theirs = ((folder / name).read_text() for folder in (written_again, FORMER))
    assert _NUMBER.sub("#", ours) == _NUMBER.sub("#", theirs)
    pairs = zip(_NUMBER.findall(ours), _NUMBER.findall(theirs), strict=True)
    for one, other in pairs:
        assert float(one) == pytest.approx(float(other), rel=1e-9, abs=1e-12)


def test_its_page_names_every_arm(written_again: Path) -> None:
    page = (written_again / "report.html").read_text(encoding="utf-8")
    arms = json.loads((FORMER / "study.json").read_text())["arms"]
    assert arms
    for arm in arms:
        assert arm["label"] in page


def test_the_cells_of_markdown_latex_and_csv_say_the_same(written_again: Path) -> None:
    results = json.loads((written_again / "table.json").read_text())["arms"]
    markdown = (written_again / "table.md").read_text()
    latex = (written_again / "table.tex").read_text()
    with open(written_again / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(results)
    for arm in results:
        auroc = f"{arm['test_auroc']:.3f}" if "test_auroc" in arm else f"{arm['auroc']:.3f}"
        assert auroc in markdown
        assert auroc in latex


def test_figures_are_drawn(written_again: Path) -> None:
    assert (written_again / "roc.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
