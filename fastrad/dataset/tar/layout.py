"""WebDataset shards as bytes: deterministic tar members, and the index that DALI reads.

A sample is three members that share a key: the image (`.jpg` or `.png`), `.cls` (the class index) and `.json`. Headers
are POSIX ustar with no owner, no time and mode 644, so the same samples give the same bytes. The index is DALI's
`wds2idx` format, version 1.2: a line a sample with suffix, offset, size and name of each member.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from fastrad.errors import FormatError

BLOCK = 512
END_OF_ARCHIVE = bytes(2 * BLOCK)
INDEX_VERSION = "v1.2"
SUFFIXES = {"jpeg": "jpg", "png": "png"}

# a sample: its manifest row, the number of its tar, and where its image and its `.json` lie in there
WHERE = np.dtype(
    [
        ("row", "<i8"),
        ("tar", "<i8"),
        ("image", "<i8"),
        ("image_size", "<i8"),
        ("about", "<i8"),
        ("about_size", "<i8"),
    ]
)
# of a line: row, then offset and size of the image, of .cls and of .json; no number that 64 bits could not hold
_LINE = re.compile(
    rb"^(?:jpg|png) (\d{1,15}) (\d{1,15}) (\d{9,18})\.(?:jpg|png) cls (\d{1,15}) (\d{1,15}) \3\.cls"
    rb" json (\d{1,15}) (\d{1,15}) \3\.json$",
    re.MULTILINE,
)

# where a sample's members lie in their stretch of a tar; sizes of image, cls and json
TAR_SAMPLE = np.dtype(
    [
        ("start", "<u8"),
        ("length", "<u8"),
        ("row", "<i8"),
        ("label", "<i8"),
        ("patient", "<i8"),
        ("crc32", "<i8"),
        ("sizes", "<u8", (3,)),
    ]
)


# everything of a header but name and size; the checksum counts as eight blanks
_REST = (
    b"0000644\0" + b"0000000\0" * 2,
    b"00000000000\0" + b" " * 8 + b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167),
)
_REST_SUM = sum(map(sum, _REST))


def member(name: str, content: bytes) -> bytes:
    """Header, content and padding of one file (POSIX.1-1988 ustar)."""
    known, size = name.encode(), b"%011o\0" % len(content)
    checksum = b"%06o\0 " % (_REST_SUM + sum(known) + sum(size))
    head = known.ljust(100, b"\0") + _REST[0] + size + _REST[1]
    return head[:148] + checksum + head[156:] + content + bytes(-len(content) % BLOCK)


def index_line(row: int, position: int, sizes: Sequence[int], suffix: str) -> str:
    """A line of the index for a sample whose members, of these sizes (image, cls, json), begin at byte `position`."""
    key = f"{row:09d}"
    words = []
    for ending, size in zip((suffix, "cls", "json"), sizes, strict=True):
        words.append(f"{ending} {position + BLOCK} {size} {key}.{ending}")
        position += BLOCK + -(-size // BLOCK) * BLOCK
    return " ".join(words)


def index_text(lines: list[str]) -> str:
    """The whole index."""
    return "\n".join([f"{INDEX_VERSION} {len(lines)}", *lines]) + "\n"


def read_index(text: bytes, tar: int, *, name: str, size: int, samples: int) -> np.ndarray:
    """`WHERE` of the samples in an index.

    Parameters
    ----------
    text : bytes
        The index.
    tar : int
        The number of its tar.
    name : str
        Stands for the index in errors.
    size, samples : int
        Bytes and samples of the tar.

    Raises
    ------
    FormatError
        If it is no index of such a tar: another count of samples, or members that do not follow one another in it.
    """
    found = np.array(_LINE.findall(text), dtype=bytes).astype(np.int64).reshape(-1, 7)
    image, image_size, row, kind, kind_size, about, about_size = found.T
    end = about + _padded(about_size)
    sound = len(found) == samples == text.count(b"\n") - 1
    sound = sound and text.startswith(f"{INDEX_VERSION} {samples}\n".encode())
    if sound and samples:
        sound = bool(
            (image == np.concatenate([[0], end[:-1]]) + BLOCK).all()
            and (kind == image + _padded(image_size) + BLOCK).all()
            and (about == kind + _padded(kind_size) + BLOCK).all()
            and end[-1] <= size
        )
    if not sound:
        raise FormatError(f"{name}: is no index of its tar; copy it again, or convert again")
    where = np.empty(samples, dtype=WHERE)
    where["row"], where["tar"] = row, tar
    where["image"], where["image_size"], where["about"], where["about_size"] = image, image_size, about, about_size
    return where


def _padded(sizes: np.ndarray) -> np.ndarray:
    """Sizes of members with the zeros that fill their last block."""
    return -(-sizes // BLOCK) * BLOCK
