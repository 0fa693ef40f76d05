"""Phantom archives on disk: layouts, reproducibility, and what is refused."""

import csv
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fastrad.archives import read_source
from fastrad.errors import InputError
from fastrad.phantom import MARKER, write_phantom
from fastrad.phantom.leaves import CLASSES as LEAVES
from fastrad.phantom.radiology import CLASSES as RADIOLOGY

LAYOUTS = {"thyroid": "table", "radiology": "radimagenet", "natural": "folder"}
IMAGES = {"thyroid": 30, "radiology": 4 * len(RADIOLOGY), "natural": 4 * len(LEAVES)}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("phantoms")
    for kind, images in IMAGES.items():
        write_phantom(kind, root / kind, images=images, seed=5, workers=1, size=48)
    return {kind: root / kind for kind in IMAGES}


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", IMAGES)
def test_archive_is_read_by_its_layout_whole_and_as_synthetic(archives, kind):
    manifest = read_source(LAYOUTS[kind], archives[kind])
    assert manifest.synthetic
    assert len(manifest) == manifest.usable.sum() == IMAGES[kind]
    for path in manifest.table["path"]:
        image = cv2.imread(str(archives[kind] / path), cv2.IMREAD_UNCHANGED)
        assert image.shape == ((48, 48, 3) if kind == "natural" else (48, 48))
        assert image.std() > 5


@pytest.mark.parametrize(("kind", "classes"), [("radiology", len(RADIOLOGY)), ("natural", len(LEAVES))])
def test_classes_are_balanced_and_in_every_split(archives, kind, classes):
    manifest = read_source(LAYOUTS[kind], archives[kind])
    counts = Counter(zip(manifest.table["split"], manifest.table["label"], strict=True))
    assert classes >= 8
    assert len(counts) == 3 * classes
    assert Counter(label for _, label in counts.elements()) == dict.fromkeys(manifest.classes, 4)


def test_radiology_without_its_tables_falls_into_the_same_classes(archives, tmp_path):
    shutil.copytree(archives["radiology"] / "radiology_ai", tmp_path / "radiology_ai")

    def groups(root: Path) -> set[frozenset[str]]:
        table = read_source("radimagenet", root).table
        return {frozenset(paths) for _, paths in table.groupby("label")["path"]}

    assert groups(tmp_path) == groups(archives["radiology"])


def test_thyroid_truth_matches_the_labels_and_stays_out_of_them(archives):
    def rows(name: str) -> list[dict[str, str]]:
        with (archives["thyroid"] / name).open(newline="") as file:
            return list(csv.DictReader(file))

    labels, truth = rows("labels.csv"), rows("phantom-truth.csv")
    assert set(labels[0]) == {"path", "label", "patient"}
    for label, drawn in zip(labels, truth, strict=True):
        assert {name: drawn[name] for name in label} == label
        assert (float(drawn["anteroposterior_mm"]) > float(drawn["transverse_mm"])) == (
            drawn["shape"] == "taller than wide"
        )
    of_patient = Counter(row["patient"] for row in labels)
    assert labels[0]["patient"] == "P0001"
    assert set(of_patient.values()) <= {1, 2, 3}
    for patient in of_patient:
        assert len({row["label"] for row in labels if row["patient"] == patient}) == 1


@pytest.mark.parametrize(
    "kind",
    [
        "radiology",
        pytest.param("thyroid", marks=pytest.mark.slow),
        pytest.param("natural", marks=pytest.mark.slow),
    ],
)
def test_bytes_do_not_depend_on_workers(archives, kind, tmp_path):
    write_phantom(kind, tmp_path / kind, images=IMAGES[kind], seed=5, workers=2, size=48)
    assert contents(tmp_path / kind) == contents(archives[kind])


def test_more_images_leave_the_first_ones_as_they_are(archives, tmp_path):
    write_phantom("natural", tmp_path / "more", images=IMAGES["natural"] + 7, seed=5, workers=1, size=48)
    more, fewer = contents(tmp_path / "more"), contents(archives["natural"])
    assert {name: data for name, data in fewer.items() if name != MARKER}.items() <= more.items()


def test_seeds_draw_other_images(archives, tmp_path):
    write_phantom("thyroid", tmp_path / "other", images=4, seed=6, workers=1, size=48)
    paths = [
        path.name
        for path in (tmp_path / "other" / "images").iterdir()
        if (archives["thyroid"] / "images" / path.name).exists()
    ]
    assert paths
    for name in paths:
        one, other = (cv2.imread(str(root / "images" / name), 0) for root in (archives["thyroid"], tmp_path / "other"))
        assert (one != other).mean() > 0.5


def test_a_finished_archive_is_left_as_it_is(archives):
    image = archives["thyroid"] / "images" / "P0001_1.png"
    before = image.stat().st_mtime_ns
    write_phantom("thyroid", archives["thyroid"], images=30, seed=5, size=48)
    assert image.stat().st_mtime_ns == before


def test_an_archive_of_other_parameters_is_refused_by_name(archives):
    with pytest.raises(InputError, match=r"holds phantoms with seed 5, asked for are 6; choose another folder"):
        write_phantom("thyroid", archives["thyroid"], images=30, seed=6, size=48)


def test_a_folder_with_other_files_is_refused_and_untouched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is no phantom archive"):
        write_phantom("natural", tmp_path, images=4)
    assert contents(tmp_path) == {"notes.txt": b"mine"}


def test_an_interrupted_archive_is_begun_afresh(archives, tmp_path):
    partial = tmp_path / ".natural.partial"
    partial.mkdir()
    (partial / MARKER).write_text(json.dumps({"kind": "natural"}))
    (partial / "stale.png").write_bytes(b"")
    (tmp_path / "natural").mkdir()  # an empty folder is a free place
    write_phantom("natural", tmp_path / "natural", images=IMAGES["natural"], seed=5, workers=1, size=48)
    assert contents(tmp_path / "natural") == contents(archives["natural"])
    assert not partial.exists()


@pytest.mark.slow
def test_a_killed_generation_leaves_no_worker_and_can_be_given_again(archives, tmp_path):
    root = tmp_path / "natural"
    script = tmp_path / "generate.py"
    script.write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from fastrad.phantom import write_phantom\n"
        "if __name__ == '__main__':\n"
        "    write_phantom('natural', Path(sys.argv[1]), images=int(sys.argv[2]), seed=5, workers=2, size=48)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script), str(root), "200000"], stderr=subprocess.DEVNULL)
    partial = tmp_path / ".natural.partial"
    until(lambda: next(partial.glob("*/*/*.png"), None) is not None)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    parent.kill()
    parent.wait()
    assert len(children) >= 2
    until(lambda: not any(is_running(child) for child in children))
    assert not root.exists()
    write_phantom("natural", root, images=IMAGES["natural"], seed=5, workers=1, size=48)
    assert contents(root) == contents(archives["natural"])


def until(reached: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_running(process: str) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_foreign_folder_under_the_temporary_name_is_kept(tmp_path):
    (tmp_path / ".natural.partial").mkdir()
    with pytest.raises(InputError, match="is in the way"):
        write_phantom("natural", tmp_path / "natural", images=4)
    assert (tmp_path / ".natural.partial").is_dir()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("brain", {"images": 4}, "'brain' is none of thyroid, radiology, natural"),
        ("thyroid", {"images": 0}, "images is 0"),
        ("thyroid", {"images": 4, "seed": -1}, "seed is -1"),
        ("thyroid", {"images": 4, "size": 8}, "size is 8"),
        ("thyroid", {"images": 4, "workers": 0}, "workers is 0"),
    ],
)
def test_impossible_requests_are_refused_before_anything_is_written(tmp_path, kind, options, message):
    with pytest.raises(InputError, match=message):
        write_phantom(kind, tmp_path / "new", **options)
    assert list(tmp_path.iterdir()) == []


def test_natural_pictures_have_the_spectrum_of_photographs():
    """Amplitude falls as 1/f in natural scenes: a slope of the power spectrum near -2 (Field, 1987)."""
    from fastrad.phantom.leaves import leaves_picture

    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    band = (frequency > 3 / 128) & (frequency < 0.25)
    power = np.zeros((128, 128))
    for number, name in enumerate(LEAVES):
        gray = leaves_picture(name, np.random.default_rng([9, number]), 128).mean(axis=2)
        power += np.abs(np.fft.fft2((gray - gray.mean()) * np.outer(np.hanning(128), np.hanning(128)))) ** 2
    slope = np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)[0]
    assert -3.0 < slope < -1.2
