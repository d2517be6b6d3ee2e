"""Training losses: plain functions of scores or vectors.

Scores come as ``positive (*, B)`` and ``negative (*, B, N)``; vectors as ``(*, B, d)``. Each loss
averages over the batch only (of its negatives some take the mean, some the sum) and returns
``(*,)``, so a leading replica dimension stays apart.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from specrec_core.strengths import Strength, spread


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """Bayesian personalised ranking: −mean ln σ(x_ui − x_uj) [rendle2009bpr].

    Shapes: ``positive (*, B)``, ``negative (*, B, N)`` → ``(*,)``.
    """
    check_scores(positive, negative)
    return F.softplus(negative - positive.unsqueeze(-1)).mean((-2, -1))


def bce(positive: Tensor, negative: Tensor) -> Tensor:
    """Binary cross-entropy: −mean ln σ(x_ui) − mean over positives of Σ_j ln σ(−x_uj).

    The negatives of one positive are summed, so N negatives push N times as hard.

    Shapes: ``positive (*, B)``, ``negative (*, B, N)`` → ``(*,)``.
    """
    check_scores(positive, negative)
    return (F.softplus(-positive) + F.softplus(negative).sum(-1)).mean(-1)


def bce_mean(positive: Tensor, negative: Tensor) -> Tensor:
    """Binary cross-entropy, averaged over positives and negatives alike.

    (Σ −ln σ(x_ui) + Σ −ln σ(−x_uj)) / (B + BN): `bce` divided by 1 + N. It is the loss of NeuMF
    [he2017neural], as RecBole averages it [zhao2021recbole].

    Shapes: ``positive (*, B)``, ``negative (*, B, N)`` → ``(*,)``.
    """
    return bce(positive, negative) / (1 + negative.shape[-1])


def mse(positive: Tensor, negative: Tensor) -> Tensor:
    """Squared error: mean over positives of (1 − x_ui)² + Σ_j x_uj².

    The negatives of one positive are summed, as in `bce`.

    Shapes: ``positive (*, B)``, ``negative (*, B, N)`` → ``(*,)``.
    """
    check_scores(positive, negative)
    return ((1 - positive).square() + negative.square().sum(-1)).mean(-1)


def mse_sigmoid(positive: Tensor, negative: Tensor) -> Tensor:
    """`mse` of the scores after a sigmoid, the default of the ReSN code [lin2024resn].

    Mean over positives of (1 − σ(x_ui))² + Σ_j σ(x_uj)².

    Shapes: ``positive (*, B)``, ``negative (*, B, N)`` → ``(*,)``.
    """
    return mse(torch.sigmoid(positive), torch.sigmoid(negative))


def bce_sigmoid(positive: Tensor, negative: Tensor, epsilon: float = 1e-5) -> Tensor:
    """`bce` as the ReSN code has it, with a small number in the logarithms [lin2024resn].

    Mean over positives of −ln(σ(x_ui) + ε) − Σ_j ln(1 − σ(x_uj) + ε); the code takes 10⁻⁵ for MF
    and 10⁻⁶ for graph models.

    Shapes: ``positive (*, B)``, ``negative (*, B, N)`` → ``(*,)``.
    """
    check_scores(positive, negative)
    right = -(torch.sigmoid(positive) + epsilon).log()
    return (right - (torch.sigmoid(-negative) + epsilon).log().sum(-1)).mean(-1)


def sampled_softmax(positive: Tensor, negative: Tensor) -> Tensor:
    """Cross-entropy of the positive among itself and its negatives.

    −mean ln (exp x_ui / (exp x_ui + Σ_j exp x_uj)); with one negative it is `bpr`. No correction
    for how the negatives were drawn.

    Shapes: ``positive (*, B)``, ``negative (*, B, N)`` → ``(*,)``.
    """
    check_scores(positive, negative)
    margins = negative - positive.unsqueeze(-1)
    # ln(1 + Σ_j exp m_j): the logarithm of a sum in which the positive is the term exp 0.
    return F.softplus(margins.logsumexp(-1)).mean(-1)


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
    check_pair(users, items)
    return (unit(users) - unit(items)).square().sum(-1).mean(-1)


def inner_product(users: Tensor, items: Tensor) -> Tensor:
    """−mean uᵀi: half the attraction of the spectral contrastive loss [haochen2021provable].

    It has no minimum on its own: it needs a penalty that grows faster, or unit vectors.

    Shapes: ``users (*, B, d)``, ``items (*, B, d)`` → ``(*,)``.
    """
    check_pair(users, items)
    return -(users * items).sum(-1).mean(-1)


def invariance(users: Tensor, items: Tensor) -> Tensor:
    """Invariance term of Barlow Twins: Σ_k (1 − C_kk)² [zbontar2021barlow].

    C is `cross_correlation`. Shapes: ``users (*, B, d)``, ``items (*, B, d)`` → ``(*,)``.
    """
    diagonal = cross_correlation(users, items).diagonal(dim1=-2, dim2=-1)
    return (1 - diagonal).square().sum(-1)


def cross_correlation(users: Tensor, items: Tensor) -> Tensor:
    """Correlation over the batch of each dimension of one side with each of the other.

    Shapes: ``users (*, B, d)``, ``items (*, B, d)`` → ``(*, d, d)``, values in [−1, 1]. A
    dimension that is constant over the batch has no correlation and gives NaN.
    """
    check_pair(users, items)
    if users.shape[-2] < 2:
        raise ValueError(
            f"users has shape {tuple(users.shape)}: expected at least two rows to correlate over "
            "(drop_last leaves out a last batch of one)"
        )
    columns = [
        x / torch.linalg.vector_norm(x, dim=-2, keepdim=True)
        for x in (users - users.mean(-2, keepdim=True), items - items.mean(-2, keepdim=True))
    ]
    return columns[0].mT @ columns[1]


def unit(rows: Tensor) -> Tensor:
    """``rows (*, d)`` divided by their norms; a zero row has no direction and gives NaN."""
    return rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True)


def l2(*tables: Tensor) -> Tensor:
    """Half the squared norm of gathered rows, summed over rows, per positive.

    Shapes: the first table is ``(*, B, d)``; the others ``(*, B, d)`` or ``(*, B, N, d)`` →
    ``(*,)``. This is the weight decay of the LightGCN and BPR reference codes: only rows that
    the batch touches are shrunk.
    """
    batch, leading = tables[0].shape[-2], tables[0].dim() - 2
    squares = [t.square().flatten(leading).sum(-1) for t in tables]
    return torch.stack(squares).sum(0) / (2 * batch)


def norms(*tables: Tensor) -> Tensor:
    """Frobenius norms of gathered rows, summed over tables and divided by the positives.

    A norm and not its square, as RecBole's EmbLoss has it [zhao2021recbole].

    Shapes: as of `l2` → ``(*,)``.
    """
    batch, leading = tables[0].shape[-2], tables[0].dim() - 2
    return (
        torch.stack([torch.linalg.vector_norm(t.flatten(leading), dim=-1) for t in tables]).sum(0)
        / batch
    )


def info_nce(
    anchors: Tensor,
    keys: Tensor,
    which: Tensor,
    temperature: Strength,
    among: Tensor | None = None,
) -> Tensor:
    """Contrastive loss of each anchor [oord2018representation].

    −ln (exp(âᵀk̂_w / τ) / Σ_v exp(âᵀk̂_v / τ)), with rows of length 1: â of ``anchors``, k̂_w that
    one of the ``keys`` which belongs to it. The sum is over all keys, or those ``among`` which to
    tell it. It is not averaged over anchors: that is for the model to do.

    Shapes: ``anchors (*, B, d)``, ``keys (*, n, d)``, ``which (*, B)`` positions among the keys,
    ``among (*, n)`` truth values → ``(*, B)``. The norm of its gradient by a unit row is at most
    2 / τ.
    """
    anchors, keys = unit(anchors) / spread(temperature, anchors), unit(keys)
    # Not picked from the products of all: that would cost another pass over them in the backward.
    own = (anchors * keys.take_along_dim(which.unsqueeze(-1), -2)).sum(-1)
    total: Tensor = _LogSumExpOfProducts.apply(anchors, keys, among)
    return total - own


class SampleDrop:
    """`bpr` of a batch without its largest terms, which noise is suspected to cause.

    A reconstruction: the scaling paper [scaling2025] has a BPR_Drop, but no source gives its rule.
    This follows earlier work of its author [he2024double]: of B terms −mean ln σ(x_ui − x_uj) the
    ⌊(1 − ε)B⌋ smallest are averaged, each replica's own, and ε rises linearly from 0 to ``most``
    over the first ``ramp`` steps.

    Shapes: ``positive (*, B)``, ``negative (*, B, N)`` → ``(*,)``. A call is a step.
    """

    def __init__(self, most: float, ramp: int) -> None:
        self.most, self.ramp, self.steps = most, ramp, 0

    def __call__(self, positive: Tensor, negative: Tensor) -> Tensor:
        check_scores(positive, negative)
        share = self.most * min(1.0, self.steps / self.ramp)
        self.steps += 1
        terms = F.softplus(negative - positive.unsqueeze(-1)).mean(-1)
        kept = max(1, math.floor((1 - share) * terms.shape[-1] + 1e-9))
        return terms.topk(kept, largest=False).values.mean(-1)


def check_pair(users: Tensor, items: Tensor) -> None:
    """ValueError unless both have one shape."""
    if users.shape != items.shape:
        raise ValueError(
            f"items has shape {tuple(items.shape)}: expected that of users, {tuple(users.shape)}"
        )


def check_scores(positive: Tensor, negative: Tensor) -> None:
    """ValueError unless they are ``(*, B)`` and ``(*, B, N)``."""
    if negative.dim() != positive.dim() + 1 or negative.shape[:-1] != positive.shape:
        raise ValueError(
            f"negative has shape {tuple(negative.shape)}: expected {tuple(positive.shape)} "
            "and a last dimension for the negatives of each positive"
        )


class _LogSumExpOfProducts(torch.autograd.Function):
    """ln Σ_v exp(aᵀk_v), with its gradient written out: fewer passes over all products.

    Of ``a (*, B, d)`` and ``k (*, n, d)``, over all keys or those ``among (*, n)`` → ``(*, B)``.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, k: Tensor, among: Tensor | None) -> Tensor:
        products = a @ k.mT
        if among is not None:
            products.masked_fill_(~among.unsqueeze(-2), -torch.inf)
        top = products.amax(-1, keepdim=True)
        top = top.masked_fill(top == -torch.inf, 0.0)  # of nothing: or the difference is NaN
        weights = products.sub_(top).exp_()
        total = weights.sum(-1, keepdim=True)
        ctx.save_for_backward(a, k, weights, total)
        return (total.log() + top).squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        a, k, weights, total = ctx.saved_tensors
        scale = gradients[0].unsqueeze(-1) / total.clamp_min(1.0)  # below 1 it is 0: of nothing
        return scale * (weights @ k), weights.mT @ (scale * a), None
