"""WebDataset shards as bytes: deterministic tar members, and the index that DALI reads.

A sample is three members that share a key: the image (`.jpg` or `.png`), `.cls` (the class index) and `.json`. Headers
are POSIX ustar with no owner, no time and mode 644, so the same samples give the same bytes. The index is DALI's
`wds2idx` format, version 1.2: a line a sample with suffix, offset, size and name of each member.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BLOCK = 512
END_OF_ARCHIVE = bytes(2 * BLOCK)
INDEX_VERSION = "v1.2"
SUFFIXES = {"jpeg": "jpg", "png": "png"}

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
