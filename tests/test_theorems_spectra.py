"""The theorems of chapter 1, each tried on random instances, and the tempting claims that fail.

A test is evidence, not proof: the proofs stand in the chapter, under the same labels. The cases
are drawn from a fixed seed, so that a page and its number of cases can be made again.
"""

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specrec_core.spectra import (
    effective_rank,
    information_abundance,
    participation_ratio,
    product_singular_values,
    random_reference,
    singular_values,
    stable_rank,
)

many = settings(max_examples=200)  # the rest as tests/conftest.py has it


class Cases(Protocol):
    """The fixture `theorem_cases`."""

    def count(self) -> None: ...


ROOM = 1e-9  # for rounding, relative


# ----------------------------------------------------------------------------- random instances


@st.composite
def spectra_of_length(draw: st.DrawFn, least: int = 1, most: int = 12) -> np.ndarray:
    """Descending spectra of several kinds: arbitrary, geometric, power law, steps, with zeros."""
    k = draw(st.integers(least, most))
    index = np.arange(1, k + 1)
    kind = draw(st.sampled_from(["any", "geometric", "power", "steps", "tail"]))
    if kind == "any":
        value = st.floats(0, 1e4, allow_subnormal=False)
        s = np.array(draw(st.lists(value, min_size=k, max_size=k)))
    elif kind == "geometric":
        s = draw(st.floats(1e-3, 1)) ** index
    elif kind == "power":
        s = index ** -draw(st.floats(0, 4))
    elif kind == "steps":
        s = np.where(index <= draw(st.integers(1, k)), 1.0, draw(st.floats(0, 1)))
    else:
        s = np.where(index == 1, 1.0, draw(st.floats(0, 1)) / k)
    s = np.sort(s * draw(st.sampled_from([1.0, 1e-8, 1e8])))[::-1].copy()
    s[draw(st.integers(1, k)) :] *= draw(st.sampled_from([0.0, 1.0]))
    return s if s[0] > 0 else np.ones(k)


seeds = st.integers(0, 2**32 - 1)


def orthonormal(n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    """n × k with orthonormal columns, uniformly at random."""
    return np.linalg.qr(rng.standard_normal((n, k)))[0]


def table(s: np.ndarray, n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """An n × d table with spectrum `s`, len(s) <= min(n, d)."""
    k = len(s)
    return (orthonormal(n, k, rng) * s) @ orthonormal(d, k, rng).T


@st.composite
def tables(draw: st.DrawFn, most: int = 9) -> np.ndarray:
    """Tables of all shapes (tall, square, wide) with a spectrum of the kinds above."""
    s = draw(spectra_of_length(most=most))
    n, d = (draw(st.integers(len(s), most + 10)) for _ in range(2))
    return table(s, n, d, np.random.default_rng(draw(seeds)))


def sigma(matrix: np.ndarray) -> np.ndarray:
    return singular_values(matrix).numpy()


def erank(s: np.ndarray) -> float:
    return float(effective_rank(s))


def entropy(p: np.ndarray) -> float:
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


# ------------------------------------------------------------------------------ effective rank


@pytest.mark.theorem("thm-erank-bounds")
@many
@given(s=spectra_of_length())
def test_effective_rank_lies_between_one_and_the_rank(s: np.ndarray, theorem_cases: Cases) -> None:
    theorem_cases.count()
    rank = int((s > 0).sum())
    assert 1 - ROOM <= erank(s) <= rank * (1 + ROOM)
    if rank == 1:
        assert erank(s) == pytest.approx(1, abs=1e-12)
    elif s[1] > 1e-3 * s[0]:
        assert erank(s) > 1 + 1e-4  # one only for rank one
    flat = s[rank - 1] / s[0]
    if flat > 1 - 1e-12:
        assert erank(s) == pytest.approx(rank, rel=1e-12)
    elif flat < 0.9:
        assert erank(s) < rank * (1 - 1e-5)  # the rank only for equal values


@pytest.mark.theorem("thm-erank-invariance")
@many
@given(a=tables(), c=st.floats(1e-6, 1e6), more=st.integers(0, 5), seed=seeds)
def test_soft_ranks_ignore_scale_rotation_and_copies(
    a: np.ndarray, c: float, more: int, seed: int, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    rng = np.random.default_rng(seed)
    n, d = a.shape
    left, right = orthonormal(n + more, n, rng), orthonormal(d, d, rng)
    for other in (-c * a, left @ a @ right, rng.permutation(a), np.vstack([a, a, a]), a.T):
        for count in (effective_rank, participation_ratio, information_abundance, stable_rank):
            expected = pytest.approx(float(count(sigma(a))), rel=1e-7)
            assert float(count(sigma(other))) == expected, count.__name__


def test_effective_rank_does_not_ignore_centring_row_norms_or_new_rows() -> None:
    eye, near = np.eye(2), np.diag([1.0, 0.1])
    assert erank(sigma(eye - eye.mean(0))) < 1.01 < 1.99 < erank(sigma(eye))
    offset = np.vstack([eye, -eye]) + np.array([20.0, 0.0])
    assert erank(sigma(offset - offset.mean(0))) > 1.99 > 1.5 > erank(sigma(offset))
    assert erank(sigma(near)) < 1.5 < erank(sigma(near / [[1.0], [0.1]]))
    weak = np.array([[1.0, 0.0], [0.0, 1.0]] + [[0.01, 0.0]] * 99)
    assert (
        erank(sigma(weak)) > 1.99 > 1.5 > erank(sigma(weak / np.linalg.norm(weak, axis=1)[:, None]))
    )
    assert erank(sigma(np.vstack([eye, [[10.0, 0.0]]]))) < erank(sigma(eye))


@pytest.mark.theorem("thm-erank-balance")
@many
@given(
    s=spectra_of_length(least=2),
    gains=st.lists(st.floats(0.01, 100), min_size=12, max_size=12),
    power=st.floats(0.05, 1),
    strength=st.floats(0, 1 / 3),
)
def test_relative_gain_of_the_small_raises_effective_rank(
    s: np.ndarray, gains: list[float], power: float, strength: float, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    s = s / s[0]
    g = np.sort(gains[: len(s)])
    lower = s * g[::-1]  # large values gain most: stays sorted
    assert erank(lower) <= erank(s) * (1 + ROOM)
    higher = s / g[::-1]  # small values gain most: the theorem asks that order is kept
    if (np.diff(higher) <= 0).all():
        assert erank(higher) >= erank(s) * (1 - ROOM)
    assert erank(s**power) >= erank(s) * (1 - ROOM)
    assert erank(s ** (1 / power)) <= erank(s) * (1 + ROOM)
    assert erank(s * (1 - strength * s**2)) >= erank(s) * (1 - ROOM)


def test_balance_needs_the_order_kept() -> None:
    s, g = np.array([1.0, 0.9]), np.array([1.0, 100.0])
    assert erank(np.sort(s * g)[::-1]) < erank(s)


@pytest.mark.theorem("thm-erank-balance")
@many
@given(s=spectra_of_length(), seed=seeds)
def test_mixing_the_shares_raises_effective_rank(
    s: np.ndarray, seed: int, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(4))
    mixed = sum(w * rng.permutation(s) for w in weights)  # doubly stochastic: s majorises it
    assert erank(np.sort(mixed)[::-1]) >= erank(s) * (1 - ROOM)


# ---------------------------------------------------------------------------------------- order


@pytest.mark.theorem("thm-order")
@many
@given(s=spectra_of_length())
def test_order_of_the_four_ranks(s: np.ndarray, theorem_cases: Cases) -> None:
    theorem_cases.count()
    rank, used = float((s > 0).sum()), erank(s)
    stable, ratio, abundance = (
        float(f(s)) for f in (stable_rank, participation_ratio, information_abundance)
    )
    for low, high in [
        (1.0, stable),
        (stable, ratio),
        (ratio, used),
        (stable, abundance),
        (abundance, used),
        (used, rank),
        (stable * ratio, abundance**2),
        (abundance**2, stable * used),
        (abundance**2, stable * rank),
        (ratio, stable**2),
    ]:
        assert low <= high * (1 + ROOM)
    if 1e-3 < s[int(rank) - 1] / s[0] < 0.9:  # not flat: every inequality of the chains is strict
        for low, high in [(stable, ratio), (ratio, used), (stable, abundance), (abundance, used)]:
            assert low < high * (1 - 1e-7)


@pytest.mark.theorem("thm-order")
@many
@given(rank=st.integers(1, 12), zeros=st.integers(0, 5), scale=st.floats(1e-9, 1e9))
def test_all_four_agree_on_flat_spectra(
    rank: int, zeros: int, scale: float, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    s = scale * np.array([1.0] * rank + [0.0] * zeros)
    for f in (stable_rank, participation_ratio, information_abundance, effective_rank):
        assert float(f(s)) == pytest.approx(rank, rel=1e-12)


def test_abundance_and_participation_ratio_have_no_order() -> None:
    even, uneven = np.array([1.0, 0.9]), np.array([1.0, 0.1])
    assert information_abundance(even) < participation_ratio(even)
    assert information_abundance(uneven) > participation_ratio(uneven)


def test_a_weak_tail_shows_in_the_effective_rank_alone() -> None:
    m = 10_000
    s = np.array([1.0] + [1 / m] * m)
    assert erank(s) == pytest.approx(2 * math.sqrt(m))
    assert float(information_abundance(s)) == pytest.approx(2)
    assert float(participation_ratio(s)) < 1.001 and float(stable_rank(s)) < 1.001


# --------------------------------------------------------------------------------- perturbation


@pytest.mark.theorem("thm-weyl")
@many
@given(a=tables(), size=st.floats(-9, 2), rank=st.integers(1, 20), seed=seeds)
def test_weyl(a: np.ndarray, size: float, rank: int, seed: int, theorem_cases: Cases) -> None:
    theorem_cases.count()
    rng = np.random.default_rng(seed)
    n, d = a.shape
    noise = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, d))
    noise *= 10**size * sigma(a)[0] / sigma(noise)[0]
    norm = sigma(noise)[0]
    moved = np.abs(sigma(a + noise) - sigma(a))
    assert moved.max() <= norm * (1 + ROOM) + 1e-13 * sigma(a)[0]
    left, _, right = np.linalg.svd(a, full_matrices=False)  # reached for all k along Σ u_k v_kᵀ
    pushed, room = sigma(a + norm * left @ right), 1e-12 * (sigma(a)[0] + norm)
    np.testing.assert_allclose(pushed, sigma(a) + norm, rtol=0, atol=room)


@pytest.mark.theorem("thm-weyl")
@many
@given(a=tables(), seed=seeds)
def test_rounding_moves_no_singular_value_by_more_than_weyl_allows(
    a: np.ndarray, seed: int, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    for dtype, unit in ((np.float32, 2.0**-24), (np.float16, 2.0**-11)):
        x = a / np.abs(a).max() * 100
        x[np.abs(x) < 1e-3] = 0  # the bound is about normal numbers, not about underflow
        bound = unit * math.sqrt(float(stable_rank(sigma(x)))) * sigma(x)[0]
        moved = np.abs(sigma(x.astype(dtype)) - sigma(x)).max()
        assert moved <= bound * (1 + ROOM) + 1e-12


@pytest.mark.theorem("thm-weyl")
@settings(many, max_examples=60)
@given(n=st.integers(1, 300), d=st.integers(1, 40), std=st.floats(1e-4, 10), seed=seeds)
def test_random_noise_is_no_larger_than_its_edge(
    n: int, d: int, std: float, seed: int, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    noise = std * np.random.default_rng(seed).standard_normal((n, d))
    t = 6.0  # fails with probability exp(-18) at most
    assert sigma(noise)[0] <= std * (math.sqrt(n) + math.sqrt(d) + t)


def test_the_edge_of_random_noise_is_where_it_is_said_to_be() -> None:
    """Wide enough for √d to count: beyond the edge by t in e^(-t²/2) of the draws at most."""
    n, d, rng = 300, 100, np.random.default_rng(0)
    drawn = [sigma(rng.standard_normal((n, d))) for _ in range(200)]
    largest, least = (np.array([s[k] for s in drawn]) for k in (0, -1))
    high, low = math.sqrt(n) + math.sqrt(d), math.sqrt(n) - math.sqrt(d)
    for t in (0.5, 1.0, 2.0):
        assert (largest > high + t).mean() <= math.exp(-(t**2) / 2)
        assert (least < low - t).mean() <= math.exp(-(t**2) / 2)
    assert largest.mean() > high - 1 and least.mean() < low + 1  # no edge further in would do


def continuity(distance: float, k: int) -> float:
    """The right-hand side of thm-erank-continuity; ln k where the distance says nothing."""
    if k == 1 or distance == 0:
        return 0.0
    if distance >= 1 - 1 / k:
        return math.log(k)
    rest = -math.log1p(-distance) * (1 - distance)
    return rest - distance * math.log(distance) + distance * math.log(k - 1)


@pytest.mark.theorem("thm-erank-continuity")
@many
@given(a=tables(), size=st.floats(-12, -0.05), seed=seeds)  # the sum is not zero
def test_effective_rank_is_continuous(
    a: np.ndarray, size: float, seed: int, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    noise = np.random.default_rng(seed).standard_normal(a.shape)
    noise *= 10**size * sigma(a)[0] / sigma(noise)[0]
    before, after = sigma(a), sigma(a + noise)
    k = len(before)
    change = abs(math.log(erank(after) / erank(before)))
    exact = 0.5 * np.abs(before / before.sum() - after / after.sum()).sum()
    bound = k * sigma(noise)[0] / before.sum()
    assert exact <= bound * (1 + ROOM) + 1e-13
    assert change <= continuity(exact, k) * (1 + ROOM) + 1e-12
    assert change <= continuity(bound, k) * (1 + ROOM) + 1e-12


@pytest.mark.theorem("thm-erank-continuity")
@many
@given(k=st.integers(2, 30), part=st.floats(0.001, 0.999))
def test_continuity_bound_is_reached(k: int, part: float, theorem_cases: Cases) -> None:
    theorem_cases.count()
    distance = part * (1 - 1 / k)
    p = np.array([1 - distance] + [distance / (k - 1)] * (k - 1))
    assert math.log(erank(np.sort(p)[::-1])) == pytest.approx(continuity(distance, k), rel=1e-9)


def test_no_bound_linear_in_the_distance() -> None:
    """A Lipschitz bound would be nicer, and is false: the slope grows without limit."""
    slopes = [math.log(erank(np.array([1 - x, x]))) / x for x in (1e-2, 1e-4, 1e-8)]
    assert slopes[0] < slopes[1] < slopes[2] and slopes[2] > 15


# ------------------------------------------------------------------------------------- product


@st.composite
def factor_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Users n × d and items m × d of any shapes, of full or lower rank."""
    rng = np.random.default_rng(draw(seeds))
    d = draw(st.integers(1, 7))
    pair = []
    for _ in range(2):
        n = draw(st.integers(1, 12))
        s = draw(spectra_of_length(most=min(n, d)))
        pair.append(table(s / s[0], n, d, rng))
    return pair[0], pair[1]


@pytest.mark.theorem("thm-product")
@many
@given(pair=factor_pairs())
def test_spectrum_of_the_product_from_the_factors(
    pair: tuple[np.ndarray, np.ndarray], theorem_cases: Cases
) -> None:
    theorem_cases.count()
    users, items = pair
    d = users.shape[1]
    dense = np.linalg.svd(users @ items.T, compute_uv=False)
    k = min(*users.shape, len(items))
    np.testing.assert_allclose(dense[k:], 0, atol=1e-13)
    found = product_singular_values(users, items).numpy()
    assert found.shape == (k,)
    np.testing.assert_allclose(found, dense[:k], atol=1e-13)
    eigen = np.linalg.eigvals(users.T @ users @ items.T @ items)
    squares = np.sort(eigen.real)[::-1]
    padded = np.zeros(d)
    padded[:k] = dense[:k] ** 2
    np.testing.assert_allclose(squares, padded, atol=1e-6)
    u, v = np.zeros(d), np.zeros(d)
    u[: min(users.shape)], v[: min(items.shape)] = sigma(users), sigma(items)
    full = np.zeros(2 * d)
    full[:k] = dense[:k]
    for i in range(d):
        for j in range(d):
            assert full[i + j] <= u[i] * v[j] + 1e-13


@pytest.mark.theorem("thm-product")
@many
@given(s=spectra_of_length(most=7), n=st.integers(7, 12), m=st.integers(7, 12), seed=seeds)
def test_scores_of_matched_factors_use_no_more_directions(
    s: np.ndarray, n: int, m: int, seed: int, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    rng = np.random.default_rng(seed)
    s = s / s[0]
    right = orthonormal(len(s), len(s), rng)
    users, items = (orthonormal(rows, len(s), rng) * s @ right for rows in (n, m))
    ratio = rng.uniform(0.1, 10)  # UᵀU = c VᵀV
    found = product_singular_values(users, items / np.sqrt(ratio)).numpy()
    np.testing.assert_allclose(found, s**2 / np.sqrt(ratio), atol=1e-12)
    assert erank(found) <= erank(s) * (1 + 1e-7)


def test_the_product_may_use_more_or_fewer_directions_than_its_factors() -> None:
    one, other = np.diag([1.0, 0.1]), np.diag([0.1, 1.0])
    assert erank(sigma(one @ other.T)) > 1.99 > 1.5 > erank(sigma(one))
    users, items = np.eye(3)[:2], np.eye(3)[1:]  # flat both, with one direction in common
    assert erank(sigma(users)) == erank(sigma(items)) == pytest.approx(2)
    assert erank(sigma(users @ items.T)) == pytest.approx(1)


# -------------------------------------------------------------------------------------- random


def random_bound(n: int, d: int, t: float) -> float:
    return d * (1 - (math.sqrt(d) + t) ** 2 / n)


@pytest.mark.theorem("thm-random")
@settings(many, max_examples=100)
@given(d=st.integers(1, 30), more=st.floats(0.01, 6), std=st.floats(1e-3, 10), seed=seeds)
def test_random_tables_are_nearly_flat(
    d: int, more: float, std: float, seed: int, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    t = 6.0  # fails with probability 2 exp(-18) at most
    n = math.ceil((math.sqrt(d) + t) ** 2 * (1 + more))
    s = sigma(std * np.random.default_rng(seed).standard_normal((n, d)))
    assert s[0] <= std * (math.sqrt(n) + math.sqrt(d) + t)
    assert s[-1] >= std * (math.sqrt(n) - math.sqrt(d) - t)
    low, high = s[-1], s[0]
    assert erank(s) >= d * 4 * low * high / (low + high) ** 2 * (1 - ROOM)
    assert erank(s) >= random_bound(n, d, t)


@pytest.mark.theorem("thm-random")
@settings(many, max_examples=30)
@given(d=st.integers(60, 110), ratio=st.floats(0.05, 1), seed=seeds)
def test_random_tables_are_near_their_limit(
    d: int, ratio: float, seed: int, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    n = round(d / ratio)
    s = sigma(np.random.default_rng(seed).standard_normal((n, d)))
    expected = random_reference(n, d)
    checks: dict[str, tuple[Callable[..., torch.Tensor], float]] = {
        "effective_rank": (effective_rank, 0.03),
        "participation_ratio": (participation_ratio, 0.1),
        "information_abundance": (information_abundance, 0.15),
        "stable_rank": (stable_rank, 0.25),
    }
    for name, (function, room) in checks.items():
        assert float(function(s)) == pytest.approx(expected[name], rel=room), name


def test_a_sharper_random_bound_fails() -> None:
    """The loss is about d²/(8 n): half as much is too little, and no rank reaches d."""
    n, d = 400, 60
    s = sigma(np.random.default_rng(0).standard_normal((n, d)))
    assert d * (1 - d / n) < erank(s) < d * (1 - d / (16 * n))
