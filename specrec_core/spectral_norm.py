"""The spectral norm of a score matrix as a penalty: ReSN [lin2024resn].

The scores are Z = U Vᵀ, or what an activation makes of them. ReSN adds β‖·‖₂² to the training loss,
estimated by one power step from the all-ones vector of users, whose image r̃ = Zᵀe is the
popularity that the model predicts:

    ‖Z‖₂² ≥ ‖Z r̃‖² / ‖r̃‖²,    with r̃ = V(Uᵀe) and Z r̃ = U(Vᵀr̃).

Without an activation it costs O((n + m) d) and nothing of size n × m exists. The value is a
Rayleigh quotient, so it never exceeds ‖Z‖₂². What the official code computes differs in three
ways: the scores pass a sigmoid first, the direction r̃/‖r̃‖ is held constant as the gradient is
taken, and the users are those of the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from specrec_core import spectra
from specrec_core.arguments import ACTIVATIONS, OF_SIGMOIDS, SPECTRAL_VARIANTS, one_of, whole
from specrec_core.losses import unit

BLOCK_ELEMENTS = 2**25  # scores of a block that exist at a time, where an activation needs them


def spectral_norm_penalty(
    users: Tensor,
    items: Tensor,
    *,
    variant: str = "paper",
    power_steps: int = 1,
    start: Tensor | None = None,
    activation: str | None = None,
    detach_start: bool | None = None,
    users_per_block: int | None = None,
) -> Tensor:
    """Estimate ‖μ(U Vᵀ)‖₂² from below, by power steps from the all-ones vector [lin2024resn].

    Parameters
    ----------
    users, items
        ``(*, n, d)`` and ``(*, m, d)``: all rows, or the users of a batch and all items.
    variant
        ``paper`` is the quotient above: no activation, a gradient through the direction too.
        ``official`` is the code: a sigmoid, and a direction that is held constant. Between them
        are ``sigmoid``: a sigmoid, and a gradient through the direction; and ``batch``, which in
        training is the quotient of the users of a batch, and of the same tables that of ``paper``.
    power_steps
        How often Zᵀ was applied to get the direction; each step brings the value closer to ‖Z‖₂²
        and never lowers it.
    start
        Vector of users ``(n,)`` or ``(*, n)`` in place of all ones.
    activation, detach_start
        What else than the variant says: ``none`` or ``sigmoid``; whether the direction is constant.
    users_per_block
        Users whose activated scores exist at a time; by default as many as fill 2²⁵ scores. With
        several blocks each is computed again for the gradient.

    Returns
    -------
    Tensor
        ``(*,)``. Where the direction is zero it is not defined, and the value NaN.

    Raises
    ------
    ValueError
        On unknown names, shapes that do not fit, or no power step.
    """
    one_of("variant", variant, SPECTRAL_VARIANTS)
    official = variant == "official"
    if activation is None:
        activation = "sigmoid" if variant in OF_SIGMOIDS else "none"
    detach = official if detach_start is None else detach_start
    one_of("activation", activation, ACTIVATIONS)
    whole("power_steps", power_steps, 1)
    _check_tables(users, items)
    scores: Scores = Scores(users, items)
    if activation == "sigmoid":
        scores = BlockedScores(users, items, users_per_block)
    return _quotient(scores, _start(start, users), power_steps, detach)


def penalty_of_scores(scores: Tensor, power_steps: int = 1, detach_start: bool = False) -> Tensor:
    """The same of ``scores (*, n, m)`` that exist already, whatever made them: ``(*,)``."""
    whole("power_steps", power_steps, 1)
    return _quotient(
        DenseScores(scores), scores.new_ones(scores.shape[:-1]), power_steps, detach_start
    )


def _quotient(scores: Scores, left: Tensor, power_steps: int, detach: bool) -> Tensor:
    with torch.set_grad_enabled(torch.is_grad_enabled() and not detach):
        right = unit(scores.back(left))
        for _ in range(power_steps - 1):
            right = unit(scores.back(scores.forth(right)))
    return scores.forth(right.detach() if detach else right).square().sum(-1)


def spectral_norm_gradient(users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient of the ``paper`` penalty with one power step, in closed form [lin2024resn].

    With G_U = UᵀU, G_V = VᵀV, a = Uᵀe, g = G_V a, D = aᵀg, N = gᵀG_U g and f = N/D:
    ∇_U f = e(2 G_V G_U g/D − 2N g/D²)ᵀ + 2U ggᵀ/D and
    ∇_V f = 2V((a bᵀ + b aᵀ)/D − N aaᵀ/D²), with b = G_U g.

    Shapes: ``users (*, n, d)``, ``items (*, m, d)`` → the same two.
    """
    _check_tables(users, items)
    gram_users, gram_items = users.mT @ users, items.mT @ items
    a = users.sum(-2).unsqueeze(-1)
    g = gram_items @ a
    b = gram_users @ g
    denominator = (a * g).sum((-2, -1), keepdim=True)
    numerator = (g * b).sum((-2, -1), keepdim=True)
    to_a = 2 * (gram_items @ b) / denominator - 2 * numerator * g / denominator**2
    of_users = to_a.mT + 2 * (users @ g) @ g.mT / denominator
    inner = (a @ b.mT + b @ a.mT) / denominator - numerator * (a @ a.mT) / denominator**2
    return of_users, 2 * items @ inner


def exact_spectral_norm(users: Tensor, items: Tensor) -> Tensor:
    """‖U Vᵀ‖₂² exactly, by QR and an SVD of d × d: ``(*, n, d)``, ``(*, m, d)`` → float64 ``(*,)``.

    No gradient: for logging and tests.
    """
    return spectra.product_singular_values(users.detach(), items.detach())[..., 0].square()


def clipped(s: Tensor, strength: Tensor | float) -> Tensor:
    """Singular values of the Z with the least ½‖Y − Z‖_F² + β‖Z‖₂²: those of Y, cut off at a level.

    min(σ_k, τ), with the level τ at which Σ max(σ_k − τ, 0) = 2βτ.

    Shapes: ``s (*, k)``, not negative and descending, and the strength β ≥ 0, a number or ``(*,)``
    → ``(*, k)``.
    """
    beta = torch.as_tensor(strength, dtype=s.dtype, device=s.device)
    if bool((beta < 0).any()) or bool((s.diff(dim=-1) > 0).any()) or bool((s < 0).any()):
        raise ValueError(
            "s, strength: expected descending singular values and a strength from 0 on"
        )
    # With the first j values cut the level is Σ_{k ≤ j} σ_k / (j + 2β), largest for the right j.
    counts = torch.arange(1, s.shape[-1] + 1, dtype=s.dtype, device=s.device)
    level = (s.cumsum(-1) / (counts + 2 * beta.unsqueeze(-1))).amax(-1, keepdim=True)
    return torch.minimum(s, level)


class Scores:
    """Z = U Vᵀ as a linear map, evaluated right to left: ``forth`` is x ↦ Zx, ``back`` y ↦ Zᵀy."""

    def __init__(self, users: Tensor, items: Tensor) -> None:
        self.users, self.items = users, items

    def forth(self, right: Tensor) -> Tensor:
        """``(*, m)`` → ``(*, n)``."""
        return _apply(self.users, _apply(self.items.mT, right))

    def back(self, left: Tensor) -> Tensor:
        """``(*, n)`` → ``(*, m)``."""
        return _apply(self.items, _apply(self.users.mT, left))


class DenseScores(Scores):
    """A matrix that is there, as a linear map."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix

    def forth(self, right: Tensor) -> Tensor:
        return _apply(self.matrix, right)

    def back(self, left: Tensor) -> Tensor:
        return _apply(self.matrix.mT, left)


class BlockedScores(Scores):
    """S = sigmoid(U Vᵀ) as a linear map, a block of users at a time.

    Where there are several blocks, none is kept for the gradient: each is computed again.
    """

    def __init__(self, users: Tensor, items: Tensor, users_per_block: int | None = None) -> None:
        super().__init__(users, items)
        if users_per_block is None:
            leading = users[..., 0, 0].numel()
            users_per_block = max(1, BLOCK_ELEMENTS // (leading * items.shape[-2]))
        whole("users_per_block", users_per_block, 1)
        self.blocks = users.split(users_per_block, dim=-2)

    def forth(self, right: Tensor) -> Tensor:
        return torch.cat([self._run(_forth, block, right) for block in self.blocks], dim=-1)

    def back(self, left: Tensor) -> Tensor:
        parts = left.split(self.blocks[0].shape[-2], dim=-1)
        total = self._run(_back, self.blocks[0], parts[0])
        for block, part in zip(self.blocks[1:], parts[1:], strict=True):
            total = total + self._run(_back, block, part)
        return total

    def _run(self, step: object, block: Tensor, vector: Tensor) -> Tensor:
        assert callable(step)
        if len(self.blocks) == 1 or not torch.is_grad_enabled():
            return step(block, self.items, vector)
        return checkpoint(
            step, block, self.items, vector, use_reentrant=False, preserve_rng_state=False
        )


def _forth(block: Tensor, items: Tensor, right: Tensor) -> Tensor:
    return _apply(torch.sigmoid(block @ items.mT), right)


def _back(block: Tensor, items: Tensor, left: Tensor) -> Tensor:
    return _apply(torch.sigmoid(block @ items.mT).mT, left)


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _start(start: Tensor | None, users: Tensor) -> Tensor:
    if start is None:
        return users.new_ones(users.shape[:-1])
    if start.shape not in (users.shape[-2:-1], users.shape[:-1]):
        raise ValueError(
            f"start has shape {tuple(start.shape)}: expected {tuple(users.shape[:-1])}, one number "
            "per user"
        )
    return start.to(users).expand(users.shape[:-1])


def _check_tables(users: Tensor, items: Tensor) -> None:
    fits = users.dim() >= 2 and users.shape[:-2] == items.shape[:-2]
    if not fits or users.shape[-1] != items.shape[-1] or 0 in (*users.shape, *items.shape):
        raise ValueError(
            f"items has shape {tuple(items.shape)}: expected (*, m, d) to go with users "
            f"{tuple(users.shape)}, and no empty dimension"
        )
