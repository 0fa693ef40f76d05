"""An image is known again by its fingerprint at another size, in another format or window, and no other image is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from textured_archives import padded, picture

from fastrad.dataset.fingerprints import Fingerprints, read_fingerprints, to_bytes
from fastrad.dataset.lookup import (
    CONFIRMED,
    HASH_BITS,
    POSSIBLE,
    POSSIBLE_DISTANCE,
    SAME,
    UNSEEN,
    Lookup,
    code_distances,
    mirrored,
)
from fastrad.dataset.pixels import FINGERPRINT, FingerprintMaker
from fastrad.dataset.sketches import xxh64
from fastrad.errors import FormatError


def fingerprints(*frames: np.ndarray) -> Fingerprints:
    maker = FingerprintMaker(len(frames))
    for frame in frames:
        maker.add(frame)
    return Fingerprints.of(maker.table)


@pytest.mark.parametrize(
    ("text", "expected"),  # the reference implementation's
    [
        ("", 0xEF46DB3751D8E999),
        ("a", 0xD24EC4F1A98C6E5B),
        ("abc", 0x44BC2CF5AD770999),
        ("Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_the_digest_is_xxh64(text: str, expected: int) -> None:
    assert xxh64(np.frombuffer(text.encode(), np.uint8)) == expected


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


CHANGED = {
    "squashed": lambda image: cv2.resize(image, (224, 224), interpolation=cv2.INTER_AREA),
    "small": lambda image: cv2.resize(image, (64, 48), interpolation=cv2.INTER_LINEAR),
    "enlarged": lambda image: cv2.resize(image, (1000, 750), interpolation=cv2.INTER_CUBIC),
    "JPEG": lambda image: _jpeg(image, 60),
    "padded": padded,
    "padded, small": lambda image: cv2.resize(padded(image), (96, 96), interpolation=cv2.INTER_AREA),
    "padded, JPEG": lambda image: _jpeg(padded(image), 75),
    "another window": lambda image: np.clip((image.astype(np.float64) - 60) * 255 / 150, 0, 255).astype(np.uint8),
    "gamma": lambda image: (255 * (image / 255) ** 0.8).astype(np.uint8),
    "darker": lambda image: cv2.convertScaleAbs(image, alpha=0.6, beta=10),
    "12 bits": lambda image: image.astype(np.uint16) * 16 + 3,
    "Hounsfield units": lambda image: image.astype(np.int16) * 8 - 1024,
    "floats with gaps": lambda image: np.where(np.arange(image.shape[1]) == 7, np.nan, image / 255.0),
    "noise": lambda image: np.clip(image + np.random.default_rng(0).normal(0, 4, image.shape), 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_copy_is_confirmed_and_another_image_is_not(name: str) -> None:
    known = fingerprints(*(picture(seed) for seed in range(20)))
    asked = fingerprints(*(CHANGED[name](picture(seed)) for seed in (3, 11, 100, 101, 102)))
    assert Lookup(asked).among(known).tolist() == [CONFIRMED, CONFIRMED, UNSEEN, UNSEEN, UNSEEN]
    assert Lookup(known).among(asked).tolist() == [CONFIRMED if seed in (3, 11) else UNSEEN for seed in range(20)]


def test_the_same_values_are_the_same_image_in_another_file_but_not_in_another_shape() -> None:
    image = picture(1)
    assert Lookup(fingerprints(image, image[:, ::-1], image.reshape(320, 240))).among(fingerprints(image)).tolist() == [
        SAME,
        CONFIRMED,
        UNSEEN,
    ]


@pytest.mark.parametrize("size", [(240, 320), (97, 131), (64, 64)])
def test_the_sketches_of_a_mirror_image_are_those_that_its_pixels_have(size: tuple[int, int]) -> None:
    frames = [padded(picture(seed, *size)) if seed % 2 else picture(seed, *size) for seed in range(8)]
    (derived,), (made,) = (
        list(fingerprints(*each).sketches()) for each in (frames, [each[:, ::-1] for each in frames])
    )
    derived = mirrored(derived)
    assert np.array_equal(derived.images, made.images)
    assert np.array_equal(derived.hashes, made.hashes)
    assert np.bitwise_count(derived.codes ^ made.codes).sum() <= 2, "rounding, in sums of floats, of cells at the limit"


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_mirror_image_is_confirmed_and_one_upside_down_is_not(name: str) -> None:
    known = fingerprints(*(picture(seed) for seed in range(20)))
    frames = [
        picture(3)[:, ::-1],
        picture(11)[:, ::-1],
        picture(100)[:, ::-1],
        picture(5)[::-1],
        picture(6)[::-1, ::-1],
    ]
    asked = fingerprints(*(CHANGED[name](np.ascontiguousarray(frame)) for frame in frames))
    assert Lookup(asked).among(known).tolist() == [CONFIRMED, CONFIRMED, UNSEEN, UNSEEN, UNSEEN]
    assert Lookup(known).among(asked).tolist() == [CONFIRMED if seed in (3, 11) else UNSEEN for seed in range(20)]


def test_frames_that_show_next_to_nothing_are_nobodys() -> None:
    black, text = np.zeros((200, 300), np.uint8), np.zeros((200, 300), np.uint8)
    cv2.putText(text, "THYROID", (5, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.4, 255)
    noise = np.random.default_rng(0).normal(9, 1.5, (200, 300)).astype(np.uint8)
    asked = fingerprints(black, text, noise, 255 - black, np.full((90, 90), 700, np.uint16))
    assert not asked.digests.any()
    assert not sum(len(part.images) for part in asked.sketches())
    assert not Lookup(asked).among(asked).any()


def _random_table(count: int, rng: np.random.Generator) -> np.ndarray:
    table = np.zeros(count, FINGERPRINT)
    table["digest"] = rng.integers(1, 2**63, count)
    table["sketches"] = rng.integers(0, 3, count)
    table["hash"] = rng.integers(0, 2**63, (count, 2))
    table["code"] = rng.integers(0, 2**63, (count, 2, 16))
    return table


def test_what_is_found_is_what_comparing_all_with_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastrad.dataset.lookup._PAIRS_AT_ONCE", 7)
    monkeypatch.setattr("fastrad.dataset.fingerprints._SKETCHES_AT_ONCE", 11)
    rng = np.random.default_rng(4)
    known, asked = _random_table(80, rng), _random_table(60, rng)
    for image in range(50):  # copies with bits turned
        other = int(rng.integers(80))
        asked["sketches"][image], asked["hash"][image] = known["sketches"][other], known["hash"][other]
        asked["code"][image] = (
            known["code"][other] & rng.integers(0, 2**63, (2, 16), dtype=np.uint64)
            if image % 3
            else known["code"][other]
        )
        for bit in rng.choice(64, rng.integers(0, HASH_BITS + 3), replace=False).tolist():
            asked["hash"][image] ^= np.uint64(1 << bit)
        if image % 10 == 0:
            asked["digest"][image] = known["digest"][other]
    expected = []
    for one in asked:
        level = SAME if one["digest"] in known["digest"] else UNSEEN
        for two in known:
            for i in range(one["sketches"]):
                for j in range(two["sketches"]):
                    if (int(one["hash"][i]) ^ int(two["hash"][j])).bit_count() <= HASH_BITS:
                        first, second = (
                            sum(int(word) << (64 * k) for k, word in enumerate(code))
                            for code in (one["code"][i], two["code"][j])
                        )
                        distance = 1 - 2 * (first & second).bit_count() / (first.bit_count() + second.bit_count())
                        level = max(
                            level,
                            CONFIRMED if distance <= 0.15 else POSSIBLE if distance <= POSSIBLE_DISTANCE else UNSEEN,
                        )
        expected.append(level)
    assert Lookup(Fingerprints.of(asked)).among(Fingerprints.of(known)).tolist() == expected
    assert {UNSEEN, CONFIRMED, SAME} <= set(expected)


def test_the_distance_of_codes_is_by_hand() -> None:
    first, second = np.zeros((1, 16), np.uint64), np.zeros((1, 16), np.uint64)
    first[0, 0], second[0, 0], second[0, 5] = 0b1110, 0b0110, 0b1
    assert code_distances(first, second).tolist() == pytest.approx([1 - 2 * 2 / 6])


def test_a_file_is_read_as_it_was_written_and_an_altered_one_refused(tmp_path, monkeypatch) -> None:
    import hashlib

    monkeypatch.setattr("fastrad.dataset.fingerprints._SKETCHES_AT_ONCE", 5)
    table = _random_table(30, np.random.default_rng(0))
    path, content = tmp_path / "all.fingerprints", to_bytes(table)
    path.write_bytes(content)
    found = read_fingerprints(path, hashlib.sha256(content).hexdigest())
    assert np.array_equal(found.digests, table["digest"])
    read, written = (list(zip(*each.sketches(), strict=True)) for each in (found, Fingerprints.of(table)))
    for column, expected in zip(read, written, strict=True):
        assert np.array_equal(np.concatenate(column), np.concatenate(expected))
    for damaged in (content[:-1], content[:40] + b"x" + content[41:], b""):
        path.write_bytes(damaged)
        with pytest.raises(FormatError, match="was cut or altered"):
            read_fingerprints(path, hashlib.sha256(content).hexdigest())
    other = b"no fingerprints at all, but with the hash that is asked for"
    path.write_bytes(other)
    with pytest.raises(FormatError, match="holds no fingerprints of version 1"):
        read_fingerprints(path, hashlib.sha256(other).hexdigest())
