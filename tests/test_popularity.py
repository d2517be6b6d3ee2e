"""Popularity in the leading direction and in the lists, against dense numpy."""

import numpy as np
import pytest
import torch

from specrec_core import popularity, spectra
from specrec_core.popularity import (
    activated_singular_values,
    intra_list_diversity,
    largest_top_share,
    leading_direction,
    memorisation,
    novelty,
    popularity_metrics,
    share_of_most_popular,
)


def tables(n=30, m=17, d=4, replicas=(2,), seed=0, device="cpu"):
    draw = np.random.default_rng(seed)
    return tuple(torch.tensor(draw.normal(size=(*replicas, k, d)), device=device) for k in (n, m))


def dense(users, items, activation):
    for u, v in zip(users, items, strict=True):
        z = u.cpu().numpy() @ v.cpu().numpy().T
        yield z if activation == "none" else 1 / (1 + np.exp(-z))


def counts(m=17, seed=3):
    return torch.tensor(np.random.default_rng(seed).zipf(1.7, size=m))


@pytest.mark.parametrize("shape", [(30, 17), (11, 40)])
@pytest.mark.parametrize("activation", ["none", "sigmoid"])
def test_the_leading_direction_is_that_of_the_dense_svd(activation, shape, device):
    users, items = tables(*shape, device=device)
    found = leading_direction(users, items, activation=activation, tolerance=1e-12)
    for r, y in enumerate(dense(users, items, activation)):
        _, s, qt = np.linalg.svd(y)
        assert found.sigma[r].item() == pytest.approx(s[0], rel=1e-11)
        expected = qt[0] * np.sign(qt[0].sum())
        np.testing.assert_allclose(found.right[r].cpu(), expected, atol=1e-9)
        assert found.energy_share[r].item() == pytest.approx(s[0] ** 2 / (s**2).sum(), rel=1e-11)


def test_the_default_tolerance_is_enough_for_cosines(device):
    users, items = tables(300, 200, 8, device=device)
    loose = leading_direction(users.float(), items.float(), activation="sigmoid")
    tight = leading_direction(users, items, activation="sigmoid", tolerance=1e-13)
    torch.testing.assert_close(loose.right, tight.right, rtol=0, atol=1e-5)
    torch.testing.assert_close(loose.sigma, tight.sigma, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kept", [0, 10**9])
def test_blocks_kept_or_computed_again_give_the_same(kept, monkeypatch):
    users, items = tables()
    whole = leading_direction(users, items, activation="sigmoid", tolerance=1e-12)
    values = activated_singular_values(users, items)
    monkeypatch.setattr(popularity, "BLOCK_ELEMENTS", 17 * 4)
    monkeypatch.setattr(popularity, "KEPT_ELEMENTS", kept)
    blocked = leading_direction(users, items, activation="sigmoid", tolerance=1e-12)
    torch.testing.assert_close(blocked.right, whole.right)
    torch.testing.assert_close(blocked.energy, whole.energy)
    torch.testing.assert_close(activated_singular_values(users, items), values)


def test_a_matrix_without_a_gap_or_steps_is_no_silent_answer():
    users, items = tables()
    with pytest.raises(ArithmeticError, match="raise max_steps or tolerance"):
        leading_direction(users, items, activation="sigmoid", tolerance=1e-12, max_steps=2)
    with pytest.raises(ValueError, match="activation is"):
        leading_direction(users, items, activation="relu")


def test_scores_of_one_half_have_one_direction():
    """U = 0: S is 1/2 everywhere, q₁ = e/√m and σ₁ = √(nm)/2."""
    found = leading_direction(torch.zeros(6, 2), torch.ones(9, 2), activation="sigmoid")
    assert found.sigma.shape == () and found.sigma.item() == pytest.approx(54**0.5 / 2)
    torch.testing.assert_close(found.right, torch.full((9,), 1 / 3).double())
    assert found.energy_share.item() == pytest.approx(1)


def test_all_activated_singular_values(device):
    for shape in ((30, 17), (11, 40)):
        users, items = tables(*shape, device=device)
        got = activated_singular_values(users, items)
        for r, y in enumerate(dense(users, items, "sigmoid")):
            s = np.linalg.svd(y, compute_uv=False)
            np.testing.assert_allclose(got[r].cpu(), s, atol=1e-7 * s[0])


@pytest.mark.parametrize("activation", ["none", "sigmoid"])
def test_memorisation_is_measured_on_the_dense_matrix(activation, device):
    users, items = tables(device=device)
    r = counts().to(device)
    got = memorisation(users, items, r, activation=activation)
    unit = r.cpu().numpy() / np.linalg.norm(r.cpu().numpy())
    for k, y in enumerate(dense(users, items, activation)):
        _, s, qt = np.linalg.svd(y)
        expected = {
            "cos(q1, r)": abs(qt[0] @ unit),
            "cos(q1, e)": abs(qt[0].sum()) / 17**0.5,
            "cos(e, r)": unit.sum() / 17**0.5,
            "sigma1": s[0],
            "energy share of sigma1": s[0] ** 2 / np.sum(y**2),
        }
        if activation == "none":
            expected["share of sigma1"] = s[0] / s.sum()
        assert got.keys() == expected.keys()
        for name, value in expected.items():
            assert got[name][k].item() == pytest.approx(value, rel=1e-6), name


def test_memorisation_agrees_with_the_alignment_of_spectra():
    users, items = tables()
    torch.testing.assert_close(
        memorisation(users, items, counts())["cos(q1, r)"],
        spectra.popularity_alignment(users, items, counts()),
    )
    with pytest.raises(ValueError, match="popularity has shape"):
        memorisation(users, items, torch.zeros(17))


def test_a_model_that_scores_by_popularity_has_memorised_it():
    r = counts().double()
    users, items = torch.ones(5, 1).double(), r[:, None]
    assert memorisation(users, items, r)["cos(q1, r)"].item() == pytest.approx(1)


LISTS = torch.tensor([[[3, 1, 0], [3, 2, -1]], [[0, 1, 2], [1, 0, 3]]])
COUNTS = torch.tensor([8, 1, 4, 0])


def test_the_share_of_the_most_popular(device):
    got = share_of_most_popular(LISTS.to(device), COUNTS.to(device), 0.5)  # items 0 and 2
    assert got.tolist() == pytest.approx([2 / 5, 3 / 6])
    assert share_of_most_popular(LISTS, COUNTS, 1.0).tolist() == [1, 1]
    assert share_of_most_popular(LISTS, torch.ones(4), 0.25).tolist() == pytest.approx(
        [1 / 5, 2 / 6]
    )
    for fraction in (0.0, 1.1, 0.1):
        with pytest.raises(ValueError, match="fraction"):
            share_of_most_popular(LISTS, COUNTS, fraction)


def test_the_share_of_the_most_frequent_first_item(device):
    assert largest_top_share(LISTS.to(device)).tolist() == [1.0, 0.5]
    assert largest_top_share(torch.tensor([[2], [-1], [2], [1]])).item() == 0.5
    assert largest_top_share(torch.tensor([[-1], [-1]])).item() == 0


def test_novelty_is_the_mean_self_information(device):
    bits = -np.log2(np.array([8, 1, 4, 1]) / 16)
    expected = [np.mean(bits[[3, 1, 0, 3, 2]]), np.mean(bits[[0, 1, 2, 1, 0, 3]])]
    assert novelty(LISTS.to(device), COUNTS.to(device), 16).tolist() == pytest.approx(expected)


def test_diversity_is_the_mean_distance_of_pairs(device):
    vectors = torch.tensor(np.random.default_rng(0).normal(size=(2, 4, 3)), device=device)
    for table in (vectors, vectors[0]):
        got = intra_list_diversity(LISTS.to(device), table)
        for r in range(2):
            h = (table[r] if table.dim() == 3 else table).cpu().numpy()
            h = h / np.linalg.norm(h, axis=1, keepdims=True)
            users = []
            for row in LISTS[r].tolist():
                kept = [i for i in row if i >= 0]
                pairs = [1 - h[i] @ h[j] for i in kept for j in kept if i < j]
                users.append(np.mean(pairs))
            assert got[r].item() == pytest.approx(np.mean(users), rel=1e-12)
    assert intra_list_diversity(torch.tensor([[1, -1]]), vectors[0].cpu()).isnan()
    alone = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 0.0]])  # two are like no other
    assert intra_list_diversity(torch.tensor([[0, 1, 2]]), alone).item() == pytest.approx(2 / 3)
    assert intra_list_diversity(torch.tensor([[0, 3]]), alone).item() == 1


def test_a_model_is_measured_before_and_after_its_activation(device):
    """And what one power step from all ones sees of σ₁ is a share of it."""
    users, items = tables(device=device)
    lists = torch.tensor([[[0, 3], [5, -1]], [[1, 0], [2, 4]]], device=device)
    found = popularity_metrics(users, items, lists, counts().numpy(), 30, "sigmoid")
    for activation, what in (("none", "scores"), ("sigmoid", "sigmoid")):
        for r, z in enumerate(dense(users, items, activation)):
            _, s, qt = np.linalg.svd(z)
            assert found[f"sigma1 of {what}"][r].item() == pytest.approx(s[0])
            cosine = abs(qt[0] @ counts().numpy()) / np.linalg.norm(counts().numpy())
            assert found[f"cos(q1, r) of {what}"][r].item() == pytest.approx(cosine, abs=1e-5)
            if what == "scores":
                right = z.sum(0) / np.linalg.norm(z.sum(0))
                share = found["one power step over sigma1 of scores"][r].item()
                assert share == pytest.approx(np.linalg.norm(z @ right) / s[0]) and share < 1
    torch.testing.assert_close(found["novelty@2"], novelty(lists, counts(), 30))
    torch.testing.assert_close(found["largest share of one item@1"], largest_top_share(lists))
