"""`report.html`: the table's numbers, each arm as it is, and nothing from a network."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from fastrad.errors import FormatError
from fastrad.study.inference.confident_errors import ConfidentError
from fastrad.study.report.error_pictures import read_errors, write_errors
from fastrad.study.report.page import write_report


@pytest.fixture(scope="module")
def page(reported) -> str:
    return (reported / "report.html").read_text()


def check_fields(shown: list[tuple[str, str]], values: dict) -> None:
    """Every number that the page marks is the table's."""
    assert len(shown) == 8 * len(values["arms"]) + 2 * len(values["differences"])
    for path, text in shown:
        value = values
        for key in path.split("."):
            value = value[int(key)] if key.isdigit() else value[key]
        assert float(text) == pytest.approx(value, abs=0.0005001)


def test_marked_numbers_are_the_tables(page, reported):
    check_fields(
        re.findall(r'data-field="([^"]+)"[^>]*>([^<]+)<', page), json.loads((reported / "table.json").read_text())
    )


def test_a_browser_shows_the_tables_numbers_and_has_nothing_to_say(reported, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium here to open the page with")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--user-data-dir={tmp_path}"]
    options += ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    words = [browser, *options, "--dump-dom", f"file://{reported}/report.html"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr
    values = json.loads((reported / "table.json").read_text())
    check_fields(re.findall(r'data-field="([^"]+)"[^>]*>([^<]+)<', done.stdout), values)
    for sentence in values["conclusion"]:
        assert sentence in html.unescape(done.stdout)


def test_every_sentence_of_the_conclusion_is_there(page, reported):
    for sentence in json.loads((reported / "table.json").read_text())["conclusion"]:
        assert sentence in html.unescape(page)


def test_each_arm_is_drawn_as_it_is(page, record):
    scheme = page[page.index("Scheme of the transfers") : page.index("Where the weights of each arm")]
    assert [scheme.count(f">{name}<") for name in ("ResNet-18", "fine-tuning", "frozen")] == [4, 3, 1]
    assert "my_frozen (frozen features): not fine-tuned" in page


def test_elements_are_closed_and_identifiers_are_unique(page):
    void = {"meta", "link", "img", "br", "input", "hr"}

    class Checker(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open: list[str] = []
            self.ids: list[str] = []

        def handle_starttag(self, tag, attrs):
            self.ids += [value for name, value in attrs if name == "id"]
            if tag not in void:
                self.open.append(tag)

        def handle_endtag(self, tag):
            assert self.open.pop() == tag, f"line {self.getpos()[0]}: </{tag}>"

    checker = Checker()
    checker.feed(page)
    assert not checker.open
    assert len(checker.ids) == len(set(checker.ids))


def test_the_page_needs_no_network(page):
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""", page)


def test_names_of_files_and_groups_are_text_and_no_markup(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "study")
    record = json.loads((kept / "study.json").read_text())
    record["arms"][3].update(label="<b>mine</b>", source="<script>alert(1)</script>")
    (tmp_path / "study" / "study.json").write_text(json.dumps(record))
    table = (kept / "subgroups.csv").read_text().replace("north", "<i>north</i>")
    (tmp_path / "study" / "subgroups.csv").write_text(table)
    page = write_report(tmp_path / "study").read_text()
    assert "<script>" not in page
    assert "<b>mine" not in page
    assert "<i>north" not in page
    assert "&lt;i&gt;north" in page


def test_confident_errors_are_shown_with_their_pictures(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "study")
    images = np.arange(2 * 32 * 32, dtype=np.uint8).reshape(2, 32, 32)
    errors = [ConfidentError("imagenet", 7, 1, 0.02), ConfidentError("imagenet", 9, 0, 0.97)]
    write_errors(tmp_path / "study", [(errors, images, np.zeros((2, 32, 32)))])
    entries = read_errors(tmp_path / "study")
    assert [(entry["picture"], entry["row"], entry["label"]) for entry in entries] == [
        ("imagenet-1", 7, 1),
        ("imagenet-2", 9, 0),
    ]
    page = write_report(tmp_path / "study").read_text()
    given = ("malignant, given P(malignant) = 0.02", "benign, given P(malignant) = 0.97")
    for entry, said in zip(entries, given, strict=True):
        assert entry["src"] in page
        assert entry["src_cam"] in page
        assert f"{said}; row {entry['row']}" in page


def test_pictures_of_other_scores_are_left_out_and_altered_ones_refused(kept, tmp_path, capsys):
    study = shutil.copytree(kept, tmp_path / "study")
    images = np.zeros((1, 32, 32), np.uint8)
    write_errors(study, [([ConfidentError("imagenet", 7, 1, 0.02)], images, np.zeros((1, 32, 32)))])
    assert len(read_errors(study)) == 1
    text = (study / "errors" / "errors.json").read_text()
    (study / "errors" / "errors.json").write_text(text.replace("imagenet-1", "../../secret-1"))
    with pytest.raises(FormatError, match=r"errors\.json: cut short or altered"):
        read_errors(study)
    (study / "errors" / "errors.json").write_text(text)
    (study / "errors" / "imagenet-1.png").write_bytes(b"another picture")
    with pytest.raises(FormatError, match=r"imagenet-1\.png: was altered"):
        read_errors(study)
    (study / "predictions.csv").write_bytes((study / "predictions.csv").read_bytes() + b"\n")
    assert read_errors(study) == []
    assert "shows errors of other predictions and is left out" in capsys.readouterr().err
