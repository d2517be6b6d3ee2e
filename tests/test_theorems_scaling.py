"""The theorems of Part V, each tried on random instances, and what fails without a hypothesis.

A test is evidence, not proof: the proofs stand in the chapters, under the same labels.
"""

from typing import Protocol

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.special import lambertw

from specrec_core import sensitivity, spectra
from specrec_core.contrastive import thinned
from specrec_core.interactions import CSR
from specrec_core.models import generator
from specrec_core.spectra import effective_rank, information_abundance, singular_values

many = settings(max_examples=100)
few = settings(max_examples=25)
ROOM = 1e-9
SEEDS = st.integers(0, 2**32 - 1)


class Cases(Protocol):
    """The fixture `theorem_cases`."""

    def count(self) -> None: ...


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x):
    return float(np.linalg.norm(x))


def abundance(table):
    s = np.linalg.svd(table, compute_uv=False)
    return s.sum() / s[0]


# ----------------------------------------------------------------------------- chapter 12


@pytest.mark.theorem("prop-width-cap")
def test_what_width_can_express(theorem_cases: Cases):
    @many
    @given(SEEDS, st.integers(1, 8), st.integers(1, 8), st.integers(1, 12))
    def check(seed, n, m, d):
        rng = np.random.default_rng(seed)
        users, items = rng.standard_normal((n, d)), rng.standard_normal((m, d))
        scores = users @ items.T
        assert np.linalg.matrix_rank(scores) <= min(n, m, d)
        p, s, qt = np.linalg.svd(scores, full_matrices=False)
        cost = (norm(users) ** 2 + norm(items) ** 2) / 2
        assert s.sum() <= cost * (1 + ROOM)
        rank = int((s > 1e-10 * s[0]).sum())
        for width in (rank, rank + 3):  # (b): the same least cost at every width from the rank on
            left, right = np.zeros((n, width)), np.zeros((m, width))
            left[:, :rank] = p[:, :rank] * np.sqrt(s[:rank])
            right[:, :rank] = qt[:rank].T * np.sqrt(s[:rank])
            assert np.abs(left @ right.T - scores).max() < 1e-9 * max(1, s[0])
            assert (norm(left) ** 2 + norm(right) ** 2) / 2 == pytest.approx(s.sum())

        def penalised(u, v, penalty=0.5):
            return norm(scores - u @ v.T) ** 2 / 2 + penalty * (norm(u) ** 2 + norm(v) ** 2) / 2

        kept = np.maximum(s - 0.5, 0)  # squared error: the least loss is that of these values
        least = ((s - kept) ** 2).sum() / 2 + 0.5 * kept.sum()
        for width in (min(n, m), min(n, m) + 4):
            pad = ((0, 0), (0, width - len(s)))
            left, right = (np.pad(x * np.sqrt(kept), pad) for x in (p, qt.T))
            assert penalised(left, right) == pytest.approx(least, rel=1e-9)
            for size in (0.01, 0.3, 3):
                near = [x + size * rng.standard_normal(x.shape) for x in (left, right)]
                assert penalised(*near) >= least * (1 - ROOM)
        theorem_cases.count()

    check()


@pytest.mark.theorem("prop-sampled")
def test_ranks_among_sampled_negatives(theorem_cases: Cases):
    def gain(rank):
        return 1 / np.log2(rank + 1) if rank <= 20 else 0.0

    @few
    @given(SEEDS, st.integers(2, 60), st.integers(1, 30))
    def check(seed, others, drawn):
        rng = np.random.default_rng(seed)
        scores = rng.standard_normal(others)
        own = rng.standard_normal()
        rank = 1 + int((scores > own).sum())
        samples = scores[rng.integers(0, others, (4000, drawn))]
        ranks = 1 + (samples > own).sum(1)
        law = stats.binom(drawn, (rank - 1) / others)
        assert ranks.mean() == pytest.approx(1 + drawn * (rank - 1) / others, abs=0.3)  # (a)
        expected = law.cdf(np.arange(drawn + 1))
        seen = np.array([(ranks - 1 <= k).mean() for k in range(drawn + 1)])
        assert np.abs(seen - expected).max() < 5 * 0.5 / np.sqrt(4000)
        values = [
            sum(stats.binom(drawn, (r - 1) / others).pmf(k) * gain(k + 1) for k in range(drawn + 1))
            for r in range(1, others + 2)
        ]
        assert (np.diff(values) < 0).all()  # (b)
        theorem_cases.count()

    check()


def test_sampling_can_turn_two_models_round():
    """(c) One model puts one of two positives first, the other both in the middle."""
    others, drawn = 1600, 100

    def expected(rank):
        law = stats.binom(drawn, (rank - 1) / others)
        return sum(law.pmf(k) / np.log2(k + 2) for k in range(20))

    def full(rank):
        return 1 / np.log2(rank + 1) if rank <= 20 else 0.0

    first, second = (1, 1601), (40, 40)
    assert sum(map(full, first)) > sum(map(full, second))
    assert sum(map(expected, first)) < sum(map(expected, second))


# ----------------------------------------------------------------------------- chapter 13


@pytest.mark.theorem("thm-bpr-sensitivity")
def test_bpr_is_not_bounded(theorem_cases: Cases):
    limit = float(np.real(lambertw(np.exp(-1))))
    assert float(sensitivity.bpr_fitted_limit()) == pytest.approx(limit, abs=1e-14)

    @many
    @given(SEEDS, st.integers(1, 40), st.floats(0.05, 5))
    def check(seed, d, scale):
        rng = np.random.default_rng(seed)
        u, i, j = (torch.from_numpy(scale * rng.standard_normal(d)) for _ in range(3))
        slow = [x.clone().requires_grad_() for x in (u, i, j)]
        torch.nn.functional.softplus(-(slow[0] @ (slow[1] - slow[2]))).backward()
        found = sensitivity.bpr_gradients(u, i, j)
        for own, x in zip(found, slow, strict=True):
            assert torch.allclose(own, x.grad, atol=1e-12)  # (a)
        x, gap = float(u @ (i - j)), norm((i - j).numpy())
        size = norm(found[0].numpy())
        assert (size >= gap / 2 * (1 - ROOM)) == (x <= 0)
        assert size <= gap * (1 + ROOM)  # (d)
        if x <= 0:
            assert size >= gap / 2 * (1 - ROOM)
            tenfold = sensitivity.bpr_gradients(u, j + 10 * (i - j), j)[0]
            assert norm(tenfold.numpy()) >= 5 * gap * (1 - ROOM)  # (b)
        else:
            cosine = x / gap / norm(u.numpy())
            bound = limit / (norm(u.numpy()) * cosine)
            for factor in (1, 2, 5, 50):
                moved = sensitivity.bpr_gradients(u, j + factor * (i - j), j)[0]
                assert norm(moved.numpy()) <= bound * (1 + ROOM)  # (b)
        theorem_cases.count()

    check()
    rng = np.random.default_rng(0)
    for d, rows in ((4, 50), (400, 50)):  # (c)
        variance = sensitivity.xavier_variance(rows, d)
        pairs = rng.standard_normal((4000, 2, d)) * np.sqrt(variance)
        squares = ((pairs[:, 0] - pairs[:, 1]) ** 2).sum(1)
        assert squares.mean() == pytest.approx(4 * d / (rows + d), rel=0.05)
        assert squares.mean() < 4


@pytest.mark.theorem("thm-neumf-product")
def test_neumf_is_bounded_by_a_product(theorem_cases: Cases):
    @many
    @given(SEEDS, st.integers(1, 3), st.floats(0.01, 30))
    def check(seed, layers, size):
        rng = np.random.default_rng(seed)
        widths = rng.integers(1, 9, layers + 1)
        weights = [rng.standard_normal((widths[k + 1], widths[k])) for k in range(layers)]
        biases = [rng.standard_normal(w) for w in widths[1:]]
        k = int(rng.integers(1, 6))
        wm, q, p = rng.standard_normal((3, k))
        wh, z = rng.standard_normal(widths[-1]), rng.standard_normal(widths[0])
        dp, dz = size * rng.standard_normal(k), size * rng.standard_normal(widths[0])

        def score(p, z):
            h = z
            for w, b in zip(weights, biases, strict=True):
                h = np.maximum(w @ h + b, 0)
            return float((wm * p * q).sum() + wh @ h)

        bound = float(sensitivity.neumf_bound(wm, q, weights, wh, dp, dz))
        change = abs(score(p + dp, z + dz) - score(p, z))
        assert change <= bound * (1 + ROOM)  # (a)
        deep = sensitivity.perceptron(z, weights, biases).numpy()
        assert wh @ deep + (wm * p * q).sum() == pytest.approx(score(p, z))

        a = [np.abs(rng.standard_normal(w)) + 0.1 for w in widths]  # (b)
        a = [x / norm(x) for x in a]
        c = rng.random(layers) * 3 + 0.1
        sharp = [c[m] * np.outer(a[m + 1], a[m]) for m in range(layers)]
        none = [np.zeros(w) for w in widths[1:]]
        h0 = wh.sum() * 0 + 2 * a[-1]
        before, after = (float(h0 @ sensitivity.perceptron(t * a[0], sharp, none).numpy())
                         for t in (1.0, 1.0 + size))  # fmt: skip
        own = float(sensitivity.neumf_bound(0 * wm, q, sharp, h0, 0 * dp, size * a[0]))
        assert after - before == pytest.approx(own)
        off = [-1e6 * np.ones(w) for w in widths[1:]]  # … and as little as nothing
        still = [sensitivity.perceptron(x, sharp, off) for x in (z, z + dz)]
        assert float((still[0] - still[1]).abs().max()) == 0
        theorem_cases.count()

    check()


@st.composite
def graphs(draw):
    rng = np.random.default_rng(draw(SEEDS))
    n, m = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    r = (rng.random((n, m)) < draw(st.floats(0.05, 0.9))).astype(float)
    r[0, 0] = 1  # one edge at least; users and items without any stay
    degree = np.concatenate([r.sum(1), r.sum(0)])
    scale = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1)), 0)
    full = np.block([[np.zeros((n, n)), r], [r.T, np.zeros((m, m))]])
    return scale[:, None] * full * scale, rng


@pytest.mark.theorem("thm-lightgcn-noise")
def test_lightgcn_filters_noise(theorem_cases: Cases):
    @many
    @given(graphs(), st.integers(1, 4))
    def check(graph, layers):
        a, rng = graph
        n = len(a)
        powers = [np.linalg.matrix_power(a, k) for k in range(layers + 1)]
        p = sum(powers) / (layers + 1)
        values, vectors = np.linalg.eigh(a)
        g = sum(values**k for k in range(layers + 1)) / (layers + 1)
        assert np.linalg.norm(p, 2) == pytest.approx(1)  # (a)
        delta = rng.standard_normal((n, 3))
        assert norm(p @ delta) <= norm(delta) * (1 + ROOM)
        r = int(rng.integers(0, n))
        rest = delta - vectors[:, n - r :] @ (vectors[:, n - r :].T @ delta)
        most = np.abs(g[: n - r]).max()
        assert norm(p @ rest) <= most * norm(rest) + 1e-12  # (b)
        gain = float(sensitivity.white_noise_gain(values.clip(-1, 1), layers))
        assert gain == pytest.approx((p**2).sum() / n)  # (c): E‖PΔ‖² = ‖P‖_F² for unit variance
        moments = [np.mean(values**k) for k in range(2 * layers + 1)]
        even = sum(
            moments[k + m] for k in range(layers + 1) for m in range(layers + 1) if not (k + m) % 2
        )
        assert gain == pytest.approx(even / (layers + 1) ** 2)
        assert gain >= 1 / (layers + 1) ** 2 * (1 - ROOM)
        target = torch.from_numpy(rng.standard_normal((n, 3)))
        start = torch.from_numpy(delta).requires_grad_()
        out = torch.from_numpy(p) @ start
        out.retain_grad()
        (out * target).sum().sin().backward()
        assert torch.allclose(start.grad, torch.from_numpy(p) @ out.grad)  # (d)
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-sgl-bounded")
def test_contrastive_gradient_is_bounded(theorem_cases: Cases):
    @many
    @given(SEEDS, st.integers(2, 12), st.integers(2, 12), st.floats(0.05, 2), st.floats(0.01, 50))
    def check(seed, d, n, tau, scale):
        rng = np.random.default_rng(seed)
        z = torch.from_numpy(scale * rng.standard_normal(d)).requires_grad_()
        table = torch.from_numpy(rng.standard_normal((n, d)))
        unit = torch.nn.functional.normalize(table, dim=1).requires_grad_()
        logits = unit @ (z / torch.linalg.vector_norm(z)) / tau
        loss = torch.logsumexp(logits, 0) - logits[0]
        (own, other) = torch.autograd.grad(loss, (z, unit))
        found, bound = sensitivity.contrastive_gradient(z.detach(), table, 0, tau)
        assert torch.allclose(found, own, atol=1e-10 / float(z.detach().norm()))
        assert norm(own.numpy()) <= float(bound) * (1 + ROOM) + 1e-12  # (a)
        p = torch.softmax(logits.detach(), 0)
        assert float(bound) <= 2 / (tau * norm(z.detach().numpy())) * (1 + ROOM)
        share = p - torch.eye(n, dtype=torch.float64)[0]
        expected = share[:, None] * (z.detach() / z.detach().norm()) / tau
        assert torch.allclose(other, expected, atol=1e-12)  # (b)
        assert float(torch.linalg.vector_norm(other, dim=1).max()) <= 1 / tau * (1 + ROOM)
        theorem_cases.count()

    check()
    # (c), of an edge of a graph with 40 of them, in 3,000 pairs of views
    pairs = sp.csr_matrix(np.ones((5, 8), dtype=np.float32))
    train = CSR.from_scipy(pairs)
    streams = [generator(seed, "views") for seed in (0, 1)]
    kept = []
    for _ in range(3000):
        views = thinned(train, 0.12, streams)
        edges = set(zip(views.rows().tolist(), views.indices.tolist(), strict=True))
        assert len(edges) == 2 * 35
        kept.append([(2, 3) in edges, (5 + 2, 8 + 3) in edges])
    one, both = np.mean(kept, 0), np.mean(np.all(kept, 1))
    assert one == pytest.approx(35 / 40, abs=0.025) and both == pytest.approx(0.765625, abs=0.03)


def test_the_contrastive_gradient_is_not_bounded_near_zero():
    table = torch.eye(3, dtype=torch.float64)
    sizes = [
        norm(sensitivity.contrastive_gradient(s * torch.ones(3), table, 0, 0.5)[0].numpy())
        for s in (1.0, 1e-3)
    ]
    assert sizes[1] == pytest.approx(1000 * sizes[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sensitivity.bpr_gradients([1.0], [1.0, 2.0], [1.0]), "one shape"),
        (lambda: sensitivity.layer_norms([]), "weights is empty"),
        (lambda: sensitivity.contrastive_gradient([0.0], [[1.0]], 0, 0.5), "anchor is zero"),
        (lambda: sensitivity.contrastive_gradient([1.0], [[1.0]], 3, 0.5), "positive is 3"),
        (lambda: sensitivity.contrastive_gradient([1.0], [[1.0]], 0, 0.0), "temperature is"),
        (lambda: sensitivity.bpr_gradients(*[[np.nan]] * 3), "finite"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ----------------------------------------------------------------------------- chapter 14


@pytest.mark.theorem("thm-ia-erank")
def test_abundance_and_effective_rank(theorem_cases: Cases):
    def entropy(p):
        p = p[p > 1e-15]
        return float(-(p * np.log(p)).sum())

    @many
    @given(SEEDS, st.integers(2, 30), st.floats(0.1, 6))
    def check(seed, r, power):
        rng = np.random.default_rng(seed)
        s = np.sort(rng.random(r) ** power + 1e-6)[::-1].copy()
        s[r - rng.integers(0, r - 1) :] = 0  # rank at most r
        a, rank = float(information_abundance(s)), float(effective_rank(s))
        b = int(np.floor(a + 1e-12))
        low = np.append(np.full(b, 1 / a), max(0.0, 1 - b / a))
        high = np.append(1 / a, np.full(r - 1, (1 - 1 / a) / (r - 1)))
        least, most = np.exp(entropy(low)), np.exp(entropy(high))
        assert a * (1 - ROOM) <= least
        assert least * (1 - ROOM) <= rank <= most * (1 + ROOM)
        for extreme in (low, high):  # attained, at the same abundance
            extreme = np.sort(extreme)[::-1].copy()
            assert float(information_abundance(extreme)) == pytest.approx(a)
        assert float(effective_rank(np.sort(high)[::-1].copy())) == pytest.approx(most)
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-ia-concatenation")
def test_abundance_of_concatenated_tables(theorem_cases: Cases):
    @many
    @given(SEEDS, st.integers(2, 12), st.integers(1, 6), st.integers(1, 6), st.floats(0.01, 100))
    def check(seed, n, k, m, scale):
        rng = np.random.default_rng(seed)
        a, b = rng.standard_normal((n, k)), scale * rng.standard_normal((n, m))
        tops = np.linalg.norm(a, 2), np.linalg.norm(b, 2)
        sums = np.linalg.norm(a, "nuc"), np.linalg.norm(b, "nuc")
        both = abundance(np.hstack([a, b]))
        assert both <= sum(sums) / max(tops) * (1 + ROOM)
        assert sum(sums) / max(tops) <= (abundance(a) + abundance(b)) * (1 + ROOM)
        assert both >= max(sums) / np.hypot(*tops) * (1 - ROOM)
        assert abundance(np.hstack([a, a])) == pytest.approx(abundance(a))
        a, b = a / tops[0], b / tops[1]
        assert abundance(np.hstack([a, b])) >= max(map(abundance, (a, b))) / np.sqrt(2) * (1 - ROOM)
        apart = np.block([[a, np.zeros((n, m))], [np.zeros((n, k)), b]])
        assert abundance(apart) == pytest.approx(abundance(a) + abundance(b))
        theorem_cases.count()

    check()


def fields(rng, sizes, dim, batch):
    tables = [rng.standard_normal((size, dim)) for size in sizes]
    rows = np.column_stack([rng.integers(0, size, batch) for size in sizes])
    return tables, rows, rng.integers(0, 2, batch).astype(float)


def fm_scores(tables, rows):
    looked = np.stack([t[rows[:, k]] for k, t in enumerate(tables)])
    return ((looked.sum(0) ** 2).sum(-1) - (looked**2).sum((0, 2))) / 2


def fm_gradient(tables, rows, labels):
    """Of the mean logistic loss with respect to the first table, summed sample by sample."""
    slope = (sigmoid(fm_scores(tables, rows)) - labels) / len(rows)
    out = np.zeros_like(tables[0])
    for b, row in enumerate(rows):
        out[row[0]] += slope[b] * sum(t[row[k]] for k, t in enumerate(tables) if k)
    return out, slope


@pytest.mark.theorem("prop-fm-gradient")
def test_gradient_of_a_factorisation_machine(theorem_cases: Cases):
    @few
    @given(SEEDS, st.integers(2, 4), st.integers(1, 5))
    def check(seed, n_fields, dim):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(1, 6, n_fields)
        tables, rows, labels = fields(rng, sizes, dim, 30)
        gradient, slope = fm_gradient(tables, rows, labels)

        leaves = [torch.from_numpy(t).requires_grad_() for t in tables]
        looked = torch.stack([t[torch.from_numpy(rows[:, k])] for k, t in enumerate(leaves)])
        h = (looked.sum(0).square().sum(-1) - looked.square().sum((0, 2))) / 2
        target = torch.from_numpy(labels)
        torch.nn.functional.binary_cross_entropy_with_logits(h, target).backward()
        assert np.abs(leaves[0].grad.numpy() - gradient).max() < 1e-12
        summed = np.zeros_like(gradient)  # (a), from the singular value decompositions
        for k, table in enumerate(tables[1:], 1):
            u, s, vt = np.linalg.svd(table, full_matrices=False)
            for x in range(sizes[0]):
                mine = rows[:, 0] == x
                alpha = slope[mine] @ u[rows[mine, k]]
                summed[x] += (alpha * s) @ vt
        assert np.abs(summed - gradient).max() < 1e-12
        ranks = [np.linalg.matrix_rank(t) for t in tables[1:]]
        assert np.linalg.matrix_rank(gradient, tol=1e-10) <= sum(ranks)  # (b)
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-partner-span")
def test_a_table_is_confined_to_its_partners(theorem_cases: Cases):
    @few
    @given(SEEDS, st.floats(0.0, 0.5), st.floats(0.1, 1.5))
    def check(seed, decay, rate):
        rng = np.random.default_rng(seed)
        dim = 6
        tables, rows, labels = fields(rng, (8, 2, 2), dim, 40)
        partners = np.vstack(tables[1:])
        outside = np.eye(dim) - np.linalg.pinv(partners) @ partners
        rank = np.linalg.matrix_rank(partners)
        start, steps = tables[0].copy(), 60
        for _ in range(steps):
            batch = rng.integers(0, 40, 20)  # any batches
            gradient, _ = fm_gradient(tables, rows[batch], labels[batch])
            tables[0] = (1 - rate * decay) * tables[0] - rate * gradient
        factor = (1 - rate * decay) ** steps
        assert np.abs(tables[0] @ outside - factor * start @ outside).max() < 1e-9
        s = np.linalg.svd(tables[0], compute_uv=False)
        if rank < len(s):
            assert s[rank] <= factor * np.linalg.norm(start @ outside, 2) * (1 + 1e-6) + 1e-9
        theorem_cases.count()

    check()


def test_adam_is_not_confined():
    """The same with Adam: it rescales coordinates, and leaves the span of the partners."""
    rng = np.random.default_rng(0)
    tables, rows, labels = fields(rng, (8, 2, 2), 6, 40)
    partners = np.vstack(tables[1:])
    outside = torch.from_numpy(np.eye(6) - np.linalg.pinv(partners) @ partners)
    table = torch.from_numpy(tables[0]).requires_grad_()
    start = table.detach().clone()
    adam = torch.optim.Adam([table], lr=0.05)
    for _ in range(20):
        gradient, _ = fm_gradient([table.detach().numpy(), *tables[1:]], rows, labels)
        table.grad = torch.from_numpy(gradient)
        adam.step()
    assert float(((table.detach() - start) @ outside).abs().max()) > 0.05


@pytest.mark.theorem("thm-balanced")
def test_tables_of_a_factorisation_come_to_share_a_spectrum(theorem_cases: Cases):
    @settings(max_examples=15)
    @given(SEEDS, st.floats(0.0, 0.4))
    def check(seed, decay):
        rng = np.random.default_rng(seed)
        n, m, d = 5, 4, 3
        target = rng.integers(0, 2, (n, m))
        start = rng.standard_normal((n + m) * d)

        def flow(_, x):
            table = x.reshape(n + m, d)
            users, items = table[:n], table[n:]
            slope = sigmoid(users @ items.T) - target
            return -(np.vstack([slope @ items, slope.T @ users]) + decay * table).ravel()

        def gap(x):
            table = x.reshape(n + m, d)
            return table[:n].T @ table[:n] - table[n:].T @ table[n:]

        end = 6.0
        x = solve_ivp(flow, (0, end), start, rtol=1e-9, atol=1e-10).y[:, -1]
        factor = np.exp(-2 * decay * end)
        assert np.abs(gap(x) - factor * gap(start)).max() < 1e-5
        table = x.reshape(n + m, d)
        squares = [np.linalg.svd(t, compute_uv=False) ** 2 for t in (table[:n], table[n:])]
        bound = factor * np.linalg.norm(gap(start), 2)
        assert np.abs(squares[0] - squares[1]).max() <= bound + 1e-5
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-multi-embedding")
def test_multi_embedding(theorem_cases: Cases):
    @few
    @given(SEEDS, st.integers(1, 4), st.integers(1, 4))
    def check(seed, sets, k):
        rng = np.random.default_rng(seed)
        n, m = 7, 6
        users, items = rng.standard_normal((sets, n, k)), rng.standard_normal((sets, m, k))
        mean = (users @ items.transpose(0, 2, 1)).mean(0)
        wide = [np.hstack(list(t)) / np.sqrt(sets) for t in (users, items)]
        assert np.abs(mean - wide[0] @ wide[1].T).max() < 1e-12  # (a)
        w = rng.standard_normal((sets, k, k))
        block = np.zeros((sets * k, sets * k))
        for s in range(sets):
            block[s * k : (s + 1) * k, s * k : (s + 1) * k] = w[s]
        apart = np.mean([users[s] @ w[s] @ items[s].T for s in range(sets)], 0)
        assert np.abs(apart - wide[0] @ block @ wide[1].T).max() < 1e-12  # (b)
        full = rng.standard_normal((sets * k, sets * k))  # and back, for one pair of tables
        own = np.hsplit(sets * wide[0] @ full, sets), np.hsplit(wide[1], sets)
        back = np.mean([u @ v.T for u, v in zip(*own, strict=True)], 0)
        assert np.abs(back - wide[0] @ full @ wide[1].T).max() < 1e-12
        low = [rng.standard_normal((n, 1)) @ rng.standard_normal((1, m)) for _ in range(sets)]
        assert np.linalg.matrix_rank(sum(low)) == min(sets, n, m)  # (c)
        index = np.arange(n)
        ramp = index[:, None] - index[None]  # rank two
        assert np.linalg.matrix_rank(ramp) == 2
        assert np.linalg.matrix_rank(np.maximum(ramp, 0)) == n - 1

        same = torch.from_numpy(np.stack([users[0]] * sets)).requires_grad_()  # (d)
        other = torch.from_numpy(np.stack([items[0]] * sets)).requires_grad_()
        target = torch.from_numpy(rng.integers(0, 2, (n, m)).astype(float))
        for _ in range(5):
            h = torch.relu(same @ other.mT).mean(0)
            loss = torch.nn.functional.binary_cross_entropy_with_logits(h, target)
            grads = torch.autograd.grad(loss, (same, other))
            with torch.no_grad():
                same -= 0.5 * grads[0]
                other -= 0.5 * grads[1]
        assert float((same - same[:1]).detach().abs().max()) < 1e-12
        theorem_cases.count()

    check()


def test_abundance_is_blind_to_scale_and_capped_by_the_smaller_side():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((3, 10))
    s = singular_values(table)
    assert float(information_abundance(s)) <= 3
    assert float(information_abundance(7 * s)) == pytest.approx(float(information_abundance(s)))
    assert spectra.random_reference(10_000, 100)["information_abundance"] == pytest.approx(
        91, abs=1
    )
