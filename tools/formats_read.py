#!/usr/bin/env python3
"""Make `docs/formats-read.md`: which image files fastrad reads and refuses, with the counts of the generated matrices.

In: `tests/imaging/`, which is run. Out: the page. Exit status 1 where a generated image came out wrong.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "formats-read.md"

HEAD = """# Which files are read

A file is stored as an independent, well-kept reader of its format gives it (within one gray level; resampling aside),
or left out with one line that says what is unusual and the way out. The counts below are of generated images in every
encoding that the libraries at hand can write, read by fastrad and by such a reader; `python tools/formats_read.py`
made this page from `tests/imaging/`.

## Rules

- **Colour** becomes luma, 0.299 R + 0.587 G + 0.114 B. A colour JPEG stores luma, and that is taken as stored. In DICOM
  what the codestream says of its colours (markers, component names, subsampling, JPEG 2000's component transform) goes
  before the header. Where it says nothing, or both leave it open, the readings as RGB and as YCbCr must give the same
  gray, or the file is refused.
- **DICOM's gray scale**: functional groups of enhanced objects, then the top level; the modality table or rescaling;
  the first VOI table, else the first window; MONOCHROME1 turned over. Pixel padding is mapped as any other value.
- **Alpha** is composited on black, where the file declares a channel as alpha and it is not zero everywhere. A fourth
  channel that is not declared alpha is left out.
- **More than 8 bits**: the range of the stored bits becomes 0 to 255: BitsStored of DICOM, sBIT of PNG, the bits per
  sample of TIFF; CT in Hounsfield units, -1024 to 3071. A DICOM file's own window or VOI table comes first. Never the
  image's own minimum and maximum. An archive that would keep fewer than 64 of the 256 gray levels stops before it is
  converted: `--window auto` chooses one window for all of it, `--window LOW,HIGH` or, for CT alone, `ct-soft`,
  `ct-lung`, `ct-bone`, `ct-brain` are yours. Floating-point values need one, and so does a PNG with values above its
  sBIT: it may be scaled to 16 bits, and a darker file of the same archive would not tell. No window is applied to an
  archive that mixes 8 bits and more.
- **Pixels that are not square** are made square, the coarser axis enlarged linearly: by DICOM's PixelAspectRatio,
  PixelSpacing (and its relatives) or ultrasound region deltas, by TIFF's resolution where its unit is inch or
  centimetre. Viewers disagree on these: many ignore a TIFF's resolution, some ignore PixelSpacing. The card counts such
  images; `--pixel-aspect ignore` stores pixels as they are. JFIF density and PNG's pHYs are not looked at.
- **Orientation** (EXIF, TIFF tag 274) is ignored: pixels stay as they were acquired, as boxes and outlines in archives
  assume.
- **Several frames**: DICOM, GIF and HDF5 files hold clips, whatever their names; `--frames` says which are stored. Of
  an animated PNG and of a JPEG with several pictures (MPO) the first is read. How many of how many is counted.
- **Damage**: what a decoder warns about (missing or corrupt JPEG data, a short strip, a wrong CRC) is damage. What no
  decoder can notice, bits altered in data without a checksum, is not noticed.

## Counts

| kind | right | refused | wrong |
| --- | --- | --- | --- |
"""

TAIL = """
## Refused, and the way out

- TIFF of several pages, channels or images (save each alone; smaller copies of the one page are allowed), CMYK, CIELAB,
  YCbCr without JPEG, predictors that the compression does not take, colour of other than 8 or 16 bits; fax (CCITT),
  old-style JPEG, JPEG XR and WebP, whose decoders say nothing of damage.
- JPEG of other than 8 bits, JPEG-LS outside DICOM, unusual chroma subsampling: save as PNG.
- BMP with an OS/2 header or unusual colour masks; Apple's CgBI PNG.
- DICOM whose header contradicts its frames (colour space, size, bits, compression): correct the header, or save it
  uncompressed with the program that made it.
- Values without a range of their own: `--window LOW,HIGH`.
"""


class _Counts:
    """A pytest plugin that keeps what the matrices counted."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}

    def pytest_sessionfinish(self) -> None:
        self.counts = dict(sys.modules["matrix"].COUNTS)  # type: ignore[attr-defined]


def main() -> int:
    """Run the matrices and write the page."""
    plugin = _Counts()
    status = pytest.main(["-q", "-p", "no:cacheprovider", str(ROOT / "tests" / "imaging")], plugins=[plugin])
    lines: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for (family, outcome), count in sorted(plugin.counts.items()):
        lines[family][outcome] = count
    table = "".join(
        f"| {family} | {found.get('right', 0)} | {found.get('refused', 0)} | {found.get('wrong', 0)} |\n"
        for family, found in lines.items()
    )
    total = [sum(found.get(outcome, 0) for found in lines.values()) for outcome in ("right", "refused", "wrong")]
    PAGE.write_text(f"{HEAD}{table}| all | {total[0]} | {total[1]} | {total[2]} |\n{TAIL}", encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
