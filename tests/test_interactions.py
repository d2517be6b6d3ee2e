"""Interactions: canonical splits, holdout, statistics, CSR on devices."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from specrec_core.interactions import CSR, Interactions, random_part


def toy(seed: int = 0, n_users: int = 60, n_items: int = 40, pairs: int = 500) -> Interactions:
    rng = np.random.default_rng(seed)
    every = rng.integers(0, [n_users, n_items], size=(pairs, 2))
    return Interactions.from_pairs(
        "toy", every[: pairs // 2], every[pairs // 2 :], (n_users, n_items)
    )


def pair_set(matrix: sp.csr_matrix) -> set[tuple[int, int]]:
    rows, columns = matrix.nonzero()
    return set(zip(rows.tolist(), columns.tolist(), strict=True))


def test_from_pairs_counts_duplicates_and_overlap_and_sorts():
    train = np.array([[1, 2], [0, 3], [1, 0], [1, 2], [1, 2]])
    data = Interactions.from_pairs("toy", train, np.array([[1, 0], [0, 1], [0, 1]]))
    assert (data.n_users, data.n_items) == (2, 4)
    assert pair_set(data.train) == {(1, 2), (0, 3), (1, 0)}
    assert data.train.indices.tolist() == [3, 0, 2] and data.train.data.tolist() == [1, 1, 1]
    assert data.dropped == {
        "duplicate train pairs": 2,
        "duplicate test pairs": 1,
        "test pairs also in train (kept, cannot be hit)": 1,
    }
    assert (1, 0) in pair_set(data.test)


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (np.zeros((0, 2), dtype=int), "no pairs"),
        (np.array([[0, -1]]), "-1, expected non-negative"),
        (np.array([[0, 5]]), r"\(0, 5\), expected below \(2, 3\)"),
        (np.array([[0.0, 1.0]]), "dtype float64, expected integers"),
        (np.array([0, 1]), r"shape \(2,\), expected \(n, 2\)"),
    ],
)
def test_from_pairs_rejects(train, expected):
    with pytest.raises(ValueError, match=f"train: .*{expected}"):
        Interactions.from_pairs("toy", train, np.array([[0, 0]]), (2, 3))


def test_a_test_part_may_be_empty():
    data = Interactions.from_pairs("toy", [[0, 1], [1, 0]], [])
    assert data.train.nnz == 2 and data.test.nnz == 0 and data.test.shape == (2, 2)


def test_splits_of_different_shape_and_overlapping_validation_are_rejected():
    data = toy()
    fields = {"name": "toy", "version": "", "checksum": "", "train": data.train}
    empty = sp.csr_matrix(data.train.shape)
    with pytest.raises(ValueError, match="test: shape"):
        Interactions(**fields, validation=empty, test=sp.csr_matrix((2, 2)))
    with pytest.raises(ValueError, match=r"validation: .* also in train"):
        Interactions(**fields, validation=data.train, test=empty)
    with pytest.raises(ValueError, match="item_ids: shape"):
        Interactions(**fields, validation=empty, test=empty, item_ids=np.arange(3))


def test_statistics_against_a_count_by_hand():
    data = toy().holdout(0.3, seed=1)
    train, validation, test = (pair_set(m) for m in (data.train, data.validation, data.test))
    per_user = [sum(u == user for user, _ in train) for u in range(data.n_users)]
    facts = data.statistics
    assert facts["train"] == len(train) and facts["validation"] == len(validation)
    assert facts["test"] == len(test)
    assert facts["distinct pairs"] == len(train | validation | test)
    assert facts["density"] == pytest.approx(len(train | validation | test) / (60 * 40))
    assert facts["cold items"] == 40 - len({i for _, i in train})
    assert facts["users without test"] == 60 - len({u for u, _ in test})
    assert facts["median per user"] == np.median(per_user)
    assert facts["max per user"] == max(per_user)
    popularity = [sum(i == item for _, item in train) for i in range(40)]
    assert data.item_popularity.tolist() == popularity
    assert data.item_popularity.dtype == np.int64


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.29, 0.5, 0.99])
def test_holdout_takes_the_floor_of_each_user_and_loses_nothing(fraction):
    data = toy(pairs=2000)
    held = data.holdout(fraction, seed=3)
    n = np.diff(data.train.indptr)
    movable = n - np.diff(data.train.multiply(data.test).tocsr().indptr)
    wanted = [int(fraction * 1000) * int(k) // 1000 for k in n]  # exact integer arithmetic
    assert np.diff(held.validation.indptr).tolist() == np.minimum(wanted, movable).tolist()
    assert pair_set(held.train) | pair_set(held.validation) == pair_set(data.train)
    assert not pair_set(held.train) & pair_set(held.validation)
    assert not pair_set(held.test) & pair_set(held.validation)
    assert ((np.diff(held.train.indptr) > 0) == (n > 0)).all()


def test_holdout_is_a_function_of_the_seed_and_uniform():
    data = Interactions.from_pairs(
        "one user", np.stack([np.zeros(20, int), np.arange(20)], 1), np.zeros((0, 2), int)
    )
    first = data.holdout(0.25, seed=7)
    assert pair_set(first.validation) == pair_set(data.holdout(0.25, seed=7).validation)
    assert pair_set(first.validation) != pair_set(data.holdout(0.25, seed=8).validation)
    counts = sum(data.holdout(0.25, seed=s).validation.toarray()[0] for s in range(400))
    assert counts.sum() == 400 * 5
    # binomial(400, 1/4): mean 100, standard deviation 8.7
    assert 65 < counts.min() and counts.max() < 135


def test_holdout_draw_is_pinned():
    """The same on every platform and numpy version; a change would silently redefine records."""
    every = np.stack(np.divmod(np.arange(30), 10), axis=1)
    data = Interactions.from_pairs("grid", every, every[:0])
    assert data.holdout(0.2, seed=0).validation.indices.tolist() == [0, 9, 6, 7, 0, 1]


def test_streams_of_two_purposes_differ():
    matrix = sp.csr_matrix(np.ones((5, 100)))
    test, validation = (random_part(matrix, 0.5, 0, p) for p in ("test", "validation"))
    overlap = test.multiply(validation).nnz / test.nnz
    assert 0.35 < overlap < 0.65


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_holdout_rejects_fraction(fraction):
    with pytest.raises(ValueError, match=r"fraction: .* expected a share"):
        toy().holdout(fraction, seed=0)


def test_holdout_rejects_seed_and_second_carving():
    with pytest.raises(ValueError, match="seed: -1"):
        toy().holdout(0.1, seed=-1)
    with pytest.raises(ValueError, match="already holds"):
        toy().holdout(0.2, seed=0).holdout(0.2, seed=0)


def test_csr_is_the_matrix(device):
    data = toy().holdout(0.3, seed=0)
    csr = data.csr("train", device)
    assert csr.indices.dtype == csr.offsets.dtype == torch.int64
    assert csr.device.type == torch.device(device).type
    dense = torch.zeros(csr.shape)
    dense[csr.rows().cpu(), csr.indices.cpu()] = 1
    assert dense.numpy().tolist() == data.train.toarray().tolist()
    assert csr.degree().tolist() == data.train.getnnz(axis=1).tolist()
    assert csr.nnz == data.train.nnz
    assert csr.to("cpu").indices.tolist() == csr.indices.tolist()


def test_csr_of_known_pairs_is_the_union(device):
    data = toy().holdout(0.3, seed=0)
    union = data.csr("train+validation", device)
    pairs = set(zip(union.rows().tolist(), union.indices.tolist(), strict=True))
    assert pairs == pair_set(data.train) | pair_set(data.validation)
    everywhere = data.to(device)
    assert everywhere.test.indices.tolist() == data.test.indices.tolist()


def test_csr_rejects_split():
    with pytest.raises(ValueError, match="split: 'all', expected one of train"):
        toy().csr("all")


def test_csr_from_scipy_is_sorted_without_zeros_or_repeats():
    rows, columns, values = [0, 0, 0, 1], [2, 1, 2, 0], [1.0, 5.0, 1.0, 0.0]
    csr = CSR.from_scipy(sp.coo_matrix((values, (rows, columns)), shape=(3, 4)).tocsr())
    assert csr.offsets.tolist() == [0, 2, 2, 2] and csr.indices.tolist() == [1, 2]
