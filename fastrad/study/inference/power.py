"""How many patients and networks a difference of two AUROCs needs to be found.

Either from stated variances, with binormal scores of equal variance in both classes, or from those of a finished study,
whose part of the patients shrinks with their number and whose part of the networks with theirs.

Sources
-------
DeLong, DeLong, Clarke-Pearson, Biometrics 1988;44:837 (variances from components). Drezner & Wesolowsky, Journal of
Statistical Computation and Simulation 1990;35:101 (the bivariate normal integral). Hillis, Obuchowski, Berbaum,
Academic Radiology 2011;18:129 (sample sizes for readers and patients from a pilot's variance components).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from fastrad.errors import OptionError
from fastrad.study.inference.differences import FEWEST_FOR_A_TEST
from fastrad.study.inference.evaluation import StudyResult
from fastrad.study.inference.multireader import ReaderScores, positive, quantile, reader_scores
from fastrad.study.inference.networks import units

MOST_PATIENTS = 10_000_000  # beyond: the networks' own variance is too large for any number of patients
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


@dataclass(frozen=True)
class PowerQuestion:
    """What is to be found, and from which variances.

    Attributes
    ----------
    auroc : float
        Of the lesser arm.
    difference : float
        By which the other one is better.
    correlation : tuple of float
        Of two arms' scores within a class (may be repeated).
    malignant : float
        Share of the patients.
    power : float
        Probability of finding the difference by a two-sided test at 5 %.
    network_sd : float
        By which networks of one arm differ in their true AUROC, for other seeds and training patients.
    networks : tuple of int
        Networks an arm: seeds times folds (may be repeated).
    study : Path or None
        Folder of a finished study of two seeds and more: its variances and correlations instead of stated ones.
    """

    auroc: float = 0.80
    difference: float = 0.04
    correlation: tuple[float, ...] = (0.3, 0.5, 0.7, 0.8, 0.9)
    malignant: float = 0.3
    power: float = 0.8
    network_sd: float = 0.0
    networks: tuple[int, ...] = (5, 10, 15, 25, 50)
    study: Path | None = None

    def __post_init__(self) -> None:
        other = self.auroc + self.difference
        if not (0 < self.auroc < 1 and 0 < other < 1 and self.difference > 0):
            raise OptionError(
                f"--auroc {self.auroc:g} and --difference {self.difference:g}: the difference must be above 0, both "
                "AUROCs between 0 and 1"
            )
        if not all(0 <= r < 1 for r in self.correlation):
            raise OptionError("--correlation: give correlations from 0 to below 1")
        if not (0 < self.malignant < 1 and 0.05 < self.power < 1):
            raise OptionError(
                f"--malignant {self.malignant:g} must be between 0 and 1, --power {self.power:g} between 0.05 and 1"
            )
        if not (self.network_sd >= 0 and all(count >= 2 for count in self.networks)):
            raise OptionError("--network-sd must not be below 0, --networks at least 2")


class Variances(NamedTuple):
    """What a difference of two arms' mean AUROCs varies by, as variances with so many patients.

    `interaction` is networks' own (sigma^2 of treatment x reader), `residual` that of the error which networks do not
    share, `shared` that which they share (Cov2 - Cov3). SE^2 = 2/r * (interaction + residual) + 2 * shared, the latter
    two going with 1 / patients.
    """

    interaction: float
    residual: float
    shared: float
    patients: float

    def at(self, patients: float, networks: int) -> tuple[float, float]:
        """Standard error and Hillis's degrees of freedom with other numbers."""
        factor = self.patients / patients
        mean_square = self.interaction + self.residual * factor
        denominator = mean_square + networks * self.shared * factor
        df = denominator**2 / (mean_square**2 / (networks - 1)) if mean_square > 0 else math.inf
        return math.sqrt(2 / networks * denominator), df


def binormal_covariance(auroc_a: float, auroc_b: float, correlation: float, malignant: float, benign: float) -> float:
    """Covariance of two AUROCs on the same patients, to DeLong's order: E10/malignant + E01/benign.

    Scores are normal with variance 1 in both classes and correlate by `correlation` within a class; with correlation 1
    and one AUROC it is the variance.
    """
    # two differences of scores that share one patient correlate by half
    pair = bivariate_normal(float(ndtri(auroc_a)), float(ndtri(auroc_b)), correlation / 2) - auroc_a * auroc_b
    return pair / malignant + pair / benign


def bivariate_normal(h: float, k: float, correlation: float) -> float:
    """P(X < h, Y < k) of standard normal variables, by Gauss-Legendre over the angle."""
    half = math.asin(correlation) / 2
    angle = half * (_NODES + 1)
    density = np.exp(-(h * h + k * k - 2 * h * k * np.sin(angle)) / (2 * np.cos(angle) ** 2))
    return float(ndtr(h) * ndtr(k) + half * (_WEIGHTS * density).sum() / (2 * math.pi))


def stated_variances(question: PowerQuestion, correlation: float) -> tuple[Variances, float]:
    """The variances of one patient's worth, and the correlation of the two AUROCs."""
    a, b = question.auroc, question.auroc + question.difference
    shares = question.malignant, 1 - question.malignant
    own = [binormal_covariance(each, each, 1.0, *shares) for each in (a, b)]
    both = binormal_covariance(a, b, correlation, *shares)
    shared = (own[0] + own[1] - 2 * both) / 2
    return Variances(question.network_sd**2, 0.0, shared, 1.0), both / math.sqrt(own[0] * own[1])


def observed_variances(a: ReaderScores, b: ReaderScores) -> Variances:
    """Those of a finished study: mean square and DeLong's covariances, taken apart.

    Parameters
    ----------
    a, b : ReaderScores
        `auroc` of shape (r,), the same networks in both arms.
    """
    r = a.auroc.size
    cross = a.deviations @ b.deviations.T
    squares = [(each.deviations**2).sum() for each in (a, b)]
    sums = [each.deviations.sum(axis=0) for each in (a, b)]
    error = sum(squares) / (2 * r)
    same_network = float(np.trace(cross)) / r
    same_arm = sum(float(total @ total) - square for total, square in zip(sums, squares, strict=True)) / (
        2 * r * (r - 1)
    )
    neither = float(cross.sum() - np.trace(cross)) / (r * (r - 1))
    shared = positive(same_arm - neither)
    residual = positive(float(error - same_network - same_arm + neither))
    mean_square = float((a.auroc - b.auroc).var(ddof=1)) / 2
    return Variances(positive(mean_square - residual), residual, shared, a.malignant + a.benign)


def power_of(variances: Variances, difference: float, patients: float, networks: int) -> float:
    """Probability that the two-sided test at 5 % finds a true difference."""
    from scipy.stats import nct, norm

    error, df = variances.at(patients, networks)
    reach, shift = quantile(df, 0.975), difference / error
    if math.isinf(df):
        return float(norm.sf(reach - shift) + norm.cdf(-reach - shift))
    # far out scipy's noncentral t is not a number; there it is the normal distribution to every digit that counts
    found = float(nct.sf(reach, df, shift) + nct.cdf(-reach, df, shift))
    return found if math.isfinite(found) else float(norm.sf(reach - shift))


def patients_needed(variances: Variances, difference: float, power: float, networks: int) -> int | None:
    """The fewest test patients with which the difference is found with this power; None where no number is enough."""
    return _smallest(lambda patients: power_of(variances, difference, patients, networks) >= power)


def answer(question: PowerQuestion, result: StudyResult | None = None) -> dict[str, Any]:
    """Patients needed for each number of networks, as JSON values; never fewer than a difference is called shown with.

    It is the power of networks as readers alone: that folds and bootstrap must agree before a difference is called
    shown takes more.

    Parameters
    ----------
    question : PowerQuestion
    result : StudyResult or None
        Of the study that the question names.

    Returns
    -------
    dict
        `rows`: of each correlation (or pair of arms) `score_correlation`, `auroc_correlation`, and `needed`, a list of
        `networks` and `patients` (None: no number is enough). Of a study's pairs also `pair`, `standard_error`, the
        study's `patients` and `networks`, and `patients_vary`: False where what networks share of the patients'
        variance came out at zero or below, so that no number of patients follows and `needed` is empty.

    Raises
    ------
    InputError
        If the study has one seed.
    """
    rows = []
    if result is None:
        for correlation in question.correlation:
            variances, of_aurocs = stated_variances(question, correlation)
            about = {"score_correlation": correlation, "auroc_correlation": of_aurocs}
            rows.append({**about, "needed": _needed(question, variances, question.networks, question.malignant)})
    else:
        readers = {name: reader_scores(result.labels, each) for name, each in result.networks.items()}
        for each in result.differences:
            if each.network.networks is None:
                raise OptionError(f"--study {question.study}: has one seed, so nothing is known of how networks vary")
            a, b = (_one_file(readers[name]) for name in (each.a, each.b))
            own, variances = a.auroc.size, observed_variances(a, b)
            counts = tuple(sorted({*question.networks, own}))
            rows.append(
                {
                    "pair": [each.a, each.b],
                    "score_correlation": each.score_correlation,
                    "auroc_correlation": each.auroc_correlation,
                    "standard_error": each.network.networks.standard_error,
                    "patients": len(result.labels),
                    "networks": own,
                    "patients_vary": variances.shared > 0,
                    "needed": _needed(question, variances, counts, float(result.labels.mean()))
                    if variances.shared > 0
                    else [],
                }
            )
    return {"difference": question.difference, "power": question.power, "rows": rows}


def _needed(
    question: PowerQuestion, variances: Variances, networks: tuple[int, ...], malignant: float
) -> list[dict[str, int | None]]:
    fewest = math.ceil(FEWEST_FOR_A_TEST / min(malignant, 1 - malignant))
    found = [(count, patients_needed(variances, question.difference, question.power, count)) for count in networks]
    return [
        {"networks": count, "patients": None if patients is None else max(patients, fewest)}
        for count, patients in found
    ]


def _one_file(readers: ReaderScores) -> ReaderScores:
    """The networks of an arm's first weights file: of how files differ, power is not asked here."""
    first = readers._replace(auroc=readers.auroc[:1], deviations=readers.deviations[:1])
    return units(first)


def _smallest(enough: Callable[[int], bool]) -> int | None:
    high = 4
    while not enough(high):
        high *= 2
        if high > MOST_PATIENTS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
