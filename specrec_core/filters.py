"""Training steps as filters on the user–item graph: what each frequency is multiplied by.

The graph's frequencies are the eigenvalues λ of the normalised adjacency Â, from 1 (smooth: nodes
agree with their neighbours) to −1 (rough: they oppose them). A step that is a polynomial of Â
multiplies each eigenvector's share of a table by a number that depends on λ alone, its *frequency
response*. Pulling positives together is such a step [peng2024balancing]; graph convolution is
another [he2020lightgcn]; sampled negatives change the operator itself (`expected_operator`).

>>> alignment_response([1.0, 0.0, -1.0], rate=0.5, steps=2).tolist()
[1.0, 0.25, 0.0]
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, svds
from torch import Tensor

from specrec_core.arguments import NEGATIVES, between, one_of, whole
from specrec_core.graph import NormalisedAdjacency

Numbers = Any  # whatever torch.as_tensor takes
Sparse = Any  # whatever scipy.sparse.csr_array takes: a sparse matrix or array


def alignment_response(eigenvalues: Numbers, rate: float, steps: int = 1) -> Tensor:
    """(1 − η(1 − λ))^L: L gradient steps of rate η on the normalised alignment loss.

    The loss is ½ Σ ‖e_u/√d_u − e_i/√d_i‖² over the edges, whose gradient is (I − Â)E.

    Shapes: ``eigenvalues (*)`` → ``(*)``, float64.
    """
    between("rate", rate, 0.0, np.inf, ends=False)
    whole("steps", steps, 0)
    return (1 - rate * (1 - _frequencies(eigenvalues))) ** steps


def convolution_response(eigenvalues: Numbers, layers: int) -> Tensor:
    """(1 + λ + … + λ^L) / (L + 1): LightGCN's mean over L propagations [he2020lightgcn].

    Shapes: ``eigenvalues (*)`` → ``(*)``, float64.
    """
    whole("layers", layers, 1)
    frequency = _frequencies(eigenvalues)
    response = torch.ones_like(frequency)
    for _ in range(layers):
        response = 1 + frequency * response
    return response / (layers + 1)


def align(adjacency: NormalisedAdjacency, table: Tensor, rate: float, steps: int = 1) -> Tensor:
    """The table after L steps of normalised alignment: E ← (1 − η)E + ηÂE, L times.

    ``table (n, d)`` has the rows of the graph, users first. A row without edges, of which the loss
    says nothing, stays as it is.
    """
    between("rate", rate, 0.0, np.inf, ends=False)
    whole("steps", steps, 0)
    rates = rate * (adjacency.offsets.diff() > 0).to(table.dtype).unsqueeze(-1)
    for _ in range(steps):
        table = table + rates * (adjacency @ table - table)
    return table


def normalised(interactions: Sparse) -> sp.csr_array:
    """R̂ = D_U^(−1/2) R D_I^(−1/2) of interactions ``(n_users, n_items)``; empty rows stay zero.

    The non-zero eigenvalues of Â are ± the singular values of R̂, so that the largest is 1.
    """
    matrix: Any = sp.csr_array(interactions, dtype=np.float64)
    users, items = (_inverse_root(matrix.sum(axis)) for axis in (1, 0))
    return sp.csr_array(sp.diags_array(users) @ matrix @ sp.diags_array(items))


def components(interactions: Sparse) -> tuple[np.ndarray, np.ndarray]:
    """Connected component of each user ``(n_users,)`` and item ``(n_items,)``, largest first.

    A user or item without interactions is a component by itself.
    """
    matrix: Any = sp.csr_array(interactions)
    n_users = matrix.shape[0]
    _, found = connected_components(sp.block_array([[None, matrix], [matrix.T, None]]))
    order = np.argsort(-np.bincount(found), kind="stable")
    labels = np.argsort(order)[found]
    return labels[:n_users], labels[n_users:]


def expected_operator(
    interactions: Sparse,
    negatives: float,
    distribution: str = "uniform",
    *,
    normalise: bool = False,
) -> LinearOperator:
    """R − cN: what positives and c sampled negatives for each do on average, at small scores.

    N has the rows of what uniform sampling expects, N_ui = d_u / m, or popularity sampling,
    N_ui = d_u d_i / Σ R. With ``normalise``, both are divided by √(d_u d_i). Negatives are taken
    as drawn from all items: that a sampler skips the user's own positives is left out, as in
    the theory. Never dense; ``(n_users, n_items)``.
    """
    between("negatives", negatives, 0.0, np.inf)
    one_of("distribution", distribution, NEGATIVES)
    matrix: Any = sp.csr_array(interactions, dtype=np.float64)
    if not matrix.nnz:
        raise ValueError("interactions are empty: expected at least one")
    users, items = matrix.sum(1), matrix.sum(0)
    uniform = np.full(matrix.shape[1], 1 / matrix.shape[1])
    left, right = users, uniform if distribution == "uniform" else items / matrix.sum()
    if normalise:
        left, right = left * _inverse_root(users), right * _inverse_root(items)
        matrix = normalised(matrix)

    def forward(x: np.ndarray) -> np.ndarray:
        return matrix @ x - negatives * np.multiply.outer(left, right @ x)

    def backward(x: np.ndarray) -> np.ndarray:
        return matrix.T @ x - negatives * np.multiply.outer(right, left @ x)

    return LinearOperator(
        matrix.shape,
        matvec=lambda x: forward(x.ravel()),
        rmatvec=lambda x: backward(x.ravel()),
        matmat=forward,
        rmatmat=backward,
        dtype=np.float64,
    )


def leading(operator: Sparse | LinearOperator, k: int, seed: int = 0) -> np.ndarray:
    """The k largest singular values ``(k,)`` of a sparse matrix or operator, descending."""
    rows, columns = operator.shape
    whole("k", k, 1)
    if k >= min(rows, columns):
        raise ValueError(f"k is {k}: expected less than the smaller side, {min(rows, columns)}")
    start = np.random.default_rng(seed).standard_normal(min(rows, columns))
    return np.sort(svds(operator, k, v0=start, return_singular_vectors=False))[::-1]


def water_filling(values: np.ndarray, level: float) -> tuple[np.ndarray, float]:
    """(λ_k − μ)₊ / level with the μ that makes them sum to one; and that μ.

    The shares of the energy at which alignment and decorrelation, weighted by ``level``, are in
    balance. Shapes: ``values (k,)``, descending → ``(k,)``.

    >>> water_filling(np.array([1.0, 0.5, 0.0]), 1.0)[0].tolist()
    [0.75, 0.25, 0.0]
    """
    between("level", level, 0.0, np.inf, ends=False)
    if values.ndim != 1 or not len(values) or (np.diff(values) > 0).any():
        raise ValueError(f"values has shape {values.shape}: expected one descending axis")
    used = np.arange(1, len(values) + 1)
    levels = (np.cumsum(values) - level) / used
    mu = float(levels[np.flatnonzero(values > levels)[-1]])
    return np.maximum(values - mu, 0) / level, mu


def _inverse_root(degrees: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.where(degrees > 0, 1 / np.sqrt(degrees), 0.0)


def _frequencies(eigenvalues: Numbers) -> Tensor:
    values = torch.as_tensor(eigenvalues, dtype=torch.float64)
    if values.numel() and not bool((values.abs() <= 1 + 1e-9).all()):
        raise ValueError(
            "eigenvalues are not all in [−1, 1]: expected those of the normalised adjacency"
        )
    return values
