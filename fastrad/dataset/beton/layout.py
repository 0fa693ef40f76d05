"""The bytes of a `.beton` file (FFCV's format, version 2) as dtypes and arithmetic; numpy only.

A file is a header, the field descriptors, one metadata record a sample, a gap of zeros up to a page boundary, pages of
image bytes (a sample never crosses a page), and the allocation table up to the end of the file. Facts about the format
come from FFCV 1.0.2's `types.py`, `writer.py` and `memory_allocator.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

FORMAT_VERSION = 2
SMALL_PAGE_SIZE = 1 << 16  # of files that fill no other: stock FFCV writes none so small, but reads them
MIN_PAGE_SIZE = 1 << 21
DEFAULT_PAGE_SIZE = 1 << 23

HEADER = np.dtype(
    [
        ("version", "<u2"),
        ("num_fields", "<u2"),
        ("page_size", "<u4"),
        ("num_samples", "<u8"),
        ("alloc_table_ptr", "<u8"),
    ]
)
FIELD_DESCRIPTOR = np.dtype([("type_id", "<u1"), ("name", "S16"), ("arguments", "<u1", (1024,))])
IMAGE_METADATA = np.dtype(
    [("data_ptr", "<u8"), ("size", "<u4"), ("width", "<u2"), ("height", "<u2"), ("mode", "<u1")], align=True
)
# f0 image, f1 label, f2 patient, f3 row, f4 crc32: the names that FFCV gives to the fields in their order
METADATA = np.dtype([("f0", IMAGE_METADATA), ("f1", "<i8"), ("f2", "<i8"), ("f3", "<i8"), ("f4", "<i8")], align=True)
ALLOCATION = np.dtype([("sample_id", "<u8"), ("ptr", "<u8"), ("size", "<u8")])
IMAGE_ARGUMENTS = np.dtype([("magic", "S8"), ("mode", "<u1"), ("quality", "<u1"), ("height", "<u2"), ("width", "<u2")])

FIELD_NAMES = ("image", "label", "patient", "row", "crc32")
MODES = {"jpeg": 0, "raw": 1}  # FFCV's own numbers for jpg and raw
_CUSTOM_TYPE, _INT_TYPE = 255, 1
_MAGIC = b"fastrad"
METADATA_START = HEADER.itemsize + len(FIELD_NAMES) * FIELD_DESCRIPTOR.itemsize


def image_arguments(encoding: str, height: int, width: int, quality: int) -> np.ndarray:
    """The image field's argument block, shape (1024,), uint8."""
    block = np.zeros(1024, dtype=np.uint8)
    arguments = np.array([(_MAGIC, MODES[encoding], quality, height, width)], dtype=IMAGE_ARGUMENTS)
    block[: IMAGE_ARGUMENTS.itemsize] = arguments.view(np.uint8)
    return block


def parse_image_arguments(block: np.ndarray) -> tuple[str, int, int, int] | None:
    """Encoding, height, width and quality out of an argument block; None where fastrad did not write it."""
    arguments = np.ascontiguousarray(block[: IMAGE_ARGUMENTS.itemsize]).view(IMAGE_ARGUMENTS)[0]
    names = {number: name for name, number in MODES.items()}
    if arguments["magic"] != _MAGIC or int(arguments["mode"]) not in names:
        return None
    return (
        names[int(arguments["mode"])],
        int(arguments["height"]),
        int(arguments["width"]),
        int(arguments["quality"]),
    )


def head_bytes(*, samples: int, page_size: int, alloc_table_ptr: int, arguments: np.ndarray) -> bytes:
    """Header and field descriptors."""
    header = np.zeros(1, dtype=HEADER)
    header[0] = (FORMAT_VERSION, len(FIELD_NAMES), page_size, samples, alloc_table_ptr)
    descriptors = np.zeros(len(FIELD_NAMES), dtype=FIELD_DESCRIPTOR)
    descriptors["name"] = [name.encode() for name in FIELD_NAMES]
    descriptors["type_id"] = [_CUSTOM_TYPE] + [_INT_TYPE] * (len(FIELD_NAMES) - 1)
    descriptors["arguments"][0] = arguments
    return header.tobytes() + descriptors.tobytes()


def data_start(planned_samples: int, page_size: int) -> int:
    """Byte position of the first page, when the metadata region holds `planned_samples` records."""
    end = METADATA_START + planned_samples * METADATA.itemsize
    return -(-end // page_size) * page_size


def size_around_pages(samples: int) -> int:
    """The least bytes that a file of so many samples has besides its pages."""
    return METADATA_START + samples * (METADATA.itemsize + ALLOCATION.itemsize)


def allocation_table(metadata: np.ndarray, first_sample: int = 0) -> np.ndarray:
    """The allocation records of a stretch of metadata whose first record is sample `first_sample`."""
    table = np.empty(len(metadata), dtype=ALLOCATION)
    table["sample_id"] = np.arange(first_sample, first_sample + len(metadata), dtype=np.uint64)
    table["ptr"] = metadata["f0"]["data_ptr"]
    table["size"] = metadata["f0"]["size"]
    return table


@dataclass(frozen=True)
class Page:
    """A finished page: its bytes (a view that is valid until the next `place`) and its number, from 0."""

    number: int
    content: memoryview


class PageFiller:
    """Packs samples into pages, one after another, through one buffer of a page's size.

    Parameters
    ----------
    page_size : int
        Bytes.
    emit : callable
        Gets each finished `Page`; the page is padded with zeros.
    """

    def __init__(self, page_size: int, emit: Callable[[Page], None]) -> None:
        self._buffer = bytearray(page_size)
        self._view = memoryview(self._buffer)
        self._emit = emit
        self._page_size = page_size
        self._used = 0
        self.pages = 0

    def place(self, sample: memoryview | bytes) -> int:
        """Store `sample` and return its position, in bytes from the start of the first page.

        Raises
        ------
        ValueError
            If it is larger than a page.
        """
        size = len(sample)
        if size > self._page_size:
            raise ValueError(f"a sample of {size} bytes does not fit into a page of {self._page_size}")
        if self._used + size > self._page_size:
            self.flush()
        start = self._used
        self._view[start : start + size] = sample
        self._used += size
        return self.pages * self._page_size + start

    def flush(self) -> None:
        """Finish the page that is begun, if any."""
        if self._used:
            self._view[self._used :] = bytes(self._page_size - self._used)
            self._emit(Page(self.pages, self._view))
            self.pages += 1
            self._used = 0
