"""`fastrad bench loaders FILE`: images/s of each engine beside the limits of this machine."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict
from pathlib import Path

import click

from fastrad.loading.engines import engine_choices, engine_name


@click.command("loaders")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--workload", type=click.Choice(["A", "B", "C"]), default="B", show_default=True)
@click.option(
    "--engine",
    "engines",
    type=click.Choice([name for name in engine_choices() if name != "auto"]),
    multiple=True,
    help="Measure this engine; may be given again. [default: direct]",
)
@click.option("--workers", type=click.IntRange(1, 4096), help="Threads. [default: the CPUs this process may use]")
@click.option("--seconds", type=click.FloatRange(0, 86_400), default=10.0, show_default=True, help="For each at least.")
@click.option("--json", "as_json", is_flag=True, help="Print the measurements as JSON.")
def command(
    file: Path, workload: str, engines: tuple[str, ...], workers: int | None, seconds: float, as_json: bool
) -> None:
    """Measure how fast FILE is loaded, warm, each engine in a process of its own.

    FILE is a .beton, or the card of WebDataset shards, for which no limits are measured. Workload A hands over the
    stored frames, B adds random resized crops and flips, C normalises to float32.
    """
    from fastrad.dataset import BetonFile
    from fastrad.dataset.opening import dataset_in, open_dataset
    from fastrad.loading.bench import measure_in_fresh_process
    from fastrad.system.cores import available_cores
    from fastrad.system.progress import track

    file = Path(dataset_in(file, "train"))
    dataset = open_dataset(file)
    limits: tuple[str, ...] = ()
    if isinstance(dataset, BetonFile):
        limits = ("decode",) if dataset.encoding == "jpeg" else ("copy",) if workload == "A" else ("copy", "resize")
    names = [*limits, *map(engine_name, engines or ("direct",))]
    threads = workers or available_cores()
    results = {}
    with track("measuring", len(names), "runs") as progress:
        for name in names:
            results[name] = measure_in_fresh_process(file, name, workload, threads, seconds)
            progress.advance()
    if as_json:
        report = {"file": file.name, "workload": workload, "workers": threads}
        click.echo(json.dumps(report | {"results": {name: asdict(found) for name, found in results.items()}}, indent=2))
        return
    click.echo(f"{file.name} ({dataset.encoding}), workload {workload}, {threads} threads, warm")
    click.echo(f"{'':10}{'images/s':>12}{'first batch':>14}{'gap p50':>11}{'gap p99':>11}{'memory':>11}")
    for name, found in results.items():
        rate = f"{statistics.median(found.images_per_second):12,.0f}"
        if name in limits:
            click.echo(f"{name:10}{rate}   (limit)")
            continue
        times = f"{found.first_batch_seconds:12.2f} s{found.gap_p50:8.2f} ms{found.gap_p99:8.2f} ms"
        click.echo(f"{name:10}{rate}{times}{found.memory_mb:8.0f} MB")
