"""`fastrad doctor`: what works here, what is missing, the command that fixes it, and what a large job would need."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click

import fastrad
from fastrad.doctor import Finding, Job, Machine, estimate, examine
from fastrad.doctor.job import RADIMAGENET_IMAGES

_COLOURS = {"works": "green", "limited": "yellow", "missing": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
@click.option(
    "--images", type=click.IntRange(1, 10**12), default=RADIMAGENET_IMAGES, show_default=True, help="Of the job."
)
@click.option("--size", type=click.IntRange(8, 4096), default=224, show_default=True, help="Stored side length, px.")
@click.option("--epochs", type=click.IntRange(1, 10_000), default=16, show_default=True, help="Of pretraining.")
def command(as_json: bool, images: int, size: int, epochs: int) -> None:
    """Say what works here, what is missing and how to fix it, and what a RadImageNet-sized job would need.

    Disk space is looked at in the current folder. Ends with status 1 where something that fastrad cannot do
    without is missing.
    """
    machine = Machine.here(Path())
    findings = examine(machine)
    job = estimate(machine, images, size, epochs)
    if as_json:
        content = {
            "fastrad": fastrad.__version__,
            "findings": [_content(finding) for finding in findings],
            "job": dataclasses.asdict(job),
        }
        click.echo(json.dumps(content, indent=2))
    else:
        _print_findings(findings)
        _print_job(job)
    absent = [finding.name for finding in findings if finding.required and finding.state == "missing"]
    if absent:
        click.echo(f"fastrad: not usable without {', '.join(absent)}", err=True)
        sys.exit(1)


def _content(finding: Finding) -> dict[str, Any]:
    content = dataclasses.asdict(finding)
    return {**content, "mend": content.pop("fix")}  # what 0.1.0 called it


def _print_findings(findings: tuple[Finding, ...]) -> None:
    click.echo(f"fastrad {fastrad.__version__}\n")
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        state = click.style(f"{finding.state:8}", fg=_COLOURS[finding.state])
        click.echo(f"{state} {finding.name:{width}}  {finding.detail}")
        if finding.fix:
            click.echo(f"{'':8} {'':{width}}  fix: {finding.fix}")


def _print_job(job: Job) -> None:
    click.echo(f"\nA job of {job.images:,} images stored at {job.size} px (raw, one byte a pixel) would need here:")
    click.echo(f"  disk    {_gb(job.disk)} for the dataset file, beside the archive; {_gb(job.free_disk)} free")
    click.echo(f"  memory  {_gb(job.memory)} at least, {_gb(job.comfortable_memory)} to hold the file as well")
    click.echo(f"  engine  {job.engine}: {job.engine_reason}")
    sources = list(dict.fromkeys(step.rests_on for step in job.steps))
    for step in job.steps:
        rate = f"{step.images:,} images at {step.images_per_second:,.0f}/s [{sources.index(step.rests_on) + 1}]"
        click.echo(f"  {step.name:<37} {_duration(step.hours):>10}  {rate}")
    for obstacle in job.obstacles:
        click.echo(f"  mind: {obstacle}")
    click.echo("The times rest on figures measured elsewhere (the scripts of benchmarks/ measure here):")
    for number, source in enumerate(sources, start=1):
        click.echo(f"  [{number}] {source}")


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def _duration(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.1f} min"
