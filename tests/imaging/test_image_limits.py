"""What a file may ask of time and memory: each limit is refused in a line, and what is just below it is read."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastrad.imaging import ImageError, decode_gray, read_gray
from fastrad.imaging.dicom.codestream import CodestreamError, decode, describe
from fastrad.imaging.dicom.header import MAX_FRAMES, read_header
from fastrad.imaging.structure import MAX_SCANS


def _progressive(scans: int) -> bytes:
    """A progressive JPEG whose last scan is repeated until there are so many."""
    buffer = io.BytesIO()
    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    starts = [place for place in range(len(data)) if data.startswith(b"\xff\xda", place)]
    last = data[starts[-1] : -2]
    return data[:-2] + last * (scans - len(starts)) + b"\xff\xd9"


def test_scans_of_a_jpeg_are_counted():
    for scans in (MAX_SCANS + 1, 20_000):
        with pytest.raises(ImageError, match="JPEG of more than 100 scans"):
            decode_gray(_progressive(scans))
    assert decode_gray(_progressive(6)).shape == (16, 16)


def test_scans_of_a_dicom_frame_are_counted():
    frame = _progressive(MAX_SCANS + 1)
    with pytest.raises(CodestreamError, match="more than 100 scans"):
        decode(frame, describe(frame))
    assert decode(_progressive(6), describe(_progressive(6))).shape == (16, 16)


def _dicom(frames: str, deflated: bool, pixels: bytes) -> bytes:
    """16 x 16, 8 bits, written element by element."""

    def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
        value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
        tag = group.to_bytes(2, "little") + number.to_bytes(2, "little") + vr
        if vr in (b"OB", b"OW"):
            return tag + b"\0\0" + len(value).to_bytes(4, "little") + value
        return tag + len(value).to_bytes(2, "little") + value

    def short(value: int) -> bytes:
        return value.to_bytes(2, "little")

    syntax = b"1.2.840.10008.1.2.1.99" if deflated else b"1.2.840.10008.1.2.1"
    meta = element(2, 0x10, b"UI", syntax)
    meta = element(2, 0, b"UL", len(meta).to_bytes(4, "little")) + meta
    body = element(0x28, 2, b"US", short(1)) + element(0x28, 4, b"CS", b"MONOCHROME2")
    body += element(0x28, 8, b"IS", frames.encode())
    body += element(0x28, 0x10, b"US", short(16)) + element(0x28, 0x11, b"US", short(16))
    body += b"".join(element(0x28, tag, b"US", short(value)) for tag, value in ((0x100, 8), (0x101, 8), (0x102, 7)))
    body += element(0x28, 0x103, b"US", short(0)) + element(0x7FE0, 0x10, b"OB", pixels)
    if deflated:
        packer = zlib.compressobj(wbits=-15)
        body = packer.compress(body) + packer.flush()
    return bytes(128) + b"DICM" + meta + body


@pytest.mark.parametrize("deflated", [False, True])
def test_frames_that_a_header_declares_are_bounded(deflated):
    frame = bytes(range(256))
    whole = _dicom("2", deflated, frame * 2)
    assert decode_gray(whole, frame=1, window=(0, 255)).tobytes() == frame
    for declared in (str(MAX_FRAMES + 1), "100000000", "9" * 12):
        with pytest.raises(ImageError, match=r"frames, more than 100,000|damaged inside its header"):
            read_header(io.BytesIO(_dicom(declared, deflated, frame)), "a.dcm")


def test_a_deflated_file_that_unfolds_without_end_costs_no_more_than_its_limit(tmp_path: Path):
    """6 GB of zeros deflate to 6 MB; what is inflated is let go of at the limit."""
    import tracemalloc

    packer = zlib.compressobj(wbits=-15)
    block = bytes(1 << 24)
    bomb = b"".join(packer.compress(block) for _ in range(60))  # of 1 GB; the rest would be read no more
    head = _dicom("1", True, b"")
    start = head.index(b"1.2.840.10008.1.2.1.99") + 22
    path = tmp_path / "bomb.dcm"
    path.write_bytes(head[:start] + bomb)
    tracemalloc.start()
    with pytest.raises(ImageError, match="deflated, of more than 536,870,912 bytes"):
        read_gray(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.4e9


def test_a_still_image_as_large_as_a_disk_is_not_read(tmp_path: Path):
    path = tmp_path / "a.png"
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(1 << 40)
    with pytest.raises(ImageError, match="still image of more than"):
        read_gray(path)
