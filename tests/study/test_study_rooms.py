"""The study's way is one: protocol -> networks -> predictions -> inference -> report."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastrad.study

STUDY = Path(fastrad.study.__file__).parent
# What a room may import of the study. Networks choose their epoch by the one AUROC that there is.
MAY_IMPORT = {
    "protocol": ("protocol",),
    "predictions": ("protocol",),
    "networks": ("protocol", "networks", "predictions", "inference.auroc"),
    "inference": ("protocol.abstract", "predictions", "inference"),
    "report": (
        *(f"protocol.{name}" for name in ("abstract", "ledger", "record", "seals")),
        *("predictions", "inference", "report"),
    ),
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            assert node.level == 0
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_no_later_one(room):
    files = sorted((STUDY / room).rglob("*.py")) or [STUDY / f"{room}.py"]
    allowed = tuple(f"fastrad.study.{name}" for name in MAY_IMPORT[room])
    found = [(path.name, name) for path in files for name in imports(path) if name.startswith("fastrad.study.")]
    assert found or room == "protocol"
    assert not [pair for pair in found if not f"{pair[1]}.".startswith(tuple(f"{name}." for name in allowed))]


def test_every_module_of_the_study_is_in_a_room_or_leads_through_them():
    assert {path.stem for path in STUDY.glob("*.py")} == {"__init__", "compare", "predictions", "statistics"}
    assert {path.name for path in STUDY.iterdir() if (path / "__init__.py").is_file()} == set(MAY_IMPORT) - {
        "predictions"
    }


def test_inference_and_settings_load_no_torch():
    modules = [path.stem for path in (STUDY / "inference").glob("*.py") if path.stem != "__init__"]
    names = [f"fastrad.study.inference.{name}" for name in modules]
    program = f"import sys, fastrad.study.protocol.config, {', '.join(names)}\nsys.exit('torch' in sys.modules)"
    assert len(modules) > 10
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
