"""The pretraining loop.

In: a `PretrainConfig`. Out: a run folder with the best weights by validation macro AUROC, a line of metrics an epoch, a
learning curve, and checkpoints from which an interrupted run goes on as if nothing had happened.

Inside an epoch the host waits for the device only where the losses are read: every `HEARTBEAT` steps, or at each step
on a CPU, where it costs nothing.
"""

from __future__ import annotations

import math
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import fastrad
from fastrad.errors import FastradError, InputError
from fastrad.loading import Batch, Loader
from fastrad.model import Normalisation, load_weights, resnet18, save_weights
from fastrad.progress import Progress, track
from fastrad.storage import Card
from fastrad.training import metrics
from fastrad.training.checkpoint import newest_checkpoint, write_checkpoint
from fastrad.training.config import PretrainConfig, Recipe, settings_of
from fastrad.training.curves import draw_curves
from fastrad.training.distributed import Ranks, joined
from fastrad.training.optimiser import learning_rate, set_lr, sgd
from fastrad.training.precision import Precision, choose_precision
from fastrad.training.run_folder import RunFolder
from fastrad.training.signals import Stopped, StopSignals
from fastrad.training.state import State

HEARTBEAT = 50  # steps between two looks at a GPU


class NonFiniteLossError(FastradError):
    """The loss is no longer a number; the message has the step, the learning rate and the rows of the batch."""


@dataclass(frozen=True)
class _Run:
    """What stays the same from the first step to the last."""

    config: PretrainConfig
    recipe: Recipe
    settings: dict[str, object]
    folder: RunFolder
    ranks: Ranks
    precision: Precision
    normalisation: Normalisation
    train: Loader
    val: Loader
    signals: StopSignals

    @property
    def steps(self) -> int:
        """Steps of one epoch."""
        return len(self.train)

    @property
    def heartbeat(self) -> int:
        return HEARTBEAT if self.ranks.device.type == "cuda" else 1

    def samples_of(self, step: int) -> int:
        """Samples of one step over all ranks: the last step of an epoch may be ragged."""
        return min(self.recipe.batch_size, self.train.num_samples - step * self.recipe.batch_size)

    def say(self, line: str) -> None:
        """Tell the user, once for all ranks."""
        if self.ranks.first:
            print(line, file=sys.stderr, flush=True)

    def shown(self, description: str, total: int) -> AbstractContextManager[Progress | None]:
        """A progress bar on the first rank."""
        return track(description, total) if self.ranks.first else nullcontext()


def pretrain(config: PretrainConfig) -> Path:
    """Train a ResNet-18 from scratch and keep the best weights by validation macro AUROC.

    Returns
    -------
    Path
        `weights.safetensors` in the run folder; at once where the same run is finished there.

    Raises
    ------
    InputError
        If the two files don't belong together, or the run folder holds something else.
    FormatError
        If a dataset file is damaged.
    DamagedSampleError
        If a sample doesn't match its checksum.
    NonFiniteLossError
        If the loss is no longer a number.
    Stopped
        After a stopping signal, with a checkpoint written.
    """
    with joined(config.device) as ranks, StopSignals() as signals:
        run = _prepare(config, ranks, signals)
        if run.folder.begin(run.settings, config.resume):
            run.say(f"{config.out}: this run is finished already; nothing was done")
            return run.folder.weights
        ranks.wait()  # the first rank may only write when all have looked
        if run.precision.notice:
            run.say(run.precision.notice)
        if ranks.first:
            run.folder.write_config(_record(run))
        state = _first_state(run)
        if config.resume:
            _resume(run, state)
        network = _over_ranks(state.model, ranks)
        while state.epoch < run.recipe.epochs:
            _train_epoch(run, state, network)
            _finish_epoch(run, state, *_validate(run, state))
        if state.best_epoch < 0:
            raise NonFiniteLossError(
                f"{config.out}: no epoch gave finite outputs on {config.val}: there are no weights to keep; lower --lr"
            )
        if ranks.first:
            run.folder.write_summary(_summary(run, state))
        ranks.wait()
        return run.folder.weights


def _prepare(config: PretrainConfig, ranks: Ranks, signals: StopSignals) -> _Run:
    """Check what can be checked before anything is written."""
    card, val_card = _matching_cards(config.train, config.val)
    recipe = replace(config.recipe, size=config.recipe.size or int(card.parameters["size"]))
    if recipe.batch_size % ranks.world_size:
        raise InputError(
            f"batch size {recipe.batch_size} is that of all {ranks.world_size} ranks together and can't be shared "
            f"equally; give a multiple of {ranks.world_size}"
        )
    precision = choose_precision(config.precision, ranks.device)
    train, val = (
        Loader(
            path,
            recipe.batch_size // ranks.world_size,
            engine=config.engine,
            size=recipe.size,
            train=training,
            device=ranks.device,
            seed=config.seed,
            workers=config.workers,
            rank=ranks.rank,
            world_size=ranks.world_size,
        )
        for path, training in ((config.train, True), (config.val, False))
    )
    settings = settings_of(recipe, config.seed, precision.name, card.sha256(), val_card.sha256())
    folder, normalisation = RunFolder(config.out), Normalisation.gray(card.mean, card.std)
    return _Run(config, recipe, settings, folder, ranks, precision, normalisation, train, val, signals)


def _matching_cards(train: Path, val: Path) -> tuple[Card, Card]:
    ours, theirs = Card.read(train), Card.read(val)
    for path, card in ((train, ours), (val, theirs)):
        if not card.samples:
            raise InputError(f"{path}: holds no samples; nothing can be trained or validated on it")
        present = [name for name, count in card.class_counts.items() if count]
        if len(present) < 2:
            raise InputError(f"{path}: holds samples of one class ({present[0]}); pretraining needs at least two")
    if ours.classes != theirs.classes:
        odd = sorted(set(theirs.classes) ^ set(ours.classes))
        found = f"{odd[0]!r} is in one of them only" if odd else "they come in another order"
        raise InputError(
            f"{val}: its {len(theirs.classes)} classes are not the {len(ours.classes)} of {train} ({found}); "
            "convert both splits from one archive in one go"
        )
    return ours, theirs


def _record(run: _Run) -> dict[str, Any]:
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
        "versions": {"fastrad": fastrad.__version__, "torch": torch.__version__},
    }


def _first_state(run: _Run) -> State:
    torch.manual_seed(run.config.seed)
    model = resnet18(len(run.train.card.classes)).to(run.ranks.device)
    torch.backends.cudnn.benchmark = True
    optimiser = sgd(model, momentum=run.recipe.momentum, weight_decay=run.recipe.weight_decay)
    return State(model, optimiser, run.precision.scaler(run.ranks.device))


def _over_ranks(model: nn.Module, ranks: Ranks) -> nn.Module:
    if ranks.world_size == 1:
        return model
    return DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)


def _train_epoch(run: _Run, state: State, network: nn.Module) -> None:
    """Train what is left of the epoch; nothing where the run was stopped in the validation behind it."""
    if state.step == 0:
        run.train.epoch = state.epoch
    recipe, all_steps = run.recipe, run.recipe.epochs * run.steps
    left = run.train.num_samples - state.step * recipe.batch_size
    pending: list[tuple[int, float, Tensor, Tensor]] = []
    before, began = state.seconds, time.monotonic()
    saved, trained = began, 0
    with run.shown(f"epoch {state.epoch + 1}/{recipe.epochs}", max(left, 0)) as bar:
        batches = iter(run.train) if state.step < run.steps else iter(())
        while state.step < run.steps:
            asked = time.monotonic()
            batch = next(batches)
            state.waited += time.monotonic() - asked
            done = state.epoch * run.steps + state.step
            lr = learning_rate(done, all_steps, peak=recipe.peak_lr, warmup=recipe.warmup)
            set_lr(state.optimiser, lr)
            loss = _train_step(run, state, network, batch)
            pending.append((done, lr, loss, batch.rows))
            trained += run.samples_of(state.step)
            state.step += 1
            if state.step % run.heartbeat and state.step < run.steps:
                continue
            due = run.ranks.first and time.monotonic() - saved > 60 * run.config.checkpoint_minutes
            loss_sum, due_anywhere, stop = run.ranks.sums(_read_losses(pending), due, run.signals.received)
            pending.clear()
            state.loss_sum += loss_sum
            state.seconds = before + time.monotonic() - began
            if bar is not None:
                wait = f"{state.waited / state.seconds:.0%}"
                bar.advance(trained, loss=f"{loss_sum / trained:.3f}", lr=f"{lr:.3g}", wait=wait)
            trained = 0
            if stop or (due_anywhere and state.step < run.steps):
                _save(run, state)
                saved = time.monotonic()
            if stop:
                raise _stopped(run, state)


def _train_step(run: _Run, state: State, network: nn.Module, batch: Batch) -> Tensor:
    """One step of the optimiser; the batch's summed loss, still on the device.

    Each sample has the same weight in every step: the gradient of a ragged batch is smaller by what it lacks.
    """
    ragged = run.ranks.world_size > 1 and run.samples_of(state.step) < run.recipe.batch_size
    network.train(len(batch.labels) > 1)  # one sample has no variance: it is normalised by the running statistics
    state.optimiser.zero_grad(set_to_none=not ragged)
    # ranks whose last batches differ can't meet in DistributedDataParallel: their gradients are summed below
    with network.no_sync() if ragged else nullcontext():  # type: ignore[operator,union-attr]
        if len(batch.labels):
            with run.precision.autocast(run.ranks.device):
                logits = network(run.normalisation.apply(batch.images))
            loss = functional.cross_entropy(
                logits.float(), batch.labels, label_smoothing=run.recipe.label_smoothing, reduction="sum"
            )
            ranks = run.ranks.world_size if not ragged else 1  # DistributedDataParallel divides by the ranks
            state.scaler.scale(loss * (ranks / run.recipe.batch_size)).backward()
            loss = loss.detach()
        else:
            loss = torch.zeros((), device=run.ranks.device)
    if ragged:
        run.ranks.add_([_gradient(parameter) for parameter in state.model.parameters()])
    state.scaler.step(state.optimiser)
    state.scaler.update()
    run.ranks.average_([buffer for buffer in state.model.buffers() if buffer.is_floating_point()])
    return loss


def _gradient(parameter: nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


def _read_losses(pending: list[tuple[int, float, Tensor, Tensor]]) -> float:
    """Bring the losses of the last steps to the host, add them up, and stop at the first that is not finite."""
    values = torch.stack([loss for _, _, loss, _ in pending]).tolist()
    for value, (step, lr, _, rows) in zip(values, pending, strict=True):
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"the loss is {value} at step {step} (learning rate {lr:.4g}; manifest rows "
                f"{', '.join(map(str, rows.tolist()))}); lower --lr, or look at these rows with `fastrad inspect`"
            )
    return math.fsum(values)


def _validate(run: _Run, state: State) -> tuple[metrics.Metrics, Tensor]:
    """Metrics and confusion counts over the whole validation file, the same on every rank."""
    state.model.eval()
    logits, labels = [], []
    run.val.epoch = 0
    with torch.inference_mode(), run.shown("validation", run.val.num_samples) as bar:
        for step, batch in enumerate(run.val, 1):
            with run.precision.autocast(run.ranks.device):
                logits.append(state.model(run.normalisation.apply(batch.images)).float())
            labels.append(batch.labels)
            if bar is not None:
                bar.advance(min(run.recipe.batch_size, run.val.num_samples - (step - 1) * run.recipe.batch_size))
            if step % run.heartbeat == 0 and run.ranks.sums(run.signals.received)[0]:
                _save(run, state)
                raise _stopped(run, state)
        everything = run.ranks.gather(torch.cat(logits)), run.ranks.gather(torch.cat(labels))
        return metrics.evaluate(*everything), metrics.confusion(*everything)


def _finish_epoch(run: _Run, state: State, found: metrics.Metrics, confusion: Tensor) -> None:
    """Record the epoch; the checkpoint comes before the best weights, which can be made from it again."""
    auroc = found.macro_auroc
    state.rows.append(
        {
            "epoch": state.epoch + 1,
            "train_loss": state.loss_sum / run.train.num_samples,
            "val_loss": found.loss,
            "val_macro_auroc": auroc,
            "val_micro_auroc": found.micro_auroc,
            "val_top1": found.top1,
            "val_top5": found.top5,
            "val_balanced_accuracy": found.balanced_accuracy,
            "val_classes_absent": found.classes_absent,
            "lr": state.optimiser.param_groups[0]["lr"],
            "size": run.recipe.size,
            "images_per_second": round(run.train.num_samples / max(state.seconds, 1e-9), 1),
            "seconds": round(state.seconds, 2),
            "loader_wait": round(state.waited / max(state.seconds, 1e-9), 4),
        }
    )
    if auroc > state.best_auroc:
        state.best_epoch, state.best_auroc = state.epoch, auroc
        state.class_auroc, state.confusion = list(found.class_auroc), confusion.tolist()
    state.epoch, state.step = state.epoch + 1, 0
    state.loss_sum = state.seconds = state.waited = 0.0
    _save(run, state)
    if run.ranks.first:
        _publish(run, state)
    run.say(
        f"epoch {state.epoch}/{run.recipe.epochs}: macro AUROC {auroc:.4f}, micro {found.micro_auroc:.4f}, "
        f"top-1 {found.top1:.4f}, balanced accuracy {found.balanced_accuracy:.4f}, val loss {found.loss:.4f}"
        + ("" if math.isfinite(found.loss) else " (outputs on the validation file are not finite)")
        + (f" ({found.classes_absent} classes absent from validation)" if found.classes_absent else "")
    )


def _publish(run: _Run, state: State) -> None:
    """Bring the run folder's products up to the state: also after a kill between checkpoint and products."""
    run.folder.write_metrics(state.rows)
    draw_curves(run.folder.curves, state.rows, synthetic=run.train.card.synthetic)
    if state.best_epoch >= 0 and state.best_epoch == state.epoch - 1:
        save_weights(run.folder.weights, state.model.state_dict(), _weights_metadata(run, state))


def _weights_metadata(run: _Run, state: State) -> dict[str, Any]:
    card = run.train.card
    return {
        "architecture": "resnet18, one channel",
        "normalisation": {"mean": list(run.normalisation.mean), "std": list(run.normalisation.std)},
        "size": run.recipe.size,
        "classes": card.classes,
        "card_sha256": card.sha256(),
        "dataset": {"layout": card.layout, "split": card.split, "samples": card.samples},
        "synthetic": card.synthetic,
        "metrics": state.rows[state.best_epoch],
        "recipe": asdict(run.recipe),
        "seed": run.config.seed,
        "precision": run.precision.name,
        "fastrad": fastrad.__version__,
    }


def _summary(run: _Run, state: State) -> dict[str, Any]:
    return {
        "best": state.rows[state.best_epoch],
        "last": state.rows[-1],
        "class_auroc": {
            name: None if math.isnan(value) else value
            for name, value in zip(run.train.card.classes, state.class_auroc, strict=True)
        },
        "confusion": state.confusion,
        "synthetic": run.train.card.synthetic,
    }


def _save(run: _Run, state: State) -> None:
    if run.ranks.first:
        content = {"settings": run.settings, "loader": run.train.state_dict(), **state.content()}
        write_checkpoint(run.folder.checkpoints, state.epoch * run.steps + state.step, content)


def _resume(run: _Run, state: State) -> None:
    content, refused = newest_checkpoint(run.folder.checkpoints, run.settings)
    for line in refused:
        run.say(line)
    if content is None:
        run.say(f"{run.folder.path}: no checkpoint yet, training starts from the beginning")
        return
    state.load(content)
    if state.step:
        run.train.load_state_dict(content["loader"])
    run.say(f"going on after epoch {state.epoch}" + (f", step {state.step} of {run.steps}" if state.step else ""))
    if run.ranks.first and state.rows and state.step == 0 and not _weights_are_of(run, state.best_epoch):
        _publish(run, state)


def _weights_are_of(run: _Run, epoch: int) -> bool:
    if not run.folder.weights.is_file():
        return epoch < 0
    return load_weights(run.folder.weights).metadata["metrics"]["epoch"] == epoch + 1


def _stopped(run: _Run, state: State) -> Stopped:
    return Stopped(
        run.signals.received,
        f"stopped by a signal in epoch {state.epoch + 1} after step {state.step} of {run.steps}; a checkpoint is in "
        f"{run.folder.checkpoints}: go on with --resume",
    )
