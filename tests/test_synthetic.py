"""Bipartite block models and playlists: their degrees, communities, truth and determinism."""

import hashlib
import tracemalloc

import numpy as np
import pytest

from specrec_core import datasets
from specrec_core.catalogue import SYNTHETIC
from specrec_core.synthetic import dcbm, playlists


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
    assert dcbm(3000, 2000, 5, 8.0, 3.0, 0.7, seed=3).checksum[:16] == "79f604fed5aaab63"


def short_hash(array: np.ndarray) -> str:
    return hashlib.sha256(array.astype("<i8").tobytes()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("seed", "test", "validation"),
    [(0, "6dd4d5ef258c6492", "0d41d3c6f844cbec"), (3, "a4ccb8ad4d332d9b", "14f9cc066735dcf1")],
)
def test_splits_are_pinned(seed, test, validation):
    """The checksum is of all pairs: which of them are held out is drawn from the seed, too."""
    data = dcbm(seed=seed)
    assert short_hash(np.stack(data.test.nonzero())) == test
    assert short_hash(np.stack(data.validation.nonzero())) == validation


def test_default_law_and_mixing_leave_the_version_as_it_was():
    assert dcbm().version == dcbm(law="power law", blocks=None).version == SYNTHETIC


def test_splits_are_floors_per_user():
    data = dcbm(test_fraction=0.2, validation_fraction=0.1)
    n = np.bincount(whole(data).row, minlength=1200)
    test = n * 2 // 10
    assert np.diff(data.test.indptr).tolist() == test.tolist()
    assert np.diff(data.validation.indptr).tolist() == ((n - test) // 10).tolist()


def test_memory_grows_with_interactions_not_with_users_times_items():
    def peak(scale: int) -> int:
        tracemalloc.start()
        dcbm(3000 * scale, 3000 * scale, 4, 8.0, test_fraction=0.0, validation_fraction=0.0)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    # four times as many interactions, sixteen times as many cells
    assert peak(4) < 6 * peak(1)


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
        ("law", "'cauchy'", "expected one of constant"),
    ],
)
def test_bad_arguments_are_named(argument, value, expected):
    with pytest.raises(ValueError, match=rf"{argument}: {value}.*{expected}"):
        dcbm(**{argument: value.strip("'") if isinstance(value, str) else value})


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


@pytest.mark.parametrize(
    ("law", "parameters"),
    [("constant", {}), ("uniform", {"low": 0.5, "high": 1.5}), ("lognormal", {}), ("pareto", {})],
)
def test_other_laws_of_propensity(law, parameters):
    data = dcbm(3000, 2500, 4, 10.0, law=law, **parameters)
    for theta in (data.planted.theta_user, data.planted.theta_item):
        assert theta.mean() == pytest.approx(1.0)
        if law == "constant":
            assert (theta == 1).all()
        elif law == "uniform":
            assert np.quantile(theta, [0, 0.5, 1]) == pytest.approx([0.5, 1, 1.5], abs=0.04)
        elif law == "lognormal":
            assert np.log(theta).std() == pytest.approx(0.8, abs=0.05)
        else:
            assert hill_exponent(theta, 500) == pytest.approx(3.5, rel=0.15)
    counts = np.bincount(whole(data).col, minlength=2500)
    if law != "constant":
        spread = theta.var() * 12.0  # 12 per item expected; the counts add the variance of Poisson
        correlation = np.corrcoef(counts, theta)[0, 1]
        assert correlation == pytest.approx(np.sqrt(spread / (spread + 1)), abs=0.03)
    assert f"law={law}" in data.version and "exponent" not in data.version
    assert data.checksum == dcbm(3000, 2500, 4, 10.0, law=law, **parameters).checksum


def test_every_argument_of_the_draw_is_in_the_version():
    blocks = np.array([[1.0, 0.2], [0.1, 1.0]])
    small = {"n_users": 60, "n_items": 50, "n_communities": 2, "mean_degree": 4.0}
    made = [
        dcbm(**small),
        dcbm(**small, law="pareto"),
        dcbm(**small, law="pareto", alpha=3.0),
        dcbm(**small, law="lognormal"),
        dcbm(**small, law="lognormal", sigma=0.5),
        dcbm(**small, blocks=blocks),
        dcbm(**small, blocks=blocks.T),
        dcbm(**small, blocks=blocks, law="constant"),
    ]
    assert len({data.version for data in made}) == len({data.checksum for data in made}) == 8
    # written out, defaults are the same data under the same name
    assert dcbm(**small, law="pareto", alpha=2.5).version == made[1].version


def test_given_affinities_set_the_share_of_every_pair_of_communities():
    blocks = np.array([[0.0, 2.0, 1.0], [3.0, 0.5, 0.0], [0.2, 0.2, 0.2]])
    data = dcbm(6000, 5000, 3, 5.0, law="uniform", blocks=blocks)
    pairs, truth = whole(data), data.planted
    cells = 3 * truth.user_community[pairs.row] + truth.item_community[pairs.col]
    found = np.bincount(cells, minlength=9).reshape(3, 3)
    mass = [
        np.bincount(community, theta)
        for community, theta in (
            (truth.user_community, truth.theta_user),
            (truth.item_community, truth.theta_item),
        )
    ]
    expected = mass[0][:, None] * blocks * mass[1]
    assert (found[blocks == 0] == 0).all()
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum(), atol=0.01)
    np.testing.assert_array_equal(truth.blocks, blocks)
    again = dcbm(6000, 5000, 3, 5.0, law="uniform", blocks=7.0 * blocks)
    assert (whole(again) != whole(data)).nnz < 0.01 * pairs.nnz  # up to rounding


@pytest.mark.parametrize("assortativity", [0.3, 0.9])
def test_planted_affinities_are_those_of_the_assortativity(assortativity):
    """Items of community k have a mass T_k; a user draws from it with probability B[c, k] T_k."""
    truth = dcbm(2000, 120, 4, 5.0, assortativity=assortativity).planted
    mass = np.bincount(truth.item_community, truth.theta_item)
    assert mass.max() > 1.3 * mass.min(), "communities of equal mass would say nothing"
    expected = np.full((4, 4), (1 - assortativity) / 3)
    np.fill_diagonal(expected, assortativity)
    np.testing.assert_allclose(truth.blocks * mass, expected, rtol=1e-12)


@pytest.mark.parametrize("law", [{}, {"law": "pareto", "alpha": 1.3}])
def test_nobody_is_expected_to_meet_more_than_a_quarter_of_the_others(law):
    data = dcbm(900, 400, 4, 20.0, **law)
    users, items = 20.0 * data.planted.theta_user, 45.0 * data.planted.theta_item
    assert users.max() == pytest.approx(400 / 4, rel=1e-3)  # of items; the largest are clipped
    assert items.max() == pytest.approx(900 / 4, rel=1e-3)
    assert (users > 0.999 * users.max()).sum() > 1 and (items > 0.999 * items.max()).sum() > 1


@pytest.mark.parametrize("assortativity", [0.3, 0.9])
def test_assortativity_is_a_case_of_affinities(assortativity):
    data = dcbm(2000, 2000, 4, 5.0, exponent=3.0, assortativity=assortativity)
    truth = data.planted
    again = dcbm(2000, 2000, 4, 5.0, exponent=3.0, blocks=truth.blocks)
    np.testing.assert_array_equal(again.planted.theta_item, truth.theta_item)
    shares = []
    for some in (data, again):
        pairs = whole(some)
        cells = 4 * truth.user_community[pairs.row] + truth.item_community[pairs.col]
        shares.append(np.bincount(cells, minlength=16) / pairs.nnz)
    np.testing.assert_allclose(shares[0], shares[1], atol=0.02)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"blocks": np.ones((2, 2))}, r"blocks: shape \(2, 2\), expected \(8, 8\)"),
        ({"blocks": -np.ones((8, 8))}, "blocks: expected finite values, none negative"),
        ({"blocks": np.diag([0.0] + [1.0] * 7)}, "no row of zeros"),
        ({"blocks": np.ones((8, 8)), "assortativity": 0.5}, "assortativity: 0.5, expected none"),
        ({"law": "constant", "exponent": 3.0}, "exponent: 3.0, expected none"),
        ({"alpha": 2.5}, "alpha: not a parameter of 'power law', expected exponent"),
        ({"law": "uniform", "sigma": 1.0}, "sigma: not a parameter of 'uniform'"),
    ],
)
def test_settings_without_use_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        dcbm(**arguments)


def test_playlists_pick_by_popularity_within_their_community():
    contexts, items, theta, labels = playlists(400, 4, 8000, mean_length=3.0, alpha=3.0, seed=1)
    assert np.bincount(labels).tolist() == [100] * 4
    assert np.bincount(labels, theta) == pytest.approx([100.0] * 4)
    assert (np.diff(contexts) >= 0).all()
    rows = np.unique(np.stack([contexts, items]), axis=1).shape[1]
    assert rows == len(contexts), "an item is listed once in a playlist"
    # an item is in a playlist of its own community with probability 1 - exp(-rate), and so on
    own = 3.0 * theta * (0.9 / 100 + 0.1 / 400)
    other = 3.0 * theta * 0.1 / 400
    expected = 8000 * (0.25 * -np.expm1(-own) + 0.75 * -np.expm1(-other))
    popularity = np.bincount(items, minlength=400)
    score = (popularity - expected) / np.sqrt(expected)
    assert np.abs(score).max() < 4.5 and 0.8 < (score**2).mean() < 1.2


@pytest.mark.parametrize("noise", [0.0, 0.4, 1.0])
def test_playlists_of_a_community_hold_others_by_noise_alone(noise):
    contexts, items, _, labels = playlists(
        2000, 5, 3000, mean_length=12.0, noise=noise, law="constant", seed=2
    )
    counts = np.zeros((3000, 5))
    np.add.at(counts, (contexts, labels[items]), 1)
    home = counts.max(axis=1).sum() / counts.sum()
    if noise < 1.0:
        assert home == pytest.approx(1 - 0.8 * noise, abs=0.02)
    lengths = np.bincount(contexts, minlength=3000)
    assert lengths.mean() == pytest.approx(12.0, rel=0.03)
    assert lengths.var() == pytest.approx(12.0, rel=0.1)


def test_items_of_a_playlist_come_in_no_order():
    contexts, items, _, labels = playlists(500, 5, 2000, mean_length=20.0, seed=3)
    first = np.flatnonzero(np.diff(contexts, prepend=-1))
    assert (np.diff(items)[np.diff(contexts) == 0] > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert abs(np.corrcoef(np.arange(500), labels)[0, 1]) < 0.15
    assert len(np.unique(items[first])) > 200


def test_playlists_are_drawn_from_their_seed():
    first, again, other = (playlists(100, 4, 50, seed=seed) for seed in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[2], other[2])


def test_the_draw_of_playlists_is_pinned():
    """The same on every platform and numpy version; a change would silently redefine records."""
    contexts, items, _, labels = playlists(300, 3, 400, mean_length=6.0, law="uniform", seed=1)
    assert short_hash(np.stack([contexts, items])) == "138a99ef23ba07e2"
    assert short_hash(labels) == "c89ee61af5aac8d4"


def test_the_law_of_the_popularity_of_playlists_is_the_one_asked_for():
    plain = playlists(600, 3, 200, seed=4)
    for given, other in zip(playlists(600, 3, 200, alpha=1.5, seed=4), plain, strict=True):
        np.testing.assert_array_equal(given, other)
    assert not np.array_equal(plain[2], playlists(600, 3, 200, alpha=2.5, seed=4)[2])
    assert (playlists(6000, 3, 50, law="constant")[2] == 1).all()
    lognormal, uniform = (playlists(6000, 3, 50, law=law)[2] for law in ("lognormal", "uniform"))
    assert np.log(lognormal).std() == pytest.approx(0.8, abs=0.03)
    assert np.quantile(uniform, [0, 0.5, 1]) == pytest.approx([0.2, 1, 1.8], abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_communities": 5001}, "n_communities: 5001, expected 1 to n_items = 5000"),
        ({"n_playlists": 0}, "n_playlists: 0, expected at least 1"),
        ({"mean_length": 0.0}, "mean_length: 0.0, expected a positive number"),
        ({"noise": 1.5}, "noise: 1.5, expected a probability"),
        ({"law": "constant", "alpha": 2.0}, "alpha: 2.0, expected None, as the law is 'constant'"),
        ({"alpha": 0.5}, "alpha: 0.5, expected more than 1"),
        ({"seed": -1}, "seed: -1, expected a non-negative integer"),
    ],
)
def test_bad_playlists_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        playlists(**arguments)
