"""Gray DICOM in every syntax, depth and transformation that can be written here: right, or refused with one line.

What is right is computed by hand from the values that were encoded, or read by pydicom, whose pipeline fastrad does not
use for gray scales and JPEG.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import warnings

import numpy as np
import pydicom
import pytest
from dicom_files import GRAY_ENCODERS, NATIVE, gray_ramp, make, native, of_bits, read, scaled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matrix import right_or_refused
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from fastrad.errors import InputError
from fastrad.imaging.dicom import dicom_values

DEPTHS = [(8, False), (8, True), (7, False), (10, False), (12, False), (12, True), (16, False), (16, True)]


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", [*NATIVE, *GRAY_ENCODERS])
def test_gray_of_every_depth_in_every_syntax(syntax: str, photometric: str, frames: int) -> None:
    for bits, signed in DEPTHS:
        if syntax == "HTJ2K" and bits not in (8, 16):
            continue  # the encoder at hand writes whole bytes
        ramp = gray_ramp(bits, signed)
        stored = np.stack([ramp, ramp[::-1], ramp.T][:frames])
        low, high = int(ramp.min()), int(ramp.max())
        elements = {**of_bits(ramp, bits), "PhotometricInterpretation": photometric}
        if syntax in NATIVE:
            data = native(stored if frames > 1 else stored[0], NATIVE[syntax], **elements)
        else:
            name, encode = GRAY_ENCODERS[syntax]
            data = make([encode(each, bits) for each in stored], *ramp.shape, name, **elements)
        for frame in range(frames):
            for window in (None, (low + 1, high - (high - low) // 3)):
                expected = scaled(stored[frame], *(window or (low, high)))
                expected = 255 - expected if photometric == "MONOCHROME1" else expected
                family = f"DICOM, {syntax}"
                right_or_refused(family, read(data, frame=frame, window=window), expected, may_refuse=False)


@pytest.mark.parametrize("bits", [1, 20, 32])
@pytest.mark.parametrize("syntax", ["implicit", "explicit", "deflated"])
def test_one_bit_and_more_than_sixteen(bits: int, syntax: str) -> None:
    for signed in (False, True) if bits > 1 else (False,):
        if bits == 1:
            stored = (np.indices((24, 20)).sum(0) % 3 == 0).astype(np.uint8)
            content = np.packbits(stored.ravel(), bitorder="little").tobytes()
            data = make(content, 24, 20, NATIVE[syntax], BitsAllocated=1, BitsStored=1, HighBit=0)
            low, high = 0, 1
        else:
            stored = gray_ramp(bits, signed)
            low, high = int(stored.min()), int(stored.max())
            data = native(stored, NATIVE[syntax], **of_bits(stored, bits))
        right_or_refused("DICOM, odd depths", read(data), scaled(stored, low, high), may_refuse=False)


@pytest.mark.parametrize("frames", [2, 3])
def test_frames_of_one_bit_that_begin_inside_a_byte(frames: int) -> None:
    stored = (np.random.default_rng(2).random((frames, 11, 7)) > 0.5).astype(np.uint8)
    content = np.packbits(stored.ravel(), bitorder="little").tobytes()
    data = make(content, 11, 7, BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=frames)
    for frame in range(frames):
        right_or_refused("DICOM, odd depths", read(data, frame=frame), stored[frame] * 255, may_refuse=False)


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_floating_point_pixels_need_a_window(keyword: str) -> None:
    stored = np.linspace(-1.5, 2.5, 24 * 20).reshape(24, 20).astype("<f4" if keyword[0] == "F" else "<f8")
    removed = dict.fromkeys(("BitsStored", "HighBit", "PixelRepresentation"))
    shape = {"BitsAllocated": stored.itemsize * 8, keyword: stored.tobytes(), **removed}
    data = make(None, 24, 20, **shape)
    assert right_or_refused("DICOM, float", read(data), stored) == "refused"
    expected = scaled(stored, -1, 2)
    right_or_refused("DICOM, float", read(data, window=(-1, 2)), expected, may_refuse=False)
    own = make(None, 24, 20, **shape, WindowCenter=0.5, WindowWidth=3, VOILUTFunction="LINEAR_EXACT")
    right_or_refused("DICOM, float", read(own), expected, may_refuse=False)


@pytest.mark.parametrize("syntax", ["explicit", "big endian", "RLE"])
def test_bits_beside_the_stored_ones_are_left_out(syntax: str) -> None:
    ramp = gray_ramp(12)
    overlay = ramp | ((np.indices(ramp.shape).sum(0) % 2).astype(np.uint16) << 13)
    data = native(overlay, NATIVE[syntax], **of_bits(ramp, 12))
    right_or_refused("DICOM, odd bits", read(data), scaled(ramp, 0, 4095), may_refuse=False)
    signed = gray_ramp(12, True)
    unextended = (signed.view(np.uint16) & 0x0FFF).view(np.int16)
    data = native(unextended, NATIVE[syntax], **of_bits(signed, 12))
    right_or_refused("DICOM, odd bits", read(data), scaled(signed, -2048, 2047), may_refuse=False)


@pytest.mark.parametrize("high", [*range(8, 16), 16])
@pytest.mark.parametrize("lie", [False, True])
def test_high_bit_says_where_the_value_lies_or_the_file_is_refused(high: int, lie: bool) -> None:
    ramp = gray_ramp(10)
    shifted = ramp if lie or high > 15 else ramp << max(high - 9, 0)
    data = native(shifted, uid.ExplicitVRLittleEndian, **{**of_bits(ramp, 10), "HighBit": high})
    outcome = right_or_refused("DICOM, odd bits", read(data), scaled(ramp, 0, 1023))
    assert outcome == ("right" if high == 9 or (9 < high < 16 and not lie) else "refused")


ROUND_TRIP = list(
    itertools.product([None, (2.0, -100.0), (0.5, 7.25), (-1.0, 300.0)], ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
)


@pytest.mark.parametrize(("rescale", "function"), ROUND_TRIP)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_rescale_and_window_follow_the_standard(rescale, function: str, photometric: str) -> None:
    stored = gray_ramp(12, True)
    slope, intercept = rescale or (1.0, 0.0)
    values = stored * slope + intercept
    elements: dict = {**of_bits(stored, 12), "PhotometricInterpretation": photometric, "VOILUTFunction": function}
    if rescale:
        elements |= {"RescaleSlope": slope, "RescaleIntercept": intercept}
    for centre, width in ((40.0, 400.0), (-7.5, 33.0), (100.0, 1.0), (0.0, 0.5), (10.0, -3.0)):
        data = native(stored, uid.ExplicitVRLittleEndian, **elements, WindowCenter=[centre, 5], WindowWidth=[width, 9])
        if function == "SIGMOID":
            with np.errstate(over="ignore"):
                expected = 255 / (1 + np.exp(-4 * (values - centre) / width))
        elif function == "LINEAR_EXACT":
            expected = np.clip((values - centre) / width + 0.5, 0, 1) * 255
        elif width == 1:
            expected = np.where(values <= centre - 0.5, 0, 255)
        else:
            expected = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1) * 255
        expected = np.rint(expected)
        expected = 255 - expected if photometric == "MONOCHROME1" else expected
        outcome = right_or_refused("DICOM, windows", read(data), expected)
        assert outcome == ("refused" if width <= 0 or (width < 1 and function == "LINEAR") else "right")


def table(entries: np.ndarray, first: int, declared: int, *, packed: bool = False) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, declared]
    item.LUTData = entries.astype("u1" if packed else "<u2").tobytes()
    item["LUTData"].VR = "OW"
    item.ModalityLUTType = "US"
    return item


@pytest.mark.parametrize("declared", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("actual", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("sequence", ["VOILUTSequence", "ModalityLUTSequence"])
def test_a_table_is_scaled_by_the_depth_of_its_entries_or_refused(sequence: str, declared: int, actual: int) -> None:
    stored = gray_ramp(8)
    entries = np.rint(((1 << actual) - 1) * (np.arange(200) / 199) ** 1.5).astype(np.uint16)
    for packed in (False, True) if actual == declared == 8 else (False,):
        data = native(stored, uid.ExplicitVRLittleEndian, **{sequence: [table(entries, 20, declared, packed=packed)]})
        mapped = entries[np.clip(stored.astype(int) - 20, 0, 199)]
        if sequence == "ModalityLUTSequence" and actual < declared:
            expected = scaled(mapped, 0, (1 << declared) - 1)  # modality values need not reach their range
        else:
            expected = scaled(mapped, 0, (1 << actual) - 1)
        outcome = right_or_refused("DICOM, tables", read(data), expected)
        if actual == declared:
            assert outcome == "right"
        if sequence == "ModalityLUTSequence" or declared < actual:
            window = (10, 3000)
            values = mapped if sequence == "ModalityLUTSequence" else stored
            right_or_refused("DICOM, tables", read(data, window=window), scaled(values, *window), may_refuse=False)


GROUPS = {
    "CT": ({"RescaleSlope": "1", "RescaleIntercept": "-1024", "RescaleType": "HU"}, ("40", "400"), None),
    "MR": ({"RescaleSlope": "2", "RescaleIntercept": "0", "RescaleType": "US"}, ("900", "1600"), "LINEAR_EXACT"),
    "bare": (None, ("500", "900"), "SIGMOID"),
}


@pytest.mark.parametrize("where", ["shared", "per frame", "both"])
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("top_level", [False, True])
def test_functional_groups_of_enhanced_objects(where: str, group: str, top_level: bool) -> None:
    rescale, (centre, width), function = GROUPS[group]

    def item(shift: int) -> Dataset:
        made, transform, window = Dataset(), Dataset(), Dataset()
        if rescale:
            for keyword, value in rescale.items():
                setattr(transform, keyword, value)
            made.PixelValueTransformationSequence = [transform]
        window.WindowCenter, window.WindowWidth = str(int(centre) + shift), width
        if function:
            window.VOILUTFunction = function
        made.FrameVOILUTSequence = [window]
        return made

    stored = np.stack([gray_ramp(12)] * 3)
    empty = [Dataset() for _ in range(3)]
    elements: dict = {**of_bits(stored, 12), "NumberOfFrames": 3}
    shifts = [0, 0, 0] if where == "shared" else [0, 100, 200]
    elements["SharedFunctionalGroupsSequence"] = [item(0)] if where != "per frame" else [Dataset()]
    elements["PerFrameFunctionalGroupsSequence"] = empty if where == "shared" else [item(shift) for shift in shifts]
    if top_level:
        elements |= {"WindowCenter": "1", "WindowWidth": "2"}
        elements |= {"RescaleSlope": "7", "RescaleIntercept": "3"} if rescale else {}
    data = native(stored, uid.ExplicitVRLittleEndian, **elements)
    slope, intercept = (float(rescale[key]) for key in ("RescaleSlope", "RescaleIntercept")) if rescale else (1, 0)
    for frame, shift in enumerate(shifts):
        values = stored[frame] * slope + intercept
        middle, span = float(centre) + shift, float(width)
        if function == "SIGMOID":
            expected = np.rint(255 / (1 + np.exp(-4 * (values - middle) / span)))
        elif function == "LINEAR_EXACT":
            expected = scaled(values, middle - span / 2, middle + span / 2)
        else:
            expected = scaled(values, middle - span / 2, middle + span / 2 - 1)
        right_or_refused("DICOM, enhanced", read(data, frame=frame), expected, may_refuse=False)
        own = scaled(values, 100, 900)
        right_or_refused("DICOM, enhanced", read(data, frame=frame, window=(100, 900)), own, may_refuse=False)


def test_groups_for_other_frames_than_there_are_is_refused() -> None:
    stored = np.stack([gray_ramp(8)] * 3)
    groups = [Dataset(), Dataset()]
    data = native(stored, uid.ExplicitVRLittleEndian, PerFrameFunctionalGroupsSequence=groups)
    assert right_or_refused("DICOM, enhanced", read(data), stored[0]) == "refused"


def test_ct_without_a_window_is_mapped_by_hounsfield_units() -> None:
    stored = gray_ramp(16)
    hounsfield = stored.astype(float) - 1024
    elements = {**of_bits(stored, 16), "Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
    data = native(stored, uid.ExplicitVRLittleEndian, **elements)
    right_or_refused("DICOM, windows", read(data), scaled(hounsfield, -1024, 3071), may_refuse=False)
    values = dicom_values(io.BytesIO(data), name="scan", own_window=False)
    np.testing.assert_array_equal(values.pixels, hounsfield)
    assert values.kind == "DICOM CT, HU"


@pytest.mark.parametrize("shape", ["IDENTITY", "INVERSE"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_presentation_shape_agrees_or_the_file_is_refused(photometric: str, shape: str) -> None:
    stored = gray_ramp(8)
    data = native(stored, uid.ExplicitVRLittleEndian, PhotometricInterpretation=photometric, PresentationLUTShape=shape)
    expected = 255 - stored if photometric == "MONOCHROME1" else stored
    outcome = right_or_refused("DICOM, windows", read(data), expected)
    assert outcome == (
        "right" if (photometric, shape) in (("MONOCHROME1", "INVERSE"), ("MONOCHROME2", "IDENTITY")) else "refused"
    )


LEGAL = {
    "BitsStored": [8, 9, 10, 11, 13, 14, 15, 16],
    "HighBit": list(range(16)),
    "PixelRepresentation": [0, 1],
    "PhotometricInterpretation": ["MONOCHROME1", "MONOCHROME2"],
    "Rows": [12, 23, 25, 48],
    "Columns": [12, 23, 25, 48],
    "NumberOfFrames": [1, 2],
    "BitsAllocated": [8, 16, 32],
    "RescaleSlope": ["2", "0.25", "-1"],
    "RescaleIntercept": ["-1024", "0", "12.5"],
    "WindowCenter": ["0", "40", "-100.5"],
    "WindowWidth": ["1", "2", "350"],
    "VOILUTFunction": ["LINEAR", "LINEAR_EXACT", "SIGMOID"],
    "SamplesPerPixel": [1, 3],
}
CHANGES = st.sampled_from([(keyword, value) for keyword, values in LEGAL.items() for value in values])


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.lists(CHANGES, min_size=1, max_size=2), syntax=st.sampled_from(["explicit", "big endian", "RLE"]))
def test_changed_headers_are_read_as_pydicom_reads_them_or_refused(changes: list, syntax: str) -> None:
    ramp = gray_ramp(12)
    elements = {
        **of_bits(ramp, 12),
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        "WindowCenter": 2000,
        "WindowWidth": 3000,
    }
    dataset = pydicom.dcmread(io.BytesIO(native(ramp, NATIVE[syntax], **elements)))
    for keyword, value in changes:
        setattr(dataset, keyword, value)
    written = io.BytesIO()
    dataset.save_as(written)
    data = written.getvalue()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(data))
            frame = dataset.pixel_array
            frame = frame[0] if int(dataset.get("NumberOfFrames", 1)) > 1 else frame
            values = apply_modality_lut(frame, dataset)
            windowed = apply_voi_lut(values, dataset).astype(np.float64)
    except Exception:
        with contextlib.suppress(InputError):  # never another error
            read(data)()
        return
    bits, slope, intercept = dataset.BitsStored, float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0, 2**bits - 1)
    ends = low * slope + intercept, high * slope + intercept  # what pydicom makes of black and white
    expected = scaled(windowed, *ends) if windowed.ndim == 2 else np.zeros((1, 1))
    expected = 255 - expected if dataset.PhotometricInterpretation == "MONOCHROME1" else expected
    right_or_refused("DICOM, changed headers", read(data), expected)
