"""DICOM whose frames are not as many, as long or as whole as its header says: right, or refused with one line."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from dicom_files import GRAY_ENCODERS, NATIVE, gray_ramp, make, native, of_bits, read, scaled
from matrix import right_or_refused


@pytest.mark.parametrize("syntax", [*NATIVE, *GRAY_ENCODERS])
def test_number_of_frames_that_is_not_what_is_there(syntax: str) -> None:
    ramp = gray_ramp(8)
    stored = np.stack([ramp, ramp[::-1], ramp.T])
    for said in (1, 2, 4, 30):
        if syntax in NATIVE:
            whole = native(stored, NATIVE[syntax])
            dataset = pydicom.dcmread(io.BytesIO(whole))
            dataset.NumberOfFrames = said
            written = io.BytesIO()
            dataset.save_as(written)
            variants = [written.getvalue()]
        else:
            name, encode = GRAY_ENCODERS[syntax]
            frames = [encode(each, 8) for each in stored]
            variants = [
                make(frames, *ramp.shape, name, NumberOfFrames=said, table=table, extended=extended)
                for table, extended in ((True, False), (False, False), (False, True))
            ]
        for data in variants:
            assert right_or_refused("DICOM, frames", read(data), ramp) in ("right", "refused")
            if said > 3:
                assert right_or_refused("DICOM, frames", read(data, frame=3), ramp) == "refused"


@pytest.mark.parametrize("syntax", GRAY_ENCODERS)
def test_fragments_with_and_without_offset_tables(syntax: str) -> None:
    name, encode = GRAY_ENCODERS[syntax]
    stored = [gray_ramp(8), gray_ramp(8)[::-1], gray_ramp(8).T]
    frames = [encode(np.ascontiguousarray(each), 8) for each in stored]
    files = [
        make(frames, 24, 24, name),
        make(frames, 24, 24, name, table=False),
        make(frames, 24, 24, name, extended=True),
    ]
    for parts in (1, 2, 5):
        dataset = pydicom.dcmread(io.BytesIO(make(frames, 24, 24, name)))
        dataset.PixelData = pydicom.encaps.encapsulate(frames, fragments_per_frame=parts)
        written = io.BytesIO()
        dataset.save_as(written)
        files.append(written.getvalue())
    for data in files:
        for frame, each in enumerate(stored):
            right_or_refused("DICOM, frames", read(data, frame=frame), each, may_refuse=False)
    alone = pydicom.dcmread(io.BytesIO(make(frames[:1], 24, 24, name)))
    alone.PixelData = pydicom.encaps.encapsulate(frames[:1], fragments_per_frame=4)
    written = io.BytesIO()
    alone.save_as(written)
    right_or_refused("DICOM, frames", read(written.getvalue()), stored[0], may_refuse=False)


@pytest.mark.parametrize("more", [-24 * 24, -26, -2, 2, 22, 24, 26, 100, 24 * 24])
def test_pixels_shorter_or_longer_than_declared(more: int) -> None:
    ramp = gray_ramp(8)
    content = ramp.tobytes()
    content = content[:more] if more < 0 else content + bytes(more)
    outcome = right_or_refused("DICOM, frames", read(make(content, 24, 24)), ramp)
    assert outcome == ("right" if 0 < more <= 24 else "refused")  # up to a row of zeros is padding
    if more > 0:
        data = make(ramp.tobytes() + bytes([1, 2] * (more // 2)), 24, 24)
        assert right_or_refused("DICOM, frames", read(data), ramp) == "refused"


@pytest.mark.parametrize("syntax", list(NATIVE)[:4])
def test_without_a_preamble_and_without_meta_information(syntax: str) -> None:
    ramp = gray_ramp(12)
    data = native(ramp, NATIVE[syntax], **of_bits(ramp, 12))
    right_or_refused("DICOM, headers", read(data[132:]), scaled(ramp, 0, 4095), may_refuse=False)
    if syntax != "deflated":
        length = int.from_bytes(data[140:144], "little")
        bare = data[144 + length :]
        right_or_refused("DICOM, headers", read(bare), scaled(ramp, 0, 4095), may_refuse=False)


@pytest.mark.parametrize("syntax", GRAY_ENCODERS)
def test_a_frame_cut_short_is_refused(syntax: str) -> None:
    name, encode = GRAY_ENCODERS[syntax]
    noise = np.random.default_rng(1).integers(0, 256, (48, 48), dtype=np.uint8)
    frame = encode(noise, 8)
    for kept in (0.3, 0.6, 0.9):
        cut = frame[: int(len(frame) * kept)]
        for end in (b"", b"\xff\xd9"):
            data = make([cut + end], 48, 48, name)
            assert right_or_refused("DICOM, damaged", read(data), noise) == "refused"
