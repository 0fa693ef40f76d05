"""One frame as a DICOM file stores it, before any gray scale or colour is made of it.

In: a header and a frame number. Out: a `Frame`, or an `ImageError`: uncompressed and RLE frames are read by pydicom,
the others by `codestream`. Whatever the header claims and the bytes deny is refused, with what both say.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from pydicom.encaps import get_frame, parse_basic_offsets, parse_fragments
from pydicom.pixels import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from fastrad.imaging.dicom import codestream
from fastrad.imaging.dicom.codestream import CodestreamError
from fastrad.imaging.dicom.header import UNDEFINED_LENGTH, Header, values_not_quoted
from fastrad.imaging.structure import ImageError

_NATIVE = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
_YBR = ("YBR_FULL", "YBR_FULL_422")
_COLOURS = ("RGB", "YBR_ICT", "YBR_RCT", *_YBR)
_GRAY = ("MONOCHROME1", "MONOCHROME2")
_FLOATS = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}


@dataclass(frozen=True)
class Frame:
    """Stored values.

    Attributes
    ----------
    values : numpy.ndarray
        (H, W), or (H, W, 3) of colours; uint8, uint16, uint32, int16, int32, or a floating type.
    kind : str
        "gray", "palette", "RGB", "YBR"; "either" where header and codestream leave open which of the last two.
    bits : int
        That the values can have: the header's BitsStored, or fewer where the codestream has fewer.
    signed : bool
    """

    values: np.ndarray
    kind: str
    bits: int
    signed: bool


def read_frame(header: Header, frame: int) -> Frame:
    """Frame `frame`, from 0.

    Raises
    ------
    ImageError
        If the file lacks it, is damaged, contradicts itself, or is of a kind that isn't supported.
    """
    name = header.name
    if not 0 <= frame < header.frames:
        raise ImageError(name, f"has no frame {frame}: it holds {header.frames}, counted from 0")
    if header.keyword is None:
        raise ImageError(name, "DICOM file without pixel data")
    _check_kind(header)
    if header.keyword in _FLOATS:
        return _read_floats(header, frame)
    allocated, stored = header.number("BitsAllocated"), header.number("BitsStored")
    signed = bool(header.number("PixelRepresentation"))
    if header.number("PixelRepresentation") not in (0, 1):
        raise ImageError(name, "DICOM's PixelRepresentation is neither 0 nor 1: correct it")
    if allocated not in (1, 8, 16, 32) or not 1 <= stored <= allocated:
        raise ImageError(
            name, f"DICOM with {stored} bits stored in {allocated} is not supported: it takes 1, 8, 16, 32"
        )
    if header.syntax == RLELossless or header.syntax in _NATIVE:
        return _read_plain(header, frame, allocated, stored, signed)
    return _read_codestream(header, frame, allocated, stored, signed)


def _check_kind(header: Header) -> None:
    name, photometric, samples = header.name, header.photometric, header.samples
    if photometric in _GRAY or photometric == "PALETTE COLOR":
        if samples != 1:
            raise ImageError(name, f"DICOM says {photometric}, and {samples} samples a pixel: correct one of the two")
    elif photometric in _COLOURS:
        if samples != 3:
            raise ImageError(name, f"DICOM says {photometric}, and {samples} samples a pixel: correct one of the two")
    elif not photometric:
        raise ImageError(name, "DICOM lacks PhotometricInterpretation, without which its pixels cannot be read")
    else:
        raise ImageError(
            name, "DICOM with an unusual PhotometricInterpretation is not supported: convert it to MONOCHROME2 or RGB"
        )


def _colour_kind(header: Header) -> str:
    photometric = header.photometric
    if photometric in _GRAY:
        return "gray"
    if photometric == "PALETTE COLOR":
        return "palette"
    return "YBR" if photometric in _YBR else "RGB"


def _read_floats(header: Header, frame: int) -> Frame:
    bits = _FLOATS[header.keyword or ""]
    if header.samples != 1 or header.syntax not in _NATIVE:
        raise ImageError(header.name, "DICOM with floating-point pixels in colour or compressed is not supported")
    _check_length(header, bits)
    return Frame(_pydicom_frame(header, frame, bits, "MONOCHROME2"), _colour_kind(header), bits, True)


def _read_plain(header: Header, frame: int, allocated: int, stored: int, signed: bool) -> Frame:
    """Uncompressed, or RLE."""
    name, photometric, kind = header.name, header.photometric, _colour_kind(header)
    if photometric in ("YBR_ICT", "YBR_RCT"):
        raise ImageError(name, f"DICOM says {photometric}, which only JPEG 2000 has: set RGB if it is that")
    if header.syntax == RLELossless:
        _check_fragments(header)
        if photometric == "YBR_FULL_422":
            kind = "either"  # RLE does not subsample
    elif photometric == "YBR_FULL_422":
        if allocated != 8 or header.number("PlanarConfiguration", 0) != 0:
            raise ImageError(name, "DICOM in YBR_FULL_422 with other than 8 bits, or by plane, is not supported")
        if _check_length(header, 16) == 24:
            # three bytes a pixel: not subsampled, so one of the two that are not
            kind, photometric = "either", "RGB"
    else:
        _check_length(header, allocated * header.samples)
    if photometric in _YBR and header.syntax == RLELossless:
        photometric = "RGB"  # pydicom is to convert nothing
    if allocated == 1:
        return Frame(_bits(header, frame), kind, 1, False)
    raw = _pydicom_frame(header, frame, allocated, photometric)
    high = header.number("HighBit", stored - 1)
    values = _of_stored_bits(raw, allocated, stored, high, signed, name)
    if values.ndim == 3 and stored > 16 and not signed:  # no gray level is lost
        values, stored = (values >> (stored - 16)).astype(np.uint16), 16
    return Frame(values, kind, stored, signed)


def _check_length(header: Header, bits: int) -> int:
    """Hold the bytes of uncompressed pixels against what the header declares, of `bits` bits a pixel.

    Returns
    -------
    int
        `bits`, or 24 where 16 are declared and 24 are there.
    """
    name, frames, pixels = header.name, header.frames, header.rows * header.columns
    if header.length == UNDEFINED_LENGTH:
        raise ImageError(name, f"DICOM pixel data are compressed, and declared {header.syntax.name}: correct that")
    position = header.stream.seek(0, 2)
    if position < header.start + header.length:
        raise ImageError(name, "DICOM is cut short inside its pixel data: copy it again")
    declared = -(-pixels * frames * bits // 8)
    held = header.length
    if bits == 16 and header.samples == 3 and held in (pixels * frames * 3, pixels * frames * 3 + 1):
        return 24
    row = max(header.columns * bits // 8, 2)
    if not declared <= held <= declared + row or (held > declared + 1 and not _is_padding(header, declared)):
        raise ImageError(
            name,
            f"DICOM holds {held:,} bytes of pixels, and declares {declared:,} ({header.columns} x {header.rows}, "
            f"{bits} bits, {frames} {'frame' if frames == 1 else 'frames'}): it is cut short, or its header is wrong",
        )
    return bits


def _is_padding(header: Header, declared: int) -> bool:
    """Whether nothing but NUL follows the bytes that are declared."""
    header.stream.seek(header.start + declared)
    return not any(header.stream.read(header.length - declared))


def _bits(header: Header, frame: int) -> np.ndarray:
    """A frame of single bits, the least significant first, which may begin inside a byte."""
    if header.syntax == RLELossless or header.samples != 1 or (not header.little_endian and header.vr != "OB"):
        raise ImageError(header.name, "DICOM with pixels of one bit in colour, RLE or swapped bytes is not supported")
    pixels = header.rows * header.columns
    first, skipped = divmod(frame * pixels, 8)
    header.stream.seek(header.start + first)
    content = np.frombuffer(header.stream.read(-(-(skipped + pixels) // 8)), np.uint8)
    bits = np.unpackbits(content, bitorder="little")[skipped : skipped + pixels]
    return bits.reshape(header.rows, header.columns)


def _pydicom_frame(header: Header, frame: int, allocated: int, photometric: str) -> np.ndarray:
    """The bits as they lie there, unsigned, by pixel."""
    options: dict[str, Any] = {
        "rows": header.rows,
        "columns": header.columns,
        "number_of_frames": header.frames,
        "samples_per_pixel": header.samples,
        "photometric_interpretation": photometric,
        "bits_allocated": allocated,
        "bits_stored": allocated,
        "pixel_representation": 0,
        "planar_configuration": header.number("PlanarConfiguration", 0),
        "pixel_keyword": header.keyword,
        "pixel_vr": header.vr or "OW",
    }
    syntax = header.syntax
    if syntax == RLELossless:
        options["extended_offsets"] = _extended_offsets(header)
        plugin = "pydicom"
    else:
        plugin, syntax = "", ExplicitVRBigEndian if syntax == ExplicitVRBigEndian else ExplicitVRLittleEndian
    if options.get("extended_offsets") is None:
        options.pop("extended_offsets", None)
    header.stream.seek(header.start)
    try:
        with values_not_quoted():
            decoder = get_decoder(syntax)
            raw, _ = decoder.as_array(header.stream, index=frame, raw=True, decoding_plugin=plugin, **options)
    except Exception:  # pydicom raises many kinds, and their texts may quote the file
        raise ImageError(header.name, f"DICOM pixel data are damaged (transfer syntax {syntax.name})") from None
    return np.ascontiguousarray(raw.astype(raw.dtype.newbyteorder("="), copy=False))


def _of_stored_bits(raw: np.ndarray, allocated: int, stored: int, high: int, signed: bool, name: str) -> np.ndarray:
    """The bits from HighBit downwards, BitsStored of them; what lies beside them (overlays, mostly) is left out."""
    low = high - stored + 1
    if low < 0 or high >= allocated:
        raise ImageError(
            name, f"DICOM says HighBit {high}, with {stored} bits stored in {allocated}: correct its header"
        )
    if low and np.any(raw & ((1 << low) - 1)):
        raise ImageError(
            name,
            f"DICOM says HighBit {high} with {stored} bits stored, and its lower bits are in use too: "
            f"set HighBit to {stored - 1} if the image is in the lower bits",
        )
    if stored < allocated:
        raw = (raw >> low) & raw.dtype.type((1 << stored) - 1)
    return _as_signed(raw, stored) if signed else raw


def _as_signed(values: np.ndarray, bits: int) -> np.ndarray:
    """Two's complement of `bits` bits."""
    size = values.dtype.itemsize * 8
    result = values.view(f"i{values.dtype.itemsize}")
    if bits == size:
        return result
    return (result << (size - bits)) >> (size - bits)


def _read_codestream(header: Header, frame: int, allocated: int, stored: int, signed: bool) -> Frame:
    name, syntax = header.name, header.syntax
    if header.length != UNDEFINED_LENGTH:
        raise ImageError(name, f"DICOM pixel data are not compressed, and declared {_named(syntax)}: correct that")
    data = _encoded_frame(header, frame)
    try:
        data, declared_colours = codestream.unwrapped(data)
        if not data.startswith((codestream.CODESTREAM, codestream.JPEG)):
            raise ImageError(
                name, f"DICOM with transfer syntax {_named(syntax)} is not supported: decompress it, or it is damaged"
            )
        found = codestream.describe(data)
        declared = header.rows, header.columns, header.samples
        if (found.rows, found.columns, found.components) != declared:
            raise ImageError(
                name,
                f"DICOM declares {header.columns} x {header.rows} pixels of {header.samples} samples, and its "
                f"{found.kind} frame holds {found.columns} x {found.rows} of {found.components}: correct its header",
            )
        if found.bits > 16 or allocated > 16:
            raise ImageError(name, f"DICOM with {found.bits} bits in {found.kind} is not supported: decompress it")
        values = codestream.decode(data, found)
    except CodestreamError as error:
        raise ImageError(name, f"DICOM frame {frame}, {_named(syntax)}: {error}") from None
    if found.kind == "JPEG" and found.bits == 8 and stored > 8:
        raise ImageError(name, f"DICOM declares {stored} bits stored, and its JPEG frames have 8: correct its header")
    values = _of_codestream_bits(values, found, stored, signed, name)
    kind = _codestream_kind(header, found, declared_colours)
    return Frame(values, kind, min(found.bits, stored), signed)


def _named(syntax: UID) -> str:
    return syntax.name if syntax.name[:1].isalpha() or not syntax.is_private else "of a private kind"


def _of_codestream_bits(
    values: np.ndarray, found: codestream.Description, stored: int, signed: bool, name: str
) -> np.ndarray:
    """Signed as the header says, for a JPEG knows no sign; and no wider than the header says."""
    if found.signed and not signed:
        if int(values.min()) < 0:
            raise ImageError(
                name, "DICOM says that its values are unsigned, and its JPEG 2000 frames hold negative ones"
            )
        return values.astype(values.dtype.str.replace("i", "u"))
    if found.bits <= stored:
        return _as_signed(values, found.bits) if signed and not found.signed else values
    bits = values.astype(np.int32) & ((1 << found.bits) - 1)
    extra = bits >> stored
    beyond = extra != 0
    if signed:  # copies of the sign are no more than padding
        beyond &= extra != (1 << (found.bits - stored)) - 1
    if beyond.any():
        raise ImageError(
            name,
            f"DICOM declares {stored} bits stored, and its {found.kind} frames use {found.bits}: correct its header",
        )
    kept = (bits & ((1 << stored) - 1)).astype(np.uint8 if stored <= 8 else np.uint16)
    return _as_signed(kept, stored) if signed else kept


def _codestream_kind(header: Header, found: codestream.Description, declared: frozenset[str]) -> str:
    """How three components are to be read: by what the codestream says; where it is silent, by the header.

    A lossy JPEG is YCbCr to any JPEG reader that is told nothing else, whatever the DICOM header says; pydicom believes
    the header. What their readings share is right; the rest is for `colour` to refuse.
    """
    kind = _colour_kind(header)
    if found.components == 1:
        return kind
    if len(found.colours) == 1:
        return next(iter(found.colours)) if found.colours <= {"RGB", "YBR"} else "either"
    if found.colours:
        return "either"
    if header.photometric in ("YBR_ICT", "YBR_RCT") or (declared and declared != {kind}):
        return "either"
    if found.kind == "JPEG":
        return "either" if kind == "RGB" else kind
    return "either" if header.photometric == "YBR_FULL_422" else kind  # what is said to be subsampled, and is not


def _extended_offsets(header: Header) -> tuple[bytes, bytes] | None:
    offsets, lengths = (header.elements.get(f"ExtendedOffsetTable{what}") for what in ("", "Lengths"))
    if not offsets or not lengths:
        return None
    if len(offsets) != len(lengths) or len(offsets) != 8 * header.frames:
        raise ImageError(header.name, _miscounted(len(offsets) // 8, header.frames))
    _check_order(np.frombuffer(offsets, "<u8").tolist(), header.name)
    return offsets, lengths


def _check_order(offsets: list[int], name: str) -> None:
    """Frames follow each other (PS3.5 A.4): a table that swaps or repeats them would show one in another's place."""
    if offsets[:1] not in ([], [0]) or any(after <= before for before, after in pairwise(offsets)):
        raise ImageError(name, "DICOM's offset table says that frames repeat or do not follow each other: save it anew")


def _miscounted(held: int, declared: int) -> str:
    return f"DICOM says that it holds {declared} frames, and {held} are there: correct NumberOfFrames"


def _check_fragments(header: Header) -> int:
    """Hold the number of fragments or offsets against the number of frames; return the number of fragments."""
    stream, frames = header.stream, header.frames
    if header.length != UNDEFINED_LENGTH:
        raise ImageError(header.name, "DICOM pixel data are not compressed, and declared RLE: correct that")
    try:
        stream.seek(header.start)
        offsets = parse_basic_offsets(stream)
        fragments, _ = parse_fragments(stream)
    except Exception:
        raise ImageError(
            header.name, "DICOM pixel data are damaged: their fragments do not follow each other"
        ) from None
    if offsets and len(offsets) != frames:
        raise ImageError(header.name, _miscounted(len(offsets), frames))
    _check_order(offsets, header.name)
    if fragments < frames or (header.syntax == RLELossless and fragments != frames):
        raise ImageError(header.name, _miscounted(fragments, frames))
    return fragments


def _encoded_frame(header: Header, frame: int) -> bytes:
    fragments = _check_fragments(header)
    stream, frames, extended = header.stream, header.frames, _extended_offsets(header)
    stream.seek(header.start)
    try:
        data = get_frame(stream, frame, number_of_frames=frames, extended_offsets=extended)
    except Exception:
        raise ImageError(header.name, f"DICOM frame {frame} cannot be found among {fragments} fragments") from None
    if fragments > frames:
        stream.seek(header.start)
        parse_basic_offsets(stream)
        _, positions = parse_fragments(stream)
        starts = 0
        for position in positions:
            stream.seek(position + 8)
            starts += stream.read(12).startswith(
                (codestream.JPEG + b"\xff", codestream.CODESTREAM, codestream.JP2_SIGNATURE)
            )
        if starts > frames:
            raise ImageError(header.name, _miscounted(starts, frames))
    return data
