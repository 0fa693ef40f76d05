"""The order of an epoch: a permutation of (seed, epoch), cut into steps and ranks without loss or repeat."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fastrad.loading import order


def test_every_epoch_is_a_full_permutation_and_repeats_itself_for_the_same_seed_and_epoch() -> None:
    first = order.permutation(1000, seed=3, epoch=5)
    assert np.array_equal(np.sort(first), np.arange(1000))
    assert np.array_equal(first, order.permutation(1000, seed=3, epoch=5))


def test_neighbouring_seeds_and_epochs_are_uncorrelated() -> None:
    """FFCV adds seed and epoch, so its seed 0 epoch 1 is seed 1 epoch 0; here all pairs differ."""
    orders = {(seed, epoch): order.permutation(2000, seed, epoch) for seed in range(4) for epoch in range(4)}
    pairs = [(a, b) for a in orders for b in orders if a < b]
    correlations = [stats.pearsonr(orders[a], orders[b]).statistic for a, b in pairs]
    assert np.abs(correlations).max() < 4 / np.sqrt(2000)  # 120 draws from N(0, 1/2000): beyond 4 sd in 1 of 130 runs


def test_first_place_is_uniform_over_seeds() -> None:
    firsts = [order.permutation(10, seed, 0)[0] for seed in range(2000)]
    assert stats.chisquare(np.bincount(firsts, minlength=10)).pvalue > 1e-3


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [0, 1, 7, 64, 101, 256])
@pytest.mark.parametrize("batch", [1, 5, 16])
def test_ranks_cover_every_place_once_in_equal_steps(ranks: int, count: int, batch: int) -> None:
    steps = order.number_of_steps(count, batch, ranks)
    places = []
    for step in range(steps):
        shares = [order.rank_share(step, count, batch, rank, ranks) for rank in range(ranks)]
        sizes = [share.stop - share.start for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= batch
        if step < steps - 1:
            assert sizes == [batch] * ranks
        places += [place for share in shares for place in range(share.start, share.stop)]
    assert places == list(range(count))


def test_same_global_batch_means_same_samples_at_each_step_for_any_number_of_ranks() -> None:
    for step in range(order.number_of_steps(101, 8, 1)):
        whole = order.rank_share(step, 101, 8, 0, 1)
        parts = [order.rank_share(step, 101, 2, rank, 4) for rank in range(4)]
        assert (parts[0].start, parts[-1].stop) == (whole.start, whole.stop)


def test_occurrences_count_earlier_repeats() -> None:
    assert order.occurrences(np.array([3, 1, 3, 3, 1, 0])).tolist() == [0, 0, 1, 2, 1, 0]
    assert order.occurrences(np.array([], dtype=np.int64)).tolist() == []


def test_weighted_order_draws_in_proportion_and_never_a_sample_of_weight_zero() -> None:
    weights = np.array([0.0, 1.0, 3.0, 0.0] * 5000)
    drawn = order.weighted_order(weights, seed=1, epoch=2)
    assert len(drawn) == len(weights)
    assert set(drawn % 4) == {1, 2}
    assert stats.binomtest(int((drawn % 4 == 2).sum()), len(drawn), 0.75).pvalue > 1e-3


def test_balancing_weights_give_each_class_the_same_total() -> None:
    labels = np.array([0] * 90 + [2] * 9 + [5])
    weights = order.balancing_weights(labels)
    assert [weights[labels == label].sum() for label in (0, 2, 5)] == pytest.approx([1 / 3] * 3)
