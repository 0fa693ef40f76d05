"""The nodules: their features occur as documented, overlap as promised, and can be seen in the pictures."""

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import OneHotEncoder

from fastrad.phantom.shapes import Blob
from fastrad.phantom.thyroid import FEATURES, Nodule, count_pictures, draw_nodule, nodule_picture, outlined_picture

PATIENTS = 4000


@pytest.fixture(scope="module")
def nodules() -> list[Nodule]:
    return [draw_nodule(0, patient) for patient in range(PATIENTS)]


@pytest.mark.parametrize("feature", FEATURES)
def test_shares_of_a_feature_sum_to_one_and_are_met(nodules, feature):
    for position, label in enumerate(("benign", "malignant")):
        group = [getattr(nodule, feature) for nodule in nodules if nodule.label == label]
        assert sum(shares[position] for shares in FEATURES[feature].values()) == pytest.approx(1.0)
        for value, shares in FEATURES[feature].items():
            assert group.count(value) / len(group) == pytest.approx(shares[position], abs=0.035)


def test_forty_five_percent_of_any_twenty_patients_are_malignant(nodules):
    for start in range(0, PATIENTS, 20):
        assert sum(nodule.label == "malignant" for nodule in nodules[start : start + 20]) == 9


def test_the_ideal_reader_of_the_features_is_good_and_far_from_perfect():
    """The likelihood ratio is the best possible score; its AUROC is summed over all combinations of features."""
    pairs = list(itertools.product(*(shares.values() for shares in FEATURES.values())))
    benign, malignant = (
        np.array([np.prod([pair[side] for pair in combination]) for combination in pairs]) for side in (0, 1)
    )
    order = np.argsort(malignant / benign)
    benign, malignant = benign[order], malignant[order]
    ideal = float((malignant * (np.cumsum(benign) - benign / 2)).sum())
    assert 0.88 < ideal < 0.92


def test_a_logistic_regression_on_the_true_features_overlaps(nodules):
    features = [[getattr(nodule, feature) for feature in FEATURES] for nodule in nodules]
    malignant = np.array([nodule.label == "malignant" for nodule in nodules])
    encoded = OneHotEncoder().fit_transform(features)
    score = cross_val_predict(LogisticRegression(), encoded, malignant, method="predict_proba")[:, 1]
    assert 0.87 < roc_auc_score(malignant, score) < 0.91


def test_sizes_say_nothing_about_the_label_but_through_the_shape(nodules):
    malignant = [nodule.label == "malignant" for nodule in nodules]
    area = [nodule.transverse_mm * nodule.anteroposterior_mm for nodule in nodules]
    assert roc_auc_score(malignant, area) == pytest.approx(0.5, abs=0.03)
    for nodule in nodules:
        taller = nodule.anteroposterior_mm > nodule.transverse_mm
        assert taller == (nodule.shape == "taller than wide")


def test_patients_have_one_to_three_pictures():
    counts = np.array([count_pictures(0, patient) for patient in range(PATIENTS)])
    assert set(counts) == {1, 2, 3}
    assert counts.mean() == pytest.approx(1.5, abs=0.05)


def test_pictures_are_a_pure_function_of_seed_patient_and_number():
    nodule = draw_nodule(0, 3)
    first = nodule_picture(nodule, 0, 3, 0, 64)
    assert np.array_equal(first, nodule_picture(nodule, 0, 3, 0, 64))
    for other in (
        nodule_picture(nodule, 1, 3, 0, 64),
        nodule_picture(nodule, 0, 4, 0, 64),
        nodule_picture(nodule, 0, 3, 2, 64),
    ):
        assert (first != other).mean() > 0.5


@pytest.fixture(scope="module")
def darkness() -> dict[str, float]:
    """Mean gray of the central half of pictures that differ in the nodule's composition and echogenicity alone."""

    def mean(composition: str, echogenicity: str) -> float:
        nodule = Nodule("benign", composition, echogenicity, "wider than tall", "smooth", "none", 24.0, 20.0, 26.0)
        return float(np.mean([nodule_picture(nodule, 0, p, 0, 64)[16:40, 20:44].mean() for p in range(6)]))

    return {
        "cystic": mean("cystic", "isoechoic"),
        **{echogenicity: mean("solid", echogenicity) for echogenicity in FEATURES["echogenicity"]},
    }


def test_echogenicity_is_seen_in_its_order(darkness):
    levels = [darkness[name] for name in ("cystic", "very hypoechoic", "hypoechoic", "isoechoic", "hyperechoic")]
    assert levels == sorted(levels)
    assert darkness["isoechoic"] - darkness["very hypoechoic"] > 15


def test_calcium_is_bright_and_coarse_calcium_casts_a_shadow():
    def pictures(foci: str) -> np.ndarray:
        nodule = Nodule("benign", "solid", "hypoechoic", "wider than tall", "smooth", foci, 20.0, 14.0, 22.0)
        return np.stack([nodule_picture(nodule, 0, patient, 0, 96) for patient in range(8)]).astype(float)

    plain, punctate, coarse = pictures("none"), pictures("punctate"), pictures("macrocalcification")
    bright = [(group[:, 30:60, 24:72] > 220).mean() for group in (plain, punctate, coarse)]
    assert bright[1] > 3 * bright[0]
    assert bright[2] > 3 * bright[0]
    lowest = [np.sort(group[:, 70:90, 24:72].mean(axis=1), axis=1)[:, :4].mean() for group in (plain, coarse)]
    assert lowest[1] < 0.6 * lowest[0]


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_an_outline_is_where_the_distance_is_zero(tilt):
    blob = Blob(3.0, -2.0, 6.0, 4.0, ((3, 0.08, 1.0), (7, 0.05, 2.0)), tilt)
    x, y = np.meshgrid(np.arange(-8, 14, 0.02, dtype=np.float32), np.arange(-12, 8, 0.02, dtype=np.float32))
    within = blob.distance(x, y)[0] <= 0
    outline = blob.outline(2000)
    for axis, values in ((0, x[within]), (1, y[within])):
        assert outline[:, axis].min() == pytest.approx(values.min(), abs=0.04)
        assert outline[:, axis].max() == pytest.approx(values.max(), abs=0.04)


def test_the_box_holds_the_nodule():
    """A cyst is black: the middle of its box is much darker than what lies beside the box."""
    cyst = Nodule("benign", "cystic", "isoechoic", "wider than tall", "smooth", "none", 16.0, 12.0, 18.0)
    for patient in range(4):
        picture, (left, top, right, bottom) = outlined_picture(cyst, 0, patient, 0, 96)
        assert 0 <= left < right <= 96
        assert 0 <= top < bottom <= 96
        height, width = (bottom - top) // 4, (right - left) // 4
        inside = picture[top + height : bottom - height, left + width : right - width].mean()
        beside = picture[top + height : bottom - height, max(0, left - 6) : left].mean()
        assert inside < 0.5 * beside
