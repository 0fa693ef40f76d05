"""What a pretraining run is told: the recipe, which decides the numbers, and the rest, which doesn't; and a test.

All are frozen dataclasses, from which the command line derives its options; a run folder keeps their record.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from fastrad.errors import OptionError
from fastrad.loading.engines import engine_choices
from fastrad.loading.policy import Augmentation
from fastrad.train import recipe_file

SAMPLINGS = ("natural", "balanced")
ARCHITECTURES = ("resnet18", "resnet34", "resnet50")
SIZE_STEP = 16  # training sizes are multiples of it, so that there are few


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights besides data and seed.

    Attributes
    ----------
    architecture : str
        The network, with a one-channel stem, under torchvision's name.
    epochs : int
        Passes over the training file.
    batch_size : int
        Images a step, over all ranks; 0 takes what suits the device (`schedule.suiting_batch_size`).
    size : int
        Pixels a side in validation; 0 takes the stored size.
    first_size, last_size : int
        Pixels a side in training: from the one to the other in equal steps over the first four fifths of the epochs,
        in multiples of 16; 0 takes `size`.
    lr : float
        Peak learning rate for 256 images a step; the rate used is lr * batch_size / 256.
    warmup : float
        Share of all steps in which the rate rises linearly; after it, it falls to zero along a cosine.
    momentum : float
        Of SGD, Nesterov's form.
    weight_decay : float
        On weights of convolutions and of the head, not on normalisation and biases.
    label_smoothing : float
    clip_norm : float
        The gradient's largest norm over all parameters; 0 leaves it as it is.
    ema : float
        Decay of a moving average of the weights, which is then validated and kept; 0 for none.
    sampling : str
        "natural": every sample once an epoch; "balanced": as many, drawn so that each class comes equally often.
    flip_average : bool
        Validate on the mean of the logits of an image and its mirror image.
    augment : Augmentation
        What may happen to a training image: the table [augment] of a recipe file.
    """

    architecture: str = field(default="resnet18", metadata={"choices": ARCHITECTURES})
    epochs: int = 16
    batch_size: int = field(default=0, metadata={"default": "64, on a GPU up to 1024"})
    size: int = 0
    first_size: int = 0
    last_size: int = 0
    lr: float = 0.2
    warmup: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-5
    label_smoothing: float = 0.1
    clip_norm: float = 0.0
    ema: float = 0.0
    sampling: str = "natural"
    flip_average: bool = False
    augment: Augmentation = field(default_factory=Augmentation, metadata={"option": ""})

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 10_000),
            ("batch_size", 0, 1_000_000),
            ("size", 0, 4096),
            ("first_size", 0, 4096),
            ("last_size", 0, 4096),
            ("lr", 0, 1000),
            ("warmup", 0, 1),
            ("momentum", 0, 1),
            ("weight_decay", 0, 1),
            ("label_smoothing", 0, 0.99),
            ("clip_norm", 0, 1e6),
            ("ema", 0, 0.999999),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise OptionError(f"recipe: {name} is {value}, it must lie in [{low}, {high}]")
        if self.batch_size == 1:
            raise OptionError("recipe: batch_size is 1, it must be at least 2, or 0 for what suits the device")
        for name, known in (("architecture", ARCHITECTURES), ("sampling", SAMPLINGS)):
            if getattr(self, name) not in known:
                raise OptionError(f"recipe: {name} is {getattr(self, name)!r}, it must be one of {', '.join(known)}")

    @property
    def peak_lr(self) -> float:
        """The highest learning rate of the run."""
        return self.lr * self.batch_size / 256

    def training_size(self, epoch: int) -> int:
        """Pixels a side in the training of one epoch (from 0)."""
        first, last = self.first_size or self.size, self.last_size or self.size
        if first == last:
            return last
        share = min(1.0, epoch / max(1, round(0.8 * self.epochs) - 1))
        return max(1, round((first + share * (last - first)) / SIZE_STEP)) * SIZE_STEP

    def changed(self, values: dict[str, Any], origin: str) -> Recipe:
        """The recipe with some values replaced.

        Raises
        ------
        InputError
            If a name or a value's type is not a recipe's; `origin` says where it stands.
        """
        return recipe_file.changed(self, values, origin)

    def record(self) -> dict[str, object]:
        """The recipe in JSON's types; what 0.1.0 did not know is left out where it is as there."""
        values = asdict(self)
        augment = values.pop("augment")
        if self.architecture == Recipe().architecture:
            del values["architecture"]
        if self.augment != Augmentation():
            values["augment"] = {name: list(one) if isinstance(one, tuple) else one for name, one in augment.items()}
        return values

    def to_toml(self) -> str:
        """The recipe as a file that `--recipe` reads."""
        return recipe_file.to_toml(self)


def recipe_names() -> list[str]:
    """The recipes that come with fastrad."""
    folder = resources.files("fastrad.train") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name: str) -> Recipe:
    """Read a recipe by its name, or from a `.toml` file.

    Raises
    ------
    InputError
        If there is none, or it holds anything else than a recipe's values.
    """
    if name.endswith(".toml"):
        values = recipe_file.read(Path(name))
    elif name in recipe_names():
        text = (resources.files("fastrad.train") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
        values = recipe_file.parse(text, f"recipe {name}")
    else:
        raise OptionError(f"recipe {name!r} is unknown; there are {', '.join(recipe_names())}, or give a .toml file")
    return Recipe().changed(values, f"recipe {name}")


@dataclass(frozen=True)
class PretrainConfig:
    """A pretraining run.

    Attributes
    ----------
    train : Path
        Training file.
    val : Path
        Validation file with the same classes.
    out : Path
        Folder of the run.
    recipe : Recipe
    seed : int
        Of first weights, order and augmentation.
    precision : str
        "float32"; or autocast with "amp" (the best that the device has), "bfloat16" or "float16".
    compile : bool
        Compile the training step (torch.compile).
    deterministic : bool
        On a GPU, take only algorithms that give the same bits each time on the same card and software; slower.
    device : str or None
        cpu, cuda or cuda:N; by default a GPU where there is one.
    engine : str
        The loader's.
    workers : int or None
        Loader threads of each rank; by default the CPUs.
    resume : bool
        Go on from the newest checkpoint in the run folder.
    checkpoint_minutes : float
        A checkpoint is written at each epoch's end and, inside an epoch, after this many minutes.
    """

    train: Path
    val: Path
    out: Path
    recipe: Recipe = field(default_factory=Recipe)
    seed: int = field(default=0, metadata={"min": 0, "max": 2**64 - 1})
    precision: str = "float32"
    compile: bool = False
    deterministic: bool = False
    device: str | None = None
    engine: str = field(default="auto", metadata={"choices": engine_choices()})
    workers: int | None = field(default=None, metadata={"min": 1, "max": 4096})
    resume: bool = False
    checkpoint_minutes: float = 10.0


def settings_of(recipe: Recipe, seed: int, precision: str, train_sha256: str, val_sha256: str) -> dict[str, object]:
    """What must be the same for a run to be the same run: the record kept as `settings` in `config.json`."""
    return {**recipe.record(), "seed": seed, "precision": precision, "train": train_sha256, "val": val_sha256}


def changed_settings(stored: dict[str, object], asked: dict[str, object]) -> list[str]:
    """Where two records of settings differ, a phrase each, in a fixed order."""
    names = [*(item.name for item in fields(Recipe)), "seed", "precision", "train", "val"]
    left_out = {"architecture": Recipe().architecture}  # of `Recipe.record`
    stored, asked = left_out | stored, left_out | asked
    phrases = {"train": "another training file", "val": "another validation file", "augment": "another augmentation"}
    return [
        phrases.get(name, f"{name} {str(stored.get(name))[:40]} there, {str(asked.get(name))[:40]} asked")
        for name in names
        if stored.get(name) != asked.get(name)
    ]


@dataclass(frozen=True)
class EvaluateConfig:
    """How a network is tested.

    Attributes
    ----------
    out : Path or None
        A folder for evaluation.json, classes.png and logits.csv.
    resamples : int
        Bootstrap draws behind the 95 % intervals; 0 leaves them out.
    seed : int
        Of the draws.
    device : str or None
        cpu, cuda or cuda:N; by default a GPU where there is one.
    """

    out: Path | None = None
    resamples: int = field(default=1000, metadata={"min": 0, "max": 100_000})
    seed: int = field(default=0, metadata={"min": 0, "max": 2**63 - 1})
    device: str | None = None
