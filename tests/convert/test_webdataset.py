"""WebDataset shards hold every sample, with an index that DALI reads."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset import Card
from fastrad.errors import InputError

DALI = importlib.util.find_spec("nvidia") is not None and importlib.util.find_spec("nvidia.dali") is not None


def samples(folder: Path) -> list[dict[str, bytes]]:
    """Every sample of every shard, in order, as Python's own tarfile reads them."""
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            for member in archive:
                key, suffix = member.name.split(".")
                assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, 0o644)
                found.setdefault(key, {})[suffix] = archive.extractfile(member).read()
    return [found[key] for key in found]


def test_png_shards_hold_every_pixel_and_fact(archive, tmp_path, small_chunks):
    manifest = archive(100)
    options = ConvertOptions(format="webdataset", encode="png", shard_bytes=200_000, workers=1)
    convert(manifest, tmp_path / "out", options)
    tars = sorted((tmp_path / "out").glob("*.tar"))
    assert len(tars) > 2
    assert all(path.stat().st_size <= 200_000 for path in tars)
    stored = samples(tmp_path / "out")
    assert len(stored) == 100
    card = Card.read(tmp_path / "out" / "all.card.json")
    for row, sample in enumerate(stored):
        about = json.loads(sample["json"])
        assert about["row"] == row
        assert about["label"] == manifest.table["label"][row] == card.classes[int(sample["cls"])]
        assert about["patient"] == card.patients[row // 2]
        picture = Image.open(io.BytesIO(sample["png"]))
        assert picture.mode == "L"
        assert np.array_equal(np.asarray(picture), np.asarray(Image.open(manifest.root / manifest.table["path"][row])))
    for shard, path in zip(card.hashes["shards"], tars, strict=True):
        assert shard["name"] == path.name
        assert shard["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_bytes_do_not_depend_on_workers_and_a_second_run_changes_nothing(archive, tmp_path, small_chunks):
    manifest = archive(100)
    for workers in (1, 2):
        out = tmp_path / str(workers)
        convert(manifest, out, ConvertOptions(format="webdataset", encode="jpeg", shard_bytes=90_000, workers=workers))
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("1", "2")]
    assert files[0] == files[1]
    again = convert(manifest, out, ConvertOptions(format="webdataset", encode="jpeg", shard_bytes=90_000))
    assert again.converted == 0
    with pytest.raises(InputError, match="format changed from webdataset to beton"):
        convert(manifest, out, ConvertOptions())
    next(out.glob("*.tar")).unlink()
    with pytest.raises(InputError, match="was cut, altered or deleted"):
        convert(manifest, out, ConvertOptions(format="webdataset", encode="jpeg", shard_bytes=90_000))


def test_jpeg_is_baseline_with_one_component(archive, tmp_path):
    convert(archive(3), tmp_path / "out", ConvertOptions(format="webdataset", encode="jpeg", workers=1))
    for sample in samples(tmp_path / "out"):
        assert Image.open(io.BytesIO(sample["jpg"])).mode == "L"
        assert b"\xff\xc0" in sample["jpg"]
        assert b"\xff\xc2" not in sample["jpg"]


def test_sound_png_pass_as_they_are_unless_they_could_tell_more(archive, tmp_path):
    manifest = archive(4)
    paths = [manifest.root / path for path in manifest.table["path"]]
    secret = PngImagePlugin.PngInfo()
    secret.add_text("Patient", "Jane Doe")
    Image.open(paths[1]).save(paths[1], pnginfo=secret)
    Image.open(paths[2]).resize((100, 224)).save(paths[2])
    paths[3].write_bytes(paths[3].read_bytes()[:-30])
    options = ConvertOptions(format="webdataset", encode="png", pass_png=True, workers=1)
    card = convert(manifest, tmp_path / "out", options).files[0].card
    stored = samples(tmp_path / "out")
    assert len(stored) == 3
    assert stored[0]["png"] == paths[0].read_bytes()
    assert b"Jane" not in stored[1]["png"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(stored[1]["png"]))), np.asarray(Image.open(paths[1])))
    assert Image.open(io.BytesIO(stored[2]["png"])).size == (224, 224)
    assert [entry["row"] for entry in card.quarantined] == [3]


@pytest.mark.skipif(not DALI, reason="DALI is not installed")
def test_the_index_is_what_dalis_own_tool_writes(archive, tmp_path):
    convert(archive(7), tmp_path / "out", ConvertOptions(format="webdataset", encode="png", workers=1))
    tool = importlib.util.find_spec("wds2idx").origin
    (shard,) = (tmp_path / "out").glob("*.tar")
    subprocess.run([sys.executable, tool, shard, tmp_path / "theirs.idx"], check=True, stdout=subprocess.DEVNULL)
    assert shard.with_suffix(".idx").read_text() == (tmp_path / "theirs.idx").read_text()


@pytest.mark.slow
@pytest.mark.skipif(not DALI, reason="DALI is not installed")
@pytest.mark.parametrize(("encode", "suffix"), [("png", "png"), ("jpeg", "jpg")])
def test_dali_reads_every_sample(archive, tmp_path, encode, suffix):
    from nvidia.dali import fn, pipeline_def, types

    manifest = archive(50)
    convert(
        manifest, tmp_path / "out", ConvertOptions(format="webdataset", encode=encode, shard_bytes=150_000, workers=1)
    )
    tars = sorted(map(str, (tmp_path / "out").glob("*.tar")))

    @pipeline_def(batch_size=10, num_threads=1, device_id=None)
    def pipeline():
        image, label, about = fn.readers.webdataset(
            paths=tars, index_paths=[path[:-3] + "idx" for path in tars], ext=[suffix, "cls", "json"]
        )
        return fn.decoders.image(image, output_type=types.GRAY), label, about

    built = pipeline()
    built.build()
    rows = []
    for _ in range(5):
        images, labels, abouts = built.run()
        for k in range(10):
            about = json.loads(bytes(abouts.at(k)))
            rows.append(about["row"])
            assert bytes(labels.at(k)) == b"%d" % (about["row"] % 3)
            source = np.asarray(Image.open(manifest.root / manifest.table["path"][about["row"]]))
            difference = np.abs(np.asarray(images.at(k))[..., 0].astype(int) - source)
            assert difference.mean() < (3 if encode == "jpeg" else 1e-9)
    assert sorted(rows) == list(range(50))


def test_shards_go_to_a_url_and_only_shards_do(archive, tmp_path, monkeypatch):
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    manifest = archive(20)
    options = ConvertOptions(format="webdataset", encode="png", shard_bytes=60_000, workers=1)
    convert(manifest, tmp_path / "local", options)
    summary = convert(manifest, "memory://bucket/set", options)
    memory = fsspec.filesystem("memory")
    stored = {Path(name).name: memory.cat_file(name) for name in memory.ls("/bucket/set", detail=False)}
    assert stored == {path.name: path.read_bytes() for path in (tmp_path / "local").iterdir()}
    assert summary.files[0].path == "memory://bucket/set/all.card.json"
    assert convert(manifest, "memory://bucket/set", options).converted == 0
    with pytest.raises(InputError, match="beton files are written to local folders only"):
        convert(manifest, "memory://bucket/other", ConvertOptions())
