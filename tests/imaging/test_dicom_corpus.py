"""The files that pydicom brings, most of them made after public bug reports: as pydicom reads them, or refused."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from matrix import right_or_refused
from pydicom.pixels import apply_modality_lut

from fastrad.imaging.dicom import dicom_values

FILES = sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm"))
# What fastrad refuses although pydicom reads it, and why.
REFUSED = {
    "SC_jpeg_no_color_transform.dcm",  # a JPEG without markers in a file that says RGB
    "SC_rgb_jpeg.dcm",  # its Adobe marker is cut short
    "liver_1frame.dcm",  # has functional groups of three frames
    "liver_expb_1frame.dcm",
}
# JPEG of 12 bits, for which pydicom has no decoder here: stored values that its own tests of other decoders name
TWELVE_BITS = {"JPEG-lossy.dcm", "JPGExtended.dcm"}
SATURATED = ("dcmtk_+eb+cy", "jpeg_lossy_gdcm", "examples_ybr")  # RGB of their YCbCr is out of range, and clipped


def pydicom_reads(data: bytes) -> np.ndarray | None:
    """Modality values or luma of the first frame; None where pydicom has none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(io.BytesIO(data))
            pixels = dataset.pixel_array
        except Exception:
            return None
        if int(dataset.get("NumberOfFrames") or 1) > 1:
            pixels = pixels[0]
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            return None
        if dataset.SamplesPerPixel == 3:
            return pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114]) / (2.0**dataset.BitsStored - 1) * 255
        return apply_modality_lut(pixels, dataset)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_of_pydicom_s_is_read_as_pydicom_reads_it_or_refused(path: Path) -> None:
    data = path.read_bytes()
    expected = pydicom_reads(data)
    colour = False

    def read() -> np.ndarray:
        nonlocal colour
        values = dicom_values(io.BytesIO(data), name="scan", regions=False, own_window=False)
        colour = "colour" in values.kind
        return values.pixels.astype(np.float64) / (2.0**values.bits - 1) * 255 if colour else values.pixels

    if path.name in TWELVE_BITS:
        pixels = read()
        assert (pixels[420, 140], pixels[230, 120]) == (244, 95)
        return
    if expected is None:
        right_or_refused("DICOM of pydicom's", read, read() if "palette" in path.name else np.empty(0))
        return
    tolerance = 10 if any(part in path.name for part in SATURATED) else 1
    outcome = right_or_refused("DICOM of pydicom's", read, expected, tolerance=tolerance)
    assert outcome == ("refused" if path.name in REFUSED else "right")
