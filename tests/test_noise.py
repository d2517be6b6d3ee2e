"""Planted noise, the split 8:1:1, and the loss that drops what is suspected to be noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from specrec_core import losses, noise, splitting, synthetic
from specrec_core.interactions import Interactions
from specrec_core.models import MF
from specrec_core.training import fit


@pytest.fixture(scope="module")
def data():
    return synthetic.dcbm(n_users=120, n_items=90, n_communities=3, mean_degree=12.0, seed=1)


def pairs(matrix):
    return set(zip(*(x.tolist() for x in matrix.nonzero()), strict=True))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.29])
@pytest.mark.parametrize("kind", ["added", "replaced"])
def test_noise_is_new_random_pairs_in_train_alone(data, share, kind):
    noisy = noise.plant(data, share, kind=kind, seed=3)
    clean, train, planted = pairs(data.train), pairs(noisy.train), pairs(noisy.noise)
    count = int(share * len(clean) + 1e-9)
    assert len(planted) == count and planted <= train
    assert not planted & (clean | pairs(data.validation) | pairs(data.test))
    assert len(train) == len(clean) + (count if kind == "added" else 0)
    assert train - planted <= clean
    assert (noisy.test != data.test).nnz == (noisy.validation != data.validation).nnz == 0
    assert pairs(noise.plant(data, share, kind=kind, seed=3).train) == train
    if share:
        assert pairs(noise.plant(data, share, kind=kind, seed=4).noise) != planted
        assert "noise" in noisy.version and noisy.version != data.version


def test_every_free_pair_is_as_likely(data):
    """Over many seeds each free pair of a small matrix is drawn equally often."""
    draw = np.random.default_rng(0)
    filled = np.argwhere(draw.random((6, 5)) < 0.5)
    small = Interactions.from_pairs("small", filled, np.empty((0, 2), dtype=int), (6, 5))
    counts = np.zeros((6, 5))
    for seed in range(600):
        counts += noise.plant(small, 0.2, seed=seed).noise.toarray()
    taken = small.train.toarray() > 0
    assert (counts[taken] == 0).all()
    p = int(0.2 * taken.sum()) / (~taken).sum()
    assert np.abs(counts[~taken] / 600 - p).max() < 5 * (p * (1 - p) / 600) ** 0.5


def test_bad_noise_is_named(data):
    for share, kind, named in ((1.0, "added", "share"), (0.1, "moved", "kind")):
        with pytest.raises(ValueError, match=named):
            noise.plant(data, share, kind=kind, seed=0)
    full = Interactions.from_pairs("full", np.argwhere(np.ones((3, 4))), np.zeros((0, 2), int))
    with pytest.raises(ValueError, match=r"share is 0\.5: 6 pairs, expected at most"):
        noise.plant(full, 0.5, seed=0)


def test_the_split_has_the_sizes_of_recbole(data):
    n = np.arange(0, 35)
    validation, test = splitting.sizes(n)
    for count, v, t in zip(n, validation, test, strict=True):
        train, expected = count, [0, 0]  # RecBole: ⌊n/10⌋ each, then one each where that is none
        for _ in range(2):
            train -= count // 10
        expected = [count // 10, count // 10]
        for place in (1, 0):
            if train > 1 and 0 < 0.1 * count < 1:
                expected[place] += 1
                train -= 1
        assert [v, t] == expected and count - v - t == train
    split = splitting.eight_one_one(data, 5)
    parts = [pairs(m) for m in (split.train, split.validation, split.test)]
    every = pairs(data.train) | pairs(data.validation) | pairs(data.test)
    assert parts[0] | parts[1] | parts[2] == every and sum(map(len, parts)) == len(every)
    n = np.diff((data.train + data.validation + data.test).indptr)
    assert np.array_equal(np.diff(split.validation.indptr), splitting.sizes(n)[0])
    assert np.array_equal(np.diff(split.test.indptr), splitting.sizes(n)[1])
    assert pairs(splitting.eight_one_one(data, 6).test) != parts[2]
    assert pairs(splitting.eight_one_one(data, 5).test) == parts[2]


def test_each_interaction_is_held_out_as_often():
    one = Interactions.from_pairs("one", np.argwhere(np.ones((1, 20))), np.zeros((0, 2), int))
    counts = sum(splitting.eight_one_one(one, s).test.toarray()[0] for s in range(600))
    assert np.abs(counts / 600 - 0.1).max() < 5 * (0.09 / 600) ** 0.5


def test_the_largest_terms_are_dropped_as_the_share_rises():
    """Against sorting by hand: step t drops up to ⌈ε(t)·B⌉ terms, each replica its own."""
    draw = np.random.default_rng(0)
    drop = losses.SampleDrop(0.4, ramp=4)
    for step in range(7):
        positive, negative = draw.normal(size=(2, 9)), draw.normal(size=(2, 9, 2))
        got = drop(torch.tensor(positive), torch.tensor(negative))
        share = 0.4 * min(1, step / 4)
        for r in range(2):
            terms = np.log1p(np.exp(negative[r] - positive[r][:, None])).mean(-1)
            kept = int(np.floor((1 - share) * 9 + 1e-9))
            assert got[r].item() == pytest.approx(np.sort(terms)[:kept].mean(), rel=1e-12)


def test_rounding_drops_no_further_term():
    """(1 − 0.8)·10 comes out a little below 2: two of ten terms are left all the same."""
    drop, margins = losses.SampleDrop(0.8, ramp=1), torch.arange(10.0, dtype=torch.float64)
    batch = -margins, torch.zeros(10, 1, dtype=torch.float64)
    drop(*batch)  # the first step drops none
    torch.testing.assert_close(drop(*batch), torch.nn.functional.softplus(margins[:2]).mean())


def test_nothing_dropped_is_bpr(data, device):
    def run(**settings):
        model = MF(120, 90, 6, seeds=(0, 2), dtype=torch.float64).to(device)
        return fit(model, data, learning_rate=0.02, epochs=3, progress=False, **settings), model

    plain, one = run()
    dropped, other = run(drop=1e-12, drop_ramp=10**9)
    assert plain.values["validation ndcg@10"] == dropped.values["validation ndcg@10"]
    torch.testing.assert_close(one.users, other.users)
    some, _ = run(drop=0.3, drop_ramp=1)
    assert some.values["loss"][0][3] < plain.values["loss"][0][3]


def test_dropping_favours_clean_interactions(data):
    """Late in training, what is dropped is noise more often than noise's share would have it."""
    noisy = noise.plant(data, 0.3, seed=0)
    model = MF(120, 90, 8, seeds=(0,), dtype=torch.float64)
    fit(
        model, noisy, learning_rate=0.01, batch_size=128, epochs=15, drop=0.2, drop_ramp=10,
        progress=False,
    )  # fmt: skip
    score = model.scorer()(torch.arange(120))[0].numpy()
    planted, train = noisy.noise.toarray() > 0, noisy.train.toarray() > 0
    assert score[planted].mean() < score[train & ~planted].mean()


def test_settings_of_the_drop_must_agree(data):
    model = MF(120, 90, 4)
    for settings, named in (
        ({"drop": 0.1}, "drop_ramp is None"),
        ({"drop_ramp": 5}, "drop_ramp is 5"),
        ({"drop": 1.0, "drop_ramp": 5}, "drop is 1.0"),
        ({"drop": 0.1, "drop_ramp": 5, "loss": "bce"}, "drop is 0.1 for loss 'bce'"),
        ({"drop": 0.1, "drop_ramp": 5, "reduction": "sum"}, "drop is 0.1"),
        ({"redraw": True}, "redraw is True"),
        ({"candidates": -1}, "candidates is -1"),
    ):
        with pytest.raises(ValueError, match=named):
            fit(model, data, epochs=1, progress=False, **settings)


def test_planted_data_are_split_and_planted_too(data):
    """Subclasses of Interactions lose what the new split would make false."""
    assert type(splitting.eight_one_one(data, 0)) is Interactions
    assert isinstance(noise.plant(replace(data), 0.1, seed=0), noise.NoisyInteractions)
