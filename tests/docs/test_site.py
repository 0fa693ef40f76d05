"""The guide as a site: it is whole, has no dead link, and fetches nothing from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest
from test_docstrings import public_objects

ROOT = Path(__file__).parents[2]


class Page(HTMLParser):
    """The anchors of a page, where it leads to, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.anchors.add(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preload", "preconnect"):
            self.loads.append(given["href"])
        if tag in ("script", "img", "iframe") and given.get("src"):
            self.loads.append(given["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(ROOT / "zensical.toml", folder)
    shutil.copytree(ROOT / "docs", folder / "docs")  # a link to a folder is not walked
    (folder / "fastrad").symlink_to(ROOT / "fastrad")
    built = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict"], cwd=folder, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if path.name != "404.html"}


def _in_the_navigation(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        (value,) = entry.values()
        yield from [value] if isinstance(value, str) else _in_the_navigation(value)


def test_every_page_of_the_guide_stands_in_the_navigation(pages: dict[Path, Page], site: Path) -> None:
    config = tomllib.loads((ROOT / "zensical.toml").read_text())
    guide = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert sorted(_in_the_navigation(config["project"]["nav"])) == sorted(guide)
    written = {str(path.relative_to(site).with_suffix(".md")) for path in pages}
    assert {name.replace("README", "index") for name in guide} == written


def test_no_link_is_dead(pages: dict[Path, Page], site: Path) -> None:
    dead = []
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            file, anchor = urldefrag(link)
            target = (path.parent / unquote(file)).resolve() if file else path
            target = target / "index.html" if target.is_dir() else target
            inside = target.is_file() and target.is_relative_to(site)
            if not inside or (anchor and target in pages and anchor not in pages[target].anchors):
                dead.append(f"{path.name}: {link}")
    assert not dead


def test_nothing_is_fetched_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    loads = {(path, load) for path, page in pages.items() for load in page.loads}
    assert loads
    assert [load for path, load in loads if not (path.parent / load.partition("?")[0]).is_file()] == []


def test_the_reference_holds_every_public_object(pages: dict[Path, Page], site: Path) -> None:
    named = {anchor.rpartition(".")[2] for anchor in pages[site / "reference.html"].anchors if "." in anchor}
    assert {name.rpartition(".")[2] for name, _ in public_objects()} - named == set()


def test_the_search_finds_what_the_reference_holds(site: Path) -> None:
    index = json.loads((site / "search.json").read_text())
    (found,) = [item for item in index["items"] if item["location"] == "reference.html#fastrad.Loader"]
    assert "Loader" in found["title"]
