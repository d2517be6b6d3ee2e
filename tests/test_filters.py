"""Filters on the graph: responses against dense powers, operators against dense matrices."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from specrec_core import filters
from specrec_core.graph import NormalisedAdjacency
from specrec_core.interactions import CSR


def interactions(n_users=13, n_items=9, density=0.3, seed=0, empty=False):
    rng = np.random.default_rng(seed)
    dense = (rng.random((n_users, n_items)) < density).astype(float)
    dense[:, 0] = dense[0] = 1
    if empty:
        dense[3], dense[:, 4] = 0, 0
    return dense


def adjacency(dense):
    n_users, n_items = dense.shape
    a = np.block([[np.zeros((n_users, n_users)), dense], [dense.T, np.zeros((n_items, n_items))]])
    d = a.sum(1)
    scale = np.divide(1, np.sqrt(d), out=np.zeros_like(d), where=d > 0)
    return scale[:, None] * a * scale


@pytest.mark.parametrize(("rate", "steps"), [(0.3, 1), (0.7, 5), (1.5, 3), (0.2, 0)])
def test_alignment_multiplies_each_eigenvector_by_its_response(rate, steps):
    dense = interactions()
    values, vectors = np.linalg.eigh(adjacency(dense))
    table = np.random.default_rng(1).standard_normal((len(values), 4))
    graph = NormalisedAdjacency.of(CSR.from_scipy(sp.csr_matrix(dense)), torch.float64)
    got = filters.align(graph, torch.from_numpy(table), rate, steps).numpy()
    response = filters.alignment_response(values.clip(-1, 1), rate, steps).numpy()
    expected = vectors @ (response[:, None] * (vectors.T @ table))
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_alignment_is_gradient_descent_and_leaves_lonely_rows_alone():
    dense = interactions(empty=True)
    graph = NormalisedAdjacency.of(CSR.from_scipy(sp.csr_matrix(dense)), torch.float64)
    table = torch.randn(22, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    table.requires_grad_()
    users, items = (torch.from_numpy(dense.sum(axis)) for axis in (1, 0))
    loss = sum(
        0.5 * (table[u] / users[u].sqrt() - table[13 + i] / items[i].sqrt()).square().sum()
        for u, i in zip(*np.nonzero(dense), strict=True)
    )
    (gradient,) = torch.autograd.grad(loss, table)
    moved = filters.align(graph, table.detach(), 0.3)
    torch.testing.assert_close(moved, table.detach() - 0.3 * gradient)
    assert torch.equal(moved[[3, 13 + 4]], table.detach()[[3, 13 + 4]])


def test_convolution_multiplies_each_eigenvector_by_its_response():
    values, vectors = np.linalg.eigh(adjacency(interactions()))
    table = np.random.default_rng(1).standard_normal((len(values), 4))
    graph = NormalisedAdjacency.of(CSR.from_scipy(sp.csr_matrix(interactions())), torch.float64)
    users, items = torch.from_numpy(table).split([13, 9])
    got = torch.cat(graph.sides(13).mean_of_powers(users, items, 3)).numpy()
    response = filters.convolution_response(values.clip(-1, 1), 3).numpy()
    np.testing.assert_allclose(got, vectors @ (response[:, None] * (vectors.T @ table)), atol=1e-12)


def test_eigenvalues_are_plus_and_minus_the_normalised_singular_values():
    dense = interactions(empty=True)
    s = np.linalg.svd(filters.normalised(sp.csr_array(dense)).toarray(), compute_uv=False)
    values = np.sort(np.linalg.eigvalsh(adjacency(dense)))[::-1]
    np.testing.assert_allclose(values[: len(s)], s, atol=1e-12)
    np.testing.assert_allclose(values[::-1][: len(s)], -s, atol=1e-12)
    assert s[0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
@pytest.mark.parametrize("negatives", [0, 1, 2.5])
def test_expected_operator_is_the_dense_one(negatives, distribution, normalise):
    dense = interactions(empty=True)
    users, items = dense.sum(1), dense.sum(0)
    expected = np.tile(users[:, None] / dense.shape[1], dense.shape[1])
    if distribution == "popularity":
        expected = np.outer(users, items) / dense.sum()
    full = dense - negatives * expected
    if normalise:
        with np.errstate(divide="ignore"):
            full = full * np.where(users > 0, 1 / np.sqrt(users), 0)[:, None]
            full = full * np.where(items > 0, 1 / np.sqrt(items), 0)
    operator = filters.expected_operator(
        sp.csr_array(dense), negatives, distribution, normalise=normalise
    )
    np.testing.assert_allclose(operator @ np.eye(dense.shape[1]), full, atol=1e-12)
    np.testing.assert_allclose(operator.H @ np.eye(dense.shape[0]), full.T, atol=1e-12)
    np.testing.assert_allclose(operator.matvec(np.ones((9, 1))).ravel(), full.sum(1), atol=1e-12)
    s = np.linalg.svd(full, compute_uv=False)[:4]
    np.testing.assert_allclose(filters.leading(operator, 4), s, atol=1e-10)


def test_components_are_found_largest_first():
    dense = np.zeros((6, 5))
    dense[0, 0] = dense[1, 0] = dense[1, 1] = dense[2, 1] = 1  # users 0 to 2 and items 0, 1
    dense[3, 2] = 1  # user 3 and item 2
    users, items = filters.components(sp.csr_array(dense))
    assert users[:4].tolist() == [0, 0, 0, 1] and items[:3].tolist() == [0, 0, 1]
    assert len({*users.tolist(), *items.tolist()}) == 2 + 2 + 2  # and four lonely nodes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: filters.alignment_response([1.5], 0.1), "eigenvalues"),
        (lambda: filters.alignment_response([1.0], 0.0), "rate"),
        (lambda: filters.alignment_response([1.0], 0.1, -1), "steps"),
        (lambda: filters.convolution_response([1.0], 0), "layers"),
        (lambda: filters.expected_operator(sp.eye_array(3), -1), "negatives"),
        (lambda: filters.expected_operator(sp.eye_array(3), 1, "x"), "distribution"),
        (lambda: filters.leading(sp.eye_array(3).tocsr(), 3), "k is 3"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("level", [1e-3, 0.3, 1.0, 40.0])
def test_water_is_level_and_all_of_it_is_there(level):
    values = np.sort(np.random.default_rng(0).random(9))[::-1]
    shares, mu = filters.water_filling(values, level)
    assert shares.sum() == pytest.approx(1)
    assert shares == pytest.approx(np.maximum(values - mu, 0) / level)
    with pytest.raises(ValueError, match="descending"):
        filters.water_filling(values[::-1], level)
