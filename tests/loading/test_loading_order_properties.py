"""The order of an epoch, for any number of samples, ranks and steps that hypothesis can think of."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrad.loading import order

SEEDS = st.integers(0, 2**64 - 1)
EPOCHS = st.integers(0, 2**32 - 1)


@settings(deadline=None)
@given(count=st.integers(0, 2000), seed=SEEDS, epoch=EPOCHS)
def test_an_epoch_holds_every_sample_once_and_is_the_same_each_time(count, seed, epoch):
    drawn = order.permutation(count, seed, epoch)
    assert np.array_equal(np.sort(drawn), np.arange(count))
    assert np.array_equal(drawn, order.permutation(count, seed, epoch))


@settings(deadline=None)
@given(count=st.integers(60, 300), seed=SEEDS, epoch=st.integers(0, 2**32 - 2))
def test_the_next_epoch_and_the_next_seed_have_another_order(count, seed, epoch):
    first = order.permutation(count, seed, epoch)
    assert not np.array_equal(first, order.permutation(count, seed, epoch + 1))
    assert not np.array_equal(first, order.permutation(count, seed ^ 1, epoch))


@settings(deadline=None)
@given(count=st.integers(0, 500), batch=st.integers(1, 40), ranks=st.integers(1, 9))
def test_ranks_together_take_every_place_once_in_the_same_number_of_steps(count, batch, ranks):
    steps = order.number_of_steps(count, batch, ranks)
    assert steps == -(-count // (batch * ranks))
    taken = []
    for step in range(steps):
        shares = [order.rank_share(step, count, batch, rank, ranks) for rank in range(ranks)]
        assert all(0 <= share.stop - share.start <= batch for share in shares)
        taken += [place for share in shares for place in range(share.start, share.stop)]
    assert taken == list(range(count))


@settings(deadline=None)
@given(positions=st.lists(st.integers(0, 6), max_size=60))
def test_occurrences_number_the_repeats_of_each_position_in_order(positions):
    seen: Counter[int] = Counter()
    expected = []
    for position in positions:
        expected.append(seen[position])
        seen[position] += 1
    assert order.occurrences(np.array(positions, dtype=np.int64)).tolist() == expected


@settings(deadline=None)
@given(
    weights=st.lists(st.one_of(st.just(0.0), st.floats(0.001, 1000)), min_size=1, max_size=50).filter(any),
    seed=SEEDS,
    epoch=EPOCHS,
)
def test_weighted_draws_are_as_many_as_weights_and_never_of_weight_zero(weights, seed, epoch):
    drawn = order.weighted_order(np.array(weights), seed, epoch)
    assert len(drawn) == len(weights)
    assert all(weights[position] > 0 for position in drawn)
