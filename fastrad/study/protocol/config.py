"""The settings of a study: what is compared (`CompareConfig`), and how each network is tuned (`Tuning`).

Nothing here needs torch: the command line makes its options from these classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from fastrad.errors import OptionError
from fastrad.study.protocol.abstract import TEST_FRACTION


@dataclass(frozen=True)
class Tuning:
    """How every network of the study is tuned; the same for all arms.

    Attributes
    ----------
    epochs : int
        Epochs of a run at most; `patience` may end it earlier.
    size : int
        Side of the square input, pixels.
    batch_size : int
        Images a training step.
    learning_rate : float
        AdamW's peak, after a linear warm-up over the first tenth of the steps; a cosine to zero follows.
    backbone_rate : float
        The backbone's share of that rate; 0 freezes it (normalisation statistics included).
    head_first : float
        Share of the epochs in which the head alone learns, before all layers do, with a warm-up of their own.
    weight_decay : float
        On convolution and linear weights; none on biases and normalisation.
    patience : int
        Epochs without a better validation AUROC after which a run ends.
    class_weighting : bool
        Weight benign and malignant alike in the loss; the logits are shifted back to the training prevalence, so that
        they remain calibrated.
    flip_average : bool
        Score an image as the mean logit of itself and its mirror image.
    """

    epochs: int = 30
    size: int = field(default=224, metadata={"default": "as stored"})
    batch_size: int = 32
    learning_rate: float = 3e-4
    backbone_rate: float = 1.0
    weight_decay: float = 0.01
    patience: int = 10
    class_weighting: bool = False
    flip_average: bool = True
    head_first: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 10_000),
            ("size", 32, 4096),
            ("batch_size", 2, 1_000_000),
            ("patience", 1, 10_000),
        ):
            if getattr(self, name) < low:
                raise OptionError(f"{name} is {getattr(self, name)}, it must be at least {low}")
            if getattr(self, name) > high:
                raise OptionError(f"{name} is {getattr(self, name)}, it must be at most {high:,}")
        if not (0 < self.learning_rate <= 1000 and 0 <= self.weight_decay <= 1000 and 0 <= self.backbone_rate <= 1):
            raise OptionError(
                f"learning rate {self.learning_rate} must be above 0, weight decay {self.weight_decay} not below 0, "
                f"both at most 1000, the backbone's share of the rate {self.backbone_rate} between 0 and 1"
            )
        if not 0 <= self.head_first < 1:
            raise OptionError(f"head_first is {self.head_first}: a share of the epochs, 0 or more and less than 1")


def _named_weights(option: str, words: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found = []
    for word in words:
        name, separator, weights = word.partition("=")
        if not separator or not name or not weights:
            raise OptionError(f"{option} {word}: give NAME=WEIGHTS")
        found.append((name, weights))
    return tuple(found)


def _numbers_of_patients(text: str) -> tuple[int, ...]:
    """The numbers of `25,50,100,all`; all patients are always in the study."""
    words = [word.strip() for word in text.split(",")]
    numbers = [word for word in words if word != "all"]
    if not all(word.isascii() and word.isdigit() and 0 < int(word) < 2**31 for word in numbers):
        raise OptionError(f"--learning-curve {text}: give numbers of patients, for example 25,50,100,all")
    return tuple(int(word) for word in numbers)


def _part_of_the_networks(text: str) -> tuple[int, int]:
    """The numbers of `K/N`."""
    words = text.split("/")
    if len(words) == 2 and all(word.isascii() and word.isdigit() and len(word) < 6 for word in words):
        number, of = int(words[0]), int(words[1])
        if 1 <= number <= of:
            return number, of
    raise OptionError(f"--only {text}: give K/N, the K-th of N parts, for example 1/4")


def _named_recipes(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(","))


def _further_arms(option: str) -> dict[str, object]:
    parse = partial(_named_weights, option)
    return {"option": option, "metavar": "NAME=WEIGHTS", "multiple": True, "parse": parse}


@dataclass(frozen=True)
class CompareConfig:
    """What is compared, and how.

    Attributes
    ----------
    dataset : Path
        A `.beton` file, or the folder of an `all.beton`.
    out : Path
        The study's folder.
    radimagenet : str or tuple of str
        Weights of `fastrad pretrain`, or any ResNet's; again for each further start of the arm, a network that was
        pretrained with another seed. The arm without transfer is the same network.
    imagenet : str or tuple of str
        ImageNet weights of the same network: downloaded from torchvision, or a file; again for each further start.
    arms : tuple of (name, weights file)
        A further arm, ResNet-18 to 152; may be given several times, with the same name for a further start.
    frozen : tuple of (name, weights file)
        A further arm that is not tuned: its features under a logistic regression.
    null_arm : bool
        A second arm without transfer, from other random starts: a control that must show no difference.
    tuning : Tuning
    seed : int
        Of splits and runs.
    split_seed : int or None
        Of the splits alone; by default the seed.
    seeds : int
        Repetitions of everything with other seeds: `seed`, `seed + 1`, ...
    folds : int
        Folds of the cross-validation.
    test_fraction : float
        Share of the patients that is held out.
    splits : Path or None
        CSV patient,set[,fold] instead of drawn splits: by time, by site.
    learning_curve : tuple of int
        Tune everything again, with the first seed, with so many training patients a fold.
    external : tuple of Path
        A further dataset, like the study's, that every network scores; may be repeated.
    margin : float or None
        Two arms count as equivalent where two one-sided tests show that their AUROCs differ by less.
    subgroups : tuple of str
        Look at the test patients by the values of this column of `attributes`.
    attributes : Path or None
        CSV patient,COLUMN... for --subgroup, by default the file of --splits; its columns are counted among
        development and test patients.
    pseudonym_key : Path or None
        The key of the dataset's conversion, where `splits` and `attributes` name patients by their own ids; by default
        the one in the user's configuration folder, if there is one.
    positive : str or None
        The class that counts as malignant, if it has another name.
    title : str or None
        The report's headline; by default it names the classes. One with "thyroid" in it sets the abstract's figures
        beside the study's, which the layouts of thyroid archives do by themselves.
    drop_seen : bool
        Leave out test patients of whom the weights of an arm have seen an image.
    accept_seen : str
        Take test and external patients whose images the weights or the study have seen; the report gives your REASON.
    device : str or None
        For example cuda; by default a GPU where there is one.
    jobs : int
        Networks that are tuned at once on this machine, in processes of their own; on every GPU in turn.
    only : (int, int)
        Tune the K-th of every N networks alone, where N machines share the study's folder.
    search : bool
        Choose each arm's recipe in each fold from one grid, by inner validation inside the fold's training patients;
        the networks of the fixed recipe are tuned too.
    grid : tuple of str
        Recipes that --search tries, by name; by default all of them.
    plan : bool
        Write OUT/plan.json, what the study is going to do, and stop.
    development_only : bool
        Tune without a score of any test patient, and stop.
    unlock_test : bool
        Score the test patients with the networks of --development-only, once, and write the report.
    command : str
        As typed, for the record.
    """

    dataset: Path = field(metadata={"option": ""})
    out: Path = field(metadata={"required": True})
    radimagenet: str | tuple[str, ...] = field(
        metadata={"required": True, "metavar": "WEIGHTS", "multiple": True, "parse": tuple}
    )
    imagenet: str | tuple[str, ...] = field(
        default="torchvision",
        metadata={"metavar": "torchvision|FILE", "multiple": True, "parse": tuple, "default": "torchvision"},
    )
    arms: tuple[tuple[str, str], ...] = field(default=(), metadata=_further_arms("--arm"))
    frozen: tuple[tuple[str, str], ...] = field(default=(), metadata=_further_arms("--frozen"))
    null_arm: bool = False
    tuning: Tuning = field(default_factory=Tuning, metadata={"option": ""})
    seed: int = field(default=0, metadata={"min": 0, "max": 2**62})
    split_seed: int | None = field(default=None, metadata={"min": 0, "max": 2**62})
    seeds: int = field(default=3, metadata={"min": 1, "max": 1000})
    folds: int = 5
    test_fraction: float = field(default=TEST_FRACTION, metadata={"default": "145/721"})
    splits: Path | None = None
    learning_curve: tuple[int, ...] = field(
        default=(), metadata={"metavar": "25,50,100,all", "parse": _numbers_of_patients}
    )
    external: tuple[Path, ...] = ()
    margin: float | None = field(default=None, metadata={"metavar": "AUROC"})
    subgroups: tuple[str, ...] = field(default=(), metadata={"option": "--subgroup", "metavar": "COLUMN"})
    attributes: Path | None = None
    pseudonym_key: Path | None = None
    positive: str | None = field(default=None, metadata={"metavar": "LABEL"})
    title: str | None = None
    drop_seen: bool = False
    accept_seen: str = field(default="", metadata={"metavar": "REASON"})
    device: str | None = None
    jobs: int = field(default=1, metadata={"min": 1, "max": 1024})
    only: tuple[int, int] = field(default=(1, 1), metadata={"metavar": "K/N", "parse": _part_of_the_networks})
    search: bool = False
    grid: tuple[str, ...] = field(default=(), metadata={"metavar": "1e-4,3e-4x0.1,frozen", "parse": _named_recipes})
    plan: bool = False
    development_only: bool = False
    unlock_test: bool = False
    command: str = field(default="", metadata={"option": ""})

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= 1000:
            raise OptionError(f"--seeds {self.seeds}: choose 1 to 1000")
        if self.drop_seen and self.accept_seen:
            raise OptionError("--drop-seen and --accept-seen contradict each other; give one of them")
        if self.margin is not None and not 0 < self.margin < 0.5:
            raise OptionError(f"--margin {self.margin:g}: give a difference of two AUROCs above 0, for example 0.03")
        if self.grid and not self.search:
            raise OptionError("--grid names what --search tries; give --search too")
        if self.plan + self.development_only + self.unlock_test > 1:
            raise OptionError("--plan, --development-only and --unlock-test are three steps: give one at a time")
