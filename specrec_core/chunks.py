"""Steps of training by chunks of users, as the ReSN code trains [lin2024resn].

A step takes some users, with all their positives and the negatives drawn for each. Where these are
many among all pairs it scores all items once and picks from the scores; else it scores the pairs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specrec_core.arguments import of_all_scores
from specrec_core.corrections import Batch
from specrec_core.interactions import CSR
from specrec_core.models import MF, generator
from specrec_core.pair_scores import Pairs
from specrec_core.ranking import entries
from specrec_core.replicas import Stepper
from specrec_core.sampling import Negatives
from specrec_core.steps import Objective, add_whole
from specrec_core.strengths import Strength, kept, positive

DENSE = 16  # all pairs are scored where more than one in so many is listed


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some users ``(C,)`` and all their training pairs, user by user.

    Position of the user and item of each ``(P,)``, and where those of a user begin ``(C + 1,)``.
    """

    users: Tensor
    rows: Tensor
    items: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, train: CSR, users: Tensor) -> Chunk:
        """The training pairs of these users."""
        rows, items = entries(train, users)
        counted = torch.arange(len(users) + 1, device=users.device)
        return cls(users, rows, items, torch.searchsorted(rows, counted))


def user_chunks(train: CSR, size: int) -> list[Chunk]:
    """All users in chunks of ``size``, shuffled once, in the same order for every seed.

    A chunk without any pair is left out.
    """
    order = torch.randperm(train.shape[0], generator=generator(0, "user chunks"))
    chunks = [Chunk.of(train, users) for users in order.to(train.device).split(size)]
    return [chunk for chunk in chunks if len(chunk.rows)]


@dataclass(eq=False)
class ChunkSteps:
    """An epoch of chunks of users, each with all positives and fresh negatives for each."""

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
            items = chunk.items.expand(len(drawn), -1)
            listed = torch.cat([items.unsqueeze(-1), drawn], -1)
            scores = None
            cells = len(chunk.users) * leaves[1].shape[-2]
            if of_all_scores(self.objective.regularizer) or DENSE * listed[0].numel() > cells:
                scores = leaves[0][:, chunk.users] @ leaves[1].mT
                found = _picked(scores, chunk, listed)
            else:
                found = _scored(leaves, chunk, listed)
            batch = _batch(found, listed, pair_users, leaves)
            value = self.objective.of_chunk(model, batch, scores)
            more = self.objective.of_tables(*leaves)
            value = value if more is None else value + more
            gradients = torch.autograd.grad(value.sum(), [*leaves, *own], materialize_grads=True)
            # Fused Adam reads memory in order: the gradient of a transposed factor is not in it.
            gradients = tuple(gradient.contiguous() for gradient in gradients)
            of_model = model.own_loss(final, batch.ids)
            model.pull_back(final, gradients[:2], of_model)
            for parameter, gradient in zip(own, gradients[2:], strict=True):
                parameter.grad = gradient
            if penalised:
                add_whole(model, self.l2)
            stepper.step()
            value = value if of_model is None else value + of_model
            steps.append(value.detach())
        return torch.stack(steps, -1)


def _picked(scores: Tensor, chunk: Chunk, listed: Tensor) -> Tensor:
    """Scores ``(R, P, 1 + N)`` of the ``listed`` items, from those of all items ``(R, C, m)``."""
    flat = (chunk.rows * scores.shape[-1]).unsqueeze(-1) + listed
    return scores.flatten(1).gather(1, flat.flatten(1)).view(listed.shape)


def _scored(leaves: Sequence[Tensor], chunk: Chunk, listed: Tensor) -> Tensor:
    """The same, from the tables of users ``(R, n, d)`` and items ``(R, m, d)``."""
    offsets = chunk.offsets * listed.shape[-1]
    found = [
        Pairs(offsets, items.flatten(), len(table)).scores(users[chunk.users], table)
        for users, table, items in zip(*leaves, listed, strict=True)
    ]
    return torch.stack(found).view(listed.shape)


def _batch(found: Tensor, listed: Tensor, users: Tensor, leaves: Sequence[Tensor]) -> Batch:
    """Scores of positives and negatives, with ids and projections of what is scored."""

    def project(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        of_users, of_items = ((leaf @ v.unsqueeze(-1)).squeeze(-1)
                              for leaf, v in zip(leaves, (w, x), strict=True))  # fmt: skip
        every = of_items.gather(1, listed.flatten(1)).view(listed.shape)
        return of_users[:, users], every[..., 0], every[..., 1:]

    ids = (users.expand(len(listed), -1), listed[..., 0], listed[..., 1:])
    return Batch(found[..., 0], found[..., 1:], ids, project)
