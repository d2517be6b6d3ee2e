"""How much of a model is popularity: its leading direction, and its recommendations.

The scores are Ŷ = μ(U Vᵀ) with μ the identity or a sigmoid. Popularity memorisation says that the
leading right singular vector q₁ of Ŷ is close to the item popularity r [lin2024resn]. After a
sigmoid Ŷ has a large constant part, so cos(q₁, e) and cos(e, r), with e all ones, are the control.

Lists ``(*, n_users, k)`` are those of `specrec_core.ranking.recommend`, best first; empty slots
(−1) are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specrec_core import spectra
from specrec_core.arguments import ACTIVATIONS, between, one_of, whole
from specrec_core.spectral_norm import spectral_norm_penalty
from specrec_core.tables import factors

KEPT_ELEMENTS = 2**27  # activated scores that are kept between steps; more are computed anew
BLOCK_ELEMENTS = 2**23


@dataclass(frozen=True, eq=False)
class Leading:
    """The leading direction of Ŷ.

    Attributes
    ----------
    sigma
        σ₁, float64 ``(*,)``.
    right
        q₁, float64 ``(*, m)``, of norm 1; its sum is not negative.
    energy
        ‖Ŷ‖_F², float64 ``(*,)``.
    """

    sigma: Tensor
    right: Tensor
    energy: Tensor

    @property
    def energy_share(self) -> Tensor:
        """σ₁² / ‖Ŷ‖_F², ``(*,)``."""
        return self.sigma.square() / self.energy


@torch.no_grad()
def leading_direction(
    users: Tensor,
    items: Tensor,
    *,
    activation: str = "none",
    tolerance: float = 1e-6,
    max_steps: int = 200,
) -> Leading:
    """σ₁ and q₁ of μ(U Vᵀ), without the whole of it.

    Without an activation by QR of both factors and an SVD of d × d, exactly. After a sigmoid by
    Lanczos iteration on SᵀS from the column sums of S, with blocks of users: until the residual
    ‖SᵀSq − σ²q‖ is at most ``tolerance`` · σ², whereby σ₁ is right to about tolerance² where there
    is a gap. Blocks are in the precision of the tables, all else in float64.

    Shapes: ``users (*, n, d)``, ``items (*, m, d)``.

    Raises
    ------
    ValueError
        On bad tables or an unknown activation.
    ArithmeticError
        If ``max_steps`` do not reach the tolerance.
    """
    one_of("activation", activation, ACTIVATIONS)
    users, items = factors(users, items)
    if activation == "none":
        return _factored(users.double(), items.double())
    leading = users.shape[:-2]
    pairs = zip(*(x.reshape(-1, *x.shape[-2:]) for x in (users, items)), strict=True)
    found = [_lanczos(_Blocks(u, v), tolerance, max_steps) for u, v in pairs]
    sigma, right, energy = (torch.stack(parts) for parts in zip(*found, strict=True))
    return Leading(sigma.view(leading), right.view(*leading, items.shape[-2]), energy.view(leading))


@torch.no_grad()
def activated_singular_values(users: Tensor, items: Tensor) -> Tensor:
    """All singular values of sigmoid(U Vᵀ), largest first: float64 ``(*, min(n, m))``.

    From the min(n, m)-sized Gram matrix, summed by blocks: some minutes and gigabytes for tens of
    thousands, and the loss of digits that `specrec_core.spectra.singular_values` tells of. Of the
    scores themselves take `specrec_core.spectra.product_singular_values`.
    """
    users, items = factors(users, items)
    if users.shape[-2] < items.shape[-2]:
        users, items = items, users
    size = max(1, BLOCK_ELEMENTS // items.shape[-2])
    gram = torch.zeros((), dtype=torch.float64, device=users.device)
    for block in users.split(size, dim=-2):
        scores = torch.sigmoid(block @ items.mT).double()
        gram = gram + scores.mT @ scores
    return torch.linalg.eigvalsh(gram).flip(-1).clamp_min(0).sqrt()


def memorisation(
    users: Tensor, items: Tensor, popularity: Tensor, *, activation: str = "none"
) -> dict[str, Tensor]:
    """How much the leading direction of Ŷ is popularity [lin2024resn].

    Shapes: ``users (*, n, d)``, ``items (*, m, d)``, ``popularity (m,)`` → each value float64
    ``(*,)``: ``"cos(q1, r)"``, the controls ``"cos(q1, e)"`` and ``"cos(e, r)"``, ``"sigma1"`` and
    ``"energy share of sigma1"``, σ₁²/‖Ŷ‖_F²; and without an activation ``"share of sigma1"``,
    σ₁/Σσ. Cosines are without sign.

    Raises ValueError for popularity that is negative, zero everywhere, or of another length.
    """
    m = items.shape[-2]
    if popularity.shape != (m,) or bool((popularity < 0).any()) or not bool(popularity.any()):
        raise ValueError(
            f"popularity has shape {tuple(popularity.shape)}: expected ({m},), counts that are "
            "not all zero"
        )
    found = leading_direction(users, items, activation=activation)
    r = popularity.to(found.right)
    r = r / r.norm()
    e = torch.full_like(r, m**-0.5)
    values = {
        "cos(q1, r)": (found.right @ r).abs(),
        "cos(q1, e)": (found.right @ e).abs(),
        "cos(e, r)": (e @ r).expand(found.sigma.shape),
        "sigma1": found.sigma,
        "energy share of sigma1": found.energy_share,
    }
    if activation == "none":
        s = spectra.product_singular_values(users.detach(), items.detach())
        values["share of sigma1"] = spectra.leading_share(s)
    return values


# ----------------------------------------------------------------------------- recommendations


def share_of_most_popular(lists: Tensor, popularity: Tensor, fraction: float = 0.2) -> Tensor:
    """Share of all recommendations that go to the ⌊fraction · m⌋ most popular items.

    Equal counts by lower id first. ``lists (*, n_users, k)``, ``popularity (m,)`` → ``(*,)``.
    """
    between("fraction", fraction, 0.0, 1.0 + 1e-12, ends=False)
    count = math.floor(fraction * popularity.shape[0] + 1e-9)
    whole("fraction times the number of items", count, 1)
    popular = torch.zeros(popularity.shape, dtype=torch.bool, device=lists.device)
    popular[popularity.sort(descending=True, stable=True).indices[:count].to(lists.device)] = True
    return _mean(popular[lists.clamp_min(0)].double(), lists)


def largest_top_share(lists: Tensor) -> Tensor:
    """Largest share of users with one and the same item in first place: η of ReSN [lin2024resn].

    ``lists (*, n_users, k)`` → ``(*,)``; users with an empty list count among all users.
    """
    first = lists[..., 0]
    sizes = int(first.max().clamp_min(0)) + 2
    flat = (first + 1).reshape(-1, first.shape[-1])
    counts = torch.zeros(flat.shape[0], sizes, dtype=torch.float64, device=lists.device)
    counts.scatter_add_(1, flat, torch.ones_like(flat, dtype=torch.float64))
    largest = counts[:, 1:].amax(-1) / first.shape[-1]
    return largest.view(first.shape[:-1])


def novelty(lists: Tensor, popularity: Tensor, n_users: int) -> Tensor:
    """Mean self-information −log₂(r_i / n_users) of the recommended items [zhou2010solving].

    In bits; an item without an interaction counts as one with a single one.
    ``lists (*, users, k)``, ``popularity (m,)`` → ``(*,)``.
    """
    whole("n_users", n_users, 1)
    bits = math.log2(n_users) - popularity.clamp_min(1).double().log2()
    return _mean(bits.to(lists.device)[lists.clamp_min(0)], lists)


def popularity_metrics(
    users: Tensor,
    items: Tensor,
    lists: Tensor,
    popularity: np.ndarray,
    n_users: int,
    activation: str,
) -> dict[str, Tensor]:
    """The measures of this module for a trained model, float64 ``(R,)`` each.

    Shapes: ``users (R, n, d)``, ``items (R, m, d)``, ``lists (R, ·, k)``, ``popularity (m,)``.
    The names of `memorisation` end in ``of scores``, and in ``of sigmoid`` after the activation.
    ``"one power step over sigma1 of scores"`` is what the penalty of ReSN sees of σ₁.
    """
    counts = torch.as_tensor(popularity, device=items.device)
    found: dict[str, Tensor] = {}
    for name in dict.fromkeys(("none", activation)):
        what = "scores" if name == "none" else name
        values = memorisation(users, items, counts, activation=name)
        found |= {f"{key} of {what}": value for key, value in values.items()}
    k = lists.shape[-1]
    step = spectral_norm_penalty(users.double(), items.double()).sqrt()
    return found | {
        "one power step over sigma1 of scores": step / found["sigma1 of scores"],
        f"share of the most popular 20%@{k}": share_of_most_popular(lists, counts, 0.2),
        f"novelty@{k}": novelty(lists, counts, n_users),
        "largest share of one item@1": largest_top_share(lists),
    }


def intra_list_diversity(lists: Tensor, vectors: Tensor) -> Tensor:
    """Mean over users of the mean 1 − cosine of two items of a list [ziegler2005improving].

    ``lists (*, n_users, k)``; ``vectors (m, f)`` or ``(*, m, f)``, what items are compared by →
    ``(*,)``. An item with a row of zeros is like no other. Users with fewer than two items are left
    out; NaN if there is no other.
    """
    replicas = lists.reshape(-1, *lists.shape[-2:])
    tables = vectors.expand(*lists.shape[:-2], *vectors.shape[-2:])
    tables = tables.reshape(-1, *vectors.shape[-2:])
    means = []
    for rows, table in zip(replicas, tables, strict=True):
        h = torch.nn.functional.normalize(table.double(), dim=-1, eps=1e-300)
        filled = (rows >= 0).double()
        total = torch.einsum("uk,ukf->uf", filled, h[rows.clamp_min(0)]).square().sum(-1)
        itself = (filled * h.square().sum(-1)[rows.clamp_min(0)]).sum(-1)
        length = filled.sum(-1)
        some = length >= 2  # ‖Σh‖² is the sum of all cosines, those of an item with itself too
        cosine = (total[some] - itself[some]) / (length[some] * (length[some] - 1))
        means.append(1 - cosine.mean())
    return torch.stack(means).view(lists.shape[:-2])


def _mean(values: Tensor, lists: Tensor) -> Tensor:
    filled = lists >= 0
    return (values * filled).sum((-2, -1)) / filled.sum((-2, -1))


# ------------------------------------------------------------------------------------- the work


def _factored(users: Tensor, items: Tensor) -> Leading:
    left, right = torch.linalg.qr(users, mode="r").R, torch.linalg.qr(items)
    svd = torch.linalg.svd(left @ right.R.mT, full_matrices=False)
    q = (right.Q @ svd.Vh[..., :1, :].mT).squeeze(-1)
    return Leading(svd.S[..., 0], _signed(q), svd.S.square().sum(-1))


def _signed(vector: Tensor) -> Tensor:
    return torch.where(vector.sum(-1, keepdim=True) < 0, -vector, vector)


class _Blocks:
    """S = sigmoid(U Vᵀ) of one pair of tables, by blocks of users; kept where they fit."""

    def __init__(self, users: Tensor, items: Tensor) -> None:
        self.users, self.items = users, items
        self.rows = max(1, BLOCK_ELEMENTS // items.shape[0])
        keep = users.shape[0] * items.shape[0] <= KEPT_ELEMENTS
        self.kept = list(self._made()) if keep else None

    def _made(self) -> Iterator[Tensor]:
        for block in self.users.split(self.rows):
            yield torch.sigmoid(block @ self.items.T)

    def start(self) -> tuple[Tensor, Tensor]:
        """The column sums ``(m,)`` and ‖S‖_F²."""
        sums = torch.zeros(self.items.shape[0], dtype=torch.float64, device=self.items.device)
        energy = sums.new_zeros(())
        for block in self.kept or self._made():
            sums += block.sum(0, dtype=torch.float64)
            energy += torch.linalg.vector_norm(block, dtype=torch.float64).square()
        return sums, energy

    def square(self, vector: Tensor) -> Tensor:
        """SᵀS times a vector ``(m,)``."""
        total = torch.zeros_like(vector)
        narrow = vector.to(self.users.dtype)
        for block in self.kept or self._made():
            total += block.T @ (block @ narrow)
        return total


def _lanczos(blocks: _Blocks, tolerance: float, max_steps: int) -> tuple[Tensor, Tensor, Tensor]:
    sums, energy = blocks.start()
    basis = [sums / sums.norm()]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for step in range(1, max_steps + 1):
        image = blocks.square(basis[-1])
        diagonal.append(image @ basis[-1])
        known = torch.stack(basis)
        for _ in range(2):  # twice is enough to keep the basis orthogonal
            image = image - known.T @ (known @ image)
        beside.append(image.norm())
        tridiagonal = torch.diag(torch.stack(diagonal))
        if step > 1:
            side = torch.stack(beside[:-1])
            tridiagonal = tridiagonal + torch.diag(side, 1) + torch.diag(side, -1)
        values, vectors = torch.linalg.eigh(tridiagonal)
        residual = beside[-1] * vectors[-1, -1].abs()
        if bool(residual <= tolerance * values[-1]) or step == blocks.items.shape[0]:
            q = known.T @ vectors[:, -1]
            return values[-1].clamp_min(0).sqrt(), _signed(q / q.norm()), energy
        basis.append(image / beside[-1])
    raise ArithmeticError(
        f"the leading direction is not found to a tolerance of {tolerance:g} in {max_steps} "
        "steps: raise max_steps or tolerance"
    )
