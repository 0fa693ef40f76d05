"""Colour DICOM: what the bytes hold against what the header claims, for stills and clips; and lossy gray.

What is right is the luma of the colours that were encoded; where header and codestream disagree and readers differ,
only that luma or a refusal is right. GDCM, which fastrad does not use, reads along where it can.
"""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pydicom
import pytest
from dicom_files import colours, gray_ramp, jp2, luma, make, native, of_bits, read, scaled, without_markers, ybr
from matrix import right_or_refused
from PIL import Image
from pydicom import uid
from pydicom.pixels import apply_color_lut, get_encoder, pixel_array

from fastrad.imaging.dicom import decode_colour

RGB = colours()
GRAY = np.dstack([gray_ramp(8)] * 3)
HEADERS = ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"]


def jpeg(image: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=98, **options)
    return stream.getvalue()


def jpeg2000(image: np.ndarray, transform: bool, *, lossy: bool = False) -> bytes:
    options = {"level": 60} if lossy else {"level": 0, "reversible": True}
    return imagecodecs.jpeg2k_encode(image, codecformat="J2K", mct=transform, **options)


def lossless_jpeg(image: np.ndarray) -> bytes:
    encoded = imagecodecs.jpeg8_encode(image, lossless=True, predictor=1, colorspace="RGB", outcolorspace="RGB")
    return numbered(without_markers(encoded))


def numbered(stream: bytes) -> bytes:
    """A JPEG whose components are called 1, 2, 3 instead of R, G, B."""
    named = stream.replace(b"R\x11\0G\x11\0B\x11\0", b"\1\x11\0\2\x11\0\3\x11\0")
    numbered_scan = named.replace(b"\x03R\0G\0B\0", b"\x03\1\0\2\0\3\0")
    assert stream != named != numbered_scan
    return numbered_scan


# name: (syntax, encoder, what the codestream says of its colours: "RGB", "YBR" or nothing, tolerance)
CODESTREAMS = {
    "JPEG, JFIF": (uid.JPEGBaseline8Bit, lambda image: jpeg(image, subsampling=0), "YBR", 3),
    "JPEG, subsampled": (uid.JPEGBaseline8Bit, lambda image: without_markers(jpeg(image, subsampling=2)), "YBR", 3),
    "JPEG, named RGB": (uid.JPEGBaseline8Bit, lambda image: without_markers(jpeg(image, keep_rgb=True)), "RGB", 3),
    "JPEG, Adobe RGB": (uid.JPEGBaseline8Bit, lambda image: jpeg(image, keep_rgb=True), "RGB", 3),
    "JPEG 2000, transform": (uid.JPEG2000Lossless, lambda image: jpeg2000(image, True), "RGB", 1),
    "JPEG 2000, lossy": (uid.JPEG2000, lambda image: jpeg2000(image, True, lossy=True), "RGB", 3),
    "JP2, transform": (uid.JPEG2000, lambda image: jp2(jpeg2000(image, True), *image.shape, 16), "RGB", 1),
    "HTJ2K, transform": (uid.HTJ2K, lambda image: imagecodecs.htj2k_encode(image, reversible=True), "RGB", 1),
}
SILENT = {
    "JPEG, unmarked": (uid.JPEGBaseline8Bit, lambda image: without_markers(jpeg(image, subsampling=0)), "YBR"),
    "JPEG, unmarked RGB": (
        uid.JPEGBaseline8Bit,
        lambda image: numbered(without_markers(jpeg(image, subsampling=0, keep_rgb=True))),
        "RGB",
    ),
    "JPEG 2000, plain RGB": (uid.JPEG2000Lossless, lambda image: jpeg2000(image, False), "RGB"),
    "JPEG 2000, plain YBR": (uid.JPEG2000Lossless, lambda image: jpeg2000(ybr(image), False), "YBR"),
    "JP2, plain YBR": (uid.JPEG2000, lambda image: jp2(jpeg2000(ybr(image), False), *image.shape, 18), "YBR"),
    "JPEG-LS, RGB": (uid.JPEGLSLossless, imagecodecs.jpegls_encode, "RGB"),
    "JPEG-LS, YBR": (uid.JPEGLSLossless, lambda image: imagecodecs.jpegls_encode(ybr(image)), "YBR"),
    "lossless, RGB": (uid.JPEGLosslessSV1, lossless_jpeg, "RGB"),
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("codestream", CODESTREAMS)
def test_what_the_codestream_says_goes_before_the_header(codestream: str, header: str) -> None:
    syntax, encode, _, tolerance = CODESTREAMS[codestream]
    shape = {"SamplesPerPixel": 3, "PhotometricInterpretation": header, "PlanarConfiguration": 0}
    for images in ([RGB], [RGB, RGB[::-1].copy(), GRAY]):
        data = make([encode(image) for image in images], 24, 24, syntax, **shape)
        for frame, image in enumerate(images):
            right_or_refused(
                "DICOM, colour", read(data, frame=frame), luma(image), tolerance=tolerance, may_refuse=False
            )
        if tolerance == 1:
            np.testing.assert_array_equal(decode_colour(io.BytesIO(data), name="scan"), RGB)


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("codestream", SILENT)
def test_a_silent_codestream_is_read_by_the_header_or_refused_where_readers_differ(
    codestream: str, header: str
) -> None:
    syntax, encode, holds = SILENT[codestream]
    shape = {"SamplesPerPixel": 3, "PhotometricInterpretation": header, "PlanarConfiguration": 0}
    data = make([encode(RGB)], 24, 24, syntax, **shape)
    tolerance = 3 if syntax == uid.JPEGBaseline8Bit else 1
    agree = holds == ("RGB" if header == "RGB" else "YBR")
    if agree:
        right_or_refused("DICOM, colour", read(data), luma(RGB), tolerance=tolerance)
    else:  # a header that lies, and nothing in the bytes that says so: as any reader would, or refused
        stored = RGB if holds == "RGB" else ybr(RGB)
        as_told = luma(stored) if header == "RGB" else stored[..., 0]
        right_or_refused("DICOM, colour", read(data), as_told, tolerance=tolerance)
    gray = make([encode(GRAY)], 24, 24, syntax, **shape)
    expected = luma(ybr(GRAY)) if holds == "YBR" and header == "RGB" else GRAY[..., 0]
    if syntax in (uid.JPEGBaseline8Bit, uid.JPEG2000):  # left open by the header, and decided by the gray itself
        right_or_refused("DICOM, gray in colour", read(gray), GRAY[..., 0], may_refuse=False)
    else:
        right_or_refused("DICOM, gray in colour", read(gray), expected)


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("header", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless])
def test_uncompressed_colours(syntax: str, header: str, planar: int) -> None:
    if header == "YBR_FULL_422" and syntax != uid.RLELossless:
        return  # see the next test
    for depth in (8, 12, 16):
        images = [RGB, RGB[::-1], GRAY]
        samples = [image if header == "RGB" else ybr(image) for image in images]
        if depth > 8:
            samples = [(image.astype(np.uint16) << (depth - 8)) for image in samples]
        stored = np.stack([image.transpose(2, 0, 1) if planar else image for image in samples])
        elements = {
            "SamplesPerPixel": 3,
            "PhotometricInterpretation": header,
            "PlanarConfiguration": planar,
            "NumberOfFrames": 3,
            **of_bits(stored, depth),
        }
        if syntax == uid.RLELossless:
            encoder = get_encoder(uid.RLELossless)
            described = {"rows": 24, "columns": 24, "samples_per_pixel": 3, "photometric_interpretation": "RGB"}
            described |= {"bits_allocated": 8 if depth == 8 else 16, "bits_stored": 8 if depth == 8 else 16}
            described |= {"pixel_representation": 0, "number_of_frames": 1, "planar_configuration": 0}
            frames = [encoder.encode(image.tobytes(), **described) for image in samples]
            data = make(frames, 24, 24, syntax, **elements)
        else:
            order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
            data = make(stored.astype(stored.dtype.newbyteorder(order)).tobytes(), 24, 24, syntax, **elements)
        for frame, image in enumerate(images):
            open_question = header == "YBR_FULL_422" and image is not GRAY  # RLE that is said to be subsampled
            outcome = right_or_refused("DICOM, colour", read(data, frame=frame), luma(image))
            assert outcome == ("refused" if open_question else "right")


@pytest.mark.parametrize("header", ["YBR_FULL_422", "RGB", "YBR_FULL"])
@pytest.mark.parametrize("image", [RGB, GRAY], ids=["colour", "gray"])
@pytest.mark.parametrize("holds", ["422", "RGB", "YBR"])
def test_uncompressed_422_and_what_is_called_so(header: str, image: np.ndarray, holds: str) -> None:
    full = ybr(image)
    pairs = np.stack([full[:, ::2, 0], full[:, 1::2, 0], full[:, ::2, 1], full[:, ::2, 2]], axis=-1)
    content = {"422": pairs, "RGB": image, "YBR": full}[holds].tobytes()
    shape = {"SamplesPerPixel": 3, "PhotometricInterpretation": header, "PlanarConfiguration": 0}
    for frames in (1, 2):
        data = make(content * frames, 24, 24, **shape, NumberOfFrames=frames)
        truthful = header == {"422": "YBR_FULL_422", "RGB": "RGB", "YBR": "YBR_FULL"}[holds]
        if header != "YBR_FULL_422" and holds != "422" and not truthful:
            continue  # of one length: no reader can know
        outcome = right_or_refused("DICOM, 422", read(data, frame=frames - 1), luma(image), may_refuse=not truthful)
        if holds == "422":
            assert outcome == ("right" if truthful else "refused")


@pytest.mark.parametrize("declared", [8, 16])
@pytest.mark.parametrize("actual", ["8 packed", "8 in words", "12", "16 as * 256", "16 as * 257"])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.ImplicitVRLittleEndian])
def test_palettes_at_the_depth_of_their_entries(syntax: str, actual: str, declared: int) -> None:
    entries = np.random.default_rng(3).permutation(256).astype(np.uint16)
    channels = [entries, entries[::-1], np.roll(entries, 100)]
    first = 16
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    factor = {"8 packed": 1, "8 in words": 1, "12": 16, "16 as * 256": 256, "16 as * 257": 257}[actual]
    elements: dict = {"PhotometricInterpretation": "PALETTE COLOR"}
    for colour, channel in zip(("Red", "Green", "Blue"), channels, strict=True):
        values = channel * factor
        if actual == "8 packed":
            content = values.astype(np.uint8).view("<u2").astype(f"{order}u2").tobytes()
        else:
            content = values.astype(f"{order}u2").tobytes()
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, first, declared]
        elements[f"{colour}PaletteColorLookupTableData"] = content
    stored = gray_ramp(8)
    index = np.clip(stored.astype(int) - first, 0, 255)
    expected = luma(np.dstack([channel[index] for channel in channels]).astype(np.uint8))
    outcome = right_or_refused("DICOM, palettes", read(make(stored.tobytes(), 24, 24, syntax, **elements)), expected)
    assert outcome == ("refused" if actual == "12" else "right")
    clip = make(stored.tobytes() * 2, 24, 24, syntax, **elements, NumberOfFrames=2)
    assert right_or_refused("DICOM, palettes", read(clip, frame=1), expected) == outcome


@pytest.mark.parametrize("signed", [False, True])
def test_palettes_of_16_bit_indices_as_pydicom_looks_them_up(signed: bool) -> None:
    stored = gray_ramp(12, signed)
    rng = np.random.default_rng(4)
    elements: dict = {"PhotometricInterpretation": "PALETTE COLOR", **of_bits(stored, 12)}
    for colour in ("Red", "Green", "Blue"):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [3000, -1500 if signed else 500, 16]
        content = (rng.permutation(3000) * 65535 // 2999).astype("<u2").tobytes()
        elements[f"{colour}PaletteColorLookupTableData"] = content
    data = make(stored.tobytes(), 24, 24, uid.ImplicitVRLittleEndian, **elements)
    dataset = pydicom.dcmread(io.BytesIO(data))
    expected = luma(apply_color_lut(dataset.pixel_array, dataset) >> 8)
    right_or_refused("DICOM, palettes", read(data), expected, may_refuse=False)


@pytest.mark.parametrize("header", ["HSV", "ARGB", "CMYK", "YBR_PARTIAL_420", "XYZ", "RGB", "PALETTE COLOR"])
def test_colours_that_nobody_writes_or_that_contradict_are_refused(header: str) -> None:
    stored = gray_ramp(8)
    data = make(stored.tobytes(), 24, 24, PhotometricInterpretation=header)
    assert right_or_refused("DICOM, colour", read(data), stored) == "refused"


@pytest.mark.parametrize("quality", [75, 98])
def test_lossy_jpeg_of_8_and_12_bits(quality: int) -> None:
    twelve = gray_ramp(12)
    frame = without_markers(imagecodecs.jpeg8_encode(twelve, level=quality, bitspersample=12))
    data = make([frame, frame], 24, 24, uid.JPEGExtended12Bit, **of_bits(twelve, 12))
    # GDCM has no decoder for it: what was encoded, within what the quality loses
    right_or_refused("DICOM, lossy", read(data, frame=1), scaled(twelve, 0, 4095), may_refuse=False)
    for claimed in (10, 16):
        lying = make([frame], 24, 24, uid.JPEGExtended12Bit, **of_bits(twelve, claimed))
        right_or_refused("DICOM, lossy", read(lying), scaled(twelve, 0, 4095))
    eight = gray_ramp(8)
    frame = jpeg(eight)
    data = make([frame], 24, 24, uid.JPEGBaseline8Bit)
    oracle = pixel_array(io.BytesIO(data), index=0, raw=True, decoding_plugin="gdcm")
    right_or_refused("DICOM, lossy", read(data), oracle, may_refuse=False)
    wide = make([frame], 24, 24, uid.JPEGBaseline8Bit, **of_bits(twelve, 12))
    assert right_or_refused("DICOM, lossy", read(wide), oracle) == "refused"


@pytest.mark.parametrize("bits", [12, 16])
def test_lossy_12_bits_that_are_damaged_are_refused(bits: int) -> None:
    noise = np.random.default_rng(5).integers(0, 4096, (48, 48)).astype(np.uint16)
    options = {"level": 95} if bits == 12 else {"lossless": True, "predictor": 1}
    frame = imagecodecs.jpeg8_encode(noise, bitspersample=bits, **options)
    syntax = uid.JPEGExtended12Bit if bits == 12 else uid.JPEGLosslessSV1
    cases = [frame[: len(frame) // 2], frame[: len(frame) // 2] + b"\xff\xd9", frame[:-40] + b"\xff\xd9"]
    for damaged in cases:
        data = make([damaged], 48, 48, syntax, **of_bits(noise, bits))
        assert right_or_refused("DICOM, damaged", read(data), noise) == "refused"


def test_near_lossless_jpeg_ls_as_gdcm_reads_it() -> None:
    twelve = gray_ramp(12)
    frame = imagecodecs.jpegls_encode(twelve, level=3)
    data = make([frame], 24, 24, uid.JPEGLSNearLossless, **of_bits(twelve, 12))
    oracle = pixel_array(io.BytesIO(data), index=0, raw=True, decoding_plugin="gdcm")
    right_or_refused("DICOM, lossy", read(data), scaled(oracle, 0, 4095), may_refuse=False)


def test_j2k_sign_that_differs_from_the_header_s() -> None:
    signed = gray_ramp(12, True)
    frame = imagecodecs.jpeg2k_encode(signed, codecformat="J2K", level=0, reversible=True, bitspersample=12)
    data = make([frame], 24, 24, uid.JPEG2000Lossless, **{**of_bits(signed, 12), "PixelRepresentation": 0})
    assert right_or_refused("DICOM, odd bits", read(data), scaled(signed, -2048, 2047)) == "refused"
    unsigned = signed.view(np.uint16) & np.uint16(0x0FFF)
    frame = imagecodecs.jpeg2k_encode(unsigned, codecformat="J2K", level=0, reversible=True, bitspersample=12)
    data = make([frame], 24, 24, uid.JPEG2000Lossless, **of_bits(signed, 12))
    oracle = pixel_array(io.BytesIO(data), index=0, raw=True, decoding_plugin="gdcm")
    np.testing.assert_array_equal(oracle, signed)
    right_or_refused("DICOM, odd bits", read(data), scaled(signed, -2048, 2047), may_refuse=False)


def test_a_window_of_a_colour_file_is_not_applied_and_one_asked_for_is() -> None:
    shape = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    data = make(RGB.tobytes(), 24, 24, **shape, WindowCenter=10, WindowWidth=5)
    right_or_refused("DICOM, colour", read(data), luma(RGB), may_refuse=False)
    expected = scaled(np.rint(luma(RGB)), 50, 200)
    right_or_refused("DICOM, colour", read(data, window=(50, 200)), expected, tolerance=2, may_refuse=False)


def test_a_syntax_that_does_not_fit_the_bytes() -> None:
    ramp = gray_ramp(8)
    encoded = make([jpeg(ramp)], 24, 24, uid.JPEGBaseline8Bit)
    for said in (uid.JPEG2000, uid.JPEGLSLossless, uid.JPEGLosslessSV1, uid.RLELossless, uid.MPEG4HP41):
        dataset = pydicom.dcmread(io.BytesIO(encoded))
        dataset.file_meta.TransferSyntaxUID = said
        written = io.BytesIO()
        dataset.save_as(written)
        right_or_refused("DICOM, headers", read(written.getvalue()), ramp, tolerance=3)
    plain = native(ramp, uid.ExplicitVRLittleEndian)
    lying = plain.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0")
    assert right_or_refused("DICOM, headers", read(lying), ramp) == "refused"
