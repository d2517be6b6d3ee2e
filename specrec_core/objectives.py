"""Training losses by name, as functions of the rows that a batch gathers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from specrec_core import losses

ScoreLoss = Callable[[Tensor, Tensor], Tensor]
"""Loss ``(*,)`` of ``positive (*, B)`` and ``negative (*, B, N)`` scores."""

ScoreOf = Callable[[Tensor, Tensor], Tensor]
"""Scores ``(R, *)`` of rows of users and items ``(R, *, d)``, which broadcast."""

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Loss of the gathered final embeddings ``u (R, B, d)``, ``p (R, B, d)``, ``n (R, B, N, d)``."""


def of_scores(loss: ScoreLoss, score: ScoreOf | None = None) -> Objective:
    """A loss of scores as one of rows; ``score`` is that of two broadcast rows, or the product."""
    if score is None:
        return lambda u, p, n: loss((u * p).sum(-1), (u.unsqueeze(-2) * n).sum(-1))
    return lambda u, p, n: loss(score(u, p), score(u.unsqueeze(-2), n))


class _BPROfRows(torch.autograd.Function):
    """`bpr` of products, with its gradient written out: about half the work of autograd's."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, p: Tensor, n: Tensor) -> Tensor:
        apart = p.unsqueeze(-2) - n
        x = (u.unsqueeze(-2) * apart).sum(-1)
        ctx.save_for_backward(u, apart, x)
        return F.softplus(-x).mean((-2, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        u, apart, x = ctx.saved_tensors
        scale = gradients[0] / (x.shape[-2] * x.shape[-1])
        weight = torch.sigmoid(-x) * scale[..., None, None]
        of_u = weight.neg().unsqueeze(-1) * apart
        of_u = of_u.squeeze(-2) if of_u.shape[-2] == 1 else of_u.sum(-2)
        of_n = weight.unsqueeze(-1) * u.unsqueeze(-2)
        return of_u, weight.sum(-1, keepdim=True).neg() * u, of_n


SCORE_LOSSES: dict[str, ScoreLoss] = {
    "bpr": losses.bpr,
    "bce": losses.bce,
    "bce_mean": losses.bce_mean,
    "mse": losses.mse,
    "sampled_softmax": losses.sampled_softmax,
    "mse_sigmoid": losses.mse_sigmoid,
    "bce_sigmoid": losses.bce_sigmoid,
}

OBJECTIVES: dict[str, tuple[Objective, bool]] = {  # name: (objective, does it use negatives?)
    **{name: (of_scores(loss), True) for name, loss in SCORE_LOSSES.items()},
    "bpr": (_BPROfRows.apply, True),
    "logistic_alignment": (lambda u, p, n: losses.logistic_alignment((u * p).sum(-1)), False),
    "alignment": (lambda u, p, n: losses.alignment(u, p), False),
    "inner_product": (lambda u, p, n: losses.inner_product(u, p), False),
    "invariance": (lambda u, p, n: losses.invariance(u, p), False),
}
