"""The committed pages of figures are what the committed results give."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def report():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import report
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return report


def test_the_benchmarks_page_is_made_of_the_results(report):
    assert (ROOT / "benchmarks" / "README.md").read_text() == report.page(report.read(ROOT / "benchmarks" / "results"))


def test_the_page_of_results_is_made_of_the_results(report):
    assert (ROOT / "docs" / "results.md").read_text() == report.results_page(ROOT / "benchmarks" / "results")


def test_the_readmes_figures_are_made_of_the_results(report):
    text = (ROOT / "README.md").read_text()
    assert text == report.put_into_readme(text, report.headline(report.read(ROOT / "benchmarks" / "results")))
