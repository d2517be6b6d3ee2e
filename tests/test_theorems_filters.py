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

from specrec_core import filters
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
        theorem_cases.count()

    check()


def test_low_pass_needs_a_rate_below_one():
    r = np.ones((3, 3))
    values = np.linalg.eigvalsh(normalised(r)).clip(-1, 1)
    assert filters.alignment_response(values, 1.5).abs().max() == pytest.approx(2)  # at λ = −1


@pytest.mark.theorem("thm-inner-product")
def test_inner_product_alignment_ends_on_one_line(theorem_cases: Cases):
    @many
    @given(graphs(connected=True), st.floats(0.05, 3))
    def check(graph, rate):
        r, rng = graph
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
        table = vectors @ (ratios[:, None] ** 100_000 * (vectors.T @ start))
        assert np.abs(table - np.outer(leading, leading @ start)).max() < 1e-6
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-saturation")
def test_saturation(theorem_cases: Cases):
    @many
    @given(graphs(), st.floats(0.01, 5), st.floats(0.1, 3))
    def check(graph, rate, size):
        r, rng = graph
        n = len(r)
        full = size * rng.standard_normal((sum(r.shape), 2))
        shared = np.array([1.0, 0.0]) + 1e-2 * full / np.abs(full).max()
        assert (shared[:n] @ shared[n:].T).min() > 0
        assert np.linalg.matrix_rank(shared) == 2
        ranks, values = [], []
        for t in (1, 3, 10):
            ranks.append(float(effective_rank(singular_values(t * shared))))
            values.append(np.logaddexp(0, -(t * t * shared[:n] @ shared[n:].T))[r > 0].sum())
        assert max(ranks) - min(ranks) < 1e-9 and values[0] > values[1] > values[2]
        assert values[2] < 1e-30 * len(r) * r.size + 1e-9

        weights = r * sigmoid(-(full[:n] @ full[n:].T))
        step = rate * adjacency(weights) @ full
        loss = np.logaddexp(0, -(full[:n] @ full[n:].T))[r > 0].sum()
        assert np.linalg.norm(step) <= rate * loss * np.linalg.norm(full) * (1 + ROOM)
        theorem_cases.count()

    check()


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
        if c * (2 - c) >= other * (2 - other):
            assert (ours <= theirs + 1e-9).all()
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
    @given(graphs(connected=True), st.floats(0, 6), st.floats(0.1, 3))
    def check(graph, c, rate):
        r, rng = graph
        push = r - c * r.sum(1, keepdims=True) / r.shape[1]
        s = np.linalg.svd(push, compute_uv=False)
        if s[0] < 1e-6 or (len(s) > 1 and s[1] > 0.98 * s[0]):
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
