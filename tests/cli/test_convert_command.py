"""`fastrad convert`, `inspect` and `verify` as a user calls them, on real images."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def fastrad(*words: object, config: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "fastrad", *map(str, words)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "XDG_CONFIG_HOME": str(config)},
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def ddti_beton(ddti_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    out, config = tmp_path_factory.mktemp("out"), tmp_path_factory.mktemp("config")
    done = fastrad("convert", "thyroid", ddti_root, out, "--layout", "ddti", "--size", "64", config=config)
    return out / "all.beton", done.stdout, config


def test_ddti_is_counted_as_it_is(ddti_beton):
    path, said, config = ddti_beton
    assert "349 images of 298 patients" in said
    assert "benign 61, malignant 288" in said
    assert "unlabelled, left out: 131 images of 92 patients" in said
    assert str(config / "fastrad" / "pseudonym.key") in said
    card = json.loads(path.with_name("all.card.json").read_text())
    assert (card["unlabelled"]["count"], len(card["patients"])) == (131, 298)


def test_given_again_it_says_so_and_exits_0(ddti_beton, ddti_root):
    path, _, config = ddti_beton
    done = fastrad("convert", "thyroid", ddti_root, path.parent, "--layout", "ddti", "--size", "64", config=config)
    assert "everything was finished before" in done.stdout
    other = ("convert", "thyroid", ddti_root, path.parent, "--layout", "ddti", "--size", "32")
    assert "size changed from 64 to 32" in fastrad(*other, config=config, status=1).stderr


def test_inspect_says_what_the_file_holds(ddti_beton, tmp_path):
    path, _, config = ddti_beton
    done = fastrad("inspect", path, "--sheet", tmp_path / "sheet.png", "--images", "10", config=config)
    assert "349 images of 298 patients" in done.stdout
    assert "malignant        288   82.5 %" in done.stdout
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (34 + 2 * 164, 8 * 134 + 6)
    described = json.loads(fastrad("inspect", path, "--json", config=config).stdout)
    assert described["image"] == {"encoding": "raw", "height": 64, "width": 64}
    assert described["sample_rows"][0]["label"] in ("benign", "malignant")


def test_verify_is_silent_about_sound_files_and_loud_about_others(ddti_beton, ddti_root, tmp_path):
    path, _, config = ddti_beton
    said = fastrad("verify", path, "--source", ddti_root, config=config).stdout
    assert "sound: 349 samples" in said
    assert "349 compared with the source" in said
    copy = tmp_path / "all.beton"
    content = bytearray(path.read_bytes())
    content[-349 * 24 - 2_000_000] ^= 1
    copy.write_bytes(content)
    (tmp_path / "all.card.json").write_bytes(path.with_name("all.card.json").read_bytes())
    done = fastrad("verify", copy, config=config, status=1)
    assert "its checksum differs" in done.stdout
    assert "2 findings, 1 damaged row;" in done.stderr


def test_dry_run_writes_nothing(ddti_root, tmp_path):
    words = ("convert", "thyroid", ddti_root, tmp_path / "out", "--layout", "ddti", "--dry-run")
    said = fastrad(*words, config=tmp_path / "config").stdout
    assert "all: 349 images, 2 classes, 298 patients" in said
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "config").exists()


def test_a_table_of_ones_own_with_its_own_words(tmp_path):
    root = tmp_path / "hospital"
    root.mkdir()
    for number in range(6):
        Image.fromarray(np.full((20, 30), 40 * number, np.uint8)).save(root / f"{number}.png")
    codes = ["1", "M", "Bethesda VI", "0", "B", "unclear"]
    rows = "\n".join(f'{number}.png,"{code}",MRN{number // 2}' for number, code in enumerate(codes))
    (root / "list.csv").write_text("FILE,PATH_DX,MRN\n" + rows + "\n")
    done = fastrad(
        *("convert", "thyroid", root, root / "out", "--layout", "table", "--table", root / "list.csv"),
        *("--columns", "path=FILE,label=PATH_DX,patient=MRN"),
        *("--labels", 'malignant=1,M,"Bethesda VI"', "benign=0,B", "--size", "16", "--workers", "1"),
        config=tmp_path / "config",
    )
    assert "benign 2, malignant 3" in done.stdout
    assert "1 rows are excluded by their labels" in done.stdout
    (listing,) = (tmp_path / "config" / "fastrad" / "quarantined").glob("all-*.csv")
    assert "unclear" in listing.read_text(), "for the user alone"
    text = (root / "out" / "all.card.json").read_text()
    assert "MRN0" not in text
    assert str(tmp_path) not in text
    words = ("verify", root / "out" / "all.beton", "--source", root, "--table", root / "list.csv", "--workers", "1")
    assert "5 compared with the source" in fastrad(*words, config=tmp_path / "config").stdout


def test_phantoms_are_generated_and_marked(tmp_path):
    words = ("convert", "phantom", tmp_path / "out", "--kind", "thyroid", "--images", "8", "--size", "32", "--json")
    done = fastrad(*words, config=tmp_path / "config")
    (file,) = json.loads(done.stdout)["files"]
    assert file["samples"] == 8
    assert json.loads((tmp_path / "out" / "all.card.json").read_text())["synthetic"] is True


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["convert", "radimagenet", "nowhere", "out"], 1, "nowhere: no such folder"),
        (["convert", "thyroid", "here"], 2, "ROOT, OUT_DIR and --layout are needed"),
        (["convert", "phantom", "out", "--kind", "thyroid", "--images", "3", "--size", "0"], 2, "size 0"),
        (["inspect", "nowhere.beton"], 1, "no such file"),
        (["verify", "nowhere.beton"], 1, "no such file"),
        (["convert", "radimagenet", ".", "out", "--window", "wide"], 2, "--window wide: two numbers"),
    ],
)
def test_wrong_words_are_one_clear_line(words, status, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = fastrad(*words, config=tmp_path / "config", status=status)
    assert message in done.stderr
    assert done.stdout == ""


def test_the_template_is_a_table_that_converts(tmp_path):
    text = fastrad("convert", "thyroid", "--template", config=tmp_path / "config").stdout
    root = tmp_path / "own"
    root.mkdir()
    (root / "labels.csv").write_text(text)
    paths = [row["path"] for row in csv.DictReader(text.splitlines())]
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((10, 10), 9 * number, np.uint8)).save(root / path, format="PNG")
    words = (
        "convert",
        "thyroid",
        root,
        tmp_path / "out",
        "--layout",
        "table",
        "--size",
        "8",
        "--json",
        "--workers",
        "1",
    )
    files = json.loads(fastrad(*words, config=tmp_path / "config").stdout)["files"]
    assert sum(file["samples"] for file in files) > 0
    assert not any(file["quarantined"] for file in files)


def test_every_row_of_a_table_is_stored_or_listed(tmp_path):
    root = tmp_path / "own"
    root.mkdir()
    for number in range(4):
        Image.fromarray(np.full((10, 10), 9 * number, np.uint8)).save(root / f"{number}.png")
    (root / "4.PNG").touch()
    (root / "5.png").write_bytes(b"no image")
    rows = ["0.png,a,1,train", "1.png,b,1,train", "1.png,b,1,train", "2.png,,2,train", "3.png,a,3,val", "3.png,b,3,val"]
    rows += ["4.png,a,4,train", "5.png,a,5,train", "gone.png,a,6,train", "# a remark", ",,,", "6.png,c,7,test"]
    (root / "labels.csv").write_text("path,label,patient,split\n" + "\n".join(rows) + "\n\n")
    words = ("convert", "table", root, tmp_path / "out", "--size", "8", "--workers", "1")
    done = fastrad(*words, config=tmp_path / "config")
    parts = "2 stored + 6 quarantined + 1 unlabelled + 3 of splits without a file"
    assert f"rows of the archive: {len(rows)} = {parts}" in done.stdout
    assert "quarantined 1: no such file; with the suffix ... it is there" in done.stdout
    assert "val: 1 rows left out: the same image is listed as ... in row 5" in done.stdout
    tally = json.loads(fastrad(*words, "--json", config=tmp_path / "config").stdout)["rows"]
    assert [tally[part] for part in ("all", "stored", "quarantined", "left out as asked")] == [12, 2, 6, 0]
    assert (tally["unlabelled"], tally["of splits without a file"]) == (1, 3)
