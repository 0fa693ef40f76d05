"""The B-mode scanner against the theory of speckle, and against what shadows and fluid do."""

import numpy as np
import pytest
from scipy import stats

from fastrad.phantom.shapes import Blob, inside
from fastrad.phantom.ultrasound import FLUID_DB, Scanner, Tissue, envelope, picture

SCANNER = Scanner(depth_mm=40.0)


def uncorrelated(echo: np.ndarray) -> np.ndarray:
    """Samples further apart than the point spread, away from the edges."""
    return echo[15:-15:9, 20:-20:12].ravel()


@pytest.fixture(scope="module")
def homogeneous() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([uncorrelated(envelope(Tissue(SCANNER, 128), rng)) for _ in range(12)])


def test_speckle_of_homogeneous_tissue_is_rayleigh_distributed(homogeneous):
    assert stats.kstest(homogeneous, stats.rayleigh(scale=np.sqrt(0.5)).cdf).pvalue > 0.01


def test_speckle_has_the_theoretical_signal_to_noise_ratio(homogeneous):
    assert homogeneous.mean() / homogeneous.std() == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), abs=0.05)  # 1.913
    assert np.sqrt(np.square(homogeneous).mean()) == pytest.approx(1.0, abs=0.03)


def test_speckle_is_finest_at_the_focus_and_has_the_width_of_the_point_spread():
    """The complex field of white scatterers has the point spread's autocorrelation, the intensity its square."""
    rng = np.random.default_rng(1)
    intensity = np.stack([np.square(envelope(Tissue(SCANNER, 128), rng)) for _ in range(24)])

    def lateral_half_width_mm(row: int) -> float:
        lines = intensity[:, row - 4 : row + 5, 20:-20].reshape(-1, intensity.shape[2] - 40)
        lines = lines - lines.mean()
        correlation = [(lines[:, lag:] * lines[:, : lines.shape[1] - lag]).mean() for lag in range(12)]
        at = np.interp(-0.5 * correlation[0], -np.asarray(correlation), np.arange(12))
        return float(at * 40 / 192)

    focus_row = int(SCANNER.focus_mm / 40 * 192)
    # For a Gaussian of standard deviation s the intensity's correlation is exp(-d^2 / (2 s^2)): 1/2 at half the FWHM.
    assert lateral_half_width_mm(focus_row) == pytest.approx(SCANNER.lateral_mm / 2, rel=0.15)
    assert lateral_half_width_mm(185) > 1.2 * lateral_half_width_mm(focus_row)


@pytest.mark.parametrize("curved", [False, True])
def test_behind_a_stone_is_shadow_and_behind_a_cyst_enhancement(curved):
    def level_behind(echo: float, loss: float) -> float:
        tissue = Tissue(Scanner(depth_mm=40.0, curved=curved), 128)
        blob = Blob(0.0, 15.0, 5.0, 4.0)
        tissue.paint(inside(blob.distance(tissue.x, tissue.z)[0]), echo, loss)
        return float(envelope(tissue, np.random.default_rng(2))[110:150, 86:106].mean())

    plain = level_behind(0, 0)
    assert level_behind(20, 10) < 0.2 * plain
    assert level_behind(FLUID_DB, -0.7) > 1.5 * plain


def test_a_picture_is_gray_tissue_with_black_fluid():
    tissue = Tissue(SCANNER, 96)
    cyst = Blob(0.0, 20.0, 8.0, 8.0)
    tissue.paint(inside(cyst.distance(tissue.x, tissue.z)[0]), FLUID_DB)
    shown = picture(tissue, np.random.default_rng(3))
    assert shown.shape == (96, 96)
    assert shown.dtype == np.uint8
    assert shown[40:56, 40:56].mean() < 12
    assert 60 < shown[36:60, 5:20].mean() < 140


def test_a_curved_probe_shows_a_sector():
    shown = picture(Tissue(Scanner(depth_mm=100.0, curved=True), 96), np.random.default_rng(4))
    assert shown[5, 5] == shown[5, -6] == 0
    assert shown[40, 48] > 20
    assert (shown > 0).mean(axis=1)[50] > 1.3 * (shown > 0).mean(axis=1)[20]


def test_what_is_painted_in_a_part_is_painted_in_the_whole():
    tissue, blob = Tissue(SCANNER, 64), Blob(3.0, 18.0, 4.0, 3.0, ((5, 0.2, 1.0),), 0.4)
    part = tissue.around(blob)
    part.paint(inside(blob.distance(part.x, part.z)[0]), 10.0)
    assert np.array_equal(tissue.echo, 10.0 * inside(blob.distance(tissue.x, tissue.z)[0]))
