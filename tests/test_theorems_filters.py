"""The theorems of Part II, each tried on random instances, and what fails without a hypothesis.

A test is evidence, not proof: the proofs stand in the chapters, under the same labels.
"""

from typing import Protocol

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specrec_core import filters, regularizers, spectra
from specrec_core.losses import unit
from specrec_core.spectra import effective_rank, singular_values

many = settings(max_examples=100)
ROOM = 1e-9


class Cases(Protocol):
    """The fixture `theorem_cases`."""

    def count(self) -> None: ...


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@st.composite
def graphs(draw, connected=False):
    """Dense interactions in which every user and item has an edge; perhaps one component."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    r = (rng.random((n, m)) < draw(st.floats(0.05, 0.6))).astype(float)
    if connected:
        r[:, 0] = r[0] = 1
    for u in range(n):
        r[u, rng.integers(m)] = 1
    for i in range(m):
        r[rng.integers(n), i] = 1
    return r, rng


def adjacency(r):
    n, m = r.shape
    return np.block([[np.zeros((n, n)), r], [r.T, np.zeros((m, m))]])


def normalised(r):
    a = adjacency(r)
    scale = 1 / np.sqrt(a.sum(1))
    return scale[:, None] * a * scale


# ------------------------------------------------------------------------------ chapter 2


@pytest.mark.theorem("thm-low-pass")
def test_low_pass(theorem_cases: Cases):
    @many
    @given(graphs(), st.floats(0.01, 0.99), st.integers(1, 60))
    def check(graph, rate, steps):
        r, rng = graph
        n, degree = len(r), adjacency(r).sum(1)
        start = rng.standard_normal((len(degree), 3))
        table = start.copy()
        for _ in range(steps):  # gradient descent, written from the loss
            u, i = np.nonzero(r)
            pull = table[u] / np.sqrt(degree[u])[:, None]
            pull -= table[n + i] / np.sqrt(degree[n + i])[:, None]
            gradient = np.zeros_like(table)
            np.add.at(gradient, u, pull / np.sqrt(degree[u])[:, None])
            np.add.at(gradient, n + i, -pull / np.sqrt(degree[n + i])[:, None])
            table = table - rate * gradient
        values, vectors = np.linalg.eigh(normalised(r))
        response = filters.alignment_response(values.clip(-1, 1), rate, steps).numpy()
        filtered = vectors @ (response[:, None] * (vectors.T @ start))
        assert np.abs(table - filtered).max() < 1e-9  # (a)

        parts = np.concatenate(filters.components(sp.csr_array(r)))
        limit = np.zeros_like(start)
        for part in range(parts.max() + 1):
            inside = parts == part
            centre = np.sqrt(degree[inside]) @ start[inside] / degree[inside].sum()
            limit[inside] = np.sqrt(degree[inside])[:, None] * centre
        top = vectors[:, values > 1 - 1e-9]
        assert top.shape[1] == parts.max() + 1
        assert np.abs(limit - top @ (top.T @ start)).max() < 1e-9  # (b)

        below = values[values < 1 - 1e-9]
        if len(below) and below.max() >= -ROOM and rate <= 2 / 3:
            bound = (1 - rate * (1 - below.max())) ** steps * np.linalg.norm(start - limit)
            assert np.linalg.norm(table - limit) <= bound * (1 + ROOM) + 1e-12  # (c)
            slowest = vectors[:, [values.tolist().index(below.max())]]
            rho = 1 - rate * (1 - below.max())
            moved = slowest + rate * (normalised(r) @ slowest - slowest)
            assert np.abs(moved - rho * slowest).max() < 1e-9  # no better rate
        theorem_cases.count()

    check()


def test_low_pass_needs_a_rate_below_one():
    r = np.ones((3, 3))
    values = np.linalg.eigvalsh(normalised(r)).clip(-1, 1)
    assert filters.alignment_response(values, 1.5).abs().max() == pytest.approx(2)  # at λ = −1
    rho = 1 - 0.9 * (1 - 0.0)  # λ* = 0 here: above 2/3 the roughest pattern is the slowest
    assert filters.alignment_response(values, 0.9).abs()[0] == pytest.approx(0.8) and rho < 0.8


@pytest.mark.theorem("thm-inner-product")
def test_inner_product_alignment_ends_on_one_line(theorem_cases: Cases):
    @many
    @given(graphs(connected=True), st.floats(0.05, 3), st.booleans())
    def check(graph, rate, path):
        r, rng = graph
        if path:  # a path, whose leading eigenvalues lie close together
            r = np.eye(len(r)) + np.eye(len(r), k=1)
        n = len(r)
        start = rng.standard_normal((sum(r.shape), 3))

        def loss(e):  # the gradient of the loss is −W E
            return np.logaddexp(0, -(e[:n] @ e[n:].T))[r > 0].sum()

        w = adjacency(r * sigmoid(-(start[:n] @ start[n:].T)))
        direction = rng.standard_normal(start.shape)
        slope = (loss(start + 1e-6 * direction) - loss(start - 1e-6 * direction)) / 2e-6
        assert slope == pytest.approx(-(w @ start * direction).sum(), rel=1e-5, abs=1e-5)

        values, vectors = np.linalg.eigh(adjacency(r) / 2)
        leading = vectors[:, -1] * np.sign(vectors[0, -1])
        assert leading.min() > 0
        rest = np.delete(values, [0, len(values) - 1])
        assert values[0] == pytest.approx(-values[-1])
        assert (np.abs(rest) < values[-1] - 1e-9).all()
        ratios = (1 + rate * values) / (1 + rate * values[-1])
        assert (np.abs(ratios[:-1]) < 1).all()
        once = start + rate * adjacency(r) / 2 @ start
        scaled = vectors @ (ratios[:, None] * (vectors.T @ start)) * (1 + rate * values[-1])
        assert np.abs(once - scaled).max() < 1e-9
        table = vectors @ (ratios[:, None] ** 100_000 * (vectors.T @ start))
        assert np.abs(table - np.outer(leading, leading @ start)).max() < 1e-6
        theorem_cases.count()

    check()


def test_two_components_do_not_end_on_one_line():
    values, vectors = np.linalg.eigh(adjacency(np.eye(2)) / 2)
    table = vectors @ ((1 + values)[:, None] ** 200 * (vectors.T @ np.diag([1.0, 2, 3, 4])))
    assert effective_rank(singular_values(table / np.abs(table).max())) > 1.5


@pytest.mark.theorem("thm-saturation")
def test_saturation(theorem_cases: Cases):
    @many
    @given(graphs(), st.floats(0.01, 5), st.floats(0.1, 3))
    def check(graph, rate, size):
        r, rng = graph
        n = len(r)
        d, rows = 3, max(3, sum(r.shape))
        axis = np.arange(rows) % d
        spread = rng.uniform(0.2, 2, rows)
        spread /= np.sqrt(np.bincount(axis, spread**2))[axis]  # each axis with the same energy
        near = spread[:, None] * (np.eye(d) + 1e-2)[axis]
        assert (near @ near.T).min() > 0
        assert effective_rank(singular_values(near)) > 0.98 * d
        losses = [np.logaddexp(0, -(t * t * near @ near.T)).sum() for t in (1, 30, 1000)]
        assert losses[0] > losses[1] > losses[2]
        far = np.logaddexp(0, -(1e4 * near @ near.T / (near @ near.T).min())).sum()
        assert far < 1e-9  # (a)

        full = size * rng.standard_normal((sum(r.shape), 2))
        weights = r * sigmoid(-(full[:n] @ full[n:].T))
        step = rate * adjacency(weights) @ full
        pairs = r * np.logaddexp(0, -(full[:n] @ full[n:].T))
        most = max(pairs.sum(0).max(), pairs.sum(1).max())
        assert np.linalg.norm(step) <= rate * most * np.linalg.norm(full) * (1 + ROOM)  # (b)
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-penalty")
def test_with_a_penalty_complete_collapse_is_best(theorem_cases: Cases):
    @many
    @given(graphs(), st.floats(0.001, 0.9), st.floats(0.01, 2))
    def check(graph, weight, spread):
        r, rng = graph
        n = len(r)

        def loss(e):
            norms = (e**2).sum(1)
            own = np.logaddexp(0, -(e[:n] @ e[n:].T))
            return (r * (own + weight / 2 * (norms[:n, None] + norms[n:]))).sum()

        square = max(0.0, np.log((1 - weight) / weight))
        parts = np.concatenate(filters.components(sp.csr_array(r)))
        centres = rng.standard_normal((parts.max() + 1, 3))
        centres *= np.sqrt(square) / np.linalg.norm(centres, axis=1, keepdims=True)
        best = centres[parts]
        other = best + spread * rng.standard_normal(best.shape)
        assert loss(best) < loss(other)
        if square > 1e-3:  # shorter, longer, and one component turned
            assert loss(best) < min(loss(0.9 * best), loss(1.1 * best))
        turned = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        assert loss(best @ turned) == pytest.approx(loss(best))
        theorem_cases.count()

    check()


def test_unit_vectors_that_turn_once_around_a_ring_are_a_local_minimum():
    """In the plane; with a third coordinate there is a way out."""

    def loss(h):
        h = h / np.linalg.norm(h, axis=1, keepdims=True)
        return (2 - 2 * (h * np.roll(h, 1, axis=0)).sum(1)).sum()

    at, rng = np.arange(12) * np.pi / 6, np.random.default_rng(0)
    turned = np.stack([np.cos(at), np.sin(at)], 1)
    least = loss(turned)
    assert least > 1  # complete collapse has 0
    for _ in range(100):
        moved = at + 0.1 * rng.standard_normal(12)
        assert loss(np.stack([np.cos(moved), np.sin(moved)], 1)) > least
    assert loss(np.column_stack([turned, np.full(12, 0.1)])) < least


@pytest.mark.theorem("thm-unit-vectors")
def test_unit_vectors_are_best_where_neighbours_agree(theorem_cases: Cases):
    falling = (
        lambda x: np.logaddexp(0, -x),
        lambda x: 2 - 2 * x,
        lambda x: -(x**3) - x,
        lambda x: np.exp(-5 * x),
    )

    @many
    @given(graphs(), st.sampled_from(falling), st.floats(0.01, 1))
    def check(graph, f, spread):
        r, rng = graph
        n = len(r)
        parts = np.concatenate(filters.components(sp.csr_array(r)))
        centres = rng.standard_normal((parts.max() + 1, 4))
        agreed = centres[parts] / np.linalg.norm(centres[parts], axis=1, keepdims=True)
        other = agreed + spread * rng.standard_normal(agreed.shape)
        other /= np.linalg.norm(other, axis=1, keepdims=True)

        def loss(h):
            return f((h[:n] @ h[n:].T)[r > 0].clip(-1, 1)).sum()

        least = (r > 0).sum() * f(np.array(1.0))
        assert loss(agreed) == pytest.approx(least, rel=1e-12, abs=1e-12)
        u, i = np.nonzero(r)
        apart = np.abs(other[u] - other[n + i]).max()
        assert (loss(other) > least) == (apart > 0)
        theorem_cases.count()

    check()


# ------------------------------------------------------------------------------ chapter 3


@pytest.mark.theorem("thm-first-step")
def test_first_step_of_each_loss(theorem_cases: Cases):
    from itertools import product

    from specrec_core import losses

    @settings(max_examples=30)
    @given(graphs(connected=True), st.integers(1, 2), st.booleans())
    def check(graph, c, popular):
        r = graph[0][:4, :4]
        r[r.sum(1) == 0, 0] = 1
        m = r.shape[1]
        chance = r.sum(0) / r.sum() if popular else np.full(m, 1 / m)
        drawn = r.sum(1, keepdims=True) * chance
        expected = {
            "bce": (0.5, c), "bpr": (0.5, 1), "sampled_softmax": (c / (c + 1), 1), "mse": (2, 0)
        }  # fmt: skip
        for name, (size, share) in expected.items():
            scores = torch.zeros(r.shape, dtype=torch.float64, requires_grad=True)
            total = scores.sum() * 0
            for u, i in zip(*np.nonzero(r), strict=True):
                for drawn_items in product(range(m), repeat=c):  # every outcome of the sampler
                    weight = float(np.prod(chance[list(drawn_items)]))
                    row = scores[int(u)]
                    value = getattr(losses, name)(
                        row[int(i)].reshape(1), row[list(drawn_items)].reshape(1, c)
                    )
                    total = total + weight * value.sum()
            (gradient,) = torch.autograd.grad(total, scores)
            assert np.abs(-gradient.numpy() - size * (r - share * drawn)).max() < 1e-9, name
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-negatives")
def test_sampled_negatives(theorem_cases: Cases):
    @many
    @given(graphs(connected=True), st.floats(0, 6), st.floats(0, 6))
    def check(graph, c, other):
        r, rng = graph
        m = r.shape[1]
        users, items = r.sum(1), r.sum(0)
        drawn = np.tile(users[:, None] / m, m)
        pattern = rng.standard_normal(m)
        pattern -= pattern.mean()
        push = r - c * drawn
        assert np.abs(push @ pattern - r @ pattern).max() < 1e-9
        assert np.abs(push @ np.ones(m) - (1 - c) * users).max() < 1e-9  # (a)

        def spectrum(x):
            return np.linalg.svd(x, compute_uv=False)

        plain, ours, mirrored = spectrum(r), spectrum(push), spectrum(r - (2 - c) * drawn)
        theirs = spectrum(r - other * drawn)
        assert np.abs((r - c * np.outer(users, items) / r.sum()) @ np.ones(m)
                      - (1 - c) * users).max() < 1e-9  # fmt: skip  # (a), any sampler
        if c * (2 - c) >= other * (2 - other):
            assert (ours <= theirs + 1e-9).all()
        if c >= 2:
            assert (ours >= plain - 1e-9).all()
        assert np.abs(ours - mirrored).max() < 1e-9
        if c <= 2:
            assert (ours <= plain + 1e-9).all()
            assert (ours[:-1] >= plain[1:] - 1e-9).all()  # (b)

        scale = np.sqrt(users)[:, None] * np.sqrt(items)
        popular = np.outer(users, items) / r.sum()
        normal = spectrum(r / scale)
        assert normal[0] == pytest.approx(1)
        expected = np.sort(np.append(normal[1:], abs(1 - c)))[::-1]
        assert np.abs(spectrum((r - c * popular) / scale) - expected).max() < 1e-9  # (c)
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-fixed-operator")
def test_a_fixed_operator_collapses(theorem_cases: Cases):
    @many
    @given(graphs(connected=True), st.floats(0, 6), st.floats(0.1, 3), st.booleans())
    def check(graph, c, rate, arbitrary):
        r, rng = graph
        push = r - c * r.sum(1, keepdims=True) / r.shape[1]
        if arbitrary:
            push = rng.standard_normal(r.shape)
        s = np.linalg.svd(push, compute_uv=False)
        if s[0] < 1e-6 or (len(s) > 1 and s[1] > 0.95 * s[0]):
            return  # no simple leading singular value, or too close to see the limit
        u, v = (rng.standard_normal((n, 3)) for n in r.shape)
        for _ in range(4000):
            u, v = u + rate * push @ v / s[0], v + rate * push.T @ u / s[0]
            size = np.sqrt((u**2).sum() + (v**2).sum())
            u, v = u / size, v / size
        for table in (u, v, np.concatenate([u, v])):
            assert effective_rank(singular_values(table)) < 1 + 1e-3
        theorem_cases.count()

    check()


def test_an_operator_that_is_zero_or_has_two_leading_values_does_not_collapse():
    r = np.ones((1, 4))  # one user who has everything: one negative leaves nothing
    assert np.abs(r - r.sum(1, keepdims=True) / 4).max() == 0
    u, v = np.diag([1.0, 2.0]), np.diag([3.0, 1.0])
    for _ in range(200):
        u, v = u + v, v + u  # M is the identity: both singular values lead
        u, v = u / np.abs(v).max(), v / np.abs(v).max()
    assert effective_rank(singular_values(u)) > 1.5


@pytest.mark.theorem("thm-item-mean")
def test_who_moves_the_mean_of_the_items(theorem_cases: Cases):
    from specrec_core import losses

    @many
    @given(graphs(), st.integers(1, 5))
    def check(graph, c):
        r, rng = graph
        (n, m), dim = r.shape, 3
        users = torch.from_numpy(rng.standard_normal((n, dim)))
        items = torch.from_numpy(rng.standard_normal((m, dim))).requires_grad_()
        u, i = (torch.from_numpy(x) for x in np.nonzero(r))
        j = torch.from_numpy(rng.integers(m, size=(len(u), c)))
        positive = (users[u] * items[i]).sum(-1)
        negative = (users[u][:, None] * items[j]).sum(-1)
        for loss in (losses.bpr, losses.sampled_softmax):
            (gradient,) = torch.autograd.grad(loss(positive, negative), items, retain_graph=True)
            assert gradient.sum(0).abs().max() < 1e-12  # (a)
            shifted = items.detach() + torch.from_numpy(rng.standard_normal(dim))
            x = [(users[u] * shifted[i]).sum(-1), (users[u][:, None] * shifted[j]).sum(-1)]
            before = float(loss(positive, negative).detach())
            assert float(loss(*x)) == pytest.approx(before, abs=1e-9)

        scores, weight = users @ items.T, torch.from_numpy(r)
        degree = weight.sum(1)
        softplus = torch.nn.functional.softplus
        expected = (weight * softplus(-scores)).sum()
        expected = expected + (c * degree / m * softplus(scores).sum(1)).sum()
        (gradient,) = torch.autograd.grad(expected, items)
        bracket = c * degree / m * torch.sigmoid(scores).sum(1)
        bracket = bracket - (weight * torch.sigmoid(-scores)).sum(1)
        assert (gradient.sum(0) - bracket @ users).abs().max() < 1e-10  # (b)
        theorem_cases.count()

    check()


# ------------------------------------------------------------------------------ chapter 4


COUNTS = (
    spectra.effective_rank,
    spectra.information_abundance,
    spectra.participation_ratio,
    spectra.stable_rank,
)


@st.composite
def spectrums(draw, longest=9):
    """A spectrum in descending order with largest value 1: steep, or nearly flat, or repeated."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    s = rng.random(draw(st.integers(1, longest)))
    s = draw(
        st.sampled_from([s, s ** rng.exponential(3), 1 - 0.1 * s, np.sqrt(2 / 3) + (s - 0.5) / 3])
    )
    if draw(st.booleans()):
        s = np.repeat(s, rng.integers(1, 30, len(s)))
    if draw(st.booleans()):
        s = np.append(s, np.zeros(2)) if s.max() > 0 else s
    s = np.sort(s)[::-1]
    return (s / s[0] if s[0] > 0 else np.ones_like(s)), rng


def table_of(s, rng, rows=None):
    """A table with the singular values s, in random directions."""
    rows = len(s) + 2 if rows is None else rows
    left = np.linalg.qr(rng.standard_normal((rows, len(s))))[0]
    right = np.linalg.qr(rng.standard_normal((len(s), len(s))))[0]
    return torch.from_numpy(left * s @ right.T)


def flat(s):
    return np.ptp(s[s > 0]) < 1e-6


def ranks_of(s):
    s = np.sort(np.abs(s))[::-1].copy()
    return np.array([float(count(s)) for count in COUNTS])


def majorises(p, q):
    p, q = (np.sort(np.abs(x))[::-1] / np.abs(x).sum() for x in (p, q))
    return bool((np.cumsum(q) <= np.cumsum(p) + ROOM).all())


@pytest.mark.theorem("thm-strict-balance")
def test_rising_gains_raise_all_four_ranks(theorem_cases: Cases):
    @many
    @given(spectrums(), st.booleans())
    def check(spectrum, equal):
        s, rng = spectrum
        used = s > 0
        after = s.copy()
        gains = np.sort(rng.random(used.sum()))
        gains = np.full(used.sum(), 0.7) if equal else gains
        after[used] = np.minimum.accumulate(gains * s[used])  # in descending order,
        gains = after[used] / s[used]
        if (np.diff(gains) < -1e-15).any():  # with gains that still rise
            after[used] = s[used] ** rng.uniform(0.1, 0.9)
            gains = after[used] / s[used]
        before, now = ranks_of(s), ranks_of(after)
        assert (now >= before - ROOM * before).all()
        assert majorises(s, after) and majorises(s**2, after**2)
        if np.ptp(gains) > 1e-3 * gains.max():
            assert (now > before).all()
        if np.ptp(gains) == 0:
            assert np.allclose(now, before, rtol=1e-12)
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-directspec-balance")
def test_directspec_balances_up_to_a_third(theorem_cases: Cases):
    @many
    @given(spectrums(), st.floats(1e-3, 1 / 3), st.floats(0.1, 10))
    def check(spectrum, a, size):
        s, rng = spectrum
        s = size * s
        alpha = a / s[0] ** 2
        h = table_of(s, rng)
        u, found, v = torch.linalg.svd(h, full_matrices=False)
        after = regularizers.directspec(h, alpha)
        core = (u.mT @ after @ v.mT).numpy()
        expected = found.numpy() * (1 - alpha * found.numpy() ** 2)
        assert np.abs(core - np.diag(expected)).max() < 1e-12 * size  # (a)
        got = singular_values(after).numpy()
        stepped = s * (1 - alpha * s**2)
        assert np.abs(got - stepped).max() < 1e-12 * size  # (b): the order is kept
        assert ((stepped > 0) == (s > 0)).all()
        before, now = ranks_of(s), ranks_of(stepped)
        assert (now >= before * (1 - ROOM)).all()
        if not flat(s) and a * (1 - (s[s > 0][-1] / s[0]) ** 2) > 1e-4:
            assert (now > before).all()
        theorem_cases.count()

    check()


def test_beyond_a_third_order_and_information_abundance_are_lost():
    s = np.append(np.ones(20), 0.9)
    for a in (0.34, 0.4, 0.45, 0.5):
        tail = np.append(np.ones(2000), np.sqrt((1 / 3 + a) / 2 / a))  # between the top and s
        after = tail * (1 - a * tail**2)
        assert after[-1] > after[0]
        assert ranks_of(after)[1] < ranks_of(tail)[1]
    after = s * (1 - 0.5 * s**2)
    assert ranks_of(after)[1] < ranks_of(s)[1] and ranks_of(after)[0] > ranks_of(s)[0]
    assert np.linalg.matrix_rank(np.diag(s * (1 - s**2))) == 1  # at one the leading ones are gone


@pytest.mark.theorem("thm-erank-half")
def test_the_effective_rank_never_falls_up_to_a_half(theorem_cases: Cases):
    @many
    @given(spectrums(), st.floats(1e-3, 1 / 2), st.floats(0.3, 1))
    def check(spectrum, a, power):
        s, rng = spectrum
        after = singular_values(regularizers.directspec(torch.diag(torch.from_numpy(s.copy())), a))
        before, now = ranks_of(s)[0], ranks_of(after.numpy())[0]
        assert now >= before * (1 - ROOM)
        if not flat(s) and a * (1 - (s[s > 0][-1] / s[0]) ** 2) > 1e-2:
            assert now > before
        # Another concave function, made of pieces, with s φ(s) non-decreasing.
        knots = np.sort(rng.random(4))
        slopes = np.sort(rng.uniform(-1, 1, 5))[::-1]
        at = np.concatenate([[0.0], knots, [1.0]])
        height = np.concatenate([[0.0], np.cumsum(slopes * np.diff(at))])
        grid = np.linspace(1e-3, 1, 2000)
        phi = np.interp(grid, at, height)
        if (phi > 0).all():
            moved = np.interp(s, at, height)
            if (np.diff(grid * phi) >= 0).all():
                assert ranks_of(moved)[0] >= before * (1 - 1e-7)
            else:  # and a spectrum that shows where it is not
                k = int(np.argmin(np.diff(grid * phi)))
                pair = grid[[k + 1, k]]
                assert ranks_of(np.interp(pair, at, height))[0] < ranks_of(pair)[0] + 1e-15
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-erank-half")
def test_beyond_a_half_the_effective_rank_can_fall(theorem_cases: Cases):
    @many
    @given(st.floats(0.5, 0.99), st.floats(0.01, 0.99))
    def check(a, place):
        tried = False
        least = np.sqrt(1 / a - 1)  # two values flatten exactly if α(s² + t²) ≤ 1
        for t, rises in ((least + place * (1 - least), False), (place * least, True)):
            if 1e-3 < t < 1 - 1e-3 and abs(t - least) > 1e-3:
                after = np.array([1 - a, t * (1 - a * t * t)])
                assert (ranks_of(after)[0] > ranks_of(np.array([1.0, t]))[0]) == rises
                tried = True
        if tried:
            theorem_cases.count()

    check()


@pytest.mark.theorem("thm-directspec-limit")
def test_directspec_converges_to_a_flat_spectrum(theorem_cases: Cases):
    @many
    @given(st.floats(0.02, 1 / 3), st.floats(0.05, 0.999), st.floats(0.34, 0.99))
    def check(a, t, wide):
        first, second = 1 / a, 1 / (a * t * t)
        b = np.array([first, second])
        h = torch.diag(torch.tensor([1.0, t], dtype=torch.float64))
        gap = second - first
        for step in range(1, 25):
            h = regularizers.directspec(h, a)
            b = b**3 / (b - 1) ** 2
            s = h.diagonal().numpy()
            assert np.allclose(1 / (a * s**2), b, rtol=1e-9)
            assert (b >= np.array([first, second]) + 2 * step).all()
            assert 0 < b[1] - b[0] <= gap * (1 + ROOM)
            gap = b[1] - b[0]
            ratio = s[0] / s[1]
            assert 1 <= ratio <= 1 + (second - first) / (2 * (first + 2 * step)) + ROOM  # (b)
        far = np.array([wide, wide * t * t])
        far = far * (1 - far) ** 2
        assert far.min() > 0 and far.max() <= 4 / 27 + ROOM
        most = 1 / far
        for _ in range(400):
            far = far * (1 - far) ** 2
        assert (1 / far >= 2 * 400).all()
        assert (1 / far <= most + 2 * 400 + 2 * np.log(401)).all()  # (a): both as 2 L

        h = torch.diag(torch.tensor([1.0, t], dtype=torch.float64))
        factor = 1 - a * (t + t * t) / (1 - a)  # (c): with the step rescaled
        for step in range(1, 15):
            h = regularizers.directspec(h, a / float(h[0, 0]) ** 2)
            x = float(h[1, 1] / h[0, 0])
            assert 1 - x <= (1 - t) * factor**step + 1e-12
        theorem_cases.count()

    check()
    for a in (0.1, 0.2, 1 / 3):
        for t in (0.5, 0.9, 0.999):  # (b): L (ratio − 1) has a positive limit
            b, scaled = np.array([1 / a, 1 / (a * t * t)]), {}
            for step in range(1, 4001):
                b = b**3 / (b - 1) ** 2
                scaled[step] = step * (np.sqrt(b[1] / b[0]) - 1)
            assert scaled[2000] > 0
            assert scaled[4000] == pytest.approx(scaled[2000], rel=0.01)
    x = 0.3
    for _ in range(8):
        h = regularizers.directspec(torch.diag(torch.tensor([1.0, x], dtype=torch.float64)), 1 / 3)
        after = float(h[1, 1] / h[0, 0])
        assert 1 - after == pytest.approx((1 - x) ** 2 * (2 + x) / 2, abs=1e-12)
        x = after


@pytest.mark.theorem("thm-decorrelation")
def test_decorrelation(theorem_cases: Cases):
    @many
    @given(st.integers(1, 8), st.integers(1, 20), st.integers(0, 2**32 - 1))
    def check(d, rows, seed):
        rng = np.random.default_rng(seed)
        h = torch.from_numpy(rng.standard_normal((rows, d))).requires_grad_()
        similarity = (h @ h.T).square().sum() / 4
        (gradient,) = torch.autograd.grad(similarity, h)
        stepped = regularizers.directspec(h, 0.01).detach()
        assert (stepped - (h.detach() - 0.01 * gradient)).abs().max() < 1e-9  # (a)
        s = singular_values(h.detach()).numpy()
        energy = (s**2).sum()
        value = float(similarity.detach())
        pr = float(spectra.participation_ratio(s))
        assert value == pytest.approx(energy**2 / (4 * pr), rel=1e-9)
        assert value >= energy**2 / (4 * min(rows, d)) * (1 - ROOM)  # (b)

        h = unit(h.detach())
        if rows >= d:
            off = float((h @ h.T).square().sum()) - rows
            assert off >= rows**2 / d - rows - 1e-9
            x = 2 * np.pi * np.outer(np.arange(rows), np.arange(1, d // 2 + 1)) / rows
            frame = np.sqrt(2 / d) * np.concatenate([np.cos(x), np.sin(x)], 1)
            if d % 2:
                frame = np.concatenate([frame, np.full((rows, 1), np.sqrt(1 / d))], 1)
            if rows == d:
                frame = np.eye(d)
            assert np.abs((frame**2).sum(1) - 1).max() < 1e-9
            assert np.abs(frame.T @ frame - rows / d * np.eye(d)).max() < 1e-9
            off = ((frame @ frame.T) ** 2).sum() - rows
            assert off == pytest.approx(rows**2 / d - rows, abs=1e-8)  # (c)
        theorem_cases.count()

    check()


SHRINKAGES = {  # g of α g, as a function of t = s²: rising, falling, or neither
    "line": lambda t: t,
    "root": lambda t: np.sqrt(t),
    "shift": lambda t: t - 1,
    "inverse": lambda t: -1 / (t + 0.3),
    "falling": lambda t: -t,
    "bump": lambda t: np.sin(4 * t),
    "power": lambda t: t**3,
}


@pytest.mark.theorem("thm-shrinkage")
def test_which_shrinkage_balances(theorem_cases: Cases):
    grid = np.linspace(1e-4, 1, 4001)

    @many
    @given(spectrums(), st.sampled_from(sorted(SHRINKAGES)), st.floats(0.02, 1.2))
    def check(spectrum, name, alpha):
        s, _ = spectrum
        g = SHRINKAGES[name]

        def phi(x):
            return x * (1 - alpha * g(x * x))

        if (alpha * g(grid**2) > 1 - 1e-6).any():
            return
        rising = (np.diff(g(grid**2)) >= 0).all()
        ordered = (np.diff(phi(grid)) >= 0).all()
        if rising and ordered:
            after = phi(s)
            assert majorises(s, after)
            assert (ranks_of(after) >= ranks_of(s) * (1 - 1e-8)).all()
        else:  # a spectrum of two values, one of them many times, whose abundance falls
            k = int(np.argmin(np.diff(phi(grid) if rising else g(grid**2))))
            low, high = grid[k], grid[k + 1]
            many_times = np.append(np.full(100_000, high), low) if rising else [high, low]
            assert ranks_of(phi(np.array(many_times)))[1] < ranks_of(np.array(many_times))[1]
        theorem_cases.count()

    check()


@pytest.mark.parametrize("level, holds", [(0.4, True), (0.5, True), (0.55, False)])
def test_the_abundance_of_two_values_holds_to_one_half(level: float, holds: bool):
    """With two values, not of any length: beyond the third at which `thm-shrinkage` ends."""
    t = np.linspace(1e-3, 1 - 1e-3, 999)
    before, after = 1 + t, (t - level * t**3) / (1 - level)  # s = 1
    abundance = 1 + np.minimum(after, 1 / after)
    assert (abundance >= before * (1 - 1e-12)).all() == holds


@pytest.mark.theorem("thm-ssl-curves")
def test_curves_of_self_supervised_losses(theorem_cases: Cases):
    def off(h):
        return (h.T @ h / len(h) - torch.eye(h.shape[1], dtype=h.dtype)).square().sum() / 2

    @many
    @given(spectrums(6), st.floats(0.01, 3), st.floats(0.1, 2), st.floats(0.2, 5))
    def check(spectrum, eta, epsilon, size):
        s, rng = spectrum
        if len(s) > 12:
            s = s[:12]
        s = size * s
        h = table_of(s, rng).requires_grad_()
        b = len(h)
        curves = {
            "decorrelation": (lambda x: (x @ x.T).square().sum() / 4, s**2),
            "identity": (off, 2 / b * (s**2 / b - 1)),
            "determinant": (
                lambda x: regularizers.log_determinant(x, epsilon),
                -2 / (s**2 + epsilon),
            ),
            "contrast": (  # all pairs; the library leaves out those of a row with itself
                lambda x: (
                    regularizers.cross_similarity(x, x) * (b - 1) / b
                    + x.square().sum(1).square().sum() / b**2
                ),
                4 / b**2 * s**2,
            ),
        }
        u, _, v = torch.linalg.svd(h.detach(), full_matrices=False)
        for loss, g in curves.values():
            (gradient,) = torch.autograd.grad(loss(h), h)
            core = (u.mT @ (h.detach() - eta * gradient) @ v.mT).numpy()
            scale = max(1.0, np.abs(core).max())
            assert np.abs(core - np.diag(s * (1 - eta * g))).max() < 1e-8 * scale
        # The thresholds: the slope of φ is never negative.
        grid = np.linspace(0, 4 * np.sqrt(epsilon) + size, 4001)[1:]
        t = grid**2
        slope = 1 - eta * (-2 / (t + epsilon) + 4 * t / (t + epsilon) ** 2)
        if eta <= 4 * epsilon:
            assert slope.min() >= -1e-12
        else:
            at = 3 * epsilon
            assert 1 - eta * (-2 / (at + epsilon) + 4 * at / (at + epsilon) ** 2) < 0
        slope = 1 - eta * 2 / b * (3 * s[0] ** 2 / b - 1)
        below = np.linspace(0, s[0], 500)
        slopes = 1 - eta * 2 / b * (3 * below**2 / b - 1)
        assert (slopes.min() >= -1e-12) == (slope >= -1e-12)
        # Up to the thresholds no soft rank falls; beyond them one does, for some spectrum.
        steps = {"determinant": lambda x: x * (1 + 2 * eta / (x**2 + epsilon))}
        steps["identity"] = lambda x: x * (1 - eta * 2 / b * (x**2 / b - 1))
        within = {"determinant": eta <= 4 * epsilon, "identity": slope >= 0}
        for name, step in steps.items():
            if within[name]:
                for count in COUNTS:
                    before, after = (
                        float(count(torch.from_numpy(np.sort(x)[::-1].copy())))
                        for x in (s, step(s))
                    )
                    assert after >= before * (1 - 1e-9)
        if eta > 4.4 * epsilon:  # one value a little above where φ falls, many beyond it
            low, high = np.sqrt(3 * epsilon) * (1 - 1e-3), np.sqrt(3 * epsilon) * (1 + 1e-3)
            pair = np.array([high] * 100000 + [low])
            after = np.sort(steps["determinant"](pair))[::-1]
            assert after.sum() / after[0] < pair.sum() / pair[0]
        theorem_cases.count()

    check()


@st.composite
def batches(draw, longest=1.0):
    """Rows of norm at most ``longest`` (exactly one by default)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, d = draw(st.integers(2, 12)), draw(st.integers(1, 5))
    h = rng.standard_normal((rows, d)) + draw(st.floats(0, 2))
    return torch.from_numpy(longest * h / np.linalg.norm(h, axis=1, keepdims=True)), rng


@pytest.mark.theorem("thm-softmax-limit")
def test_directspec_plus_at_small_temperature(theorem_cases: Cases):
    @many
    @given(batches(), st.floats(1e-4, 2), st.floats(0.05, 2), st.floats(0.2, 1.5))
    def check(batch, tau, alpha, longest):
        h = longest * batch[0]
        rows = len(h)
        mean = h.mean(0)
        centred = h - mean
        covariance = centred.T @ centred / rows
        weighted = (h - regularizers.directspec_plus(h, 1.0, tau)).numpy()  # S H
        first = (mean + tau * h @ covariance).numpy()
        bound = tau**2 * longest**5
        assert np.linalg.norm(weighted - first, axis=1).max() <= bound * (1 + ROOM)  # (a)
        plus = regularizers.directspec_plus(h, alpha, tau)
        room = 2 * alpha * bound * (1 + ROOM)
        stepped = regularizers.directspec(centred, alpha * tau / rows)
        error = plus - plus.mean(0) - stepped
        assert torch.linalg.vector_norm(error, dim=1).max() <= room  # (b)
        error = plus.mean(0) - (1 - alpha) * mean + alpha * tau * covariance @ mean
        assert float(torch.linalg.vector_norm(error)) <= alpha * bound * (1 + ROOM)
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-softmax-filter")
def test_directspec_plus_is_a_high_pass_filter(theorem_cases: Cases):
    @many
    @given(batches(), st.floats(0, 20), st.floats(0, 1))
    def check(batch, tau, alpha):
        h = batch[0]
        kernel = np.exp(tau * (h @ h.T).numpy())
        degree = kernel.sum(1)
        s = kernel / degree[:, None]
        after = regularizers.directspec_plus(h, alpha, tau).numpy()
        assert np.abs(after - (h.numpy() - alpha * s @ h.numpy())).max() < 1e-10
        root = np.sqrt(degree)
        values, vectors = np.linalg.eigh(kernel / np.outer(root, root))
        assert values.min() > -1e-9 and values.max() == pytest.approx(1)  # (a)
        share = vectors.T @ (root[:, None] * h.numpy())
        moved = vectors.T @ (root[:, None] * after)
        assert np.abs(moved - (1 - alpha * values)[:, None] * share).max() < 1e-9 * root.max()
        energy = [(degree * (x**2).sum(1)).sum() for x in (h.numpy(), after)]
        assert energy[1] <= energy[0] * (1 + ROOM)  # (b)
        assert np.abs(degree @ after - (1 - alpha) * degree @ h.numpy()).max() < 1e-9 * degree.sum()
        theorem_cases.count()

    check()


def test_directspec_plus_can_empty_a_direction_of_a_flat_table():
    """What the theorem does not say: shares in the patterns of S are no singular values."""
    angle = 2 * np.pi * np.arange(64) / 64
    rows = np.stack([np.full(64, np.sqrt(0.5)), np.cos(angle), np.sin(angle)], 1) * np.sqrt(2 / 3)
    h = torch.from_numpy(rows)
    assert torch.linalg.vector_norm(h, dim=1).allclose(torch.ones(64).double())
    assert float(effective_rank(singular_values(h))) == pytest.approx(3)
    for alpha, tau, left in ((1.0, 3.0, 2.0), (0.7, 4.0, 2.95)):
        after = singular_values(regularizers.directspec_plus(h, alpha, tau))
        assert float(effective_rank(after)) == pytest.approx(left, abs=0.005)


@pytest.mark.theorem("thm-uniformity-gradient")
def test_directspec_plus_and_uniformity(theorem_cases: Cases):
    @many
    @given(batches(), st.floats(0.05, 6))
    def check(batch, tau):
        h = batch[0].requires_grad_()
        rows = len(h)
        (gradient,) = torch.autograd.grad(torch.logsumexp(tau * h @ h.T, 1).sum(), h)
        s = torch.softmax(tau * h @ h.T, 1).detach()
        fixed = h.detach()
        assert (gradient - tau * (s + s.T) @ fixed).abs().max() < 1e-10  # (a)
        (own,) = torch.autograd.grad(torch.logsumexp(tau * h @ fixed.T, 1).sum(), h)
        stepped = regularizers.directspec_plus(fixed, 0.3, tau)
        assert (stepped - (fixed - 0.3 / tau * own)).abs().max() < 1e-10  # (b)
        even = regularizers.uniformity(h, tau / 2, variant="rows")
        other = torch.logsumexp(tau * fixed @ fixed.T, 1).mean() - tau - np.log(rows)
        assert float(even.detach()) == pytest.approx(float(other), abs=1e-10)
        (gradient,) = torch.autograd.grad(even, h)
        full = tau / rows * (s + s.T) @ fixed
        along = full - (full * fixed).sum(1, keepdim=True) * fixed
        assert (gradient - along).abs().max() < 1e-10  # (c)
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-adaptive-temperature")
def test_adaptive_temperature(theorem_cases: Cases):
    @many
    @given(batches(), st.floats(0.05, 4), st.floats(0.01, 3), st.floats(1e-3, 0.4))
    def check(batch, tau, more, scale):
        h, rng = batch[0].requires_grad_(), batch[1]
        rows = len(h)
        related = rng.random((rows, rows)) < 0.4
        related = torch.from_numpy(related | related.T | np.eye(rows, dtype=bool))
        t = tau + more * (~related).double()
        (gradient,) = torch.autograd.grad(torch.logsumexp(t * (h @ h.T), 1).sum(), h)
        h = h.detach()
        z = h @ h.T
        s = torch.softmax(t * z, 1)
        own = t * s
        assert (gradient - (own + own.T) @ h).abs().max() < 1e-9  # (a)
        after = regularizers.directspec_plus(
            h, 0.5, tau, temperature_unrelated=tau + more, related=related
        )
        assert (after - (h - 0.5 * s @ h)).abs().max() < 1e-10
        x, y = rng.integers(rows, size=2)
        raised = t.clone()
        raised[x, y] += 1e-6
        slope = (torch.softmax(raised * z, 1) - s)[x, y] / 1e-6
        assert float(slope) == pytest.approx(float(z[x, y] * s[x, y] * (1 - s[x, y])), abs=1e-5)
        one = torch.softmax(torch.full_like(t, tau) * z, 1)
        gained = (s / one)[x]  # (b): against a related row, unrelated gain exp((τ₁ − τ₀) z)
        others = ~related[x]
        if others.any():
            ratio = gained[others] / gained[x]
            assert (ratio - torch.exp(more * z[x][others])).abs().max() < 1e-8
        small = scale * t / t.max()  # (c)
        weighted = torch.softmax(small * z, 1) @ h
        first = h.mean(0) + (small * z @ h - (small * z).sum(1, keepdim=True) * h.mean(0)) / rows
        assert torch.linalg.vector_norm(weighted - first, dim=1).max() <= scale**2 * (1 + ROOM)
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-blind")
def test_balance_is_blind(theorem_cases: Cases):
    @many
    @given(batches(), st.integers(0, 2**32 - 1))
    def check(batch, seed):
        h, rng = batch
        rows = len(h)
        mixed = h[torch.from_numpy(rng.permutation(rows))]
        turned = torch.from_numpy(np.linalg.qr(rng.standard_normal((rows, rows)))[0]) @ h
        for loss, others in (
            (lambda x: (x @ x.T).square().sum() / 4, (mixed, turned)),
            (regularizers.log_determinant, (mixed, turned)),
            (regularizers.uniformity, (mixed,)),
            (regularizers.variance_covariance, (mixed,)),
        ):
            value = float(loss(h))
            for other in others:
                assert float(loss(other)) == pytest.approx(value, rel=1e-9, abs=1e-9)  # (a)
        theorem_cases.count()

    check()
    rng = np.random.default_rng(0)
    rows, d, times = 40, 6, 4000
    h = rng.standard_normal((times, rows, d))
    h /= np.linalg.norm(h, axis=-1, keepdims=True)
    squares = (np.einsum("tij,tik->tjk", h, h) ** 2).sum((1, 2))
    expected = rows**2 / d * (1 + (d - 1) / rows)
    assert abs(squares.mean() - expected) < 4 * squares.std() / np.sqrt(times)  # (b)


@pytest.mark.theorem("thm-water-filling")
def test_alignment_and_balance_fill_with_water(theorem_cases: Cases):
    @many
    @given(graphs(), st.integers(1, 4), st.floats(0.01, 20), st.floats(0.1, 10))
    def check(graph, d, level, energy):
        r, rng = graph
        a = normalised(r)
        d = min(d, len(a))
        values, vectors = np.linalg.eigh(a)
        values, vectors = values[::-1][:d], vectors[:, ::-1][:, :d]
        alpha = level / energy

        def objective(h):
            return -np.sum(h * (a @ h)) / 2 + alpha / 4 * np.sum((h.T @ h) ** 2)

        x, mu = filters.water_filling(values, level)
        x = energy * x
        assert x.sum() == pytest.approx(energy)
        best = vectors * np.sqrt(x)
        least = objective(best)
        start = rng.standard_normal((len(a), d))
        for h in (start, best + 0.1 * start, best @ np.linalg.qr(start[:d])[0]):
            h = h * np.sqrt(energy / np.sum(h**2))
            assert objective(h) >= least - 1e-9 * max(1, abs(least))  # (a)
        gradient = -a @ best + alpha * best @ (best.T @ best)
        assert np.abs(gradient + mu * best).max() < 1e-8 * max(1, np.abs(best).max())
        if d > 1 and level <= values[0] - values[1]:
            assert x[1:].max() < 1e-9 * energy  # (b)
        ranks = [
            ranks_of(np.sqrt(filters.water_filling(values, level * f)[0]))[0]
            for f in (1, 1.5, 4, 1e6)
        ]
        assert (np.diff(ranks) >= -1e-7).all() and ranks[-1] == pytest.approx(d, rel=1e-3)  # (c)
        theorem_cases.count()

    check()
