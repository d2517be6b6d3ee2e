"""Steps of training by chunks of users, as the ReSN code trains [lin2024resn].

A step takes some users, scores all items for them once, and picks the scores of all their positives
and of the drawn negatives.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specrec_core.corrections import Batch
from specrec_core.interactions import CSR
from specrec_core.models import MF, generator
from specrec_core.ranking import entries
from specrec_core.replicas import Stepper
from specrec_core.sampling import Negatives
from specrec_core.steps import Objective, add_whole
from specrec_core.strengths import Strength, kept, positive


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some users ``(C,)`` and all their training pairs: position of the user and item, ``(P,)``."""

    users: Tensor
    rows: Tensor
    items: Tensor


def user_chunks(train: CSR, size: int) -> list[Chunk]:
    """All users in chunks of ``size``, shuffled once, in the same order for every seed.

    A chunk without any pair is left out.
    """
    order = torch.randperm(train.shape[0], generator=generator(0, "user chunks"))
    chunks = [Chunk(u, *entries(train, u)) for u in order.to(train.device).split(size)]
    return [chunk for chunk in chunks if len(chunk.rows)]


@dataclass(eq=False)
class ChunkSteps:
    """An epoch of chunks of users, each with all positives and fresh negatives for each.

    The scores of the chunk's users for all items are computed once and picked from, which is
    cheaper than gathering rows where a user has many interactions.
    """

    chunks: Sequence[Chunk]
    negatives: Negatives
    count: int
    objective: Objective
    l2: Strength = 0.0

    def part(self, replicas: Tensor) -> ChunkSteps:
        """The same for the replicas at these positions alone."""
        objective, l2 = self.objective.part(replicas), kept(self.l2, replicas)
        return dataclasses.replace(self, objective=objective, l2=l2)

    def __call__(self, model: MF, stepper: Stepper, streams: Sequence[torch.Generator]) -> Tensor:
        """One pass over the users; the loss of each replica at each step, ``(R, steps)``."""
        model.new_epoch(streams)
        own, penalised = self.objective.debias.own(model), positive(self.l2)
        steps = []
        for chunk in self.chunks:
            pair_users = chunk.users[chunk.rows]
            drawn = torch.stack(
                [self.negatives.draw(pair_users, self.count, stream) for stream in streams]
            )
            final = model.training_pass()
            leaves = [table.detach().requires_grad_() for table in final]
            scores = leaves[0][:, chunk.users] @ leaves[1].mT
            batch = _picked(scores, chunk, pair_users, drawn, leaves)
            value = self.objective.of_chunk(model, batch, scores)
            more = self.objective.of_tables(*leaves)
            value = value if more is None else value + more
            found = torch.autograd.grad(value.sum(), [*leaves, *own], materialize_grads=True)
            # Fused Adam reads memory in order: the gradient of a transposed factor is not in it.
            found = tuple(gradient.contiguous() for gradient in found)
            of_model = model.own_loss(final, batch.ids)
            model.pull_back(final, found[:2], of_model)
            for parameter, gradient in zip(own, found[2:], strict=True):
                parameter.grad = gradient
            if penalised:
                add_whole(model, self.l2)
            stepper.step()
            value = value if of_model is None else value + of_model
            steps.append(value.detach())
        return torch.stack(steps, -1)


def _picked(
    scores: Tensor, chunk: Chunk, users: Tensor, drawn: Tensor, leaves: Sequence[Tensor]
) -> Batch:
    """The batch of a chunk, its scores picked from those of all items."""
    replicas, _, m = scores.shape
    items = chunk.items.expand(replicas, -1)
    wanted = torch.cat([items.unsqueeze(-1), drawn], -1)
    flat = (chunk.rows * m).unsqueeze(-1) + wanted
    taken = scores.flatten(1).gather(1, flat.flatten(1)).view(wanted.shape)

    def project(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        of_users, of_items = ((leaf @ v.unsqueeze(-1)).squeeze(-1)
                              for leaf, v in zip(leaves, (w, x), strict=True))  # fmt: skip
        every = of_items.gather(1, wanted.flatten(1)).view(wanted.shape)
        return of_users[:, users], every[..., 0], every[..., 1:]

    ids = (users.expand(replicas, -1), items, drawn)
    return Batch(taken[..., 0], taken[..., 1:], ids, project)
