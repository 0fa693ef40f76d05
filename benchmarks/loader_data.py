"""The images that the loaders are compared on, stored as each of them likes it best.

In: a folder of real images. Out: under one folder, the same gray 224 x 224 images as PNG and JPEG files, fastrad's
betons and shards, FFCV's own betons (RGB), NumPy files, LitData chunks and MDS shards. Row i is image i everywhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

SIDE = 224
QUALITY = 90
_SHARD_BYTES = 16 << 20  # more shards than workers, also for small sets


def prepare(storage: str, folder: Path, source: Path, images: int) -> Path:
    """Return where `storage` lies, after making it where it is missing."""
    place = folder / storage
    if place.exists():
        return place
    unfinished = folder / f"{storage}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    if storage == "png":
        _write_png(source, unfinished, images)
    else:
        _WRITERS[storage](prepare("png", folder, source, images), unfinished)
    unfinished.rename(place)
    return place


def bytes_per_image(place: Path, images: int) -> int:
    """What a storage takes on disk for each image."""
    return round(sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) / images)


def files_of(place: Path, suffix: str) -> list[str]:
    """The files of a storage that has one for each image, in the order of rows."""
    return sorted(str(path) for path in place.rglob(f"*{suffix}"))


def _write_png(source: Path, out: Path, images: int) -> None:
    """Fit the images under `source` into the square; once they are used up, mirrored ones follow."""
    from fastrad.imaging import fit, read_gray

    originals = sorted(path for path in source.rglob("*") if path.suffix.lower() in (".png", ".jpg"))
    if not originals:
        raise FileNotFoundError(f"{source}: no PNG or JPEG in there; give --source, a folder of images")
    (out / "all").mkdir(parents=True)
    for row in range(images):
        image, _ = fit(read_gray(originals[row % len(originals)]), SIDE, "pad")
        if row // len(originals) % 2:
            image = cv2.flip(image, 1)
        cv2.imwrite(str(out / "all" / f"{row:06d}.png"), image)


def _encoded(png: str) -> bytes:
    image = cv2.imread(png, cv2.IMREAD_GRAYSCALE)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()


def _write_jpeg(png: Path, out: Path) -> None:
    (out / "all").mkdir(parents=True)
    for path in files_of(png, ".png"):
        (out / "all" / f"{Path(path).stem}.jpg").write_bytes(_encoded(path))


def _convert(png: Path, out: Path, **options) -> None:
    from fastrad.archives import read_source
    from fastrad.convert.run import ConvertOptions, convert

    convert(read_source("folder", png), out, ConvertOptions(size=SIDE, quality=QUALITY, **options))


class _RgbPairs:
    """(RGB image, row) of each file, for FFCV's writer."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        return cv2.cvtColor(cv2.imread(self._paths[row], cv2.IMREAD_GRAYSCALE), cv2.COLOR_GRAY2RGB), row


def _write_ffcv(png: Path, out: Path, mode: str) -> None:
    from ffcv import DatasetWriter
    from ffcv.fields import IntField, RGBImageField

    out.mkdir()
    image = RGBImageField(write_mode=mode, jpeg_quality=QUALITY)
    writer = DatasetWriter(str(out / "all.beton"), {"image": image, "label": IntField()}, num_workers=2)
    writer.from_indexed_dataset(_RgbPairs(files_of(png, ".png")))


def _write_npy(png: Path, out: Path) -> None:
    out.mkdir()
    for row, path in enumerate(files_of(png, ".png")):
        np.save(out / f"{row:06d}.npy", cv2.imread(path, cv2.IMREAD_GRAYSCALE)[..., None])


def _write_array(png: Path, out: Path) -> None:
    paths = files_of(png, ".png")
    out.mkdir()
    array = np.lib.format.open_memmap(out / "all.npy", "w+", np.uint8, (len(paths), SIDE, SIDE))
    for row, path in enumerate(paths):
        array[row] = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
    array.flush()


def _litdata_sample(item: tuple[int, str]) -> dict:
    return {"image": _encoded(item[1]), "label": item[0]}


def _write_litdata(png: Path, out: Path) -> None:
    import litdata

    items = list(enumerate(files_of(png, ".png")))
    litdata.optimize(_litdata_sample, items, str(out), chunk_bytes="16MB", num_workers=2)


def _write_mds(png: Path, out: Path) -> None:
    from streaming import MDSWriter

    with MDSWriter(out=str(out), columns={"image": "bytes", "label": "int"}, size_limit=_SHARD_BYTES) as writer:
        for row, path in enumerate(files_of(png, ".png")):
            writer.write({"image": _encoded(path), "label": row})


_WRITERS: dict[str, Callable[[Path, Path], None]] = {
    "jpeg": _write_jpeg,
    "beton-raw": lambda png, out: _convert(png, out, encode="raw"),
    "beton-jpeg": lambda png, out: _convert(png, out, encode="jpeg"),
    "shards": lambda png, out: _convert(png, out, encode="jpeg", format="webdataset", shard_bytes=_SHARD_BYTES),
    "ffcv-raw": lambda png, out: _write_ffcv(png, out, "raw"),
    "ffcv-jpeg": lambda png, out: _write_ffcv(png, out, "jpg"),
    "npy": _write_npy,
    "array": _write_array,
    "litdata": _write_litdata,
    "mds": _write_mds,
}
