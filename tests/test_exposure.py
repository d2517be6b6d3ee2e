"""The debiased split: item by item as its rule says, seeded, nothing lost."""

from dataclasses import replace

import numpy as np
import pytest

from specrec_core import datasets, synthetic
from specrec_core.exposure import equal_exposure
from specrec_core.interactions import Interactions


def pairs_of(matrix):
    coo = matrix.tocoo()
    return set(zip(coo.row.tolist(), coo.col.tolist(), strict=True))


def toy(seed=0, **changes):
    data = synthetic.dcbm(
        n_users=150, n_items=60, n_communities=3, mean_degree=14, seed=seed, validation_fraction=0
    )
    return replace(data, **changes) if changes else data


@pytest.mark.parametrize("seed", range(5))
def test_every_item_follows_the_rule(seed):
    data = toy(seed)
    even = equal_exposure(data, seed)
    k = data.test.nnz // data.n_items
    moved_in = moved_out = 0
    for item in range(data.n_items):
        had_train, had_test = (
            {u for u, i in pairs_of(m) if i == item} for m in (data.train, data.test)
        )
        train, test = ({u for u, i in pairs_of(m) if i == item} for m in (even.train, even.test))
        assert train | test == had_train | had_test and not train & test
        if len(had_test) >= k:
            assert len(test) == k and test <= had_test
            moved_out += len(had_test) - k
        else:
            assert had_test <= test
            assert len(test) == len(had_test) + min(k - len(had_test), len(had_train))
            moved_in += len(test) - len(had_test)
    assert moved_in and moved_out, "nothing moved: a weak test"


def test_ids_without_pairs_count():
    """The rule divides by the largest id plus one, not by the number of items that have pairs."""
    data = toy()
    holes = replace(data, item_ids=np.arange(data.n_items) * 3)
    expected = data.test.nnz // (3 * (data.n_items - 1) + 1)
    assert np.diff(equal_exposure(holes, 0).test.tocsc().indptr).max() == expected
    names = replace(data, item_ids=np.array([f"b{i}" for i in range(data.n_items)]))
    most = np.diff(equal_exposure(names, 0).test.tocsc().indptr).max()
    assert most == data.test.nnz // data.n_items


def test_it_is_seeded_and_says_so():
    data = toy()
    first, again, other = (equal_exposure(data, seed) for seed in (1, 1, 2))
    assert pairs_of(first.test) == pairs_of(again.test) != pairs_of(other.test)
    assert first.version == f"{data.version}, equal exposure in test, seed 1"
    assert first.checksum == data.checksum and first.holdout(0.1, 0).validation.nnz


def test_pairs_of_both_splits_are_merged():
    """User 0 has item 0 in train and in test; of item 0 all else moves into test."""
    train = np.array([[0, 0], [1, 0], [2, 1], [3, 1]])
    test = np.array([[0, 0], [0, 1], [1, 1], [4, 1]])
    even = equal_exposure(Interactions.from_pairs("toy", train, test), 0)
    assert even.test.getcol(0).nnz <= 2 and even.test.getcol(1).nnz == 2
    assert pairs_of(even.train) | pairs_of(even.test) == set(map(tuple, [*train, *test]))


def test_what_cannot_be_split_is_refused():
    data = toy()
    with pytest.raises(ValueError, match="validation pairs, expected none"):
        equal_exposure(data.holdout(0.1, 0), 0)
    with pytest.raises(ValueError, match="test pairs for 60 item ids"):
        equal_exposure(replace(data, test=data.test * 0), 0)


@pytest.mark.parametrize(
    "name, k, train, test, exactly",
    [("ml-1m", 50, 852_139, 148_070, 2_514), ("gowalla", 5, 822_465, 204_905, None),
     ("yelp2018", 8, 1_257_022, 304_384, None)],
)  # fmt: skip
def test_sizes_are_those_of_the_official_rule(name, k, train, test, exactly):
    """These do not depend on the draw: only which pairs move does."""
    found = datasets.available(name, download=False)
    if not found:
        pytest.skip(found.reason)
    even = equal_exposure(datasets.load(name, validation=0), 3)
    counts = np.diff(even.test.tocsc().indptr)
    assert (even.train.nnz, even.test.nnz, counts.max()) == (train, test, k)
    if exactly:
        assert (counts == k).sum() == exactly
        assert (even.item_popularity == 0).sum() == 1_207
