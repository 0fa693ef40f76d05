"""What a run leaves in its folder after an epoch and at its end, and the way back from a checkpoint."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

import fastrad
from fastrad.errors import FormatError, InputError
from fastrad.models.card import model_card
from fastrad.models.seen import KEY, datasets_seen
from fastrad.models.weights import load_weights, save_weights
from fastrad.system.files import write_atomically
from fastrad.train.checkpoint import State, newest_checkpoint, write_checkpoint
from fastrad.train.pictures import draw_classes, draw_curves
from fastrad.train.run import Run


def record(run: Run) -> dict[str, Any]:
    """The content of config.json: the settings, which decide the numbers, and the circumstances."""
    return {
        "settings": run.settings,
        "train": str(run.config.train),
        "val": str(run.config.val),
        "classes": run.train.card.classes,
        "synthetic": run.train.card.synthetic,
        "peak_lr": run.recipe.peak_lr,
        "device": run.ranks.device.type,
        "ranks": run.ranks.world_size,
        "engine": run.train.engine,
        "workers": run.train.workers,
        "threads": torch.get_num_threads(),
        "deterministic": run.config.deterministic,
        "versions": {"fastrad": fastrad.__version__, "torch": torch.__version__},
    }


def publish(run: Run, state: State) -> None:
    """Bring the run folder's products up to the state: also after a kill between checkpoint and products."""
    run.folder.write_metrics(state.rows)
    write_events(run.folder.path, state.rows)
    draw_curves(run.folder.curves, state.rows, synthetic=run.train.card.synthetic)
    if state.best_epoch >= 0 and state.best_epoch == state.epoch - 1:
        save_weights(run.folder.weights, state.evaluated.state_dict(), _weights_metadata(run, state))


def write_events(folder: Path, rows: Sequence[Mapping[str, float]]) -> bool:
    """Write every epoch's numbers for TensorBoard anew, as `metrics.csv` is: after a resumption none is there twice.

    Parameters
    ----------
    folder : Path
        The run folder.
    rows : sequence of mappings
        With `epoch`; every other number becomes a curve over it.

    Returns
    -------
    bool
        False where TensorBoard is not installed: then nothing is written.
    """
    if find_spec("tensorboard") is None:
        return False
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as scratch:
        with SummaryWriter(scratch) as writer:
            for row in rows:
                for name, value in row.items():
                    if name != "epoch":
                        writer.add_scalar(name, value, int(row["epoch"]), walltime=float(row["epoch"]))
        (events,) = Path(scratch).iterdir()  # under a name with the host's, which is nobody's business
        target = folder / "tensorboard"
        target.mkdir(exist_ok=True)
        write_atomically(target / "events.out.tfevents.run", events.read_bytes())
    return True


def _weights_metadata(run: Run, state: State) -> dict[str, Any]:
    card = run.train.card
    present = sum(count > 0 for count in card.class_counts.values())  # --drop may have left out all of a class
    return {
        "architecture": f"{run.recipe.architecture}, one channel",
        "normalisation": {"mean": list(run.normalisation.mean), "std": list(run.normalisation.std)},
        "size": run.recipe.size,
        "classes": card.classes,
        "card_sha256": card.sha256(),
        "seen": [*card.identities(), *run.val.card.identities()],  # the second chose the epoch
        KEY: datasets_seen([(run.config.train, card), (run.config.val, run.val.card)], run.folder.path),
        "dataset": {"layout": card.layout, "split": card.split, "samples": card.samples, "classes": present},
        "synthetic": card.synthetic,
        "parameters": card.parameters,  # with the crop: `predict` treats images in files alike
        "source_options": {name: value for name, value in card.source_options.items() if name == "crop"},
        "metrics": state.rows[state.best_epoch],
        "recipe": run.recipe.record(),
        "seed": run.config.seed,
        "precision": run.precision.name,
        "fastrad": fastrad.__version__,
    }


def finish(run: Run, state: State) -> None:
    """Write the picture of the classes, the model card, and last the summary, which marks the run as finished."""
    card, best = run.train.card, state.rows[state.best_epoch]
    kind = "synthetic images, " if card.synthetic else ""
    title = f"{kind}epoch {best['epoch']}: macro AUROC {best['val_macro_auroc']:.4f}, top-1 {best['val_top1']:.4f}"
    draw_classes(run.folder.classes, card.classes, state.class_auroc, np.asarray(state.confusion), title=title)
    note = "One channel: N x 1 x H x W, float32."
    write_atomically(run.folder.model_card, model_card(_weights_metadata(run, state), note).encode())
    run.folder.write_summary(
        {
            "best": _json_numbers(best),
            "last": _json_numbers(state.rows[-1]),
            "class_auroc": _json_numbers(dict(zip(card.classes, state.class_auroc, strict=True))),
            "confusion": state.confusion,
            "synthetic": card.synthetic,
        }
    )


def _epoch_of_weights(run: Run) -> int | None:
    """The epoch, from 1, whose weights lie in the run folder."""
    if not run.folder.weights.is_file():
        return None
    return load_weights(run.folder.weights).metadata.get("metrics", {}).get("epoch")


def _json_numbers(values: dict[str, Any]) -> dict[str, Any]:
    """The same, with null for what is not finite: JSON has no word for it."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def save(run: Run, state: State) -> None:
    """Write a checkpoint; every rank waits for it, since a launcher ends the others once the first has gone."""
    if run.ranks.first:
        content = {"settings": run.settings, "loader": run.train.state_dict(), **state.content()}
        write_checkpoint(run.folder.checkpoints, state.epoch * run.steps + state.step, content)
    run.ranks.wait()


def _check(run: Run, state: State, content: dict[str, Any]) -> None:
    """Refuse a checkpoint that does not fit the run; raises FormatError."""
    state.check(content)
    progress = content["progress"]
    if progress["epoch"] > run.recipe.epochs or progress["step"] >= max(1, run.steps):
        raise FormatError("it is further than the run goes")
    if progress["step"]:
        try:
            run.train.check_state(content.get("loader"))
        except InputError as error:
            raise FormatError(str(error)) from None


def resume(run: Run, state: State) -> None:
    """Go back to the newest sound checkpoint, where there is one, and say so."""
    content, refused = newest_checkpoint(run.folder.checkpoints, run.settings, partial(_check, run, state))
    for line in refused:
        run.say(line)
    if content is None:
        run.say(f"{run.folder.path}: no checkpoint yet, training starts from the beginning")
        return
    state.load(content)
    if state.step:
        run.train.load_state_dict(content["loader"])
    at_best = state.step == 0 and state.best_epoch == state.epoch - 1  # then `publish` writes its weights again
    if state.best_epoch >= 0 and not at_best and _epoch_of_weights(run) != state.best_epoch + 1:
        run.say(
            f"{run.folder.weights}: the weights of epoch {state.best_epoch + 1}, the best so far, were replaced in an "
            "epoch whose checkpoint is lost; the best of those that follow is kept"
        )
        state.best_epoch, state.best_auroc = -1, -math.inf
    run.say(f"going on after epoch {state.epoch}" + (f", step {state.step} of {run.steps}" if state.step else ""))
    if run.ranks.first and state.rows and state.step == 0:
        publish(run, state)
