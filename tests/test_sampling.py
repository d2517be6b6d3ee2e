"""Samples are exact: the right distribution, and never a known positive."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.stats import chisquare

from specrec_core import sampling
from specrec_core.interactions import CSR
from specrec_core.sampling import EpochSampler, Negatives, positives_by_user


def made(n_users=40, n_items=30, density=0.3, seed=0, device="cpu") -> CSR:
    rng = np.random.default_rng(seed)
    dense = rng.random((n_users, n_items)) < density
    dense[:, 0] = False  # everybody has a negative
    dense[0] = False  # a user without interactions
    dense[1, 1:] = True  # one who has seen all but item 0
    return CSR.from_scipy(sp.csr_matrix(dense.astype(np.float32)), device)


def stream(device, seed=0):
    return torch.Generator(device).manual_seed(seed)


def dense_of(seen: CSR) -> np.ndarray:
    out = np.zeros(seen.shape, dtype=bool)
    out[seen.rows().cpu(), seen.indices.cpu()] = True
    return out


def test_negatives_are_never_known_positives(device):
    seen = made(device=device)
    users = torch.arange(seen.shape[0], device=device).repeat(50)
    drawn = Negatives(seen).draw(users, 7, stream(device))
    assert drawn.shape == (users.shape[0], 7)
    known = dense_of(seen)
    assert not known[users.cpu().repeat_interleave(7), drawn.flatten().cpu()].any()
    assert set(drawn[users == 1].unique().tolist()) == {0}


@pytest.mark.parametrize("weighted", [False, True])
def test_negatives_follow_the_weights(device, weighted):
    seen = made(device=device)
    counts = torch.bincount(seen.indices, minlength=seen.shape[1]) + 1
    counts[3] = 0
    weights = counts if weighted else torch.ones_like(counts)
    known = dense_of(seen)
    sampler = Negatives(seen, weights if weighted else None)
    for user in (0, 5, 17):
        drawn = sampler.draw(torch.full((1,), user, device=device), 40_000, stream(device, user))
        observed = np.bincount(drawn.flatten().cpu().numpy(), minlength=seen.shape[1])
        expected = np.where(known[user], 0, weights.cpu().numpy()).astype(float)
        expected *= 40_000 / expected.sum()
        possible = expected > 0
        assert observed[~possible].sum() == 0
        assert chisquare(observed[possible], expected[possible]).pvalue > 1e-4


def test_weights_of_one_draw_what_no_weights_draw(device):
    seen = made(device=device)
    users = torch.arange(seen.shape[0], device=device)
    ones = torch.ones(seen.shape[1], dtype=torch.int64, device=device)
    plain, weighted = Negatives(seen), Negatives(seen, ones)
    assert plain.draw(users, 50, stream(device)).equal(weighted.draw(users, 50, stream(device)))


def test_the_table_draws_what_the_search_draws(device, monkeypatch):
    seen = made(device=device)
    users = torch.arange(seen.shape[0], device=device)
    listed = Negatives(seen)
    monkeypatch.setattr(sampling, "TABLE", 0)
    searched = Negatives(seen)
    assert listed.table is not None and searched.table is None
    assert listed.draw(users, 50, stream(device)).equal(searched.draw(users, 50, stream(device)))


def test_negatives_refuse_a_user_who_has_seen_everything():
    full = CSR.from_scipy(sp.csr_matrix(np.array([[1, 0], [1, 1]], dtype=np.float32)))
    with pytest.raises(ValueError, match=r"user 1 .* every item"):
        Negatives(full)
    with pytest.raises(ValueError, match="user 0"):
        Negatives(full, torch.tensor([3, 0]))
    with pytest.raises(ValueError, match="weights has dtype"):
        Negatives(full, torch.ones(2))
    with pytest.raises(ValueError, match="count is 0"):
        Negatives(made()).draw(torch.tensor([0]), 0, stream("cpu"))


def test_an_epoch_of_interactions_is_a_permutation(device):
    seen = made(device=device)
    users, items, none = EpochSampler(seen, "interactions", 0, "uniform").epoch(stream(device))
    assert none.shape == (seen.nnz, 0)
    key = users * seen.shape[1] + items
    assert torch.equal(key.sort().values, seen.rows() * seen.shape[1] + seen.indices)
    assert not torch.equal(key, key.sort().values)


def test_positives_by_user_are_uniform_over_users_then_items(device):
    seen = made(device=device)
    users, items = positives_by_user(seen, 60_000, stream(device))
    known = dense_of(seen)
    assert known[users.cpu(), items.cpu()].all()
    degree = known.sum(1)
    observed = np.zeros(seen.shape)
    np.add.at(observed, (users.cpu().numpy(), items.cpu().numpy()), 1)
    per_user = np.where(degree > 0, 60_000 / (degree > 0).sum(), 0)
    active = degree > 0
    assert chisquare(observed.sum(1)[active], per_user[active]).pvalue > 1e-4
    expected = (per_user / np.maximum(degree, 1))[:, None] * known
    assert chisquare(observed[known], expected[known]).pvalue > 1e-4


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
@pytest.mark.parametrize("table", [0, 2**24])
def test_negatives_found_user_by_user_are_those_of_the_samples(
    device, monkeypatch, distribution, table
):
    monkeypatch.setattr(sampling, "TABLE", table)
    dense = np.random.default_rng(1).random((40, 30)) < 0.3  # every item has been seen by somebody
    seen = CSR.from_scipy(sp.csr_matrix(dense.astype(np.float32)), device)
    sampler = EpochSampler(seen, "interactions", 3, distribution)
    users, items, negatives = sampler.epoch(stream(device, 6))
    again = stream(device, 6)
    order = torch.randperm(seen.nnz, generator=again, device=device)
    assert torch.equal(users, seen.rows()[order])
    assert torch.equal(items, seen.indices[order])
    assert torch.equal(negatives, sampler.negatives.draw(users, 3, again))


@pytest.mark.parametrize("positives", ["interactions", "users"])
@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
def test_looking_negatives_up_by_blocks_changes_no_draw(
    device, monkeypatch, positives, distribution
):
    dense = np.random.default_rng(1).random((40, 30)) < 0.3
    seen = CSR.from_scipy(sp.csr_matrix(dense.astype(np.float32)), device)
    monkeypatch.setattr(sampling, "TABLE", 0)
    sampler = EpochSampler(seen, positives, 3, distribution)
    whole = sampler.epoch(stream(device, 6))
    for block in (1, 7, 50):
        monkeypatch.setattr(sampling, "BLOCK", block)
        for one, other in zip(sampler.epoch(stream(device, 6)), whole, strict=True):
            assert torch.equal(one, other)


def test_the_same_stream_gives_the_same_samples(device):
    seen = made(device=device)
    users = torch.arange(2, 30, device=device)
    first = Negatives(seen).draw(users, 3, stream(device, 4))
    assert torch.equal(first, Negatives(seen).draw(users, 3, stream(device, 4)))
    assert not torch.equal(first, Negatives(seen).draw(users, 3, stream(device, 5)))
