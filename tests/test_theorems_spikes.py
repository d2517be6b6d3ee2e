"""The theorems of chapter 10, each tried on random instances, and what fails without a condition.

A test is evidence, not proof: the proofs stand in the chapter, under the same labels. Models are
random degree-corrected block models with communities of unequal size, singular value
decompositions are numpy's of the dense matrix, and every formula is written out here once more.
tests/test_rays.py holds the library against the same formulas.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

many = settings(max_examples=120)  # the rest as tests/conftest.py has it
EXACT = 1e-12  # relative, for identities
ROOM = 1e-9  # relative, for inequalities


class Cases(Protocol):
    """The fixture `theorem_cases`."""

    def count(self) -> None: ...


# ----------------------------------------------------------------------------- random instances

seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True)
class Model:
    """θ_i θ_j B[z_i, z_j], with what the theorems are written in."""

    theta: np.ndarray
    z: np.ndarray
    blocks: np.ndarray

    @property
    def K(self) -> int:
        return len(self.blocks)

    @property
    def matrix(self) -> np.ndarray:
        return self.theta[:, None] * self.theta * self.blocks[np.ix_(self.z, self.z)]

    @property
    def psi(self) -> np.ndarray:
        return np.sqrt(np.bincount(self.z, self.theta**2, self.K))

    @property
    def core(self) -> np.ndarray:  # G
        return self.psi[:, None] * self.blocks * self.psi

    @property
    def profile_norms(self) -> np.ndarray:  # of the rows of M divided by θ
        return np.sqrt((self.blocks**2) @ self.psi**2)


def symmetric(k: int, rng: np.random.Generator) -> np.ndarray:
    x = rng.random((k, k))
    return (x + x.T) / 2


def blocks_of(kind: str, k: int, rng: np.random.Generator) -> np.ndarray:
    """Random block matrices, none with a zero row."""
    if kind == "assortative":
        return symmetric(k, rng) * 0.3 + np.diag(0.5 + rng.random(k))
    if kind == "disassortative":
        return symmetric(k, rng) + 0.2 - 0.2 * np.eye(k) * rng.random()
    if kind == "sparse":
        kept = np.triu(rng.random((k, k)) < 0.4)
        return symmetric(k, rng) * (kept | kept.T) + np.diag(0.1 + rng.random(k))
    if kind == "low rank":
        x = 0.1 + rng.random((k, int(rng.integers(1, k + 1))))
        return x @ x.T
    if kind == "signed":
        return symmetric(k, rng) - 0.5 + np.diag(rng.choice([-1.0, 1.0], k))
    return symmetric(k, rng)  # "any"


KINDS = ("assortative", "disassortative", "sparse", "low rank", "any")


@st.composite
def models(draw: st.DrawFn, kinds: tuple[str, ...] = (*KINDS, "signed"), most: int = 6) -> Model:
    rng = np.random.default_rng(draw(seeds))
    k = draw(st.integers(1, most))
    sizes = rng.integers(1, 12, k)
    z = rng.permutation(np.repeat(np.arange(k), sizes))
    theta = np.exp(draw(st.floats(0, 1)) * rng.standard_normal(len(z)))
    return Model(theta, z, blocks_of(draw(st.sampled_from(kinds)), k, rng))


def svd(matrix: np.ndarray, f: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, s, V of the truncated singular value decomposition."""
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return u[:, :f], s[:f], vt[:f].T


def rank_of(matrix: np.ndarray) -> int:
    s = np.linalg.svd(matrix, compute_uv=False)
    return int((s > 1e-13 * len(s) * s[0]).sum())


def clear_rank(matrix: np.ndarray, room: float = 1e-6) -> int:
    """The rank, of matrices where there is no doubt about it."""
    s = np.linalg.svd(matrix, compute_uv=False) / np.linalg.norm(matrix, 2)
    assume(not ((s > 1e-13 * len(s)) & (s < room)).any())
    return int((s > room).sum())


def norms(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x, axis=-1)


def cosines(x: np.ndarray) -> np.ndarray:
    unit = x / norms(x)[:, None]
    return unit @ unit.T


def power(matrix: np.ndarray, exponent: float) -> np.ndarray:
    """|G|^exponent of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    values = np.abs(values)
    kept = values > 1e-12 * values.max()
    return (vectors[:, kept] * values[kept] ** exponent) @ vectors[:, kept].T


def truncated(matrix: np.ndarray, f: int) -> np.ndarray:
    """M_f of a symmetric matrix, from its eigenvectors."""
    values, vectors = np.linalg.eigh(matrix)
    order = np.argsort(-np.abs(values), kind="stable")[:f]
    return (vectors[:, order] * values[order]) @ vectors[:, order].T


def gap(matrix: np.ndarray, f: int) -> float:
    """(σ_f - σ_{f+1}) / σ_1."""
    s = np.append(np.linalg.svd(matrix, compute_uv=False), 0.0)
    return float((s[f - 1] - s[f]) / s[0])


def close(
    found: np.ndarray, expected: np.ndarray, exact: float = EXACT, scale: float | None = None
) -> None:
    """Equal to within `exact` times the largest entry, or times ``scale``."""
    scale = float(np.abs(expected).max()) if scale is None else scale
    np.testing.assert_allclose(found, expected, rtol=0, atol=exact * scale)


# ------------------------------------------------------------------------ what the embedding knows


@pytest.mark.theorem("thm-rows")
@many
@given(
    n=st.integers(2, 14), m=st.integers(2, 14), part=st.floats(0, 1), c=st.floats(-5, 5), seed=seeds
)
def test_the_embedding_has_the_angles_of_the_rows(
    n: int, m: int, part: float, c: float, seed: int, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((n, m)) * np.exp(rng.standard_normal(n))[:, None]
    matrix[-1] = c * matrix[0]  # parallel rows
    f = 1 + int(part * (rank_of(matrix) - 1))
    u, s, v = svd(matrix, f)
    table, low = u * s, (u * s) @ v.T
    close(table, matrix @ v)
    close(table @ table.T, low @ low.T)
    close(norms(table), norms(low))
    assert (norms(table) <= norms(matrix) * (1 + ROOM)).all()
    close(table[-1], c * table[0], scale=s[0])
    # Rows that are not parallel are no more so in the embedding: as far off the line of the first.
    close(*(norms(x - np.outer(x @ x[0], x[0]) / (x[0] @ x[0])) for x in (table, low)), scale=s[0])
    for exponent in (0.5, 2.0):
        close((u * s**exponent)[-1], c * (u * s**exponent)[0], scale=s[0] ** exponent)
    u, s, v = svd(matrix, min(n, m))
    close(norms(u * s), norms(matrix))  # nothing is lost at full rank


@pytest.mark.theorem("thm-rows")
@many
@given(n=st.integers(2, 14), part=st.floats(0, 1), paired=st.booleans(), seed=seeds)
def test_a_symmetric_matrix_comes_back_from_its_embedding(
    n: int, part: float, paired: bool, seed: int, theorem_cases: Cases
) -> None:
    rng = np.random.default_rng(seed)
    if paired:  # every singular value twice, once from an eigenvalue of either sign
        block = rng.standard_normal((n, n))
        matrix = np.block([[np.zeros((n, n)), block], [block.T, np.zeros((n, n))]])
    else:
        block = rng.standard_normal((n, n))
        matrix = block + block.T
    f = 1 + int(part * (len(matrix) - 1))
    f += f % 2 if paired else 0  # a pair is not torn apart
    assume(gap(matrix, f) > 1e-3)
    theorem_cases.count()
    u, s, v = svd(matrix, f)
    assume(s[-1] > 1e-2 * s[0])
    j = u.T @ v
    close(j, j.T, 1e-10)
    close(j @ j, np.eye(f), 1e-10)
    close(j * s, s[:, None] * j, 1e-10)
    if not paired and f > 1 and np.diff(s).max() < -1e-3 * s[0]:
        close(np.abs(j), np.eye(f), 1e-9)  # signs
    table = u * s
    close(table @ (j / s[:, None]) @ table.T, truncated(matrix, f), 1e-11)
    values = np.linalg.eigvalsh(truncated(matrix, f))
    assert (np.abs(j - np.eye(f)).max() < 1e-8) == (values.min() > -1e-8 * s[0])


def test_a_torn_pair_of_singular_values_need_not_leave_a_symmetric_matrix() -> None:
    """diag(1, -1) has σ₁ = σ₂ = 1, and this is a perfectly good truncation to f = 1."""
    u = np.array([1.0, 1.0]) / math.sqrt(2)
    v = np.diag([1.0, -1.0]) @ u
    assert np.linalg.norm(np.diag([1.0, -1.0]) - np.outer(u, v), 2) == pytest.approx(1)
    assert np.outer(u, v)[0, 1] == pytest.approx(-np.outer(u, v)[1, 0]) != 0


# ----------------------------------------------------------------------------- blocks make rays


@pytest.mark.theorem("thm-dcbm-spikes")
@many
@given(model=models(), part=st.floats(0, 1), more=st.integers(0, 3))
def test_members_of_a_community_are_collinear_at_every_truncation(
    model: Model, part: float, more: int, theorem_cases: Cases
) -> None:
    rank = clear_rank(model.core)
    theorem_cases.count()
    f = min(1 + int(part * (rank - 1 + more)), len(model.theta))  # below, at and above the rank
    u, s, _ = svd(model.matrix, f)
    for table in [u * s, *([u * np.sqrt(s), u] if f <= rank and s[-1] > 1e-3 * s[0] else [])]:
        g = table / model.theta[:, None]
        largest = np.abs(g).max()
        for k in range(model.K):
            members = g[model.z == k]
            spread = np.abs(members - members[0])
            assert (spread * model.theta[model.z == k, None]).max() <= 1e-11 * largest


@pytest.mark.theorem("thm-dcbm-spikes")
@many
@given(model=models(), more=st.integers(0, 3))
def test_norms_and_angles_of_the_rays(model: Model, more: int, theorem_cases: Cases) -> None:
    rank = clear_rank(model.core)
    theorem_cases.count()
    f = min(rank + more, len(model.theta))
    u, s, _ = svd(model.matrix, f)
    table, z = u * s, model.z
    assert rank_of(model.matrix) == rank
    close(norms(table), model.theta * model.profile_norms[z])
    square = model.core @ model.core
    close(model.profile_norms * model.psi, np.sqrt(np.diag(square)))
    strong = norms(table) > 1e-3 * norms(table).max()
    expected = square / np.sqrt(np.outer(np.diag(square), np.diag(square)))
    close(cosines(table[strong]), expected[np.ix_(z[strong], z[strong])], 1e-11)
    if s[rank - 1] > 1e-2 * s[0]:
        u, s = u[:, :rank], s[:rank]
        for exponent in (0.0, 0.5, 0.75, 1.0):
            gram = power(model.core, 2 * exponent)
            size = np.sqrt(np.diag(gram))
            found = (u * s**exponent) / (model.theta / model.psi[z])[:, None]
            close(found @ found.T, gram[np.ix_(z, z)], 1e-10)
            assert np.abs(gram / np.outer(size, size)).max() <= 1 + ROOM


@pytest.mark.theorem("thm-dcbm-spikes")
@many
@given(model=models(), part=st.floats(0, 1))
def test_below_the_rank_the_truncated_core_takes_over(
    model: Model, part: float, theorem_cases: Cases
) -> None:
    rank = clear_rank(model.core)
    f = 1 + int(part * (rank - 1))
    assume(gap(model.core, f) > 1e-2)
    theorem_cases.count()
    u, s, _ = svd(model.matrix, f)
    table, z = u * s, model.z
    square = truncated(model.core, f) @ truncated(model.core, f)
    scaled = table / (model.theta / model.psi[z])[:, None]
    close(scaled @ scaled.T, square[np.ix_(z, z)], 1e-11)


@pytest.mark.theorem("thm-dcbm-spikes")
@many
@given(groups=st.integers(1, 5), more=st.integers(0, 3), seed=seeds)
def test_as_many_rays_as_rows_of_b_up_to_a_factor(
    groups: int, more: int, seed: int, theorem_cases: Cases
) -> None:
    rng = np.random.default_rng(seed)
    group = np.concatenate([np.arange(groups), rng.integers(0, groups, more)])
    scale = np.exp(rng.standard_normal(len(group)))
    core = symmetric(groups, rng) + 0.05
    if groups > 2:  # of lower rank than it has rows, and no two of them proportional
        values, vectors = np.linalg.eigh(core)
        values[np.argmin(np.abs(values))] = 0
        core = (vectors * values) @ vectors.T
    blocks = core[np.ix_(group, group)] * np.outer(scale, scale)
    distinct = cosines(core)
    assume(groups == 1 or distinct[~np.eye(groups, dtype=bool)].max() < 1 - 1e-4)
    theorem_cases.count()
    z = rng.permutation(np.repeat(np.arange(len(group)), rng.integers(1, 6, len(group))))
    model = Model(np.exp(0.5 * rng.standard_normal(len(z))), z, (blocks + blocks.T) / 2)
    rank = rank_of(model.core)
    u, s, _ = svd(model.matrix, rank)
    same = cosines(u * s) > 1 - 1e-9
    rays = len({tuple(row) for row in same})
    assert rays == groups
    assert rays >= rank  # more rays than dimensions are possible, fewer are not
    if groups > 2:
        assert rank == groups - 1


@pytest.mark.theorem("thm-dcbm-spikes")
@many
@given(model=models(kinds=("assortative",)))
def test_communities_are_orthogonal_in_u(model: Model, theorem_cases: Cases) -> None:
    s = np.linalg.svd(model.core, compute_uv=False)
    assume(s[-1] > 1e-2 * s[0])
    theorem_cases.count()
    u, _, _ = svd(model.matrix, model.K)
    h = np.stack([u[model.z == k][0] * model.psi[k] / model.theta[model.z == k][0]
                  for k in range(model.K)])  # fmt: skip
    close(h @ h.T, np.eye(model.K), 1e-11)
    close(u, (model.theta / model.psi[model.z])[:, None] * h[model.z], 1e-11)


def test_without_a_condition_the_rays_fail() -> None:
    rng = np.random.default_rng(0)
    z, theta = np.repeat([0, 1, 2], 5), 0.5 + rng.random(15)
    blocks = np.diag([1.0, 0.5, 0.0])  # a zero row: the third community has no direction
    u, s, _ = svd(Model(theta, z, blocks).matrix, 2)
    assert norms((u * s)[z == 2]).max() < 1e-12
    # U beyond the rank is whatever the solver returns.
    u, _, _ = svd(Model(theta, z, np.ones((3, 3))).matrix, 4)
    assert cosines(u)[0].min() < 0.99
    # Below the rank communities merge: with B of ones and one stronger block, f = 1 has one ray.
    model = Model(theta, z, np.ones((3, 3)) + np.diag([3.0, 2.0, 1.0]))
    u, s, _ = svd(model.matrix, 1)
    assert cosines(u * s).min() > 1 - 1e-12
    u, s, _ = svd(model.matrix, 3)
    assert cosines(u * s).min() < 0.9
    # Independent rows of M instead of one profile per community: no two are collinear.
    other = symmetric(15, rng)
    u, s, _ = svd(other, 15)
    assert cosines(u * s)[~np.eye(15, dtype=bool)].max() < 1 - 1e-3


@pytest.mark.theorem("prop-merging")
@many
@given(
    k=st.integers(2, 12),
    a=st.floats(0, 1),
    b=st.floats(0, 1),
    exponent=st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5]),
    c=st.floats(0.05, 0.95),
    seed=seeds,
)
def test_where_the_rays_of_a_planted_partition_merge(
    k: int, a: float, b: float, exponent: float, c: float, seed: int, theorem_cases: Cases
) -> None:
    assume(abs(a - b) > 0.05)
    theorem_cases.count()
    rng = np.random.default_rng(seed)
    one = np.exp(rng.standard_normal(4))
    z, theta = np.repeat(np.arange(k), 4), np.tile(one, k)  # ψ is the same for all
    model = Model(theta, z, (a - b) * np.eye(k) + b)
    u, s, _ = svd(model.matrix, k)
    table = u * s**exponent
    ratio = (a + (k - 1) * b) / abs(a - b)
    q = (ratio ** (2 * exponent) - 1) / k
    expected = np.where(z[:, None] == z, 1.0, q / (1 + q))
    np.testing.assert_allclose(cosines(table), expected, atol=1e-11)
    assert ratio >= 1 - ROOM
    merged = ratio ** (2 * exponent) > 1 + k * c / (1 - c)
    if abs(q / (1 + q) - c) > 1e-6:
        assert (q / (1 + q) > c) == merged
    if a > b:
        x = b / (a - b)
        if exponent == 1.0:
            assert q == pytest.approx(2 * x + k * x**2, abs=1e-12, rel=1e-9)
            edge = (-1 + math.sqrt(1 + k * c / (1 - c))) / k
            if abs(x - edge) > 1e-6:
                assert (q / (1 + q) > c) == (x > edge)
        elif exponent == 0.5:
            assert q / (1 + q) == pytest.approx(b / a, abs=1e-9)
        elif exponent == 0.0:
            assert q == 0


def test_the_threshold_of_ten_communities() -> None:
    x = (-1 + math.sqrt(1 + 9 * 10)) / 10
    assert x / (1 + x) == pytest.approx(0.4606, abs=1e-4)
    # With unequal ψ the cosine is another one: the formula is of the balanced case.
    model = Model(np.r_[np.ones(40), np.ones(4)], np.r_[np.zeros(40, int), np.ones(4, int)],
                  np.array([[1.0, 0.3], [0.3, 1.0]]))  # fmt: skip
    u, s, _ = svd(model.matrix, 2)
    q = 2 * (0.3 / 0.7) + 2 * (0.3 / 0.7) ** 2
    assert abs(cosines(u * s)[0, -1] - q / (1 + q)) > 0.05


# ----------------------------------------------------------------------------- rays make blocks


@dataclass(frozen=True)
class Spiked:
    """A symmetric matrix some of whose rows are, after truncation, multiples of few profiles."""

    matrix: np.ndarray
    f: int
    spike: np.ndarray  # of each item; -1 outside


@st.composite
def spiked(draw: st.DrawFn, psd: bool = False) -> Spiked:
    """M = L C Lᵀ + R: rows of L repeat inside a spike; R is orthogonal and below σ_f, or zero."""
    rng = np.random.default_rng(draw(seeds))
    k, outside = draw(st.integers(1, 4)), draw(st.integers(0, 5))
    spike = np.r_[np.repeat(np.arange(k), rng.integers(1, 7, k)), np.full(outside, -1)]
    n = len(spike)
    column = np.where(spike >= 0, spike, k + np.cumsum(spike < 0) - 1)
    left = np.zeros((n, k + outside))
    left[np.arange(n), column] = np.exp(0.7 * rng.standard_normal(n))
    core = rng.standard_normal((k + outside, k + outside))
    core = core @ core.T if psd else core + core.T
    matrix = left @ core @ left.T
    f = draw(st.integers(1, k + outside))
    s = np.append(np.linalg.svd(matrix, compute_uv=False), 0.0)
    assume(s[f - 1] > 2e-2 * s[0] and s[f - 1] - s[f] > 1e-2 * s[0])
    if draw(st.booleans()) and n > f:  # a remainder that has no structure at all
        values, vectors = np.linalg.eigh(truncated(matrix, f))
        rest = vectors[:, np.argsort(np.abs(values))[: n - f]]
        noise = rng.standard_normal((n - f, n - f))
        noise = noise @ noise.T if psd else noise + noise.T
        noise *= draw(st.floats(0, 0.9)) * s[f - 1] / np.linalg.norm(noise, 2)
        matrix = truncated(matrix, f) + rest @ noise @ rest.T
    order = rng.permutation(n)
    return Spiked(matrix[np.ix_(order, order)], f, spike[order])


def affinities(
    table: np.ndarray, j: np.ndarray, s: np.ndarray, spike: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Unit directions w_k, of the peaks, and β = w S⁻¹ J wᵀ."""
    size = norms(table)
    tips = [np.flatnonzero(spike == k)[size[spike == k].argmax()] for k in range(spike.max() + 1)]
    w = table[tips] / size[tips][:, None]
    return w, w @ (j / s[:, None]) @ w.T


@pytest.mark.theorem("thm-spikes-dcbm")
@many
@given(case=spiked())
def test_between_spikes_the_truncated_matrix_is_a_block_model(
    case: Spiked, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    u, s, v = svd(case.matrix, case.f)
    table, inside = u * s, case.spike >= 0
    low, labels = truncated(case.matrix, case.f), case.spike[inside]
    size = norms(table)[inside]
    assume(all(size[labels == k].max() > 1e-3 * s[0] for k in range(labels.max() + 1)))
    w, beta = affinities(table, u.T @ v, s, case.spike)
    close(table[inside] / s[0], size[:, None] * w[labels] / s[0], 1e-10)  # they are spikes
    expected = np.outer(size, size) * beta[np.ix_(labels, labels)]
    np.testing.assert_allclose(low[np.ix_(inside, inside)], expected, rtol=0, atol=1e-11 * s[0])
    assert np.abs(beta).max() <= (1 + ROOM) / s[-1]
    for k in range(labels.max() + 1):  # of rank one, or zero
        block = low[np.ix_(case.spike == k, case.spike == k)]
        assert np.linalg.svd(block, compute_uv=False)[1:].sum() <= 1e-10 * s[0]
    assert np.linalg.svd(beta, compute_uv=False)[case.f :].sum() <= 1e-9 / s[-1]
    apart = np.linalg.norm((case.matrix - low)[np.ix_(inside, inside)], 2)
    assert apart <= np.linalg.svd(np.pad(case.matrix, (0, 1)), compute_uv=False)[case.f] + 1e-11


@pytest.mark.theorem("thm-spikes-dcbm")
@many
@given(case=spiked(psd=True))
def test_spikes_of_a_positive_matrix_are_weakly_assortative(
    case: Spiked, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    u, s, v = svd(case.matrix, case.f)
    table, inside = u * s, case.spike >= 0
    size, labels = norms(table)[inside], case.spike[inside]
    assume(all(size[labels == k].max() > 1e-3 * s[0] for k in range(labels.max() + 1)))
    _, beta = affinities(table, u.T @ v, s, case.spike)
    own = np.diag(beta)
    assert (own >= (1 - ROOM) / s[0]).all() and (own <= (1 + ROOM) / s[-1]).all()
    assert (beta**2 <= np.outer(own, own) * (1 + ROOM)).all()
    root = u * np.sqrt(s)  # with U√S: β is the matrix of cosines
    _, beta = affinities(root, u.T @ v, np.ones(case.f), case.spike)
    np.testing.assert_allclose(np.diag(beta), 1, atol=1e-10)
    size = norms(root)[inside]
    expected = np.outer(size, size) * beta[np.ix_(labels, labels)]
    low = truncated(case.matrix, case.f)[np.ix_(inside, inside)]
    np.testing.assert_allclose(low, expected, rtol=0, atol=1e-11 * s[0])


@pytest.mark.theorem("cor-equivalence")
@many
@given(case=spiked(), model=models(kinds=KINDS), part=st.floats(0, 1))
def test_rays_and_blocks_are_the_same_when_all_items_are_meant(
    case: Spiked, model: Model, part: float, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    # Rays → profiles, on a part of the items.
    u, s, _ = svd(case.matrix, case.f)
    table, low = u * s, truncated(case.matrix, case.f)
    size = norms(table)
    for k in range(case.spike.max() + 1):
        members = np.flatnonzero((case.spike == k) & (size > 1e-4 * s[0]))
        profiles = low[members] / size[members][:, None]
        np.testing.assert_allclose(profiles, profiles[:1].repeat(len(members), 0), atol=1e-7 * s[0])
    # Blocks → rays, on all items that are not zero: M is its own truncation at its rank.
    rank = clear_rank(model.core)
    u, s, _ = svd(np.pad(model.matrix, (0, 2)), rank)
    assert norms(u * s)[len(model.z) :].max() <= EXACT * s[0]
    table = (u * s)[: len(model.z)]
    for k in range(model.K):
        same = table[model.z == k]
        same = same[norms(same) > 1e-4 * s[0]]
        if len(same):
            assert cosines(same).min() > 1 - 1e-9


def test_a_block_model_on_a_part_of_the_items_is_not_enough() -> None:
    """Among items 0 and 1 all is one community; their profiles towards item 2 differ."""
    matrix = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    u, s, _ = svd(matrix, 3)
    assert cosines(u * s)[0, 1] < 0.9


def test_a_spike_may_have_no_affinity_to_itself() -> None:
    """Two communities that meet each other only: perfect rays, and no edge inside either."""
    theta, z = np.array([1.0, 2.0, 3.0, 1.0, 4.0]), np.array([0, 0, 0, 1, 1])
    matrix = Model(theta, z, np.array([[0.0, 1.0], [1.0, 0.0]])).matrix
    u, s, v = svd(matrix, 2)
    w, beta = affinities(u * s, u.T @ v, s, z)
    close(np.abs(w @ w.T), np.eye(2))  # orthogonal
    assert np.abs(np.diag(beta)).max() < 1e-15 < 0.01 < beta[0, 1]
    assert not matrix[np.ix_(z == 0, z == 0)].any()  # rank zero, not one
    assert ((u * s) @ (u * s).T)[0, 1] == pytest.approx((matrix @ matrix)[0, 1])  # second order
    negative = -np.outer(theta, theta)
    u, s, v = svd(negative, 1)
    assert affinities(u * s, u.T @ v, s, np.zeros(5, int))[1][0, 0] == pytest.approx(-1 / s[0])


# ---------------------------------------------------------------------------- approximate spikes


def tilted(w: np.ndarray, angle: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unit vectors at the given angles to the rows of w, in random directions."""
    other = rng.standard_normal(w.shape)
    other -= (other * w).sum(-1, keepdims=True) * w
    other /= norms(other)[:, None]
    return np.cos(angle)[:, None] * w + np.sin(angle)[:, None] * other


@pytest.mark.theorem("thm-approximate")
@many
@given(
    n=st.integers(2, 30), f=st.integers(2, 6), k=st.integers(1, 4), c=st.floats(0, 0.999),
    signs=st.booleans(), seed=seeds,
)  # fmt: skip
def test_near_spikes_the_truncated_matrix_is_nearly_a_block_model(
    n: int, f: int, k: int, c: float, signs: bool, seed: int, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    rng = np.random.default_rng(seed)
    raw = rng.standard_normal((n + f, f)) * np.exp(rng.standard_normal(f))
    u, s, _ = np.linalg.svd(raw, full_matrices=False)
    j = rng.choice([-1.0, 1.0], f) if signs else np.ones(f)
    low = (u * s * j) @ u.T
    w = rng.standard_normal((k, f))
    w /= norms(w)[:, None]
    for exponent, inverse in ((1.0, 1 / s), (0.5, np.ones(f))):
        table = u * s**exponent
        cosine = (table / norms(table)[:, None]) @ w.T
        spike = cosine.argmax(1)
        phi = np.arccos(cosine.max(1).clip(-1, 1))
        inside = np.cos(phi) >= c
        size, labels, phi = norms(table)[inside], spike[inside], phi[inside]
        beta = (w * inverse * j) @ w.T
        apart = np.abs(
            low[np.ix_(inside, inside)] - np.outer(size, size) * beta[np.ix_(labels, labels)]
        )
        scale = np.outer(size, size) * inverse.max()
        bound = 2 * np.sin((phi[:, None] + phi) / 2) * scale
        assert (apart <= bound * (1 + ROOM) + 1e-12 * s[0]).all()
        assert (apart <= 2 * math.sqrt(1 - c**2) * scale * (1 + ROOM) + 1e-12 * s[0]).all()
        if not inside.any():
            continue
        mutual = cosines(table[inside])[labels[:, None] == labels]
        assert (mutual >= 2 * c**2 - 1 - 1e-12).all()
        if exponent == 0.5 and not signs:
            block = (low[np.ix_(inside, inside)] / np.outer(size, size))[labels[:, None] == labels]
            assert (block >= 2 * c**2 - 1 - 1e-9).all() and (block <= 1 + 1e-9).all()


@pytest.mark.theorem("thm-approximate")
@many
@given(c=st.floats(0, 1), size=st.floats(0.1, 10))
def test_the_constant_of_the_approximation_is_reached(
    c: float, size: float, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    phi = math.acos(c)
    angles = np.array([0.0, math.pi / 2 + phi])  # of x_i, x_j
    towards = np.array([phi, math.pi / 2])  # of w_k, w_l
    x = size * np.stack([np.cos(angles), np.sin(angles)], 1)
    w = np.stack([np.cos(towards), np.sin(towards)], 1)
    turned = x[:, ::-1] * [-1.0, 1.0]
    table = np.vstack([x, turned])  # XᵀX is a multiple of the identity: a truncated SVD
    gram = table.T @ table
    np.testing.assert_allclose(gram, gram[0, 0] * np.eye(2), atol=1e-12 * gram[0, 0])
    apart = (table @ table.T)[0, 1] - size**2 * (w @ w.T)[0, 1]
    assert abs(apart) == pytest.approx(2 * math.sqrt(1 - c**2) * size**2, abs=1e-9 * size**2)
    unit = tilted(np.array([[1.0, 0.0]] * 2), np.array([phi, -phi]), np.random.default_rng(0))
    assert cosines(unit)[0, 1] >= 2 * c**2 - 1 - 1e-12


# -------------------------------------------------------------------------------- norm and degree


@pytest.mark.theorem("prop-norm-degree")
@many
@given(model=models(kinds=KINDS), more=st.integers(0, 2))
def test_inside_a_spike_the_norm_is_the_degree(
    model: Model, more: int, theorem_cases: Cases
) -> None:
    rank = clear_rank(model.core)
    theorem_cases.count()
    u, s, _ = svd(model.matrix, min(rank + more, len(model.theta)))
    mass = np.bincount(model.z, model.theta, model.K)
    kappa = model.profile_norms / (model.blocks @ mass)
    degree = model.matrix.sum(1)
    close(degree, model.theta * (model.blocks @ mass)[model.z])
    np.testing.assert_allclose(norms(u * s) / (kappa[model.z] * degree), 1, atol=1e-11)


@pytest.mark.theorem("prop-norm-degree")
@many
@given(case=spiked())
def test_in_every_spike_the_norm_is_the_degree_after_truncation(
    case: Spiked, theorem_cases: Cases
) -> None:
    theorem_cases.count()
    u, s, v = svd(case.matrix, case.f)
    table = u * s
    sums = truncated(case.matrix, case.f).sum(1)
    for k in range(case.spike.max() + 1):
        members = case.spike == k
        size = norms(table[members])
        assume(size.max() > 1e-3 * s[0])
        w = table[members][size.argmax()] / size.max()
        tau = w @ ((u.T @ v) / s[:, None]) @ table.sum(0)
        np.testing.assert_allclose(
            sums[members], tau * size, rtol=0, atol=1e-10 * s[0] * math.sqrt(len(table))
        )


@pytest.mark.theorem("prop-norm-degree")
@many
@given(n=st.integers(2, 25), density=st.floats(0.05, 0.95), seed=seeds)
def test_at_full_rank_the_norm_is_the_root_of_the_degree(
    n: int, density: float, seed: int, theorem_cases: Cases
) -> None:
    rng = np.random.default_rng(seed)
    edges = np.triu(rng.random((n, n)) < density, 1)
    adjacency = (edges | edges.T).astype(float)
    assume(adjacency.any())
    theorem_cases.count()
    u, s, _ = svd(adjacency, n)
    growing = np.cumsum((u * s) ** 2, axis=1)
    degree = adjacency.sum(1)
    assert (growing <= degree[:, None] + 1e-10).all()
    np.testing.assert_allclose(growing[:, -1], degree, atol=1e-10)


def test_across_spikes_the_norm_need_not_follow_the_degree() -> None:
    """The community of the larger norms has the smaller degrees."""
    theta, z = np.ones(44), np.r_[np.zeros(4, int), np.ones(40, int)]
    model = Model(theta, z, np.diag([1.0, 0.09]))
    u, s, _ = svd(model.matrix, 2)
    size, degree = norms(u * s), model.matrix.sum(1)
    assert degree[0] > degree[-1] and size[0] > size[-1]
    model = Model(theta, z, np.diag([1.0, 0.2]))
    u, s, _ = svd(model.matrix, 2)
    size, degree = norms(u * s), model.matrix.sum(1)
    assert degree[0] < degree[-1] and size[0] > size[-1]


# ------------------------------------------------------------------------------------------ noise


@pytest.mark.theorem("thm-noise")
@many
@given(
    model=models(kinds=(*KINDS, "signed")), size=st.floats(-4, 0.5), more=st.integers(0, 4),
    drawn=st.booleans(), seed=seeds,
)  # fmt: skip
def test_what_noise_can_do_to_the_rays(
    model: Model, size: float, more: int, drawn: bool, seed: int, theorem_cases: Cases
) -> None:
    rank = clear_rank(model.core)
    theorem_cases.count()
    rng = np.random.default_rng(seed)
    matrix, n = model.matrix, len(model.theta)
    if drawn and matrix.min() >= 0:
        upper = np.triu(rng.poisson(matrix), 1)
        noise = (upper + upper.T) - matrix  # a graph, with its empty diagonal
    else:
        noise = rng.standard_normal((n, n))
        noise *= 10**size * np.linalg.norm(model.core, 2) / np.linalg.norm(noise, 2)
    f = min(rank + more, n)
    u, s, v = svd(matrix + noise, f)
    table, nu = u * s, np.linalg.norm(noise, 2)
    profiles = model.blocks[:, model.z] * model.theta  # p_k
    q, eta = profiles @ v, noise @ v
    scale = np.linalg.norm(matrix, 2) + nu
    np.testing.assert_allclose(
        table, model.theta[:, None] * q[model.z] + eta, rtol=0, atol=1e-12 * scale
    )
    length = norms(q)
    ratio = norms(eta) / np.maximum(model.theta * length[model.z], 1e-300)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = (table * q[model.z]).sum(1) / (norms(table) * length[model.z])
    angle = np.arccos(np.nan_to_num(cosine).clip(-1, 1))
    known = (norms(table) > 1e-9 * scale) & (model.theta * length[model.z] > 1e-9 * scale)
    assert (np.sin(np.minimum(angle, np.pi / 2)) <= ratio * (1 + ROOM) + 1e-6)[known].all()
    assert (norms(eta) ** 2).sum() <= f * nu**2 * (1 + ROOM)
    square = np.diag(model.core @ model.core)
    assert (length**2 * model.psi**2 >= square - 4 * nu**2 - ROOM * scale**2).all()
    assert (length <= model.profile_norms * (1 + ROOM)).all()
    for k in np.flatnonzero(square > 4 * nu**2 * (1 + ROOM)):
        members = (model.z == k) & known
        for limit in (0.1, 0.4510, 1.0):
            off = (model.theta[members & (angle >= limit)] ** 2).sum() / model.psi[k] ** 2
            most = f * nu**2 / (math.sin(limit) ** 2 * (square[k] - 4 * nu**2))
            assert off <= most * (1 + ROOM)


def test_below_the_rank_the_bound_on_the_signal_fails() -> None:
    """f = 1 of two communities, hardly any noise: the second community has no signal left."""
    theta, z = np.ones(30), np.r_[np.zeros(20, int), np.ones(10, int)]
    model = Model(theta, z, np.eye(2))
    _, _, v = svd(model.matrix, 1)
    q = (model.blocks[:, z] * theta) @ v
    assert norms(q)[1] < 1e-9 < 1 < model.profile_norms[1]


@pytest.mark.theorem("prop-angle")
@settings(many, max_examples=60)
@given(model=models(kinds=("assortative", "any")), i=st.integers(0, 1000), seed=seeds)
def test_the_noise_across_a_ray_grows_with_the_root_of_theta(
    model: Model, i: int, seed: int, theorem_cases: Cases
) -> None:
    core = np.linalg.svd(model.core, compute_uv=False)
    assume(core[-1] > 1e-2 * core[0] and (model.K == 1 or -np.diff(core).max() > 1e-3 * core[0]))
    theorem_cases.count()
    i %= len(model.theta)
    k = int(model.z[i])
    # The formula, from the K × K core alone.
    values, h = np.linalg.eigh(model.core)
    g = h * np.abs(values) / model.psi[:, None]
    turned = h * np.sign(values)
    across = turned - np.outer(turned @ g[k], g[k]) / (g[k] @ g[k])
    cubes = np.bincount(model.z, model.theta**3, model.K) / model.psi**2
    alpha = (model.blocks[k] * cubes) @ (across**2).sum(1)
    # Directly, from the dense matrix: the variance of each entry of the noise, projected.
    _, _, v = svd(model.matrix, model.K)
    ray = model.matrix[i] @ v
    across = v - np.outer(v @ ray, ray) / (ray @ ray)
    direct = (model.matrix[i] * (across**2).sum(1)).sum()
    assert model.theta[i] * alpha == pytest.approx(direct, rel=1e-9, abs=1e-12 * core[0])
    assert ray @ ray == pytest.approx(model.theta[i] ** 2 * g[k] @ g[k], rel=1e-9)
    # And drawn: entries of a Poisson graph, and of one with edges or none.
    rng = np.random.default_rng(seed)
    draws = rng.poisson(model.matrix[i], (2000, len(model.z))) - model.matrix[i]
    size = ((draws @ across) ** 2).sum(1)
    assert abs(size.mean() - direct) <= 6 * size.std() / math.sqrt(2000) + 1e-12
    p = np.minimum(model.matrix[i], 1)
    assert ((p * (1 - p)) * (across**2).sum(1)).sum() <= direct * (1 + ROOM) + 1e-15


def test_noise_inside_the_community_also_turns_a_vector_but_little() -> None:
    """P_k h_k is not zero, unless communities do not meet: the ray is along h_k Λ, not h_k."""
    for between, expected in ((0.0, 0.0), (0.05, 0.022)):
        core = (1 - between) * np.eye(10) + between
        values, h = np.linalg.eigh(core)
        g = h[0] * values
        across = h[0] - (h[0] @ g) * g / (g @ g)
        assert across @ across == pytest.approx(expected, abs=1e-3)


# ------------------------------------------------------------------------------------------- PPMI


@pytest.mark.theorem("prop-ppmi")
@many
@given(model=models(kinds=("assortative", "any", "disassortative")), scale=st.floats(0.01, 6))
def test_the_pmi_of_a_block_model_has_no_degrees(
    model: Model, scale: float, theorem_cases: Cases
) -> None:
    blocks = model.blocks + 1e-3
    counts = model.theta[:, None] * model.theta * blocks[np.ix_(model.z, model.z)]
    popularity = counts.sum(1)
    contexts = 10.0**scale / (counts / np.outer(popularity, popularity)).max()  # not all are zero
    pmi = np.log(contexts * counts / np.outer(popularity, popularity))
    weight = popularity / model.theta
    weight = np.array([weight[model.z == k][0] for k in range(model.K)])
    expected = np.log(contexts * blocks / np.outer(weight, weight))
    np.testing.assert_allclose(pmi, expected[np.ix_(model.z, model.z)], atol=1e-12 * 30)
    ppmi = np.maximum(pmi, 0)
    assert ppmi.any()
    theorem_cases.count()
    f = clear_rank(ppmi)
    u, s, _ = svd(ppmi, f)
    for k in range(model.K):
        rows = (u * s)[model.z == k]
        np.testing.assert_allclose(rows, rows[:1].repeat(len(rows), 0), atol=1e-10 * s[0])
    hollow = ppmi - np.diag(np.diag(ppmi))
    values = np.linalg.svd(hollow, compute_uv=False)
    above = int((values > np.diag(ppmi).max() * (1 + 1e-6)).sum())
    for f in range(1, min(above, len(values) - 1) + 1):
        if values[f - 1] - values[f] > 1e-3 * values[0]:
            u, s, _ = svd(hollow, f)
            for k in range(model.K):
                rows = (u * s)[model.z == k]
                np.testing.assert_allclose(rows, rows[:1].repeat(len(rows), 0), atol=1e-9 * s[0])


@pytest.mark.theorem("prop-ppmi")
@many
@given(rate=st.floats(1e-6, 50))
def test_how_often_a_pair_is_seen_twice(rate: float, theorem_cases: Cases) -> None:
    theorem_cases.count()
    terms = [math.exp(c * math.log(rate) - rate - math.lgamma(c + 1)) for c in range(2, 200)]
    found = math.fsum(terms)
    assert rate**2 / 2 - rate**3 / 3 <= found * (1 + ROOM)
    assert found <= rate**2 / 2 * (1 + ROOM)
    assert found == pytest.approx(1 - math.exp(-rate) * (1 + rate), rel=1e-6, abs=1e-12)
