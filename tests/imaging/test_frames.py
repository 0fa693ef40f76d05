"""Frames of GIF files, and how many frames any file holds: against Pillow's and imagecodecs' own reading."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fastrad.archives import read_source
from fastrad.imaging import ImageError, read_gray, read_values
from fastrad.imaging.frames import frames_of
from fastrad.imaging.gif import gif_frame_count

SIDE = 40


def _frames(count: int, seed: int = 0) -> list[np.ndarray]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE + 3), dtype=np.uint8))


def save(path: Path, frames: list[np.ndarray], kind: str, **options: object) -> Path:
    first, *rest = [Image.fromarray(frame) for frame in frames]
    if kind == "MPO":
        first.save(path, "MPO", save_all=True, append_images=rest, quality=90)
    else:
        first.save(path, kind, save_all=bool(rest), append_images=rest, **options)
    return path


def test_each_gray_frame_of_a_gif_is_its_pixels(tmp_path: Path) -> None:
    frames = _frames(3)
    path = save(tmp_path / "clip.gif", frames, "GIF")
    for number, frame in enumerate(frames):
        assert np.array_equal(read_gray(path, frame=number), frame)
    with pytest.raises(ImageError, match="has no frame 3: it has 3"):
        read_gray(path, frame=3)


def test_frames_that_change_in_part_are_drawn_over_those_before(tmp_path: Path) -> None:
    frames = _frames(1) * 3
    frames[1], frames[2] = frames[0].copy(), frames[0].copy()
    frames[1][5:9, 7:30], frames[2][20:, :4] = 200, 31  # Pillow stores the changed part alone
    path = save(tmp_path / "clip.gif", frames, "GIF", optimize=False)
    for number, frame in enumerate(frames):
        assert np.array_equal(read_gray(path, frame=number), frame)


@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_frames_are_drawn_as_pillow_draws_them(tmp_path: Path, disposal: int) -> None:
    images = []
    for number in range(4):
        image = Image.new("P", (12, 9), 3)  # transparent, on black
        image.putpalette([0, 0, 0, 90, 90, 90, 200, 200, 200, 250, 250, 250])
        image.paste(1 + number % 2, (2 * number, number, 2 * number + 4, number + 5))
        images.append(image)
    images[0].save(
        tmp_path / "a.gif", save_all=True, append_images=images[1:], transparency=3, disposal=disposal, optimize=False
    )
    with Image.open(tmp_path / "a.gif") as read:
        for number in range(read.n_frames):
            read.seek(number)
            shown = np.asarray(read.convert("RGBA"))
            assert np.array_equal(read_gray(tmp_path / "a.gif", frame=number), shown[..., 0] * (shown[..., 3] > 0))


def test_colours_of_a_gif_are_luma_and_what_is_transparent_is_black(tmp_path: Path) -> None:
    image = Image.new("P", (8, 4))
    image.putpalette([255, 0, 0, 10, 20, 30, 200, 200, 200])
    image.putdata([0] * 8 + [1] * 8 + [2] * 16)
    image.save(tmp_path / "a.gif", transparency=2)
    gray = read_gray(tmp_path / "a.gif")
    assert gray[0].tolist() == [76] * 8  # 0.299 * 255
    assert gray[1].tolist() == [18] * 8  # 0.299 * 10 + 0.587 * 20 + 0.114 * 30 = 18.15
    assert not gray[2:].any()


def test_pixels_that_a_gif_says_are_not_square_have_their_shape(tmp_path: Path) -> None:
    data = bytearray(save(tmp_path / "a.gif", _frames(1), "GIF").read_bytes())
    data[12] = 113  # (113 + 15) / 64: twice as wide as high
    (tmp_path / "a.gif").write_bytes(data)
    assert read_values(tmp_path / "a.gif").aspect == 0.5


def test_a_gif_that_is_cut_or_altered_is_damage(tmp_path: Path) -> None:
    data = save(tmp_path / "a.gif", _frames(2), "GIF").read_bytes()
    whole = [read_gray(tmp_path / "a.gif", frame=number) for number in (0, 1)]
    for end in range(0, len(data), 97):
        (tmp_path / "cut.gif").write_bytes(data[:end])
        with pytest.raises(ImageError):
            read_gray(tmp_path / "cut.gif", frame=0)
    # the end-of-image code early: blocks that are whole and hold too little
    start = 13 + 3 * 256 * bool(data[10] & 0x80)
    start = data.index(b"\x2c", start) + 10
    short = data[: start + 1] + bytes([2, data[start + 2], data[start + 3]]) + b"\0;"
    with pytest.raises(ImageError):
        read_gray(_written(tmp_path / "short.gif", short))
    assert all(image.shape == (SIDE, SIDE + 3) for image in whole)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("kind", "name"), [("GIF", "clip.png"), ("PNG", "clip.png"), ("MPO", "clip.jpg")])
def test_frames_are_counted_by_content(tmp_path: Path, kind: str, name: str) -> None:
    assert frames_of(save(tmp_path / name, _frames(4), kind)).held == 4
    assert frames_of(save(tmp_path / name, _frames(1), "JPEG" if kind == "MPO" else kind)).held == 1


def test_frames_of_the_dicom_clip_under_a_pictures_name_are_counted_and_chosen(
    dicom_root: Path, tmp_path: Path
) -> None:
    shutil.copy(dicom_root / "GREYSCALE_CINE.dcm", tmp_path / "clip.png")
    save(tmp_path / "b.gif", _frames(3), "GIF")
    save(tmp_path / "c.png", _frames(2), "PNG")
    save(tmp_path / "d.jpg", _frames(3), "MPO")
    rows = ["clip.png,a,1", "b.gif,b,2", "c.png,a,3", "d.jpg,b,4"]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,patient", *rows]))
    notes = read_source("table", tmp_path).notes
    assert "2 files hold several frames; the first of each is stored: 2 of 30 frames" in notes
    pictures = (
        "2 PNG or JPEG files hold several pictures (APNG, MPO), of which the first alone is read: 2 of 5 pictures"
    )
    assert pictures in notes
    manifest = read_source("table", tmp_path, frames="all")
    assert manifest.table["frame"].tolist() == [*range(27), *range(3), 0, 0]
    assert "2 files hold several frames; all are stored: 30 of 30 frames" in manifest.notes
    assert pictures in manifest.notes


def test_frames_of_clips_in_folders_are_chosen(tmp_path: Path) -> None:
    for label, count in (("a", 3), ("b", 5)):
        (tmp_path / label).mkdir()
        save(tmp_path / label / "clip.gif", _frames(count), "GIF")
    assert read_source("folder", tmp_path, frames="every:2").table["frame"].tolist() == [0, 2, 0, 2, 4]


def test_prediction_says_that_the_first_frame_alone_is_scored(tmp_path: Path, capsys) -> None:
    from fastrad.study.networks.files import images_in

    save(tmp_path / "clip.png", _frames(3), "PNG")
    save(tmp_path / "b.gif", _frames(4), "GIF")
    save(tmp_path / "still.png", _frames(1), "PNG")
    for source, said in ((tmp_path, "2 of 7"), (tmp_path / "b.gif", "1 of 4")):
        images_in(source)
        assert f"hold several frames; the first of each is scored: {said}" in capsys.readouterr().err
    images_in(tmp_path / "still.png")
    assert capsys.readouterr().err == ""


def test_a_gif_of_nothing_is_damage() -> None:
    stream = io.BytesIO()
    Image.new("L", (3, 3)).save(stream, "GIF")
    header = stream.getvalue()[:13]
    with pytest.raises(ImageError, match="holds no image"):
        gif_frame_count(bytes([*header[:10], 0, *header[11:]]) + b";", "a.gif")
