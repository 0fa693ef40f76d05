"""Copies are found by their pixels, and only copies."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from fastrad.audit.duplicates import exact_groups
from fastrad.audit.samples import describe_image, describe_samples
from fastrad.dataset import BetonFile, write_beton
from fastrad.dataset.copies import confirm_pairs, groups_of_pairs, near_pairs


def _textured(seed: int, side: int = 96) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


@pytest.mark.parametrize("distance", [0, 1, 4, 8])
def test_near_pairs_equal_those_of_comparing_all_with_all(distance: int) -> None:
    random = np.random.default_rng(distance)
    hashes = random.integers(0, 2**64, 300, dtype=np.uint64)
    for target in range(150, 300):  # every second half entry is a first half entry with a few bits flipped
        flips = np.uint64(0)
        for bit in random.choice(64, random.integers(0, distance + 3), replace=False):
            flips |= np.uint64(1) << np.uint64(bit)
        hashes[target] = hashes[target - 150] ^ flips
    expected = [
        (i, j)
        for i in range(300)
        for j in range(i + 1, 300)
        if bin(int(hashes[i]) ^ int(hashes[j])).count("1") <= distance
    ]
    assert [tuple(pair) for pair in near_pairs(hashes, distance).tolist()] == expected
    assert expected


def test_near_pairs_of_one_hash_or_none_are_none() -> None:
    assert near_pairs(np.array([5], dtype=np.uint64), 4).shape == (0, 2)
    assert near_pairs(np.array([], dtype=np.uint64), 4).shape == (0, 2)


def test_a_recompressed_and_brightened_copy_is_near_and_another_image_is_not() -> None:
    original, other = _textured(1), _textured(2)
    _, data = cv2.imencode(".jpg", cv2.convertScaleAbs(original, alpha=0.9, beta=12), [cv2.IMWRITE_JPEG_QUALITY, 70])
    copy = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    images = [original, copy, other]
    hashes = np.array([describe_image(image)[1] for image in images], dtype=np.uint64)
    confirmed = confirm_pairs(near_pairs(hashes, 6), images.__getitem__, 0.98)
    assert [(i, j) for i, j, _ in confirmed] == [(0, 1)]


def test_a_pair_whose_hashes_agree_by_chance_is_rejected_by_its_pixels() -> None:
    images = [_textured(3), _textured(4)]
    assert confirm_pairs(np.array([[0, 1]]), images.__getitem__, 0.98) == []


def test_exact_groups_leave_blank_images_out() -> None:
    table = pd.DataFrame({"digest": ["a", "b", "a", "z", "z", "c"], "blank": [False, False, False, True, True, False]})
    assert [group.tolist() for group in exact_groups(table)] == [[0, 2]]


def test_groups_join_pairs_that_share_a_member() -> None:
    groups = groups_of_pairs([(0, 4, 1.0), (4, 5, 1.0), (1, 2, 1.0)], 7)
    assert [group.tolist() for group in groups] == [[0, 4, 5], [1, 2]]


def test_one_gray_level_is_blank_and_speckle_is_not() -> None:
    assert describe_image(np.full((64, 64), 17, np.uint8))[3]
    assert not describe_image(_textured(5))[3]


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    """Files are opened once a process, and one process may audit twice."""
    found = []
    for value in (10, 200):
        images = np.random.default_rng(value).integers(0, 256, (2, 32, 32), dtype=np.uint8)
        write_beton(tmp_path / "a.beton", images, [0, 1])
        found.append(set(describe_samples([BetonFile(tmp_path / "a.beton")], workers=1)["digest"]))
    assert not found[0] & found[1]
