"""Burned-in words that tell the label are found; words that may be a name are not printed."""

from __future__ import annotations

import re
from math import comb
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastrad.audit import AuditOptions, audit
from fastrad.audit.text import _text_reader, count_words, is_text, read_strings, read_text
from fastrad.dataset import write_beton
from fastrad.imaging import fit, read_gray
from fastrad.phantom import write_phantom

PATIENTS = [f"p{i}" for i in range(60)]
LABELS = ["benign"] * 30 + ["malignant"] * 30


def test_a_word_on_one_class_only_is_a_leak_with_fishers_p() -> None:
    texts = [["DER", "ALPHA 4"] if i < 15 else ["DER"] for i in range(60)]
    words, unprinted = count_words(texts, LABELS, PATIENTS)
    by_name = {word.word: word for word in words}
    assert unprinted == 0
    assert by_name["ALPHA"].by_class == {"benign": 15, "malignant": 0}
    # Fisher by hand, two-sided: 2 * C(30,15) C(30,0) / C(60,15), times 4 tests (2 words, 2 classes).
    assert by_name["ALPHA"].p_value == pytest.approx(4 * 2 * comb(30, 15) / comb(60, 15), rel=1e-9)
    assert by_name["ALPHA"].is_leak
    assert not by_name["DER"].is_leak


def test_a_word_that_names_a_grade_is_a_leak_however_it_is_spelt() -> None:
    texts = [["TIRADS 4a"], ["TlRADS3"], ["T1-RADS 5"], ["TI-RAD 2"], *([[]] * 56)]
    words, _ = count_words(texts, LABELS, PATIENTS)
    assert [(word.word, word.images, word.is_leak) for word in words] == [("TIRADS", 4, True)]


def test_a_word_of_fewer_than_three_patients_is_counted_but_not_printed() -> None:
    texts = [["MUSTERMANN"], ["MUSTERMANN"], *([["DER"]] * 58)]
    words, unprinted = count_words(texts, LABELS, PATIENTS)
    assert [word.word for word in words] == ["DER"]
    assert unprinted == 1


def test_without_patients_only_diagnoses_are_printed_and_nothing_that_stands_beside_them() -> None:
    """Three frames of one person may show the name; what of it touches a diagnosis is not printed either."""
    texts = [["JANE DOE"], ["JANE DOE"], ["JANE DOE DOE_CARCINOMA"]]
    words, unprinted = count_words(texts, ["a", "a", "b"], ["", "", ""])
    assert [word.word for word in words] == ["CARCIN"]
    assert unprinted == 2


def test_words_that_do_not_depend_on_the_class_are_called_leaks_rarely() -> None:
    random = np.random.default_rng(0)
    leaks = 0
    for _ in range(40):
        texts = [[word for word in ("DER", "IZQ", "POLO", "MEDIO") if random.random() < 0.4] for _ in range(60)]
        words, _ = count_words(texts, LABELS, PATIENTS)
        leaks += any(word.is_leak for word in words)
    assert leaks <= 3  # at p < 0.01 after adjustment, 0.4 are expected


@pytest.mark.slow
def test_written_words_are_read_from_pixels_at_the_stored_size() -> None:
    pytest.importorskip("rapidocr", reason="the extra `audit` is not installed")
    noise = np.random.default_rng(1).integers(0, 60, (224, 224)).astype(np.uint8)
    image = cv2.putText(noise, "TIRADS 4a", (20, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1, cv2.LINE_AA)
    assert "TIRADS" in "".join(read_text(_text_reader(), image)).upper()


@pytest.mark.slow
def test_the_grade_burned_into_ddti_is_found_at_the_size_that_a_network_sees(ddti_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("rapidocr", reason="the extra `audit` is not installed")
    images, labels = [], []
    for path in sorted(ddti_root.glob("29?_*.jpg")):  # cases 290 to 299, some of which carry "TIRADS n"
        grade = re.search(r"<tirads>(.*?)</tirads>", (ddti_root / f"{path.stem.split('_')[0]}.xml").read_text())
        if grade and grade.group(1):
            images.append(fit(read_gray(path), 224)[0])
            labels.append(int(grade.group(1) not in ("2", "3")))
    write_beton(tmp_path / "some.beton", np.stack(images), labels, classes=["benign", "malignant"])
    report = audit([tmp_path / "some.beton"], tmp_path / "out", AuditOptions(text_images=100))
    assert "TIRADS" in report["text"]["leaks"]


@pytest.mark.slow
def test_text_is_reported_where_it_was_written_and_nowhere_else(tmp_path: Path) -> None:
    """Phantoms without text, small enough to be misread by a reader that believes everything; the same with a grade."""
    pytest.importorskip("rapidocr", reason="the extra `audit` is not installed")
    write_phantom("radiology", tmp_path / "archive", images=12, seed=0, workers=1)
    pictures = [read_gray(path) for path in sorted((tmp_path / "archive").rglob("*.png"))]
    assert len(pictures) == 12
    small = [fit(picture, 64)[0] for picture in pictures]
    large = [fit(picture, 224)[0] for picture in pictures]
    written = [cv2.putText(image, "TIRADS 3", (60, 210), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255, 1) for image in large]
    write_beton(tmp_path / "without.beton", np.stack(small), [0] * 12, classes=["a"])
    write_beton(tmp_path / "with.beton", np.stack(written), [0] * 12, classes=["a"])
    assert any(read_strings(_text_reader(), image) for image in small), "these images put nothing to the test"
    for name, carriers in (("without", 0), ("with", 12)):
        found = audit([tmp_path / f"{name}.beton"], tmp_path / name, AuditOptions(text_images=12))["text"]
        assert (found["images_read"], found["images_with_text"]) == (12, carriers)
        assert found["leaks"] == (["TIRADS"] if carriers else [])
        assert [word["images"] for word in found["words"] if word["word"] == "TIRADS"] == [carriers] * bool(carriers)


@pytest.mark.parametrize(
    ("string", "score", "believed"),
    [("DER", 0.95, True), ("9.0", 0.8, True), ("DER", 0.79, False), ("2", 0.99, False), (": -", 0.99, False)],
)
def test_a_string_is_text_by_its_score_and_its_letters(string: str, score: float, believed: bool) -> None:
    assert is_text(string, score) is believed
