"""Transforms and penalties: against slow references, the official code's formulas, and theory."""

import itertools
import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from specrec_core import cooccurrence, experiments, losses, records, regularizers, synthetic
from specrec_core.arguments import PENALTIES as PENALTIES_BY_NAME
from specrec_core.arguments import REGULARIZERS
from specrec_core.cooccurrence import CoOccurrence, transposed
from specrec_core.interactions import CSR
from specrec_core.models import MF, LightGCN, generator
from specrec_core.objectives import OBJECTIVES
from specrec_core.records import Experiment
from specrec_core.regularization import Regularizer
from specrec_core.sampling import EpochSampler
from specrec_core.training import fit


def numbers(*shape, seed=0, device="cpu"):
    draw = np.random.default_rng(seed).normal(size=shape)
    return torch.tensor(draw, dtype=torch.float64, device=device)


def symmetric_bool(batch, seed=0):
    related = np.random.default_rng(seed).random((batch, batch)) < 0.3
    return torch.tensor(related | related.T | np.eye(batch, dtype=bool))


TRANSFORMS = {
    "directspec": lambda h: regularizers.directspec(h, 0.02),
    "directspec+": lambda h: regularizers.directspec_plus(h, 0.7, 1.5),
    "without itself": lambda h: regularizers.directspec_plus(h, 0.7, 1.5, self_similarity=False),
    "shrink": lambda h: regularizers.shrink(h, 0.3),
    "shrink to a norm": lambda h: regularizers.shrink(h, 0.3, variant="unit"),
}
PENALTIES = {
    "uniformity": regularizers.uniformity,
    "uniformity of rows": lambda h: regularizers.uniformity(h, 1.5, variant="rows"),
    "vicreg": lambda h: regularizers.variance_covariance(h, target=1.5),
    "log_determinant": lambda h: regularizers.log_determinant(h, 0.5),
}
PAIRS = {
    "redundancy": regularizers.redundancy,
    "cross_similarity": regularizers.cross_similarity,
    "directau": regularizers.directau,
    "barlow_twins": regularizers.barlow_twins,
    "spectral_contrastive": regularizers.spectral_contrastive,
}


# --- the official code, transcribed in double precision, with the gradient by hand ---------------


def forward_side(e, tau, alpha, s):
    """Rows of one side: normalise, softmax over the whole row, subtract, times own norm."""
    n = np.sqrt((e * e).sum(1, keepdims=True))
    h = e / n
    weight = np.exp(tau * (h @ h.T))
    weight = weight / weight.sum(1, keepdims=True)
    moved = h - alpha * weight @ h
    if s == 0:
        return moved, (n, h, weight, moved, None)
    m = np.sqrt((moved * moved).sum(1, keepdims=True))
    return moved * (m * s), (n, h, weight, moved, m)


def backward_side(dz, saved, tau, alpha, s):
    n, h, weight, moved, m = saved
    d_moved = dz
    if s != 0:
        d_moved = s * (m * dz + (moved * dz).sum(1, keepdims=True) * moved / m)
    dh = d_moved - alpha * weight.T @ d_moved
    d_weight = -alpha * d_moved @ h.T
    d_logit = weight * (d_weight - (d_weight * weight).sum(1, keepdims=True))
    d_gram = tau * d_logit
    dh = dh + (d_gram + d_gram.T) @ h
    return (dh - (h * dh).sum(1, keepdims=True) * h) / n


def official(e_u, e_i, tau_u, tau_i, alpha, s):
    """Loss of gathered rows, and its gradients in them."""
    z_u, saved_u = forward_side(e_u, tau_u, alpha, s)
    z_i, saved_i = forward_side(e_i, tau_i, alpha, s)
    x = (z_u * z_i).sum(1)
    loss = np.log1p(np.exp(-x)).mean()
    dx = (-1 / (1 + np.exp(x)) / len(x))[:, None]
    return (
        loss,
        backward_side(dx * z_i, saved_u, tau_u, alpha, s),
        backward_side(dx * z_u, saved_i, tau_i, alpha, s),
    )


def taus(r, users, items, tau_0, tau_1):
    """The official temperature tables, dense: τ₁ where no training interaction is shared."""
    by_user = tau_0 + (tau_1 - tau_0) * (r @ r.T == 0)
    by_item = tau_0 + (tau_1 - tau_0) * (r.T @ r == 0)
    return by_user[np.ix_(users, users)], by_item[np.ix_(items, items)]


@pytest.fixture(scope="module")
def data():
    return synthetic.dcbm(
        n_users=40, n_items=30, n_communities=3, mean_degree=6.0, seed=1, validation_fraction=0.0
    )


@pytest.mark.parametrize("shrink", [0.0, 0.03, 0.8])
@pytest.mark.parametrize("adaptive", [False, True])
def test_official_loss_and_gradient_match_the_code(adaptive, shrink, data, device):
    rng = np.random.default_rng(0)
    users, items = rng.integers(data.n_users, size=16), rng.integers(data.n_items, size=16)
    e_u, e_i = rng.normal(size=(16, 5)), rng.normal(size=(16, 5)) * 3
    tau_0, tau_1 = 2.5, (3.0 if adaptive else 2.5)
    tables = taus(data.train.toarray(), users, items, tau_0, tau_1)
    loss, d_u, d_i = official(e_u, e_i, *tables, 0.9, shrink)

    regularizer = Regularizer(
        "directspec+", 0.9, tau_0, tau_1 if adaptive else None, normalised=True, shrink=shrink
    ).on(data.csr("train", device))
    rows = [torch.tensor(x[None], device=device).requires_grad_() for x in (e_u, e_i)]
    ids = [torch.tensor(x[None], device=device) for x in (users, items)]
    empty = rows[1].new_empty(1, 16, 0, 5)
    got = regularizer.loss(OBJECTIVES["logistic_alignment"][0], [*rows, empty], ids)
    gradients = torch.autograd.grad(got.sum(), rows)
    assert got.item() == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(gradients[0][0].cpu(), d_u, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(gradients[1][0].cpu(), d_i, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
@pytest.mark.parametrize("adaptive", [False, True])
def test_official_training_matches_the_code(adaptive, kind, data, device):
    """Three epochs: users with replacement, full batches, plain SGD, the rate decaying."""
    rate, decay, batch, epochs, alpha, shrink, reg = 60.0, 0.9, 32, 3, 1.0, 0.1, 0.01
    tau_0, tau_1 = 2.5, (3.0 if adaptive else 2.5)
    train = data.csr("train", device)
    options = dict(seeds=(5,), init="xavier", dtype=torch.float64)
    if kind == "mf":
        model = MF(data.n_users, data.n_items, 6, **options).to(device)
    else:
        model = LightGCN(train, 6, layers=3, propagation="sum", **options).to(device)
    tables = np.concatenate([model.users[0].detach().cpu(), model.items[0].detach().cpu()])
    before = tables.copy()

    r = data.train.toarray().astype(np.float64)
    p = np.eye(len(tables))
    if kind == "lightgcn":
        a = np.block([[np.zeros((len(r),) * 2), r], [r.T, np.zeros((r.shape[1],) * 2)]])
        degree = a.sum(1)
        scale = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1)), 0.0)
        a = scale[:, None] * a * scale
        p = p + a + a @ a + a @ a @ a
    sampler, stream = EpochSampler(train, "users", 0, "uniform"), generator(5, "samples", device)
    for epoch in range(epochs):
        users, items, _ = (x.cpu().numpy() for x in sampler.epoch(stream))
        for step in range(len(users) // batch):
            u, i = (x[step * batch : (step + 1) * batch] for x in (users, items))
            z = p @ tables
            _, d_u, d_i = official_gcn(
                z[u], z[len(r) + i], *taus(r, u, i, tau_0, tau_1), alpha, shrink, reg
            )
            d_z = np.zeros_like(z)
            np.add.at(d_z, u, d_u)
            np.add.at(d_z, len(r) + i, d_i)
            tables = tables - rate * decay**epoch * (p.T @ d_z)

    fit(
        model, data, loss="logistic_alignment", optimizer="sgd", learning_rate=rate, decay=decay,
        regularizer=Regularizer("directspec+", alpha, tau_0, tau_1 if adaptive else None,
                                normalised=True, shrink=shrink),
        l2=2 * reg, l2_on="rows", batch_size=batch, drop_last=True, positives="users",
        epochs=epochs, select="last", progress=False,
    )  # fmt: skip
    got = np.concatenate([model.users[0].detach().cpu(), model.items[0].detach().cpu()])
    assert np.abs(tables - before).max() > 0.01, "nothing was learnt: a weak test"
    np.testing.assert_allclose(got, tables, rtol=0, atol=1e-10)


def official_gcn(e_u, e_i, tau_u, tau_i, alpha, s, reg):
    """As `official`, plus the GCN code's reg · Σ(h'_u² + h'_i²) / B on the shrunk rows."""
    loss, d_u, d_i = official(e_u, e_i, tau_u, tau_i, alpha, s)
    extra = []
    for e, tau in ((e_u, tau_u), (e_i, tau_i)):
        z, saved = forward_side(e, tau, alpha, s)
        loss += reg * (z * z).sum() / len(z)
        extra.append(backward_side(2 * reg * z / len(z), saved, tau, alpha, s))
    return loss, d_u + extra[0], d_i + extra[1]


def test_the_sum_of_layers_trains_as_their_mean_does_on_unit_rows(data):
    """A unit row does not know its scale: of the official code's sum, nothing is left."""
    tables = []
    for propagation in ("mean", "sum"):
        model = LightGCN(
            data.csr("train"), 6, layers=2, propagation=propagation, dtype=torch.float64
        )
        fit(
            model, data, loss="logistic_alignment", optimizer="sgd", learning_rate=5.0, epochs=3,
            regularizer=Regularizer("directspec+", 1.0, 3.0, normalised=True), select="last",
            batch_size=64, progress=False,
        )  # fmt: skip
        tables.append(model.users.detach())
    torch.testing.assert_close(*tables)


# --- properties --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_directspec_maps_singular_values_and_keeps_singular_vectors(seed, device):
    h = numbers(3, 20, 6, seed=seed, device=device)
    u, s, vh = torch.linalg.svd(h, full_matrices=False)
    alpha = 0.01
    expected = u @ torch.diag_embed(s * (1 - alpha * s**2)) @ vh
    torch.testing.assert_close(regularizers.directspec(h, alpha), expected)


def test_directspec_descends_the_squared_similarities():
    """HHᵀH is the gradient of ¼‖HHᵀ‖²."""
    h = numbers(9, 4).requires_grad_()
    energy = (h @ h.T).square().sum() / 4
    (gradient,) = torch.autograd.grad(energy, h)
    torch.testing.assert_close(regularizers.directspec(h, 0.1), h - 0.1 * gradient)


def test_directspec_plus_tends_to_mean_removal_and_directspec():
    """SH = mean + (τ/B)(HHᵀH − r ∘ mean) + O(τ²), r the row sums of HHᵀ."""
    h = losses.unit(numbers(12, 5))
    gram, mean = h @ h.T, h.mean(0)
    errors = []
    for tau in (0.1, 0.01, 0.001):
        first_order = mean + tau / 12 * (gram @ h - gram.sum(1, keepdim=True) * mean)
        got = (h - regularizers.directspec_plus(h, 0.5, tau)) / 0.5
        errors.append((got - first_order).abs().max().item())
    assert errors[0] < 0.01
    for larger, smaller in itertools.pairwise(errors):
        assert 80 < larger / smaller < 120


def test_directspec_plus_at_temperature_zero_removes_the_mean():
    h = numbers(7, 3)
    torch.testing.assert_close(regularizers.directspec_plus(h, 1.0, 0.0), h - h.mean(0))


def test_directspec_plus_pushes_along_the_gradient_of_uniformity():
    """∇ mean_x ln Σ_y exp(τ h_xᵀh_y) = (τ/B)(S + Sᵀ)H along the sphere, S of the transform."""
    t, size = 1.3, 11
    h = losses.unit(numbers(size, 4)).requires_grad_()
    (gradient,) = torch.autograd.grad(regularizers.uniformity(h, t, variant="rows"), h)
    s = torch.softmax(2 * t * h @ h.T, -1)
    ambient = 2 * t / size * (s + s.T) @ h
    tangent = ambient - (ambient * h).sum(-1, keepdim=True) * h
    torch.testing.assert_close(gradient, tangent.detach())
    own = (h - regularizers.directspec_plus(h, 1.0, 2 * t)).detach()
    torch.testing.assert_close(own, (s @ h).detach())


def test_related_pairs_have_their_own_temperature():
    h, related = losses.unit(numbers(8, 3)), symmetric_bool(8)
    tau = np.where(related, 1.1, 4.3)
    weight = np.exp(tau * (h @ h.T).numpy())
    weight /= weight.sum(1, keepdims=True)
    got = regularizers.directspec_plus(h, 0.6, 1.1, temperature_unrelated=4.3, related=related)
    np.testing.assert_allclose(got, h.numpy() - 0.6 * weight @ h.numpy(), rtol=1e-12)


def test_without_itself_no_row_is_pushed_by_itself():
    h = losses.unit(numbers(6, 3)).numpy()
    weight = np.exp(2.0 * h @ h.T)
    np.fill_diagonal(weight, 0.0)
    expected = h - 0.5 * (weight / weight.sum(1, keepdims=True)) @ h
    got = regularizers.directspec_plus(torch.tensor(h), 0.5, 2.0, self_similarity=False)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_shrink_squares_the_norm_or_sets_it():
    h = numbers(2, 7, 3)
    norm = torch.linalg.vector_norm(h, dim=-1)
    official = torch.linalg.vector_norm(regularizers.shrink(h, 0.3), dim=-1)
    torch.testing.assert_close(official, 0.3 * norm**2)
    plain = torch.linalg.vector_norm(regularizers.shrink(h, 0.3, variant="unit"), dim=-1)
    torch.testing.assert_close(plain, torch.full_like(plain, 0.3))
    torch.testing.assert_close(losses.unit(regularizers.shrink(h, 0.3)), losses.unit(h))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_commute_with_permutation_and_rotation(name, device):
    h, order = numbers(2, 9, 4, device=device), torch.randperm(9, device=device)
    rotation = torch.linalg.qr(numbers(4, 4, seed=1, device=device))[0]
    moved = TRANSFORMS[name](h)
    torch.testing.assert_close(TRANSFORMS[name](h[:, order]), moved[:, order])
    torch.testing.assert_close(TRANSFORMS[name](h @ rotation), moved @ rotation)


@pytest.mark.parametrize("name", [*PENALTIES, *PAIRS])
def test_penalties_ignore_the_order_of_the_batch(name, device):
    penalty = {**PENALTIES, **PAIRS}[name]
    sides = [numbers(2, 9, 4, seed=s, device=device) for s in range(1 if name in PENALTIES else 2)]
    order = torch.randperm(9, device=device)
    torch.testing.assert_close(penalty(*(x[:, order] for x in sides)), penalty(*sides))


@pytest.mark.parametrize("name", [*TRANSFORMS, *PENALTIES, *PAIRS])
def test_gradients_and_leading_dimensions(name):
    function = {**TRANSFORMS, **PENALTIES, **PAIRS}[name]
    sides = [numbers(2, 3, 6, 3, seed=s).requires_grad_() for s in range(1 + (name in PAIRS))]
    assert torch.autograd.gradcheck(function, tuple(sides))
    batched = function(*sides)
    for a in range(2):
        for b in range(3):
            torch.testing.assert_close(batched[a, b], function(*(x[a, b] for x in sides)))
    assert batched.shape == ((2, 3, 6, 3) if name in TRANSFORMS else (2, 3))


def test_gradient_with_two_temperatures():
    h, related = numbers(6, 3).requires_grad_(), symmetric_bool(6)
    assert torch.autograd.gradcheck(
        lambda x: regularizers.directspec_plus(
            x, 0.7, 1.0, temperature_unrelated=2.0, related=related
        ),
        (h,),
    )


def test_strengths_and_temperatures_per_replica(device):
    h = numbers(3, 8, 4, device=device)
    related = torch.stack([symmetric_bool(8, seed=s) for s in range(3)]).to(device)
    a, t, t1 = (torch.tensor(x, device=device, dtype=torch.float64)
                for x in ([0.1, 0.5, 0.0], [1.0, 2.0, 3.0], [2.0, 2.5, 9.0]))  # fmt: skip
    together = {
        "directspec": regularizers.directspec(h, a),
        "directspec+": regularizers.directspec_plus(
            h, a, t, temperature_unrelated=t1, related=related
        ),
        "shrink": regularizers.shrink(h, a),
        "uniformity": regularizers.uniformity(h, t),
        "vicreg": regularizers.variance_covariance(h, a),
        "directau": regularizers.directau(h, h.flip(-2), a, t),
    }
    for r in range(3):
        x, y, z = float(a[r]), float(t[r]), float(t1[r])
        alone = {
            "directspec": regularizers.directspec(h[r], x),
            "directspec+": regularizers.directspec_plus(
                h[r], x, y, temperature_unrelated=z, related=related[r]
            ),
            "shrink": regularizers.shrink(h[r], x),
            "uniformity": regularizers.uniformity(h[r], y),
            "vicreg": regularizers.variance_covariance(h[r], x),
            "directau": regularizers.directau(h[r], h[r].flip(-2), x, y),
        }
        for name, value in alone.items():
            torch.testing.assert_close(together[name][r], value)


# --- penalties against their formulas ------------------------------------------------------------


def slow_uniformity(h, t):
    h = h / np.sqrt((h * h).sum(1, keepdims=True))
    pairs = [(x, y) for x in range(len(h)) for y in range(x)]
    return math.log(sum(math.exp(-t * ((h[x] - h[y]) ** 2).sum()) for x, y in pairs) / len(pairs))


def slow_correlation(u, p):
    c = np.zeros((u.shape[1], p.shape[1]))
    for k in range(u.shape[1]):
        for m in range(p.shape[1]):
            c[k, m] = np.corrcoef(u[:, k], p[:, m])[0, 1]
    return c


def slow_barlow(u, p, strength):
    c = slow_correlation(u, p)
    on = sum((1 - c[k, k]) ** 2 for k in range(len(c)))
    return on + strength * sum(c[k, m] ** 2 for k in range(len(c)) for m in range(len(c)) if k != m)


def slow_vicreg(h, weight, target):
    v = np.cov(h, rowvar=False)
    d = len(v)
    variance = sum(max(0.0, target - math.sqrt(v[k, k] + 1e-4)) for k in range(d)) / d
    return variance + weight * (np.square(v).sum() - np.square(np.diag(v)).sum()) / d


def slow_contrastive(u, p):
    size = len(u)
    apart = [(u[b] @ p[c]) ** 2 for b in range(size) for c in range(size) if b != c]
    return -2 * sum(u[b] @ p[b] for b in range(size)) / size + sum(apart) / len(apart)


def test_penalties_match_their_formulas(device):
    u, p = numbers(2, 7, 3, device=device), numbers(2, 7, 3, seed=1, device=device)
    for r in range(2):
        a, b = u[r].cpu().numpy(), p[r].cpu().numpy()
        slow_alignment = losses.alignment(u, p)[r].item()  # has its own slow test
        expected = {
            regularizers.uniformity(u, 1.7): slow_uniformity(a, 1.7),
            regularizers.barlow_twins(u, p, 0.3): slow_barlow(a, b, 0.3),
            regularizers.variance_covariance(u, 0.2): slow_vicreg(a, 0.2, 1.0),
            regularizers.variance_covariance(u, target=0.4): slow_vicreg(a, 0.04, 0.4),
            regularizers.spectral_contrastive(u, p): slow_contrastive(a, b),
            regularizers.log_determinant(u, 0.3): -np.linalg.slogdet(a.T @ a + 0.3 * np.eye(3))[1],
            regularizers.directau(u, p, 0.8, 2.0): slow_alignment
            + 0.8 * (slow_uniformity(a, 2.0) + slow_uniformity(b, 2.0)) / 2,
        }
        for got, value in expected.items():
            assert got[r].item() == pytest.approx(value, rel=1e-10)


def test_log_determinant_moves_small_singular_values_most():
    """−∇ is 2H(HᵀH + εI)⁻¹: s becomes s (1 + 2η / (s² + ε)), singular vectors stay."""
    h = numbers(10, 4).requires_grad_()
    u, s, vh = torch.linalg.svd(h.detach(), full_matrices=False)
    (gradient,) = torch.autograd.grad(regularizers.log_determinant(h, 0.7), h)
    torch.testing.assert_close(-gradient, u @ torch.diag(2 * s / (s**2 + 0.7)) @ vh)


def test_uniformity_is_least_where_directions_spread():
    corner, spread = torch.ones(8, 3).double(), losses.unit(numbers(8, 3))
    assert regularizers.uniformity(corner).item() == pytest.approx(0.0, abs=1e-12)
    assert regularizers.uniformity(spread) < -0.5
    torch.testing.assert_close(regularizers.uniformity(5 * spread), regularizers.uniformity(spread))


def test_whole_objectives_are_a_loss_and_its_penalty():
    """What a regularizer with strength trains is what the objectives of that name say."""
    u, p, n = numbers(2, 6, 4), numbers(2, 6, 4, seed=1), numbers(2, 6, 0, 4)
    ids = [torch.zeros(2, 6, dtype=torch.int64)] * 2
    for loss, regularizer, expected in (
        ("alignment", Regularizer("uniformity", 0.7, 2.0), regularizers.directau(u, p, 0.7)),
        ("invariance", Regularizer("barlow_twins", 0.1), regularizers.barlow_twins(u, p, 0.1)),
        (
            "inner_product",
            Regularizer("spectral_contrastive", 0.5),
            regularizers.spectral_contrastive(u, p) / 2,
        ),
    ):
        got = regularizer.loss(OBJECTIVES[loss][0], [u, p, n], ids)
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", ["vicreg", "log_determinant"])
def test_penalties_of_one_side_are_averaged_over_both(name):
    u, p, n = numbers(1, 6, 4), numbers(1, 6, 4, seed=1), numbers(1, 6, 2, 4)
    ids = [torch.zeros(1, 6, dtype=torch.int64)] * 2
    function = {
        "vicreg": regularizers.variance_covariance,
        "log_determinant": regularizers.log_determinant,
    }[name]
    bpr = OBJECTIVES["bpr"][0]
    got = Regularizer(name, 0.3, normalised=True).loss(bpr, [u, p, n], ids)
    u, p, n = map(losses.unit, (u, p, n))
    torch.testing.assert_close(got, bpr(u, p, n) + 0.3 * (function(u) + function(p)) / 2)


def test_directspec_is_scaled_by_the_batch():
    u, p, n = numbers(1, 6, 4), numbers(1, 6, 4, seed=1), numbers(1, 6, 0, 4)
    ids = [torch.zeros(1, 6, dtype=torch.int64)] * 2
    loss = OBJECTIVES["inner_product"][0]
    got = Regularizer("directspec", 0.3).loss(loss, [u, p, n], ids)
    expected = loss(regularizers.directspec(u, 0.05), regularizers.directspec(p, 0.05), n)
    torch.testing.assert_close(got, expected)


# --- co-occurrence ------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "pairs"), [(0, 2**20), (1, 2**20), (2, 1), (3, 7)])
def test_cooccurrence_is_the_sparse_product(seed, pairs, device, monkeypatch):
    monkeypatch.setattr(cooccurrence, "PAIRS", pairs)  # looked at at a time
    rng = np.random.default_rng(seed)
    dense = rng.random((13, 9)) < 0.15
    dense[3] = False  # a row without entries is related to itself alone
    matrix = CSR.from_scipy(sp.csr_matrix(dense * 1.0), device)
    for sparse, table in ((matrix, dense), (transposed(matrix), dense.T)):
        ids = rng.integers(len(table), size=(2, 3, 11))  # with repetitions
        counts = table.astype(int) @ table.T.astype(int)
        expected = (counts > 0) | np.eye(len(table), dtype=bool)
        got = CoOccurrence(sparse)(torch.tensor(ids, device=device)).cpu().numpy()
        assert got.shape == (2, 3, 11, 11)
        for a in range(2):
            for b in range(3):
                np.testing.assert_array_equal(got[a, b], expected[np.ix_(ids[a, b], ids[a, b])])


def test_a_batch_without_entries_is_related_to_itself_alone():
    empty = CSR(torch.zeros(5, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), (4, 3))
    got = CoOccurrence(empty)(torch.tensor([1, 2, 1]))
    assert got.tolist() == [[True, False, True], [False, True, False], [True, False, True]]


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argument, settings",
    [
        ("regularizer", dict(regularizer="whitening")),
        ("strength", dict(regularizer="directspec")),
        ("strength", dict(regularizer="directspec", strength=-1.0)),
        ("strength", dict(regularizer="directspec", strength=torch.tensor([1.0, -1.0]))),
        ("strength", dict(strength=0.5)),
        ("temperature", dict(regularizer="directspec+", strength=1.0)),
        ("temperature", dict(regularizer="directspec+", strength=1.0, temperature=float("nan"))),
        ("temperature", dict(regularizer="vicreg", strength=1.0, temperature=1.0)),
        (
            "temperature_unrelated",
            dict(regularizer="uniformity", strength=1.0, temperature=2, temperature_unrelated=1),
        ),
        ("self_similarity", dict(regularizer="directspec", strength=1.0, self_similarity=False)),
        ("shrink", dict(shrink=-0.1)),
        ("shrink_variant", dict(shrink=0.1, shrink_variant="x")),
        ("shrink_variant", dict(shrink_variant="unit")),
    ],
)
def test_bad_settings_are_named(argument, settings):
    with pytest.raises(ValueError, match=f"{argument} is"):
        Regularizer(**settings)


def test_bad_arguments_are_named(data):
    h = numbers(4, 3)
    with pytest.raises(ValueError, match="related is None"):
        regularizers.directspec_plus(h, 1.0, 1.0, temperature_unrelated=2.0)
    with pytest.raises(ValueError, match=r"which rows co-occur is not known: call \.on\(train\)"):
        Regularizer("directspec+", 1.0, 2.0, 3.0).loss(
            OBJECTIVES["inner_product"][0], (h, h, h), [torch.arange(4)] * 2
        )
    with pytest.raises(ValueError, match="related has shape"):
        regularizers.directspec_plus(
            h, 1.0, 1.0, temperature_unrelated=2.0, related=symmetric_bool(5)
        )
    for function in (regularizers.uniformity, regularizers.variance_covariance):
        with pytest.raises(ValueError, match="B of at least 2"):
            function(h[:1])
    with pytest.raises(ValueError, match="items has shape"):
        regularizers.cross_similarity(h, h[:3])
    with pytest.raises(ValueError, match="variant is"):
        regularizers.shrink(h, 1.0, variant="x")
    with pytest.raises(ValueError, match=r"loss is 'bpr': expected one without negatives"):
        fit(
            MF(data.n_users, data.n_items, 4), data, regularizer=Regularizer("directspec", 0.1),
            select="last", epochs=1, progress=False,
        )  # fmt: skip


def test_each_name_has_a_function_of_its_own():
    assert set(PENALTIES_BY_NAME) == {*regularizers.OF_SIDE, *regularizers.OF_PAIR, "uniformity"}
    sides, found = (numbers(9, 4, seed=1), numbers(9, 4, seed=2)), {}
    for name in PENALTIES_BY_NAME:
        balance = Regularizer(name, 1.0, 2.0 if name == "uniformity" else None)
        value = balance.loss(lambda u, p, n: (u * p).sum() * 0, (*sides, sides[1]), ())
        found[name] = value.item()
    assert len({round(value, 6) for value in found.values()}) == len(found)


def test_every_regularizer_trains(data):
    for name in REGULARIZERS[1:]:
        model = MF(data.n_users, data.n_items, 4, seeds=(0, 1))
        temperature = 2.0 if name in ("directspec+", "uniformity") else None
        history = fit(
            model, data, loss="alignment", learning_rate=0.02, epochs=2, batch_size=64,
            regularizer=Regularizer(name, 0.1, temperature), drop_last=True, select="last",
            progress=False,
        )  # fmt: skip
        assert history.values["loss"][0][2] < history.values["loss"][0][1], name


def test_an_experiment_runs_to_its_last_epoch_without_validation(data, tmp_path, monkeypatch):
    """The settings of the experiment reach the training, and its record survives the disk."""

    def load(name, *, validation, seed=0):
        return data.holdout(validation, seed) if validation else data

    monkeypatch.setattr(experiments.datasets, "load", load)
    wanted = Experiment(
        dataset="synthetic", version=data.version, dim=4, batch_size=32, epochs=3, seeds=(0, 1),
        loss="logistic_alignment", regularizer="directspec+", strength=1.0, temperature=2.5,
        temperature_unrelated=3.0, normalised=True, shrink=0.5, optimizer="sgd",
        learning_rate=20.0, decay=0.9995, init="xavier", drop_last=True, positives="users",
        validation=0.0, evaluate_every=2, patience=1,
    )  # fmt: skip
    record = experiments.run(wanted, progress=False)
    assert record.epochs_run == record.selected_epoch == [3, 3]
    assert record.history["epoch"] == [[0, 2, 3]] * 2
    last = [series[-1] for series in record.history["test ndcg@10"]]
    assert last == pytest.approx(record.metrics["ndcg@10"], rel=1e-6)
    assert not any(name.startswith("validation") for name in record.metrics)
    assert records.read(record.save(tmp_path)) == record
    again = experiments.run(wanted.with_(seeds=(0,)), progress=False)
    assert again.spectrum["users"][0] == record.spectrum["users"][0]
    for change in (
        dict(strength=0.5), dict(temperature=2.0), dict(temperature_unrelated=None),
        dict(self_similarity=False), dict(shrink=0.25), dict(shrink_variant="unit"),
        dict(normalised=False), dict(decay=0.5), dict(init="normal"), dict(l2=0.1),
        dict(l2=0.1, l2_on="rows"), dict(drop_last=False), dict(validation=0.3),
        dict(regularizer="directspec", temperature=None, temperature_unrelated=None),
    ):  # fmt: skip
        other = experiments.run(wanted.with_(seeds=(0,), **change), progress=False)
        assert other.spectrum["users"][0] != record.spectrum["users"][0], change
