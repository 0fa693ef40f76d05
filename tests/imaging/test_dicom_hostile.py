"""DICOM files that a hostile reader tried: right, or refused in one line."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended

from fastrad.imaging import ImageError, decode_gray

GRAY = np.tile(np.linspace(40, 240, 32).astype(np.uint8), (32, 1))


def dicom(pixels: bytes, syntax: uid.UID = uid.ExplicitVRLittleEndian, **elements) -> bytes:
    """A secondary capture of 32 x 32 pixels of 8 bits, with some elements of its own."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = uid.SecondaryCaptureImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = uid.generate_uid()
    made.Rows = made.Columns = 32
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    made.PixelData = pixels
    made["PixelData"].VR = "OB"
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_a_pixel_representation_that_does_not_exist_is_refused():
    with pytest.raises(ImageError, match="PixelRepresentation is neither 0 nor 1"):
        decode_gray(dicom(GRAY.tobytes(), PixelRepresentation=2))


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("declared", [1, 2])
def test_more_codestreams_than_frames_are_not_dropped(declared, boxed):
    frames = [imagecodecs.jpeg2k_encode(GRAY, reversible=True, codecformat="jp2" if boxed else "j2k")] * 4
    data = dicom(encapsulate(frames, has_bot=False), uid.JPEG2000Lossless, NumberOfFrames=declared)
    with pytest.raises(ImageError, match="correct NumberOfFrames"):
        decode_gray(data)
    whole = dicom(encapsulate(frames, has_bot=False), uid.JPEG2000Lossless, NumberOfFrames=4)
    assert np.array_equal(decode_gray(whole, frame=3), GRAY)


def test_imager_pixel_spacing_of_the_functional_groups_counts():
    properties, shared = Dataset(), Dataset()
    properties.ImagerPixelSpacing = ["0.4", "0.2"]
    shared.FramePixelDataPropertiesSequence = [properties]
    data = dicom(GRAY.tobytes(), NumberOfFrames=1, SharedFunctionalGroupsSequence=[shared])
    assert decode_gray(data).shape == (64, 32)
    assert decode_gray(data, pixel_aspect="ignore").shape == (32, 32)


@pytest.mark.parametrize("fault", ["swapped", "repeated"])
@pytest.mark.parametrize("extended", [False, True])
def test_an_offset_table_that_swaps_or_repeats_frames_is_not_believed(extended, fault):
    frames = [
        imagecodecs.jpeg2k_encode(GRAY // (number + 1), reversible=True, codecformat="j2k") for number in range(3)
    ]
    order = [0, 2, 1] if fault == "swapped" else [0, 1, 1]
    if extended:
        stream, offsets, lengths = encapsulate_extended(frames)
        table = np.frombuffer(offsets, "<u8")[order].tobytes()
        elements = {"ExtendedOffsetTable": table, "ExtendedOffsetTableLengths": lengths}
    else:
        whole = encapsulate(frames, has_bot=True)
        offsets = np.frombuffer(whole, "<u4", 3, 8)
        stream, elements = whole[:8] + offsets[order].tobytes() + whole[20:], {}
    for number in range(3):
        with pytest.raises(ImageError, match="frames repeat or do not follow each other"):
            decode_gray(dicom(stream, uid.JPEG2000Lossless, NumberOfFrames=3, **elements), frame=number)


@pytest.mark.parametrize(
    ("element", "value", "said"),
    [
        ("PhotometricInterpretation", None, "lacks PhotometricInterpretation"),
        ("NumberOfFrames", -1, "says NumberOfFrames -1"),
        ("PresentationLUTShape", "LIN OD", "unusual PresentationLUTShape"),
    ],
)
def test_what_is_missing_or_odd_is_named(element, value, said):
    with pytest.raises(ImageError, match=said):
        decode_gray(dicom(GRAY.tobytes(), **{element: value}))
