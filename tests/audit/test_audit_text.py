"""Burned-in words that tell the label are found; words that may be a name are not printed."""

from __future__ import annotations

import re
from math import comb
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastrad.audit import AuditOptions, audit
from fastrad.audit.text import count_words
from fastrad.dataset import write_beton
from fastrad.imaging import fit, read_gray

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
    from fastrad.audit.text import _text_reader, read_text

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
