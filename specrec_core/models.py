"""Encoders: tables of embeddings, and what a model makes of them before it scores.

A model holds R replicas, one per seed, as the leading dimension of its tables: users
``(R, n_users, d)`` and items ``(R, n_items, d)``. Calling it gives the final embeddings of all
users and items; a score is their inner product.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from specrec_core.graph import NormalisedAdjacency
from specrec_core.interactions import CSR


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
    init_std
        Standard deviation of the normal initialisation.
    dtype
        Of the tables; float64 for tests.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        dim: int,
        *,
        seeds: Sequence[int] = (0,),
        init_std: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        for name, value in (("n_users", n_users), ("n_items", n_items), ("dim", dim)):
            if value < 1:
                raise ValueError(f"{name} is {value}: expected at least 1")
        if len(seeds) == 0:
            raise ValueError("seeds is empty: expected one seed per replica")
        self.seeds = tuple(seeds)

        def table(rows: int, purpose: str) -> nn.Parameter:
            draws = [
                torch.randn(rows, dim, generator=generator(s, purpose), dtype=dtype) for s in seeds
            ]
            return nn.Parameter(init_std * torch.stack(draws))

        self.users = table(n_users, "users")
        self.items = table(n_items, "items")

    def forward(self) -> tuple[Tensor, Tensor]:
        """Final embeddings: users ``(R, n_users, d)``, items ``(R, n_items, d)``."""
        return self.users, self.items

    def pull_back(self, final: tuple[Tensor, Tensor], gradients: Sequence[Tensor]) -> None:
        """Set the gradients of the tables from those of the ``final`` embeddings.

        ``final`` is what calling the model gave, ``gradients`` are ``(R, n_users, d)`` and
        ``(R, n_items, d)``. Here the two are the same tensors, and nothing is copied.
        """
        self.users.grad, self.items.grad = gradients

    @torch.no_grad()
    def scorer(self) -> Callable[[Tensor], Tensor]:
        """``score(user_ids (B,)) -> (R, B, n_items)`` for `specrec_core.evaluation.evaluate`."""
        users, items = (x.detach() for x in self())
        transposed = items.transpose(-2, -1)
        return lambda ids: users[:, ids] @ transposed

    def keep(self, replicas: Tensor) -> None:
        """Drop every replica but those at positions ``replicas``, in place."""
        for name, parameter in list(self.named_parameters()):
            setattr(self, name, nn.Parameter(parameter.detach()[replicas]))
        self.seeds = tuple(self.seeds[i] for i in replicas.tolist())


class LightGCN(MF):
    """LightGCN: the mean of L propagations of the tables over the graph [he2020lightgcn].

    E = (E₀ + ÂE₀ + … + Â^L E₀) / (L + 1), with Â of the training interactions alone.
    """

    def __init__(
        self,
        train: CSR,
        dim: int,
        *,
        layers: int = 3,
        seeds: Sequence[int] = (0,),
        init_std: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if layers < 1:
            raise ValueError(f"layers is {layers}: expected at least 1 (none is MF)")
        super().__init__(*train.shape, dim, seeds=seeds, init_std=init_std, dtype=dtype)
        self.to(train.offsets.device)
        self.layers = layers
        self.adjacency = NormalisedAdjacency.of(train, dtype)

    def forward(self) -> tuple[Tensor, Tensor]:
        n_users = self.users.shape[-2]
        nodes = torch.cat([self.users, self.items], dim=-2)
        nodes = self.adjacency.mean_of_powers(nodes, self.layers)
        return nodes[..., :n_users, :], nodes[..., n_users:, :]

    def pull_back(self, final: tuple[Tensor, Tensor], gradients: Sequence[Tensor]) -> None:
        self.zero_grad(set_to_none=True)
        torch.autograd.backward(final, gradients)
