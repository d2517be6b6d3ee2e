"""The degree-corrected block model: its degrees, communities, truth and determinism."""

import time

import numpy as np
import pytest

from specrec_core import datasets
from specrec_core.synthetic import dcbm


def whole(data):
    """All pairs, whatever the split."""
    return (data.train + data.validation + data.test).tocoo()


def hill_exponent(values: np.ndarray, top: int) -> float:
    """Maximum-likelihood exponent of a power-law density above the ``top``-th largest value."""
    largest = np.sort(values.astype(float))[::-1]
    return 1 + 1 / np.mean(np.log(largest[:top] / largest[top]))


@pytest.mark.parametrize("exponent", [2.2, 3.0])
def test_degrees_follow_the_power_law(exponent):
    data = dcbm(12_000, 10_000, 1, 8.0, exponent, test_fraction=0.0, validation_fraction=0.0)
    for degrees in (np.diff(data.train.indptr), data.item_popularity):
        # repeats are collapsed, which bends the largest degrees a little
        assert hill_exponent(degrees, 800) == pytest.approx(exponent, rel=0.12)


def test_mean_degree_and_everybody_takes_part():
    data = dcbm()
    assert whole(data).nnz == pytest.approx(1200 * 20, rel=0.005)
    assert data.statistics["users without train"] == 0
    assert data.planted.theta_user.mean() == pytest.approx(1.0)
    assert data.planted.theta_item.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("assortativity", [0.0, 0.5, 0.9, 1.0])
def test_share_within_communities(assortativity):
    data = dcbm(3000, 3000, 5, 6.0, exponent=3.0, assortativity=assortativity)
    pairs, truth = whole(data), data.planted
    within = truth.user_community[pairs.row] == truth.item_community[pairs.col]
    assert within.mean() == pytest.approx(assortativity, abs=0.02)


def test_planted_propensity_is_the_expected_degree():
    data = dcbm(2000, 1500, 4, 10.0, exponent=3.5)
    pairs, truth = whole(data), data.planted
    users = np.bincount(pairs.row, minlength=2000)
    items = np.bincount(pairs.col, minlength=1500)
    assert np.corrcoef(users, truth.theta_user)[0, 1] > 0.95
    assert np.corrcoef(items, truth.theta_item)[0, 1] > 0.9
    sizes = np.bincount(truth.user_community)
    assert len(sizes) == 4 and sizes.max() - sizes.min() <= 1
    # communities are no artefact of the order of ids
    assert abs(np.corrcoef(np.arange(2000), truth.user_community)[0, 1]) < 0.1


def test_leading_singular_vectors_find_the_planted_communities():
    data = dcbm(400, 400, 2, 12.0, exponent=4.0, assortativity=0.95)
    matrix = whole(data).toarray()
    matrix /= np.sqrt(np.maximum(matrix.sum(1, keepdims=True) * matrix.sum(0, keepdims=True), 1))
    left = np.linalg.svd(matrix)[0][:, 1]
    agree = ((left > 0) == (data.planted.user_community == 1)).mean()
    assert max(agree, 1 - agree) > 0.95


def test_same_seed_same_data_and_another_seed_another():
    first, again, other = dcbm(seed=1), dcbm(seed=1), dcbm(seed=2)
    assert first.checksum == again.checksum != other.checksum
    assert first.version == again.version != other.version
    for split in ("train", "validation", "test"):
        assert (getattr(first, split) != getattr(again, split)).nnz == 0
    assert (first.train != other.train).nnz > 0


def test_draw_is_pinned():
    """The same on every platform and numpy version; a change would silently redefine records."""
    assert dcbm().checksum[:16] == "440942feb70058c7"


def test_splits_are_floors_per_user():
    data = dcbm(test_fraction=0.2, validation_fraction=0.1)
    n = np.bincount(whole(data).row, minlength=1200)
    test = n * 2 // 10
    assert np.diff(data.test.indptr).tolist() == test.tolist()
    assert np.diff(data.validation.indptr).tolist() == ((n - test) // 10).tolist()


def test_time_grows_with_interactions_not_with_users_times_items():
    def seconds(scale: int) -> float:
        start = time.perf_counter()
        dcbm(3000 * scale, 3000 * scale, 4, 8.0, test_fraction=0.0, validation_fraction=0.0)
        return time.perf_counter() - start

    seconds(1)
    # ten times as many interactions, a hundred times as many cells
    assert seconds(10) < 40 * max(min(seconds(1) for _ in range(3)), 1e-3)


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("n_users", 0, "at least 1"),
        ("n_communities", 801, "expected 1 to 800"),
        ("mean_degree", 300.0, r"n_items / 4 = 200"),
        ("exponent", 1.0, "more than 1"),
        ("assortativity", 1.5, "a probability"),
        ("seed", -1, "non-negative integer"),
        ("test_fraction", 1.0, r"a share in \[0, 1\)"),
    ],
)
def test_bad_arguments_are_named(argument, value, expected):
    with pytest.raises(ValueError, match=rf"{argument}: {value}.*{expected}"):
        dcbm(**{argument: value})


def test_communities_too_small_for_the_degree_are_refused():
    with pytest.raises(ValueError, match="mean_degree: 20, expected less"):
        dcbm(200, 100, 25, 20.0, assortativity=1.0)


def test_load_gives_it_without_files(monkeypatch):
    monkeypatch.delenv("SPECREC_DATA", raising=False)
    data, direct = datasets.load("synthetic"), dcbm()
    assert data.checksum == direct.checksum and data.version == direct.version
    assert (data.validation != direct.validation).nnz == 0
    assert datasets.load("synthetic", validation=0).validation.nnz == 0
    assert datasets.available("synthetic")
