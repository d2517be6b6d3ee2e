"""What balances a spectrum: transforms of the rows of a batch, and penalties added to the loss.

A *transform* takes the gathered embeddings of one side, ``rows (*, B, d)``, and gives others of the
same shape, through which the loss is differentiated: `directspec`, `directspec_plus`, `shrink`. A
*penalty* gives ``(*,)``: of one side (`uniformity`, `variance_covariance`, `log_determinant`) or of
the pair of sides (`redundancy`, `cross_similarity`). None reduces over leading dimensions, and
strengths and temperatures are numbers or tensors ``(*,)`` with one value per replica.

With a loss that attracts, the penalties make the objectives known by name: `directau`,
`barlow_twins`, `spectral_contrastive`. `specrec_core.regularization.Regularizer` is one transform
or penalty with its settings, as `specrec_core.training.fit` takes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from specrec_core import losses
from specrec_core.arguments import one_of
from specrec_core.losses import unit
from specrec_core.strengths import Strength, spread


def directspec(rows: Tensor, strength: Strength) -> Tensor:
    """H − α HHᵀH: singular vectors stay, singular values become s (1 − αs²) [peng2024balancing].

    The effective rank never falls while αs₁² ≤ 1/3. ``strength`` is α itself; that of a
    `Regularizer` is αB.

    Shapes: ``rows (*, B, d)`` → ``(*, B, d)``.
    """
    _check_rows(rows)
    return rows - spread(strength, rows) * (rows @ (rows.mT @ rows))


def directspec_plus(
    rows: Tensor,
    strength: Strength,
    temperature: Strength,
    *,
    temperature_unrelated: Strength | None = None,
    related: Tensor | None = None,
    self_similarity: bool = True,
) -> Tensor:
    """H − α S H with S = softmax of τ HHᵀ over each row [peng2024balancing].

    The temperature multiplies the similarity, as in the official code: it is an inverse one.

    Parameters
    ----------
    rows
        ``(*, B, d)``, unit rows in the official code.
    temperature, temperature_unrelated
        τ of all pairs; or τ₀ of the ``related`` ones and τ₁ of the others.
    related
        ``(*, B, B)``, as `CoOccurrence` finds them; given exactly with ``temperature_unrelated``.
    self_similarity
        Whether each row is in its own softmax, as in the official code.

    Raises
    ------
    ValueError
        If only one of ``related`` and ``temperature_unrelated`` is given, on wrong shapes, or on
        a batch of one row without ``self_similarity``.
    """
    _check_rows(rows, 1 if self_similarity else 2)
    similarity = rows @ rows.mT
    factor = spread(temperature, rows)
    if (related is None) != (temperature_unrelated is None):
        raise ValueError(
            f"related is {'None' if related is None else 'given'} and temperature_unrelated is "
            f"{temperature_unrelated}: expected both or neither"
        )
    if related is not None and temperature_unrelated is not None:
        if related.shape != similarity.shape or related.dtype != torch.bool:
            raise ValueError(
                f"related has shape {tuple(related.shape)} and dtype {related.dtype}: expected "
                f"{tuple(similarity.shape)} of torch.bool"
            )
        # `where` would take two plain numbers for single precision.
        near, far = (
            x if isinstance(x, Tensor) else rows.new_full((), x)
            for x in (factor, spread(temperature_unrelated, rows))
        )
        factor = torch.where(related, near, far)
    logits = factor * similarity
    if not self_similarity:
        logits = logits.masked_fill(_diagonal(rows), -math.inf)
    return rows - spread(strength, rows) * (torch.softmax(logits, -1) @ rows)


def shrink(rows: Tensor, scale: Strength, *, variant: str = "official") -> Tensor:
    """Each row h at the norm ``scale · ‖h‖²`` (``official``), or at ``scale`` itself (``unit``).

    The official code multiplies each row by its own norm [peng2024balancing].

    Shapes: ``rows (*, B, d)`` → ``(*, B, d)``.
    """
    one_of("variant", variant, ("official", "unit"))
    _check_rows(rows)
    if variant == "unit":
        return spread(scale, rows) * unit(rows)
    return spread(scale, rows) * torch.linalg.vector_norm(rows, dim=-1, keepdim=True) * rows


def uniformity(rows: Tensor, temperature: Strength = 2.0, *, variant: str = "pairs") -> Tensor:
    """How unevenly the directions h of the rows fill the sphere [wang2020understanding].

    ``pairs`` is ln mean over pairs x ≠ y of exp(−t‖h_x − h_y‖²), as in DirectAU [wang2022directau].
    ``rows`` is mean over x of ln mean over all y (x too) of the same, the denominator of InfoNCE;
    its gradient in unit rows is (2t/B)(S + Sᵀ)H along the sphere, with S that of
    `directspec_plus` at τ = 2t.

    Shapes: ``rows (*, B, d)`` → ``(*,)``, at most 0.
    """
    one_of("variant", variant, ("pairs", "rows"))
    _check_rows(rows, 2)
    h, size = unit(rows), rows.shape[-2]
    exponents = spread(temperature, rows) * (2 * (h @ h.mT) - 2)
    if variant == "rows":
        return exponents.logsumexp(-1).mean(-1) - math.log(size)
    exponents = exponents.masked_fill(_diagonal(rows), -math.inf)
    return exponents.logsumexp((-2, -1)) - math.log(size * (size - 1))


def redundancy(users: Tensor, items: Tensor) -> Tensor:
    """Redundancy reduction term of Barlow Twins: Σ_{k≠l} C_kl² [zbontar2021barlow].

    C is `specrec_core.losses.cross_correlation` of the pair.

    Shapes: ``users (*, B, d)``, ``items (*, B, d)`` → ``(*,)``.
    """
    _check_rows(users, 2)
    return _off_diagonal(losses.cross_correlation(users, items)).square().sum((-2, -1))


def variance_covariance(
    rows: Tensor, covariance: Strength = 0.04, *, target: float = 1.0, epsilon: float = 1e-4
) -> Tensor:
    """Variance term of VICReg plus ``covariance`` times its covariance term [bardes2022vicreg].

    mean_k max(0, target − √(V_kk + ε)) + c · Σ_{k≠l} V_kl² / d, with V the covariance (over B − 1)
    of the columns. The paper weighs the two 25 to 1.

    Shapes: ``rows (*, B, d)`` → ``(*,)``.
    """
    _check_rows(rows, 2)
    centred = rows - rows.mean(-2, keepdim=True)
    v = centred.mT @ centred / (rows.shape[-2] - 1)
    deviation = (v.diagonal(dim1=-2, dim2=-1) + epsilon).sqrt()
    variance = F.relu(target - deviation).mean(-1)
    others = _off_diagonal(v).square().sum((-2, -1)) / rows.shape[-1]
    return variance + spread(covariance, others) * others


def log_determinant(rows: Tensor, epsilon: float = 1.0) -> Tensor:
    """−ln det(HᵀH + εI), the coding rate but for constants [yu2020learning].

    Its gradient step multiplies s by 1 + 2η / (s² + ε): small singular values grow most. It has no
    minimum unless the norms of the rows are held.

    Shapes: ``rows (*, B, d)`` → ``(*,)``.
    """
    _check_rows(rows)
    identity = torch.eye(rows.shape[-1], dtype=rows.dtype, device=rows.device)
    return -torch.linalg.slogdet(rows.mT @ rows + epsilon * identity).logabsdet


def cross_similarity(users: Tensor, items: Tensor) -> Tensor:
    """Repulsion of the spectral contrastive loss [haochen2021provable].

    Mean over b ≠ c of (u_bᵀ i_c)². Shapes: ``users (*, B, d)``, ``items (*, B, d)`` → ``(*,)``.
    """
    losses.check_pair(users, items)
    _check_rows(users, 2)
    size = users.shape[-2]
    return _off_diagonal(users @ items.mT).square().sum((-2, -1)) / (size * (size - 1))


def directau(
    users: Tensor, items: Tensor, strength: Strength = 1.0, temperature: Strength = 2.0
) -> Tensor:
    """DirectAU: alignment + γ · mean uniformity of the two sides [wang2022directau]."""
    even = (uniformity(users, temperature) + uniformity(items, temperature)) / 2
    return losses.alignment(users, items) + spread(strength, even) * even


def barlow_twins(users: Tensor, items: Tensor, strength: Strength = 5e-3) -> Tensor:
    """Barlow Twins: invariance + λ · redundancy of the pair [zbontar2021barlow]."""
    between = redundancy(users, items)
    return losses.invariance(users, items) + spread(strength, between) * between


def spectral_contrastive(users: Tensor, items: Tensor) -> Tensor:
    """−2 mean u_bᵀi_b + mean over b ≠ c of (u_bᵀi_c)² [haochen2021provable]."""
    return 2 * losses.inner_product(users, items) + cross_similarity(users, items)


OF_SIDE: dict[str, Callable[[Tensor], Tensor]] = {
    "vicreg": variance_covariance,
    "log_determinant": log_determinant,
}
OF_PAIR: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "barlow_twins": redundancy,
    "spectral_contrastive": cross_similarity,
}


def _check_rows(rows: Tensor, least: int = 1) -> None:
    if rows.dim() < 2 or rows.shape[-2] < least:
        raise ValueError(
            f"rows has shape {tuple(rows.shape)}: expected (*, B, d) with B of at least {least}"
            + (" (drop_last leaves out a last batch of one)" if least > 1 else "")
        )


def _diagonal(rows: Tensor) -> Tensor:
    return torch.eye(rows.shape[-2], dtype=torch.bool, device=rows.device)


def _off_diagonal(matrix: Tensor) -> Tensor:
    return matrix.masked_fill(_diagonal(matrix), 0.0)
