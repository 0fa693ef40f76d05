"""What is printed steers no terminal and needs no locale; closed and full streams cost a line, never the work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastrad.dataset import write_beton
from fastrad.system.terminal import one_line, printable

EVIL = "a\x1b]0;owned\x07b\x1b[2Jc\x9b2Jd\u202ee\x7f\rf"


@pytest.mark.parametrize("number", [*range(32), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x2028, 0x202E, 0x2066, 0xFEFF])
def test_every_character_that_steers_a_terminal_is_an_escape(number):
    text = f"a{chr(number)}b"
    kept = number in (9, 10)
    assert printable(text) == (text if kept else "a" + ascii(chr(number))[1:-1] + "b")
    assert one_line(text) == "a" + ascii(chr(number))[1:-1] + "b"


def test_other_scripts_and_their_joiners_stay():
    for text in ("Schilddrüse", "甲状腺", "غده\u200cها", "क्\u200dष", "👩\u200d⚕️", "a\tb\nc"):
        assert printable(text) == text


def test_bytes_that_are_no_utf_8_and_half_characters_are_escapes():
    assert printable(os.fsdecode(b"scan\xff.png")) == "scan\\xff.png"
    assert printable("\ud800") == "\\ud800"


@pytest.fixture(scope="module")
def evil_beton(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("evil") / EVIL / "all.beton"
    path.parent.mkdir()
    images = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)
    write_beton(path, list(images), [0, 1, 0, 1], classes=[EVIL, "甲状腺\nfastrad: sound"])
    return path


def _fastrad(*words: object, **settings) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, **settings.pop("env", {})}
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    return subprocess.run([sys.executable, "-m", "fastrad", *map(str, words)], timeout=120, env=environment, **settings)


LOCALES = [
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii"},
]


@pytest.mark.parametrize("locale", LOCALES)
def test_labels_and_paths_of_any_kind_are_printed_in_locale_c(evil_beton, locale):
    done = _fastrad("inspect", evil_beton, env=locale)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout) & (set(range(10)) | set(range(11, 32)) | {127})
    assert b"\\x1b]0;owned" in done.stdout
    assert not any(line.startswith(b"fastrad: sound") for line in done.stdout.splitlines())


def test_standard_streams_that_are_closed_change_nothing_and_get_no_dataset(tmp_path, root):
    """Without a fourth stream the output would be the next file that is opened, a dataset, say."""
    whole = _fastrad("convert", "table", root, tmp_path / "whole", "--size", "16", "--workers", "1")
    assert whole.returncode == 0, whole.stderr
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        out = tmp_path / closed.replace(" ", "")
        words = f"{sys.executable} -m fastrad convert table '{root}' '{out}' --size 16 --workers 1 {closed}"
        assert subprocess.run(["sh", "-c", words], timeout=120).returncode == 0, closed
        assert (out / "all.beton").read_bytes() == (tmp_path / "whole" / "all.beton").read_bytes()


@pytest.fixture
def root(tmp_path) -> Path:
    """Twelve pictures with a table."""
    from picture_archives import picture
    from PIL import Image

    folder = tmp_path / "archive"
    folder.mkdir()
    lines = ["path,label,patient"]
    for number in range(12):
        Image.fromarray(picture(number, 20, 20)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,c{number % 3},p{number // 2}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_standard_output_is_one_line_and_a_full_standard_error_stops_nothing(tmp_path, root, evil_beton):
    with open("/dev/full", "wb") as full:
        done = _fastrad("inspect", evil_beton, stdout=full)
        assert done.returncode == 1
        assert done.stderr.decode().startswith("fastrad: the standard output cannot be written (No space left")
        assert len(done.stderr.splitlines()) == 1
        done = _fastrad("convert", "table", root, tmp_path / "out", "--size", "16", "--workers", "1", stderr=full)
        assert done.returncode == 0
        assert (tmp_path / "out" / "all.beton").exists()


def test_a_reader_that_has_seen_enough_ends_a_command_without_a_word(evil_beton):
    read, write = os.pipe()
    os.close(read)
    done = _fastrad("inspect", evil_beton, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")
