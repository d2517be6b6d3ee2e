"""What theory says of a block model's embedding, against dense numpy on small models."""

import math

import numpy as np
import pytest

from specrec_core import rays, study_planted
from specrec_core.blockmodel import BlockModel, block_matrix, planted
from specrec_core.factorisation import Decomposition, truncated_svd

seeds = pytest.mark.parametrize("seed", range(4))


def model(seed: int, kind: str = "any") -> BlockModel:
    rng = np.random.default_rng(seed)
    k = int(rng.integers(2, 6))
    labels = rng.permutation(np.repeat(np.arange(k), rng.integers(2, 20, k)))
    blocks = rng.random((k, k)) + 0.1
    if kind == "assortative":
        blocks += 2 * np.eye(k)
    elif kind == "low rank":
        half = rng.random((k, 1 + k // 2)) + 0.1
        blocks = half @ half.T
    return BlockModel(np.exp(rng.standard_normal(len(labels))), labels, (blocks + blocks.T) / 2)


def dense(m: BlockModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    u, s, vt = np.linalg.svd(m.mean())
    rank = int((s > 1e-12 * s[0]).sum())
    return u[:, :rank], s[:rank], vt[:rank].T


@seeds
@pytest.mark.parametrize("kind", ["any", "assortative", "low rank"])
def test_norms_degrees_and_angles(seed: int, kind: str) -> None:
    m = model(seed, kind)
    u, s, _ = dense(m)
    norms = np.linalg.norm(u * s, axis=1)
    np.testing.assert_allclose(norms / m.theta, rays.profile_norms(m)[m.labels], rtol=1e-10)
    kappa = rays.norm_per_degree(m)[m.labels]
    np.testing.assert_allclose(norms / m.mean().sum(1), kappa, rtol=1e-10)
    tips = [np.flatnonzero(m.labels == k)[0] for k in range(m.K)]
    for exponent in (0.0, 0.5, 1.0, 2.0):
        unit = (u * s**exponent)[tips]
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        np.testing.assert_allclose(rays.cosines(m, exponent), unit @ unit.T, atol=1e-7)
    unit = u[tips, :1] * s[:1]  # one dimension: all on a line
    np.testing.assert_allclose(rays.cosines(m, f=1), np.sign(unit @ unit.T), atol=1e-9)


@pytest.mark.parametrize(("k", "cos", "exponent"), [(2, 0.9, 1), (10, 0.9, 1), (10, 0.5, 0.5),
                                                    (40, 0.7, 1.0), (6, 0.9, 2.0)])  # fmt: skip
def test_rays_merge_where_it_is_said(k: int, cos: float, exponent: float) -> None:
    ratio = rays.merging_ratio(k, cos, exponent)
    labels = np.repeat(np.arange(k), 3)
    found = {}
    for step in (-1e-4, 0.0, 1e-4):
        blocks = block_matrix(k, between=ratio + step)
        found[step] = rays.cosines(BlockModel(np.ones(3 * k), labels, blocks), exponent)[0, 1]
    assert found[0.0] == pytest.approx(cos, abs=1e-9)
    assert found[-1e-4] < cos < found[1e-4]
    if exponent == 0.5:
        assert ratio == pytest.approx(cos)


def test_the_threshold_of_the_paper_has_a_closed_form() -> None:
    for k in (3, 10, 100):
        x = (-1 + math.sqrt(1 + 9 * k)) / k
        assert rays.merging_ratio(k) == pytest.approx(x / (1 + x), rel=1e-12)


@pytest.mark.parametrize(
    "bad", [{"K": 1}, {"K": 3, "cos": 1.0}, {"K": 3, "cos": 0.0}, {"K": 3, "exponent": 0.0}]
)
def test_thresholds_that_make_no_sense(bad: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        rays.merging_ratio(**bad)
    with pytest.raises(ValueError, match="rank of the blocks"):
        rays.cosines(model(0), f=99)


@seeds
@pytest.mark.parametrize("kind", ["any", "assortative", "low rank"])
def test_angle_scale_is_the_projected_variance(seed: int, kind: str) -> None:
    m = model(seed, kind)
    _, _, v = dense(m)
    mean = m.mean()
    found = rays.angle_scale(m)
    for i in range(m.n):
        ray = mean[i] @ v
        across = v - np.outer(v @ ray, ray) / (ray @ ray)
        expected = sum(mean[i, j] * (across[j] @ across[j]) for j in range(m.n)) / (ray @ ray)
        assert found[m.labels[i]] / m.theta[i] == pytest.approx(expected, rel=1e-6)


def test_a_model_of_one_ray_has_no_angle() -> None:
    m = model(0)
    rank_one = BlockModel(m.theta, m.labels, np.ones((m.K, m.K)))
    assert rays.angle_scale(rank_one) == pytest.approx(0, abs=1e-12)


@seeds
def test_rows_are_ray_plus_noise_exactly(seed: int) -> None:
    m = planted(200, 4, degree=20.0, seed=seed)
    graph = m.sample(seed)
    found = truncated_svd(graph, 6, method="arpack")
    toward = rays.directions(m, found)
    noise = (graph.toarray() - m.mean()) @ found.v
    np.testing.assert_allclose(
        found.embedding(), m.theta[:, None] * toward[m.labels] + noise, atol=1e-9
    )
    exact = m.decomposition()
    table = exact.embedding()
    assert rays.across(table, rays.directions(m, exact), m.labels).max() < 1e-9 * exact.s[0]
    slow = [
        math.acos(e @ toward[k] / np.linalg.norm(e) / np.linalg.norm(toward[k]))
        for e, k in zip(found.embedding(), m.labels, strict=True)
        if np.linalg.norm(e) > 1e-9
    ]
    quick = rays.tangents(found.embedding(), toward, m.labels)
    quick = quick[np.linalg.norm(found.embedding(), axis=1) > 1e-9]
    for angle, tangent in zip(slow, quick, strict=True):
        assert tangent == pytest.approx(math.tan(angle), rel=1e-5) or (
            angle >= math.pi / 2 - 1e-9 and math.isinf(tangent)
        )


def test_a_row_behind_its_ray_has_no_tangent() -> None:
    rows = np.array([[1.0, 1.0], [-1.0, 0.1], [0.0, 1.0]])
    toward, labels = np.array([[2.0, 0.0]]), np.zeros(3, int)
    assert rays.tangents(rows, toward, labels).tolist() == [1.0, math.inf, math.inf]
    np.testing.assert_allclose(rays.across(rows, toward, labels), [1.0, 0.1, 1.0])


# ---------------------------------------------------------------------------------- the studies


def test_counts_are_those_of_a_dense_product() -> None:
    rng = np.random.default_rng(0)
    contexts, items = rng.integers(0, 30, 400), rng.integers(0, 40, 400)
    kept = np.array([1, 3, 4, 20, 39])
    held = np.zeros((40, 30))
    held[items, contexts] = 1
    both = (held @ held.T)[np.ix_(kept, kept)]
    np.fill_diagonal(both, 0)
    both[both < 2] = 0
    np.testing.assert_array_equal(study_planted.counts(contexts, items, kept).toarray(), both)


def test_crossing_of_a_broken_line() -> None:
    assert study_planted.crossing([0, 1, 2], [0.0, 0.5, 1.0], 0.75) == 1.5
    assert math.isnan(study_planted.crossing([0, 1], [0.0, 0.5], 0.9))


ROW = {"communities": 3, "law": "uniform", "blocks": "assortative", "between": 0.1, "degree": 20.0,
       "f": 3}  # fmt: skip


def row(**changes: object) -> dict[str, float]:
    settings = {"n": 300, **ROW, "matrix": "graph", **changes}
    return study_planted.table_row(dataset="planted", seed=1, progress=False, **settings).metrics


def test_a_row_of_the_table() -> None:
    exact = row(matrix="expectation")
    assert exact["cosine to ray"] == pytest.approx(1) and exact["accuracy"] == 1
    assert exact["norm against theta"] == pytest.approx(1)
    assert row(matrix="expectation", power="U")["largest cosine between rays"] < 1e-9
    drawn = row()
    assert 0.8 < drawn["cosine to ray"] < 1 and drawn["Spk"] >= 100 / 300
    assert drawn == row() != row(f=4)
    assert row(law="constant")["CV of norms"] < drawn["CV of norms"]
    hubs = {"law": "pareto", "degree": 100.0}
    cut = row(matrix="probabilities", **hubs)["CV of norms"]
    assert cut < row(matrix="expectation", **hubs)["CV of norms"]
    with pytest.raises(ValueError, match="matrix"):
        row(matrix="drawn")


def test_the_other_studies_measure_what_theory_says() -> None:
    common = {"dataset": "planted", "seed": 0, "progress": False}
    found = study_planted.angle(
        n=1500, communities=3, law="uniform", between=0.1, degree=60.0, groups=5, **common
    )
    assert found.metrics["slope"] == pytest.approx(-0.5, abs=0.1)
    assert found.metrics["measured over predicted"] == pytest.approx(1, abs=0.15)
    found = study_planted.merging(
        n=600, communities=3, law="uniform", degree=150.0, ratios=(0.1, 0.4, 0.5, 0.6, 0.7, 0.8),
        cos=0.9, **common,
    )  # fmt: skip
    assert found.metrics["US predicted"] == pytest.approx(rays.merging_ratio(3))
    assert found.metrics["US merges at"] == pytest.approx(rays.merging_ratio(3), abs=0.12)
    assert np.all(np.diff(found.curves["cosine US"]) > 0)
    found = study_planted.exponent(
        n=300, communities=3, law="uniform", between=0.1, degree=30.0, dimensions=(3, 30, 300),
        **common,
    )  # fmt: skip
    first, *_, last = found.curves["slope inside"]
    assert last == pytest.approx(0.5, abs=1e-6) and first > 0.9
    spread = []
    for playlists in (300, 5000):
        found = study_planted.flattening(
            items=200, communities=3, playlists=playlists, length=8, noise=0.1, law="pareto",
            dimensions=(3, 6), **common,
        )  # fmt: skip
        spread.append(found.metrics["ppmi: CV of norms"])
        assert found.metrics["counts: CV of norms"] > found.metrics["ppmi: CV of norms"]
    assert spread[1] < spread[0] / 2


def test_decomposition_of_the_model_is_that_of_the_theorems() -> None:
    m = planted(120, 4, degree=10.0, seed=2)
    found = m.decomposition()
    assert isinstance(found, Decomposition)
    again = truncated_svd(m.mean(), 4, method="arpack")
    np.testing.assert_allclose(found.s, again.s, rtol=1e-10)
    np.testing.assert_allclose(np.abs(np.sum(found.u * again.u, axis=0)), 1, atol=1e-8)


@pytest.mark.parametrize("seed", range(20))
def test_communities_that_the_directions_do_not_reach_have_no_ray(seed):
    draw = np.random.default_rng(seed)
    half = np.zeros((6, 6))
    half[:3, :3] = draw.uniform(1, 2, (3, 3))
    half[3:, 3:] = draw.uniform(0.1, 0.2, (3, 3))
    turn = draw.permutation(6)
    blocks = ((half + half.T) / 2)[turn][:, turn]
    labels = np.repeat(np.arange(6), 4)
    found = rays.cosines(BlockModel(draw.uniform(0.5, 2, 24), labels, blocks), f=1)
    reached = turn < 3
    assert np.isnan(found[~reached]).all() and np.isnan(found[:, ~reached]).all()
    np.testing.assert_allclose(found[np.ix_(reached, reached)], 1, atol=1e-12)
