"""Graph encoders that add a contrastive loss to that of the batch: SGL and XSimGCL.

Both are `specrec_core.models.LightGCN` with two views of every node. What is drawn (the edges that
a view keeps, the noise) comes from the stream of each replica, on its device.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from specrec_core.arguments import REDUCTIONS, VARIANTS, between, one_of, whole_part
from specrec_core.graph import NormalisedAdjacency, Sides
from specrec_core.interactions import CSR
from specrec_core.losses import info_nce, unit
from specrec_core.models import LightGCN, gather
from specrec_core.strengths import Strength, check, placed, spread


class Contrastive(LightGCN):
    """What both have: w · (InfoNCE of users + InfoNCE of items), as sums or means."""

    strengths = ("contrast_weight", "contrast_temperature")

    def __init__(
        self,
        train: CSR,
        dim: int,
        *,
        contrast_weight: Strength,
        contrast_temperature: Strength,
        reduction: str,
        **of_lightgcn: Any,
    ) -> None:
        super().__init__(train, dim, **of_lightgcn)
        check("contrast_weight", contrast_weight, len(self.seeds), ends=False)
        check("contrast_temperature", contrast_temperature, len(self.seeds), ends=False)
        one_of("reduction", reduction, REDUCTIONS)
        self.contrast_weight = placed(contrast_weight, train.device)
        self.contrast_temperature = placed(contrast_temperature, train.device)
        self.reduction = reduction

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        for name in self.strengths:
            setattr(self, name, placed(getattr(self, name), self.users.device))
        return self

    def _weighted(self, total: Tensor) -> Tensor:
        return total * spread(self.contrast_weight, total)


class SGL(Contrastive):
    """SGL: views are LightGCN on graphs that lost some edges [wu2021sgl].

    Each epoch draws two graphs, in which ⌊(1 − ρ)·edges⌋ of the edges are left, normalised anew.
    Added to the loss is w · (InfoNCE of the users + InfoNCE of the positive items of the batch):
    the two views of a node attract, and the second views of *all* users (or items) repel. A user
    who is twice in the batch counts twice. As RecBole has it [zhao2021recbole], whose losses are
    sums over the batch (``reduction="sum"``).

    Parameters
    ----------
    train, dim, further arguments
        As of `LightGCN`.
    contrast_weight, contrast_temperature
        w and τ: numbers, or tensors with one value per replica.
    edge_dropout
        ρ, the share of edges that a view loses.
    reduction
        ``mean`` or ``sum`` over the positives of a batch, as of the loss beside it.
    """

    def __init__(
        self,
        train: CSR,
        dim: int,
        *,
        contrast_weight: Strength,
        contrast_temperature: Strength,
        edge_dropout: float,
        reduction: str = "mean",
        **of_lightgcn: Any,
    ) -> None:
        super().__init__(
            train, dim, contrast_weight=contrast_weight, reduction=reduction,
            contrast_temperature=contrast_temperature, **of_lightgcn,
        )  # fmt: skip
        between("edge_dropout", edge_dropout, 0.0, 1.0, ends=False)
        self.train_edges, self.edge_dropout = train, edge_dropout
        self.views: list[Sides] = []

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self.train_edges, self.views = self.train_edges.to(self.users.device), []
        return self

    def new_epoch(self, streams: Sequence[torch.Generator]) -> None:
        self.views = []
        for _ in range(2):
            graph = thinned(self.train_edges, self.edge_dropout, streams)
            adjacency = NormalisedAdjacency.of(graph, self.users.dtype)
            self.views.append(adjacency.sides(graph.shape[0]))

    def view(self, sides: Sides) -> tuple[Tensor, Tensor]:
        """Final embeddings on the graphs of all replicas, which `thinned` has put into one."""
        tables = self.users.flatten(0, 1), self.items.flatten(0, 1)
        users, items = sides.mean_of_powers(*tables, self.layers)
        return users.view_as(self.users), items.view_as(self.items)

    def own_loss(self, final: tuple[Tensor, Tensor], ids: Sequence[Tensor]) -> Tensor:
        first, second = (self.view(sides) for sides in self.views)
        batch = ids[0].shape[-1]
        total: Tensor | float = 0.0
        for one, other, which in zip(first, second, ids[:2], strict=True):
            nodes, counts = often(which, one.shape[1])
            terms = info_nce(gather(one, nodes), other, nodes, self.contrast_temperature)
            total = total + (terms * counts).sum(-1)
        assert isinstance(total, Tensor)
        return self._weighted(total if self.reduction == "sum" else total / batch)


class XSimGCL(Contrastive):
    """XSimGCL: one noisy propagation gives both views [yu2022xsimgcl].

    While training, each layer adds noise to every node: sign(e) ∘ n, with n uniform in [0, 1)^d
    and then of length ε. The final embedding, the mean of layers 1 to L, is one view, layer l* the
    other; the loss is w · (InfoNCE of the distinct users + that of the distinct positive items of a
    batch), with the batch itself for negatives. Evaluation has no noise.

    Parameters
    ----------
    train, dim, further arguments
        As of `LightGCN`.
    contrast_weight, contrast_temperature, perturbation, contrast_layer
        w, τ (numbers, or tensors with one value per replica), ε and l*, from 1 to ``layers``.
    reduction
        ``mean`` or ``sum`` over the distinct users and items.
    variant
        ``official`` is the ReSN code [lin2024resn]: the mean is over layers 0 to L. (Its losses are
        sums: ``reduction="sum"``.)
    """

    def __init__(
        self,
        train: CSR,
        dim: int,
        *,
        contrast_weight: Strength,
        contrast_temperature: Strength,
        perturbation: float,
        contrast_layer: int,
        reduction: str = "mean",
        variant: str = "formula",
        **of_lightgcn: Any,
    ) -> None:
        super().__init__(
            train, dim, contrast_weight=contrast_weight, reduction=reduction,
            contrast_temperature=contrast_temperature, **of_lightgcn,
        )  # fmt: skip
        between("perturbation", perturbation, 0.0, torch.inf)
        one_of("variant", variant, VARIANTS)
        if not 1 <= contrast_layer <= self.layers:
            raise ValueError(f"contrast_layer is {contrast_layer}: expected 1 to {self.layers}")
        if self.propagation != "mean":
            raise ValueError(f"propagation is {self.propagation!r}: XSimGCL takes the mean")
        self.perturbation, self.contrast_layer, self.variant = perturbation, contrast_layer, variant
        self.streams: Sequence[torch.Generator] = ()
        self._other_view: tuple[Tensor, Tensor] | None = None

    def new_epoch(self, streams: Sequence[torch.Generator]) -> None:
        self.streams = streams

    def forward(self) -> tuple[Tensor, Tensor]:
        return self._both(self._propagated(noisy=False)[0])

    def training_pass(self) -> tuple[Tensor, Tensor]:
        final, layer = self._propagated(noisy=True)
        self._other_view = self._both(layer)
        return self._both(final)

    def _propagated(self, noisy: bool) -> tuple[Tensor, Tensor]:
        """The mean of the layers and layer l*, ``(R, nodes, d)``."""
        nodes = torch.cat([self.users, self.items], dim=-2)
        official = self.variant == "official"
        total = nodes if official else None
        for layer in range(1, self.layers + 1):
            nodes = self.adjacency.times(nodes)
            if noisy and self.perturbation:
                shape, where = nodes.shape[1:], nodes.device
                draws = [torch.rand(shape, generator=s, device=where) for s in self.streams]
                noise = unit(torch.stack(draws)) * self.perturbation
                nodes = nodes + nodes.detach().sign() * noise  # a sign has no gradient
            total = nodes if total is None else total + nodes
            if layer == self.contrast_layer:
                chosen = nodes
        assert total is not None
        return total / (self.layers + official), chosen

    def _both(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        users, items = nodes.split([self.users.shape[-2], self.items.shape[-2]], dim=-2)
        return users, items

    def own_loss(self, final: tuple[Tensor, Tensor], ids: Sequence[Tensor]) -> Tensor:
        assert self._other_view is not None
        total: Tensor | float = 0.0
        for one, other, which in zip(final, self._other_view, ids[:2], strict=True):
            nodes, counted = distinct(which, one.shape[1])
            own = torch.arange(nodes.shape[-1], device=nodes.device).expand_as(nodes)
            terms = info_nce(
                gather(one, nodes), gather(other, nodes), own, self.contrast_temperature, counted
            ).where(counted, 0.0)
            sums = terms.sum(-1)
            total = total + (sums if self.reduction == "sum" else sums / counted.sum(-1))
        assert isinstance(total, Tensor)
        self._other_view = None  # it holds the graph of this step
        return self._weighted(total)


def thinned(train: CSR, dropout: float, streams: Sequence[torch.Generator]) -> CSR:
    """Graphs that keep ⌊(1 − dropout)·edges⌋ of the edges, one per stream, as one graph.

    Shape ``(R · n_users, R · n_items)``: those of replica r come after those of the ones before.
    Rounding error of the product never lowers the floor (0.2 of 10 is 2, with a dropout of 0.8).
    """
    n_users, n_items = train.shape
    kept = whole_part(train.nnz * (1 - dropout))
    rows, users, items = train.rows(), [], []
    for r, stream in enumerate(streams):
        order = torch.randperm(train.nnz, generator=stream, device=train.device)
        chosen = order[:kept].sort().values
        users.append(rows[chosen] + r * n_users)
        items.append(train.indices[chosen] + r * n_items)
    degree = torch.bincount(torch.cat(users), minlength=len(streams) * n_users)
    offsets = torch.cat([degree.new_zeros(1), degree.cumsum(0)])
    return CSR(offsets, torch.cat(items), (len(streams) * n_users, len(streams) * n_items))


def often(ids: Tensor, n: int, *, fixed_size: bool | None = None) -> tuple[Tensor, Tensor]:
    """Numbers below n in each row of ``ids (R, B)`` and how often they are in it: ``(R, K)`` each.

    Every number once, filled up with the number 0, no times, where rows differ. With
    ``fixed_size``, as on a GPU, where to learn K would stop it: all n numbers, or ids as they are
    if there are fewer.
    """
    if ids.is_cuda if fixed_size is None else fixed_size:
        if ids.shape[-1] < n:
            return ids, torch.ones_like(ids)
        every = torch.arange(n, device=ids.device).expand(len(ids), n)
        return every, torch.zeros_like(every).scatter_add_(1, ids, torch.ones_like(ids))
    found = [torch.unique(row, return_counts=True) for row in ids]
    nodes, counts = (
        pad_sequence(list(rows), batch_first=True) for rows in zip(*found, strict=True)
    )
    return nodes, counts


def distinct(ids: Tensor, n: int, *, fixed_size: bool | None = None) -> tuple[Tensor, Tensor]:
    """Numbers below n that hold those in each row of ``ids (R, B)``, and which count: ``(R, K)``.

    Each that is in the row counts once; what does not count is filled up from the row, too, as a
    node without edges has no direction. K and ``fixed_size`` are as in `often`.
    """
    nodes, counts = often(ids, n, fixed_size=fixed_size)
    counted = first_of_each(ids) if nodes is ids else counts > 0
    return torch.where(counted, nodes, ids[:, :1]), counted


def first_of_each(ids: Tensor) -> Tensor:
    """True at the first place of each number in a row: ``(*, B)`` → ``(*, B)``."""
    ordered, place = ids.sort(dim=-1, stable=True)
    new = torch.ones_like(ids, dtype=torch.bool)
    new[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    return torch.zeros_like(new).scatter(-1, place, new)
