"""Encoders: tables of embeddings, and what a model makes of them before it scores.

A model holds R replicas, one per seed, as the leading dimension of its tables: users
``(R, n_users, d)`` and items ``(R, n_items, d)``. Calling it gives the final embeddings of all
users and items. Here a score is their inner product; `specrec_core.neural` has models whose score
is a network of the two, `specrec_core.contrastive` models that add a loss of their own.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specrec_core.arguments import INITS, PROPAGATIONS, one_of
from specrec_core.graph import NormalisedAdjacency
from specrec_core.interactions import CSR
from specrec_core.strengths import kept


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """An own stream of random numbers for each seed and purpose."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


class MF(nn.Module):
    """Matrix factorisation: the score of (u, i) is e_uᵀ e_i [koren2009matrix].

    Parameters
    ----------
    n_users, n_items, dim
        Sizes of the two tables.
    seeds
        One replica each; a replica's initial values depend on its own seed alone.
    init, init_std
        ``normal`` with standard deviation ``init_std``; ``xavier_normal``, with the standard
        deviation √(2 / (rows + dim)); or ``xavier``, uniform in ±√(6 / (rows + dim)), rows being
        those of the table: Xavier's [glorot2010understanding], as the DirectSpec code has it
        [peng2024balancing].
    dtype
        Of the tables; float64 for tests.
    """

    own_tables = True  # the rows of `xavier` are those of one side, not of both together
    inner_product = True  # a score is the inner product of what calling the model gives
    strengths: tuple[str, ...] = ()  # attributes that are numbers, or tensors of one per replica

    def __init__(
        self,
        n_users: int,
        n_items: int,
        dim: int,
        *,
        seeds: Sequence[int] = (0,),
        init: str = "normal",
        init_std: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        one_of("init", init, INITS)
        for name, value in (("n_users", n_users), ("n_items", n_items), ("dim", dim)):
            if value < 1:
                raise ValueError(f"{name} is {value}: expected at least 1")
        if isinstance(seeds, int) or len(seeds) == 0:
            raise ValueError(f"seeds is {seeds!r}: expected one seed per replica, such as (0, 1)")
        self.seeds = tuple(seeds)

        def table(side: str, rows: int) -> nn.Parameter:
            both = not (self.own_tables or init == "xavier_sides")
            fan = n_users + n_items if both else rows
            return nn.Parameter(self._drawn(side, rows, dim, init, init_std, fan, dtype))

        self.users, self.items = table("users", n_users), table("items", n_items)

    def _drawn(
        self,
        purpose: str,
        rows: int,
        dim: int,
        init: str,
        init_std: float,
        fan: int,
        dtype: torch.dtype,
    ) -> Tensor:
        """A table ``(R, rows, dim)``, each replica drawn from its seed; ``fan`` rows to Xavier."""
        draw = torch.randn if init in ("normal", "xavier_normal") else torch.rand
        draws = torch.stack(
            [draw(rows, dim, generator=generator(s, purpose), dtype=dtype) for s in self.seeds]
        )
        if init == "normal":
            return init_std * draws
        if init == "xavier_normal":
            return draws * math.sqrt(2 / (fan + dim))
        return (2 * draws - 1) * math.sqrt(6 / (fan + dim))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Final embeddings: users ``(R, n_users, d)``, items ``(R, n_items, d)``."""
        return self.users, self.items

    def tables(self) -> dict[str, Tensor]:
        """The tables whose spectra are of interest, by name: ``(R, n, ·)`` each."""
        return dict(zip(("users", "items"), self(), strict=True))

    def new_epoch(self, streams: Sequence[torch.Generator]) -> None:
        """Prepare an epoch of training; draws come from ``streams``, one per replica."""

    def training_pass(self) -> tuple[Tensor, Tensor]:
        """The final embeddings of a training step, where they are not those of evaluation."""
        return self()

    def score(self, users: Tensor, items: Tensor) -> Tensor:
        """Scores ``(R, *)`` of rows ``(R, *, d)``, which broadcast, in a training step."""
        return (users * items).sum(-1)

    def network(self) -> list[nn.Parameter]:
        """What the score has of parameters beside the rows, ``(R, ·)`` each."""
        return []

    def own_loss(self, final: tuple[Tensor, Tensor], ids: Sequence[Tensor]) -> Tensor | None:
        """What a model adds to the loss of a step, ``(R,)``, or None; ``ids`` are ``(R, B)``."""
        return None

    def pull_back(
        self,
        final: tuple[Tensor, Tensor],
        gradients: Sequence[Tensor],
        own_loss: Tensor | None = None,
    ) -> None:
        """Set the gradients of all parameters from those of the ``final`` embeddings.

        ``final`` is what `training_pass` gave, ``gradients`` are ``(R, n_users, d)`` and
        ``(R, n_items, d)``. Where final embeddings are the tables themselves, nothing is copied.
        """
        if own_loss is None and final[0] is self.users and final[1] is self.items:
            self.users.grad, self.items.grad = gradients
            return
        self.zero_grad(set_to_none=True)
        if own_loss is None:
            torch.autograd.backward(final, gradients)
        else:
            torch.autograd.backward((*final, own_loss.sum()), (*gradients, None))

    @torch.no_grad()
    def scorer(self) -> Callable[[Tensor], Tensor]:
        """``score(user_ids (B,)) -> (R, B, n_items)`` for `specrec_core.evaluation.evaluate`."""
        users, items = (x.detach() for x in self())
        transposed = items.transpose(-2, -1)
        return lambda ids: users[:, ids] @ transposed

    def part(self, replicas: slice) -> Self:
        """These replicas alone, on the same memory: training them changes this model."""
        other = copy.copy(self)
        other._parameters = {
            name: nn.Parameter(parameter.detach()[replicas])
            for name, parameter in self.named_parameters()
        }
        other.seeds = self.seeds[replicas]
        return other

    def keep(self, replicas: Tensor) -> None:
        """Drop every replica but those at positions ``replicas``, in place."""
        for name, parameter in list(self.named_parameters()):
            setattr(self, name, nn.Parameter(parameter.detach()[replicas]))
        for name in self.strengths:
            setattr(self, name, kept(getattr(self, name), replicas))
        self.seeds = tuple(self.seeds[i] for i in replicas.tolist())

    def of_replicas(self) -> dict[str, Any]:
        """What says which replicas these are, beside their parameters: attributes by name."""
        return {name: getattr(self, name) for name in ("seeds", *self.strengths)}


class LightGCN(MF):
    """LightGCN: the mean of L propagations of the tables over the graph [he2020lightgcn].

    E = (E₀ + ÂE₀ + … + Â^L E₀) / (L + 1), with Â of the training interactions alone. With
    ``propagation="sum"`` it is not divided, as in the DirectSpec code [peng2024balancing]; users
    and items are one table to ``init="xavier"``, and two to ``init="xavier_sides"``, as in RecBole
    [zhao2021recbole].
    """

    own_tables = False

    def __init__(
        self,
        train: CSR,
        dim: int,
        *,
        layers: int = 3,
        propagation: str = "mean",
        seeds: Sequence[int] = (0,),
        init: str = "normal",
        init_std: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not isinstance(train, CSR):
            kind = type(train).__name__
            raise ValueError(f"train is a {kind}: expected a CSR, such as data.csr('train')")
        if layers < 1:
            raise ValueError(f"layers is {layers}: expected at least 1 (none is MF)")
        one_of("propagation", propagation, PROPAGATIONS)
        super().__init__(*train.shape, dim, seeds=seeds, init=init, init_std=init_std, dtype=dtype)
        super()._apply(lambda table: table.to(train.device))
        self.layers, self.propagation = layers, propagation
        self.adjacency = NormalisedAdjacency.of(train, dtype)
        self.sides = self.adjacency.sides(train.shape[0])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What ``to``, ``double`` and the like call: the graph goes where the tables go."""
        super()._apply(fn, recurse)
        self.adjacency = self.adjacency.moved(fn)
        self.sides = self.adjacency.sides(self.users.shape[1])
        return self

    def part(self, replicas: slice) -> Self:
        raise NotImplementedError("a model with a graph is not taken apart: its replicas share it")

    def forward(self) -> tuple[Tensor, Tensor]:
        users, items = self.sides.mean_of_powers(self.users, self.items, self.layers)
        if self.propagation == "sum":
            users, items = users * (self.layers + 1), items * (self.layers + 1)
        return users, items


def gather(tables: Tensor, ids: Tensor) -> Tensor:
    """Rows ``ids (R, *)`` of ``tables (R, n, d)``, each replica from its own: ``(R, *, d)``."""
    flat = tables.reshape(-1, tables.shape[-1])
    return F.embedding(_flat_ids(tables, ids), flat)


def add_rows(tables: Tensor | None, ids: Tensor, rows: Tensor) -> None:
    """Add ``rows (R, *, d)`` to the rows ``ids (R, *)`` of ``tables (R, n, d)``, in place."""
    assert tables is not None
    flat = _flat(tables)
    flat.index_add_(0, _flat_ids(tables, ids).flatten(), rows.reshape(-1, flat.shape[-1]))


def clear_rows(tables: Tensor, ids: Sequence[Tensor]) -> None:
    """Zero ``tables (R, n, d)``, in place: all rows but ``ids``, each ``(R, *)``, must be so."""
    if 4 * sum(i.numel() for i in ids) > tables.shape[0] * tables.shape[1]:
        tables.zero_()  # in order: faster than many rows one by one
        return
    for i in ids:
        _flat(tables).index_fill_(0, _flat_ids(tables, i).flatten(), 0.0)


def sparse_rows(tables: Tensor, ids: Sequence[Tensor]) -> Tensor:
    """The rows ``ids (R, *)`` of ``tables (R, n, d)``, each once, as a sparse tensor.

    How many rows there are is known on the device alone: on CUDA each call waits for it.
    """
    flat = torch.cat([_flat_ids(tables, i).flatten() for i in ids]).unique()
    n = tables.shape[1]
    where = torch.stack([flat // n, flat % n])
    return torch.sparse_coo_tensor(
        where, _flat(tables)[flat], tables.shape, is_coalesced=True, check_invariants=False
    )


def _flat(tables: Tensor) -> Tensor:
    return tables.view(-1, tables.shape[-1])


def _flat_ids(tables: Tensor, ids: Tensor) -> Tensor:
    if tables.shape[0] == 1:
        return ids
    base = tables.shape[1] * torch.arange(tables.shape[0], device=ids.device)
    return ids + base.view(-1, *[1] * (ids.dim() - 1))
