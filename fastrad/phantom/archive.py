"""Archives of phantoms on disk, in the layouts that real archives have.

In: a kind, a folder, how many images, a seed. Out: a folder of PNG with its tables and the marker
`fastrad-synthetic.json`, by which every source knows that the images are generated. The folder is written under a
temporary name and renamed: one that exists is complete.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from fastrad.errors import FastradError, InputError, OptionError
from fastrad.phantom import leaves, radiology, thyroid
from fastrad.phantom.thyroid import Box
from fastrad.system.cores import available_cores
from fastrad.system.json_file import read_json
from fastrad.system.processes import WorkerPool
from fastrad.system.progress import track

MARKER = "fastrad-synthetic.json"
TRUTH = "phantom-truth.csv"  # what each thyroid picture was drawn from, and where; no source reads it
BOX_COLUMNS = ("left", "top", "right", "bottom")  # around the nodule's outline, in pixels, the last two excluded
VERSION = 2  # of the drawings: another one draws other pictures from the same seed
CHUNK = 16  # images handed to a worker at once
# The place of an image in its class decides its split: 15 of 20 train, 2 val, 3 test; all three from three images on.
SPLIT_OF_TWENTY = ("train", "val", "test", *("train",) * 5, "test", *("train",) * 5, "val", "test", *("train",) * 4)


@dataclass(frozen=True)
class Picture:
    """One picture to be drawn: `path` below the root, and what its kind's drawing needs to know."""

    path: str
    label: str
    index: tuple[int, ...]
    split: str = ""


@dataclass(frozen=True)
class _Kind:
    layout: str  # of the archive
    size: int  # by default
    plan: Callable[[int, int], list[Picture]]  # seed, images -> pictures
    draw: Callable[[Picture, int, int], tuple[np.ndarray, Box | None]]  # picture, seed, size -> uint8 gray or BGR, box
    write_tables: Callable[[Path, list[Picture], int, dict[str, Box]], None]  # root, pictures, seed, boxes by path


def write_phantom(
    kind: str, root: Path, *, images: int, seed: int = 0, workers: int | None = None, size: int | None = None
) -> None:
    """Write an archive of generated images.

    Every image is a pure function of (kind, seed, its number, size): neither `workers` nor `images` changes it. A
    finished archive of the same parameters is left as it is.

    Parameters
    ----------
    kind : str
        "thyroid": B-mode pictures of benign and malignant nodules in the `table` layout (`labels.csv` with
        path, label, patient), one to three of a patient, 1.5 on average; the features that each was drawn from
        are in `phantom-truth.csv`. "radiology": CT, MR and ultrasound classes in the `radimagenet` layout with its
        three CSV files. "natural": colour dead leaves in the `folder` layout with train, val and test.
    root : Path
        The folder to write. It must be new, empty, or an archive of the same parameters.
    images : int
        How many images in all. For "thyroid" that makes about `images / 1.5` patients.
    seed : int
        0 or more.
    workers : int, optional
        Processes; by default as many as this process may use cores. 1 draws in this process.
    size : int, optional
        Pixels a side, 32 or more; by default 128 for "thyroid" and 96 for the other kinds.

    Raises
    ------
    InputError
        For an unknown kind, impossible numbers, or a folder that holds something else.
    """
    if kind not in _KINDS:
        raise InputError(f"phantom kind {kind!r} is none of {', '.join(_KINDS)}")
    size = _KINDS[kind].size if size is None else size
    workers = available_cores() if workers is None else workers
    for name, value, least in (("images", images, 1), ("seed", seed, 0), ("size", size, 32), ("workers", workers, 1)):
        if value < least:
            raise OptionError(f"phantom {kind}: {name} is {value}, it must be at least {least}")
    root = Path(root)
    marker = {"synthetic": True, "kind": kind, "images": images, "seed": seed, "size": size, "version": VERSION}
    if _finished(root, marker):
        return
    partial = root.parent / f".{root.name}.partial"
    if partial.exists():
        if not (partial / MARKER).is_file():
            raise InputError(f"{partial}: is in the way and no unfinished phantom archive; move it away")
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    (partial / MARKER).write_text(json.dumps(marker, indent=1) + "\n")
    try:
        pictures = _KINDS[kind].plan(seed, images)
        for folder in sorted({str(Path(picture.path).parent) for picture in pictures}):
            (partial / folder).mkdir(parents=True, exist_ok=True)
        boxes = _draw_all(kind, partial, pictures, seed, size, workers)
        _KINDS[kind].write_tables(partial, pictures, seed, boxes)
        partial.rename(root)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _finished(root: Path, marker: dict[str, object]) -> bool:
    """True for an archive of these parameters, False for a free place; anything else raises InputError."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    way_out = "choose another folder, or move this one away"
    if not (root / MARKER).is_file():
        raise InputError(f"{root}: exists and is no phantom archive of fastrad; {way_out}")
    found = read_json(root / MARKER, dict[str, object], 1 << 16, "the marker of a phantom archive", way_out)
    differing = [name for name in marker if found.get(name) != marker[name]]
    if differing:
        name = differing[0]
        raise InputError(
            f"{root}: holds phantoms with {name} {found.get(name)!r}, asked for are {marker[name]!r}; {way_out}"
        )
    return True


def _draw_all(kind: str, root: Path, pictures: list[Picture], seed: int, size: int, workers: int) -> dict[str, Box]:
    """Draw every picture; the box around its nodule, of each that has one."""
    boxes: dict[str, Box] = {}
    chunks = [pictures[start : start + CHUNK] for start in range(0, len(pictures), CHUNK)]
    workers = min(workers, len(chunks))
    with track(f"{kind} phantoms", len(pictures)) as progress:
        if workers == 1:
            for chunk in chunks:
                boxes |= _draw_chunk(kind, root, chunk, seed, size)
                progress.advance(len(chunk))
            return boxes
        # A fresh interpreter a worker: a fork of a process with threads (torch, OpenCV) may hang.
        with WorkerPool(workers, "spawn", _use_one_core) as pool:
            waiting: dict[Future[dict[str, Box]], int] = {
                pool.submit(_draw_chunk, kind, root, chunk, seed, size): len(chunk) for chunk in chunks
            }
            try:
                for future in as_completed(waiting):
                    boxes |= future.result()
                    progress.advance(waiting[future])
            except BrokenProcessPool as error:
                raise FastradError(
                    f"{root}: a worker that drew {kind} phantoms was killed, perhaps for want of memory; "
                    "try fewer workers"
                ) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
    return boxes


def _use_one_core() -> None:
    cv2.setNumThreads(1)


def _draw_chunk(kind: str, root: Path, pictures: list[Picture], seed: int, size: int) -> dict[str, Box]:
    boxes = {}
    for picture in pictures:
        drawn, box = _KINDS[kind].draw(picture, seed, size)
        sound, png = cv2.imencode(".png", drawn, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        assert sound
        (root / picture.path).write_bytes(png.tobytes())
        if box is not None:
            boxes[picture.path] = box
    return boxes


def _classes_in_turn(classes: list[str], images: int) -> Iterator[tuple[int, str, str]]:
    """(index, class, split) of each image: the classes take turns, so that they are balanced to one image."""
    for index in range(images):
        place, number = divmod(index, len(classes))
        yield index, classes[number], SPLIT_OF_TWENTY[place % 20]


def _write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _patient_id(patient: int) -> str:
    return f"P{patient + 1:04d}"


def _plan_thyroid(seed: int, images: int) -> list[Picture]:
    pictures: list[Picture] = []
    patient = 0
    while len(pictures) < images:
        label = thyroid.draw_nodule(seed, patient).label
        for number in range(min(thyroid.count_pictures(seed, patient), images - len(pictures))):
            pictures.append(Picture(f"images/{_patient_id(patient)}_{number + 1}.png", label, (patient, number)))
        patient += 1
    return pictures


def _draw_thyroid(picture: Picture, seed: int, size: int) -> tuple[np.ndarray, Box | None]:
    patient, number = picture.index
    return thyroid.outlined_picture(thyroid.draw_nodule(seed, patient), seed, patient, number, size)


def _write_thyroid_tables(root: Path, pictures: list[Picture], seed: int, boxes: dict[str, Box]) -> None:
    labels: list[list[object]] = []
    truth: list[list[object]] = []
    for picture in pictures:
        patient, number = picture.index
        features = asdict(thyroid.draw_nodule(seed, patient))
        labels.append([picture.path, picture.label, _patient_id(patient)])
        shown = [round(value, 2) if isinstance(value, float) else value for value in features.values()]
        truth.append([picture.path, _patient_id(patient), thyroid.view_of(number), *shown, *boxes[picture.path]])
    _write_csv(root / "labels.csv", ["path", "label", "patient"], labels)
    _write_csv(root / TRUTH, ["path", "patient", "view", *features, *BOX_COLUMNS], truth)


def _plan_radiology(seed: int, images: int) -> list[Picture]:
    pictures = []
    for index, folder, split in _classes_in_turn(list(radiology.CLASSES), images):
        modality, organ, *pathology = folder.split("/")
        stem = f"usn{index:06d}" if modality == "US" else f"{organ}-{pathology[0].lower()}{index:06d}"
        label = radiology.CLASSES[folder][0]
        pictures.append(Picture(f"radiology_ai/{folder}/{stem}.png", label, (index,), split))
    return pictures


def _draw_radiology(picture: Picture, seed: int, size: int) -> tuple[np.ndarray, Box | None]:
    folder = picture.path.removeprefix("radiology_ai/").rpartition("/")[0]
    return radiology.CLASSES[folder][1](np.random.default_rng([seed, 20, *picture.index]), size), None


def _write_radiology_tables(root: Path, pictures: list[Picture], seed: int, boxes: dict[str, Box]) -> None:
    shuffled = [pictures[place] for place in np.random.default_rng([seed, 21]).permutation(len(pictures))]
    for split in ("train", "val", "test"):
        rows: list[list[object]] = [[picture.path, picture.label] for picture in shuffled if picture.split == split]
        _write_csv(root / f"RadiologyAI_{split}.csv", ["filename", "label"], rows)


def _plan_natural(seed: int, images: int) -> list[Picture]:
    return [
        Picture(f"{split}/{name}/{index:06d}.png", name, (index,), split)
        for index, name, split in _classes_in_turn(list(leaves.CLASSES), images)
    ]


def _draw_natural(picture: Picture, seed: int, size: int) -> tuple[np.ndarray, Box | None]:
    rgb = leaves.leaves_picture(picture.label, np.random.default_rng([seed, 30, *picture.index]), size)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), None


_KINDS = {
    "thyroid": _Kind("table", 128, _plan_thyroid, _draw_thyroid, _write_thyroid_tables),
    "radiology": _Kind("radimagenet", 96, _plan_radiology, _draw_radiology, _write_radiology_tables),
    "natural": _Kind("folder", 96, _plan_natural, _draw_natural, lambda root, pictures, seed, boxes: None),
}
LAYOUTS = {kind: each.layout for kind, each in _KINDS.items()}  # kind -> the layout of its archive
