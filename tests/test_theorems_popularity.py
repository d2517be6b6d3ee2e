"""The theorems of chapters 6 and 7, each tried on random instances.

A test is evidence, not proof: the proofs stand in the chapters, under the same labels.
"""

from typing import Protocol

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp
from scipy.special import expit, zeta

from specrec_core import alignment, amplification, gradient_flow
from specrec_core.factorisation import Decomposition

many = settings(max_examples=150)
some = settings(max_examples=50)
seeds = st.integers(0, 2**32 - 1)
ROOM = 1e-9


class Cases(Protocol):
    """The fixture `theorem_cases`."""

    def count(self) -> None: ...


@st.composite
def zero_one(draw: st.DrawFn) -> np.ndarray:
    """0/1 matrices of all densities; columns fall off evenly, as a power law, or not at all."""
    rng = np.random.default_rng(draw(seeds))
    n, m = draw(st.integers(2, 30)), draw(st.integers(2, 12))
    kind = draw(st.sampled_from(["any", "power", "one"]))
    chance = draw(st.floats(0.02, 1)) * np.ones(m)
    if kind == "power":
        chance = chance * np.arange(1, m + 1) ** -draw(st.floats(0.5, 5))
    if kind == "one":
        chance[1:] *= 0.05
    y = (rng.random((n, m)) < chance).astype(float)
    y[0, 0] = 1.0
    return y


def svd(y: np.ndarray) -> Decomposition:
    return alignment.leading(y, min(y.shape))


# ----------------------------------------------------------------------------------- chapter 6


@pytest.mark.theorem("thm-memorisation")
def test_popularity_is_close_to_the_leading_vector(theorem_cases: Cases) -> None:
    @many
    @given(zero_one())
    def any_law(y: np.ndarray) -> None:
        found, r = svd(y), y.sum(0)
        s, gap = found.s[0], found.s[0] - found.s[1]
        assert s**2 >= r.max() * (1 - ROOM)  # (c)
        assume(gap >= 1e-6 * s)  # else the leading vector is not determined
        inside, bound = alignment.counting_bound(s, r)
        assume(inside >= 0 and (r > 0).sum() > 1)  # the bound says something, and not of one item
        assert alignment.cosine(found.v[:, 0], r) >= bound * (1 - ROOM) - ROOM  # (a)
        theorem_cases.count()

    @some
    @given(seeds, st.integers(3, 60), st.floats(1.05, 6))
    def power_law(seed: int, largest: int, alpha: float) -> None:
        y = alignment.power_law_matrix(largest + seed % 50, largest, alpha, seed=seed).toarray()
        assume(y.shape[1] > 1)
        found, r = svd(y), y.sum(0)
        # the counts are rounded down, so that r_i ≤ r_max i^−α: all that the proof needs
        bound = alignment.power_law_bound(found.s[0], largest, alpha)
        limit = alignment.power_law_limit(alpha)
        assert np.isnan(limit) == (zeta(alpha) > 2)
        assert np.isnan(limit) or not np.isnan(bound)  # where (c) speaks, (b) does
        assume(not np.isnan(bound))
        close = alignment.cosine(found.v[:, 0], r)
        assert close >= bound * (1 - ROOM)  # (b)
        if not np.isnan(limit):
            assert bound >= limit * (1 - ROOM) and close >= limit * (1 - ROOM)  # (c)
        theorem_cases.count()

    any_law()
    power_law()


@pytest.mark.theorem("prop-vacuous")
def test_the_bound_speaks_where_one_item_outweighs_the_other_directions(
    theorem_cases: Cases,
) -> None:
    @many
    @given(zero_one())
    def check(y: np.ndarray) -> None:
        s, r = np.linalg.svd(y, compute_uv=False), y.sum(0)
        inside, _ = alignment.counting_bound(s[0], r)
        rest = float((s[1:] ** 2).sum())
        assert s[0] ** 2 * inside == pytest.approx(r.max() - rest, abs=1e-8 * r.sum())
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-power-step")
def test_popularity_is_one_power_step_from_constant(theorem_cases: Cases) -> None:
    @many
    @given(seeds, st.integers(2, 20), st.integers(2, 12), st.floats(-1, 3), st.integers(1, 5))
    def check(seed: int, n: int, m: int, offset: float, rank: int) -> None:
        rng = np.random.default_rng(seed)
        y = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, m)) + offset
        u, s, vt = np.linalg.svd(y, full_matrices=False)
        r, ones = y.sum(0), np.ones(n)
        c = u.T @ ones / np.sqrt(n)
        close = abs(alignment.cosine(vt[0], r))
        exact = abs(s[0] * c[0]) / np.sqrt((s**2 * c**2).sum())
        assert close == pytest.approx(exact, abs=1e-8)  # (a)
        users = min(1.0, abs(alignment.cosine(u[:, 0], ones)))
        bound = alignment.power_step_bound(float(s[1] / s[0]), users)
        assert close >= bound - 1e-8  # (b)
        # (c) rank two, and 1 in the span of p₁ and p₂
        left = np.linalg.qr(np.stack([np.ones(n), rng.standard_normal(n)], 1))[0]
        angle = rng.uniform(0, 1.5)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        two = (left @ turn * s[:2]) @ vt[:2]
        if s[1] > 1e-6 * s[0] and s[0] - s[1] > 1e-6 * s[0]:
            found = alignment.leading(two, 2)
            ratio = float(found.s[1] / found.s[0])
            users = min(1.0, abs(alignment.cosine(found.u[:, 0], ones)))
            bound = alignment.power_step_bound(ratio, users)
            close = abs(alignment.cosine(found.v[:, 0], two.sum(0)))
            assert close == pytest.approx(bound, abs=1e-7)
        theorem_cases.count()

    check()


@pytest.mark.theorem("prop-constant")
def test_a_model_that_has_learned_nothing_looks_constant(theorem_cases: Cases) -> None:
    @many
    @given(seeds, st.integers(2, 25), st.integers(2, 25), st.floats(0, 8))
    def check(seed: int, n: int, m: int, delta: float) -> None:
        rng = np.random.default_rng(seed)
        z = rng.uniform(-delta, delta, (n, m))
        if seed % 3 == 0:  # the worst there is: only the two ends
            z = np.where(z < 0, -delta, delta) * np.ones((n, m))
        y = expit(z)
        found = svd(y)
        least, energy = alignment.constant_bound(delta)
        q = found.v[:, 0]
        assert alignment.cosine(q, np.ones(m)) >= least - ROOM  # (a)
        assert found.s[0] ** 2 / (found.s**2).sum() >= energy - ROOM
        r = rng.random(m)  # (b)
        apart = np.arccos(np.clip(alignment.cosine(q, r), -1, 1))
        control = np.arccos(np.clip(alignment.cosine(np.ones(m), r), -1, 1))
        assert abs(apart - control) <= np.arccos(least) + 1e-6
        theorem_cases.count()

    check()


@pytest.mark.theorem("prop-offset")
def test_differences_leave_the_leading_vector_open(theorem_cases: Cases) -> None:
    @many
    @given(seeds, st.integers(2, 15), st.integers(2, 15), st.floats(0.1, 1e4))
    def check(seed: int, n: int, m: int, size: float) -> None:
        rng = np.random.default_rng(seed)
        z, c = rng.standard_normal((n, m)), size * rng.standard_normal(n)
        moved = z + c[:, None]
        assert np.allclose(moved[:, :1] - moved, z[:, :1] - z, atol=1e-9 * (1 + size))
        q = np.linalg.svd(moved)[2][0]
        close = abs(alignment.cosine(q, np.ones(m)))
        least = 1 - 2 * np.linalg.norm(z, 2) / (np.sqrt(m) * np.linalg.norm(c))
        assert close >= least - ROOM
        theorem_cases.count()

    check()


# ----------------------------------------------------------------------------------- chapter 7


@st.composite
def scores(draw: st.DrawFn) -> Decomposition:
    """Score matrices with one direction of any strength above a few others."""
    rng = np.random.default_rng(draw(seeds))
    n, m = draw(st.integers(2, 20)), draw(st.integers(3, 14))
    k = draw(st.integers(1, min(n, m)))
    u = np.linalg.qr(rng.standard_normal((n, k)) + draw(st.sampled_from([0.0, 1.0, 4.0])))[0]
    v = np.linalg.qr(rng.standard_normal((m, k)) + draw(st.sampled_from([0.0, 1.0, 4.0])))[0]
    s = np.sort(rng.random(k))[::-1].copy()
    s[0] *= draw(st.sampled_from([1.0, 3.0, 30.0, 300.0]))
    sign = np.where(u.sum(0) < 0, -1.0, 1.0)
    return Decomposition(u * sign, s, v * sign)


@pytest.mark.theorem("thm-amplification")
def test_a_strong_leading_direction_decides_the_list(theorem_cases: Cases) -> None:
    @many
    @given(scores(), st.integers(1, 3), st.floats(1, 20))
    def check(found: Decomposition, size: int, factor: float) -> None:
        size = min(size, len(found.v) - 1)
        items = np.argsort(-found.v[:, 0], kind="stable")[:size]
        assume(amplification.gap(found.v[:, 0], items) >= 1e-9)
        y = (found.u * found.s) @ found.v.T
        sure = amplification.sure_users(found, items)
        assume(sure.any())  # else nothing is asked
        best = np.argsort(-y, axis=1, kind="stable")[:, :size]
        assert all(set(row) == set(items) for row in best[sure])  # (a)
        if size == 1:
            eta = (amplification.first_choices(found) == items[0]).mean()
            assert eta >= sure.mean()
        before = sure
        for d in range(len(found.s) - 1, 0, -1):  # (b) fewer directions: no sure user is lost
            now = amplification.sure_users(amplification.cut(found, d), items)
            assert (now | ~before).all()
            before = now
        more = amplification.sure_users(amplification.stretch(found, factor), items)
        assert (more | ~sure).all()
        theorem_cases.count()

    @some
    @given(st.floats(0.55, 6), st.integers(2, 400))
    def law(alpha: float, m: int) -> None:
        q = np.arange(1, m + 1, dtype=float) ** -alpha
        gap = amplification.gap(q / np.linalg.norm(q), [0])
        assert gap >= amplification.power_law_gap(alpha) * (1 - ROOM)  # (c)
        theorem_cases.count()

    check()
    law()


@pytest.mark.theorem("thm-modes")
def test_modes_grow_one_after_another(theorem_cases: Cases) -> None:
    @some
    @given(seeds, st.integers(1, 5), st.floats(1e-4, 0.3))
    def flow(seed: int, k: int, start: float) -> None:
        rng = np.random.default_rng(seed)
        n, m = k + int(rng.integers(0, 5)), k + int(rng.integers(0, 5))
        s = np.sort(rng.uniform(0.3, 4, k))[::-1].copy()
        epsilon = start * s[-1]
        p = np.linalg.qr(rng.standard_normal((n, k)))[0]
        q = np.linalg.qr(rng.standard_normal((m, k)))[0]
        turn = np.linalg.qr(rng.standard_normal((k, k)))[0]
        y = (p * s) @ q.T
        u, v = np.sqrt(epsilon) * p @ turn, np.sqrt(epsilon) * q @ turn

        def field(_: float, x: np.ndarray) -> np.ndarray:
            a, b = x[: n * k].reshape(n, k), x[n * k :].reshape(m, k)
            error = y - a @ b.T
            return np.concatenate([(error @ b).ravel(), (error.T @ a).ravel()])

        times = np.linspace(0, 4 / s[-1], 5)
        x = solve_ivp(
            field, (0, times[-1]), np.concatenate([u.ravel(), v.ravel()]), t_eval=times,
            rtol=1e-9, atol=1e-11, method="DOP853",
        ).y  # fmt: skip
        expected = gradient_flow.modes(s, epsilon, times)
        for i in range(len(times)):
            product = x[: n * k, i].reshape(n, k) @ x[n * k :, i].reshape(m, k).T
            assert np.abs(product - (p * expected[i]) @ q.T).max() < 1e-6 * s[0]  # (a)
        theorem_cases.count()

    @many
    @given(seeds, st.integers(2, 8), st.floats(1e-6, 0.9))
    def order(seed: int, k: int, start: float) -> None:
        rng = np.random.default_rng(seed)
        s = np.sort(rng.uniform(0.1, 5, k))[::-1].copy()
        epsilon = start * s[-1]
        half = gradient_flow.half_times(s, epsilon)
        at = half > 0
        grown = gradient_flow.modes(s, epsilon, half)
        assert np.diag(grown)[at] == pytest.approx(s[at] / 2)  # (b)
        large = s > gradient_flow.ORDERED * epsilon
        assert (np.diff(half[large]) >= -ROOM).all()
        from_then = gradient_flow.ahead_from(s, epsilon)  # (c)
        limit = s[0] / s.sum()
        for t in from_then * np.array([1.0, 1.3, 3.0]) + 1e-9:
            now = gradient_flow.modes(s, epsilon, [t])[0]
            assert now[0] / s[0] >= (now / s).max() - 1e-7
            assert now[0] / now.sum() >= limit - 1e-7
        if s[0] - s[1:].min() > 1e-3:  # and not before: one mode is ahead of the first
            now = gradient_flow.modes(s, epsilon, [0.9 * from_then])[0] / s
            assert now.max() > now[0]
        assert gradient_flow.modes(s, epsilon, [0.0])[0] == pytest.approx(epsilon)
        theorem_cases.count()

    flow()
    order()
