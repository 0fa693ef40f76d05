"""Cards and indices that somebody forged, with true hashes: refused in a line, and nothing outside is touched."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastrad.archives.manifest import Manifest
from fastrad.cli import main
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset import BetonFile, Card, write_beton
from fastrad.dataset.opening import open_dataset
from fastrad.errors import FastradError, FormatError, InputError
from fastrad.verify import verify

IMAGES = np.arange(4 * 64, dtype=np.uint8).reshape(4, 8, 8)


def forged(content: dict[str, Any] | str) -> bytes:
    """A card with a true hash over whatever it says."""
    text = content if isinstance(content, str) else json.dumps({**content, "card_sha256": "0" * 64}, indent=1)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    head, tail = text.rsplit("0" * 64, 1)
    return (head + digest + tail).encode("utf-8", "surrogatepass")


@pytest.fixture
def beton(tmp_path: Path) -> Path:
    write_beton(tmp_path / "a.beton", IMAGES, [0, 1, 0, 1], classes=["x", "y"], page_size=4096)
    return tmp_path / "a.beton"


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    import cv2

    names = [f"{k}.png" for k in range(4)]
    for name, image in zip(names, IMAGES, strict=True):
        cv2.imwrite(str(tmp_path / name), image)
    manifest = Manifest.from_columns(tmp_path, "folder", path=names, label=["x", "y"] * 2)
    convert(manifest, tmp_path / "shards", ConvertOptions(size=8, format="webdataset", workers=1))
    return tmp_path / "shards" / "all.card.json"


NAMES = ["../x", "/tmp/x", "a/b", "..", ".", "", ".hidden", "a\0b", "a\nb", "a\x1b[2J", "x" * 300]


@pytest.mark.parametrize("name", NAMES)
def test_no_name_in_a_card_leads_out_of_its_folder(beton, shards, tmp_path, name, capsys):
    for path in (Card.path_for(beton), shards):
        card = json.loads(path.read_text())
        path.write_bytes(forged({**card, "name": name}))
        with pytest.raises(FormatError):
            open_dataset(path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(["convert", "shards", str(shards), str(tmp_path / "out")])
    assert ended.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["../all-000000.tar", "/etc/passwd", "all-000000.tar/../x-000000.tar", "a b-000000.tar"]
)
def test_no_name_of_a_shard_leads_out_of_its_folder(shards, name):
    card = json.loads(shards.read_text())
    card["hashes"]["shards"][0]["name"] = name
    shards.write_bytes(forged(card))
    with pytest.raises(FormatError):
        open_dataset(shards)


def test_a_beton_beside_a_card_is_the_one_of_its_name(beton, tmp_path):
    """Both renamed: the card still says what the file was called, and another file may be called so now."""
    content, card = beton.read_bytes(), Card.path_for(beton).read_bytes()
    write_beton(beton, 255 - IMAGES, [1, 1, 1, 1], classes=["x", "y"], page_size=4096)
    (tmp_path / "b.beton").write_bytes(content)
    (tmp_path / "b.card.json").write_bytes(card)
    assert open_dataset(tmp_path / "b.card.json").labels.tolist() == [0, 1, 0, 1]
    assert not verify(tmp_path / "b.card.json").problems


VALUES: list[Any] = [None, True, -1, 0, 1.5, 10**400, 2**63, "x", "", [], [[]], {}, {"a": 1}]


def _replaced(content: Any, value: Any) -> list[tuple[str, Any]]:
    """The content with each value in it, at any depth, replaced."""
    found = []
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, inner in items:
        for name, changed in [("", value), *_replaced(inner, value)]:
            copy = dict(content) if isinstance(content, dict) else list(content)
            copy[key] = changed
            found.append((f"{key}.{name}", copy))
    return found


def _opens(path: Path) -> bool:
    """Whether a dataset opens and decodes whole, or is refused in one line."""
    try:
        dataset = open_dataset(path)
        for index in range(len(dataset)):
            dataset.check(index)
            dataset.decode(index)
        assert len(dataset.labels) == len(dataset.patients) == len(dataset)
    except FastradError as error:
        return "\n" not in str(error)
    return True


def test_every_value_of_a_card_may_be_anything(beton, shards):
    count = 0
    for path in (Card.path_for(beton), shards):
        card = json.loads(path.read_text())
        for value in VALUES:
            for name, changed in _replaced(card, value):
                path.write_bytes(forged(changed))
                try:
                    assert _opens(path)
                except Exception as error:
                    raise AssertionError(f"{path.name}: {name} = {str(value)[:20]}: {error!r}") from error
                count += 1
    assert count > 1000


def test_nesting_surrogates_and_numbers_of_many_digits_are_refused(beton):
    path = Card.path_for(beton)
    text = path.read_text()
    for old, new in (
        ('"fit": "pad"', '"fit": ' + "[" * 100_000 + "]" * 100_000),
        ('"fit": "pad"', '"deep": ' + "[" * 50 + "]" * 50 + ', "fit": "pad"'),
        ('"fit": "pad"', '"fit": "\\ud800"'),
        ('"fit": "pad"', '"x": ' + "9" * 400 + ', "fit": "pad"'),
        ('"fit": "pad"', '"x": 1e999, "fit": "pad"'),
        ('"fit": "pad"', '"x": NaN, "fit": "pad"'),
    ):
        assert old in text
        path.write_bytes(forged(text.replace(old, new).replace(json.loads(text)["card_sha256"], "0" * 64)))
        with pytest.raises(FormatError, match=r"a\.card\.json"):
            Card.read(path)


def test_a_card_is_no_pipe_no_device_and_no_larger_than_cards_are(beton):
    path = Card.path_for(beton)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="pipe"):
        BetonFile(beton)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="device"):
        BetonFile(beton)
    path.unlink()
    path.symlink_to(path.name)
    with pytest.raises(InputError, match="cannot be read"):
        BetonFile(beton)
    path.unlink()
    with open(path, "wb") as file:
        file.truncate(10**9)
    with pytest.raises(InputError, match=r"has 1\.00 GB, more than the 268\.4 MB"):
        BetonFile(beton)


def _index(lines: str) -> bytes:
    return lines.encode()


def test_an_index_with_a_true_hash_that_is_none_is_refused(shards):
    card, index = json.loads(shards.read_text()), shards.with_name("all-000000.idx")
    whole = index.read_text()
    first = whole.splitlines()[1]
    damaged = {
        "empty": "",
        "no index": "hello\n",
        "fewer": "\n".join(whole.splitlines()[:-1]) + "\n",
        "another count": whole.replace("v1.2 4", "v1.2 5"),
        "words missing": whole.replace(first, " ".join(first.split()[:7])),
        "no numbers": whole.replace("512", "one"),
        "a huge offset": whole.replace(" 512 ", f" {'9' * 400} ", 1),
        "beyond the tar": whole.replace(" 512 ", f" {10**14} ", 1),
        "negative": whole.replace(" 512 ", " -512 ", 1),
        "the same sample twice": whole.replace(whole.splitlines()[2], first),
        "another row's member": whole.replace("000000001.cls", "000000002.cls"),
        "NUL": whole.replace(" ", "\0"),
    }
    for name, text in damaged.items():
        assert text != whole, name
        index.write_bytes(_index(text))
        card["hashes"]["shards"][0]["index_sha256"] = hashlib.sha256(_index(text)).hexdigest()
        shards.write_bytes(forged(card))
        with pytest.raises(FormatError, match="is no index of its tar"):
            open_dataset(shards)
        problems = verify(shards, workers=1).problems
        assert any("is no index of its tar" in str(problem) for problem in problems), name


OPTIONS: list[tuple[str, Any]] = [
    *(("exclude", ["/"]), ("root", "/"), ("layout", "ddti"), ("frames", 5), ("frames", ["all"]), ("classes", "a")),
    *(("classes", {"a": 1}), ("one_class", "yes"), ("ignore_splits", "x"), ("include_patterns", 3), ("nothing", 1)),
]


@pytest.mark.parametrize(("option", "value"), OPTIONS)
def test_what_a_card_says_that_its_source_was_read_with_is_checked(shards, tmp_path, option, value, capsys):
    card = json.loads(shards.read_text())
    shards.write_bytes(forged({**card, "source_options": {option: value}}))
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(shards), "--source", str(tmp_path)])
    assert ended.value.code == 1
    assert f"could not compare: {'' if option == 'nothing' else shards}" in capsys.readouterr().out


def test_a_source_option_that_is_a_path_is_refused(shards, tmp_path, capsys):
    card = json.loads(shards.read_text())
    shards.write_bytes(forged({**card, "layout": "table", "source_options": {"table": "/etc/passwd"}}))
    with pytest.raises(SystemExit):
        main(["verify", str(shards), "--source", str(tmp_path)])
    assert "its source options name table, which no card keeps" in capsys.readouterr().out
