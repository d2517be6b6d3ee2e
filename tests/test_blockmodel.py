"""The symmetric block model: its spectrum, its degrees, and that its graphs are drawn exactly."""

import hashlib

import numpy as np
import pytest

from specrec_core.blockmodel import KINDS, BlockModel, block_matrix, planted
from specrec_core.propensities import LAWS, theta_law


def random_model(seed: int, n: int = 90, K: int = 4, scale: float = 1.0) -> BlockModel:
    """Unequal communities in random order, an indefinite affinity of full rank."""
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.repeat(np.arange(K), draw.multinomial(n - K, [1 / K] * K) + 1))
    blocks = draw.random((K, K)) * scale
    return BlockModel(draw.lognormal(size=n), labels, blocks + blocks.T)


def dense_probabilities(model: BlockModel) -> np.ndarray:
    """min(1, θθB) without loops, entry by entry."""
    p = np.zeros((model.n, model.n))
    for i in range(model.n):
        for j in range(model.n):
            if i != j:
                affinity = model.blocks[model.labels[i], model.labels[j]]
                p[i, j] = min(1.0, model.theta[i] * model.theta[j] * affinity)
    return p


@pytest.mark.parametrize("seed", range(5))
def test_decomposition_is_that_of_the_dense_matrix(seed):
    model = random_model(seed)
    found, dense = model.decomposition(), model.mean()
    assert found.u.shape == (90, 4)
    np.testing.assert_allclose(found.s, np.linalg.svd(dense)[1][:4], rtol=1e-12)
    np.testing.assert_allclose(found.u * found.s @ found.v.T, dense, atol=1e-12 * dense.max())
    np.testing.assert_allclose(found.u.T @ found.u, np.eye(4), atol=1e-13)
    values = np.linalg.eigvalsh(dense)
    largest = values[np.argsort(-np.abs(values))[:4]]
    assert found.signs.tolist() == np.sign(largest).tolist()
    assert (largest < 0).any(), "an instance without negative eigenvalues tests little"
    np.testing.assert_allclose(dense @ found.u, found.u * largest, atol=1e-12 * found.s[0])
    assert (found.u[np.abs(found.u).argmax(axis=0), range(4)] > 0).all()
    np.testing.assert_allclose(found.row_sums(), model.expected_degrees(), rtol=1e-11)


def test_first_columns_are_those_of_the_whole_decomposition():
    model = random_model(7)
    whole, part = model.decomposition(), model.decomposition(2)
    np.testing.assert_array_equal(part.u, whole.u[:, :2])
    np.testing.assert_array_equal(part.s, whole.s[:2])


@pytest.mark.parametrize(
    ("blocks", "rank"),
    [(np.outer([0.3, 0.7, 1.1], [0.3, 0.7, 1.1]), 1), ([[1, 1, 0.2], [1, 1, 0.2], [0.2] * 3], 2)],
)
def test_a_deficient_affinity_has_its_rank_in_singular_values(blocks, rank):
    labels = np.arange(60) % 3
    model = BlockModel(np.linspace(0.5, 2, 60), labels, np.array(blocks))
    found = model.decomposition()
    assert found.s.shape == (rank,)
    np.testing.assert_allclose(found.u * found.s @ found.v.T, model.mean(), atol=1e-13)
    with pytest.raises(ValueError, match=rf"f: 3, expected 1 to the rank of the blocks, {rank}"):
        model.decomposition(3)


@pytest.mark.parametrize("scale", [0.001, 0.1, 10.0])
def test_degrees_and_clipped_share_are_those_of_the_dense_matrix(scale):
    model = random_model(1, scale=scale)
    np.testing.assert_allclose(model.expected_degrees(), model.mean().sum(axis=1), rtol=1e-12)
    drawn = dense_probabilities(model)
    np.testing.assert_allclose(model.expected_degrees(drawn=True), drawn.sum(axis=1), rtol=1e-12)
    above = model.mean()[np.triu_indices(90, 1)] > 1
    assert model.clipped == pytest.approx(above.mean(), abs=1e-12)
    assert 0 < above.mean() < 1 or scale == 0.001


def test_every_pair_has_its_probability_and_is_independent_of_the_others():
    # few nodes with small, large and certain pairs, and two communities that never meet
    theta = np.array([0.2, 3.0, 0.9, 1.4, 0.5, 1.1, 2.0])
    labels = np.array([0, 0, 0, 1, 1, 2, 0])
    blocks = np.array([[0.3, 0.1, 0.0], [0.1, 0.8, 0.45], [0.0, 0.45, 0.2]])
    model = BlockModel(theta, labels, blocks)
    pairs, repeats = np.triu_indices(7, 1), 4000
    seen = np.stack([model.sample(seed).toarray()[pairs] for seed in range(repeats)])
    p = dense_probabilities(model)[pairs]
    assert ((0 < p) & (p < 0.5)).sum() > 8 and ((0.5 < p) & (p < 1)).sum() >= 2
    assert (p == 0).sum() >= 2 and (p == 1).sum() >= 1
    certain = (p == 0) | (p == 1)
    assert (seen[:, certain] == p[certain]).all()
    seen, p = seen[:, ~certain], p[~certain]
    score = (seen.mean(axis=0) - p) / np.sqrt(p * (1 - p) / repeats)
    assert np.abs(score).max() < 4
    assert len(p) - 3 * np.sqrt(2 * len(p)) < (score**2).sum() < len(p) + 3 * np.sqrt(2 * len(p))
    together = np.corrcoef(seen.T)[np.triu_indices(len(p), 1)] * np.sqrt(repeats)
    assert np.abs(together).max() < 4.5 and together.std() == pytest.approx(1, abs=0.2)


def test_a_large_graph_has_as_many_edges_of_each_kind_as_expected():
    # few values of θ: a million pairs share each probability, so a bias of 0.1 % would show
    values, draw = np.array([0.05, 0.4, 1.0, 2.5]), np.random.default_rng(0)
    kind, labels = draw.integers(4, size=3000), draw.integers(2, size=3000)
    model = BlockModel(values[kind], labels, np.array([[0.2, 0.06], [0.06, 0.12]]))
    group = 4 * labels + kind
    ends = group[np.stack(model.sample(3).nonzero())]
    edges = np.bincount(8 * ends[0] + ends[1], minlength=64).reshape(8, 8)
    sizes = np.bincount(group, minlength=8)
    for a in range(8):
        for b in range(8):
            pairs = sizes[a] * (sizes[b] - (a == b))
            p = min(1.0, values[a % 4] * values[b % 4] * model.blocks[a // 4, b // 4])
            count = edges[a, b] / (2 if a == b else 1)
            pairs = pairs / (2 if a == b else 1)
            assert abs(count - pairs * p) <= 4 * np.sqrt(pairs * p * (1 - p)), (a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_simple_graphs_of_the_expected_size(kind):
    model = planted(2000, 6, kind=kind, degree=30.0, seed=2)
    graph = model.sample(5)
    assert graph.shape == (2000, 2000) and graph.dtype == np.float64
    assert (graph.data == 1).all() and not graph.diagonal().any()
    assert (graph != graph.T).nnz == 0 and graph.has_canonical_format
    expected = model.expected_degrees(drawn=True).sum() / 2
    assert abs(graph.nnz / 2 - expected) < 4 * np.sqrt(expected)
    degrees = graph.sum(axis=1)
    assert np.corrcoef(degrees, model.expected_degrees(drawn=True))[0, 1] > 0.9


def test_same_seed_same_graph_and_another_seed_another():
    model = planted(500, 4, degree=12.0)
    first, again, other = model.sample(1), model.sample(1), model.sample(2)
    assert (first != again).nnz == 0 and (first != other).nnz > 0


def test_draw_is_pinned():
    """The same on every platform and numpy version; a change would silently redefine records."""
    graph = planted(500, 4, degree=12.0).sample(0)
    ends = np.stack(graph.nonzero()).astype("<i8")
    assert hashlib.sha256(ends.tobytes()).hexdigest()[:16] == "2c5d2118a372496c"


def test_certain_edges_make_the_complete_graph_whatever_the_affinity():
    # the work goes with edges, not with the product form, which is a million times as large
    model = BlockModel(np.linspace(1, 2, 300), np.arange(300) % 3, np.full((3, 3), 1e6))
    graph = model.sample(0)
    assert graph.nnz == 300 * 299 and model.clipped == 1.0
    assert model.expected_degrees(drawn=True).tolist() == [299.0] * 300


def test_a_graph_of_many_nodes_needs_no_dense_matrix():
    model = planted(200_000, 5, law="lognormal", degree=4.0)  # 320 GB, dense
    assert model.sample(0).nnz / 200_000 == pytest.approx(4.0, rel=0.01)
    assert model.decomposition().u.shape == (200_000, 5)


def test_a_factor_moved_from_propensities_to_blocks_changes_nothing():
    model, factor = random_model(3), np.array([0.5, 2.0, 3.0, 0.1])
    moved = BlockModel(
        model.theta * factor[model.labels],
        model.labels,
        model.blocks / np.outer(factor, factor),
    )
    np.testing.assert_allclose(moved.mean(), model.mean(), rtol=1e-12)
    np.testing.assert_allclose(moved.decomposition().s, model.decomposition().s, rtol=1e-12)
    assert moved.clipped == model.clipped


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("theta", [1.0, 0.0, 1.0], "finite and positive"),
        ("theta", [1.0, 1.0], r"that of labels, \(3,\)"),
        ("labels", [0, 1, 3], "expected 2 as in blocks"),
        ("labels", [0, 0, 0], "none of them empty"),
        ("labels", [0, 1, -1], "communities from 0"),
        ("labels", [0.0, 1.0, 1.0], "expected integers"),
        ("blocks", [[1.0, 0.5], [0.4, 1.0]], "symmetric"),
        ("blocks", [[1.0, -0.5], [-0.5, 1.0]], "none negative"),
        ("blocks", [[1.0, 0.5]], r"expected \(K, K\)"),
    ],
)
def test_malformed_models_are_refused(argument, value, expected):
    arguments = {"theta": [1.0, 2.0, 1.0], "labels": [0, 1, 1], "blocks": np.eye(2)}
    with pytest.raises(ValueError, match=rf"(?s){argument}: .*{expected}"):
        BlockModel(**{k: np.array(v) for k, v in {**arguments, argument: value}.items()})


def test_block_matrices():
    assert block_matrix(3, "assortative", 0.9, 0.1).tolist() == [
        [0.9, 0.1, 0.1],
        [0.1, 0.9, 0.1],
        [0.1, 0.1, 0.9],
    ]
    np.testing.assert_array_equal(
        block_matrix(3, "disassortative", 0.9, 0.1) + block_matrix(3, "assortative", 0.9, 0.1), 1.0
    )
    pairs = block_matrix(4, "paired", 2.0, 0.0)
    assert np.argwhere(pairs == 2.0).tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]
    rank_one = block_matrix(5, "rank one", 4.0, 1.0)
    assert np.linalg.matrix_rank(rank_one) == 1
    np.testing.assert_allclose(rank_one[0], [1.0, 1.25, 1.5, 1.75, 2.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "circular"}, "kind: 'circular', expected one of assortative"),
        ({"K": 5, "kind": "paired"}, "K: 5, expected an even number"),
        ({"K": 0}, "K: 0, expected at least 1"),
        ({"between": -1.0}, "between: -1.0, expected a finite number"),
    ],
)
def test_bad_block_matrices_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        block_matrix(**{"K": 4, **arguments})


@pytest.mark.parametrize("law", LAWS)
def test_propensities_have_mean_one_in_each_community(law):
    labels = np.random.default_rng(0).integers(3, size=6000)
    theta = theta_law(6000, law, labels, seed=4)
    assert theta.shape == (6000,) and (theta > 0).all()
    for k in range(3):
        assert theta[labels == k].mean() == pytest.approx(1.0, abs=1e-12)
    np.testing.assert_array_equal(theta, theta_law(6000, law, labels, seed=4))
    assert law == "constant" or (theta != theta_law(6000, law, labels, seed=5)).all()


def test_propensities_follow_their_law():
    one = np.zeros(40_000, dtype=int)
    uniform = theta_law(40_000, "uniform", one, 0, low=0.5, high=1.5)
    assert np.quantile(uniform, [0, 0.25, 1]) == pytest.approx([0.5, 0.75, 1.5], abs=0.02)
    logarithm = np.log(theta_law(40_000, "lognormal", one, 0, sigma=0.8))
    assert logarithm.std() == pytest.approx(0.8, abs=0.01)
    assert ((logarithm - logarithm.mean()) ** 3).mean() == pytest.approx(0, abs=0.03)
    pareto = theta_law(40_000, "pareto", one, 0, alpha=2.5)
    tail = np.log(pareto / pareto.min())  # exponential of rate alpha
    assert 1 / tail.mean() == pytest.approx(2.5, rel=0.02)
    assert (theta_law(40_000, "constant", one, 0) == 1).all()


def test_laws_have_the_parameters_that_are_documented_unless_given():
    labels = np.arange(500) % 3
    for law, parameters in (
        ("pareto", {"alpha": 2.5}),
        ("uniform", {"low": 0.2, "high": 1.8}),
        ("lognormal", {"sigma": 0.8}),
    ):
        plain = theta_law(500, law, labels, 1)
        np.testing.assert_array_equal(plain, theta_law(500, law, labels, 1, **parameters))
        for name, value in parameters.items():
            other = {**parameters, name: 1.1 * value}
            assert (plain != theta_law(500, law, labels, 1, **other)).any(), name


@pytest.mark.parametrize(
    ("law", "parameters", "message"),
    [
        ("cauchy", {}, "law: 'cauchy', expected one of constant, pareto"),
        ("pareto", {"sigma": 1.0}, "sigma: not a parameter of 'pareto', expected alpha"),
        ("constant", {"alpha": 2.0}, "alpha: not a parameter of 'constant', expected none"),
        ("pareto", {"alpha": 1.0}, "alpha: 1.0, expected more than 1"),
        ("uniform", {"low": 2.0}, r"low: 2.0, expected 0 < low <= high = 1.8"),
        ("lognormal", {"sigma": 0.0}, "sigma: 0.0, expected a positive number"),
    ],
)
def test_bad_laws_are_refused(law, parameters, message):
    with pytest.raises(ValueError, match=message):
        theta_law(3, law, np.array([0, 0, 1]), 0, **parameters)
    with pytest.raises(ValueError, match=r"labels: shape \(3,\), expected \(4,\)"):
        theta_law(4, "constant", np.array([0, 0, 1]), 0)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("kind", KINDS)
def test_planted_models_have_the_degree_asked_for(law, kind):
    model = planted(600, 4, law=law, kind=kind, between=0.2, degree=25.0, seed=3)
    assert model.expected_degrees().mean() == pytest.approx(25.0, rel=1e-12)
    blocks = model.blocks / model.blocks.max()
    expected = block_matrix(4, kind, 1.0, 0.2)
    np.testing.assert_allclose(blocks, expected / expected.max())
    # labels and propensities go with the seed alone, so that kinds and degrees can be compared
    plain = planted(600, 4, law=law, degree=5.0, seed=3)
    assert (model.labels == plain.labels).all() and (model.theta == plain.theta).all()


def test_planted_labels_and_propensities_are_drawn_from_the_seed():
    models = [
        planted(900, 4, law="lognormal", degree=25.0, seed=seed, sigma=0.3) for seed in (3, 4)
    ]
    # labels of two seeds agree by chance alone, in a quarter of all nodes
    assert (models[0].labels == models[1].labels).mean() == pytest.approx(0.25, abs=0.06)
    for model, seed in zip(models, (3, 4), strict=True):
        expected = theta_law(900, "lognormal", model.labels, seed, sigma=0.3)
        np.testing.assert_array_equal(model.theta, expected)
        assert np.log(model.theta).std() == pytest.approx(0.3, abs=0.03)


def test_planted_models_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="none of them empty"):
        planted(10, 10, degree=2.0)
    with pytest.raises(ValueError, match="degree: 50, expected more than 0 and less than n = 50"):
        planted(50, 2, degree=50)
    with pytest.raises(ValueError, match="expected an affinity above 0"):
        planted(50, 2, within=0.0, between=0.0, degree=5.0)
