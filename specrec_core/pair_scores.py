"""Scores of listed pairs of users and items, where those of all pairs would be too many."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from specrec_core.graph import Rows, compressed


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of n users and m items, user by user; a pair may be there twice.

    Attributes
    ----------
    offsets
        Where the pairs of each user begin, and the end: ``(n + 1,)``.
    items
        ``(P,)``.
    n_items
        m.
    """

    offsets: Tensor
    items: Tensor
    n_items: int

    def scores(self, users: Tensor, items: Tensor) -> Tensor:
        """uᵀv of each pair, ``(P,)``, from ``users (n, d)`` and ``items (m, d)``.

        In time and memory of the pairs, forward and backward; the gradient has none of its own.
        """
        expected = (len(self.offsets) - 1, self.n_items)
        if (len(users), len(items)) != expected:
            raise ValueError(
                f"tables have {len(users)} and {len(items)} rows: expected {expected[0]} users and "
                f"{expected[1]} items, which the pairs are of"
            )
        found: Tensor = _Scores.apply(users, items, self)
        return found

    @cached_property
    def _by_item(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where the pairs of each item begin, their users, and which pair each is."""
        ordered, order = self.items.sort(stable=True)
        item = torch.arange(self.n_items + 1, device=order.device)
        user = torch.repeat_interleave(self.offsets.diff(), output_size=len(order))
        return torch.searchsorted(ordered, item), user[order], order


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor, pairs: Pairs) -> Tensor:
        ctx.save_for_backward(users, items)
        ctx.pairs = pairs
        none = users.new_zeros(pairs.items.shape)
        kept = compressed(pairs.offsets, pairs.items, none, (len(users), len(items)))
        return torch.sparse.sampled_addmm(kept, users, items.T, beta=0.0).values()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        users, items = ctx.saved_tensors
        pairs: Pairs = ctx.pairs
        offsets, user, order = pairs._by_item
        of_users = Rows(pairs.offsets, pairs.items, gradient.contiguous()).product(items)
        of_items = Rows(offsets, user, gradient[order]).product(users)
        return of_users, of_items, None
