"""Look-up tables of DICOM: modality, VOI and palettes, at the depth that their entries really have.

In: a descriptor (number of entries, first value mapped, bits) and data of 8 or 16 bits an entry, which the standard
lets disagree. Out: a `Table`, or an `ImageError` where which depth is meant can't be known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut

from fastrad.imaging.dicom.header import Header
from fastrad.imaging.structure import ImageError

_COLOURS = ("Red", "Green", "Blue")


class Table(NamedTuple):
    """A look-up table.

    Attributes
    ----------
    entries : numpy.ndarray
        (n,) uint16, or (n, 3).
    first : int
        The value that the first entry stands for; smaller ones take it too, and larger ones than the last's the last.
    bits : int
        Declared for an entry.
    """

    entries: np.ndarray
    first: int
    bits: int

    def look_up(self, values: np.ndarray) -> np.ndarray:
        """The entries of values of any shape, the nearest of values that are not whole."""
        if values.dtype.kind == "f":
            values = np.rint(np.nan_to_num(values))
        index = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[index]


def read_table(item: Dataset, header: Header, *, signed: bool) -> Table:
    """The table of an item of a modality or VOI LUT sequence; `signed` says whether the values that go in can be.

    Raises
    ------
    ImageError
        If descriptor and data contradict each other.
    """
    count, first, bits = _descriptor(item.get("LUTDescriptor"), header, signed)
    return Table(_entries(item.get("LUTData"), count, header), first, bits)


def read_palette(header: Header) -> Table:
    """A palette as 8-bit RGB.

    Entries of 16 bits hold 8-bit colours as value * 256 or value * 257, and the high byte is right for both; some files
    declare 16 bits and hold values of 8, or the other way round.

    Raises
    ------
    ImageError
        If there is none, or the depth of its entries is neither 8 nor 16 bits.
    """
    elements, name = header.elements, header.name
    signed = bool(header.number("PixelRepresentation", 0))
    descriptors = [
        _descriptor(elements.get(f"{colour}PaletteColorLookupTableDescriptor"), header, signed) for colour in _COLOURS
    ]
    count, first, bits = descriptors[0]
    if any(descriptor != descriptors[0] for descriptor in descriptors):
        raise ImageError(name, "DICOM palette whose red, green and blue differ in size is not supported")
    if "RedPaletteColorLookupTableData" in elements:
        channels = [
            _entries(elements.get(f"{colour}PaletteColorLookupTableData"), count, header) for colour in _COLOURS
        ]
        colours = np.stack(channels, axis=-1)
    else:
        identity = np.arange(first, first + count, dtype=np.int64)
        try:
            colours = apply_color_lut(identity.reshape(1, -1), elements)[0].astype(np.uint16)
        except Exception:
            raise ImageError(name, "DICOM palette is missing or damaged") from None
    needed = int(colours.max()).bit_length()
    if needed <= 8 and (bits == 8 or needed == 8):
        return Table(colours.astype(np.uint8), first, 8)
    if needed == 16 or (bits == 16 and needed > 12):
        return Table((colours >> 8).astype(np.uint8), first, 8)
    raise ImageError(
        name,
        f"DICOM palette of {bits} bits whose entries reach {int(colours.max())}: "
        "its depth cannot be known; convert the file to RGB",
    )


def palette_luma(palette: Table) -> np.ndarray:
    """The gray level of each colour, (n,) uint8."""
    return cv2.cvtColor(np.ascontiguousarray(palette.entries[None]), cv2.COLOR_RGB2GRAY)[0]


def check_depth(table: Table, name: str, what: str) -> None:
    """Refuse a table whose entries need other bits than it declares: white would not be white.

    Raises
    ------
    ImageError
    """
    most = int(table.entries.max())
    if most.bit_length() != table.bits:
        raise ImageError(
            name,
            f"DICOM {what} declares {table.bits} bits, and its entries reach {most}, which has {most.bit_length()}: "
            "what is white cannot be known; give --window LOW,HIGH",
        )


def _descriptor(value: object, header: Header, signed: bool) -> tuple[int, int, int]:
    order = "little" if header.little_endian else "big"
    if isinstance(value, bytes):
        value = [int.from_bytes(value[k : k + 2], order) for k in range(0, len(value), 2)]  # type: ignore[arg-type]
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 3:
        raise ImageError(header.name, "DICOM look-up table without a descriptor of three numbers")
    count, first, bits = (int(each) for each in value)
    first &= 0xFFFF
    if signed and first >= 1 << 15:
        first -= 1 << 16
    if not 1 <= bits <= 16:
        raise ImageError(header.name, f"DICOM look-up table of {bits} bits is not supported")
    return count & 0xFFFF or 1 << 16, first, bits


def _entries(data: object, count: int, header: Header) -> np.ndarray:
    order = "<" if header.little_endian else ">"
    if isinstance(data, int):
        data = [data]
    if data is not None and not isinstance(data, bytes) and isinstance(data, Sequence):
        data = np.asarray(data).astype(np.int64).astype(f"{order}u2").tobytes()
    if not isinstance(data, bytes):
        raise ImageError(header.name, "DICOM look-up table without data")
    if len(data) == 2 * count:
        return np.frombuffer(data, f"{order}u2").astype(np.uint16)
    if len(data) == count + count % 2:  # 8-bit entries, two in a word
        packed = np.frombuffer(data, f"{order}u2").astype("<u2").view(np.uint8)
        return packed[:count].astype(np.uint16)
    if len(data) == count:
        return np.frombuffer(data, np.uint8).astype(np.uint16)
    raise ImageError(header.name, f"DICOM look-up table declares {count} entries and holds {len(data)} bytes")
