"""The pretraining loop: from a `PretrainConfig` to a run folder with the best weights by validation macro AUROC.

There are a line of metrics an epoch, and checkpoints from which an interrupted run goes on as if nothing had happened:
with the same batches, and on a CPU the same bits; on a GPU to the last digits, unless the run is `deterministic`.
Inside an epoch the host waits for the device only where the losses are read: every `HEARTBEAT` steps, or at each step
on a CPU, where it costs nothing.
"""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from fastrad.errors import FastradError
from fastrad.loading import Batch
from fastrad.models.resnet import resnet
from fastrad.system.progress import time_text
from fastrad.train import metrics
from fastrad.train.checkpoint import State
from fastrad.train.config import PretrainConfig
from fastrad.train.products import finish, publish, record, resume, save
from fastrad.train.ranks import joined
from fastrad.train.repeatable import repeatable
from fastrad.train.run import Run, StopSignals, prepare, stopped
from fastrad.train.schedule import learning_rate, set_lr, sgd
from fastrad.train.step import Learner, timed_convolutions

WORTH_SAYING = 0.05  # of the time, spent waiting for images: a line of progress has 80 columns


class NonFiniteLossError(FastradError):
    """The loss is no longer a number; the message has the step, the learning rate and the rows of the batch.

    Attributes
    ----------
    of_all_ranks : bool
        All ranks raise it, and none waits for another.
    """

    of_all_ranks = True


def pretrain(config: PretrainConfig) -> Path:
    """Train a ResNet from scratch and keep the best weights by validation macro AUROC.

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
    algorithms = repeatable() if config.deterministic else timed_convolutions()
    with joined(config.device) as ranks, StopSignals() as signals, algorithms, ExitStack() as at_end:
        run = prepare(config, ranks, signals)
        if run.folder.begin(run.settings, config.resume):
            run.say(f"{config.out}: this run is finished already; nothing was done")
            return run.folder.weights
        ranks.wait()  # the first rank may only write when all have looked
        if ranks.first:
            run.folder.lock()
            at_end.callback(run.folder.unlock)
        if run.precision.notice:
            run.say(run.precision.notice)
        if not config.recipe.batch_size and ranks.device.type == "cuda":
            run.say(
                f"batches of {run.recipe.batch_size} images suit this GPU: the peak learning rate is "
                f"{run.recipe.peak_lr:g} ({run.recipe.lr:g} for 256 images); --batch-size sets another"
            )
        if ranks.first:
            run.folder.write_config(record(run))
        state = _first_state(run)
        if config.resume:
            resume(run, state)
        if config.compile:
            sizes = sorted({run.recipe.training_size(epoch) for epoch in range(run.recipe.epochs)})
            if notice := state.learner.compile(sizes, run.train.batch_size):
                run.say(notice)
        while state.epoch < run.recipe.epochs:
            _train_epoch(run, state)
            _finish_epoch(run, state, *_validate(run, state))
        if state.best_epoch < 0:
            raise NonFiniteLossError(
                f"{config.out}: no epoch gave finite outputs on {config.val}: there are no weights to keep; lower --lr"
            )
        if ranks.first:
            finish(run, state)
        ranks.wait()
        return run.folder.weights


def _first_state(run: Run) -> State:
    recipe = run.recipe
    torch.manual_seed(run.config.seed)
    model = resnet(recipe.architecture, len(run.train.card.classes)).to(run.ranks.device)
    optimiser = sgd(model, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    return State(
        Learner(
            model,
            optimiser,
            run.precision,
            run.normalisation,
            run.ranks,
            clip_norm=recipe.clip_norm,
            ema=recipe.ema,
        )
    )


def _train_epoch(run: Run, state: State) -> None:
    """Train what is left of the epoch: nothing where the run was stopped in the validation behind it."""
    if state.step == run.steps:
        return
    if state.step == 0:
        run.train.epoch = state.epoch
    recipe, all_steps = run.recipe, run.recipe.epochs * run.steps
    rising = round(recipe.warmup * all_steps)
    run.train.size = recipe.training_size(state.epoch)
    pending: list[tuple[int, float, Tensor, Tensor]] = []
    before, began = state.seconds, time.monotonic()
    saved, trained = began, 0
    first, left = state.step, run.train.num_samples - state.step * recipe.batch_size
    with run.shown(f"epoch {state.epoch + 1}/{recipe.epochs}", left) as bar:
        batches = iter(run.train)
        while state.step < run.steps:
            waited = run.train.waited
            batch = next(batches)
            state.waited += run.train.waited - waited
            done = state.epoch * run.steps + state.step
            lr = learning_rate(done, all_steps, rising=rising, peak=recipe.peak_lr)
            set_lr(state.learner.optimiser, lr)
            loss = _train_step(run, state, batch)
            pending.append((done, lr, loss, batch.rows))
            trained += run.samples_of(state.step)
            state.step += 1
            if state.step % run.heartbeat and state.step < run.steps:
                continue
            due = run.ranks.first and time.monotonic() - saved > 60 * run.config.checkpoint_minutes
            loss_sum, due_anywhere, stop = run.ranks.sums(_read_losses(pending), due, run.signals.received)
            if not math.isfinite(loss_sum):  # on whichever rank: all have the same sum, and all end here
                raise _non_finite(pending)
            pending.clear()
            state.loss_sum += loss_sum
            state.seconds = before + time.monotonic() - began
            if bar is not None:
                notes = {"loss": f"{loss_sum / trained:.3f}"}
                if (waited := state.waited / state.seconds) >= WORTH_SAYING:
                    notes["wait"] = f"{waited:.0%}"
                if recipe.epochs > 1:
                    passed = (time.monotonic() - began) / (state.step - first)  # of a step of this epoch
                    notes["run"] = f"{time_text(passed * _steps_left(run, state))} left"
                bar.advance(trained, **notes)
            trained = 0
            if stop or (due_anywhere and state.step < run.steps):
                save(run, state)
                saved = time.monotonic()
            if stop:
                raise stopped(run, state.epoch, state.step)
        ended = next(batches, None)  # an engine that is broken off before its end starts anew in the next epoch
        assert ended is None


def _steps_left(run: Run, state: State) -> float:
    """What is left of the run's training, in steps of the present size: a step takes as long as it has pixels."""
    area = [run.recipe.training_size(epoch) ** 2 for epoch in range(state.epoch, run.recipe.epochs)]
    return sum(area) / area[0] * run.steps - state.step


def _train_step(run: Run, state: State, batch: Batch) -> Tensor:
    """One step of the optimiser; the batch's summed loss, still on the device.

    Each sample has the same weight in every step: the gradient of a ragged batch is smaller by what it lacks.
    """
    summed_loss = partial(
        functional.cross_entropy, target=batch.labels, label_smoothing=run.recipe.label_smoothing, reduction="sum"
    )
    return state.learner.step(
        batch.images,
        summed_loss,
        number=state.epoch * run.steps + state.step,
        divisor=run.recipe.batch_size,
        ragged=run.is_ragged(state.step),
    )


def _read_losses(pending: list[tuple[int, float, Tensor, Tensor]]) -> float:
    """Bring the losses of the last steps to the host and add them up; not finite where one of them is not."""
    values = torch.stack([loss for _, _, loss, _ in pending]).tolist()
    return math.fsum(values) if all(map(math.isfinite, values)) else math.nan


def _non_finite(pending: list[tuple[int, float, Tensor, Tensor]]) -> NonFiniteLossError:
    """Which of the last steps has a loss that is not finite; another rank's may have."""
    for step, lr, loss, rows in pending:
        if not math.isfinite(loss.item()):
            return NonFiniteLossError(
                f"the loss is {loss.item()} at step {step} (learning rate {lr:.4g}; manifest rows "
                f"{', '.join(map(str, rows.tolist()))}); lower --lr, or look at these rows with `fastrad inspect`"
            )
    return NonFiniteLossError("the loss of another rank is no longer a number: that one says where")


def _validate(run: Run, state: State) -> tuple[metrics.Metrics, Tensor]:
    """Metrics and confusion counts over the whole validation file, the same on every rank."""
    averaged = state.learner.averaged
    if averaged is not None and run.statistics is not None:
        run.statistics.epoch, run.statistics.size = 0, run.recipe.training_size(state.epoch)
        averaged.recompute_statistics(
            (run.normalisation.apply(batch.images) for batch in run.statistics if len(batch.labels) > 1),
            run.ranks.average_,
        )
    model = state.evaluated.eval()
    logits, labels = [], []
    run.val.epoch = 0
    with torch.inference_mode(), run.shown("validation", run.val.num_samples) as bar:
        for step, batch in enumerate(run.val, 1):
            images = run.normalisation.apply(batch.images)
            with run.precision.autocast(run.ranks.device):
                outputs = model(images).float()
                if run.recipe.flip_average:
                    outputs = (outputs + model(images.flip(3)).float()) / 2
            logits.append(outputs)
            labels.append(batch.labels)
            if bar is not None:
                bar.advance(min(run.recipe.batch_size, run.val.num_samples - (step - 1) * run.recipe.batch_size))
            if step % run.heartbeat == 0 and run.ranks.sums(run.signals.received)[0]:
                save(run, state)
                raise stopped(run, state.epoch, state.step)
        everything = run.ranks.gather(torch.cat(logits)), run.ranks.gather(torch.cat(labels))
        return metrics.evaluate(*everything), metrics.confusion(*everything)


def _finish_epoch(run: Run, state: State, found: metrics.Metrics, confusion: Tensor) -> None:
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
            "lr": state.learner.optimiser.param_groups[0]["lr"],
            "size": run.recipe.training_size(state.epoch),
            "images_per_second": round(run.train.num_samples / max(state.seconds, 1e-9), 1),
            "seconds": round(state.seconds, 2),
            "loader_wait": round(state.waited / max(state.seconds, 1e-9), 4),
        }
    )
    best_loss = state.rows[state.best_epoch]["val_loss"]  # on an easy archive many epochs reach the same AUROC
    if auroc > state.best_auroc or (auroc == state.best_auroc and found.loss < best_loss):
        state.best_epoch, state.best_auroc = state.epoch, auroc
        state.class_auroc, state.confusion = list(found.class_auroc), confusion.tolist()
    state.epoch, state.step = state.epoch + 1, 0
    state.loss_sum = state.seconds = state.waited = 0.0
    save(run, state)
    if run.ranks.first:
        publish(run, state)
    run.say(
        f"epoch {state.epoch}/{run.recipe.epochs}: macro AUROC {auroc:.4f}, micro {found.micro_auroc:.4f}, "
        f"top-1 {found.top1:.4f}, balanced accuracy {found.balanced_accuracy:.4f}, val loss {found.loss:.4f}"
        + ("" if math.isfinite(found.loss) else " (outputs on the validation file are not finite)")
        + (f" ({found.classes_absent} classes absent from validation)" if found.classes_absent else "")
    )
