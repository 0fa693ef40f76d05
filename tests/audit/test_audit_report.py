"""The audit of planted faults: each is found, counted and shown on the page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fastrad.audit import AuditOptions, audit
from fastrad.audit.audit import spread_over_classes
from fastrad.dataset import write_beton
from fastrad.errors import FormatError, InputError

NO_TEXT = AuditOptions(text_images=0, workers=1)


def _speckle(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    smooth = [cv2.GaussianBlur(random.normal(size=(48, 48)).astype(np.float32), (0, 0), 2) for _ in range(count)]
    return np.stack([cv2.normalize(one, None, 0, 255, cv2.NORM_MINMAX) for one in smooth]).astype(np.uint8)


@pytest.fixture
def planted(tmp_path: Path) -> list[Path]:
    train, test = _speckle(20, 1), _speckle(10, 2)
    train[4] = 0  # blank
    test[3] = train[7]  # a copy in another split, of another patient, under another label
    test[5] = cv2.convertScaleAbs(train[9], alpha=0.95, beta=5)  # a near copy
    names = [f"pseudo{i:02d}" for i in range(25)]
    common = {"classes": ["benign", "malignant"], "patient_names": names}
    labels = [0] * 15 + [1] * 5
    write_beton(tmp_path / "train.beton", train, labels, list(range(20)), list(range(20)), split="train", **common)
    patients = [0, *range(21, 25), *range(21, 25), 20]  # patient 0 is in both splits
    write_beton(tmp_path / "test.beton", test, [1] * 10, patients, list(range(20, 30)), split="test", **common)
    return [tmp_path / "train.beton", tmp_path / "test.beton"]


def test_planted_faults_are_all_found(planted: list[Path], tmp_path: Path) -> None:
    report = audit(planted, tmp_path / "out", NO_TEXT)
    assert report["blank"]["images"] == 1
    assert [sample["row"] for sample in report["blank"]["samples"]] == [4]
    exact = report["exact_duplicates"]
    assert (exact["groups"], exact["across_splits"], exact["across_patients"], exact["across_labels"]) == (1, 1, 1, 1)
    assert [sample["row"] for sample in exact["listed"][0]["samples"]] == [7, 23]
    near = report["near_duplicates"]
    assert [[sample["row"] for sample in group["samples"]] for group in near["listed"]] == [[9, 25]]
    assert report["patients_in_two_splits"]["listed"] == [{"patient": "pseudo00", "splits": ["test", "train"]}]
    assert report["imbalance"]["ratio"] == 1.0
    assert json.loads((tmp_path / "out" / "audit.json").read_text()) == report


def test_the_page_needs_no_network_and_shows_the_planted_copies(planted: list[Path], tmp_path: Path) -> None:
    audit(planted, tmp_path / "out", NO_TEXT)
    page = (tmp_path / "out" / "audit.html").read_text()
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert page.count('src="data:image/png;base64,') == 5  # the blank one, two copies, two near copies
    assert "1 of 25 known patients" in page


def test_processes_find_what_one_finds(planted: list[Path], tmp_path: Path) -> None:
    one = audit(planted, tmp_path / "one", NO_TEXT)
    two = audit(planted, tmp_path / "two", AuditOptions(text_images=0, workers=2))
    one["options"] = two["options"] = None
    assert one == two


def test_a_cut_dataset_is_one_clear_error(planted: list[Path], tmp_path: Path) -> None:
    planted[0].write_bytes(planted[0].read_bytes()[:5000])
    with pytest.raises(FormatError, match=r"train\.beton"):
        audit(planted, tmp_path / "out", NO_TEXT)
    assert not (tmp_path / "out").exists()


def test_no_dataset_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no dataset"):
        audit([], tmp_path)


def test_command_prints_what_was_found(planted: list[Path], tmp_path: Path) -> None:
    from fastrad.cli.audit import command

    arguments = [*map(str, planted), "--out", str(tmp_path / "out"), "--text-images", "0", "--workers", "1"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "exact copies: 2 images in 1 groups (1 across splits, 1 across patients, 1 across labels)" in result.output
    assert "patients in two splits: 1 of 25" in result.output


def test_images_for_text_are_spread_evenly_and_small_classes_are_taken_whole() -> None:
    labels = np.array(["a"] * 1000 + ["b"] * 10 + ["c"] * 200)
    chosen = spread_over_classes(labels, 110)
    counts = {name: int((labels[chosen] == name).sum()) for name in "abc"}
    assert counts == {"a": 50, "b": 10, "c": 50}
    assert len(np.unique(chosen)) == 110
    assert spread_over_classes(labels, 5000).tolist() == list(range(1210))
