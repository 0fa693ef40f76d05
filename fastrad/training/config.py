"""What a pretraining run is told: the recipe, which decides the numbers, and the rest, which doesn't.

In: a recipe file and the command line's words. Out: frozen dataclasses, and the record of them that a run folder keeps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from fastrad.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights besides data and seed.

    Attributes
    ----------
    epochs : int
    batch_size : int
        Samples a step, over all ranks.
    size : int
        Pixels a side, in training and validation; 0 takes the dataset's stored size.
    lr : float
        Peak learning rate for 256 samples a step; the rate used is lr * batch_size / 256.
    warmup : float
        Share of all steps in which the rate rises linearly; after it, it falls to zero along a cosine.
    momentum : float
        Of SGD, Nesterov's form.
    weight_decay : float
        On weights of convolutions and of the head, not on normalisation and biases.
    label_smoothing : float
    """

    epochs: int = 16
    batch_size: int = 64
    size: int = 0
    lr: float = 0.2
    warmup: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-5
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 10_000),
            ("batch_size", 2, 1_000_000),
            ("size", 0, 4096),
            ("lr", 0, 1000),
            ("warmup", 0, 1),
            ("momentum", 0, 1),
            ("weight_decay", 0, 1),
            ("label_smoothing", 0, 0.99),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"recipe: {name} is {value}, it must lie in [{low}, {high}]")

    @property
    def peak_lr(self) -> float:
        """The highest learning rate of the run."""
        return self.lr * self.batch_size / 256


@dataclass(frozen=True)
class PretrainConfig:
    """A pretraining run.

    Attributes
    ----------
    train, val : Path
        Dataset files with the same classes.
    out : Path
        The run folder.
    recipe : Recipe
    seed : int
        Of the first weights, the order and the augmentation.
    precision : str
        "float32"; or autocast with "amp" (the best that the device has), "bfloat16" or "float16".
    device : str or None
        "cpu", "cuda", "cuda:1", ...; None takes a GPU where there is one.
    engine : str
        The loader's.
    workers : int or None
        The loader's threads a rank; None leaves it to the loader.
    resume : bool
        Go on from the newest sound checkpoint of `out`.
    checkpoint_minutes : float
        A checkpoint is written at each epoch's end and, inside an epoch, after this many minutes.
    """

    train: Path
    val: Path
    out: Path
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = 0
    precision: str = "float32"
    device: str | None = None
    engine: str = "auto"
    workers: int | None = None
    resume: bool = False
    checkpoint_minutes: float = 10.0


def settings_of(recipe: Recipe, seed: int, precision: str, train_sha256: str, val_sha256: str) -> dict[str, object]:
    """What must be the same for a run to be the same run: the record kept as `settings` in `config.json`."""
    return {**asdict(recipe), "seed": seed, "precision": precision, "train": train_sha256, "val": val_sha256}


def differences(stored: dict[str, object], asked: dict[str, object]) -> list[str]:
    """Where two records of settings differ, a phrase each, in a fixed order."""
    names = [*(item.name for item in fields(Recipe)), "seed", "precision", "train", "val"]
    phrases = {"train": "another training file", "val": "another validation file"}
    return [
        phrases.get(name, f"{name} {stored.get(name)} there, {asked.get(name)} asked")
        for name in names
        if stored.get(name) != asked.get(name)
    ]
