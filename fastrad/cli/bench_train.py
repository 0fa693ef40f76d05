"""`fastrad bench train FILE`: images/s of training on real loading, beside a constant batch and the plain recipe."""

from __future__ import annotations

import json
from pathlib import Path

import click

from fastrad.loading.engines import engine_choices


@click.command("train")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--size", default=64, show_default=True, type=click.IntRange(32, 4096), help="Pixels a side.")
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(2, 1_000_000), help="Images a step.")
@click.option("--engine", type=click.Choice(engine_choices()), default="auto", show_default=True, help="The loader's.")
@click.option("--device", help="cpu, cuda or cuda:N. [a GPU where there is one]")
@click.option(
    "--rounds", default=5, show_default=True, type=click.IntRange(1, 10_000), help="Times that each variant runs."
)
@click.option(
    "--steps", default=4, show_default=True, type=click.IntRange(1, 1_000_000), help="Steps of a variant in a round."
)
@click.option("--compile", "compiled", is_flag=True, help="Measure the network under torch.compile too.")
@click.option("--json", "as_json", is_flag=True, help="Print the measurements as JSON.")
def command(
    file: Path,
    size: int,
    batch_size: int,
    engine: str,
    device: str | None,
    rounds: int,
    steps: int,
    compiled: bool,
    as_json: bool,
) -> None:
    """Measure how fast a ResNet-18 trains on FILE; the variants take turns, so that noise meets them alike."""
    from fastrad.dataset.opening import dataset_in
    from fastrad.system.devices import choose_device
    from fastrad.train.bench import measure_training

    file, chosen = Path(dataset_in(file, "train")), choose_device(device)
    result = measure_training(
        file,
        size=size,
        batch_size=batch_size,
        device=chosen,
        engine=engine,
        rounds=rounds,
        steps=steps,
        compiled=compiled,
    )
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    click.echo(f"{file.name} at {size} px, batches of {batch_size}, on {chosen}")
    click.echo(f"{'':31}{'images/s':>10}{'lowest':>10}{'highest':>10}")
    for name, found in result["variants"].items():
        click.echo(f"{name:31}{found['median']:10.1f}{found['minimum']:10.1f}{found['maximum']:10.1f}")
    click.echo(f"real loading / constant batch: {result['real_to_constant']:.3f}")
    click.echo(f"real loading / plain recipe:   {result['real_to_plain']:.3f}")
