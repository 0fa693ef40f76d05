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
from fastrad.study.inference.decision import OperatingPoint
from fastrad.study.inference.differences import Difference
from fastrad.study.inference.equivalence import equivalence
from fastrad.study.inference.evaluation import LargestImage, StudyResult
from fastrad.study.inference.multireader import Contrast
from fastrad.study.inference.networks import NOTHING, ArmNetworks
from fastrad.study.inference.proportions import Proportion
from fastrad.study.inference.samples import Interval
from fastrad.study.protocol.abstract import JOURNAL_TEST_AUROC, TEST_AUROC, published_arms
from fastrad.study.report.conclusion import conclusion
from fastrad.study.report.search import choices, trials
from fastrad.system.csv_file import harmless


def table_values(
    study: dict,
    result: StudyResult,
    external: Sequence[StudyResult] = (),
    subgroups: Sequence[dict] = (),
    fixed: StudyResult | None = None,
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
    fixed : StudyResult, optional
        Of the fixed recipe's networks, where the others' recipes were searched for.
    """
    labels = {arm["name"]: arm["label"] for arm in study["arms"]}
    margin = study["protocol"].get("margin")  # absent in studies of 0.1.0
    published = published_arms(study)
    return {
        "synthetic": study["synthetic"],
        "development": study["development"],
        "test": {**study["test"], "prevalence": _number(float(result.labels.mean()))},
        "folds": study["protocol"]["folds"],
        "seeds": study["protocol"]["seeds"],
        "margin": margin,
        "arms": [_arm(labels[arm.arm], arm, arm.arm in published) for arm in result.arms],
        "differences": [_difference(labels, difference, margin) for difference in result.differences],
        "external": [
            {
                **{name: about[name] for name in ("name", "patients", "images", "malignant", "synthetic")},
                "arms": [_arm(labels[arm.arm], arm, arm.arm in published) for arm in each.arms],
                "differences": [_difference(labels, difference, margin) for difference in each.differences],
            }
            for about, each in zip(study["external"], external, strict=True)
        ],
        "subgroups": list(subgroups),
        "largest_image": result.largest_image and _largest_image(labels, result.largest_image),
        "conclusion": conclusion(study, result),
        **({} if fixed is None else _searched(study, labels, fixed, published, margin)),
    }


def _searched(
    study: dict, labels: dict[str, str], fixed: StudyResult, published: frozenset[str], margin: float | None
) -> dict[str, dict]:
    return {
        "search": {"choices": choices(study), "trials": trials(study)},
        "fixed_recipe": {
            "arms": [_arm(labels[arm.arm], arm, arm.arm in published) for arm in fixed.arms],
            "differences": [_difference(labels, difference, margin) for difference in fixed.differences],
        },
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
        lines.append({name: harmless(value) for name, value in {**line, **shared}.items()})
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


def _one_network(networks: ArmNetworks) -> dict:
    return {
        "network_auroc": networks.auroc,
        "network_auroc_sd": networks.sd,
        **_spread("network_auroc", networks.interval),
    }


def _at_threshold(point: OperatingPoint) -> dict:
    return {name: _rate(getattr(point, name)) for name in ("sensitivity", "specificity", "ppv", "npv")}


def _arm(label: str, arm: ArmResult, published: bool) -> dict:
    limits = arm.calibration_intervals
    return {
        "arm": arm.arm,
        "label": label,
        "weights_files": arm.networks.starts,
        **_one_network(arm.networks),
        "cv_auroc": arm.cv_auroc,
        "cv_auroc_sd": arm.cv_auroc_sd,
        "test_auroc": arm.test_auroc,
        **_spread("test_auroc", arm.test_interval),
        "ensemble_gain": arm.ensemble_gain,
        "abstract_test_auroc": TEST_AUROC.get(arm.arm) if published else None,
        "journal_test_auroc": JOURNAL_TEST_AUROC.get(arm.arm) if published else None,
        "average_precision": arm.average_precision,
        **_spread("average_precision", arm.average_precision_interval),
        "threshold": arm.operating_point.threshold,
        **_at_threshold(arm.operating_point),
        "validation": _at_threshold(arm.validation_point),
        "parted": arm.parted,
        "brier": arm.brier,
        **_spread("brier", arm.brier_interval),
        "calibration_slope": _number(arm.calibration.slope),
        **_spread("calibration_slope", limits.slope),
        "calibration_intercept": _number(arm.calibration.intercept),
        **_spread("calibration_intercept", limits.intercept),
        "calibration_in_the_large": _number(arm.calibration.intercept_at_slope_one),
        **_spread("calibration_in_the_large", limits.intercept_at_slope_one),
        "seed_sd": _number(arm.seed_sd),
        "cv_auroc_by_seed_and_fold": arm.fold_auroc.tolist(),
        "test_auroc_by_seed_and_fold": arm.run_test_auroc.tolist(),
        "test_auroc_by_seed": arm.seed_test_auroc.tolist(),
    }


def _contrast(name: str, found: Contrast | None) -> dict:
    """Of one analysis of the networks; all None with one seed."""
    interval = found.interval if found else NOTHING
    return {
        f"{name}_standard_error": found and found.standard_error,
        f"{name}_df": found.df if found and math.isfinite(found.df) else None,
        **_spread(name, interval),
        f"{name}_p_value": found and _number(found.p_value),
    }


def _difference(labels: dict[str, str], difference: Difference, margin: float | None) -> dict:
    network = difference.network
    values = {
        "a": difference.a,
        "b": difference.b,
        "a_label": labels[difference.a],
        "b_label": labels[difference.b],
        "network_difference": network.difference,
        **_contrast("network", network.networks),
        "network_holm_p_value": _number(difference.network_holm_p_value),
        **_contrast("folds", network.folds),
        "folds_holm_p_value": _number(difference.folds_holm_p_value),
        **_spread("hierarchical", network.bootstrap),
        "network_detectable": _number(network.detectable),
        "shown": difference.shown,
        "difference": difference.difference,
        "low": _number(difference.interval.low),
        "high": _number(difference.interval.high),
        **_spread("bootstrap", difference.bootstrap_interval),
        "standard_error": difference.standard_error,
        "p_value": _number(difference.p_value),
        "holm_p_value": _number(difference.holm_p_value),
        "detectable": _number(difference.detectable),
        "score_correlation": _number(difference.score_correlation),
        "auroc_correlation": _number(difference.auroc_correlation),
    }
    if margin is not None:
        found = equivalence(network, margin)
        values |= {"margin_p_value": _number(found.p_value), "within_margin": found.equivalent}
    return values


def _largest_image(labels: dict[str, str], found: LargestImage) -> dict:
    return {
        "patients": found.patients,
        "arms": [{"arm": arm, "label": labels[arm], **_one_network(each)} for arm, each in found.arms.items()],
        "differences": [
            {
                name: value
                for name, value in _difference(labels, each, None).items()
                if name in ("a", "b", "a_label", "b_label", "difference", "low", "high") or name.startswith("network_")
            }
            for each in found.differences
        ],
    }
