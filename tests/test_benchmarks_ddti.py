"""The study on DDTI: no image of DDTI pretrains its arms, and its page says what the numbers cannot mean."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fastrad.archives import read_source
from fastrad.convert.drop import rows_to_drop
from fastrad.dataset.lookup import CONFIRMED, Lookup

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def ddti():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import ddti
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return ddti


def test_every_ultrasound_image_of_the_mini_archive_is_found_and_left_out(ddti, mini_root, ddti_root, tmp_path):
    source = read_source("radimagenet", mini_root)
    ultrasound = (source.table["label"] == ddti.ULTRASOUND).to_numpy()
    asked = np.flatnonzero(ultrasound | (np.arange(len(source)) % 60 == 0))  # and some of the others
    known = ddti.ddti_fingerprints(ddti_root)
    levels = np.zeros(len(source), np.uint8)
    levels[asked] = Lookup(ddti.fingerprints(mini_root, source.table["path"][asked].tolist())).among(known)
    assert (len(known), int(ultrasound.sum())) == (480, 131)
    assert (levels[ultrasound] >= CONFIRMED).all()
    assert not levels[~ultrasound].any()
    path = tmp_path / "left-out.json"
    path.write_text(json.dumps(ddti.drop_list(source, ddti.left_out(source, levels))))
    assert sorted(rows_to_drop(path, source.sha256())) == np.flatnonzero(ultrasound).tolist()


def test_an_image_that_may_be_ddtis_is_left_out_of_any_class(ddti, mini_root):
    source = read_source("radimagenet", mini_root)
    levels = np.zeros(len(source), np.uint8)
    other = int(np.flatnonzero(source.table["label"] != ddti.ULTRASOUND)[0])
    levels[other] = 1
    assert ddti.left_out(source, levels)[other]


def test_the_page_says_what_the_numbers_cannot_mean_before_the_first_of_them(ddti):
    page = ddti.page(json.loads(ddti.RESULT.read_text()), None)
    first = page.index("| Arm |")
    for words in ("not pathology", "not ImageNet", "One weights file an arm", "of these benign", "One fixed recipe"):
        assert page.index(words) < first
