"""Damaged image files: an `ImageError` of one line, or pixels of the declared size; a PNG never gives other pixels."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from isolated import Unforeseen, run_isolated
from mutations import damaged, speckle
from PIL import Image

from fastrad.imaging import MAX_PIXELS, decode_gray, read_gray
from fastrad.imaging.structure import ImageError

PATIENT = "Zebedee^Quixotic"


def _decoded(data: bytes) -> np.ndarray | str:
    try:
        return decode_gray(data, name="scan")
    except ImageError as error:
        return str(error)


def _read(path: str) -> np.ndarray | str:
    try:
        return read_gray(path)
    except ImageError as error:
        return str(error)


def _encode(image: np.ndarray, suffix: str, *options: int) -> bytes:
    done, encoded = cv2.imencode(suffix, image, options)
    assert done
    return encoded.tobytes()


def _still_images() -> dict[str, bytes]:
    gray = speckle(1, 40)[0]
    colour = np.dstack([gray, gray[::-1], gray.T])
    palette = io.BytesIO()
    Image.fromarray(gray).quantize(16).save(palette, "PNG")
    progressive = io.BytesIO()
    Image.fromarray(colour).save(progressive, "JPEG", progressive=True, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0")
    return {
        "gray.png": _encode(gray, ".png"),
        "colour16.png": _encode(colour.astype(np.uint16) * 257, ".png"),
        "palette.png": palette.getvalue(),
        "gray.jpg": _encode(gray, ".jpg"),
        "progressive.jpg": progressive.getvalue(),
        "colour.bmp": _encode(colour, ".bmp"),
        "gray.tif": _encode(gray, ".tif"),
        "colour.tif": _encode(colour, ".tif", cv2.IMWRITE_TIFF_COMPRESSION, 1),
    }


def _dicom(syntax: str, frames: int) -> bytes:
    """A secondary capture with a patient's name, written by pydicom."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless, generate_uid

    pixels = speckle(frames, 32)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["fuzz"])
    meta.TransferSyntaxUID = {"raw": ExplicitVRLittleEndian, "jpeg": JPEGBaseline8Bit, "rle": RLELossless}[syntax]
    file = Dataset()
    file.file_meta = meta
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.PatientName, file.PatientID, file.Modality = PATIENT, "MRN-4711", "US"
    file.Rows, file.Columns, file.SamplesPerPixel, file.NumberOfFrames = 32, 32, 1, frames
    file.PhotometricInterpretation, file.PixelRepresentation = "MONOCHROME2", 0
    file.BitsAllocated, file.BitsStored, file.HighBit = 8, 8, 7
    file.WindowCenter, file.WindowWidth, file.RescaleSlope, file.RescaleIntercept = 128, 256, 1, 0
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType = 1, 1
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 2, 2
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 29, 29
    file.SequenceOfUltrasoundRegions = [region]
    if syntax == "jpeg":
        file.PixelData = encapsulate([_encode(frame, ".jpg") for frame in pixels])
        file["PixelData"].VR = "OB"
    else:
        file.PixelData = pixels.tobytes()
        if syntax == "rle":
            file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            file.compress(RLELossless)
    written = io.BytesIO()
    file.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _check(cases: list[tuple[str, bytes]], capfd: pytest.CaptureFixture[str]) -> list[np.ndarray | str]:
    results = run_isolated(_decoded, cases)
    for (name, _), result in zip(cases, results, strict=True):
        assert not isinstance(result, Unforeseen), f"{name}: {result}"
        if isinstance(result, str):
            assert result.startswith("scan: "), name
            assert "\n" not in result, name
            assert "Zebedee" not in result, name
            assert "4711" not in result, name
        else:
            assert result.dtype == np.uint8, name
            assert result.ndim == 2, name
    printed = capfd.readouterr()
    assert "Zebedee" not in printed.out + printed.err
    assert "Traceback" not in printed.err
    return results


def _fuzz_still_images(seed: int, count: int, capfd: pytest.CaptureFixture[str]) -> None:
    cases, whole = [], []
    for kind, (suffix, data) in enumerate(_still_images().items()):
        for name, bad in damaged(data, seed + kind, count):
            cases.append((f"{suffix}: {name}", bad))
            whole.append(data)
    results = _check(cases, capfd)
    for (name, _), data, result in zip(cases, whole, results, strict=True):
        if ".png" in name and not isinstance(result, str):
            assert np.array_equal(result, decode_gray(data)), f"{name}: other pixels without an error"


def test_damaged_still_images_are_refused_or_whole(seed, capfd):
    _fuzz_still_images(seed, 40, capfd)


@pytest.mark.slow
def test_many_damaged_still_images_are_refused_or_whole(seed, capfd):
    for turn in range(1, 6):
        _fuzz_still_images(seed + 100 * turn, 200, capfd)


@pytest.mark.parametrize("syntax", ["raw", "jpeg", "rle"])
def test_damaged_dicom_is_refused_or_read_and_names_no_patient(syntax, seed, capfd):
    whole = _dicom(syntax, 3)
    assert decode_gray(whole).shape == (28, 28)
    _check(list(damaged(whole, seed, 120)), capfd)


@pytest.mark.slow
@pytest.mark.parametrize("syntax", ["raw", "jpeg", "rle"])
def test_much_damaged_dicom_is_refused_or_read_and_names_no_patient(syntax, seed, capfd):
    for turn in range(1, 6):
        _check(list(damaged(_dicom(syntax, 3), seed + turn, 400)), capfd)


@pytest.mark.slow
def test_damaged_real_dicom_is_refused_or_read(dicom_root: Path, seed, capfd):
    cases = []
    for path in sorted(path for path in dicom_root.rglob("*") if path.is_file() and path.suffix != ".txt"):
        if path.stat().st_size < 2 << 20:
            cases += [(f"{path.name}: {name}", bad) for name, bad in damaged(path.read_bytes(), seed, 40)]
    assert len(cases) > 100
    _check(cases, capfd)


def test_dimensions_that_no_file_holds_ask_for_no_memory(capfd):
    """PNG, JPEG, BMP and TIFF that declare up to 4 billion pixels a side, their checksums put right."""
    whole, cases = _still_images(), []
    for width, height in ((2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (1, 2**31 - 1), (0, 40), (40, 0), (100_000, 100_000)):
        header = b"IHDR" + struct.pack(">II", width, height) + whole["gray.png"][24:29]
        png = whole["gray.png"][:12] + header + struct.pack(">I", zlib.crc32(header)) + whole["gray.png"][33:]
        cases.append((f"PNG {width} x {height}", png))
        bmp = bytearray(whole["colour.bmp"])
        struct.pack_into("<ii", bmp, 18, width, -height)
        cases.append((f"BMP {width} x {height}", bytes(bmp)))
        tif = whole["gray.tif"].replace(struct.pack("<HHII", 256, 3, 1, 40), struct.pack("<HHII", 256, 4, 1, width))
        assert tif != whole["gray.tif"]
        if width * 40 > MAX_PIXELS or width == 0:  # a TIFF has no checksum: other widths are believed
            cases.append((f"TIFF {width} wide", tif))
    jpeg = bytearray(whole["gray.jpg"])
    struct.pack_into(">HH", jpeg, jpeg.index(b"\xff\xc0") + 5, 65535, 65535)
    cases.append(("JPEG 65535 x 65535", bytes(jpeg)))
    # pixels that a file may declare, and does not hold
    header = b"IHDR" + struct.pack(">II", 5000, 5000) + whole["gray.png"][24:29]
    png = whole["gray.png"][:12] + header + struct.pack(">I", zlib.crc32(header)) + whole["gray.png"][33:]
    cases.append(("PNG 5000 x 5000 with 40 rows", png))
    for (name, _), result in zip(cases, _check(cases, capfd), strict=True):
        assert isinstance(result, str), f"{name} was read as {result.shape}"


def test_a_png_that_unpacks_to_far_more_than_it_declares_is_no_bomb(capfd):
    """40 x 40 pixels declared, 200 MB of zeros in the stream."""
    stream = zlib.compress(bytes(200_000_000), 9)
    chunk = b"IDAT" + stream
    whole = _still_images()["gray.png"]
    bomb = whole[:33] + struct.pack(">I", len(stream)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[-12:]
    (result,) = _check([("bomb", bomb)], capfd)
    assert isinstance(result, str) or result.shape == (40, 40)


@pytest.mark.parametrize("syntax", ["raw", "jpeg", "rle"])
def test_extreme_dicom_elements_are_refused_or_read(syntax, capfd):
    """Numbers that a header may hold and no image has."""
    import pydicom

    extremes = {
        "Rows": [0, 1, 65535],
        "Columns": [0, 1, 65535],
        "NumberOfFrames": [0, -1, 2**31, 10**12],
        "BitsStored": [0, 1, 16, 64, 65535],
        "BitsAllocated": [0, 1, 12, 16, 32, 64, 65535],
        "HighBit": [0, 15, 65535],
        "PixelRepresentation": [1, 7],
        "SamplesPerPixel": [0, 3, 4, 65535],
        "PhotometricInterpretation": ["MONOCHROME1", "RGB", "YBR_FULL_422", "PALETTE COLOR", "", "ARGB"],
        "WindowWidth": [0, -5, "1e300", "nan", "inf", [1, 2]],
        "WindowCenter": ["1e300", "nan", "-inf", [1, 2]],
        "RescaleSlope": [0, "1e300", "nan", -1],
        "RescaleIntercept": ["inf", "1e300"],
    }
    cases = []
    for keyword, values in extremes.items():
        for value in values:
            file = pydicom.dcmread(io.BytesIO(_dicom(syntax, 3)))
            setattr(file, keyword, value)
            written = io.BytesIO()
            file.save_as(written)
            cases.append((f"{keyword} = {value!r}", written.getvalue()))
    _check(cases, capfd)


def test_damaged_hdf5_is_refused_or_read(seed, tmp_path, capfd):
    import h5py

    path = tmp_path / "clips.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("image", data=speckle(3, 32), chunks=(1, 32, 32), compression="gzip")
    cases = []
    for number, (name, bad) in enumerate(damaged(path.read_bytes(), seed, 120)):
        target = tmp_path / f"{number}.hdf5"
        target.write_bytes(bad)
        cases.append((name, str(target)))
    for (name, _), result in zip(cases, run_isolated(_read, cases), strict=True):
        assert not isinstance(result, Unforeseen), f"{name}: {result}"
        assert not isinstance(result, str) or "\n" not in result, name
    assert "Traceback" not in capfd.readouterr().err
