"""One finished study for all tests of this room: as 0.1.0 wrote it, from phantoms of 32 pixels."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fastrad.study.inference.evaluation import StudyResult, evaluate
from fastrad.study.inference.networks import NetworkDifference
from fastrad.study.inference.samples import Interval
from fastrad.study.predictions import read_predictions
from fastrad.study.protocol.ledger import LEDGER, scoring_now
from fastrad.study.protocol.record import labels_sha256, seal_study
from fastrad.study.protocol.seals import seal_of, sealed
from fastrad.study.report.page import write_report
from fastrad.study.report.values import table_values


@pytest.fixture(scope="session")
def kept() -> Path:
    """The folder; not to be changed. Four arms, two folds, two seeds; external set, subgroups and learning curve."""
    return Path(__file__).parent / "study-0.1.0"


@pytest.fixture(scope="session")
def record(kept) -> dict:
    return json.loads((kept / "study.json").read_text())


@pytest.fixture(scope="session")
def result(kept) -> StudyResult:
    return evaluate(read_predictions(kept / "predictions.csv"))


@pytest.fixture
def values(reported) -> dict:
    """What `table.json` holds; a test may change its copy."""
    return json.loads((reported / "table.json").read_text())


@pytest.fixture(scope="session")
def reported(kept, tmp_path_factory) -> Path:
    """The folder with its report written again; not to be changed."""
    folder = tmp_path_factory.mktemp("reported") / "study"
    shutil.copytree(kept, folder, ignore=shutil.ignore_patterns("table.*"))
    write_report(folder)
    return folder


@pytest.fixture(scope="session")
def computed(record, result) -> dict:
    """The table's values, without external sets and subgroups."""
    return table_values({**record, "external": []}, result)


@pytest.fixture(scope="session")
def sealed_study(kept, tmp_path_factory) -> Path:
    """The same study as this version would have left it: sealed, with a ledger and `runs/`; not to be changed.

    Weights are bytes that nothing reads: a report compares their hash alone.
    """
    folder = tmp_path_factory.mktemp("sealed") / "study"
    shutil.copytree(kept, folder, ignore=shutil.ignore_patterns("table.*"))
    record = json.loads((folder / "study.json").read_text())
    record["versions"]["fastrad"] = "0.2.0"
    predictions = read_predictions(folder / "predictions.csv")
    scoring = scoring_now("archive", predictions.loc[predictions["set"] == "test", "row"].unique(), {"rate": 3e-4})
    (folder / LEDGER).write_text(scoring.to_json())
    patients = predictions.drop_duplicates("patient").set_index("patient")
    splits = "".join(
        f"{patient},{line.label},{'test' if line.set == 'test' else 'development'},"
        f"{'' if line.set == 'test' else line.fold}\n"
        for patient, line in patients.iterrows()
    )
    (folder / "splits.csv").write_text("patient,label,set,fold\n" + splits)
    record["protocol"]["splits_sha256"] = hashlib.sha256((folder / "splits.csv").read_bytes()).hexdigest()
    images = predictions.drop_duplicates("row")
    record["dataset"]["labels_sha256"] = labels_sha256(images["row"], images["label"])
    record["networks"], record["limited_networks"] = [], []
    for (arm, seed, fold), part in predictions.groupby(["arm", "seed", "fold"], sort=False):
        run = folder / "runs" / f"{arm}-seed{seed}-fold{fold}"
        run.mkdir(parents=True)
        part.to_csv(run / "predictions.csv", index=False)
        (run / "weights.safetensors").write_bytes(run.name.encode())
        content = {"settings": {"arm": arm}, "seconds": 61.5, "device": "cpu", "best_epoch": 2}
        content |= {"hardware": {"processor": "Test CPU", "cores": 2, "memory": 8 << 30}}
        content = sealed(content, run, ["predictions.csv", "weights.safetensors"])
        (run / "run.json").write_text(json.dumps(content))
        kept_of_it = {name: content[name] for name in ("seconds", "device", "hardware", "best_epoch")}
        record["networks"].append({"name": run.name, **kept_of_it, "seal": seal_of(content)})
    record["scoring"] = scoring.key
    (folder / "study.json").write_text(json.dumps(seal_study(record, folder), indent=1))
    return folder


_ABOVE = Interval(0.1, 0.3)


@pytest.fixture
def enough(result):
    """The result as if half of 32 test patients were malignant; one difference, as a test sets it."""

    def with_difference(
        difference=0.2,
        networks=_ABOVE,
        folds=_ABOVE,
        bootstrap=_ABOVE,
        holm=0.01,
        folds_holm=0.01,
        p_value=0.01,
        names=("imagenet", "none"),
        **changes,
    ):
        first = result.differences[0]
        own = first.network.networks._replace(
            estimate=difference, interval=networks, p_value=p_value, standard_error=0.05, df=float("inf")
        )
        network = NetworkDifference(difference, own, own._replace(interval=folds), bootstrap)
        one = replace(
            first,
            a=names[0],
            b=names[1],
            network=network,
            network_holm_p_value=holm,
            folds_holm_p_value=folds_holm,
            **changes,
        )
        return replace(result, labels=np.arange(32) % 2, differences=(one,))

    return with_difference
