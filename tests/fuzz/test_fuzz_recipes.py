"""Damaged recipes and records of runs: the same values, or one line that says what is wrong."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from isolated import Unforeseen, run_isolated
from mutations import damaged_text

from fastrad.errors import FastradError


def _pretraining_recipe(path: str) -> str:
    from fastrad.train.config import load_recipe

    try:
        return repr(load_recipe(path))
    except FastradError as error:
        return f"error: {error}"


def _study_recipe(path: str) -> str:
    from fastrad.study.protocol.config import Tuning
    from fastrad.train import recipe_file

    try:
        return repr(recipe_file.changed(Tuning(), recipe_file.read(Path(path)), path))
    except FastradError as error:
        return f"error: {error}"


def _begin_run(path: str) -> str:
    from fastrad.train.run_folder import RunFolder

    try:
        return repr(RunFolder(Path(path)).begin({"epochs": 16, "recipe": "rn18-16", "size": 64}, resume=True))
    except FastradError as error:
        return f"error: {error}"


def _check(read, text: str, suffix: str, folder: Path, seed: int) -> list[str]:
    cases = []
    for number, (name, content) in enumerate(damaged_text(text, seed, 60)):
        target = folder / f"{number}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        cases.append((name, str(target if suffix == ".toml" else target.parent)))
    found = run_isolated(read, cases)
    for (name, _), result in zip(cases, found, strict=True):
        assert not isinstance(result, Unforeseen), f"{name}: {result}"
        assert "\n" not in result, name
    return [str(result) for result in found]


def test_damaged_pretraining_recipes(tmp_path, seed):
    text = (resources.files("fastrad.train") / "recipes" / "rn18-16.toml").read_text()
    assert any(result.startswith("error") for result in _check(_pretraining_recipe, text, ".toml", tmp_path, seed))


def test_damaged_study_recipes(tmp_path, seed):
    text = "epochs = 12\nsize = 96\nlearning_rate = 1e-4\nbackbone_rate = 0.1\nclass_weighting = true\n"
    assert any(result.startswith("error") for result in _check(_study_recipe, text, ".toml", tmp_path, seed))


def test_damaged_records_of_a_run(tmp_path, seed):
    text = '{\n "settings": {\n  "epochs": 16,\n  "recipe": "rn18-16",\n  "size": 64\n },\n "seconds": 1.5\n}\n'
    results = _check(_begin_run, text, "/config.json", tmp_path, seed)
    assert any("other settings" in result or "altered" in result for result in results)
