"""Every file that is read, with values in it that are other than they should be, under hashes that are true.

Damage of bytes is caught by hashes; here somebody wrote the file anew. What is read must be refused in a line, or be
right: images as they were stored, labels that the archive knows, states that a network can go on from. 1,000 mutations
by default; `FASTRAD_FUZZ_COUNT=100000` makes as many.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from isolated import Unforeseen, run_isolated
from mutations import HOSTILE, mutated, speckle

from fastrad.errors import FastradError

COUNT = int(os.environ.get("FASTRAD_FUZZ_COUNT", "1000"))
SECONDS = 20  # for one file
PEAK = 2 << 30  # bytes that the reading process may ever have taken, torch included


def _text(content: Any) -> bytes:
    return json.dumps(content, indent=1).encode()


def _forged_card(content: Any) -> bytes:
    text = json.dumps({**content, "card_sha256": "0" * 64} if isinstance(content, dict) else content, indent=1)
    digest = hashlib.sha256(text.encode()).hexdigest()
    head, mark, tail = text.rpartition("0" * 64)
    return (head + digest + tail if mark else text).encode()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A beton, shards, and archives of two layouts: small and sound."""
    from fastrad.archives.manifest import Manifest
    from fastrad.convert.run import ConvertOptions, convert
    from fastrad.dataset import write_beton

    folder = tmp_path_factory.mktemp("made")
    images = speckle(6, 24)
    write_beton(folder / "a.beton", images, [0, 1, 2] * 2, [0, 0, 1, 1, -1, 2], classes=["a", "b", "c"], page_size=4096)
    (folder / "png").mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(folder / "png" / f"{number}.png"), image)
    names = [f"{number}.png" for number in range(6)]
    manifest = Manifest.from_columns(
        folder / "png", "folder", path=names, label=["a", "b", "c"] * 2, patient=["p", "p", "q", "q", "", "r"]
    )
    options = ConvertOptions(size=24, format="webdataset", workers=1, pseudonym_key=folder / "key", encode="png")
    convert(manifest, folder / "shards", options)
    images_of = folder / "thyroidxl" / "train" / "images"
    images_of.mkdir(parents=True)
    (folder / "ddti").mkdir()
    cv2.imwrite(str(images_of / "00000001_1.png"), images[0])
    cv2.imwrite(str(folder / "ddti" / "1_1.jpg"), images[0])
    return folder


_place: list[Path] = []  # of `made`, in the process that reads


def _made() -> Path:
    return _place[-1]


def _stored(path: Path) -> dict[int, tuple[bytes, str, str | None]]:
    """Pixels, class and patient of every sample, by its row."""
    from fastrad.dataset.inspect import describe
    from fastrad.dataset.opening import open_dataset

    dataset = open_dataset(path)
    found = {}
    for index in range(len(dataset)):
        dataset.check(index)
        patient = int(dataset.patients[index])
        name = dataset.card.patients[patient] if patient >= 0 else None
        found[int(dataset.rows[index])] = (
            dataset.decode(index).tobytes(),
            dataset.card.classes[dataset.labels[index]],
            name,
        )
    describe(dataset)
    return found


def _pixels(path: Path) -> dict[int, bytes]:
    return {row: image for row, (image, *_) in _stored(path).items()}


@functools.cache
def _sound(name: str) -> dict[int, bytes]:
    return _pixels(_made() / name)


# -- of each kind: the sound content, and what reads it; a reader returns whether what it read is right


def _beton_card() -> Any:
    return json.loads((_made() / "a.card.json").read_text())


def _read_beton(content: Any) -> bool:
    from fastrad.verify import verify

    path = _made() / "a.card.json"
    whole = path.read_bytes()
    sound = _sound("a.beton")
    try:
        path.write_bytes(_forged_card(content))
        verify(path, workers=1)
        return _pixels(path) == sound
    finally:
        path.write_bytes(whole)


def _shards_card() -> Any:
    return json.loads((_made() / "shards" / "all.card.json").read_text())


def _read_shards(content: Any) -> bool:
    from fastrad.convert.plan import plan_splits
    from fastrad.convert.run import ConvertOptions, read_shards
    from fastrad.verify import verify

    path = _made() / "shards" / "all.card.json"
    whole = path.read_bytes()
    sound = _sound("shards/all.card.json")
    try:
        path.write_bytes(_forged_card(content))
        verify(path, workers=1)
        right = _pixels(path) == sound
        for plan in plan_splits(read_shards(str(path.parent)), ConvertOptions(), None):
            right &= "/" not in plan.output.last_file(plan.name) and not plan.name.startswith(".")
            images = plan.source.images(slice(None), plan.image)
            right &= [images.load(index)[0].tobytes() for index in range(len(images.rows))] == list(sound.values())
        return right
    finally:
        path.write_bytes(whole)


def _sample() -> Any:
    return {"index": [512, 400, 1024, 2, 1536, 120], "facts": _facts()}


def _facts() -> Any:
    from fastrad.dataset.tar.shards import ShardSet

    samples = ShardSet(_made() / "shards" / "all.card.json").samples
    return [json.loads(_about(samples, index)) for index in range(len(samples))]


def _about(samples: Any, index: int) -> bytes:
    where = samples.where[index]
    content = (_made() / "shards" / samples.names[0]).read_bytes()
    return content[int(where["about"]) : int(where["about"] + where["about_size"])]


def _read_facts(content: Any) -> bool:
    """A tar, index and card made anew around what is said of the samples."""
    from fastrad.dataset.tar import layout
    from fastrad.dataset.tar.shards import ShardSet
    from fastrad.verify import verify

    folder = _made() / "shards"
    whole = ShardSet(folder / "all.card.json")
    tar, lines = b"", []
    facts = content if isinstance(content, list) else []
    for index in range(len(whole)):
        row, image = int(whole.rows[index]), whole.image_bytes(index).tobytes()
        texts = (image, b"%d" % whole.labels[index], _text(facts[index] if index < len(facts) else content))
        key = f"{row:09d}"
        lines.append(layout.index_line(row, len(tar), [len(text) for text in texts], "png"))
        for text, suffix in zip(texts, ("png", "cls", "json"), strict=True):
            tar += layout.member(f"{key}.{suffix}", text)
    tar += layout.END_OF_ARCHIVE
    return _read_forged_shards(whole.card, tar, layout.index_text(lines).encode(), verify)


def _read_forged_shards(card: Any, tar: bytes, index: bytes, verify: Callable) -> bool:
    from dataclasses import replace

    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "all-000000.tar").write_bytes(tar)
        (Path(scratch) / "all-000000.idx").write_bytes(index)
        shard = {**card.hashes["shards"][0], "bytes": len(tar), "sha256": hashlib.sha256(tar).hexdigest()}
        shard["index_sha256"] = hashlib.sha256(index).hexdigest()
        forged = replace(card, bytes=len(tar), hashes={**card.hashes, "shards": [shard]})
        path = Path(scratch) / "all.card.json"
        path.write_bytes(forged.to_bytes())
        verify(path, workers=1)
        return _pixels(path) == _sound("shards/all.card.json")


def _index() -> Any:
    text = (_made() / "shards" / "all-000000.idx").read_text()
    return [line.split(" ") for line in text.splitlines()]


def _read_index(content: Any) -> bool:
    from fastrad.dataset.tar.shards import ShardSet
    from fastrad.verify import verify

    folder = _made() / "shards"
    lines = [" ".join(map(str, line)) if isinstance(line, list) else str(line) for line in content]
    text = ("\n".join(lines) + "\n").encode("utf-8", "replace")
    card = ShardSet(folder / "all.card.json").card
    return _read_forged_shards(card, (folder / "all-000000.tar").read_bytes(), text, verify)


PRETRAINED = {
    "architecture": "resnet18, one channel",
    "normalisation": {"mean": [0.3], "std": [0.2]},
    "size": 64,
    "classes": ["a", "b", "c"],
    "card_sha256": "0" * 64,
    "seen": ["0" * 64, "1" * 64],
    "dataset": {"layout": "folder", "split": "train", "samples": 9},
    "synthetic": True,
    "metrics": {
        **{"epoch": 2, "train_loss": 0.5, "val_loss": 0.4, "val_macro_auroc": 0.9, "val_micro_auroc": 0.9},
        **{"val_top1": 0.8, "val_top5": 1.0, "val_balanced_accuracy": 0.8, "val_classes_absent": 0},
    },
    "recipe": {"epochs": 2, "batch_size": 16, "lr": 0.2, "label_smoothing": 0.1},
    "seed": 0,
    "precision": "float32",
    "fastrad": "0.2.0",
}
TUNED = {
    "normalisation": {"mean": [0.3], "std": [0.2]},
    "size": 64,
    "positive": "malignant",
    "dataset": "0" * 64,
    "seen": ["0" * 64],
    "parameters": {"size": 64, "fit": "pad", "encode": "raw", "quality": None, "window": None},
    "synthetic": True,
    "source_options": {"crop": "nodule"},
    "arm": "none",
    "flip_average": True,
}


def _checked_metadata(content: Any) -> dict[str, Any]:
    from fastrad.models.metadata import read_metadata
    from fastrad.models.weights import Weights

    texts = {str(key): json.dumps(value) for key, value in (content.items() if isinstance(content, dict) else ())}
    metadata = {}
    for ours in (False, True):
        metadata, _ = read_metadata(texts, "w.safetensors", ours)
        weights = Weights({}, metadata)
        assert all(isinstance(name, str) for name in weights.seen)
        if weights.normalisation is not None:
            assert all(0 < std < 1e7 for std in weights.normalisation.std)
    return metadata


def _read_pretrained(content: Any) -> bool:
    from fastrad.models.card import model_card
    from fastrad.models.metadata import Pretrained, as_written

    metadata = _checked_metadata(content)
    as_written(metadata, Pretrained, "w.safetensors")
    return "normalised as (pixel / 255 - " in model_card(metadata, "One channel.")


def _read_tuned(content: Any) -> bool:
    from fastrad.imaging import fit
    from fastrad.models.metadata import Tuned, as_written

    metadata = _checked_metadata(content)
    as_written(metadata, Tuned, "w.safetensors")
    parameters = metadata["parameters"]
    side = min(parameters["size"], 512)  # as `predict` uses them
    return fit(np.zeros((8, 4), np.uint8), side, parameters["fit"])[0].shape == (side, side)


SETTINGS = {"epochs": 16, "size": 64, "lr": 0.2, "seed": 0, "precision": "float32", "train": "a", "val": "b"}


def _config() -> Any:
    return {"settings": {**SETTINGS, "augment": {"flip": True, "scale": [0.5, 1.0]}}, "torch": "2", "classes": ["a"]}


def _read_config(content: Any) -> bool:
    from fastrad.train.run_folder import RunFolder

    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch))
        folder.config.write_bytes(_text(content))
        assert isinstance(folder.read_config()["settings"]["epochs"], int)
        folder.begin(_config()["settings"], resume=True)
    return True


def _summary() -> Any:
    return {
        "best": {"epoch": 2, "val_macro_auroc": 0.9, "val_top1": None},
        "class_auroc": {"a": 0.9, "b": None},
        "confusion": [[1, 0], [0, 1]],
    }


def _read_summary(content: Any) -> bool:
    from fastrad.train.run_folder import RunFolder

    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch))
        folder.summary.write_bytes(_text(content))
        found = folder.read_summary()
    figures = [*found.best.values(), *found.class_auroc.values()]
    return all(figure is None or f"{figure:.4f}" for figure in figures)


def _state() -> Any:
    import torch
    from torch import nn

    from fastrad.imaging.normalisation import Normalisation
    from fastrad.train.checkpoint import State
    from fastrad.train.precision import Precision
    from fastrad.train.ranks import Ranks
    from fastrad.train.step import Learner

    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn1, self.fc = nn.BatchNorm2d(1), nn.Linear(16, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.fc(self.bn1(images).flatten(1))

    torch.manual_seed(0)
    model = Small()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    ranks = Ranks(0, 1, torch.device("cpu"))
    return State(Learner(model, optimiser, Precision("float32"), Normalisation.gray(0.5, 0.2), ranks, ema=0.9))


def _step(state: Any) -> None:
    import torch

    images = torch.arange(64, dtype=torch.uint8).view(4, 1, 4, 4)
    state.learner.step(images, lambda logits: logits.square().sum(), number=state.epoch)


def _checkpoint() -> Any:
    state = _state()
    _step(state)
    state.epoch, state.best_epoch, state.best_auroc = 1, 0, 0.7
    state.rows = [{"epoch": 1, "train_loss": 0.5, "val_macro_auroc": 0.7}]
    state.class_auroc, state.confusion = [0.7, 0.7, 0.7], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    return {"settings": SETTINGS, "loader": {"epoch": 1, "step": 0}, **state.content()}


def _read_checkpoint(content: Any) -> bool:
    import torch

    from fastrad.train.checkpoint import newest_checkpoint, write_checkpoint

    with tempfile.TemporaryDirectory() as scratch:
        try:
            write_checkpoint(Path(scratch), 1, content)
        except RecursionError:  # nobody can write it so
            raise FastradError("nested too deeply") from None
        state = _state()
        before = {name: value.clone() for name, value in state.learner.model.state_dict().items()}
        found, refused = newest_checkpoint(Path(scratch), SETTINGS, state.check)
        if found is None:
            assert len(refused) == 1
            assert "\n" not in refused[0]
            after = state.learner.model.state_dict()
            assert all(torch.equal(value, after[name]) for name, value in before.items()), "half of it was taken"
            raise FastradError(refused[0])
        state.load(found)
        _step(state)
        best = state.rows[state.best_epoch] if state.rows else {}
        return all(isinstance(value, int | float) for value in best.values())


ANNOTATIONS = {
    "images": [{"id": 1, "file_name": "00000001_1.png", "patient_id": 1}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
}
OUTLINE = [{"regionType": "freehand", "points": [{"x": 1, "y": 2}, {"x": 9, "y": 2}, {"x": 5, "y": 8}]}]


def _read_archive(layout: str) -> bool:
    from fastrad.archives import read_source

    for crop in ("", "nodule"):
        table = read_source(layout, _made() / layout, crop=crop).table
        usable = table[(table["reason"] == "") & (table["label"] != "")]
        if not usable["label"].isin(["benign", "malignant"]).all() or (crop and usable["box"].isna().any()):
            return False
    return True


def _read_annotations(content: Any) -> bool:
    (_made() / "thyroidxl" / "train_annotations.json").write_bytes(_text(content))
    return _read_archive("thyroidxl")


def _read_outline(content: Any) -> bool:
    text = f"<case><tirads>4a</tirads><mark><image>1</image><svg>{json.dumps(content)}</svg></mark></case>"
    (_made() / "ddti" / "1.xml").write_text(text)
    return _read_archive("ddti")


def _chunk() -> Any:
    record = {"stored": 2, "pages": ["0" * 64], "samples_sha256": "0" * 64, "quarantined": [[3, "damaged"]]}
    return {**record, "value_sum": 5, "square_sum": 9, "pixels": 8, "made_square": 0, "gray_levels": "ff"}


def _read_chunk(content: Any) -> bool:
    from fastrad.convert.record import read_record, sealed

    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "0.json").write_bytes(sealed(_text(content)))
        record = read_record(Path(scratch) / "0")
    return record is None or (int(record.gray_levels, 16) >= 0 and all(len(entry) == 2 for entry in record.quarantined))


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], bool]]] = {
    "card of a beton": (_beton_card, _read_beton),
    "card of shards": (_shards_card, _read_shards),
    "samples of shards": (_facts, _read_facts),
    "index of shards": (_index, _read_index),
    "pretrained weights": (lambda: PRETRAINED, _read_pretrained),
    "network of a study": (lambda: TUNED, _read_tuned),
    "config.json": (_config, _read_config),
    "summary.json": (_summary, _read_summary),
    "checkpoint": (_checkpoint, _read_checkpoint),
    "annotations": (lambda: ANNOTATIONS, _read_annotations),
    "outlines": (lambda: OUTLINE, _read_outline),
    "record of a chunk": (_chunk, _read_chunk),
}


@functools.cache
def _content(kind: str) -> Any:
    return KINDS[kind][0]()


def _hostile(kind: str) -> tuple[Any, ...]:
    if kind != "checkpoint":
        return HOSTILE
    import torch

    tensors = (torch.zeros(3), torch.zeros(3, 16), torch.tensor(float("nan")), torch.zeros(2, 2).to_sparse())
    return (*HOSTILE, *tensors, torch.zeros(1).expand(10**9), torch.zeros(3, dtype=torch.float16), {1: 2}, float("nan"))


def _try(case: tuple[str, str, int, int]) -> tuple[str, str]:
    """What was changed in one mutation, and what came of it."""
    place, kind, seed, number = case
    _place.append(Path(place))
    generator = np.random.default_rng([seed, number])
    name, content = mutated(_content(kind), generator, _hostile(kind))
    try:
        right = KINDS[kind][1](content)
    except FastradError as error:
        return name, "refused" if "\n" not in str(error) and len(str(error)) < 2000 else f"not one line: {error}"
    except AssertionError:
        raise
    except Exception as error:
        raise RuntimeError(f"{name}: {type(error).__name__}: {error}") from error
    return name, "read" if right else "read wrong"


def _sound_is_read(case: tuple[str, str]) -> bool:
    place, kind = case
    _place.append(Path(place))
    return KINDS[kind][1](_content(kind))


def _peak(_: None) -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.timeout(max(900, COUNT // 10))
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_file_says_it_is_refused_in_a_line_or_read_right(kind, made, seed):
    (sound,) = run_isolated(_sound_is_read, [(kind, (str(made), kind))])
    assert sound is True, sound
    (before,) = run_isolated(_peak, [("peak", None)])  # what the forked process took over from this one
    share = -(-COUNT // len(KINDS))
    cases = [(f"{kind}, seed {seed}, number {number}", (str(made), kind, seed, number)) for number in range(share)]
    results = run_isolated(_try, cases, SECONDS)
    for (name, _), found in zip(cases, results, strict=True):
        assert not isinstance(found, Unforeseen), f"{name}: {found}"
        assert found[1] in ("read", "refused"), f"{name}: {found}"
    refused = sum(found[1] == "refused" for found in results)
    assert kind in ("record of a chunk", "index of shards", "outlines") or 0 < refused < share
    (peak,) = run_isolated(_peak, [("peak", None)])
    assert peak - before < PEAK
    if COUNT > 1000:
        print(f"{kind}: {share} mutations, {refused} refused, peak memory {peak / 1e6:.0f} MB")
