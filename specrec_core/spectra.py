"""Singular values of embedding tables, and the numbers that sum them up.

An embedding table with n rows (users or items) and d columns (dimensions) is a matrix; its singular
values σ₁ ≥ … ≥ σ_k ≥ 0, with k = min(n, d), say how strongly each direction of the space is used.

    s = singular_values(table)        # (*, n, d) -> (*, k), float64
    effective_rank(s)                 # (*, k)    -> (*,)
    report("items.npy")               # the same for your own table: words, numbers, a picture

Conventions. Leading dimensions are batches (replicas), never reduced. Work is done in float64 on
the device of the input, whatever its dtype. Nothing is centred and no small constant is added.
Input that is empty, complex, NaN or infinite, and spectra that are negative or not sorted in
descending order, raise `ValueError`. A spectrum that is zero everywhere is allowed: such a table
uses no direction, so its ranks and shares are 0.0 and its condition number is infinite.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.linalg import svds
from torch import Tensor

from specrec_core.arguments import one_of
from specrec_core.tables import CHUNK_ROWS, Array, as_table, check_finite, factors, real

if TYPE_CHECKING:
    from specrec_core.report import Report

Sparse = scipy.sparse.csr_matrix | scipy.sparse.csr_array  # or any other scipy.sparse format


# ------------------------------------------------------------------------------ singular values


def _gram(table: Tensor) -> tuple[Tensor, Tensor]:
    """`tableᵀ table / scale²` `(*, d, d)` in float64 by chunks of rows, and `scale`."""
    wide = table.dtype == torch.float64  # the squares of narrower numbers fit into float64
    peak = table.abs().amax((-2, -1), keepdim=True) if wide else table.new_zeros(1, 1)
    scale = torch.where(peak > 0, peak, 1.0).double()
    gram = torch.zeros((), dtype=torch.float64, device=table.device)
    for rows in table.split(CHUNK_ROWS, dim=-2):
        rows = rows / scale if wide else rows.double()
        gram = gram + rows.mT @ rows
    return gram, scale


def singular_values(table: Array, method: str = "svd") -> Tensor:
    """All singular values of each table, largest first.

    table: `(*, n, d)`, any real dtype. Returns float64 `(*, min(n, d))`.

    method="svd" takes the SVD in float64: every σ_k is right to about eps·σ₁, eps = 2.2e-16. Use
    it for numbers that are printed. method="gram" takes the eigenvalues of the d × d Gram matrix
    (n × n where n < d), summed in float64 by chunks of rows: less work and hardly any memory, for
    tracking during training. Squaring costs digits: the relative error of σ_k is about
    eps·(σ₁/σ_k)², so values below 1.5e-8·σ₁ (the root of eps) are noise.

    Raises ValueError for bad tables (see `as_table`) and unknown methods.
    """
    one_of("method", method, ("svd", "gram"))
    table = as_table("table", table)
    if method == "svd":
        return torch.linalg.svdvals(table.double())
    gram, scale = _gram(table if table.shape[-2] >= table.shape[-1] else table.mT)
    return torch.linalg.eigvalsh(gram).flip(-1).clamp_min(0).sqrt() * scale[..., 0]


def _core_factor(table: Tensor, method: str) -> Tensor:
    """A small R `(*, r, d)` with RᵀR = tableᵀ table: all that a product's σ need of a factor."""
    if method == "qr":
        return torch.linalg.qr(table.double(), mode="r").R
    gram, scale = _gram(table)
    values, vectors = torch.linalg.eigh(gram)  # not Cholesky: a collapsed table is singular
    return values.clamp_min(0).sqrt()[..., None] * vectors.mT * scale


def product_singular_values(users: Array, items: Array, method: str = "qr") -> Tensor:
    """Singular values of the score matrix U Vᵀ of each pair of tables, without forming it.

    users: `(*, n, d)`; items: `(*, m, d)`. Returns float64 `(*, min(n, m, d))`; all further
    singular values of U Vᵀ are zero. With U = Q_U R_U and V = Q_V R_V they are those of the core
    R_U R_Vᵀ. method="qr" is right to about eps·σ₁(U)·σ₁(V). method="gram" finds R_U and R_V from
    Gram matrices: faster, with the loss of digits that `singular_values` tells of.

    Raises ValueError for bad tables, different d, and unknown methods.
    """
    one_of("method", method, ("qr", "gram"))
    users, items = factors(users, items)
    core = _core_factor(users, method) @ _core_factor(items, method).mT
    return torch.linalg.svdvals(core)[..., : min(*users.shape[-2:], items.shape[-2])]


def sparse_singular_values(matrix: Sparse, k: int, seed: int = 0) -> Tensor:
    """The k largest singular values of a sparse matrix, by Lanczos iteration (ARPACK).

    matrix: scipy sparse `(n, m)`. Returns float64 `(k,)` on the CPU; the start vector is drawn
    from `seed`, so that runs agree.

    Raises ValueError unless 1 <= k < min(n, m) and the entries are finite and real.
    """
    if not scipy.sparse.issparse(matrix):
        raise ValueError(f"matrix is a {type(matrix).__name__}; expected a scipy.sparse matrix")
    if matrix.dtype.kind not in "fiub":
        raise ValueError(f"matrix has dtype {matrix.dtype}; expected real numbers")
    smaller = min(matrix.shape)
    if not 1 <= k < smaller:
        raise ValueError(
            f"k is {k} for a matrix of shape {matrix.shape}; expected 1 <= k < {smaller} "
            "(for all of them: singular_values(matrix.toarray()))"
        )
    exact = scipy.sparse.csr_array(matrix.astype(np.float64))
    check_finite("matrix", torch.from_numpy(exact.data))
    if not exact.data.any():
        return torch.zeros(k, dtype=torch.float64)
    start = np.random.default_rng(seed).standard_normal(smaller)
    values = svds(exact, k=k, v0=start, return_singular_vectors=False)
    return torch.from_numpy(np.sort(values)[::-1].copy())


# --------------------------------------------------------------------------- one number of many


def effective_rank(s: Array) -> Tensor:
    """exp(−Σ p_k ln p_k) with p = σ / Σσ: how many directions an even spectrum would need.

    s: `(*, k)`, descending. Returns `(*,)`, between 1 and the rank; 0.0 for the zero spectrum.
    Source: roy2007effective (singular values, not their squares).
    """
    s = _relative(s)
    total = s.sum(-1)
    share = _divide(s, total[..., None])
    return torch.where(total > 0, torch.special.entr(share).sum(-1).exp(), 0.0)


def information_abundance(s: Array) -> Tensor:
    """Σσ / σ₁. s: `(*, k)`, descending; returns `(*,)`. Source: guo2024collapse, Definition 1."""
    return _relative(s).sum(-1)


def stable_rank(s: Array) -> Tensor:
    """Σσ² / σ₁². s: `(*, k)`, descending; returns `(*,)`. Source: rudelson2007sampling."""
    return _relative(s).square().sum(-1)


def participation_ratio(s: Array) -> Tensor:
    """(Σσ²)² / Σσ⁴. s: `(*, k)`, descending; returns `(*,)`: 1 / Σ of squared energy shares."""
    energy = _relative(s).square()
    return _divide(energy.sum(-1).square(), energy.square().sum(-1))


def condition_number(s: Array) -> Tensor:
    """σ₁ / σ_k. s: `(*, k)`, descending; returns `(*,)`, infinite where σ_k is zero."""
    return _relative(s)[..., -1].reciprocal()


def leading_share(s: Array, power: int = 1) -> Tensor:
    """σ₁ᵖ / Σσᵖ: the part that the leading direction has of the sum (p = 1) or energy (p = 2).

    s: `(*, k)`, descending; returns `(*,)`. Raises ValueError unless power is 1 or 2.
    """
    if power not in (1, 2):
        raise ValueError(f"power is {power!r}: expected 1 or 2")
    weight = _relative(s) ** power
    return _divide(weight[..., 0], weight.sum(-1))


def energy_curve(s: Array) -> Tensor:
    """Σ_{j≤k} σ_j² / Σσ² for k = 1, 2, …: what the best rank-k approximation keeps of ‖A‖_F².

    s: `(*, k)`, descending; returns `(*, k)`, increasing to exactly 1.
    """
    kept = _relative(s).square().cumsum(-1)
    return _divide(kept, kept[..., -1:])


def popularity_alignment(users: Array, items: Array, popularity: Array) -> Tensor:
    """Absolute cosine between item popularity and the leading right singular vector of U Vᵀ.

    users: `(*, n, d)`; items: `(*, m, d)`; popularity: `(m,)` or `(*, m)`, for instance training
    counts. Returns float64 `(*,)` in [0, 1]; 0.0 where U Vᵀ is zero. Where σ₁ = σ₂ the leading
    vector, and so the answer, is not determined. Source: lin2024resn.

    Raises ValueError for bad tables, and popularity that is negative, zero everywhere or not of
    the length of `items`.
    """
    users, items = factors(users, items)
    popularity = real("popularity", popularity).to(items.device, torch.float64)
    if popularity.ndim < 1 or popularity.shape[-1] != items.shape[-2]:
        raise ValueError(
            f"popularity has shape {tuple(popularity.shape)}; expected (*, {items.shape[-2]}), "
            "one number per item"
        )
    norm = torch.linalg.vector_norm(popularity, dim=-1)
    if bool((popularity < 0).any()) or bool((norm == 0).any()):
        raise ValueError("popularity has negative or only zero entries; expected counts")
    factor = _core_factor(users, "qr")
    left = torch.linalg.svd(factor @ _core_factor(items, "qr").mT, full_matrices=False).U[..., :1]
    leading = (items.double() @ (factor.mT @ left))[..., 0]  # = σ₁ q₁, in the items' space
    length = torch.linalg.vector_norm(leading, dim=-1)
    return _divide((leading * popularity).sum(-1).abs(), length * norm)


# ------------------------------------------------------------------------------- whole pictures


def numerical_rank(table: Array, s: Array | None = None) -> Tensor:
    """How many singular values cannot be the work of rounding. `(*, n, d)` -> int64 `(*,)`.

    Rounding the entries to the table's dtype moves no σ by more than (eps/2)·‖A‖_F (Weyl), and
    the float64 SVD by little more than its own eps·σ₁; a σ above both, added up, is counted.
    s: the table's singular values, if they are known already.
    """
    table = as_table("table", table)
    values = singular_values(table) if s is None else real("s", s).double()
    norm = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    work = max(table.shape[-2:]) * torch.finfo(torch.float64).eps * values[..., :1]
    return (values > torch.finfo(table.dtype).eps / 2 * norm + work).sum(-1)


def summary(table: Array) -> dict[str, Tensor]:
    """Every summary of this module for each table: name -> `(*,)`. table: `(*, n, d)`.

    `leading_share` is σ₁/Σσ, `leading_energy` σ₁²/Σσ², `rank` the `numerical_rank`.
    """
    s = singular_values(table)
    return {
        "rank": numerical_rank(table, s),
        "effective_rank": effective_rank(s),
        "information_abundance": information_abundance(s),
        "participation_ratio": participation_ratio(s),
        "stable_rank": stable_rank(s),
        "condition_number": condition_number(s),
        "leading_share": leading_share(s, 1),
        "leading_energy": leading_share(s, 2),
    }


def random_reference(n: int, d: int) -> dict[str, float]:
    """The four ranks of an n × d table of independent Gaussian numbers, in the limit of large n, d.

    What an untrained table shows, whatever its scale: from the Marchenko–Pastur law with ratio
    y = min/max of (n, d), integrated by the midpoint rule. Source: marchenko1967distribution.
    Raises ValueError unless n and d are at least 1.
    """
    if n < 1 or d < 1:
        raise ValueError(f"n, d are {n}, {d}; expected both at least 1")
    k, y = min(n, d), min(n, d) / max(n, d)
    steps = 4096
    angle = (torch.arange(steps, dtype=torch.float64) + 0.5) * (torch.pi / steps)
    square = (1 + y + 2 * y**0.5 * angle.cos()).clamp_min(1e-300)  # σ² / max(n, d)
    weight = 2 / steps * angle.sin().square() / square  # sums to 1
    value = square.sqrt()
    mean = float((weight * value).sum())
    spread = float((weight * value * (value / mean).log()).sum()) / mean
    edge = 1 + y**0.5
    return {
        "effective_rank": k * float(np.exp(-spread)),
        "information_abundance": k * mean / edge,
        "participation_ratio": k / (1 + y),
        "stable_rank": k / edge**2,
    }


def report(table: Array | str | Path, *, key: str | None = None) -> Report:
    """Judge one table: a verdict in plain words, the summary, and a picture.

    table: `(n, d)`, numpy or torch, or the path of an `.npy`, `.pt` or `.pth` file; `key` names
    the entry to take where a file holds several tables. See `specrec_core.report.Report`.
    """
    from specrec_core.report import make_report

    return make_report(table, key=key)


def _relative(s: Array) -> Tensor:
    """A checked spectrum `(*, k)` in float64, divided by its largest value; zero stays zero."""
    values = real("s", s).double()
    if values.ndim < 1 or values.shape[-1] == 0:
        raise ValueError(f"s has shape {tuple(values.shape)}; expected (*, k) with k >= 1")
    if bool((values < 0).any()):
        raise ValueError(
            f"s has a negative entry, {float(values.min())}; expected s >= 0, as singular_values "
            "gives of a table"
        )
    if bool((values[..., 1:] > values[..., :-1]).any()):
        raise ValueError(
            "s is not sorted; expected descending order, as singular_values gives of a table"
        )
    top = values[..., :1]
    return values / torch.where(top > 0, top, 1.0)


def _divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Quotient with 0 / 0 = 0: the spectrum of a zero table has no directions to share."""
    return numerator / torch.where(denominator > 0, denominator, 1.0)
