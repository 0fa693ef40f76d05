"""What a DICOM file says of its pixels, and where in the file they are.

In: an open file, with a preamble or without, deflated or not. Out: a `Header`, or an `ImageError`. No element that may
name a patient is read, and no text of pydicom's is passed on: it may quote the file.
"""

from __future__ import annotations

import io
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from fastrad.imaging.structure import MAX_PIXELS, ImageError

UNDEFINED_LENGTH = 0xFFFFFFFF
_PIXELS = {int(Tag(keyword)): keyword for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")}
_COLOURS = ("Red", "Green", "Blue")
_KEYWORDS = [
    *("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsStored", "BitsAllocated", "HighBit", "PixelRepresentation", "PixelPresentation", "PresentationLUTShape"),
    *("Modality", "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence"),
    *("VOILUTSequence", "VOILUTFunction", "WindowCenter", "WindowWidth"),
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "SequenceOfUltrasoundRegions"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in _COLOURS),
    *(f"{colour}PaletteColorLookupTableData" for colour in _COLOURS),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS),
]
_TAGS: list[Any] = [Tag(keyword) for keyword in _KEYWORDS]
_DEFLATED = b"1.2.840.10008.1.2.1.99"
MAX_FRAMES = 100_000  # a header may claim any number, and each becomes a row
_INFLATED_AT_MOST = 1 << 29  # bytes; a deflated file has to be inflated as a whole
_INFLATED_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Header:
    """The elements that matter for pixels.

    Attributes
    ----------
    name : str
        Stands for the file in errors.
    elements : pydicom.Dataset
        Those of `_KEYWORDS` that are there.
    syntax : pydicom.uid.UID
        How the pixels are stored; where the file has no meta information, what its elements show.
    stream : binary file
        Holds the pixels at `start`: the file, or what it inflates to.
    keyword : str or None
        The element that holds the pixels: "PixelData", "FloatPixelData", "DoubleFloatPixelData"; None without any.
    vr : str or None
        That element's value representation; None where the file does not store it.
    start, length : int
        Where its value begins, and its bytes, `UNDEFINED_LENGTH` where it is encapsulated.
    """

    name: str
    elements: Dataset
    syntax: UID
    stream: BinaryIO
    keyword: str | None
    vr: str | None
    start: int
    length: int

    @property
    def rows(self) -> int:
        return int(self.elements.Rows)

    @property
    def columns(self) -> int:
        return int(self.elements.Columns)

    @property
    def frames(self) -> int:
        return int(self.elements.get("NumberOfFrames") or 1)

    @property
    def samples(self) -> int:
        return self.number("SamplesPerPixel")

    @property
    def photometric(self) -> str:
        return str(self.elements.get("PhotometricInterpretation") or "")

    @property
    def little_endian(self) -> bool:
        return self.syntax != ExplicitVRBigEndian

    def number(self, keyword: str, default: int | None = None) -> int:
        """An element that must be one whole number; `default` where it is absent.

        Raises
        ------
        ImageError
            If it is absent and there is no default, or it is anything else.
        """
        value = self.elements.get(keyword)
        if value is None or value == "":
            if default is None:
                raise ImageError(self.name, f"DICOM lacks {keyword}, without which its pixels cannot be read")
            return default
        try:
            return int(value)
        except (TypeError, ValueError):
            raise ImageError(self.name, f"DICOM's {keyword} is not a number") from None


def read_header(file: BinaryIO, name: str) -> Header:
    """Read the elements that matter for pixels, and stop before the pixels.

    Raises
    ------
    ImageError
        If the file is no DICOM file, is damaged inside its header, or declares no image or too large a one.
    """
    found: dict[str, Any] = {"keyword": None, "vr": None, "start": 0, "length": 0}
    try:
        stream = _inflated(file, name)

        def at_pixels(tag: int, vr: str | None, length: int) -> bool:
            if int(tag) in _PIXELS:
                found.update(keyword=_PIXELS[int(tag)], vr=vr, start=stream.tell(), length=length)
            return int(tag) in _PIXELS

        with values_not_quoted():
            elements = read_partial(stream, stop_when=at_pixels, specific_tags=_TAGS, force=True)
            for _ in elements.iterall():
                pass  # elements are parsed when they are asked for: now, where a fault can be told from one of ours
            syntax = _syntax(elements)
        rows, columns = int(elements.get("Rows") or 0), int(elements.get("Columns") or 0)
        frames = int(elements.get("NumberOfFrames") or 1)
    except ImageError:
        raise
    except Exception:  # pydicom raises many kinds, and their texts may quote the file
        raise ImageError(name, "not a DICOM file, or damaged inside its header") from None
    if frames < 1:
        raise ImageError(name, f"DICOM says NumberOfFrames {frames}: correct it")
    if rows < 1 or columns < 1:
        raise ImageError(name, "DICOM file without an image")
    if rows * columns > MAX_PIXELS:
        raise ImageError(name, f"DICOM declares {columns} x {rows} pixels, more than {MAX_PIXELS:,}")
    if frames > MAX_FRAMES:
        raise ImageError(name, f"DICOM declares {frames:,} frames, more than {MAX_FRAMES:,}")
    return Header(name, elements, syntax, stream, **found)


def _syntax(elements: Dataset) -> UID:
    declared = getattr(elements, "file_meta", Dataset()).get("TransferSyntaxUID")
    if declared:
        return UID(str(declared))
    implicit, little = elements.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _inflated(file: BinaryIO, name: str) -> BinaryIO:
    """The file itself; one with the deflated transfer syntax as its inflated twin in memory, of a bounded size."""
    file.seek(0)
    head = file.read(144)
    start = 132 if head[128:132] == b"DICM" else 0
    meta = head[start : start + 12]
    if meta[:8] != b"\x02\0\0\0UL\x04\0":
        file.seek(0)
        return file
    end = start + 12 + int.from_bytes(meta[8:12], "little")
    file.seek(0)
    head = file.read(min(end, 1 << 16))
    if _DEFLATED not in head:
        file.seek(0)
        return file
    # What is inflated is Explicit VR Little Endian; NUL fills a UID up.
    stream = io.BytesIO()
    stream.write(head.replace(_DEFLATED, str(ExplicitVRLittleEndian).encode().ljust(len(_DEFLATED), b"\0")))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflater.eof:
        content = inflater.unconsumed_tail or file.read(_INFLATED_AT_ONCE)
        if not content:
            raise ImageError(name, "DICOM deflated, and cut short")
        stream.write(inflater.decompress(content, _INFLATED_AT_ONCE))
        if stream.tell() > _INFLATED_AT_MOST:
            raise ImageError(name, f"DICOM deflated, of more than {_INFLATED_AT_MOST:,} bytes")
    stream.seek(0)
    return stream


_reading = threading.Lock()
_readers, _mode_before = 0, pydicom.config.WARN
_warnings_before: warnings.catch_warnings | None = None


@contextmanager
def values_not_quoted() -> Iterator[None]:
    """While any thread reads, pydicom neither validates nor warns: it would quote odd values, a patient's name perhaps.

    Both settings are ones for the whole process: the first reader changes them, the last one puts them back.
    """
    global _readers, _mode_before, _warnings_before
    settings = pydicom.config.settings
    with _reading:
        if _readers == 0:
            _mode_before = settings.reading_validation_mode
            settings.reading_validation_mode = pydicom.config.IGNORE
            _warnings_before = warnings.catch_warnings(action="ignore")
            _warnings_before.__enter__()
        _readers += 1
    try:
        yield
    finally:
        with _reading:
            _readers -= 1
            if _readers == 0:
                settings.reading_validation_mode = _mode_before
                assert _warnings_before is not None
                _warnings_before.__exit__(None, None, None)


@contextmanager
def contradictions_refused(name: str) -> Iterator[None]:
    """What numpy or pydicom raise over elements that no scanner writes becomes an `ImageError`, without their text."""
    try:
        yield
    except ImageError:
        raise
    except Exception:
        raise ImageError(name, "DICOM elements contradict each other or its pixels") from None
