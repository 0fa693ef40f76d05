"""The whole path on generated images: archives, dataset files, two pretrained networks, the three-way study.

In: an output folder. Out: what each stage leaves, in sub-folders of it. Every stage runs as it would on real archives;
only the images are made up, and the sizes are chosen so that two cores need a few minutes. The plan was fixed by
that time alone and is not tuned to favour an arm: which arm wins here says nothing about real images.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fastrad import phantom
from fastrad.archives import read_source
from fastrad.convert.run import ConvertOptions, convert
from fastrad.system.progress import say


@dataclass(frozen=True)
class DemoPlan:
    """How much the demo does.

    Attributes
    ----------
    size : int
        Side of the stored and trained images, pixels.
    pretraining_images : int
        Of each of the two pretraining archives, all splits together.
    pretraining_epochs : int
    pretraining_batch_size : int
        Small, for the sake of enough steps.
    pretraining_lr : float
        The peak rate: with so few steps, the recipe's own does harm before it falls.
    thyroid_images : int
        About one and a half a patient.
    study_epochs : int
        Of each of the 15 networks of the study.
    study_batch_size : int
        Small, since a fold has about 150 training images.
    test_fraction : float
        Share of the patients held out: more than a study would, since so few would leave every interval wide, and since
        initialisation matters where few patients are left to train on.
    seed : int
        Of images and training.
    """

    size: int = 48
    pretraining_images: int = 1600
    pretraining_epochs: int = 8
    pretraining_batch_size: int = 32
    pretraining_lr: float = 0.01
    thyroid_images: int = 450
    study_epochs: int = 4
    study_batch_size: int = 16
    test_fraction: float = 0.6
    seed: int = field(default=0, metadata={"min": 0})


PRETRAINING = ("radiology", "natural")  # kinds of phantoms


def run_demo(out: Path, plan: DemoPlan | None = None) -> Path:
    """Run the demo, or what is left of it.

    Parameters
    ----------
    out : Path
        Receives `archives/`, `datasets/`, `runs/` and `study/`.
    plan : DemoPlan, optional

    Returns
    -------
    Path
        The study's folder.

    Raises
    ------
    FastradError
        As the stages do.
    """
    # The stages that compute import torch, which takes seconds; the archives need not wait for it.
    plan = plan or DemoPlan()
    with _stage("generate"):
        for kind in PRETRAINING:
            phantom.write_phantom(kind, out / "archives" / kind, images=plan.pretraining_images, seed=plan.seed)
        phantom.write_phantom("thyroid", out / "archives" / "thyroid", images=plan.thyroid_images, seed=plan.seed)
    with _stage("convert"):
        for kind in (*PRETRAINING, "thyroid"):
            manifest = read_source(phantom.LAYOUTS[kind], out / "archives" / kind)
            # These patients are made up: nobody is protected by a key in the user's folder.
            convert(manifest, out / "datasets" / kind, ConvertOptions(size=plan.size, keep_patient_ids=True))
    for kind in PRETRAINING:
        with _stage(f"pretrain on {kind}"):
            _pretrain(out, kind, plan)
    with _stage("compare"):
        return _compare(out, plan)


@contextmanager
def _stage(name: str) -> Iterator[None]:
    say(f"demo: {name} ...")
    started = time.monotonic()
    yield
    say(f"demo: {name} took {time.monotonic() - started:.0f} s")


def _pretrain(out: Path, kind: str, plan: DemoPlan) -> None:
    from fastrad.models.weights import load_weights
    from fastrad.train import PretrainConfig, Recipe
    from fastrad.train.pretrain import pretrain

    dataset, run = out / "datasets" / kind, out / "runs" / kind
    weights = pretrain(
        PretrainConfig(
            train=dataset / "train.beton",
            val=dataset / "val.beton",
            out=run,
            recipe=Recipe(
                epochs=plan.pretraining_epochs,
                batch_size=plan.pretraining_batch_size,
                lr=plan.pretraining_lr * 256 / plan.pretraining_batch_size,
            ),
            seed=plan.seed,
            precision="amp",
            resume=(run / "config.json").exists(),
        )
    )
    auroc = load_weights(weights).metadata["metrics"]["val_macro_auroc"]
    say(f"demo: {kind}: validation macro AUROC {auroc:.3f} after so short a training")


def _compare(out: Path, plan: DemoPlan) -> Path:
    from fastrad.study.compare import compare
    from fastrad.study.protocol.config import CompareConfig, Tuning

    return compare(
        CompareConfig(
            dataset=out / "datasets" / "thyroid",
            out=out / "study",
            radimagenet=str(out / "runs" / "radiology" / "weights.safetensors"),
            imagenet=str(out / "runs" / "natural" / "weights.safetensors"),
            tuning=Tuning(epochs=plan.study_epochs, size=plan.size, batch_size=plan.study_batch_size),
            test_fraction=plan.test_fraction,
            seeds=1,
            seed=plan.seed,
            command="fastrad demo",
        )
    )
