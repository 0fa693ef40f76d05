"""How fast training is, and what it is made of: against a constant batch, and against the recipe that people write.

There are images/s of each variant (median, minimum and maximum of interleaved rounds) and the parts of a step, which is
that of pretraining (`fastrad.train.step`) with the settings of `Recipe` and the images as pretraining gets them. The
plain recipe trains torchvision's three-channel ResNet-18 in float32 and NCHW from a DataLoader over PNG files (the same
images, written to a temporary folder).
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import fastrad
from fastrad.dataset import BetonFile
from fastrad.errors import OptionError
from fastrad.imaging.normalisation import IMAGENET, Normalisation
from fastrad.loading import Loader
from fastrad.models.resnet import STEM, resnet18
from fastrad.train.config import Recipe
from fastrad.train.precision import Precision, choose_precision
from fastrad.train.ranks import Ranks
from fastrad.train.schedule import set_lr, sgd
from fastrad.train.step import Learner, timed_convolutions

_PLAIN_IMAGES = 1000  # written as PNG for the plain recipe
_RECIPE, _RATE = Recipe(), 0.01  # a rate at which random labels do not diverge; no step's time depends on it

Turn = Callable[[], int]  # trains on one batch and returns its number of images


def measure_training(
    path: Path,
    *,
    size: int,
    batch_size: int,
    device: torch.device,
    engine: str = "auto",
    rounds: int = 5,
    steps: int = 4,
    compiled: bool = False,
    plain: bool = True,
) -> dict[str, Any]:
    """Measure training on one device: in mixed precision on a GPU, in float32 on a CPU, and once the other way.

    Parameters
    ----------
    path : Path
        A training file.
    size : int
        Pixels a side.
    batch_size : int
    device : torch.device
    engine : str
        The loader's.
    rounds, steps : int
        Every round runs each variant for so many steps, one variant after another. A turn begins with one untimed
        step: loaders' workers of the variant before fill their queues in it, instead of in somebody else's time.
    compiled : bool
        Measure the network under `torch.compile` too; the compilation, a minute or more, is not timed.
    plain : bool
        Measure the recipe that people write too, whose loading can take minutes where a GPU waits for it.

    Returns
    -------
    dict
        `variants` (name -> median, minimum and maximum images/s), `images_per_second` (name -> each round's), `parts`
        (milliseconds of one step on a constant batch), `real_to_constant` and `real_to_plain` (medians of the ratios
        within a round, whose turns share the machine's state; the second is None without the recipe), and the
        circumstances.
    """
    amp, full = choose_precision("amp", device, size), Precision("float32")
    used, other = (amp, full) if device.type == "cuda" else (full, amp)
    loader = Loader(path, batch_size, engine=engine, size=size, device=device, dtype=used.delivered(device))
    normalisation = Normalisation.gray(loader.card.mean, loader.card.std)
    classes = max(2, len(loader.card.classes))
    real = _endless(loader)
    kept = [next(real) for _ in range(8)]
    constant, gray = itertools.repeat(kept[0]), itertools.repeat(_gray(path, batch_size, engine, size, device))
    with tempfile.TemporaryDirectory() as folder, timed_convolutions():
        variants: dict[str, Turn] = {
            "constant batch": _gray_step(constant, normalisation, classes, device, used),
            f"real loading ({loader.engine})": _gray_step(real, normalisation, classes, device, used),
            "replayed batches": _gray_step(itertools.cycle(kept), normalisation, classes, device, used),
            "constant batch, NCHW": _gray_step(
                itertools.repeat((_nchw(kept[0][0]), kept[0][1])),
                normalisation,
                classes,
                device,
                used,
                memory=torch.contiguous_format,
            ),
            "constant batch, three channels": _gray_step(gray, IMAGENET, classes, device, used),
        }
        if plain:
            variants["plain recipe"] = _plain_step(path, Path(folder), size, batch_size, classes, device)
        if compiled:
            variants["constant batch, compiled"] = _gray_step(
                constant, normalisation, classes, device, used, compiled_for=(size, batch_size)
            )
        if other.name != used.name:
            variants[f"constant batch, {other.name}"] = _gray_step(gray, normalisation, classes, device, other)
        speeds = _interleaved(variants, rounds, steps, device)
    table = {
        name: {
            "median": round(statistics.median(found), 1),
            "minimum": round(min(found), 1),
            "maximum": round(max(found), 1),
        }
        for name, found in speeds.items()
    }
    measured = speeds[f"real loading ({loader.engine})"]
    return {
        "variants": table,
        "images_per_second": {name: [round(speed, 1) for speed in found] for name, found in speeds.items()},
        "parts": _parts(kept[0], _learner(classes, 1, normalisation, used, device)),
        "real_to_constant": _median_ratio(measured, speeds["constant batch"]),
        "real_to_plain": _median_ratio(measured, speeds["plain recipe"]) if plain else None,
        "size": size,
        "batch_size": batch_size,
        "rounds": rounds,
        "steps": steps,
        "precision": used.name,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "versions": {"fastrad": fastrad.__version__, "torch": torch.__version__},
    }


def _median_ratio(speeds: list[float], others: list[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(speeds, others, strict=True)), 3)


def _endless(loader: Loader) -> Iterator[tuple[Tensor, Tensor]]:
    while True:
        for batch in loader:
            if len(batch.labels) == loader.batch_size or len(loader) == 1:
                yield batch.images, batch.labels


def _gray(path: Path, batch_size: int, engine: str, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """One batch of gray levels, for what normalises otherwise than the loader."""
    return next(_endless(Loader(path, batch_size, engine=engine, size=size, device=device)))


def _nchw(images: Tensor) -> Tensor:
    """One channel with the strides of NCHW: the memory is that of NHWC, and the strides say which one is meant."""
    height, width = images.shape[2:]
    return images.as_strided(images.shape, (height * width, height * width, width, 1))


def _gray_step(
    batches: Iterator[tuple[Tensor, Tensor]],
    normalisation: Normalisation,
    classes: int,
    device: torch.device,
    precision: Precision,
    *,
    memory: torch.memory_format = torch.channels_last,
    compiled_for: tuple[int, int] | None = None,
) -> Turn:
    channels = len(normalisation.mean)
    learner = _learner(classes, channels, normalisation, precision, device, memory)
    if compiled_for is not None:
        size, batch_size = compiled_for
        if why_not := learner.compile([size], batch_size):
            raise OptionError(f"{why_not}; leave --compile out")
    done = itertools.count()

    def step() -> int:
        images, labels = next(batches)
        loss_of = partial(
            functional.cross_entropy, target=labels, label_smoothing=_RECIPE.label_smoothing, reduction="sum"
        )
        if channels > 1:
            images = images.expand(-1, channels, -1, -1)
        learner.step(images, loss_of, number=next(done), divisor=len(labels))
        return len(labels)

    return step


def _learner(
    classes: int,
    channels: int,
    normalisation: Normalisation,
    precision: Precision,
    device: torch.device,
    memory: torch.memory_format = torch.channels_last,
) -> Learner:
    model = resnet18(classes, channels).to(device)
    if channels == 1 and memory == torch.contiguous_format:
        stem = model.get_parameter(STEM)
        stem.data = _nchw(stem.data)
    optimiser = sgd(model, momentum=_RECIPE.momentum, weight_decay=_RECIPE.weight_decay)
    set_lr(optimiser, _RATE)
    return Learner(
        model,
        optimiser,
        precision,
        normalisation,
        Ranks(0, 1, device),
        clip_norm=_RECIPE.clip_norm,
        ema=_RECIPE.ema,
        memory_format=memory,
    )


def _plain_step(path: Path, folder: Path, size: int, batch_size: int, classes: int, device: torch.device) -> Turn:
    import cv2
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder
    from torchvision.models import resnet18 as torchvision_resnet18

    stored = BetonFile(path)
    for index in range(min(_PLAIN_IMAGES, len(stored))):
        place = folder / f"{int(stored.labels[index]):04d}"
        place.mkdir(exist_ok=True)
        cv2.imwrite(str(place / f"{index}.png"), stored.decode(index))
    steps = [
        transforms.RandomResizedCrop(size),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize(IMAGENET.mean, IMAGENET.std),
    ]
    data = ImageFolder(folder, transforms.Compose(steps))
    batches = DataLoader(data, batch_size, shuffle=True, num_workers=2, drop_last=len(data) > batch_size)
    endless = itertools.chain.from_iterable(itertools.repeat(batches))
    model = torchvision_resnet18(num_classes=classes).to(device).train()
    optimiser = torch.optim.SGD(
        model.parameters(), lr=_RATE, momentum=_RECIPE.momentum, weight_decay=_RECIPE.weight_decay
    )

    def step() -> int:
        images, labels = (tensor.to(device) for tensor in next(endless))
        optimiser.zero_grad()
        functional.cross_entropy(model(images), labels, label_smoothing=_RECIPE.label_smoothing).backward()
        optimiser.step()
        return len(labels)

    return step


def _interleaved(variants: dict[str, Turn], rounds: int, steps: int, device: torch.device) -> dict[str, list[float]]:
    speeds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, step in variants.items():
            step()
            _wait(device)
            began = time.perf_counter()
            images = sum(step() for _ in range(steps))
            _wait(device)
            speeds[name].append(images / (time.perf_counter() - began))
    return speeds


def _parts(batch: tuple[Tensor, Tensor], learner: Learner, repeats: int = 5) -> dict[str, float]:
    """Median milliseconds of the parts of one step, each waited for."""
    images, labels = batch
    device, model, optimiser = learner.ranks.device, learner.model.train(), learner.optimiser
    found: dict[str, list[float]] = {"normalise": [], "forward": [], "backward": [], "optimiser": []}
    for number in range(repeats + 1):
        marks = [_now(device)]
        inputs = images if images.is_floating_point() else learner.normalisation.apply(images)
        marks.append(_now(device))
        with learner.precision.autocast(device):
            logits = model(inputs)
        loss = functional.cross_entropy(logits.float(), labels, label_smoothing=_RECIPE.label_smoothing)
        marks.append(_now(device))
        loss.backward()
        marks.append(_now(device))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        marks.append(_now(device))
        if number:
            for name, (start, end) in zip(found, itertools.pairwise(marks), strict=True):
                found[name].append(1000 * (end - start))
    return {name: round(statistics.median(times), 2) for name, times in found.items()}


def _now(device: torch.device) -> float:
    _wait(device)
    return time.perf_counter()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
