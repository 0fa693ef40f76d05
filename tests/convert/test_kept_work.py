"""The work that a killed conversion left is compared with its checksums before a run goes on with it."""

from __future__ import annotations

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from fastrad.convert.chunk import convert_chunk
from fastrad.convert.journal import Journal
from fastrad.convert.plan import plan_splits
from fastrad.convert.run import ConvertOptions, convert
from fastrad.dataset.beton.layout import SMALL_PAGE_SIZE
from fastrad.dataset.pseudonym import default_key_path, pseudonym, read_or_make_key
from fastrad.verify import verify

FORMS = {
    "raw": ConvertOptions(workers=1, size=32),
    "jpeg": ConvertOptions(workers=1, size=32, encode="jpeg"),
    "tar": ConvertOptions(workers=1, size=32, format="webdataset"),
}


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def _begin(manifest, out: Path, options: ConvertOptions) -> Path:
    key, _ = read_or_make_key(default_key_path())
    (plan,) = plan_splits(manifest, options, lambda patient: pseudonym(patient, key))
    journal = Journal(plan, out)
    for index in range(plan.output.chunks):
        convert_chunk(journal.task(index))
    journal.close()
    return journal.folder


@pytest.mark.parametrize("form", FORMS)
def test_altered_work_is_done_again(archive, tmp_path, small_chunks, form):
    """A bit, or the end, of each file of the work folder: whatever the disk did, the bytes are those of a calm run."""
    manifest, options = archive(90), FORMS[form]
    convert(manifest, tmp_path / "calm", options)
    calm = _digests(tmp_path / "calm")
    work = _begin(manifest, tmp_path / "begun", options)
    files = [path.relative_to(work) for path in sorted(work.rglob("*")) if path.is_file() and path.stat().st_size]
    assert {".npy", ".json"} <= {path.suffix for path in files}
    generator = np.random.default_rng(0)
    for number, name in enumerate(files):
        for kind in ("flip", "cut"):
            out = tmp_path / f"{number}-{kind}"
            shutil.copytree(work, out / work.name)
            content = bytearray((out / work.name / name).read_bytes())
            if kind == "flip":
                # of pages, where images are; the gap before them is written at the end
                start = content.find(bytes([255, 216])) if form == "jpeg" and name.suffix == ".pages" else 0
                start = len(content) - SMALL_PAGE_SIZE if name.name == "data" else max(start, 0)
                content[int(generator.integers(start, start + min(len(content) - start, 2000)))] ^= 4
            (out / work.name / name).write_bytes(content if kind == "flip" else content[: len(content) // 2])
            summary = convert(manifest, out, options)
            assert _digests(out) == calm, f"{name}, {kind}"
            assert summary.converted or name.suffix == ".at", f"{name}, {kind}: nothing was done again"
            if name.suffix != ".at":
                assert len(summary.notices) == 1, f"{name}, {kind}"
                assert re.search("(done|converted) again", summary.notices[0])
    assert not verify(next((tmp_path / "calm").glob("*.card.json"))).problems


def test_whole_work_is_gone_on_with(archive, tmp_path, small_chunks):
    manifest = archive(90)
    for form, options in FORMS.items():
        _begin(manifest, tmp_path / form, options)
        summary = convert(manifest, tmp_path / form, options)
        assert (summary.converted, summary.notices) == (0, ()), form
