"""The normalised user–item adjacency as an operator.

Nodes are users first, then items. Â = D^(−1/2) A D^(−1/2) with A = [[0, R], [Rᵀ, 0]]; the row and
column of a node without edges are zero.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from specrec_core.interactions import CSR

BLOCK = 128  # columns of a product on a CPU at a time: what is gathered stays in its caches


@dataclass(frozen=True)
class NormalisedAdjacency:
    """The symmetric operator Â on ``n = n_users + n_items`` nodes, by rows.

    ``offsets (n + 1,)``, ``indices (nnz,)`` and ``values (nnz,)`` are its compressed rows.
    """

    offsets: Tensor
    indices: Tensor
    values: Tensor

    @classmethod
    def of(cls, train: CSR, dtype: torch.dtype = torch.float32) -> NormalisedAdjacency:
        """Â of the training interactions, on their device."""
        n_users, n_items = train.shape
        rows, columns = train.rows(), train.indices + n_users
        source = torch.cat([rows, columns])
        order = torch.argsort(source, stable=True)
        target = torch.cat([columns, rows])[order]
        degree = torch.bincount(source, minlength=n_users + n_items)
        offsets = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
        index = torch.int32 if max(source.numel(), n_users + n_items) < 2**31 else torch.int64
        return cls._weighted(offsets.to(index), target.to(index), dtype)

    @classmethod
    def _weighted(cls, offsets: Tensor, indices: Tensor, dtype: torch.dtype) -> NormalisedAdjacency:
        degree = offsets.diff().long()
        scale = degree.to(torch.float64).rsqrt()
        own = torch.repeat_interleave(scale, degree, output_size=len(indices))
        return cls(offsets, indices, (own * scale[indices]).to(dtype))

    def moved(self, move: Callable[[Tensor], Tensor]) -> NormalisedAdjacency:
        """The same where ``move`` puts its tensors, its weights in the precision that it gives."""
        offsets, indices, values = (move(x) for x in (self.offsets, self.indices, self.values))
        if values.dtype == self.values.dtype:
            return NormalisedAdjacency(offsets, indices, values)
        return self._weighted(offsets, indices, values.dtype)  # not those rounded before

    @property
    def size(self) -> int:
        return self.offsets.shape[0] - 1

    def __matmul__(self, x: Tensor) -> Tensor:
        """Â x for dense ``x (n, columns)``, differentiable in x."""
        if x.dim() != 2 or x.shape[0] != self.size:
            raise ValueError(f"x has shape {tuple(x.shape)}: expected ({self.size}, columns)")
        return _Symmetric.apply(x, Rows(self.offsets, self.indices, self.values))

    def times(self, x: Tensor) -> Tensor:
        """Â x for ``x (*, n, d)``: all leading dimensions are columns of one product."""
        columns = x.movedim(-2, 0).reshape(x.shape[-2], -1)
        return (self @ columns).view(x.shape[-2], *x.shape[:-2], x.shape[-1]).movedim(0, -2)

    def sides(self, n_users: int) -> Sides:
        """Â as its two halves, of a graph whose first ``n_users`` nodes are the users."""
        split = int(self.offsets[n_users])
        return Sides(
            Rows(self.offsets[: n_users + 1], self.indices[:split] - n_users, self.values[:split]),
            Rows(self.offsets[n_users:] - split, self.indices[split:], self.values[split:]),
        )


def compressed(offsets: Tensor, indices: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """A torch tensor of compressed rows, without a check and torch's word that they may change."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(offsets, indices, values, shape, check_invariants=False)


@dataclass(frozen=True, eq=False)
class Rows:
    """Compressed rows of a sparse matrix, for products with dense columns."""

    offsets: Tensor
    indices: Tensor
    values: Tensor

    def product(self, x: Tensor) -> Tensor:
        """The matrix times ``x (n, columns)``, which is contiguous: ``(rows, columns)``."""
        values = self.values.to(x.dtype)
        if x.is_cuda:
            shape = (self.offsets.shape[0] - 1, x.shape[0])
            return compressed(self.offsets, self.indices, values, shape) @ x
        # On a CPU this is several times as fast as torch.sparse: a weighted sum of rows.
        return F.embedding_bag(
            self.indices,
            x,
            self.offsets,
            mode="sum",
            per_sample_weights=values,
            include_last_offset=True,
        )


@dataclass(frozen=True, eq=False)
class Sides:
    """Â in two halves: what users take from items, and items from users.

    Tables of users and items need not be put together, and sums are made in place.
    """

    users: Rows
    items: Rows

    def mean_of_powers(self, users: Tensor, items: Tensor, layers: int) -> tuple[Tensor, Tensor]:
        """(x + Âx + … + Â^L x) / (L + 1) for the nodes x of both sides, by Horner's rule.

        Shapes: ``users (*, n_users, d)``, ``items (*, n_items, d)`` → the same.
        """
        if layers < 1:
            raise ValueError(f"layers is {layers}: expected at least 1")
        return _MeanOfPowers.apply(users, items, self, layers)

    def _powers(self, users: Tensor, items: Tensor, layers: int) -> tuple[Tensor, Tensor]:
        # All replicas are columns of one product.
        sides = users, items
        first = [x.movedim(-2, 0).reshape(x.shape[-2], -1).contiguous() for x in sides]
        final = [torch.empty_like(x) for x in first]
        for block in blocks(first[0]):
            u0, v0 = (x[:, block].contiguous() for x in first)
            u, v = u0, v0
            for _ in range(layers):
                u, v = self.users.product(v).add_(u0), self.items.product(u).add_(v0)
            for side, whole in zip((u, v), final, strict=True):
                torch.mul(side, 1 / (layers + 1), out=whole[:, block])
        u, v = (
            side.view(x.shape[-2], *x.shape[:-2], -1).movedim(0, -2).contiguous()
            for side, x in zip(final, sides, strict=True)
        )
        return u, v


def blocks(x: Tensor) -> list[slice]:
    """The columns of ``x (n, columns)`` to multiply at a time: on CUDA all of them."""
    width = x.shape[1] if x.is_cuda else BLOCK
    return [slice(start, start + width) for start in range(0, x.shape[1], max(width, 1))]


class _MeanOfPowers(torch.autograd.Function):
    """The mean of powers of a symmetric operator is its own transpose."""

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, items: Tensor, sides: Sides, layers: int
    ) -> tuple[Tensor, Tensor]:
        ctx.sides, ctx.layers = sides, layers
        return sides._powers(users, items, layers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        return *ctx.sides._powers(*gradients, ctx.layers), None, None


class _Symmetric(torch.autograd.Function):
    """A symmetric operator is its own transpose: the backward is the same product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Rows) -> Tensor:
        ctx.rows = rows
        return rows.product(x.contiguous())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.rows.product(gradients[0].contiguous()), None
