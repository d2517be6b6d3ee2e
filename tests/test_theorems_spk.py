"""The propositions on Spk of chapter 9, tried on random tables, and what is tempting and false.

A test is evidence, not proof: the proofs stand in the chapter, under the same labels.
"""

import math
from typing import Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc

from specrec_core import spikes

many = settings(max_examples=150)  # the rest as tests/conftest.py has it


class Cases(Protocol):
    """The fixture `theorem_cases`."""

    def count(self) -> None: ...


def walk(table: np.ndarray, c: float, rho: float) -> list[int]:
    """Definition of Spk, row by row."""
    norms = np.linalg.norm(table, axis=1)
    unit = table / np.where(norms > 0, norms, 1)[:, None]
    covered = np.zeros(len(table), dtype=bool)
    chosen: list[int] = []
    for i in np.argsort(-norms, kind="stable"):
        if covered.sum() > rho * len(table):
            break
        if norms[i] > 0 and not covered[i]:
            chosen.append(int(i))
            covered |= unit @ unit[i] > c
            covered[i] = True
    return chosen


seeds = st.integers(0, 2**32 - 1)
cosines = st.floats(0.05, 0.98)
coverages = st.floats(0.05, 0.85)


@st.composite
def tables(draw: st.DrawFn, most: int = 60) -> np.ndarray:
    """Clouds, bundles along rays, with a few zero rows; norms of all sizes, distinct."""
    rng = np.random.default_rng(draw(seeds))
    n, f = draw(st.integers(3, most)), draw(st.integers(2, 8))
    table = rng.standard_normal((n, f))
    if draw(st.booleans()):
        rays = rng.standard_normal((draw(st.integers(1, 6)), f))
        table = rays[rng.integers(0, len(rays), n)] + draw(st.floats(0, 0.5)) * table
    norms = rng.lognormal(0, draw(st.floats(0.1, 2)), n)
    table *= (norms / np.linalg.norm(table, axis=1))[:, None]
    table[rng.permutation(n)[: draw(st.integers(0, n // 10))]] = 0
    return table


def rotation(f: int, rng: np.random.Generator) -> np.ndarray:
    return np.linalg.qr(rng.standard_normal((f, f)))[0]


@pytest.mark.theorem("prop-spk-bounds")
@many
@given(tables(), cosines, coverages, seeds)
def test_bounds_and_invariances_of_spk(
    theorem_cases: Cases, table: np.ndarray, c: float, rho: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n, f = table.shape
    chosen = walk(table, c, rho)
    found = spikes.peaks(table, cos=c, coverage=rho)
    assert found.peaks.tolist() == chosen
    # (a)
    assert 1 <= len(chosen) <= math.floor(rho * n) + 1
    unit = table[chosen] / np.linalg.norm(table[chosen], axis=1, keepdims=True)
    assert (unit @ unit.T)[~np.eye(len(chosen), dtype=bool)].max(initial=-1) <= c
    # (c), (d), (e)
    assert walk(3.7 * table @ rotation(f, rng), c, rho) == chosen
    order = rng.permutation(n)
    assert {int(order[i]) for i in walk(table[order], c, rho)} == set(chosen)
    m = int(rng.integers(2, 4))
    for copies in (np.tile(table, (m, 1)), np.repeat(table, m, axis=0)):
        assert spikes.spk(copies, cos=c, coverage=rho) == pytest.approx(found.share / m)
    less = walk(table, c, rho * 0.6)
    assert less == chosen[: len(less)]
    theorem_cases.count()


@pytest.mark.theorem("prop-spk-bounds")
@many
@given(st.integers(1, 7), st.integers(2, 9), cosines, coverages, seeds)
def test_no_more_peaks_than_cones(
    theorem_cases: Cases, cones: int, f: int, c: float, rho: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n = 50
    axes = rng.standard_normal((cones, f))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    axis = axes[rng.integers(0, cones, n)]
    aside = rng.standard_normal((n, f))
    aside -= (aside * axis).sum(1, keepdims=True) * axis
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    angle = 0.999 * math.acos(c) / 2 * rng.random((n, 1))
    table = rng.lognormal(0, 1, (n, 1)) * (np.cos(angle) * axis + np.sin(angle) * aside)
    assert len(walk(table, c, rho)) <= cones
    theorem_cases.count()


def test_the_upper_bound_is_reached_where_no_two_rows_are_near() -> None:
    for n in (5, 8, 20):
        table = np.diag(np.arange(1.0, n + 1))
        assert len(walk(table, 0.9, 0.5)) == n // 2 + 1


def test_copies_in_another_order_may_change_the_walk_where_norms_are_equal() -> None:
    """Why part (d) asks for distinct norms, or for first copies in the order of the rows."""
    table = np.array([[3.0, 6, 6], [4, 4, 7], [4, 7, 4]])  # all of norm 9
    assert len(walk(table, 0.9, 0.8)) == 1
    assert len(walk(table[[0, 1, 2, 0, 1, 2]], 0.9, 0.8)) == 1
    assert len(walk(table[[1, 2, 0, 0, 1, 2]], 0.9, 0.8)) == 2


def wheel(m: int) -> np.ndarray:
    """Hub e_0, and m rows at 20° from it: their cosine is 0.94 with the hub, 0.88 with another."""
    a = np.deg2rad(20)
    return np.vstack([np.eye(m + 2)[0], math.cos(a) * np.eye(m + 2)[[0] * m]
                      + math.sin(a) * np.eye(m + 2)[1 : m + 1]])  # fmt: skip


@pytest.mark.parametrize("m", [2, 5, 30])
def test_greedy_by_norm_may_be_far_from_the_best_cover(m: int) -> None:
    """Exercise 2 of the chapter: the hub alone would do, but the rim is longer."""
    table = wheel(m) * np.array([1.0, *np.linspace(3, 2, m)])[:, None]
    assert (table[1:] @ table[0] / np.linalg.norm(table[1:], axis=1) > 0.9).all()
    rim_only = walk(table, 0.9, (m + 0.5) / (m + 1))  # until all m + 1 are covered
    assert len(rim_only) == m


@pytest.mark.parametrize("m", [2, 5, 30])
def test_a_stricter_cosine_may_need_fewer_peaks(m: int) -> None:
    """Exercise 3 of the chapter: a longer row that hides the hub from a walk with a wide cone."""
    b = np.deg2rad(22)
    hider = math.cos(b) * np.eye(m + 2)[0] + math.sin(b) * np.eye(m + 2)[m + 1]
    table = np.vstack([3 * hider, wheel(m) * np.array([2.0, *np.ones(m)])[:, None]])
    everything = (m + 1.5) / (m + 2)
    assert len(walk(table, 0.9, everything)) == m + 1
    assert len(walk(table, 0.93, everything)) == 2


@pytest.mark.theorem("prop-spk-chance")
@many
@given(st.integers(2, 200), st.floats(0.0, 0.999))
def test_the_cap_is_smaller_than_its_bound(theorem_cases: Cases, f: int, c: float) -> None:
    cap = 0.5 * betainc((f - 1) / 2, 0.5, 1 - c * c)  # of the sphere: directions above cosine c
    assert cap <= 0.5 * (1 - c * c) ** ((f - 1) / 2) * (1 + 1e-12)
    theorem_cases.count()


@pytest.mark.theorem("prop-spk-chance")
@settings(max_examples=40)
@given(st.integers(2, 60), st.integers(8, 40), st.floats(0.6, 0.95), coverages, seeds)
def test_random_directions_need_the_most_peaks(
    theorem_cases: Cases, n: int, f: int, c: float, rho: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rounds, most = 60, math.floor(rho * n) + 1
    below = sum(len(walk(rng.standard_normal((n, f)), c, rho)) < most for _ in range(rounds))
    bound = min(1.0, n * (n - 1) / 4 * (1 - c * c) ** ((f - 1) / 2))
    # The count is binomial with at most this chance each: allow for five standard deviations.
    assert below <= rounds * bound + 5 * math.sqrt(rounds * bound * (1 - bound)) + 1
    theorem_cases.count()
