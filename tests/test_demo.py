"""The demo runs the whole path, says that its images are synthetic, and does nothing twice."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from fastrad.demo import DemoPlan, run_demo

SMALL = DemoPlan(size=32, pretraining_images=160, pretraining_epochs=1, thyroid_images=90, study_epochs=1, seed=1)


@pytest.mark.slow
def test_demo_leaves_every_product_marked_synthetic_and_a_second_run_trains_nothing(tmp_path: Path) -> None:
    study = run_demo(tmp_path, SMALL)
    for name in ("radiology/train", "natural/train", "thyroid/all"):
        assert json.loads((tmp_path / "datasets" / f"{name}.card.json").read_text())["synthetic"] is True
    for name in ("table.md", "report.html"):
        assert "synthetic" in (study / name).read_text().lower()
    predictions = pd.read_csv(study / "predictions.csv")
    assert list(predictions.columns) == ["arm", "seed", "fold", "set", "patient", "row", "label", "score"]
    assert set(predictions["arm"]) == {"none", "imagenet", "radimagenet"}
    assert (study / "roc.png").read_bytes().startswith(b"\x89PNG")

    weights = sorted([*tmp_path.glob("runs/*/weights.safetensors"), *study.glob("runs/*/*.csv")])
    before = [(path, path.stat().st_mtime_ns) for path in weights]
    assert len(before) >= 2 + 15
    run_demo(tmp_path, SMALL)
    assert [(path, path.stat().st_mtime_ns) for path in weights] == before
