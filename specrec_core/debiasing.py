"""Losses and score corrections against popularity bias, as functions.

Scores come as ``positive (*, B)`` and ``negative (*, B, N)``, as in `specrec_core.losses`; all
losses reduce over the batch only and give ``(*,)``. Strengths are numbers or tensors ``(*,)``.
The definitions are those of the authors' public codes, but for `weighted`, and for `macr` where a
positive has several negatives.

- `zero_sum` keeps the scores of a pair near zero sum [rhee2022countering];
- `macr`, `macr_scores` take out the direct effects of item and user [wei2021macr];
- `deconfounded_bpr`, `popularity_scores` make popularity a factor in training, and take it out
  (PD) or put in a predicted one (PDA) when ranking [zhang2021causal];
- `propensities`, `weighted` weigh positives by inverse propensity; the authors correct the part
  of the negatives, too [saito2020unbiased];
- `interaction_spread` evens out what items get in proportion to who likes them, IPL
  [liu2023popularity];
- `invariant`, `distance_correlation`: InvCF's two encoders [zhang2023invariant].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from specrec_core import losses
from specrec_core.arguments import WEIGHTED_LOSSES, one_of
from specrec_core.losses import check_scores
from specrec_core.strengths import Strength, spread


def zero_sum(positive: Tensor, negative: Tensor, weight: Strength = 0.9) -> Tensor:
    """w · ½ mean −ln σ(s⁺ − s⁻) + (1 − w) · ½ mean −ln(1 − tanh|s⁺ + s⁻|) [rhee2022countering].

    The second term pulls s⁺ + s⁻ to 0. Means are over positives and their negatives.

    Shapes: ``positive (*, B)``, ``negative (*, B, N)`` → ``(*,)``.
    """
    check_scores(positive, negative)
    total = (positive.unsqueeze(-1) + negative).abs()
    # 1 − tanh x = 2 / (1 + exp 2x)
    even = (F.softplus(2 * total) - math.log(2)).mean((-2, -1))
    weight = spread(weight, even)
    return (weight * losses.bpr(positive, negative) + (1 - weight) * even) / 2


def macr(
    positive: Tensor,
    negative: Tensor,
    item_positive: Tensor,
    item_negative: Tensor,
    user: Tensor,
    *,
    items: Strength = 1e-3,
    users: Strength = 1e-3,
) -> Tensor:
    """BCE(z) + α BCE(a) + β BCE(b) with z = s σ(a) σ(b) [wei2021macr].

    a is the branch of the item, a_i = w_Iᵀv_i, and b that of the user, b_u = w_Uᵀu_u, which is the
    same for positives and negatives. BCE is `specrec_core.losses.bce`.

    Shapes: ``positive, item_positive, user (*, B)``; ``negative, item_negative (*, B, N)``;
    ``items`` is α and ``users`` β → ``(*,)``.
    """
    check_scores(positive, negative)
    check_scores(item_positive, item_negative)
    gate = torch.sigmoid(user)
    fused = losses.bce(
        positive * torch.sigmoid(item_positive) * gate,
        negative * torch.sigmoid(item_negative) * gate.unsqueeze(-1),
    )
    of_items = losses.bce(item_positive, item_negative)
    of_users = losses.bce(user, user.unsqueeze(-1).expand(negative.shape))
    return fused + spread(items, fused) * of_items + spread(users, fused) * of_users


def macr_scores(scores: Tensor, item: Tensor, user: Tensor, reference: float = 40.0) -> Tensor:
    """(s − c) σ(a_i) σ(b_u): the scores to rank by [wei2021macr].

    Shapes: ``scores (*, B, m)``, ``item (*, m)``, ``user (*, B)`` → ``(*, B, m)``.
    """
    gates = torch.sigmoid(item).unsqueeze(-2) * torch.sigmoid(user).unsqueeze(-1)
    return (scores - reference) * gates


def smoothed_popularity(counts: Tensor) -> Tensor:
    """(r_i + 1) / (Σr + m), scaled so that the least is 0 and the largest 1 [zhang2021causal].

    Shapes: ``counts (m,)`` → float64 ``(m,)``. ValueError if all counts are equal.
    """
    share = (counts.double() + 1) / (counts.sum() + counts.shape[0])
    low, high = share.aminmax()
    if not bool(high > low):
        raise ValueError("counts are all equal: expected items of different popularity")
    return (share - low) / (high - low)


def predicted_popularity(now: Tensor, before: Tensor) -> Tensor:
    """clip(m_T + ½(m_T − m_{T−1}), 10⁻⁹, 1) of two stages ``(m,)`` [zhang2021causal]."""
    return (now + 0.5 * (now - before)).clamp(1e-9, 1)


def deconfounded_bpr(
    positive: Tensor, negative: Tensor, of_positive: Tensor, of_negative: Tensor
) -> Tensor:
    """BPR of (ELU(s) + 1) · m_i^γ [zhang2021causal].

    ``of_positive (*, B)`` and ``of_negative (*, B, N)`` are m_i^γ of the items, with m from
    `smoothed_popularity`.
    """
    check_scores(of_positive, of_negative)
    return losses.bpr(elu_plus_one(positive) * of_positive, elu_plus_one(negative) * of_negative)


def elu_plus_one(scores: Tensor) -> Tensor:
    """ELU(s) + 1: s + 1 above 0 and exp(s) below, where the sum itself would be rounded to 0."""
    return F.relu(scores) + scores.clamp(max=0).exp()


def popularity_scores(scores: Tensor, factors: Tensor | None) -> Tensor:
    """ELU(s) + 1 (PD), or (ELU(s) + 1) · m̃^γ where these ``factors`` are given (PDA).

    m̃ may be a `smoothed_popularity` or a `predicted_popularity` [zhang2021causal].

    Shapes: ``scores (*, B, m)``, ``factors (m,)`` → ``(*, B, m)``.
    """
    positive = elu_plus_one(scores)
    return positive if factors is None else positive * factors.to(scores)


def propensities(counts: Tensor, power: float = 0.5, least: float = 0.0) -> Tensor:
    """max((r_i / max r)^power, least): how readily an item is seen [saito2020unbiased].

    Shapes: ``counts (m,)`` → float64 ``(m,)``; items without interactions have ``least``.
    """
    return ((counts.double() / counts.max()) ** power).clamp_min(least)


def weighted(positive: Tensor, negative: Tensor, weights: Tensor, loss: str = "bpr") -> Tensor:
    """A loss in which each positive has a weight, such as 1 / propensity of its item.

    ``bpr``: mean of w · mean over negatives; ``bce`` and ``mse_sigmoid``: only the term of the
    positive is weighed, and negatives are what they are.

    Shapes: ``positive, weights (*, B)``, ``negative (*, B, N)`` → ``(*,)``.
    """
    one_of("loss", loss, WEIGHTED_LOSSES)
    check_scores(positive, negative)
    if loss == "bpr":
        pairs = F.softplus(negative - positive.unsqueeze(-1)).mean(-1)
        return (weights * pairs).mean(-1)
    if loss == "bce":
        return (weights * F.softplus(-positive) + F.softplus(negative).sum(-1)).mean(-1)
    right, wrong = torch.sigmoid(-positive).square(), torch.sigmoid(negative).square()
    return (weights * right + wrong.sum(-1)).mean(-1)


def interaction_spread(
    scores: Tensor,
    items: Tensor,
    popularity: Tensor,
    exponent: float,
    known: Tensor | None = None,
) -> Tensor:
    """std over items of ρ_i = c_i / q_i^{2−γ} with c_i = Σ_{u: y_ui=1} σ(s_ui) [liu2023popularity].

    The standard deviation (over the number of items less one) is over the items with q_i > 0.

    Parameters
    ----------
    scores
        ``(*, nnz)``, one for each training interaction.
    items
        ``(nnz,)``, the item of each.
    popularity
        ``(m,)``, the training interactions q_i.
    exponent
        γ.
    known
        The items with q_i > 0, in order, where they were looked up before: to look them up waits
        for the device on CUDA.

    Returns
    -------
    Tensor
        ``(*,)``.
    """
    total = scores.new_zeros(*scores.shape[:-1], popularity.shape[0])
    total = total.index_add(-1, items, torch.sigmoid(scores))
    if known is None:
        known = popularity.nonzero().squeeze(1)
    ratio = total[..., known] / popularity[known].to(scores) ** (2 - exponent)
    return ratio.std(-1)


@dataclass(frozen=True)
class Products:
    """Inner products of users with their items and negatives, and the lengths of all of them.

    ``positive (*, B)``, ``negative (*, B, N)``; lengths of users ``(*, B)``, items ``(*, B)`` and
    negatives ``(*, B, N)``.
    """

    positive: Tensor
    negative: Tensor
    lengths: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def of(cls, users: Tensor, items: Tensor, negatives: Tensor) -> Products:
        """Of embeddings ``(*, B, d)``, ``(*, B, d)`` and ``(*, B, N, d)``."""
        lengths = [torch.linalg.vector_norm(x, dim=-1) for x in (users, items, negatives)]
        negative = (negatives @ users.unsqueeze(-1)).squeeze(-1)
        return cls((users * items).sum(-1), negative, (lengths[0], lengths[1], lengths[2]))

    def beside(self, other: Products) -> Products:
        """Those of ``[x, x']``: each embedding with the other one's next to it.

        Products add, and so do the squares of lengths; the long embeddings are never formed.
        """
        u, p, n = map(torch.hypot, self.lengths, other.lengths)
        return Products(self.positive + other.positive, self.negative + other.negative, (u, p, n))


def cosine_softmax(products: Products, temperature: float) -> Tensor:
    """Sampled softmax of cosines over a temperature, ``(*,)``."""
    u, p, n = products.lengths
    return losses.sampled_softmax(
        products.positive / (u * p * temperature),
        products.negative / (u.unsqueeze(-1) * n * temperature),
    )


def distance_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Distance correlation of two samples of vectors [szekely2007measuring].

    √(dCov²(x, y) / √(dVar²(x) dVar²(y))), from doubly centred matrices of distances; in [0, 1].

    Shapes: ``x (*, B, p)``, ``y (*, B, q)`` → ``(*,)``; the work grows with B². A sample that is
    constant correlates with nothing: 0, as the source has it, with no gradient.
    """
    if x.shape[:-1] != y.shape[:-1]:
        raise ValueError(f"y has shape {tuple(y.shape)}: expected {tuple(x.shape[:-1])} vectors")
    if x.shape[-2] < 2:
        raise ValueError(
            f"x has shape {tuple(x.shape)}: expected at least two rows to correlate over "
            "(drop_last leaves out a last batch of one)"
        )
    a, b = (_centred(v) for v in (x, y))
    covariance = (a * b).mean((-2, -1))
    product = a.square().mean((-2, -1)) * b.square().mean((-2, -1))
    some = (product > 0) & (covariance > 0)  # where not, a root would have no finite gradient
    square = torch.where(some, covariance, 1.0) / torch.where(some, product, 1.0).sqrt()
    return torch.where(some, square.sqrt(), 0.0)


def invariant(
    preference: tuple[Tensor, Tensor, Tensor],
    popularity: tuple[Tensor, Tensor, Tensor],
    shuffled: tuple[Tensor, Tensor],
    *,
    temperature: float,
    strengths: tuple[float, float, float],
) -> Tensor:
    """InvCF: preference apart from popularity, of two encoders [zhang2023invariant].

    S(preference) + λ₁ S(popularity) − λ₂ D + λ₃ (S(both) + S(both, shuffled)), where S is
    `cosine_softmax`, D the `distance_correlation` of preference with popularity, of users and of
    items, and ``both`` puts the two embeddings of a user or item next to each other. D has the sign
    that the authors' code gives it.

    Parameters
    ----------
    preference, popularity
        Embeddings of users ``(*, B, d)``, items ``(*, B, d)`` and negatives ``(*, B, N, d)``.
    shuffled
        Permutations ``(B,)`` of the batch, for the popularity of users and of items (with the
        negatives of the same position).
    strengths
        λ₁, λ₂, λ₃.
    """
    first, second, third = strengths
    users, items, negatives = popularity
    liked, popular = Products.of(*preference), Products.of(*popularity)
    mixed = Products.of(
        users[..., shuffled[0], :], items[..., shuffled[1], :], negatives[..., shuffled[1], :, :]
    )
    value = cosine_softmax(liked, temperature) + first * cosine_softmax(popular, temperature)
    apart = [distance_correlation(preference[k], popularity[k]) for k in (0, 1)]
    value = value - second * (apart[0] + apart[1])
    for other in (popular, mixed):
        value = value + third * cosine_softmax(liked.beside(other), temperature)
    return value


def _centred(vectors: Tensor) -> Tensor:
    # By differences: by a matrix product, rounding gives even equal rows a distance.
    distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    rows, columns = distances.mean(-1, keepdim=True), distances.mean(-2, keepdim=True)
    return distances - rows - columns + distances.mean((-2, -1), keepdim=True)
