"""Seeded damage to bytes and texts, as disks, networks, spreadsheets and hands do it.

In: bytes and a random generator. Out: other bytes, and a name for what was done: the name goes into every failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

_EXTREME = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**63, 2**64 - 1)


def speckle(count: int, side: int, seed: int = 5) -> np.ndarray:
    """Smoothed noise, (count, side, side) uint8: it compresses like an image, and no two are equal."""
    noise = np.random.default_rng(seed).random((count, side + 4, side + 4))
    smooth = sum(noise[:, i : i + side, j : j + side] for i in range(5) for j in range(5)) / 25
    return (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def damaged(data: bytes, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` damaged copies of `data`, each different from it, with a name that says what was done."""
    made = 0
    for number in range(10 * count):
        generator = np.random.default_rng([seed, number])
        name, result = _KINDS[number % len(_KINDS)](data, generator)
        if result != data:
            yield f"seed {seed}, number {number}: {name}", result
            made += 1
        if made == count:
            return


def _flip(data: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    altered = bytearray(data)
    places = generator.integers(0, len(data), int(generator.integers(1, 4)))
    for place in places:
        altered[place] ^= 1 << int(generator.integers(8))
    return f"flip at {places.tolist()}", bytes(altered)


def _flip_in_head(data: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    name, head = _flip(data[:400], generator)
    return name, head + data[400:]


def _cut(data: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    length = int(generator.integers(0, len(data)))
    return f"cut to {length}", data[:length]


def _cut_out(data: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    start, stop = sorted(generator.integers(0, len(data) + 1, 2).tolist())
    return f"without {start}:{stop}", data[:start] + data[stop:]


def _insert(data: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    place = int(generator.integers(0, len(data) + 1))
    added = generator.integers(0, 256, int(generator.integers(1, 65)), dtype=np.uint8).tobytes()
    return f"{len(added)} bytes inserted at {place}", data[:place] + added + data[place:]


def _append(data: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    return "something appended", data + generator.integers(0, 256, 512, dtype=np.uint8).tobytes()


def _swap(data: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    block = int(generator.integers(1, max(2, len(data) // 4)))
    first, second = sorted(generator.integers(0, max(1, len(data) - block), 2).tolist())
    if second < first + block:
        second = min(first + block, len(data) - block)
    altered = bytearray(data)
    altered[first : first + block], altered[second : second + block] = (
        data[second : second + block],
        data[first : first + block],
    )
    return f"blocks of {block} at {first} and {second} swapped", bytes(altered)


def _zeros(data: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    start, stop = sorted(generator.integers(0, len(data) + 1, 2).tolist())
    return f"zeros in {start}:{stop}", data[:start] + bytes(stop - start) + data[stop:]


def _extreme_number(data: bytes, generator: np.random.Generator) -> tuple[str, bytes]:
    width = int(generator.choice([1, 2, 4, 8]))
    order = str(generator.choice(["little", "big"]))
    value = _EXTREME[int(generator.integers(len(_EXTREME)))] % (1 << 8 * width)
    place = int(generator.integers(0, max(1, min(len(data), 600) - width)))
    altered = data[:place] + value.to_bytes(width, order) + data[place + width :]
    return f"{value:#x} as {width} bytes at {place}", altered


_KINDS = (_flip, _flip_in_head, _cut, _cut_out, _insert, _append, _swap, _zeros, _extreme_number, _extreme_number)


def damaged_text(text: str, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """`count` damaged copies of a text file: the damage of bytes, and what spreadsheets and hands do to tables."""
    made = 0
    for number in range(count):
        generator = np.random.default_rng([seed, 1, number])
        name, result = _TEXT_KINDS[number % len(_TEXT_KINDS)](text, generator)
        yield f"seed {seed}, text {number}: {name}", result
        made += 1
    assert made == count
    yield from damaged(text.encode(), seed, count)


def _encoded(text: str, generator: np.random.Generator) -> tuple[str, bytes]:
    names = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp1252", "cp500", "utf-7")
    name = names[int(generator.integers(len(names)))]
    return name, text.encode(name, "replace")


def _line_ends(text: str, generator: np.random.Generator) -> tuple[str, bytes]:
    ends = ("\r\n", "\r", "\n\n", "\n\r", "\x85", "\v", "\f")
    end = ends[int(generator.integers(len(ends)))]
    return f"line ends {end!r}", text.replace("\n", end).encode()


def _into_field(text: str, generator: np.random.Generator) -> tuple[str, bytes]:
    words = ("\0", '"', '""', "'", ",", ";", "\t", "\n", "\ufeff", "\u202e", "😀", "../../etc/passwd", "/etc/passwd")
    more = ("x" * 200_000, "-1", "1e999", "nan", "9" * 400, "=1+1", "%s", "{}", "\\", "C:\\a\\b.png", "\udcff", "")
    word = (words + more)[int(generator.integers(len(words) + len(more)))]
    fields = [place for place, letter in enumerate(text) if letter in ",\n"]
    place = fields[int(generator.integers(len(fields)))] if fields else 0
    return f"{word[:20]!r} at {place}", (text[:place] + word + text[place:]).encode("utf-8", "surrogateescape")


def _other_field(text: str, generator: np.random.Generator) -> tuple[str, bytes]:
    lines = text.split("\n")
    line = int(generator.integers(len(lines)))
    words = lines[line].split(",")
    words[int(generator.integers(len(words)))] = str(
        generator.choice(["", "nan", "-1", "1e400", "99999999999999999999", " ", "TRUE", "é" * 50, '"', "\x1a"])
    )
    lines[line] = ",".join(words)
    return f"another field in line {line}", "\n".join(lines).encode()


def _lines(text: str, generator: np.random.Generator) -> tuple[str, bytes]:
    lines = text.split("\n")
    kind = int(generator.integers(4))
    if kind == 0:
        del lines[int(generator.integers(len(lines)))]
    elif kind == 1:
        lines.insert(int(generator.integers(len(lines))), lines[int(generator.integers(len(lines)))])
    elif kind == 2:
        generator.shuffle(lines)
    else:
        lines = lines[:1]
    return f"lines {('removed', 'doubled', 'shuffled', 'only the first')[kind]}", "\n".join(lines).encode()


_TEXT_KINDS = (_encoded, _line_ends, _into_field, _into_field, _other_field, _lines)


HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 7, 2**31, 2**63, 2**64, 10**40, -(10**40), 0.0, -0.5, 1e300, 1e-320),
    *("", " ", "x", "x" * 70_000, "../../etc/passwd", "/etc/passwd", "a\0b", "a\x1b[2J", "NaN", "1", "true", "é" * 300),
    *([], {}, [[]], [{}], {"": ""}, {"a": {"a": {"a": {}}}}, [0] * 1000, {"__class__": "x"}, {"learner": 1}),
)


def mutated(content: Any, generator: np.random.Generator, hostile: Sequence[Any] = HOSTILE) -> tuple[str, Any]:
    """A copy of a structure of dicts, lists and values in which one or two places are other than they should be.

    A place is drawn with its depth; there the value is replaced, removed, doubled, moved to another place, nested into
    itself, or a key is added or renamed.
    """
    names = []
    for _ in range(int(generator.integers(1, 3))):
        name, content = _mutated_once(content, generator, hostile)
        names.append(name)
    return "; ".join(names), content


def _mutated_once(content: Any, generator: np.random.Generator, hostile: Sequence[Any]) -> tuple[str, Any]:
    places = list(_places(content))
    if not places:
        return "the whole", hostile[int(generator.integers(len(hostile)))]
    path = places[int(generator.integers(len(places)))]
    kind = int(generator.integers(8))
    value = hostile[int(generator.integers(len(hostile)))]
    if kind == 1:
        return f"without {path}", _changed(content, path, None, remove=True)
    if kind == 2:
        other = places[int(generator.integers(len(places)))]
        return f"{path} as {other}", _changed(content, path, _at(content, other))
    if kind == 3:
        nested = _at(content, path)
        for _ in range(int(generator.choice([1, 20, 300]))):
            nested = [nested] if generator.integers(2) else {"a": nested}
        return f"{path} nested", _changed(content, path, nested)
    if kind == 4:
        return f"{path} doubled", _changed(content, path, [_at(content, path)] * 2)
    if kind == 5 and isinstance(_at(content, path), dict):
        return f"{path} with more", _changed(content, path, {**_at(content, path), "more": value})
    if kind == 6 and isinstance(_at(content, path), int | float) and not isinstance(_at(content, path), bool):
        return f"{path} plus one", _changed(content, path, _at(content, path) + 1)
    return f"{path} = {str(value)[:20]!r}", _changed(content, path, value)


def _places(content: Any, above: tuple = ()) -> Iterator[tuple]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield (*above, key)
        if len(above) < 12:
            yield from _places(value, (*above, key))


def _at(content: Any, path: tuple) -> Any:
    for key in path:
        content = content[key]
    return content


def _changed(content: Any, path: tuple, value: Any, *, remove: bool = False) -> Any:
    copy = dict(content) if isinstance(content, dict) else list(content)
    if len(path) > 1:
        copy[path[0]] = _changed(copy[path[0]], path[1:], value, remove=remove)
    elif remove:
        del copy[path[0]]
    else:
        copy[path[0]] = value
    return copy
