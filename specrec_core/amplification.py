"""How a strong leading direction turns into popular recommendations: a bound and its terms.

Scores Ŷ = Σ σ_k p_k q_kᵀ ``(n, m)``. Where σ₁p₁q₁ᵀ outweighs all other directions of a user, the
items that lead q₁ lead the user's list, whatever the user likes. `sure_users` says for whom that
is certain; `cut` and `stretch` change the spectrum of scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specrec_core.factorisation import Decomposition

Floats = NDArray[np.float64]


def gap(q: ArrayLike, items: ArrayLike) -> float:
    """min over ``items`` minus max over all others of the entries of q ``(m,)``; may be negative.

    ``items`` are distinct positions, at least one and not all.
    """
    values, chosen = np.asarray(q, dtype=float), np.unique(np.asarray(items, dtype=np.int64))
    if values.ndim != 1 or not 0 < len(chosen) < len(values):
        raise ValueError(
            f"items: {len(chosen)} different ones of {values.shape}, expected at least one and "
            "fewer than there are"
        )
    others = np.ones(len(values), dtype=bool)
    others[chosen] = False
    return float(values[chosen].min() - values[others].max())


def power_law_gap(alpha: float) -> float:
    """(1 − 2^−α)/√ζ(2α): least gap of the most popular item where q₁ ∝ i^−α, for α > ½."""
    from scipy.special import zeta

    if not alpha > 0.5:
        raise ValueError(f"alpha: {alpha}, expected above 1/2, where the norm is finite")
    return float((1.0 - 2.0**-alpha) / np.sqrt(zeta(2 * alpha)))


def sure_users(scores: Decomposition, items: ArrayLike) -> NDArray[np.bool_]:
    """Users whose best scores are certainly those of ``items``, in some order: bool ``(n,)``.

    True where σ₁ p₁ᵤ g > √2 · √(Σ_{k≥2} σ_k² p_kᵤ²) with the `gap` g of q₁ at ``items``, which has
    to be positive. The share of such users is the lower bound of the share η of users to whom an
    item is recommended first, where ``items`` is that item alone.
    """
    first = scores.s[0] * scores.u[:, 0] * gap(scores.v[:, 0], items)
    rest = np.linalg.norm(scores.u[:, 1:] * scores.s[1:], axis=1)
    return (first > np.sqrt(2.0) * rest) & (first > 0)


def cut(scores: Decomposition, d: int) -> Decomposition:
    """The d leading directions alone: the best approximation of rank d."""
    if not 1 <= d <= len(scores.s):
        raise ValueError(f"d: {d}, expected 1 to {len(scores.s)}")
    return Decomposition(scores.u[:, :d], scores.s[:d], scores.v[:, :d])


def stretch(scores: Decomposition, factor: float) -> Decomposition:
    """The same directions with σ₁ multiplied by ``factor``, at least 1."""
    if not (np.isfinite(factor) and factor >= 1):
        raise ValueError(f"factor: {factor}, expected a number from 1")
    s = scores.s.copy()
    s[0] *= factor
    return Decomposition(scores.u, s, scores.v)


def first_choices(scores: Decomposition, users: ArrayLike | None = None) -> NDArray[np.int64]:
    """The item with the best score of each user (all of them, if None), ties to the lower item."""
    chosen = np.arange(len(scores.u)) if users is None else np.asarray(users, dtype=np.int64)
    left = scores.u * scores.s
    parts = [
        (left[chosen[i : i + 512]] @ scores.v.T).argmax(axis=1) for i in range(0, len(chosen), 512)
    ]
    return np.concatenate(parts).astype(np.int64)
