"""Models whose score is a network of two rows: NeuMF, and multi-embedding factorisation.

They are models like `specrec_core.models.MF`: R replicas, tables ``(R, n, ·)``, and calling one
gives what the tables become. The parameters of the network have the replicas leading as well. A
score is no inner product, so all scores of a user are computed by chunks that fit into memory:
nothing of the size users × items × d exists.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from specrec_core.interactions import CSR
from specrec_core.models import MF, LightGCN, gather, generator
from specrec_core.ranking import Wanted, check_candidates, entries, kept_only

CELLS_ON_CPU = 2**21  # numbers of the widest layer at a time, when all items are scored
CELLS_ON_GPU = 2**27

Against = Callable[[Tensor, Wanted | None], Tensor]
"""``score(rows of users (R, b, ·), pairs) -> (R, b, n_items)``, −inf but for pairs if given."""


@dataclass(frozen=True, eq=False)
class NetworkScore:
    """Scores of users for all items, some users at a time."""

    users: Tensor
    against: Against
    at_once: int

    @torch.no_grad()
    def __call__(self, ids: Tensor) -> Tensor:
        parts = ids.split(self.at_once)
        return torch.cat([self.against(self.users[:, part], None) for part in parts], dim=1)

    @torch.no_grad()
    def among(self, ids: Tensor, candidates: Sequence[CSR]) -> Tensor:
        """−inf for every item that is no candidate; a matrix of them per replica."""
        check_candidates(candidates, len(self.users))
        found = []
        for part in ids.split(self.at_once):
            pairs = [entries(matrix, part) for matrix in candidates]
            found.append(self.against(self.users[:, part], pairs))
        return torch.cat(found, dim=1)


class Network(MF, abc.ABC):
    """What models have in common whose score has parameters of its own."""

    inner_product = False

    def network(self) -> list[nn.Parameter]:
        return [self.get_parameter(name) for name in self._names]

    def _linear(self, name: str, shape: tuple[int, ...], fan: int, dtype: torch.dtype) -> None:
        """A parameter ``(R, *shape)``, uniform in ±1/√fan: the default of torch.nn.Linear."""
        draws = [torch.rand(shape, generator=generator(s, name), dtype=dtype) for s in self.seeds]
        self._names = [*getattr(self, "_names", ()), name]
        bound = 1 / math.sqrt(fan)
        self.register_parameter(name, nn.Parameter((2 * torch.stack(draws) - 1) * bound))

    @property
    @abc.abstractmethod
    def cells(self) -> int:
        """Width of the widest layer that is formed for every pair of a user and an item."""

    @abc.abstractmethod
    def _against(self, items: Tensor) -> Against:
        """Scores of rows of users for these items."""

    @torch.no_grad()
    def scorer(self) -> NetworkScore:
        users, items = (x.detach() for x in self())
        budget = CELLS_ON_GPU if users.is_cuda else CELLS_ON_CPU
        at_once = max(1, budget // (users.shape[0] * items.shape[1] * self.cells))
        return NetworkScore(users, self._against(items), at_once)


class NeuMF(Network):
    """NeuMF: matrix factorisation and a perceptron side by side [he2017neural].

    x_ui = w_mᵀ(p_u ∘ q_i) + w_hᵀ h_L + b, with h_0 = [p'_u; q'_i] and
    h_l = ReLU(W_l drop(h_{l−1}) + b_l). The perceptron has embeddings p', q' of its own, of the
    same dimension d: the tables are ``(R, n, 2d)``, the rows [p; p'] and [q; q']. As in RecBole
    [zhao2021recbole], which sweeps of [scaling2025] use: dropout precedes each layer, embeddings
    are normal with standard deviation ``init_std`` and the layers as torch.nn.Linear has them.

    Parameters
    ----------
    n_users, n_items, dim, seeds, init, init_std, dtype
        As of `MF`; ``dim`` is that of p and of p'.
    hidden
        Widths of the layers.
    dropout
        Probability with which a number that enters a layer is left out, while training.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        dim: int,
        *,
        hidden: Sequence[int] = (128, 64),
        dropout: float = 0.1,
        seeds: Sequence[int] = (0,),
        init: str = "normal",
        init_std: float = 0.01,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(
            n_users, n_items, dim, seeds=seeds, init=init, init_std=init_std, dtype=dtype
        )
        if not hidden or any(width < 1 for width in hidden):
            raise ValueError(f"hidden is {tuple(hidden)}: expected one or more widths from 1")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout is {dropout}: expected a probability below 1")
        self.dim, self.hidden, self.dropout = dim, tuple(hidden), dropout
        self.streams: Sequence[torch.Generator] = ()
        for side, rows in (("users", n_users), ("items", n_items)):
            further = self._drawn(f"mlp {side}", rows, dim, init, init_std, rows, dtype)
            both = torch.cat([getattr(self, side).detach(), further], dim=-1)
            setattr(self, side, nn.Parameter(both))
        widths = (2 * dim, *hidden)
        for layer, (before, after) in enumerate(pairwise(widths)):
            self._linear(f"weight {layer}", (after, before), before, dtype)
            self._linear(f"bias {layer}", (after,), before, dtype)
        self._linear("weight out", (dim + hidden[-1], 1), dim + hidden[-1], dtype)
        self._linear("bias out", (1,), dim + hidden[-1], dtype)

    def tables(self) -> dict[str, Tensor]:
        """The tables of both parts, ``(R, n, d)`` each."""
        (p, p_mlp), (q, q_mlp) = (x.chunk(2, dim=-1) for x in (self.users, self.items))
        return {"users": p, "items": q, "mlp users": p_mlp, "mlp items": q_mlp}

    def new_epoch(self, streams: Sequence[torch.Generator]) -> None:
        self.streams = streams

    def part(self, replicas: slice) -> Self:
        other = super().part(replicas)
        other.streams = self.streams[replicas]  # their draws go on, whoever takes them
        return other

    def score(self, users: Tensor, items: Tensor) -> Tensor:
        (p, p_mlp), (q, q_mlp) = (x.chunk(2, dim=-1) for x in (users, items))
        product = p * q
        pairs = torch.cat(torch.broadcast_tensors(p_mlp, q_mlp), dim=-1).flatten(1, -2)
        last = self._layers(self._drop(pairs), 0)
        out = torch.cat([product.flatten(1, -2), last], dim=-1)
        weight, bias = self._parameters_of("out")
        return (out @ weight + bias.unsqueeze(-2)).reshape(product.shape[:-1])

    def _parameters_of(self, layer: int | str) -> tuple[Tensor, Tensor]:
        return self.get_parameter(f"weight {layer}"), self.get_parameter(f"bias {layer}")

    def _layers(self, inputs: Tensor, first: int, drop: bool = True) -> Tensor:
        """What becomes of the ``inputs (R, M, ·)`` of layer ``first`` in it and those after it."""
        for layer in range(first, len(self.hidden)):
            weight, bias = self._parameters_of(layer)
            if drop and layer > first:
                inputs = self._drop(inputs)
            inputs = torch.baddbmm(bias.unsqueeze(-2), inputs, weight.mT).relu()
        return inputs

    def _drop(self, inputs: Tensor) -> Tensor:
        if not self.dropout:
            return inputs
        kept = torch.empty_like(inputs)
        for mask, stream in zip(kept, self.streams, strict=True):
            mask.bernoulli_(1 - self.dropout, generator=stream)
        return inputs * kept.div_(1 - self.dropout)

    @property
    def cells(self) -> int:
        return max(self.hidden)

    def _against(self, items: Tensor) -> Against:
        q, q_mlp = items.chunk(2, dim=-1)
        weight, bias = self._parameters_of(0)
        of_user, of_item = weight.chunk(2, dim=-1)
        entering = q_mlp @ of_item.mT + bias.unsqueeze(-2)  # the items' part of the first layer
        out, constant = self._parameters_of("out")
        on_product, on_last = out[:, : self.dim], out[:, self.dim :]

        def score(rows: Tensor, pairs: Wanted | None) -> Tensor:
            p, p_mlp = rows.chunk(2, dim=-1)
            of_rows = p_mlp @ of_user.mT
            products = (p * on_product.mT) @ q.mT + constant.unsqueeze(-1)
            if pairs is None:
                first = of_rows.unsqueeze(2) + entering.unsqueeze(1)
                last = self._layers(first.relu_().flatten(1, 2), 1, drop=False)
                return products + (last @ on_last).view_as(products)
            rows_of_all, items_of_all = (  # filled up with 0 where replicas have fewer pairs
                pad_sequence(list(ids), batch_first=True) for ids in zip(*pairs, strict=True)
            )
            first = gather(of_rows, rows_of_all).add_(gather(entering, items_of_all)).relu_()
            last = self._layers(first, 1, drop=False)
            perceptron = (last @ on_last).squeeze(-1)
            kept = torch.full_like(products, -torch.inf)
            for r, (row, item) in enumerate(pairs):
                kept[r, row, item] = products[r, row, item] + perceptron[r, : len(row)]
            return kept

        return score


class Multi(Network):
    """What multi-embedding puts on top of an encoder [guo2024collapse]; see `MultiMF`."""

    sets: int

    def _more_sets(
        self, sets: int, width: int, linear: bool, dim: int, init: str, init_std: float
    ) -> None:
        for name, value in (("sets", sets), ("width", width)):
            if value < 1:
                raise ValueError(f"{name} is {value}: expected at least 1")
        self.sets, self.width, self.linear = sets, width, linear
        dtype, device = self.users.dtype, self.users.device
        sides = {"users": self.users.shape[1], "items": self.items.shape[1]}
        for side, rows in sides.items():
            fan = rows if self.own_tables or init == "xavier_sides" else sum(sides.values())
            further = [
                self._drawn(f"{side} {m}", rows, dim, init, init_std, fan, dtype).to(device)
                for m in range(1, sets)
            ]
            every = torch.cat([getattr(self, side).detach(), *further], dim=-1)
            setattr(self, side, nn.Parameter(every))
        self._linear("weight", (sets, width, dim), dim, dtype)
        self._linear("bias", (sets, width), dim, dtype)
        self._linear("weight out", (width, 1), width, dtype)
        self._linear("bias out", (1,), width, dtype)
        self.to(device)

    def tables(self) -> dict[str, Tensor]:
        """All sets beside one another, ``(R, n, sets · d)``, and each set, ``(R, n, d)``."""
        found = dict(zip(("users", "items"), self(), strict=True))
        for side in ("users", "items") if self.sets > 1 else ():
            for m, table in enumerate(found[side].chunk(self.sets, dim=-1), 1):
                found[f"{side}, set {m}"] = table
        return found

    def _activation(self, values: Tensor) -> Tensor:
        return values if self.linear else F.relu(values)

    def score(self, users: Tensor, items: Tensor) -> Tensor:
        product = users * items
        sets = product.flatten(1, -2).unflatten(-1, (self.sets, -1)).transpose(1, 2)
        weight, bias = self.get_parameter("weight"), self.get_parameter("bias")
        projected = sets @ weight.mT + bias.unsqueeze(-2)  # (R, sets, M, width)
        pooled = self._activation(projected).mean(1)
        out = pooled @ self.get_parameter("weight out")
        return (out + self.get_parameter("bias out").unsqueeze(-1)).reshape(product.shape[:-1])

    @property
    def cells(self) -> int:
        return self.width

    def _against(self, items: Tensor) -> Against:
        weight, bias = self.get_parameter("weight"), self.get_parameter("bias")
        out, constant = self.get_parameter("weight out"), self.get_parameter("bias out")
        transposed = [part.mT for part in items.chunk(self.sets, dim=-1)]

        def score(rows: Tensor, pairs: Wanted | None) -> Tensor:
            total: Tensor | float = 0.0
            for m, part in enumerate(rows.chunk(self.sets, dim=-1)):
                own = part.unsqueeze(2) * weight[:, m].unsqueeze(1)  # (R, b, width, d)
                projected = (own.flatten(1, 2) @ transposed[m]).unflatten(1, own.shape[1:3])
                active = self._activation(projected + bias[:, m, None, :, None])
                total = total + (active * out[:, None]).sum(2)
            assert isinstance(total, Tensor)
            scores = total / self.sets + constant.unsqueeze(-1)
            return scores if pairs is None else kept_only(scores, pairs)

        return score


class MultiMF(Multi):
    """Multi-embedding factorisation: M tables of dimension d, each with its own interaction.

    x_ui = wᵀ (1/M) Σ_m ReLU(W_m (e_u^m ∘ e_i^m) + b_m) + b. It carries the multi-embedding of
    [guo2024collapse] over to two fields; the paper has no such model. With one set it is the single
    embedding to compare with. Without the ReLU (``linear=True``) M sets are one embedding of
    dimension M·d with a constrained W, so nothing would be gained: the paper's argument for a
    non-linearity in each set.

    Parameters
    ----------
    n_users, n_items, dim
        As of `MF`; ``dim`` is that of one set, the tables are ``(R, n, sets · dim)``.
    sets, width
        M, and the number of rows of each W_m.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        dim: int,
        *,
        sets: int,
        width: int = 64,
        linear: bool = False,
        **of_tables: Any,
    ) -> None:
        super().__init__(n_users, n_items, dim, **of_tables)
        std = of_tables.get("init_std", 0.1)
        self._more_sets(sets, width, linear, dim, of_tables.get("init", "normal"), std)


class MultiLightGCN(Multi, LightGCN):
    """`MultiMF` on the final embeddings of `LightGCN`; each set propagates on its own."""

    def __init__(
        self,
        train: CSR,
        dim: int,
        *,
        sets: int,
        width: int = 64,
        linear: bool = False,
        **of_tables: Any,
    ) -> None:
        LightGCN.__init__(self, train, dim, **of_tables)
        std = of_tables.get("init_std", 0.1)
        self._more_sets(sets, width, linear, dim, of_tables.get("init", "normal"), std)
