"""Damaged dataset files: `verify` finds every flipped byte, and no loader hands over another image than was stored.

Damage that the card's hashes see is one thing; here cards are also written anew over what was altered, as nobody should
and a broken tool may, and then nothing may crash.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from isolated import Unforeseen, run_isolated
from mutations import damaged

from fastrad.dataset import BetonFile, Card
from fastrad.dataset.beton import layout
from fastrad.dataset.inspect import describe
from fastrad.errors import DamagedSampleError, FastradError
from fastrad.loading import engines
from fastrad.verify import verify

ENGINES = [name for name in engines.ENGINES if name != "dali" or find_spec("nvidia.dali")]


def _load(case: tuple[str, str, bool]) -> dict[int, bytes] | str:
    """Every image by its row, or the error; with `skip` those that are left."""
    path, engine, skip = case
    from fastrad import Loader

    found: dict[int, bytes] = {}
    try:
        side = BetonFile(path).height
        loader = Loader(
            path, 4, engine=engine, size=side, train=False, workers=2, on_damage="skip" if skip else "raise"
        )
        for images, labels, rows in loader:
            for image, label, row in zip(images, labels.tolist(), rows.tolist(), strict=True):
                found[row] = bytes([label]) + image.contiguous().numpy().tobytes()
    except FastradError as error:
        return str(error)
    return found


def _examine(path: str) -> str:
    """Everything else that opens a dataset file, one after another; the errors."""
    said = []
    for look in (verify, lambda file: describe(BetonFile(file))):
        try:
            result = look(path)
        except FastradError as error:
            said.append(str(error))
        else:
            said.append("sound" if not getattr(result, "problems", ()) else "damaged")
    return " | ".join(said)


def _write_copies(whole: Path, folder: Path, copies: list[tuple[str, bytes, bytes]]) -> list[tuple[str, str]]:
    cases = []
    for number, (name, content, card) in enumerate(copies):
        target = folder / f"{number:04d}" / whole.name
        target.parent.mkdir(parents=True)
        target.write_bytes(content)
        Card.path_for(target).write_bytes(card)
        cases.append((name, str(target)))
    return cases


def _stored(path: Path) -> dict[int, bytes]:
    file = BetonFile(path)
    return {
        int(row): bytes([int(label)]) + file.decode(index).tobytes()
        for index, (row, label) in enumerate(zip(file.rows, file.labels, strict=True))
    }


def _check_verify_and_loaders(whole: Path, folder: Path, copies: list[tuple[str, bytes, bytes]]) -> None:
    stored = _stored(whole)
    cases = _write_copies(whole, folder, copies)
    for (name, _), said in zip(cases, run_isolated(_examine, cases), strict=True):
        assert not isinstance(said, Unforeseen), f"{name}: {said}"
        assert "\n" not in said
        assert not said.startswith("sound"), f"{name}: verify found nothing"
    loads = [
        (f"{name}, engine {engine}, skip {skip}", (path, engine, skip))
        for number, (name, path) in enumerate(cases)
        for skip in (False, True)
        for engine in [ENGINES[number % len(ENGINES)]]
    ]
    for (name, (_, _, skip)), found in zip(loads, run_isolated(_load, loads), strict=True):
        assert not isinstance(found, Unforeseen), f"{name}: {found}"
        if isinstance(found, str):
            assert "\n" not in found
            continue
        for row, image in found.items():
            assert stored[row] == image, f"{name}: row {row} is not what was stored"
        assert skip or found == stored, f"{name}: samples are missing without an error"


def _copies(path: Path, seed: int, count: int) -> list[tuple[str, bytes, bytes]]:
    content, card = path.read_bytes(), Card.path_for(path).read_bytes()
    copies = [(f"file: {name}", bad, card) for name, bad in damaged(content, seed, count)]
    return copies + [(f"card: {name}", content, bad) for name, bad in damaged(card, seed + 1, count // 2)]


def test_damaged_files_and_cards_are_found_and_never_loaded_wrong(small_beton, tmp_path, seed):
    _check_verify_and_loaders(small_beton, tmp_path / "copies", _copies(small_beton, seed, 60))


@pytest.mark.slow
def test_many_damaged_files_and_cards_are_found_and_never_loaded_wrong(small_beton, tmp_path, seed):
    for turn in range(1, 5):
        _check_verify_and_loaders(small_beton, tmp_path / f"copies{turn}", _copies(small_beton, seed + 10 * turn, 300))


def _assert_flip_is_found(path: Path, content: bytearray, position: int) -> None:
    content[position] ^= 1 << (position % 8)
    path.write_bytes(content)
    assert verify(path, workers=1).problems, f"a flip of byte {position} is not found"
    content[position] ^= 1 << (position % 8)


def test_verify_finds_flipped_bytes_everywhere(small_beton, seed):
    """Every region, and a draw over the whole file."""
    content = bytearray(small_beton.read_bytes())
    file = BetonFile(small_beton)
    edges = [0, 23, 24, layout.METADATA_START, file.data_start - 1, file.data_start, file.table_start, len(content) - 1]
    drawn = np.random.default_rng(seed).integers(0, len(content), 300)
    for position in [*edges, *drawn.tolist()]:
        _assert_flip_is_found(small_beton, content, position)


@pytest.mark.slow
def test_verify_finds_every_flipped_byte(small_raw_beton):
    content = bytearray(small_raw_beton.read_bytes())
    for position in range(len(content)):
        _assert_flip_is_found(small_raw_beton, content, position)


def test_damaged_image_bytes_cost_that_sample_and_no_other(small_beton, tmp_path, seed):
    file, stored = BetonFile(small_beton), _stored(small_beton)
    content = small_beton.read_bytes()
    generator = np.random.default_rng(seed)
    copies, rows = [], []
    for index in range(len(file)):
        altered = bytearray(content)
        altered[int(file.offsets[index]) + int(generator.integers(file.sizes[index]))] ^= 1 << int(
            generator.integers(8)
        )
        copies.append((f"sample {index}", bytes(altered), Card.path_for(small_beton).read_bytes()))
        rows.append(int(file.rows[index]))
    cases = _write_copies(small_beton, tmp_path / "copies", copies)
    loads = [(f"{name}, {engine}", (path, engine, True)) for name, path in cases for engine in ENGINES]
    for number, found in enumerate(run_isolated(_load, loads)):
        row = rows[number // len(ENGINES)]
        assert found == {other: image for other, image in stored.items() if other != row}, loads[number][0]
    loads = [(f"{name}, {engine}", (path, engine, False)) for name, path in cases for engine in ENGINES]
    for number, found in enumerate(run_isolated(_load, loads)):
        assert isinstance(found, str), loads[number][0]
        assert f"manifest row {rows[number // len(ENGINES)]} is damaged" in found


def _rehashed(path: Path, content: bytes, **changes: object) -> bytes:
    """A card whose hashes agree with `content`, as only a tool that knows them can make it."""
    card = Card.read(path)
    table = card.bytes - card.samples * layout.ALLOCATION.itemsize
    size = int(card.parameters["page_size"])
    start = table - len(card.hashes["pages"]) * size
    hashes = {
        "algorithm": "sha256",
        "header": hashlib.sha256(content[: layout.METADATA_START]).hexdigest(),
        "metadata": hashlib.sha256(content[layout.METADATA_START : start]).hexdigest(),
        "allocation_table": hashlib.sha256(content[table:]).hexdigest(),
        "pages": [hashlib.sha256(content[page : page + size]).hexdigest() for page in range(start, table, size)],
    }
    return replace(card, hashes=hashes, **changes).to_bytes()


def _check_nothing_crashes(whole: Path, folder: Path, copies: list[tuple[str, bytes, bytes]]) -> None:
    """No crash, no hang, no traceback; and what is loaded agrees with its checksum."""
    cases = _write_copies(whole, folder, copies)
    for (name, _), said in zip(cases, run_isolated(_examine, cases), strict=True):
        assert not isinstance(said, Unforeseen), f"{name}: {said}"
    loads = [
        (f"{name}, engine {engine}", (path, engine, skip))
        for number, (name, path) in enumerate(cases)
        for engine, skip in [(ENGINES[number % len(ENGINES)], bool(number % 2))]
    ]
    for (name, _), found in zip(loads, run_isolated(_load, loads), strict=True):
        assert not isinstance(found, Unforeseen), f"{name}: {found}"


def test_headers_that_agree_with_their_card_and_make_no_sense_do_not_crash(small_beton, tmp_path):
    content = small_beton.read_bytes()
    copies = []
    for position, width in (
        (0, 2),
        (2, 2),
        (4, 4),
        (8, 8),
        (16, 8),
        (24, 1),
        (41, 8),
        (49, 1),
        (50, 1),
        (51, 2),
        (53, 2),
    ):
        for value in (0, 1, 2**31, 2**63, 2**64 - 1, 255):
            bad = bytearray(content)
            bad[position : position + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
            copies.append((f"{value:#x} in the header at {position}", bytes(bad), _rehashed(small_beton, bytes(bad))))
    _check_nothing_crashes(small_beton, tmp_path / "copies", copies)


def test_records_that_agree_with_their_card_and_make_no_sense_do_not_crash(small_beton, tmp_path, seed):
    content = small_beton.read_bytes()
    copies = []
    generator = np.random.default_rng(seed)
    for offset, width in ((0, 8), (8, 4), (12, 2), (14, 2), (16, 1), (24, 8), (32, 8), (40, 8), (48, 8)):
        for value in (0, 1, 2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, 2**64 - 577, 9000):
            bad = bytearray(content)
            record = layout.METADATA_START + layout.METADATA.itemsize * int(generator.integers(9))
            bad[record + offset : record + offset + width] = (value % (1 << 8 * width)).to_bytes(width, "little")
            copies.append((f"{value:#x} in a record at {offset}", bytes(bad), _rehashed(small_beton, bytes(bad))))
    _check_nothing_crashes(small_beton, tmp_path / "copies", copies)


@pytest.mark.parametrize("small_beton", ["jpeg"], indirect=True)
def test_jpeg_bytes_that_agree_with_their_checksum_and_are_no_jpeg_do_not_crash(small_beton, tmp_path, seed):
    """Damaged before the checksum was taken: every engine meets the decoder."""
    file = BetonFile(small_beton)
    content, copies = small_beton.read_bytes(), []
    for index in range(len(file)):
        start, size = int(file.offsets[index]), int(file.sizes[index])
        for name, bad in damaged(content[start : start + size], seed + index, 12):
            image = bad[:size].ljust(size, b"\0")
            altered = bytearray(content)
            altered[start : start + size] = image
            record = layout.METADATA_START + index * layout.METADATA.itemsize
            altered[record + 48 : record + 56] = zlib.crc32(image).to_bytes(8, "little")
            copies.append((f"sample {index}: {name}", bytes(altered), _rehashed(small_beton, bytes(altered))))
    _check_nothing_crashes(small_beton, tmp_path / "copies", copies)


def test_cards_with_their_own_hash_and_senseless_values_do_not_crash(small_raw_beton, tmp_path):
    content, text = small_raw_beton.read_bytes(), Card.path_for(small_raw_beton).read_text()
    names = [name for name in json.loads(text) if name != "card_sha256"]
    copies = []
    for value in (None, -1, 0, 1e300, "x", "", [], {}, [1, "a"], True, 2**70):
        inner = [("hashes", "pages"), ("hashes", "header"), ("parameters", "page_size")]
        for path in [*((name,) for name in names), *inner]:
            card = json.loads(text)
            place = card
            for name in path[:-1]:
                place = place[name]
            place[path[-1]] = value
            copies.append((f"{'.'.join(path)} = {value!r}", content, _self_hashed(card)))
    for name in names:
        card = json.loads(text)
        del card[name]
        copies.append((f"without {name}", content, _self_hashed(card)))
    _check_nothing_crashes(small_raw_beton, tmp_path / "copies", copies)


def _self_hashed(card: dict) -> bytes:
    card = {**card, "card_sha256": "0" * 64}
    text = json.dumps(card, indent=1).encode()
    head, tail = text.rsplit(b"0" * 64, 1)
    return head + hashlib.sha256(text).hexdigest().encode() + tail


def test_a_card_that_is_no_object_is_refused(small_raw_beton):
    for text in ("[]", "3", '"x"', "null", "[" * 100_000):
        body = text + ' "card_sha256": "' + "0" * 64 + '"'
        digest = hashlib.sha256(body.encode()).hexdigest()
        Card.path_for(small_raw_beton).write_text(re.sub("0{64}", digest, body))
        with pytest.raises(FastradError):
            BetonFile(small_raw_beton)


def test_a_file_that_is_cut_while_a_loader_is_open_raises_and_does_not_crash(small_beton):
    (said,) = run_isolated(_cut_while_open, [("cut while open", str(small_beton))])
    assert "damaged" in said


def _cut_while_open(path: str) -> str:
    from fastrad import Loader

    loader = Loader(path, 2, engine="direct", size=24, workers=2)
    with open(path, "r+b") as file:
        file.truncate(layout.METADATA_START + 100)
    try:
        list(loader)
    except DamagedSampleError as error:
        return str(error)
    return "nothing"
