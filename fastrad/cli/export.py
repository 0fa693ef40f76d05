"""`fastrad export`: weights for torchvision, timm or ONNX.

In: weights of `fastrad pretrain`, or a network of a study. Out: a file for the other program, and its model card.
"""

from __future__ import annotations

from pathlib import Path

import click

from fastrad.models import TARGETS
from fastrad.system.terminal import tell


@click.command("export")
@click.argument("weights", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--to", "target", required=True, type=click.Choice(TARGETS), help="For whom.")
def command(weights: Path, out: Path, target: str) -> None:
    """Write WEIGHTS for another program to OUT (.pth, .safetensors or .onnx), with a model card beside it.

    WEIGHTS are of `fastrad pretrain`, or one network of a study, STUDY/runs/ARM-*/weights.safetensors. An ONNX file
    takes pixels as they are and gives what `fastrad predict` computes: the normalisation is inside.
    """
    from fastrad.models.export import export

    error = export(weights, target, out)
    tell(f"{out}: outputs equal the original's within {error:.1g} of the largest logit")
    tell(f"{out}.md: the model card")
