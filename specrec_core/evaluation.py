"""Evaluation: rank the whole catalogue for every user, and measure the head of the ranking.

For a chunk of users at a time, seen items are taken out and the best of the rest are kept in order
(``ranking.recommend``). All else is computed from these lists: accuracy per user
(:func:`ranking_metrics`) and the catalogue's view (:func:`catalogue_metrics`). :func:`evaluate`
does it for R replicas, several cut-offs and several conventions in one pass, on one device.

Rules that decide numbers:

* **Order**: by score, equal scores by lower item id.
* **Candidates**: seen items, and items scored −inf, are never recommended. A user with fewer than
  k candidates keeps empty slots: they count as misses, and as recommendations of no item.
* **Users**: means are over users with at least one truth item; the others are counted in
  ``users_without_truth`` and receive no recommendations. The DirectSpec code divides by all users
  instead, that is, by ``users_evaluated + users_without_truth`` (the same on CiteULike and Gowalla,
  where every user has test items).
* **Truth items that were seen** stay positives that cannot be hit, as in the papers' codes.

>>> truth = CSR(torch.tensor([0, 1, 1]), torch.tensor([2]), (2, 4))
>>> seen = CSR(torch.tensor([0, 1, 2]), torch.tensor([0, 3]), (2, 4))
>>> scores = torch.tensor([[[0.9, 0.5, 0.5, 0.1], [0.4, 0.3, 0.2, 0.1]]])
>>> metrics = evaluate(lambda users: scores[:, users], truth, seen, k=(1, 2))
>>> metrics.mean["recall@1"].item(), metrics.mean["recall@2"].item(), metrics.users_without_truth
(0.0, 1.0, 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from specrec_core.interactions import CSR
from specrec_core.ranking import Score, contains, recommend


@dataclass(frozen=True)
class Convention:
    """How a code counts.

    ``truncated``: recall and MAP are divided by min(k, positives), not by all positives.
    ``positions``: how many positions are read at a cut-off, where that is not the cut-off.
    ``metrics``: what it reports, under names such as ``recall[truncated]@10``.
    """

    metrics: tuple[str, ...]
    truncated: bool = False
    positions: dict[int, int] = field(default_factory=dict)

    def read(self, cut: int) -> int:
        """Positions read at cut-off ``cut``."""
        return self.positions.get(cut, cut)


CONVENTIONS = {
    # trec_eval, LightGCN and ReSN codes. The ideal DCG has min(k, positives) hits.
    "standard": Convention(("ndcg", "recall", "precision", "hit", "mrr", "map")),
    # Recall of the DirectSpec code, MAP of RecBole: 1 is reached however small k is.
    "truncated": Convention(("recall", "map"), truncated=True),
    # The DirectSpec code as it is: its "@10" reads 11 positions and divides as for 10, so that
    # NDCG and recall may exceed 1. Other cut-offs are not affected.
    "eleven": Convention(("ndcg", "recall"), truncated=True, positions={10: 11}),
}


@dataclass(frozen=True, eq=False)
class Metrics:
    """What :func:`evaluate` measured.

    Attributes:
        mean: metric name to ``(R,)`` float64: ``"ndcg@10"``, ``"recall[truncated]@20"``,
            ``"coverage@10"``, ``"share[0]@10"`` (group 0) and so on.
        users: ids of the users evaluated, ``(users_evaluated,)``, ascending.
        per_user: accuracy metric name to ``(R, users_evaluated)``; empty unless asked for.
    """

    mean: dict[str, Tensor]
    users: Tensor
    users_without_truth: int
    per_user: dict[str, Tensor]

    @property
    def users_evaluated(self) -> int:
        """Number of users with at least one truth item."""
        return self.users.shape[0]


@torch.no_grad()
def evaluate(
    score: Score,
    truth: CSR,
    seen: CSR,
    *,
    k: Sequence[int] = (10, 20),
    conventions: Sequence[str] = ("standard", "truncated"),
    item_groups: Tensor | None = None,
    users_per_chunk: int | None = None,
    per_user: bool = False,
) -> Metrics:
    """Full-ranking evaluation of R replicas at all cut-offs ``k``; see the module for the rules.

    Args:
        score: ``score(user_ids (B,)) -> (R, B, n_items)``, floating point; left unchanged.
        k: cut-offs, each at most the number of items.
        truth: the split to predict, ``(n_users, n_items)``.
        seen: what is never recommended; train for validation, train + validation for test.
        conventions: names in ``CONVENTIONS``.
        item_groups: group of each item, ``(n_items,)`` integers from 0, as of
            :func:`popularity_groups`; adds ``share[g]@k``.
        users_per_chunk: users scored at a time; by default what suits the device.
        per_user: keep the values of each user too.

    Raises:
        ValueError: bad arguments, no truth at all, or NaN scores.
    """
    cuts, n_items = _cut_offs(k), truth.shape[1]
    chosen = {name: _convention(name) for name in conventions}
    if truth.shape != seen.shape or truth.device != seen.device:
        raise ValueError(
            f"seen: shape {seen.shape} on {seen.device}, expected that of truth, "
            f"{truth.shape} on {truth.device}"
        )
    if cuts[-1] > n_items:
        raise ValueError(f"k: {cuts[-1]}, expected at most the number of items, {n_items}")
    if not truth.nnz:
        raise ValueError("truth: holds no pairs, expected at least one user with truth items")
    _check_groups(item_groups, n_items, truth.device)
    positives = truth.degree()
    users = positives.nonzero().squeeze(1)

    length = max(c.read(cut) for c in (Convention(()), *chosen.values()) for cut in cuts)
    items = recommend(score, users, seen, length, users_per_chunk=users_per_chunk)
    hits = contains(truth, users, items)
    values: dict[str, Tensor] = {}
    for name in chosen:
        values.update(ranking_metrics(hits, positives[users], k=cuts, convention=name))
    mean = {name: value.mean(-1) for name, value in values.items()}
    mean.update(catalogue_metrics(items, n_items, k=cuts, item_groups=item_groups))
    left_out = truth.shape[0] - users.shape[0]
    return Metrics(mean, users, left_out, values if per_user else {})


def ranking_metrics(
    hits: Tensor,
    positives: Tensor,
    *,
    k: Sequence[int] = (10, 20),
    convention: str = "standard",
) -> dict[str, Tensor]:
    """Accuracy at each cut-off, from where the hits are.

    With h_j = 1 where position j holds one of the P positives, H_k = Σ_{j≤k} h_j:
    recall H_k / P; precision H_k / k; hit rate [H_k > 0]; NDCG Σ_{j≤k} h_j / log2(j + 1) over the
    same sum for min(k, P) leading hits [jarvelin2002cumulated]; MRR 1 / (position of the first
    hit), 0 where that is after k; MAP Σ_{j≤k} h_j H_j / j over P. ``Convention`` says what others
    change.

    Args:
        hits: ``(*, n)`` booleans, position 1 first; n is at least what the convention reads.
        positives: number of truth items, broadcast to ``(*,)``, at least 1.

    Returns:
        metric name to ``(*,)`` float64.
    """
    cuts, rule = _cut_offs(k), _convention(convention)
    length = max(rule.read(cut) for cut in cuts)
    if hits.shape[-1] < length:
        raise ValueError(f"hits: {hits.shape[-1]} positions, expected at least {length}")
    if bool((positives < 1).any()):
        raise ValueError("positives: has entries below 1; leave out users without truth items")
    gain = hits[..., :length].double()
    position = torch.arange(1, length + 1, device=hits.device, dtype=torch.float64)
    discount = 1 / torch.log2(position + 1)
    found = gain.cumsum(-1)
    discounted = (gain * discount).cumsum(-1)
    precisions = (gain * found / position).cumsum(-1)
    first_hit = (found == 0).sum(-1) + 1
    suffix = "" if convention == "standard" else f"[{convention}]"
    result = {}
    for cut in cuts:
        read = rule.read(cut)
        ideal_hits = positives.clamp(max=cut)
        possible = ideal_hits if rule.truncated else positives
        values = {
            "ndcg": discounted[..., read - 1] / discount.cumsum(-1)[ideal_hits - 1],
            "recall": found[..., read - 1] / possible,
            "precision": found[..., read - 1] / cut,
            "hit": (first_hit <= read).double(),
            "mrr": (first_hit <= read) / first_hit.double(),
            "map": precisions[..., read - 1] / possible,
        }
        result.update({f"{name}{suffix}@{cut}": values[name] for name in rule.metrics})
    return result


def catalogue_metrics(
    items: Tensor, n_items: int, *, k: Sequence[int] = (10, 20), item_groups: Tensor | None = None
) -> dict[str, Tensor]:
    """How recommendations ``(R, users, n)`` (−1: empty) spread over the catalogue: name to (R,).

    ``coverage``: share of all items that somebody is recommended. ``gini``: Gini coefficient of
    the number of recommendations per item over all items, 0 when all get the same, 1 − 1/n_items
    when one gets all. ``share[g]``: share of the filled slots that hold items of group g. Gini
    and shares are NaN where no slot is filled.
    """
    item_groups = _check_groups(item_groups, n_items, items.device)
    cuts = _cut_offs(k)
    if cuts[-1] > items.shape[-1]:
        raise ValueError(f"k: {cuts[-1]}, expected at most the length of lists, {items.shape[-1]}")
    replicas = items.shape[0]
    offset = torch.arange(replicas, device=items.device).view(-1, 1, 1) * (n_items + 1)
    weight = 2 * torch.arange(1, n_items + 1, device=items.device) - n_items - 1
    result = {}
    for cut in cuts:
        slots = (items[..., :cut] + 1 + offset).flatten()  # column 0 takes the empty ones
        counts = slots.bincount(minlength=replicas * (n_items + 1)).view(replicas, -1)[:, 1:]
        total = counts.sum(-1).double()
        result[f"coverage@{cut}"] = (counts > 0).double().mean(-1)
        result[f"gini@{cut}"] = (counts.sort(-1).values * weight).sum(-1) / (n_items * total)
        if item_groups is not None:
            shares = counts.new_zeros(replicas, int(item_groups.max()) + 1)
            shares = shares.index_add_(1, item_groups, counts) / total.unsqueeze(-1)
            result.update({f"share[{g}]@{cut}": s for g, s in enumerate(shares.unbind(-1))})
    return result


def popularity_groups(
    popularity: Tensor, n_groups: int = 5, rule: str = "equal-interactions"
) -> Tensor:
    """Group of each item by training popularity: 0 the tail, ``n_groups - 1`` the head.

    Items are sorted by count, equal counts by id. ``"equal-interactions"`` (the ReSN code) closes a
    group once the counts in it reach the mean, total / n_groups, and starts the next from zero;
    ``"equal-items"`` cuts into groups that differ by at most one item.

    Args:
        popularity: training interactions of each item, ``(n_items,)`` integers.

    Raises:
        ValueError: bad arguments, or so few popular items that a group would be empty.
    """
    if popularity.ndim != 1 or popularity.is_floating_point() or bool((popularity < 0).any()):
        raise ValueError("popularity: expected one non-negative integer for each item")
    n_items = popularity.shape[0]
    if not 1 <= n_groups <= n_items:
        raise ValueError(f"n_groups: {n_groups}, expected between 1 and {n_items}, the items")
    counts, order = popularity.long().sort(stable=True)
    rank = torch.arange(n_items, device=popularity.device)
    if rule == "equal-items":
        group = rank * n_groups // n_items
    elif rule == "equal-interactions":
        sums = counts.cumsum(0)
        firsts = rank.new_zeros(n_groups)  # sorted position at which each group starts
        before = sums.new_zeros(())
        for g in range(1, n_groups):
            closing = torch.searchsorted(sums * n_groups, before * n_groups + sums[-1])
            firsts[g] = closing + 1
            before = sums[closing.clamp(max=n_items - 1)]
        if firsts[-1] >= n_items or not sums[-1]:
            raise ValueError(
                f"n_groups: {n_groups} groups of equal interactions leave the last one empty, as "
                'single items hold too many; use fewer groups or rule="equal-items"'
            )
        group = torch.searchsorted(firsts, rank, right=True) - 1
    else:
        raise ValueError(f'rule: {rule!r}, expected "equal-interactions" or "equal-items"')
    return torch.empty_like(group).index_copy_(0, order, group)


def _cut_offs(k: Sequence[int]) -> tuple[int, ...]:
    if isinstance(k, int) or not k or any(isinstance(c, bool) or c != int(c) or c < 1 for c in k):
        raise ValueError(f"k: {k!r}, expected a sequence of integers of at least 1, such as (10,)")
    return tuple(sorted({int(cut) for cut in k}))


def _convention(name: str) -> Convention:
    if name not in CONVENTIONS:
        raise ValueError(f"conventions: {name!r}, expected among {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def _check_groups(groups: Tensor | None, n_items: int, device: torch.device) -> Tensor | None:
    if groups is None:
        return None
    numbers = not (groups.is_floating_point() or groups.dtype == torch.bool)
    if groups.shape != (n_items,) or not numbers or bool((groups < 0).any()):
        raise ValueError(
            f"item_groups: shape {tuple(groups.shape)} {groups.dtype}, expected one integer from 0 "
            f"for each of {n_items} items"
        )
    if groups.device != device:
        raise ValueError(f"item_groups: on {groups.device}, expected {device}")
    return groups.long()
