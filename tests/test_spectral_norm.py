"""The spectral norm penalty against dense matrices, its closed form, and what it may cost."""

import numpy as np
import pytest
import torch

from specrec_core.spectral_norm import (
    exact_spectral_norm,
    penalty_of_scores,
    spectral_norm_gradient,
    spectral_norm_penalty,
)


def tables(n=9, m=7, d=4, replicas=(2,), seed=0, device="cpu"):
    draw = np.random.default_rng(seed)
    return tuple(
        torch.tensor(draw.normal(0.3, 1.0, size=(*replicas, k, d)), device=device) for k in (n, m)
    )


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def slow(matrix, steps=1, start=None):
    """The Rayleigh quotient of section 3.2, of a dense matrix."""
    left = np.ones(len(matrix)) if start is None else start
    for _ in range(steps):
        right = matrix.T @ left
        left = matrix @ right
    return np.sum(left**2) / np.sum(right**2)


def dense(users, items):
    return [u.cpu().numpy() @ v.cpu().numpy().T for u, v in zip(users, items, strict=True)]


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("activation", ["none", "sigmoid"])
def test_it_is_the_rayleigh_quotient_of_the_dense_matrix(activation, steps, device):
    users, items = tables(device=device)
    got = spectral_norm_penalty(users, items, power_steps=steps, activation=activation)
    assert got.shape == (2,)
    for value, z in zip(got.tolist(), dense(users, items), strict=True):
        expected = slow(z if activation == "none" else sigmoid(z), steps)
        assert value == pytest.approx(expected, rel=1e-12)


def test_it_may_start_elsewhere(device):
    users, items = tables(device=device)
    start = torch.tensor(np.random.default_rng(5).normal(size=(2, 9)), device=device)
    got = spectral_norm_penalty(users, items, start=start, power_steps=2)
    for r, z in enumerate(dense(users, items)):
        assert got[r].item() == pytest.approx(slow(z, 2, start[r].cpu().numpy()), rel=1e-12)
    shared = spectral_norm_penalty(users, items, start=start[0])
    assert shared[0].item() == spectral_norm_penalty(users, items, start=start)[0].item()


def test_the_official_code_squares_the_scores_in_the_direction_of_their_sums(device):
    """s = Sᵀe, q = s/‖s‖, Σ_u (S_u q)², and the gradient takes q for a constant."""
    users, items = (x.requires_grad_() for x in tables(device=device))
    got = spectral_norm_penalty(users, items, variant="official")
    got.sum().backward()
    for r in range(2):
        u, v = (x[r].detach().cpu().numpy() for x in (users, items))
        s = sigmoid(u @ v.T)
        q = s.sum(0) / np.linalg.norm(s.sum(0))
        assert got[r].item() == pytest.approx(sum((row @ q) ** 2 for row in s), rel=1e-12)
        to_z = 2 * np.outer(s @ q, q) * s * (1 - s)
        np.testing.assert_allclose(users.grad[r].cpu(), to_z @ v, rtol=1e-11)
        np.testing.assert_allclose(items.grad[r].cpu(), to_z.T @ u, rtol=1e-11)


def test_between_formula_and_code_stands_a_gradient_through_the_direction(device):
    users, items = (x.requires_grad_() for x in tables(device=device))
    got = spectral_norm_penalty(users, items, variant="sigmoid")
    assert got.equal(spectral_norm_penalty(users, items, variant="official"))
    slopes = [
        torch.autograd.grad(spectral_norm_penalty(users, items, **kind).sum(), users)[0]
        for kind in (
            {"variant": "sigmoid"}, {"variant": "official", "detach_start": False},
            {"activation": "sigmoid"}, {"variant": "official"},
        )
    ]  # fmt: skip
    assert slopes[0].equal(slopes[1]) and slopes[0].equal(slopes[2])
    assert not torch.allclose(slopes[0], slopes[3])
    assert torch.autograd.gradcheck(
        lambda u, v: spectral_norm_penalty(u, v, variant="sigmoid"), (users, items)
    )


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_blocks_of_users_change_nothing(variant, device):
    users, items = (x.requires_grad_() for x in tables(device=device))
    values, gradients = [], []
    for size in (None, 4, 1):
        value = spectral_norm_penalty(
            users, items, variant=variant, activation="sigmoid", power_steps=2, users_per_block=size
        )
        values.append(value.detach())
        gradients.append(torch.cat(torch.autograd.grad(value.sum(), (users, items)), -2))
    for other in (1, 2):
        torch.testing.assert_close(values[other], values[0])
        torch.testing.assert_close(gradients[other], gradients[0])


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("activation", ["none", "sigmoid"])
def test_of_scores_that_exist_it_is_the_same(activation, detach, device):
    users, items = (x.requires_grad_() for x in tables(device=device))
    settings = dict(activation=activation, detach_start=detach, power_steps=2)
    expected = spectral_norm_penalty(users, items, **settings)
    scores = users @ items.mT
    got = penalty_of_scores(scores.sigmoid() if activation == "sigmoid" else scores, 2, detach)
    torch.testing.assert_close(got, expected)
    for one, other in zip(
        torch.autograd.grad(got.sum(), (users, items)),
        torch.autograd.grad(expected.sum(), (users, items)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_it_is_a_lower_bound_and_more_steps_come_closer(device):
    for seed in range(20):
        users, items = tables(n=12, m=8, d=5, seed=seed, device=device)
        values = torch.stack(
            [spectral_norm_penalty(users, items, power_steps=k) for k in (1, 2, 3, 5, 9, 400)]
        )
        largest = exact_spectral_norm(users, items)
        for r, z in enumerate(dense(users, items)):
            expected = np.linalg.svd(z, compute_uv=False)[0] ** 2
            assert largest[r].item() == pytest.approx(expected, rel=1e-12)
        assert (values <= largest * (1 + 1e-12)).all()
        assert (values.diff(dim=0) >= -1e-12 * largest).all()
        torch.testing.assert_close(values[-1], largest, rtol=1e-6, atol=0)


def test_of_one_direction_it_is_exact(device):
    users, items = tables(d=1, device=device)
    torch.testing.assert_close(
        spectral_norm_penalty(users, items), exact_spectral_norm(users, items)
    )


def test_the_closed_form_is_the_gradient(device):
    users, items = (x.requires_grad_() for x in tables(n=11, m=6, d=3, device=device))
    value = spectral_norm_penalty(users, items).sum()
    automatic = torch.autograd.grad(value, (users, items))
    for got, expected in zip(spectral_norm_gradient(users, items), automatic, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_after_many_steps_the_gradient_is_that_of_the_norm():
    """∇_Z σ₁² = 2σ₁ p₁q₁ᵀ, by the chain rule on the two factors."""
    users, items = (x.requires_grad_() for x in tables(replicas=()))
    value = spectral_norm_penalty(users, items, power_steps=300)
    got = torch.autograd.grad(value, (users, items))
    u, v = users.detach().numpy(), items.detach().numpy()
    p, s, q = np.linalg.svd(u @ v.T)
    to_z = 2 * s[0] * np.outer(p[:, 0], q[0])
    np.testing.assert_allclose(got[0], to_z @ v, rtol=1e-8)
    np.testing.assert_allclose(got[1], to_z.T @ u, rtol=1e-8)


@pytest.mark.parametrize("activation", ["none", "sigmoid"])
@pytest.mark.parametrize("steps", [1, 3])
def test_gradients(activation, steps):
    users, items = (x.requires_grad_() for x in tables(n=5, m=4, d=3))

    def penalty(u, v):
        return spectral_norm_penalty(u, v, activation=activation, power_steps=steps)

    assert torch.autograd.gradcheck(penalty, (users, items))


def test_a_constant_direction_is_the_gradient_of_a_fixed_quotient():
    users, items = (x.requires_grad_() for x in tables(replicas=()))
    q = (items @ users.sum(0)).detach()
    fixed = (users @ (items.T @ q)).square().sum() / q.square().sum()
    value = spectral_norm_penalty(users, items, detach_start=True)
    for got, expected in zip(
        torch.autograd.grad(value, (users, items)),
        torch.autograd.grad(fixed, (users, items)),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_replicas_stay_apart(variant, device):
    users, items = tables(replicas=(3,), device=device)
    together = spectral_norm_penalty(users, items, variant=variant, power_steps=2)
    for r in range(3):
        alone = spectral_norm_penalty(users[r], items[r], variant=variant, power_steps=2)
        assert alone.shape == ()
        torch.testing.assert_close(alone, together[r])


def test_scale_and_rotation():
    users, items = tables()
    rotation = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
    value = spectral_norm_penalty(users, items)
    torch.testing.assert_close(spectral_norm_penalty(users @ rotation, items @ rotation), value)
    torch.testing.assert_close(spectral_norm_penalty(3 * users, items / 5), value * (3 / 5) ** 2)
    torch.testing.assert_close(
        spectral_norm_penalty(users, items, start=torch.full((9,), 7)), value
    )


def test_no_score_matrix_is_formed():
    """400,000 users × 300,000 items in float32 would take 480 GB."""
    users = torch.randn(400_000, 2, requires_grad=True)
    items = torch.randn(300_000, 2, requires_grad=True)
    value = spectral_norm_penalty(users, items, power_steps=3)
    value.backward()
    expected = exact_spectral_norm(users, items)
    assert 0 < value.item() <= expected.item() * 1.0001
    assert users.grad.isfinite().all() and items.grad.isfinite().all()


def test_bad_arguments_are_named():
    users, items = tables()
    for changes, message in (
        (dict(variant="code"), "variant is 'code'"),
        (dict(activation="tanh"), "activation is 'tanh'"),
        (dict(power_steps=0), "power_steps is 0"),
        (dict(start=torch.ones(3)), "start has shape"),
        (dict(activation="sigmoid", users_per_block=0), "users_per_block is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            spectral_norm_penalty(users, items, **changes)
    with pytest.raises(ValueError, match="items has shape"):
        spectral_norm_penalty(users, items[..., :2])
    assert spectral_norm_penalty(torch.zeros(3, 2), torch.ones(4, 2)).isnan()
