"""Where a score matrix keeps popularity: the leading right singular vector, and bounds on it.

For scores or interactions Y ``(n, m)``, users by items, with Y = Σ σ_k p_k q_kᵀ, popularity is
r = Yᵀ1, the column sums. How close q₁ comes to r is bounded from below in three ways:

    counting_bound(sigma, r)              # any 0/1 matrix; says nothing on most real data
    power_law_bound(sigma, r_max, alpha)  # the same for r_i = r_max · i^−α [lin2024resn, thm 1]
    power_step_bound(ratio, cosine)       # any matrix, from σ₂/σ₁ and the angle of p₁ to 1

and `constant_bound` says what a matrix that is nearly constant shows before it has learned.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import zeta

from specrec_core.arguments import between, whole
from specrec_core.factorisation import Decomposition, Matrix, truncated_svd

Floats = NDArray[np.float64]


def cosine(a: ArrayLike, b: ArrayLike) -> float:
    """a·b / (‖a‖ ‖b‖) of two vectors; ValueError where one of them is zero."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"a, b: shapes {x.shape}, {y.shape}, expected two vectors of one length")
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    if size == 0:
        raise ValueError("a, b: one of them is zero, which has no direction")
    return float(x @ y) / size


def leading(matrix: Matrix, f: int = 2, *, seed: int = 0) -> Decomposition:
    """The f largest singular values with vectors, to machine precision; the sum of p₁ is ≥ 0.

    Of a matrix without negative entries p₁ and q₁ can be chosen without them, and are, up to
    rounding, where σ₁ > σ₂. Dense matrices are decomposed whole, sparse ones by Lanczos iteration.
    """
    if not sp.issparse(matrix):
        u, s, vt = np.linalg.svd(np.asarray(matrix, dtype=float), full_matrices=False)
        if not 1 <= f <= len(s):
            raise ValueError(f"f: {f}, expected 1 to {len(s)}")
        u, s, v = u[:, :f], s[:f], vt[:f].T
    else:
        found = truncated_svd(matrix, f, method="arpack", seed=seed)
        u, s, v = found.u, found.s, found.v
    sign = np.where(u.sum(axis=0) < 0, -1.0, 1.0)
    return Decomposition(u * sign, s, v * sign)


def counting_bound(sigma: float, popularity: ArrayLike) -> tuple[float, float]:
    """What stands under the root, and the bound σ₁²/‖r‖ · √(1 − (‖r‖₁ − r_max)/σ₁²) of cos(q₁, r).

    For a 0/1 matrix with column sums ``popularity`` and largest singular value ``sigma``. The
    bound is NaN, for it says nothing, where what stands under the root is negative.
    Source: lyubinin2025popularity, theorem 1A.
    """
    r = np.asarray(popularity, dtype=float)
    between("sigma", sigma, 0.0, np.inf, ends=False)
    if r.ndim != 1 or (r < 0).any() or not r.any():
        raise ValueError(f"popularity: shape {r.shape}, expected counts (m,), not all zero")
    inside = 1.0 - (r.sum() - r.max()) / sigma**2
    bound = sigma**2 / np.linalg.norm(r) * np.sqrt(inside) if inside >= 0 else np.nan
    return float(inside), float(bound)


def power_law_bound(sigma: float, largest: float, alpha: float) -> float:
    """σ₁²/(r_max √ζ(2α)) · √(1 − r_max (ζ(α) − 1)/σ₁²), NaN where the root is of a negative number.

    Of cos(q₁, r) where r_i = r_max · i^−α for the rank i, α > 1. Source: lin2024resn, theorem 1.
    """
    _check_alpha(alpha)
    between("sigma", sigma, 0.0, np.inf, ends=False)
    between("largest", largest, 0.0, np.inf, ends=False)
    inside = 1.0 - largest * (zeta(alpha) - 1.0) / sigma**2
    if inside < 0:
        return float("nan")
    return float(sigma**2 / (largest * np.sqrt(zeta(2 * alpha))) * np.sqrt(inside))


def power_law_limit(alpha: float) -> float:
    """√((2 − ζ(α))/ζ(2α)): the bound that needs no σ₁; NaN where ζ(α) > 2, for α below 1.7287."""
    _check_alpha(alpha)
    inside = 2.0 - zeta(alpha)
    return float(np.sqrt(inside / zeta(2 * alpha))) if inside >= 0 else float("nan")


def power_step_bound(ratio: float, users: float) -> float:
    """1/√(1 + ratio² (1/users² − 1)) of cos(q₁, r): one step of the power method from 1.

    ``ratio`` is σ₂/σ₁ and ``users`` the cosine of p₁ and the vector of ones; the bound is 0 where
    that is 0. Holds for every matrix with Yᵀ1 ≠ 0, with equality at rank two.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio: {ratio}, expected σ₂/σ₁, from 0 to 1")
    if not 0 <= users <= 1:
        raise ValueError(f"users: {users}, expected a cosine from 0 to 1")
    if users == 0:
        return 0.0
    return float(1.0 / np.sqrt(1.0 + ratio**2 * (1.0 / users**2 - 1.0)))


def constant_bound(delta: float) -> tuple[float, float]:
    """Least cos(q₁, 1) and least σ₁²/‖Ŷ‖² of logistic scores whose arguments lie in [−δ, δ].

    1/cosh(δ/2), and its square: what a sigmoid model shows that has hardly learned anything.
    """
    between("delta", delta, 0.0, np.inf)
    least = float(1.0 / np.cosh(delta / 2))
    return least, least**2


def power_law_matrix(users: int, largest: int, alpha: float, *, seed: int) -> sp.csr_array:
    """0/1 interactions: item i has ⌊largest · i^−α⌋ users, drawn uniformly without replacement.

    Items go on for as long as they have a user. Float64 ``(users, m)``, item 0 the most popular.
    """
    whole("largest", largest, 1)
    whole("users", users, largest)
    between("alpha", alpha, 0.0, np.inf, ends=False)
    most = int(largest ** (1 / alpha)) + 2
    counts = np.floor(largest * np.arange(1, most + 1, dtype=float) ** -alpha).astype(int)
    counts = counts[counts > 0]
    draw = np.random.default_rng(seed)
    rows = np.concatenate([draw.choice(users, c, replace=False) for c in counts])
    columns = np.repeat(np.arange(len(counts)), counts)
    ones = np.ones(len(rows))
    return sp.coo_array((ones, (rows, columns)), shape=(users, len(counts))).tocsr()


def _check_alpha(alpha: float) -> None:
    if not alpha > 1:
        raise ValueError(f"alpha: {alpha}, expected above 1, where ζ(α) is finite")
