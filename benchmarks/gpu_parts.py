"""The parts of `benchmarks/gpu.py`, each run in a process of its own: `python gpu_parts.py REQUEST`.

In: a request in JSON: the part's name, its engine where it has one, and the settings. Out: one line of JSON after
another on stdout, each of them the whole result so far: what was measured before a part is cut off is not lost.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fastrad.dataset import write_beton
from fastrad.dataset.opening import open_dataset
from fastrad.imaging.normalisation import Normalisation
from fastrad.loading import Augmentation, Loader
from fastrad.loading.bench import measure
from fastrad.loading.engines import model_bytes
from fastrad.models.resnet import resnet18
from fastrad.train.bench import measure_training
from fastrad.train.config import PretrainConfig, Recipe
from fastrad.train.precision import Precision, choose_precision
from fastrad.train.ranks import Ranks
from fastrad.train.schedule import set_lr, sgd
from fastrad.train.step import Learner, timed_convolutions


@dataclass(frozen=True)
class Settings:
    """What the command was asked for; `raw` and `jpeg` are dataset files, `jpeg` "" for none."""

    raw: str
    jpeg: str
    device: str
    size: int
    batch_size: int
    rounds: int
    steps: int
    seconds: float
    epoch_images: int
    small_images: int
    networks: int
    compiled: bool

    @property
    def place(self) -> torch.device:
        """The device."""
        return torch.device(self.device)

    @property
    def precision(self) -> Precision:
        """Mixed precision where the device has it."""
        return choose_precision("amp", self.place, self.size)


Result = dict[str, Any]


def correct(engine: str, words: Settings) -> Iterator[Result]:
    """An engine's batches on the device against the reference engine on the CPU: gray levels apart, every policy."""
    policies = {
        "whole": Augmentation.none(),
        "crops": Augmentation(flip_vertical=True),
        "all": Augmentation(max_rotation=15, brightness=0.2, contrast=0.2, gamma=0.2, erase=0.5),
    }
    file = open_dataset(Path(words.raw))
    last = len(file) - 1
    chosen = np.unique(np.linspace(0, last, min(64, last + 1)).astype(np.int64))  # the last lie beyond 2**31 bytes
    found: Result = {"pixels": len(file) * file.height * file.width}
    if engine == "resident" and words.place.type == "cuda":
        from fastrad.loading.kernels.fused import why_not

        found["kernel"] = why_not(torch.device("cuda", 0)) or "works: the CPU's own bytes"
    for name, policy in policies.items():

        def batch(asked: str, device: torch.device, dtype: torch.dtype, policy: Augmentation = policy) -> Tensor:
            loader = Loader(
                words.raw,
                len(file),
                engine=asked,
                size=words.size,
                device=device,
                dtype=dtype,
                augment=policy,
                indices=chosen,
            )
            return next(iter(loader)).images.cpu().double()

        ours = batch(engine, words.place, torch.uint8)
        apart = (ours - batch("torch", torch.device("cpu"), torch.uint8)).abs()
        normalised = batch(engine, words.place, torch.float16) - batch("direct", torch.device("cpu"), torch.float16)
        found[name] = {
            "largest_from_the_reference": int(apart.max()),
            "mean_from_the_reference": round(float(apart.mean()), 4),
            "is_the_cpus": bool((ours == batch("direct", torch.device("cpu"), torch.uint8)).all()),
            "largest_normalised_from_the_cpus": round(float(normalised.abs().max()), 4),
        }
        # gamma and contrast stretch a level, and at a frame's edge a rotation may take another neighbour
        found[name]["passes"] = bool(apart.mean() <= 0.5 and (name == "all" or apart.max() <= 2))
        yield found
    if engine == "resident":  # all frames in memory, the last ones asked for
        loader = Loader(
            words.raw, 8, engine=engine, size=file.height, device=words.place, train=False, indices=np.arange(len(file))
        )
        loader.load_state_dict({**loader.state_dict(), "step": len(loader) - 1, "begun": True})
        images = next(iter(loader)).images.cpu().numpy()[:, 0]
        stored = np.stack([file.decode(position) for position in range(len(file) - len(images), len(file))])
        found["last_frames_are_the_files"] = bool((images == stored).all())
        yield found


def _small_files(folder: Path, count: int) -> tuple[Path, Path]:
    """Three kinds of texture under noise, 64 px, for training that ends in seconds."""
    paths = []
    for name, images, seed in (("train", count, 1), ("val", max(8, count // 4), 2)):
        random = np.random.default_rng(seed)
        labels = np.arange(images) % 3
        rows, columns = np.mgrid[:64, :64]
        phase = random.uniform(0, 2 * np.pi, (images, 1, 1))
        kinds = [np.sin(columns * 0.4 + phase), np.cos(rows * 0.4 + phase), np.sin((rows + columns) * 0.28 + phase)]
        picture = np.choose(labels[:, None, None], kinds) * 20 + random.normal(128, 40, (images, 64, 64))
        paths.append(folder / f"{name}.beton")
        write_beton(paths[-1], picture.clip(0, 255).astype(np.uint8), labels, classes=["a", "b", "c"], split=name)
    return paths[0], paths[1]


def _pretrain(files: tuple[Path, Path], out: Path, device: str, precision: str, **more: Any) -> list[dict[str, float]]:
    import pandas as pd

    from fastrad.train import products
    from fastrad.train.pretrain import pretrain

    if find_spec("matplotlib") is None:  # nothing that is measured needs a run's pictures
        products.draw_curves = products.draw_classes = lambda *_, **__: None  # type: ignore[assignment]
    recipe = Recipe(epochs=2, batch_size=32, size=64, lr=0.1)
    pretrain(PretrainConfig(*files, out, recipe, precision=precision, device=device, **more))
    columns = ["train_loss", "val_loss", "val_macro_auroc", "images_per_second"]
    return pd.read_csv(out / "metrics.csv")[columns].to_dict("records")


def pretraining(engine: str, words: Settings) -> Iterator[Result]:
    """Two epochs of pretraining against the CPU's metrics, twice the same, and stopped in between and resumed."""
    from fastrad.train.run import Stopped

    del engine
    found: Result = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = _small_files(folder, words.small_images)
        for label, device, precision in (
            ("cpu, float32", "cpu", "float32"),
            ("device, float32", words.device, "float32"),
            ("device, mixed", words.device, "amp"),
            ("device, mixed, again", words.device, "amp"),
        ):
            found[label] = _pretrain(files, folder / label.replace(", ", "-"), device, precision)
            yield found
        apart = [
            abs(one[name] - other[name])
            for label in ("device, float32", "device, mixed")
            for one, other in zip(found["cpu, float32"], found[label], strict=True)
            for name in ("train_loss", "val_macro_auroc")
        ]
        found["largest_difference_from_the_cpu"] = round(max(apart), 4)
        watched = folder / "stopped" / "metrics.csv"

        def stop_after_an_epoch() -> None:
            while not watched.is_file() or len(watched.read_text().splitlines()) < 2:
                time.sleep(0.002)
            os.kill(os.getpid(), signal.SIGTERM)

        threading.Thread(target=stop_after_an_epoch, daemon=True).start()
        try:
            _pretrain(files, folder / "stopped", words.device, "amp")
            found["stopped"] = "not in time: the run was over"
        except Stopped as stopped:
            found["stopped"] = str(stopped).split(";")[0]
        resumed = _pretrain(files, folder / "stopped", words.device, "amp", resume=True)
        losses = [[row["train_loss"] for row in rows] for rows in (found["device, mixed"], resumed)]
        found["resumed_loss_is_the_undisturbed_one"] = losses[0] == losses[1]
        found["resumed_loss_apart_by"] = max(abs(one - other) for one, other in zip(*losses, strict=True))
        repeated = [row["train_loss"] for row in found["device, mixed, again"]]
        found["a_second_run_apart_by"] = max(abs(one - other) for one, other in zip(losses[0], repeated, strict=True))
        yield found


def overflow(engine: str, words: Settings) -> Iterator[Result]:
    """float16 with a gradient that overflows: the step is left out, the scale halved, and the next steps are finite."""
    del engine
    learner = _learner(words, Precision("float16"))
    images, labels = _constant_batch(words, min(words.batch_size, 32), torch.float16)

    def loss_of(logits: Tensor, factor: float = 1.0) -> Tensor:
        return functional.cross_entropy(logits, labels) * factor

    learner.step(images, loss_of, number=0)
    before = [parameter.detach().clone() for parameter in learner.model.parameters()]
    scale = learner.scaler.get_scale()
    learner.step(images, partial(loss_of, factor=1e30), number=1)
    kept = all(map(torch.equal, before, learner.model.parameters()))
    halved = learner.scaler.get_scale() == scale / 2
    loss = [float(learner.step(images, loss_of, number=number)) for number in range(2, 6)]
    finite = all(bool(torch.isfinite(parameter).all()) for parameter in learner.model.parameters())
    yield {
        "weights_kept": kept,
        "scale_halved": halved,
        "losses_after": [round(value, 4) for value in loss],
        "passes": kept and halved and finite and all(np.isfinite(loss)),
    }


def training(engine: str, words: Settings) -> Iterator[Result]:
    """Training with real loading beside a constant batch, and the parts of a step."""
    yield measure_training(
        Path(words.raw),
        size=words.size,
        batch_size=words.batch_size,
        device=words.place,
        engine=engine,
        rounds=words.rounds,
        steps=words.steps,
        plain=False,
    )


def _constant_batch(words: Settings, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((count, words.size, words.size, 1), generator=generator).to(words.place, dtype)
    return images.permute(0, 3, 1, 2), (torch.arange(count) % 8).to(words.place)


def _learner(words: Settings, precision: Precision, model: nn.Module | None = None) -> Learner:
    recipe = Recipe()
    model = (model or resnet18(8)).to(words.place)
    optimiser = sgd(model, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    set_lr(optimiser, 0.01)
    return Learner(model, optimiser, precision, Normalisation.gray(0.3, 0.2), Ranks(0, 1, words.place))


class _Padded(nn.Module):
    """A network whose stem has four channels, three of them zero: channels that cuDNN's tensor cores divide by."""

    def __init__(self) -> None:
        super().__init__()
        self.network = resnet18(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        padded = functional.pad(images.permute(0, 2, 3, 1), (0, 3)).permute(0, 3, 1, 2)
        return self.network(padded)


class _SpaceToDepth(nn.Module):
    """A network whose stem reads each 2 x 2 pixels as four channels: 4 x 4 with stride 1 for 7 x 7 with stride 2."""

    def __init__(self) -> None:
        super().__init__()
        self.network = resnet18(8, 4)
        self.network.conv1 = nn.Conv2d(4, 64, kernel_size=4, stride=1, padding=0, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        deep = functional.pixel_unshuffle(images, 2).contiguous(memory_format=torch.channels_last)
        return self.network(functional.pad(deep, (2, 1, 2, 1)))


def _rate(words: Settings, turn: Callable[[], object], images: int) -> float:
    """Images/s, the median of the rounds."""
    for _ in range(3):
        turn()
    rates = []
    for _ in range(words.rounds):
        _wait(words)
        began = time.perf_counter()
        for _ in range(words.steps):
            turn()
        _wait(words)
        rates.append(images * words.steps / (time.perf_counter() - began))
    return round(statistics.median(rates), 1)


def variants(engine: str, words: Settings) -> Iterator[Result]:
    """Steps on a constant batch: stems, small batches, compiled, CUDA graphs; and batch normalisation alone."""
    del engine
    precision, found = words.precision, {}
    dtype = getattr(torch, precision.name)

    def rate(count: int, model: nn.Module | None = None, mode: str | None = None) -> float:
        learner = _learner(words, precision, model)
        images, labels = _constant_batch(words, count, dtype)
        loss_of = partial(functional.cross_entropy, target=labels)
        if mode is not None:
            learner._network = torch.compile(learner.model, mode=mode, dynamic=False)
        return _rate(words, lambda: learner.step(images, loss_of, number=0), count)

    def attempt(name: str, measured: Callable[[], Any]) -> Result:
        try:
            found[name] = measured()
        except Exception as error:  # a variant that cannot be had is a finding, and the others are still measured
            found[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        return found

    with timed_convolutions():
        yield attempt("one-channel stem", lambda: rate(words.batch_size))
        yield attempt("stem padded to four channels", lambda: rate(words.batch_size, _Padded()))
        yield attempt("stem of space to depth", lambda: rate(words.batch_size, _SpaceToDepth()))
        for count in (32, 64, 256):
            if count < words.batch_size:
                yield attempt(f"eager, batches of {count}", partial(rate, count))
        for name, call in _normalisations(words).items():
            yield attempt(name, call)
        if words.compiled:
            yield attempt("compiled", lambda: rate(words.batch_size, mode="default"))
            yield attempt("compiled, CUDA graphs", lambda: rate(words.batch_size, mode="reduce-overhead"))
            if words.batch_size > 64:
                yield attempt("compiled, CUDA graphs, batches of 64", lambda: rate(64, mode="reduce-overhead"))


def _normalisations(words: Settings) -> dict[str, Callable[[], float]]:
    """Batch normalisation of the first feature map, forwards and backwards, images/s."""

    def rate(dtype: torch.dtype, cudnn: bool) -> float:
        layer = nn.BatchNorm2d(64).to(words.place)
        side = words.size // 2
        values = torch.randn((words.batch_size, side, side, 64), device=words.place, dtype=dtype).permute(0, 3, 1, 2)
        values.requires_grad_()

        def turn() -> None:
            with torch.backends.cudnn.flags(enabled=cudnn):
                layer(values).sum().backward()

        return _rate(words, turn, words.batch_size)

    return {
        f"batch normalisation, {name}": partial(rate, dtype, cudnn)
        for name, dtype, cudnn in (
            ("bfloat16, native", torch.bfloat16, False),
            ("bfloat16, cuDNN where torch takes it", torch.bfloat16, True),
            ("float16, native", torch.float16, False),
            ("float16, cuDNN where torch takes it", torch.float16, True),
        )
    }


def loading(engine: str, words: Settings) -> Iterator[Result]:
    """Images/s of the loader alone, each batch waited for; from JPEG too, which for dali is decoding on the device."""
    found: Result = {}
    for name, path in (("raw", words.raw), ("JPEG", words.jpeg)):
        if not path:
            continue
        loader = Loader(
            path,
            words.batch_size,
            engine=engine,
            size=words.size,
            device=words.place,
            dtype=words.precision.delivered(words.place),
        )

        def epoch(loader: Loader = loader) -> Iterator[int]:
            for batch in loader:
                _wait(words)
                yield len(batch.labels)

        taken = measure(epoch, words.seconds, warm_up=words.seconds)
        found[name] = {
            "images_per_second": [round(rate) for rate in taken.images_per_second],
            "gap_ms": [round(gap, 2) for gap in (taken.gap_p50, taken.gap_p95, taken.gap_p99)],
            "first_batch_seconds": round(taken.first_batch_seconds, 2),
        }
        yield found


def epoch(engine: str, words: Settings) -> Iterator[Result]:
    """One epoch of training on as many samples as RadImageNet has, the file's own repeated."""
    begun = time.perf_counter()
    stored, count = len(open_dataset(Path(words.raw))), words.epoch_images
    precision = words.precision
    loader = Loader(
        words.raw,
        words.batch_size,
        engine=engine,
        size=words.size,
        device=words.place,
        indices=np.arange(count) % stored,
        dtype=precision.delivered(words.place),
    )
    learner = _learner(words, precision)
    first, seen, told = 0.0, 0, time.perf_counter()
    result: Result = {}
    with timed_convolutions():
        for step, (images, labels, _) in enumerate(loader):
            learner.step(images, partial(functional.cross_entropy, target=labels % 8), number=step)
            seen += len(labels)
            if not first:
                _wait(words)
                first = time.perf_counter() - begun
            done = seen == count
            if done or time.perf_counter() - told > 10:
                _wait(words)
                told = time.perf_counter()
                seconds = told - begun
                result = {
                    "images": seen,
                    "of": count,
                    "seconds": round(seconds, 2),
                    "first_step_seconds": round(first, 2),
                    "images_per_second": round((seen - words.batch_size) / (seconds - first)) if step else 0,
                    "waited_seconds": round(loader.waited, 2),
                }
                yield result
    assert seen == count


def study(engine: str, words: Settings) -> Iterator[Result]:
    """Networks of a study, tuned one after another on 461 images with 115 to validate and 145 to test."""
    from fastrad.study.networks.tune import Task, fine_tune
    from fastrad.study.protocol.config import Tuning

    del engine
    file = open_dataset(Path(words.raw))
    images = min(721, len(file))
    labels = np.zeros(len(file), np.int64)
    labels[: images // 2] = 1
    places = np.random.default_rng(0).permutation(images)
    parts = np.split(places, [images * 461 // 721, images * 576 // 721])
    task = Task(
        file, 0, Normalisation.gray(file.card.mean, file.card.std), labels, np.arange(len(file)), *map(np.sort, parts)
    )
    began, seconds, trained, precision = time.perf_counter(), [], 0, words.precision
    tuning = Tuning(size=words.size, patience=30, epochs=30 if words.place.type == "cuda" else 1)
    for network in range(words.networks):
        tuned = fine_tune(
            task, None, tuning, seed=network // 5, fold=network % 5, device=words.place, precision=precision
        )
        seconds.append(round(tuned.seconds, 2))
        trained += tuned.images
        total = time.perf_counter() - began
        yield {
            "networks": len(seconds),
            "of": words.networks,
            "seconds": round(total, 1),
            "seconds_of_each": seconds,
            "epochs": tuning.epochs,
            "training_images_per_second": round(trained / total, 1),
            "estimated_seconds_for_all": round(total / len(seconds) * words.networks, 1),
        }


def _wait(words: Settings) -> None:
    if words.place.type == "cuda":
        torch.cuda.synchronize(words.place)


PARTS: dict[str, Callable[[str, Settings], Iterator[Result]]] = {
    "correct": correct,
    "pretraining": pretraining,
    "overflow": overflow,
    "training": training,
    "variants": variants,
    "loading": loading,
    "epoch": epoch,
    "study": study,
}


def main() -> None:
    part, engine, values = json.loads(sys.argv[1])
    words = Settings(**values)
    for found in PARTS[part](engine, words):
        memory: Result = {"host_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}
        if words.place.type == "cuda":
            memory["device_peak_mb"] = round(torch.cuda.max_memory_allocated(words.place) / 1e6)
            itemsize = getattr(torch, words.precision.name).itemsize
            memory["estimated_for_the_model_mb"] = round(model_bytes(words.batch_size, words.size, itemsize) / 1e6)
        print(json.dumps({**found, **memory}), flush=True)


if __name__ == "__main__":
    main()
