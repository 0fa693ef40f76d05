"""The whole of the controls: archives, dataset files, pretrained networks, scores, `controls.json`."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd

from fastrad import phantom
from fastrad.archives import read_source
from fastrad.archives.base import bounding_box
from fastrad.archives.manifest import Manifest
from fastrad.controls.comparison import compared, report
from fastrad.controls.plan import NETWORKS, ControlsPlan
from fastrad.controls.scores import frozen_scores, tuned_scores
from fastrad.convert.run import ConvertOptions, convert
from fastrad.errors import FastradError
from fastrad.phantom.archive import BOX_COLUMNS, TRUTH
from fastrad.study.protocol.search import require_regression
from fastrad.system.files import write_json
from fastrad.system.progress import say


def run_controls(out: Path, plan: ControlsPlan | None = None) -> dict:
    """Run the controls, or what is left of them.

    Parameters
    ----------
    out : Path
        Receives `archives/`, `datasets/`, `runs/` and `controls.json`.
    plan : ControlsPlan, optional

    Returns
    -------
    dict
        What `controls.json` holds.

    Raises
    ------
    FastradError
        As the stages do.
    """
    require_regression("fastrad controls")
    plan = plan or ControlsPlan()
    began = time.monotonic()
    for kind, images, seed in (
        ("radiology", plan.pretraining_images, plan.seed),
        ("natural", plan.pretraining_images, plan.seed),
        ("same task", plan.pretraining_images, plan.seed + 1_000_000),  # other patients
        ("target", plan.target_images, plan.seed),
    ):
        drawn = "thyroid" if kind in ("same task", "target") else kind
        archive = out / "archives" / kind.replace(" ", "-")
        phantom.write_phantom(drawn, archive, images=images, seed=seed, size=96)
        manifest = _cropped(archive, plan, splits=kind == "same task") if drawn == "thyroid" else None
        manifest = manifest or read_source(phantom.LAYOUTS[drawn], archive)
        convert(manifest, out / "datasets" / archive.name, ConvertOptions(size=plan.size, keep_patient_ids=True))
    weights = {name: _pretrain(out, name, plan) for name in ("radiology", "natural", "same task")}

    target = out / "datasets" / "target" / "all.beton"
    scores, labels = frozen_scores(target, weights, plan)
    found = report(labels, scores, plan)
    if plan.tuned:
        tuned, recipes = tuned_scores(target, weights, plan, out / "tuned")
        found["tuned"] = {**compared(labels, tuned), "recipes": recipes}
    found["seconds"] = round(time.monotonic() - began, 1)
    write_json(out / "controls.json", found)
    return found


def _cropped(archive: Path, plan: ControlsPlan, *, splits: bool) -> Manifest:
    """A thyroid archive's nodules with their margin; with `splits`, every seventh patient validates."""
    truth = pd.read_csv(archive / TRUTH)
    if not set(BOX_COLUMNS) <= set(truth.columns):
        raise FastradError(f"{archive}: was drawn by an earlier version, without outlines; choose another folder")
    table = pd.read_csv(archive / "labels.csv", dtype=str).merge(truth[["path", *BOX_COLUMNS]], on="path")
    edges = zip(*(table[name] for name in BOX_COLUMNS), strict=True)
    boxes = [bounding_box([(l, t), (r - 1, b - 1)], plan.margin) for l, t, r, b in edges]  # noqa: E741
    patient = pd.factorize(table["patient"])[0]
    split = np.where(patient % 7 == 0, "val", "train").tolist() if splits else ""
    return Manifest.from_columns(
        archive,
        "table",
        path=table["path"].tolist(),
        label=table["label"].tolist(),
        patient=table["patient"].tolist(),
        split=split,
        box=boxes,
        synthetic=True,
    )


def _pretrain(out: Path, name: str, plan: ControlsPlan) -> Path:
    from fastrad.train import PretrainConfig, Recipe
    from fastrad.train.pretrain import pretrain

    folder = name.replace(" ", "-")
    dataset, run = out / "datasets" / folder, out / "runs" / folder
    say(f"controls: a network {NETWORKS[name]} ...")
    recipe = Recipe(
        epochs=plan.pretraining_epochs,
        batch_size=plan.pretraining_batch_size,
        lr=plan.pretraining_lr * 256 / plan.pretraining_batch_size,
    )
    config = PretrainConfig(
        train=dataset / "train.beton",
        val=dataset / "val.beton",
        out=run,
        recipe=recipe,
        seed=plan.seed,
        precision="amp",
        device=plan.device,
        resume=(run / "config.json").exists(),
    )
    return pretrain(config)
