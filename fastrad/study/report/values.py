"""Everything that a study prints, in one dictionary: every form takes its numbers from here, so that no two can differ.

`table.json` is that dictionary, `table.csv` its arms.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence

from fastrad.study.inference.arm_result import ArmResult
from fastrad.study.inference.differences import Difference
from fastrad.study.inference.evaluation import StudyResult
from fastrad.study.inference.proportions import Proportion
from fastrad.study.inference.samples import Interval
from fastrad.study.protocol.abstract import TEST_AUROC
from fastrad.study.report.conclusion import conclusion


def table_values(
    study: dict, result: StudyResult, external: Sequence[StudyResult] = (), subgroups: Sequence[dict] = ()
) -> dict:
    """Everything printed, as JSON values; what is undefined is None.

    Parameters
    ----------
    study : dict
        `study.json`.
    result : StudyResult
    external : sequence of StudyResult
        One for each of the study's external datasets.
    subgroups : sequence of dict
        From `subgroups.subgroups`.
    """
    labels = {arm["name"]: arm["label"] for arm in study["arms"]}
    return {
        "synthetic": study["synthetic"],
        "development": study["development"],
        "test": {**study["test"], "prevalence": _number(float(result.labels.mean()))},
        "folds": study["protocol"]["folds"],
        "seeds": study["protocol"]["seeds"],
        "arms": [_arm(labels[arm.arm], arm) for arm in result.arms],
        "differences": [_difference(labels, difference) for difference in result.differences],
        "external": [
            {
                **{name: about[name] for name in ("name", "patients", "images", "malignant", "synthetic")},
                "arms": [_arm(labels[arm.arm], arm) for arm in each.arms],
                "differences": [_difference(labels, difference) for difference in each.differences],
            }
            for about, each in zip(study["external"], external, strict=True)
        ],
        "subgroups": list(subgroups),
        "conclusion": conclusion(study, result),
    }


def to_json(values: dict) -> str:
    """`table.json`."""
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def to_csv(values: dict) -> str:
    """`table.csv`: one line an arm, numbers in full."""
    out = io.StringIO()
    shared = {
        "development_patients": values["development"]["patients"],
        "development_images": values["development"]["images"],
        "test_patients": values["test"]["patients"],
        "test_images": values["test"]["images"],
        "test_malignant": values["test"]["malignant"],
        "synthetic": values["synthetic"],
    }
    lines = []
    for arm in values["arms"]:
        line = {name: value for name, value in arm.items() if not isinstance(value, list | dict)}
        for rate in ("sensitivity", "specificity", "ppv", "npv"):
            line.update(
                {rate: arm[rate]["estimate"], f"{rate}_low": arm[rate]["low"], f"{rate}_high": arm[rate]["high"]}
            )
        lines.append({**line, **shared})
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _spread(name: str, interval: Interval) -> dict:
    return {f"{name}_low": _number(interval.low), f"{name}_high": _number(interval.high)}


def _rate(proportion: Proportion) -> dict:
    return {
        "estimate": _number(proportion.estimate),
        "low": proportion.interval.low,
        "high": proportion.interval.high,
        "successes": proportion.successes,
        "trials": proportion.trials,
    }


def _arm(label: str, arm: ArmResult) -> dict:
    point = arm.operating_point
    return {
        "arm": arm.arm,
        "label": label,
        "cv_auroc": arm.cv_auroc,
        "cv_auroc_sd": arm.cv_auroc_sd,
        "test_auroc": arm.test_auroc,
        **_spread("test_auroc", arm.test_interval),
        "abstract_test_auroc": TEST_AUROC.get(arm.arm),
        "average_precision": arm.average_precision,
        **_spread("average_precision", arm.average_precision_interval),
        "threshold": point.threshold,
        "sensitivity": _rate(point.sensitivity),
        "specificity": _rate(point.specificity),
        "ppv": _rate(point.ppv),
        "npv": _rate(point.npv),
        "brier": arm.brier,
        "calibration_slope": _number(arm.calibration.slope),
        "calibration_intercept": _number(arm.calibration.intercept),
        "calibration_in_the_large": _number(arm.calibration.intercept_at_slope_one),
        "seed_sd": _number(arm.seed_sd),
        "cv_auroc_by_seed_and_fold": arm.fold_auroc.tolist(),
        "test_auroc_by_seed_and_fold": arm.run_test_auroc.tolist(),
        "test_auroc_by_seed": arm.seed_test_auroc.tolist(),
    }


def _difference(labels: dict[str, str], difference: Difference) -> dict:
    return {
        "a": difference.a,
        "b": difference.b,
        "a_label": labels[difference.a],
        "b_label": labels[difference.b],
        "difference": difference.difference,
        "low": _number(difference.interval.low),
        "high": _number(difference.interval.high),
        **_spread("bootstrap", difference.bootstrap_interval),
        "standard_error": difference.standard_error,
        "p_value": _number(difference.p_value),
        "holm_p_value": _number(difference.holm_p_value),
        "detectable": _number(difference.detectable),
        "shown": difference.shown,
    }
