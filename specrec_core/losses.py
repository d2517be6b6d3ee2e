"""Training losses: plain functions of scores or vectors.

Scores come as ``positive (*, B)`` and ``negative (*, B, N)``; vectors as ``(*, B, d)``. Each loss
averages over the batch (and its negatives) only and returns ``(*,)``, so a leading replica
dimension stays apart.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking: −mean ln σ(x_ui − x_uj) [rendle2009bpr].

    Shapes: ``positive (*, B)``, ``negative (*, B, N)`` → ``(*,)``.
    """
    _check(positive, negative)
    return F.softplus(negative - positive.unsqueeze(-1)).mean((-2, -1))


def bce(positive: Tensor, negative: Tensor) -> Tensor:
    """Binary cross-entropy: −mean ln σ(x_ui) − mean over positives of Σ_j ln σ(−x_uj).

    The negatives of one positive are summed, so N negatives push N times as hard.

    Shapes: ``positive (*, B)``, ``negative (*, B, N)`` → ``(*,)``.
    """
    _check(positive, negative)
    return (F.softplus(-positive) + F.softplus(negative).sum(-1)).mean(-1)


def logistic_alignment(positive: Tensor) -> Tensor:
    """The positive half of `bce`: −mean ln σ(x_ui); it saturates as scores grow.

    Shapes: ``positive (*, B)`` → ``(*,)``.
    """
    return F.softplus(-positive).mean(-1)


def alignment(users: Tensor, items: Tensor) -> Tensor:
    """Mean squared distance of the normalised pair, ‖u/‖u‖ − i/‖i‖‖² [wang2022directau].

    Shapes: ``users (*, B, d)``, ``items (*, B, d)`` → ``(*,)``. A zero row has no direction and
    gives NaN, on which `specrec_core.training.fit` stops.
    """
    if users.shape != items.shape:
        raise ValueError(
            f"items has shape {tuple(items.shape)}: expected that of users, {tuple(users.shape)}"
        )
    users = users / torch.linalg.vector_norm(users, dim=-1, keepdim=True)
    items = items / torch.linalg.vector_norm(items, dim=-1, keepdim=True)
    return (users - items).square().sum(-1).mean(-1)


def l2(*tables: Tensor) -> Tensor:
    """Half the squared norm of gathered rows, summed over rows, per positive.

    Shapes: the first table is ``(*, B, d)``; the others ``(*, B, d)`` or ``(*, B, N, d)`` →
    ``(*,)``. This is the weight decay of the LightGCN and BPR reference codes: only rows that
    the batch touches are shrunk.
    """
    batch, leading = tables[0].shape[-2], tables[0].dim() - 2
    squares = [t.square().flatten(leading).sum(-1) for t in tables]
    return torch.stack(squares).sum(0) / (2 * batch)


def _check(positive: Tensor, negative: Tensor) -> None:
    if negative.dim() != positive.dim() + 1 or negative.shape[:-1] != positive.shape:
        raise ValueError(
            f"negative has shape {tuple(negative.shape)}: expected {tuple(positive.shape)} "
            "and a last dimension for the negatives of each positive"
        )
