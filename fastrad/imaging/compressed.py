"""Compressed DICOM frames, looked at before GDCM is let near them: damaged ones abort it, and the process with it.

In: a frame's bytes and what pydicom knows about it. Out: its stored values as bytes, as a decoding plugin of pydicom
must. JPEG of 8 bits is decoded by OpenCV's libjpeg-turbo, which reports damage instead of aborting. What is left to
GDCM (more bits, colours stored as RGB or without loss, JPEG-LS, JPEG 2000) has its head compared with the DICOM header.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
from pydicom.pixels import get_decoder
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders import gdcm
from pydicom.pixels.decoders.base import DecodeRunner

DECODER_DEPENDENCIES = gdcm.DECODER_DEPENDENCIES
is_available = gdcm.is_available
PLUGIN = "fastrad"

_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # ISO 10918-1 table B.1; 0xF7 is JPEG-LS's
_LOSSY, _LOSSLESS = (0xC0, 0xC1, 0xC2), 0xC3
_SCAN = 0xDA
_YBR, _YBR_422 = PhotometricInterpretation.YBR_FULL, PhotometricInterpretation.YBR_FULL_422
_CODESTREAM = b"\xff\x4f\xff\x51"
_SIZES = struct.Struct(">HHIIIIIIIIH")  # ISO 15444-1 A.5.1: Lsiz, Rsiz, then sizes and offsets of image and tiles


def decode_frame(frame: bytes, runner: DecodeRunner) -> bytes:
    """Stored values of one frame.

    Raises
    ------
    ValueError
        If the frame's head contradicts the DICOM header or itself, or libjpeg-turbo cannot decode it.
    """
    frame = bytes(frame)
    if runner.bits_allocated not in (8, 16) or (runner.bits_allocated == 8 and runner.bits_stored != 8):
        raise ValueError("an odd number of bits")
    if frame.startswith(_CODESTREAM):
        _check_codestream(frame, runner)
        return gdcm._decode_frame(frame, runner)
    kind, precision = _check_jpeg(frame, runner)
    if precision == 8 and runner.bits_allocated == 8:
        if runner.samples_per_pixel == 1 and kind in (*_LOSSY, _LOSSLESS):
            return _libjpeg(frame, runner, cv2.IMREAD_GRAYSCALE).tobytes()
        if runner.photometric_interpretation in (_YBR, _YBR_422) and kind in _LOSSY:
            ybr = cv2.cvtColor(_libjpeg(frame, runner, cv2.IMREAD_COLOR), cv2.COLOR_BGR2YCrCb)[..., [0, 2, 1]]
            ybr[..., 0] = _libjpeg(frame, runner, cv2.IMREAD_GRAYSCALE)  # the luma as stored, not computed back
            runner.set_option("photometric_interpretation", _YBR)
            return ybr.tobytes()
    return gdcm._decode_frame(frame, runner)


def _libjpeg(frame: bytes, runner: DecodeRunner, colours: int) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(frame, np.uint8), colours | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.shape[:2] != (runner.rows, runner.columns):
        raise ValueError("not to be decoded")
    return image


def _check_jpeg(frame: bytes, runner: DecodeRunner) -> tuple[int, int]:
    """Walk the segments up to the first scan; the kind (SOF marker) and precision of the frame."""
    if frame[:2] != b"\xff\xd8":
        raise ValueError("no start of image")
    position, found = 2, None
    while True:
        while frame[position : position + 2] == b"\xff\xff":  # fill bytes
            position += 1
        if position + 4 > len(frame) or frame[position] != 0xFF:
            raise ValueError("a segment does not follow the one before")
        marker, (length,) = frame[position + 1], struct.unpack_from(">H", frame, position + 2)
        content = frame[position + 4 : position + 2 + length]
        if length < 2 or len(content) < length - 2:
            raise ValueError("a segment is cut short")
        if marker in _FRAME_MARKERS:
            precision, rows, columns, components = struct.unpack_from(">BHHB", content)
            if found or (rows, columns, components) != (runner.rows, runner.columns, runner.samples_per_pixel):
                raise ValueError("another size than the header's")
            if precision > runner.bits_allocated or len(content) < 6 + 3 * components:
                raise ValueError("more bits than the header's")
            found = marker, precision
        if marker == _SCAN:
            if found is None or length < 6:
                raise ValueError("a scan without a frame")
            return found
        position += 2 + length


def _check_codestream(frame: bytes, runner: DecodeRunner) -> None:
    """Compare the sizes of a JPEG 2000 codestream with the header's."""
    if len(frame) < 4 + _SIZES.size:
        raise ValueError("cut short")
    length, _, right, bottom, left, top, width, height, _, _, components = _SIZES.unpack_from(frame, 4)
    if (bottom - top, right - left, components) != (runner.rows, runner.columns, runner.samples_per_pixel):
        raise ValueError("another size than the header's")
    described = frame[4 + _SIZES.size : 4 + length]
    if len(described) != 3 * components or not width or not height:
        raise ValueError("cut short")
    for depth, *spacing in (described[k : k + 3] for k in range(0, len(described), 3)):
        if (depth & 0x7F) + 1 > runner.bits_allocated or spacing != [1, 1]:
            raise ValueError("more bits than the header's, or subsampled")


for syntax in DECODER_DEPENDENCIES:
    get_decoder(syntax).add_plugin(PLUGIN, (__name__, decode_frame.__name__))
