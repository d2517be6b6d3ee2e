"""What theory says of the embedding of a block model: one ray per community.

The embedding E = US of the matrix of expectations of a degree-corrected block model
[karrer2011stochastic] has the rows ``e_i = θ_i g[z_i]``: all members of a community k lie on the
ray along ``g_k``. The functions below give the lengths of the ``g_k``, the angles between them, and
how far noise turns a row away from its ray; chapter 10 of the book proves what they compute. With G
the K × K `BlockModel.core`, ``ψ_k`` the norm of θ in community k and ``p_k`` the row of a member of
k divided by its θ, everything is O(K³) whatever the number of nodes.

>>> model = planted(300, 3, law="constant", between=0.0, degree=20.0)
>>> cosines(model).round(6).tolist()
[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
>>> round(merging_ratio(10), 3)
0.461
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from specrec_core.blockmodel import BlockModel, planted  # noqa: F401  # for the examples above
from specrec_core.factorisation import Decomposition

REACHED = 1e-8  # of a unit eigenvector: less is rounding


def profile_norms(model: BlockModel) -> np.ndarray:
    """‖p_k‖ = √(Σ_l B_kl² ψ_l²), ``(K,)``: the norm of a row of E, divided by its θ."""
    return np.sqrt(model.blocks**2 @ model.psi**2)


def norm_per_degree(model: BlockModel) -> np.ndarray:
    """κ_k = ‖p_k‖ / Σ_l B_kl T_l, ``(K,)``: norms are κ times expected degrees in community k."""
    return profile_norms(model) / (model.blocks @ model.mass)


def cosines(model: BlockModel, exponent: float = 1.0, f: int | None = None) -> np.ndarray:
    """Cosines between the rays of U S^exponent, ``(K, K)``, from \\|G\\|^(2 · exponent).

    ``f`` keeps the largest singular values; by default all that are not zero. NaN in the rows of a
    community that the f directions do not reach.
    """
    values, h = _eigen(model, f)
    reached = np.linalg.norm(h, axis=1) > REACHED
    scaled = np.where(reached[:, None], h * np.abs(values) ** exponent, np.nan)
    unit = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return unit @ unit.T


def merging_ratio(K: int, cos: float = 0.9, exponent: float = 1.0) -> float:
    """The b/a above which two rays of a balanced planted partition are closer than ``cos``.

    K communities, affinity a inside and b < a between any two, the same ψ for all. Every pair of
    rays then has the cosine q / (1 + q), q = ((1 + K b / (a − b)) ** (2 exponent) − 1) / K.
    """
    if K < 2:
        raise ValueError(f"K: {K}, expected at least 2 communities")
    if not 0.0 < cos < 1.0:
        raise ValueError(f"cos: {cos}, expected between 0 and 1")
    if not exponent > 0.0:
        raise ValueError(f"exponent: {exponent}, expected above 0; in U the rays never merge")
    x = ((1.0 + K * cos / (1.0 - cos)) ** (0.5 / exponent) - 1.0) / K
    return x / (1.0 + x)


def angle_scale(model: BlockModel) -> np.ndarray:
    """A_k, ``(K,)``: to first order, noise moves e_i off its ray by √(A_k / θ_i) of its length.

    A root mean square, for small angles that of the tangent. For entries of the graph that are
    independent with variance equal to their mean (Poisson); 0/1 entries have less. Noise in the
    singular vectors is left out: this is the first order.
    """
    values, h = _eigen(model)
    ray = h * np.abs(values)
    length = np.einsum("kr,kr->k", ray, ray)
    turned = h * np.sign(values)  # rows of V are those of U times J
    along = turned @ ray.T / np.sqrt(length)  # (l, k): the part of h_l J along the ray of k
    across = np.einsum("lr,lr->l", turned, turned)[:, None] - along**2
    cubes = np.bincount(model.labels, model.theta**3, model.K) / model.psi**2
    noise = np.einsum("kl,l,lk->k", model.blocks, cubes, across)
    return noise / profile_norms(model) ** 2


def directions(model: BlockModel, found: Decomposition) -> np.ndarray:
    """q_k = V̂ᵀ p_k, ``(K, f)``: the ray of community k in the embedding of a noisy graph.

    If A = M + N and Ê = ÛŜ, then exactly ê_i = θ_i q[z_i] + V̂ᵀ N_i.
    """
    member = sp.csr_array(
        (model.theta, (model.labels, np.arange(model.n))), shape=(model.K, model.n)
    )
    return model.blocks @ (member @ found.v)


def across(table: np.ndarray, rays: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Distance of each row of ``table (n, f)`` from the line of its ray ``(K, f)``: ``(n,)``."""
    along, unit = _along(table, rays, labels)
    return np.linalg.norm(table - along[:, None] * unit, axis=1)


def tangents(table: np.ndarray, rays: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Tangent of the angle between each row of ``table (n, f)`` and its ray ``(K, f)``: ``(n,)``.

    Infinite from a right angle on.
    """
    along = _along(table, rays, labels)[0]
    away = across(table, rays, labels)
    return np.divide(away, along, out=np.full(len(table), np.inf), where=along > 0)


def _along(
    table: np.ndarray, rays: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    unit = (rays / np.linalg.norm(rays, axis=1, keepdims=True))[labels]
    return np.einsum("if,if->i", table, unit), unit


def _eigen(model: BlockModel, f: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of G other than zero, by absolute value, and its eigenvectors (K, f)."""
    values, h = np.linalg.eigh(model.core)
    order = np.argsort(-np.abs(values), kind="stable")
    values, h = values[order], h[:, order]
    size = np.abs(values)
    rank = int((size > 16 * model.K * np.finfo(float).eps * size[0]).sum())
    f = rank if f is None else f
    if not 1 <= f <= rank:
        raise ValueError(f"f: {f}, expected 1 to the rank of the blocks, {rank}")
    return values[:f], h[:, :f]

