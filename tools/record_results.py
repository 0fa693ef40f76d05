#!/usr/bin/env python3
"""Record what a working copy of fastrad computes, and compare two records: the proof that a change altered nothing.

    python tools/record_results.py record --data FOLDER --package COPY --out new.json
    python tools/record_results.py compare old.json new.json [--expected study-table] [--verbose]

In: the folder of `radimagenet-mini.tar` and `ddti.tar`. Out: fingerprints of converted files, of every engine's
batches, of pretrained weights with their metrics, and of a small study, all on the CPU. Commands and public names alone
are used: one script runs on both sides of a restructuring. A fingerprint is the SHA-256 of all bytes and a sample of
the values, by which `compare` says how far apart they are. Neither patient ids nor paths are recorded.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import islice, product
from pathlib import Path
from typing import Any

import click
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torchvision.models import resnet18

ENGINES = ("ffcv", "resident", "torch", "dali")
BATCH_SIZE, BATCHES = 80, 5  # five batches are all of DDTI, the last one not full
SHARDS, KEYED, KEPT = ["--format", "webdataset"], ["--pseudonym-key", "key"], ["--keep-patient-ids"]
SOURCES = {
    "radimagenet": ["radimagenet", "radimagenet-mini"],
    "ddti": ["thyroid", "--layout", "ddti", "ddti/ddti"],
    "phantom": ["phantom", "--kind", "radiology", "--images", "848"],  # 640 to train with
}
CONVERSIONS = {
    "phantom": [],
    "radimagenet-raw": [],
    "radimagenet-jpeg": ["--encode", "jpeg"],
    "radimagenet-png-shards": [*SHARDS, "--shard-size", "8MB"],
    "radimagenet-pass-png": [*SHARDS, "--pass-png", "--fit", "crop"],
    "ddti-raw": KEPT,
    "ddti-jpeg": ["--encode", "jpeg", *KEYED],
    "ddti-png-shards": [*SHARDS, *KEYED],
    "ddti-nodule": ["--crop", "nodule", "--fit", "squash", *KEYED],
    "ddti-jpeg-shards": [*SHARDS, "--encode", "jpeg", "--quality", "75", *KEPT],
}
LOADED = [f"{archive}-{kind}" for archive in ("radimagenet", "ddti") for kind in ("raw", "jpeg", "png-shards")]
INTENSITY = {"brightness": 0.2, "contrast": 0.2, "gamma": 0.2, "speckle": 0.1, "noise": 0.05, "erase": 0.5}
ROTATION = {"max_rotation": 20.0, "flip_vertical": True, **INTENSITY}
WORKLOADS: dict[str, dict[str, Any]] = {"A": {"train": False}, "B": {}, "balanced": {"sampler": "balanced"}}
WORKLOADS |= {"nodule": {"augment": "nodule"}, "intensity": {"augment": INTENSITY}, "rotation": {"augment": ROTATION}}
OUTPUTS: dict[str, dict[str, Any]] = {"uint8": {}, "48px": {"size": 48}}
OUTPUTS |= {name: {"dtype": getattr(torch, name)} for name in ("float32", "float16", "bfloat16")}  # B float32 is C
SETTINGS = [f"--set={setting}" for setting in ("ema=0.9", "sampling=balanced", "clip_norm=1.0", "flip_average=true")]
SETTINGS += ["--set=size=48", "--set=first_size=32", "--set=last_size=48"]
PRETRAINING = {"pretrain-float32": [], "pretrain-amp": ["--amp"], "pretrain-settings": SETTINGS}
# of cards, metrics.csv and the metadata of weights: what changes with fastrad's version, and times
LEFT_OUT = {"card_sha256", "content_sha256", "dataset", "fastrad", "seen", "versions"}
LEFT_OUT |= {"images_per_second", "loader_wait", "metrics", "seconds"}
main = click.Group(help=__doc__)
Group = dict[str, Any]  # name of an entry: a fingerprint, a number or a text


def sha256(content: Any) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else json.dumps(content).encode()).hexdigest()


def fingerprint(*tensors: torch.Tensor, sample: int = 16) -> Group:
    """Layout, SHA-256 and evenly spaced values of tensors, taken as one."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    values = flat[:: max(1, len(flat) // sample) | 1].double().tolist()  # an odd step: not always the same column
    layout = " ".join(f"{tensor.dtype}{list(tensor.shape)}{list(tensor.stride())}" for tensor in tensors)
    return {"layout": layout, "sha256": sha256(flat.view(torch.uint8).numpy().tobytes()), "values": values}


def kept(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in LEFT_OUT}


def files(folder: Path) -> Group:
    """SHA-256 of the dataset files in a folder, and of each field of their cards."""
    written = [path for path in sorted(folder.iterdir()) if path.suffix in (".beton", ".tar", ".idx")]
    cards = {path.name: kept(json.loads(path.read_text())) for path in sorted(folder.glob("*.card.json"))}
    fields = {f"{name} {field}": sha256(value) for name, card in cards.items() for field, value in card.items()}
    return {path.name: sha256(path.read_bytes()) for path in written} | fields


def weights_of(path: Path) -> Group:
    with safe_open(path, "pt") as file:
        tensors = {name: fingerprint(file.get_tensor(name), sample=8) for name in sorted(file.keys())}
        return tensors | kept(file.metadata() or {})


def flat(value: Any, name: str = "") -> Group:
    """The leaves of nested dicts and lists under the names that lead to them."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for part, inner in items for key, leaf in flat(inner, f"{name}.{part}".lstrip(".")).items()}
    return {name: value}


def python(package: Path, scratch: Path, threads: int, *words: object) -> str:
    """What Python prints, run with the fastrad of `package` and a scratch folder for its home."""
    limits = dict.fromkeys((f"{name}_NUM_THREADS" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")), str(threads))
    here = {"PYTHONPATH": str(package), "PYTHONSAFEPATH": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment = os.environ | limits | here | {"HOME": str(scratch), "XDG_CONFIG_HOME": str(scratch)}
    click.echo(f"python {' '.join(map(str, words))}", err=True)
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, env=environment, cwd=scratch, capture_output=True, text=True)
    if done.returncode:
        raise click.ClickException(f"exit status {done.returncode}\n{done.stderr[-3000:]}")
    return done.stdout


def study(fastrad: Callable[..., Any], out: Path) -> dict[str, Group]:
    """Two folds of DDTI; ImageNet's part is taken by random weights of three channels."""
    torch.manual_seed(0)
    save_file(resnet18().state_dict(), out.with_name("imagenet.safetensors"))
    weights, amount = "pretrain-float32/weights.safetensors", ("--epochs", 2, "--folds", 2, "--seeds", 1)
    arms = ["--radimagenet", weights, "--imagenet", "imagenet.safetensors", "--frozen", f"probe={weights}"]
    fastrad("compare", "ddti-raw", *arms, *amount, "--device", "cpu", "--out", out)
    predictions, splits = ((out / f"{name}.csv").read_bytes() for name in ("predictions", "splits"))
    rows = list(csv.DictReader(predictions.decode().splitlines()))
    scores = [float(row.pop("score")) for row in rows]
    runs = {path.parent.name: weights_of(path) for path in sorted(out.rglob("weights.safetensors"))}
    return {
        "study-splits": {"splits.csv": sha256(splits), "all but scores": sha256(rows)},
        "study-predictions": {"predictions.csv": {"sha256": sha256(predictions), "values": scores}},
        "study-table": flat(json.loads((out / "table.json").read_text())),
        "study-weights": {f"{run} {name}": entry for run, found in runs.items() for name, entry in found.items()},
    }


@main.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), envvar="FASTRAD_TEST_DATA", required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
@click.option("--package", type=click.Path(path_type=Path, exists=True), default=Path(__file__).resolve().parents[1])
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def record(data: Path, out: Path, package: Path, threads: int) -> None:
    """Run the fastrad in the folder --package and write its record to --out."""
    with tempfile.TemporaryDirectory() as folder:
        scratch, package = Path(folder).resolve(), package.resolve()
        run = partial(python, package, scratch, threads)
        found = Path(run("-c", "import fastrad; print(fastrad.__file__)").strip())
        if package not in found.resolve().parents:
            raise click.ClickException(f"--package {package}: Python finds fastrad in {found.parent} instead")
        fastrad = partial(run, "-m", "fastrad")
        for name in ("radimagenet-mini", "ddti"):
            with tarfile.open(data / f"{name}.tar") as archive:
                archive.extractall(scratch / name, filter="data")
        (scratch / "key").write_text("0123456789abcdef" * 4)  # of pseudonyms: any, but the same each time
        for name, options in CONVERSIONS.items():
            fastrad("convert", *SOURCES[name.split("-")[0]], name, "--size", 64, "--workers", threads, *options)
        groups = {f"files-{name}": files(scratch / name) for name in CONVERSIONS}
        groups |= json.loads(run(Path(__file__).resolve(), "batches", scratch))
        words = ["--epochs", 2, "--batch-size", 64, "--device", "cpu", "--workers", threads]  # 20 steps
        for name, options in PRETRAINING.items():
            fastrad("pretrain", "phantom/train.beton", "--val", "phantom/val.beton", "--out", name, *words, *options)
            table = csv.DictReader((scratch / name / "metrics.csv").read_text().splitlines())
            lines = [{key: float(value) for key, value in kept(line).items()} for line in table]
            groups[name] = flat(lines, "line") | weights_of(scratch / name / "weights.safetensors")
        groups |= study(fastrad, scratch / "study")
    about = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(), "threads": threads}
    unfinished = out.with_name(f".{out.name}.partial")
    unfinished.write_text(json.dumps({"about": about, **groups}, indent=1) + "\n")
    unfinished.replace(out)


@main.command(hidden=True)
@click.argument("scratch", type=click.Path(path_type=Path))
def batches(scratch: Path) -> None:
    """Print as JSON what the loaders and BetonFile give: for `record`, in a process that imports fastrad."""
    from fastrad import FastradError, Loader
    from fastrad.storage import BetonFile

    policy: Any = type(Loader(scratch / "ddti-raw" / "all.beton", 1).augment)  # Augmentation, wherever it lies
    groups: dict[str, Group] = {name: {} for name in ("beton-file", *(f"batches-{engine}" for engine in ENGINES))}
    for folder in LOADED:
        split = "all" if folder.startswith("ddti") else "val"
        path = scratch / folder / f"{split}.{'card.json' if folder.endswith('shards') else 'beton'}"
        if path.suffix == ".beton":
            file = BetonFile(path)
            columns = {column: getattr(file, column) for column in ("labels", "patients", "rows", "crc32")}
            columns |= {f"image {index}": file.decode(index) for index in range(0, len(file), 50)}
            groups["beton-file"] |= {f"{folder} {name}": sha256(array.tobytes()) for name, array in columns.items()}
        for engine, workload, output in product(ENGINES, WORKLOADS, OUTPUTS):
            group, name = groups[f"batches-{engine}"], f"{folder} {workload} {output}"
            options = {"size": 64, "workers": torch.get_num_threads()} | WORKLOADS[workload] | OUTPUTS[output]
            if augment := options.get("augment"):
                options["augment"] = policy.nodule() if augment == "nodule" else policy(**augment)
            try:
                found = list(islice(Loader(path, BATCH_SIZE, engine=engine, **options), BATCHES))
            except FastradError as error:  # not installed here, or not for this kind of file
                group[name] = f"skipped: {type(error).__name__}"
                continue
            for part in ("images", "labels", "rows"):
                group[f"{name} {part}"] = fingerprint(*(getattr(batch, part) for batch in found))
    click.echo(json.dumps(groups))


def distance(old: Any, new: Any) -> float | None:
    """The largest difference between the values of two entries; None where they have no such numbers."""
    a, b = (entry.get("values", []) if isinstance(entry, dict) else [entry] for entry in (old, new))
    if not a or len(a) != len(b) or not all(isinstance(value, int | float) for value in [*a, *b]):
        return None
    gaps = torch.tensor(a, dtype=torch.float64) - torch.tensor(b, dtype=torch.float64)
    return float(gaps.abs().nan_to_num(nan=torch.inf, posinf=torch.inf).max())


@main.command()
@click.argument("old", type=click.File())
@click.argument("new", type=click.File())
@click.option("--expected", multiple=True, metavar="NAME", help="A group that may differ; may be repeated.")
@click.option("--verbose", is_flag=True, help="Name every entry that differs.")
def compare(old: Any, new: Any, expected: tuple[str, ...], verbose: bool) -> None:
    """Say of each group whether it is identical, or by how much it differs."""
    first, second = json.load(old), json.load(new)
    failed, groups = False, first | second
    if not set(expected) <= set(groups):
        raise click.BadParameter(f"not all among {', '.join(groups)}", param_hint="--expected")
    for name in groups:
        a, b = first.get(name, {}), second.get(name, {})
        apart = [key for key in a | b if json.dumps(a.get(key)) != json.dumps(b.get(key))]
        amounts = {key: distance(a.get(key), b.get(key)) for key in apart}
        line = f"{len(apart)} of {len(a | b)} entries differ" if apart else "identical"
        if known := {key: amount for key, amount in amounts.items() if amount is not None}:
            worst = max(known, key=lambda key: known[key])
            line += f", values by up to {known[worst]:.3g} ({worst})"
        if others := [key for key in apart if key not in known]:
            line += f", {len(others)} in no number ({others[0]}{', ...' if others[1:] else ''})"
        line += f", {sum(str(entry).startswith('skipped') for entry in b.values())} skipped" * ("batches" in name)
        click.echo(f"{name}: {line}{', as expected' if apart and name in expected else ''}")
        for key in apart if verbose else ():
            shown = (e["sha256"][:12] if isinstance(e, dict) else str(e)[:80] for e in (a.get(key), b.get(key)))
            click.echo(f"    {key}: {' against '.join(shown)}; by up to {amounts[key]}")
        failed |= bool(apart) and name not in expected
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
