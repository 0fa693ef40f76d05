"""DICOM: the twelve real ultrasound files, and small files made here for what those lack."""

from __future__ import annotations

import io
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRLittleEndian, UltrasoundImageStorage

from fastrad.errors import InputError
from fastrad.imaging import decode_gray, read_gray
from fastrad.imaging.doppler import is_colour_doppler


def make_dicom(stored: np.ndarray, **elements: object) -> bytes:
    """A file of (H, W) or (frames, H, W) uint8, uint16 or int16 values; `elements` are added or replaced."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UltrasoundImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3"
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = "SMITH^JOHN", "MRN4711", "20110525"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    if stored.ndim == 3:
        dataset.NumberOfFrames = len(stored)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = stored.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    dataset.PixelData = stored.tobytes()
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def region(left: int, top: int, right: int, bottom: int, *, spatial_format: int = 1, data_type: int = 1) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = spatial_format, data_type
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    return item


REAL_SHAPES = {
    "ExplVR_BigEnd.dcm": (60, 80),
    "GREYSCALE_CINE.dcm": (562, 779),
    "GREYSCALE_IMAGE.dcm": (721, 997),
    "JPGLosslessP14SV1_1s_1f_8b.dcm": (721, 997),
    "OBXXXX1A.dcm": (459, 680),
    "OBXXXX1A_2frame.dcm": (459, 680),
    "OBXXXX1A_rle.dcm": (459, 680),
    "RGB_IMAGE.dcm": (705, 1009),
    "examples_jpeg2k.dcm": (480, 640),
    "examples_palette.dcm": (290, 680),
    "examples_rgb_color.dcm": (240, 320),
    "examples_ybr_color.dcm": (240, 320),
}


@pytest.mark.parametrize("name", sorted(REAL_SHAPES))
def test_every_real_file_is_read_and_cut_to_its_tissue_region(dicom_root: Path, name: str) -> None:
    gray = read_gray(dicom_root / name)
    assert gray.dtype == np.uint8
    assert gray.shape == REAL_SHAPES[name]
    assert gray.std() > 5


def test_compressed_copies_equal_the_uncompressed_ones(dicom_root: Path) -> None:
    plain = read_gray(dicom_root / "OBXXXX1A.dcm")
    np.testing.assert_array_equal(read_gray(dicom_root / "OBXXXX1A_rle.dcm"), plain)
    np.testing.assert_array_equal(read_gray(dicom_root / "OBXXXX1A_2frame.dcm"), plain)
    # The same screen, cut off at row 350; its region begins at row 60.
    np.testing.assert_array_equal(read_gray(dicom_root / "examples_palette.dcm"), plain[: 350 - 60])
    colour = read_gray(dicom_root / "examples_rgb_color.dcm"), read_gray(dicom_root / "examples_jpeg2k.dcm")
    assert np.abs(colour[0].astype(int) - colour[1][::2, ::2]).mean() < 10  # one is the other at half the size


def test_palette_is_looked_up_as_numpy_does(dicom_root: Path) -> None:
    dataset = pydicom.dcmread(dicom_root / "OBXXXX1A.dcm")
    stored = np.frombuffer(dataset.PixelData, np.uint8).reshape(600, 800)[60:519, 120:800]
    rgb = [
        np.frombuffer(dataset[f"{colour}PaletteColorLookupTableData"].value, "<u2")[stored] / 256
        for colour in ("Red", "Green", "Blue")
    ]
    luma = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
    assert np.abs(read_gray(dicom_root / "OBXXXX1A.dcm") - luma).max() <= 0.51


def test_frames_of_a_cine_are_told_apart(dicom_root: Path) -> None:
    dataset = pydicom.dcmread(dicom_root / "GREYSCALE_CINE.dcm")
    frames = np.frombuffer(dataset.PixelData, np.uint8).reshape(27, 600, 800)[:, 31:593, 10:789]
    for frame in (0, 13, 26):
        # Its window, centre 128 and width 256, is the identity.
        np.testing.assert_array_equal(read_gray(dicom_root / "GREYSCALE_CINE.dcm", frame=frame), frames[frame])
    with pytest.raises(InputError, match="has no frame 27: it holds 27"):
        read_gray(dicom_root / "GREYSCALE_CINE.dcm", frame=27)


def test_jpeg_frames_equal_a_decode_of_their_own_bytes(dicom_root: Path) -> None:
    path = dicom_root / "examples_ybr_color.dcm"
    dataset = pydicom.dcmread(path)
    encoded = list(generate_frames(dataset.PixelData, number_of_frames=30))
    for frame in (0, 29):
        np.testing.assert_array_equal(read_gray(path, frame=frame), decode_gray(encoded[frame].rstrip(b"\0")))


def test_window_of_the_file_follows_the_standard() -> None:
    stored = np.arange(256, dtype=np.uint16).reshape(16, 16)
    x = stored.astype(np.float64)
    gray = decode_gray(make_dicom(stored, WindowCenter=100, WindowWidth=50))
    # PS3.3 C.11.2.1.2: ((x - (c - 0.5)) / (w - 1) + 0.5) * 255 between 75 and 124
    expected = np.clip((x - 99.5) / 49 + 0.5, 0, 1) * 255
    assert np.abs(gray - expected).max() <= 0.51
    exact = decode_gray(make_dicom(stored, WindowCenter=100, WindowWidth=50, VOILUTFunction="LINEAR_EXACT"))
    assert np.abs(exact - np.clip((x - 100) / 50 + 0.5, 0, 1) * 255).max() <= 0.51
    sigmoid = decode_gray(make_dicom(stored, WindowCenter=100, WindowWidth=50, VOILUTFunction="SIGMOID"))
    assert np.abs(sigmoid - 255 / (1 + np.exp(-4 * (x - 100) / 50))).max() <= 0.51


def test_first_of_several_windows_is_taken() -> None:
    stored = np.arange(256, dtype=np.uint16).reshape(16, 16)
    several = make_dicom(stored, WindowCenter=[100, 500], WindowWidth=[50, 900])
    np.testing.assert_array_equal(
        decode_gray(several), decode_gray(make_dicom(stored, WindowCenter=100, WindowWidth=50))
    )


def test_rescale_comes_before_the_window_asked_for() -> None:
    stored = np.array([[-1000, 0, 40, 240, 3000]], dtype=np.int16)
    data = make_dicom(stored, RescaleSlope=2, RescaleIntercept=-80, WindowCenter=0, WindowWidth=10)
    # Rescaled: -2080, -80, 0, 400, 5920; the window asked for replaces the file's own.
    np.testing.assert_array_equal(decode_gray(data, window=(0, 400)), [[0, 0, 0, 255, 255]])


def test_without_a_window_the_whole_range_of_the_stored_bits_is_mapped() -> None:
    stored = np.array([[0, 2048, 4095]], dtype=np.uint16)
    np.testing.assert_array_equal(decode_gray(make_dicom(stored, BitsStored=12, HighBit=11)), [[0, 128, 255]])
    eight = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(decode_gray(make_dicom(eight)), eight)


def test_without_a_window_the_whole_range_of_a_modality_table_is_mapped() -> None:
    stored = np.array([[0, 1, 2, 3]], dtype=np.uint16)
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4, 0, 16], np.array([0, 13107, 52428, 65535], "<u2").tobytes()
    table.ModalityLUTType = "US"
    data = make_dicom(stored, BitsStored=12, HighBit=11, ModalityLUTSequence=[table])
    np.testing.assert_array_equal(decode_gray(data), [[0, 51, 204, 255]])


def test_monochrome1_is_turned_over() -> None:
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(
        decode_gray(make_dicom(stored, PhotometricInterpretation="MONOCHROME1")), 255 - stored
    )


def test_voi_table_of_the_file_is_applied() -> None:
    stored = np.array([[0, 1, 2, 3, 200]], dtype=np.uint8)
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4, 0, 8], np.array([10, 250, 30, 90], "<u2").tobytes()
    data = make_dicom(stored, VOILUTSequence=[table])
    np.testing.assert_array_equal(decode_gray(data), [[10, 250, 30, 90, 90]])


@pytest.mark.parametrize(
    ("regions", "expected"),
    [
        ([], (0, 0, 60, 40)),
        ([region(5, 3, 24, 12)], (5, 3, 25, 13)),
        ([region(5, 3, 24, 12), region(30, 8, 44, 20)], (5, 3, 45, 21)),
        ([region(5, 3, 24, 12), region(0, 30, 59, 39, spatial_format=3, data_type=3)], (5, 3, 25, 13)),
        ([region(5, 3, 60, 40)], (5, 3, 60, 40)),
        ([region(5, 3, 24, 90)], (5, 3, 25, 40)),
        ([region(5, 3, 120, 80)], (0, 0, 60, 40)),
        ([region(70, 3, 80, 12)], (0, 0, 60, 40)),
    ],
    ids=["none", "one", "two", "doppler-beside", "size-for-last", "cropped-since", "scaled-since", "outside"],
)
def test_tissue_regions_are_cut_out(regions: list[Dataset], expected: tuple[int, int, int, int]) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    left, top, right, bottom = expected
    data = make_dicom(stored, SequenceOfUltrasoundRegions=regions)
    np.testing.assert_array_equal(decode_gray(data), stored[top:bottom, left:right])


def test_a_box_counts_from_the_whole_frame_and_replaces_the_regions() -> None:
    stored = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
    data = make_dicom(stored, SequenceOfUltrasoundRegions=[region(5, 3, 24, 12)])
    np.testing.assert_array_equal(decode_gray(data, box=(0, 0, 30, 30)), stored[:30, :30])


@pytest.mark.parametrize("name", ["GREYSCALE_IMAGE.dcm", "OBXXXX1A_rle.dcm", "examples_jpeg2k.dcm"])
def test_a_file_cut_anywhere_is_refused_or_loses_no_pixel(dicom_root: Path, name: str) -> None:
    data = (dicom_root / name).read_bytes()
    whole = decode_gray(data)
    refused = 0
    for length in {*np.linspace(0, len(data) - 1, 25).astype(int), len(data) - 20}:
        try:
            np.testing.assert_array_equal(decode_gray(data[:length]), whole)
        except InputError:
            refused += 1
    assert refused >= 23


def test_errors_hold_nothing_of_the_patient(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture) -> None:
    stored = np.zeros((20, 20), np.uint8)
    cut = make_dicom(stored, PatientName="SMITH^JOHN" * 40)[:-100]
    odd = make_dicom(stored, RescaleSlope="1", WindowCenter=1, WindowWidth=5, VOILUTSequence=[Dataset()])
    for data in (cut, odd, make_dicom(stored, Rows=9000, Columns=9000)):
        with pytest.raises(InputError) as caught:
            decode_gray(data, name="a.dcm")
        output = capfd.readouterr()
        for text in (str(caught.value), caplog.text, output.err, output.out):
            for secret in ("SMITH", "MRN4711", "20110525"):
                assert secret not in text


def test_dicom_without_pixels_and_text_named_dcm_are_refused(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(io.BytesIO(make_dicom(np.zeros((2, 2), np.uint8))))
    del dataset.PixelData, dataset.Rows, dataset.Columns
    dataset.save_as(tmp_path / "report.dcm")
    with pytest.raises(InputError, match="without an image"):
        read_gray(tmp_path / "report.dcm")
    (tmp_path / "text.dcm").write_text("x" * 500)
    with pytest.raises(InputError, match="not an image"):
        read_gray(tmp_path / "text.dcm")


def test_colour_doppler_is_told_from_coloured_screens(dicom_root: Path) -> None:
    coloured = {path.name for path in dicom_root.glob("*.dcm") if is_colour_doppler(path)}
    # Two power Doppler images of a lymph node, and a tiny image in false colours; not the screens with a blue header.
    assert coloured == {"examples_jpeg2k.dcm", "examples_rgb_color.dcm", "ExplVR_BigEnd.dcm"}


def test_odd_values_are_quoted_by_nobody_and_pydicom_keeps_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warning of pydicom's would quote them; also while other threads read."""
    settings, warned = pydicom.config.settings, pydicom.config.WARN
    monkeypatch.setattr(settings, "reading_validation_mode", pydicom.config.IGNORE)
    odd = make_dicom(np.full((8, 8), 7, np.uint8), NumberOfFrames="1.0")
    settings.reading_validation_mode = warned
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert pydicom.dcmread(io.BytesIO(odd)).NumberOfFrames == 1
        assert "1.0" in str(caught[0].message)
        caught.clear()
        with ThreadPoolExecutor(4) as threads:
            images = list(threads.map(lambda _: decode_gray(odd, name="odd"), range(200)))
        assert not caught
    assert all((image == images[0]).all() for image in images)
    assert settings.reading_validation_mode == warned


def measured(**elements: object) -> Dataset:
    item = region(0, 0, 39, 19)
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX, item.PhysicalDeltaY = 0.01, 0.02
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item


def groups(row: float, column: float) -> list[Dataset]:
    group, measures = Dataset(), Dataset()
    measures.PixelSpacing = [row, column]
    group.PixelMeasuresSequence = [measures]
    return [group]


@pytest.mark.parametrize(
    ("elements", "shape"),
    [
        ({"PixelAspectRatio": [2, 1]}, (40, 40)),
        ({"PixelAspectRatio": [1, 2]}, (20, 80)),
        ({"PixelSpacing": [0.3, 0.1]}, (60, 40)),
        ({"ImagerPixelSpacing": [0.1, 0.15]}, (20, 60)),
        ({"SequenceOfUltrasoundRegions": [measured()]}, (40, 40)),
        ({"SequenceOfUltrasoundRegions": [measured(PhysicalDeltaX=-0.01)]}, (40, 40)),
        ({"SequenceOfUltrasoundRegions": [measured(PhysicalUnitsXDirection=4)]}, (20, 40)),
        ({"SharedFunctionalGroupsSequence": groups(0.2, 0.1)}, (40, 40)),
        ({"SharedFunctionalGroupsSequence": groups(0.2, 0.1), "PixelSpacing": [1, 1]}, (40, 40)),
        ({"PixelSpacing": [0.201, 0.2]}, (20, 40)),
        ({"PixelSpacing": [0, 0], "PixelAspectRatio": [2, 1]}, (40, 40)),
        ({"PixelSpacing": [0.2, 0.1], "PixelAspectRatio": [2, 1]}, (40, 40)),
    ],
)
def test_pixels_that_are_not_square_are_made_so(elements: dict, shape: tuple[int, int]) -> None:
    data = make_dicom(np.random.default_rng(0).integers(0, 256, (20, 40), dtype=np.uint8), **elements)
    assert decode_gray(data).shape == shape
    assert decode_gray(data, pixel_aspect="ignore").shape == (20, 40)


def test_pixels_of_several_shapes_are_refused_unless_ignored() -> None:
    data = make_dicom(np.zeros((20, 40), np.uint8), PixelSpacing=[0.2, 0.1], PixelAspectRatio=[1, 1])
    with pytest.raises(InputError, match=r"several shapes: .* --pixel-aspect ignore"):
        decode_gray(data)
    assert decode_gray(data, pixel_aspect="ignore").shape == (20, 40)
