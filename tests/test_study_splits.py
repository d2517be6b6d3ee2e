"""Whether test pairs are like held-out ones: the count of paths, and data that are and are not."""

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from specrec_core import study_splits
from specrec_core.interactions import Interactions

RNG = np.random.default_rng(0)


def of_groups(test_elsewhere: bool) -> Interactions:
    """Three groups of users with items of their own; test at random, or from the next group."""
    users, per_group, groups = 90, 40, 3
    rng, train, test = np.random.default_rng(1), [], []
    for user in range(users):
        group = user % groups
        own = group * per_group + rng.permutation(per_group)[:20]
        train += [(user, item) for item in own[:15]]
        if test_elsewhere:
            own = (own + per_group) % (groups * per_group)
        test += [(user, item) for item in own[15:]]
    shape = (users, groups * per_group)
    return Interactions.from_pairs("toy", np.array(train), np.array(test), shape)


def found(data, monkeypatch, seed=0):
    monkeypatch.setattr(study_splits.datasets, "load", lambda name, validation: data)
    monkeypatch.setattr(study_splits, "USERS_AT_A_TIME", 7)
    return study_splits.exchangeable(dataset="toy", seed=seed, progress=False, validation=0.2)


def test_near_is_a_number_of_paths():
    train = sp.csr_matrix((RNG.random((6, 5)) < 0.5).astype(float))
    pairs = sp.csr_matrix((RNG.random((6, 5)) < 0.4).astype(float))
    users, t = np.array([4, 1, 3]), train.toarray().astype(int)
    expected = [
        sum(t[u, j] * t[v, j] * t[v, i] for j in range(5) for v in range(6))
        for u in users
        for i in np.flatnonzero(pairs[u].toarray())
    ]
    np.testing.assert_array_equal(study_splits.nearness(train, pairs, users), expected)


def test_a_random_test_part_is_as_near_as_what_is_held_out_and_another_is_not(monkeypatch):
    alike, unlike = (
        np.mean([found(of_groups(other), monkeypatch, s).metrics["held out is nearer"]
                 for s in range(5)])
        for other in (False, True)
    )  # fmt: skip
    assert alike == pytest.approx(0.5, abs=0.03)
    assert unlike > 0.95


def test_the_share_is_that_of_pairs_of_one_user(monkeypatch):
    data = of_groups(False)
    measured = found(data, monkeypatch)
    split = data.holdout(0.2, 0)
    t, held, test = (getattr(split, x).toarray() for x in ("train", "validation", "test"))
    paths = t @ t.T @ t
    shares = []
    for user in range(len(t)):
        ours, theirs = (paths[user][part[user] > 0] for part in (held, test))
        wins = [(a > b) + (a == b) / 2 for a in ours for b in theirs]
        shares += [np.mean(wins)] if wins else []
    assert measured.metrics["held out is nearer"] == pytest.approx(np.mean(shares))
    for name, part in (("held-out", held), ("test", test)):
        expected = np.mean(paths[part > 0] == 0)
        assert measured.metrics[f"{name} pairs without a path"] == pytest.approx(expected)


def test_only_users_with_both_count(monkeypatch):
    data = of_groups(False)
    test = data.test.tolil()
    test[:30] = 0
    fewer = dataclasses.replace(data, test=test.tocsr())
    assert found(fewer, monkeypatch).data["users"] == found(data, monkeypatch).data["users"] - 30
