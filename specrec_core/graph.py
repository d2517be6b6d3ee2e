"""The user–item graph as an operator: the normalised adjacency and its powers.

Nodes are users first, then items. Â = D^(−1/2) A D^(−1/2) with A = [[0, R], [Rᵀ, 0]]; the row and
column of a node without edges are zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from specrec_core.interactions import CSR


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
        scale = degree.to(torch.float64).rsqrt()
        offsets = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
        values = (scale[source[order]] * scale[target]).to(dtype)
        index = torch.int32 if max(source.numel(), n_users + n_items) < 2**31 else torch.int64
        return cls(offsets.to(index), target.to(index), values)

    @property
    def size(self) -> int:
        return self.offsets.shape[0] - 1

    def __matmul__(self, x: Tensor) -> Tensor:
        """Â x for dense ``x (n, columns)``, differentiable in x."""
        if x.dim() != 2 or x.shape[0] != self.size:
            raise ValueError(f"x has shape {tuple(x.shape)}: expected ({self.size}, columns)")
        return _Symmetric.apply(x, self)

    def _product(self, x: Tensor) -> Tensor:
        if x.is_cuda:
            shape = (self.size, self.size)
            matrix = torch.sparse_csr_tensor(self.offsets, self.indices, self.values, shape)
            return matrix @ x
        # On a CPU this is several times as fast as torch.sparse: a weighted sum of rows.
        return F.embedding_bag(
            self.indices,
            x,
            self.offsets,
            mode="sum",
            per_sample_weights=self.values.to(x.dtype),
            include_last_offset=True,
        )

    def mean_of_powers(self, x: Tensor, layers: int) -> Tensor:
        """(x + Âx + … + Â^L x) / (L + 1) for ``x (*, n, d)``, by Horner's rule."""
        if layers < 1:
            raise ValueError(f"layers is {layers}: expected at least 1")
        # All replicas are columns of one product.
        columns = x.movedim(-2, 0).reshape(x.shape[-2], -1)
        y = columns
        for _ in range(layers):
            y = columns + self @ y
        y = y / (layers + 1)
        return y.view(x.shape[-2], *x.shape[:-2], x.shape[-1]).movedim(0, -2)


class _Symmetric(torch.autograd.Function):
    """A symmetric operator is its own transpose: the backward is the same product."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, adjacency: NormalisedAdjacency) -> Tensor:
        ctx.adjacency = adjacency
        return adjacency._product(x.contiguous())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.adjacency._product(gradients[0].contiguous()), None
