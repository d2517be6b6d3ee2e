"""The theorems of chapter 8, each tried on random instances.

A test is evidence, not proof: the proofs stand in the chapter, under the same labels.
"""

from typing import Protocol

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specrec_core import alignment
from specrec_core.spectral_norm import (
    clipped,
    penalty_of_scores,
    spectral_norm_gradient,
    spectral_norm_penalty,
)

many = settings(max_examples=100)
some = settings(max_examples=30)
seeds = st.integers(0, 2**32 - 1)
ROOM = 1e-9


class Cases(Protocol):
    """The fixture `theorem_cases`."""

    def count(self) -> None: ...


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    """Real matrices of any rank, some of them nearly of one direction, some without a sign."""
    rng = np.random.default_rng(draw(seeds))
    n, m = draw(st.integers(2, 20)), draw(st.integers(2, 20))
    rank = draw(st.integers(1, min(n, m)))
    z = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, m))
    return z + draw(st.sampled_from([0.0, 0.3, 5.0]))


def quotient(z: np.ndarray) -> float:
    r = z.sum(0)
    return float(np.linalg.norm(z @ r) ** 2 / (r @ r))


@pytest.mark.theorem("thm-resn-step")
def test_one_step_sees_a_weighted_mean_of_squares(theorem_cases: Cases) -> None:
    @many
    @given(matrices())
    def check(z: np.ndarray) -> None:
        u, s, vt = np.linalg.svd(z, full_matrices=False)
        c = u.sum(0) / np.sqrt(len(z))
        f, r = quotient(z), z.sum(0)
        assert f == pytest.approx((s**4 * c**2).sum() / (s**2 * c**2).sum(), rel=1e-6)  # (a)
        assert f <= s[0] ** 2 * (1 + ROOM)
        aligned = (vt[0] @ r) ** 2 / (r @ r)
        bound = alignment.power_step_bound(min(1.0, s[1] / s[0]), min(1.0, abs(c[0])))
        assert f >= s[0] ** 2 * aligned * (1 - ROOM)  # (b)
        assert aligned >= bound**2 * (1 - 1e-6)
        assert f == pytest.approx(float(penalty_of_scores(torch.tensor(z))), rel=1e-9)
        theorem_cases.count()

    check()


@pytest.mark.theorem("prop-resn-gradient")
def test_the_gradient_in_closed_form(theorem_cases: Cases) -> None:
    @many
    @given(seeds, st.integers(1, 12), st.integers(1, 12), st.integers(1, 5))
    def check(seed: int, n: int, m: int, d: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        tables = [
            (torch.randn(k, d, generator=draw, dtype=torch.float64) + 0.2).requires_grad_()
            for k in (n, m)
        ]
        expected = torch.autograd.grad(spectral_norm_penalty(*tables), tables)
        for got, want in zip(spectral_norm_gradient(*tables), expected, strict=True):
            scale = float(want.abs().max()) + 1
            torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-7 * scale)
        theorem_cases.count()

    check()


@pytest.mark.theorem("prop-resn-blind")
def test_some_directions_are_not_seen(theorem_cases: Cases) -> None:
    @many
    @given(matrices(), seeds, st.floats(1, 1e3))
    def check(z: np.ndarray, seed: int, t: float) -> None:
        rng, r = np.random.default_rng(seed), z.sum(0)
        a = rng.standard_normal(len(z))
        a -= a.mean()
        b = rng.standard_normal(z.shape[1])
        b -= (b @ r) / (r @ r) * r
        added = z + t * np.outer(a, b)
        assert quotient(added) == pytest.approx(quotient(z), rel=1e-4)
        norms = np.linalg.norm(added, 2), np.linalg.norm(z, 2)
        assert norms[0] >= t * np.linalg.norm(a) * np.linalg.norm(b) - norms[1] * (1 + ROOM)
        theorem_cases.count()

    check()


@pytest.mark.theorem("prop-resn-offsets")
def test_offsets_of_users_are_the_cheapest_way_to_a_smaller_norm(theorem_cases: Cases) -> None:
    @many
    @given(matrices(), seeds)
    def check(z: np.ndarray, seed: int) -> None:
        centred = np.linalg.norm(z - z.mean(1, keepdims=True), 2)
        c = np.random.default_rng(seed).standard_normal(len(z)) * 3
        for offsets in (c, 0 * c, -z.mean(1) + 0.01 * c):
            assert np.linalg.norm(z + offsets[:, None], 2) >= centred * (1 - ROOM) - ROOM
        theorem_cases.count()

    check()


@pytest.mark.theorem("thm-resn-clip")
def test_the_penalty_cuts_the_leading_values_off(theorem_cases: Cases) -> None:
    @some
    @given(matrices(), st.floats(0.01, 20), seeds)
    def check(y: np.ndarray, beta: float, seed: int) -> None:
        u, s, vt = np.linalg.svd(y, full_matrices=False)
        cut = clipped(torch.tensor(s), beta).numpy()
        level = cut.max()
        assert np.maximum(s - level, 0).sum() == pytest.approx(2 * beta * level, rel=1e-9)
        z = (u * cut) @ vt

        def value(x: np.ndarray) -> float:
            return 0.5 * np.linalg.norm(y - x) ** 2 + beta * np.linalg.norm(x, 2) ** 2

        rng = np.random.default_rng(seed)
        for size in (1e-3, 0.1, 1.0):
            other = z + size * rng.standard_normal(z.shape)
            assert value(other) >= value(z) * (1 - ROOM)
        if 2 * beta * s[1] < s[0] - s[1]:  # (a)
            np.testing.assert_allclose(cut, np.r_[s[0] / (1 + 2 * beta), s[1:]], rtol=1e-9)
        else:
            assert cut[0] == cut[1]
        harder = clipped(torch.tensor(s), 1.5 * beta).numpy()
        assert harder[0] / harder.sum() <= cut[0] / cut.sum() + ROOM  # (b)
        assert cut[0] / cut.sum() <= s[0] / s.sum() + ROOM
        assert ((cut > 0) == (s > 0)).all()  # (c)
        theorem_cases.count()

    check()
