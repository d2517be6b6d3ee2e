"""Positives and negatives for a whole epoch at once, on the device of the interactions.

Negatives are exact: never a known positive, and never redrawn. Each item i has a whole-number
weight w_i (1 for uniform sampling, its training count for popularity sampling). For a user whose
positives weigh s in total, draw a whole number r below W − s and take the item that owns the
r-th unit of weight once the user's positives are skipped. Two binary searches find it: one among
the user's own positives, one among all items. There is no rejection loop, so the cost is the same
for a user who has seen almost everything. Where users × items are few and drawn uniformly, a table
of all unseen items takes the place of both searches: the same draws, in a third of the time.
"""

from __future__ import annotations

import torch
from torch import Tensor

from specrec_core.arguments import NEGATIVES, POSITIVES, one_of
from specrec_core.interactions import CSR

TABLE = 2**24  # users × items up to which all unseen items are listed: 128 MiB
BLOCK = 2**20  # negatives looked up at once: what that forms stays small


def positives_by_user(seen: CSR, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``count`` users uniformly with replacement, and for each one of their items uniformly.

    Users without interactions are never drawn. This is how the DirectSpec code samples
    [peng2024balancing]: heavy users weigh less than where each interaction is taken once.
    """
    if count < 1:
        raise ValueError(f"count is {count}: expected at least 1")
    degree = seen.degree()
    active = torch.nonzero(degree).squeeze(1)
    if active.numel() == 0:
        raise ValueError("seen has no interactions: there is nothing to draw positives from")
    everybody = torch.full((count,), active.numel(), device=seen.device)
    users = active[_below(everybody, _uniform(everybody, 1, generator).flatten())]
    del everybody
    which = _below(degree[users], _uniform(users, 1, generator).flatten())
    return users, seen.indices[which.add_(seen.offsets[users])]


class Negatives:
    """Draws items that a user has not interacted with, with probability ∝ weight.

    Parameters
    ----------
    seen
        The known positives, users × items.
    weights
        Whole-number weight per item, shape ``(n_items,)``; None for uniform. An item of weight 0
        is never drawn. Pass training counts for sampling by popularity.

    Raises
    ------
    ValueError
        If weights are no non-negative integers, or if some user with interactions has seen every
        item that could be drawn.
    """

    def __init__(self, seen: CSR, weights: Tensor | None = None) -> None:
        n_items = seen.shape[1]
        self.uniform = weights is None
        if weights is None:
            weights = torch.ones(n_items, dtype=torch.int64, device=seen.device)
        if weights.dtype.is_floating_point or weights.shape != (n_items,) or (weights < 0).any():
            raise ValueError(
                f"weights has dtype {weights.dtype} and shape {tuple(weights.shape)}: expected "
                f"non-negative integers of shape ({n_items},)"
            )
        weights = weights.to(seen.device, torch.int64)
        self.offsets = seen.offsets
        self.cumulative = weights.cumsum(0)  # weight of items 0..i
        self.total = int(self.cumulative[-1])
        self.skipped = weights.new_zeros(seen.nnz + 1)  # weight of the pairs before, in user order
        torch.cumsum(weights[seen.indices], 0, out=self.skipped[1:])
        before_user = self.skipped[seen.offsets]
        self.before_user = before_user[:-1]
        self.unseen = self.total - before_user.diff()  # (n_users,)
        self.rows = rows = seen.rows()
        # Of the user's unseen weight, how much lies before each of their positives; shifted by
        # user, one ascending list that a single searchsorted serves for all users. In place: there
        # may be very many pairs.
        self.keys = (self.cumulative - weights)[seen.indices]
        self.keys.sub_(self.skipped[:-1]).add_(self.before_user[rows])
        self.keys.add_(rows, alpha=self.total + 1)
        starved = torch.nonzero((self.unseen <= 0) & (seen.degree() > 0)).squeeze(1)
        if starved.numel():
            raise ValueError(
                f"user {int(starved[0])} (one of {starved.numel()}) has interacted with every "
                "item that could be drawn: there is no negative for them; remove such users or "
                "give unseen items a positive weight"
            )
        self.table: Tensor | None = None
        if self.uniform and seen.shape[0] * n_items <= TABLE:
            unseen = torch.ones(seen.shape, dtype=torch.bool, device=seen.device)
            unseen[rows, seen.indices] = False
            self.table = unseen.nonzero()[:, 1].clone()  # user by user; the rows are let go
            self.starts = self.unseen.cumsum(0) - self.unseen

    @classmethod
    def by(cls, distribution: str, seen: CSR) -> Negatives:
        """``uniform``, or ``popularity``: in proportion to interactions."""
        one_of("negative_distribution", distribution, NEGATIVES)
        popular = distribution == "popularity"
        return cls(seen, torch.bincount(seen.indices, minlength=seen.shape[1]) if popular else None)

    def draw(self, users: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """``count`` independent negatives for each of ``users`` ``(B,)``: items ``(B, count)``."""
        return self._items(users, _uniform(users, count, generator))

    def draw_of_all(self, order: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """`draw` for the users of all interactions, in the order ``(nnz,)``: ``(nnz, count)``.

        The same items. They are found user by user, where both searches stay in the cache, and
        then put in that order.
        """
        drawn = _uniform(order, count, generator)
        by_user = torch.empty_like(drawn)
        by_user[order] = drawn
        del drawn
        return self._items(self.rows, by_user)[order]

    def _items(self, users: Tensor, uniform: Tensor) -> Tensor:
        """The items that draws ``uniform (B, count)`` from [0, 1) stand for, in their memory."""
        items = uniform.view(torch.int64)
        size = max(1, BLOCK // uniform.shape[1])
        for start in range(0, len(users), size):
            block = slice(start, start + size)
            items[block] = self._looked_up(users[block], uniform[block])
        return items

    def _looked_up(self, users: Tensor, uniform: Tensor) -> Tensor:
        """`_items` of a block, apart from their memory."""
        user = users.repeat_interleave(uniform.shape[1])
        rank = _below(self.unseen[user], uniform.flatten())
        if self.table is not None:
            return self.table[self.starts[user] + rank].view_as(uniform)
        passed = torch.searchsorted(self.keys, user * (self.total + 1) + rank, right=True)
        # Positives of this user that lie before the rank-th unseen unit of weight.
        weight = rank + self.skipped[passed] - self.before_user[user]
        # Where all weights are 1, an item is the weight of those before it.
        items = weight if self.uniform else torch.searchsorted(self.cumulative, weight, right=True)
        return items.view_as(uniform)


class EpochSampler:
    """The samples of one epoch: users ``(S,)``, positives ``(S,)`` and negatives ``(S, N)``.

    Parameters
    ----------
    seen
        The known positives.
    positives
        ``interactions``: each once; ``users``: as many draws of a user, then of an item.
    negatives
        Negatives per positive; 0 for none.
    distribution
        Of the negatives: ``uniform``, or ``popularity``, in proportion to interactions.
    """

    def __init__(self, seen: CSR, positives: str, negatives: int, distribution: str) -> None:
        one_of("positives", positives, POSITIVES[:2])
        one_of("negative_distribution", distribution, NEGATIVES)
        self.seen, self.by_user, self.count = seen, positives == "users", negatives
        self.negatives = Negatives.by(distribution, seen) if negatives else None
        if not self.by_user:
            self.rows = self.negatives.rows if self.negatives else seen.rows()

    def epoch(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw them, from the generator of one replica."""
        if self.by_user:
            users, items = positives_by_user(self.seen, self.seen.nnz, generator)
            if self.negatives is None:
                return users, items, items.new_empty(items.shape[0], 0)
            return users, items, self.negatives.draw(users, self.count, generator)
        order = torch.randperm(self.seen.nnz, generator=generator, device=self.seen.device)
        if self.negatives is None:
            negatives = order.new_empty(order.shape[0], 0)
        else:  # first, as drawing takes memory
            negatives = self.negatives.draw_of_all(order, self.count, generator)
        return self.rows[order], self.seen.indices[order], negatives


def _uniform(like: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``(B, count)`` draws from [0, 1), for ``like (B,)``."""
    if count < 1:
        raise ValueError(f"count is {count}: expected at least 1")
    shape = (like.shape[0], count)
    return torch.rand(shape, generator=generator, device=like.device, dtype=torch.float64)


def _below(bounds: Tensor, uniform: Tensor) -> Tensor:
    """A whole number in [0, bound) for each bound and draw from [0, 1) (bias < 2⁻⁵³ · bound)."""
    below = (uniform * bounds).long()
    return torch.minimum(below, bounds - 1, out=below)
