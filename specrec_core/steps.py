"""Steps of training: one pass over the samples, by positives or by chunks of users.

`Objective` is all that is minimised but for the plain L2 penalties of tables; the spectral norm is
that of all final embeddings (variant ``paper``) or of a chunk of users (the others). `RowSteps`
gathers the rows of a batch of positives; `ChunkSteps` takes some users, scores all items for them
once, and picks the scores of all their positives and of the drawn negatives, as the ReSN code
trains [lin2024resn]. Each keeps replicas apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specrec_core import losses
from specrec_core.corrections import Batch, Debiasing
from specrec_core.interactions import CSR
from specrec_core.models import MF, add_rows, clear_rows, gather, generator, sparse_rows
from specrec_core.ranking import entries
from specrec_core.regularizers import Regularizer
from specrec_core.replicas import Stepper, of_rows_alone
from specrec_core.sampling import EpochSampler, Negatives
from specrec_core.spectral_norm import penalty_of_scores, spectral_norm_penalty
from specrec_core.strengths import Strength, kept, positive, spread


@dataclass(eq=False)
class Objective:
    """Loss, its reduction, regularizer, debiasing and the L2 penalty of the rows it sees.

    With ``reduction="sum"`` the loss, and not the penalties, is multiplied by the number of
    positives in the batch. With ``drop`` the largest terms are left out (`losses.SampleDrop`); each
    call is a step then. The gradient of L2 of tables is left to the steps, and so is what a model
    adds to the loss.
    """

    loss: str
    regularizer: Regularizer
    debias: Debiasing
    reduction: str = "mean"
    row_l2: Strength = 0.0
    drop: losses.SampleDrop | None = None

    def keep(self, replicas: Tensor) -> None:
        """Go on for the replicas at these positions alone."""
        self.regularizer = self.regularizer.keep(replicas)
        self.row_l2 = kept(self.row_l2, replicas)

    def of_rows(self, model: MF, rows: Sequence[Tensor], ids: Sequence[Tensor]) -> Tensor:
        """``(R,)`` of gathered embeddings u, p, n and their ids."""
        scale = rows[0].shape[-2] if self.reduction == "sum" else 1

        def objective(u: Tensor, p: Tensor, n: Tensor) -> Tensor:
            if self.debias.name == "none":
                value = self._plain(model)(u, p, n)
            else:
                value = self.debias.loss(self.loss, model, Batch.of_rows((u, p, n), ids))
            value = value * scale if scale != 1 else value
            if isinstance(self.row_l2, Tensor) or self.row_l2:
                return value + losses.l2(u, p, n) * spread(self.row_l2, value)
            return value

        return self.regularizer.loss(objective, rows, ids)

    def _plain(self, model: MF) -> losses.Objective:
        """The loss of rows, where there is no debiasing."""
        if self.drop is None and model.inner_product:
            return losses.OBJECTIVES[self.loss][0]
        of_scores = self.drop or losses.SCORE_LOSSES[self.loss]
        return losses.of_scores(of_scores, None if model.inner_product else model.score)

    def of_chunk(self, model: MF, batch: Batch, scores: Tensor) -> Tensor:
        """``(R,)`` of a batch, and of all ``scores (R, C, m)`` of its users."""
        value = self.debias.loss(self.loss, model, batch)
        if self.reduction == "sum":
            value = value * batch.positive.shape[-1]
        spectral = self.regularizer
        if spectral.regularizer == "spectral_norm" and spectral.spectral_variant != "paper":
            detach = spectral.detach_start or spectral.spectral_variant == "official"
            penalty = penalty_of_scores(torch.sigmoid(scores), spectral.power_steps, detach)
            value = value + self._strong(penalty)
        return value

    def of_tables(self, users: Tensor, items: Tensor) -> Tensor | None:
        """Penalties ``(R,)`` of the whole final tables, or None."""
        value, spectral = self.debias.of_tables(users, items), self.regularizer
        if spectral.regularizer == "spectral_norm" and spectral.spectral_variant == "paper":
            steps, detach = spectral.power_steps, spectral.detach_start
            found = spectral_norm_penalty(users, items, power_steps=steps, detach_start=detach)
            value = self._strong(found) + (0.0 if value is None else value)
        return value

    def _strong(self, penalty: Tensor) -> Tensor:
        return penalty * spread(self.regularizer.strength, penalty)


@dataclass(eq=False)
class RowSteps:
    """An epoch of batches of positives, each with its negatives, all replicas at once.

    On CUDA a step waits for the device with lazy Adam and with co-occurrences; plain BPR of MF and
    LightGCN do not.
    """

    sampler: EpochSampler
    objective: Objective
    batch_size: int
    drop_last: bool = False
    l2: Strength = 0.0
    l2_on: str = "tables"

    def keep(self, replicas: Tensor) -> None:
        """Go on for the replicas at these positions alone."""
        self.objective.keep(replicas)
        self.l2 = kept(self.l2, replicas)

    def __call__(self, model: MF, stepper: Stepper, streams: Sequence[torch.Generator]) -> Tensor:
        """One pass over the samples; the loss of each replica at each step, ``(R, steps)``."""
        model.new_epoch(streams)
        drawn = [self.sampler.epoch(stream) for stream in streams]
        users, items, negatives = (torch.stack(column) for column in zip(*drawn, strict=True))
        del drawn
        # One gradient for each table, kept from step to step: only rows of the batch are touched.
        gradients = [torch.zeros_like(table) for table in (model.users, model.items)]
        own = [*model.network(), *self.objective.debias.own(model)]
        lazy, penalised = of_rows_alone(stepper), positive(self.l2)
        steps = []
        samples = users.shape[1] - (users.shape[1] % self.batch_size if self.drop_last else 0)
        for start in range(0, samples, self.batch_size):
            batch = slice(start, start + self.batch_size)
            ids = ((0, users[:, batch]), (1, items[:, batch]), (1, negatives[:, batch]))
            final = model.training_pass()
            rows = [gather(final[side].detach(), i).requires_grad_() for side, i in ids]
            value = self.objective.of_rows(model, rows, [i for _, i in ids])
            found = torch.autograd.grad(value.sum(), [*rows, *own], materialize_grads=True)
            of_rows = penalised and self.l2_on in ("tables", "norms")
            own_rows = of_rows and final[0] is model.users and final[1] is model.items
            for (side, i), gradient, row in zip(ids, found[:3], rows, strict=True):
                if own_rows:  # the rows are those of the tables: one pass for both
                    gradient = gradient + self._shrink(row.detach(), rows[0].shape[-2])
                add_rows(gradients[side], i, gradient)
            value, dense = value.detach(), self._add_tables(final, gradients)
            of_model = model.own_loss(final, [i for _, i in ids])
            model.pull_back(final, gradients, of_model)
            for parameter, gradient in zip(own, found[3:], strict=True):
                parameter.grad = gradient.contiguous()
            if of_rows and not own_rows:
                # of the tables, and not of what became of them
                for side, i in ids:
                    table = (model.users, model.items)[side]
                    shrunk = self._shrink(gather(table.detach(), i), rows[0].shape[-2])
                    add_rows(table.grad, i, shrunk)
            elif penalised and self.l2_on == "whole":
                add_whole(model, self.l2)
            touched = [[i for of, i in ids if of == side] for side in (0, 1)]
            if lazy:
                for side, table in enumerate((model.users, model.items)):
                    table.grad = sparse_rows(gradients[side], touched[side])
            stepper.step()
            if dense is not None or self.l2_on == "whole":
                gradients = [gradient.zero_() for gradient in gradients]
            else:
                for gradient, rows_of in zip(gradients, touched, strict=True):
                    clear_rows(gradient, rows_of)
            value = value if dense is None else value + dense
            steps.append(value if of_model is None else value + of_model.detach())
        return torch.stack(steps, -1)

    def _shrink(self, rows: Tensor, batch: int) -> Tensor:
        """The gradient of `losses.l2` or `losses.norms` by rows of a table, ``(R, *, d)``."""
        if self.l2_on == "tables":
            return rows * spread(self.l2 / batch, rows)
        norms = torch.linalg.vector_norm(rows.flatten(1), dim=-1).clamp_min(1e-30)
        return rows * spread(spread(self.l2 / batch, norms) / norms, rows)

    def _add_tables(self, final: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor | None:
        """Add the gradient of penalties of whole tables; their value, or None."""
        leaves = [table.detach().requires_grad_() for table in final]
        value = self.objective.of_tables(*leaves)
        if value is None:
            return None
        for gradient, more in zip(gradients, torch.autograd.grad(value.sum(), leaves), strict=True):
            gradient += more
        return value.detach()


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

    def keep(self, replicas: Tensor) -> None:
        """Go on for the replicas at these positions alone."""
        self.objective.keep(replicas)
        self.l2 = kept(self.l2, replicas)

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


def add_whole(model: MF, l2: Strength) -> None:
    """Add the gradient of ``l2``/2 times the squared norm of both tables, all rows of them."""
    for table in (model.users, model.items):
        assert table.grad is not None
        if isinstance(l2, Tensor):
            table.grad.addcmul_(table.detach(), torch.as_tensor(spread(l2, table)))
        else:
            table.grad.add_(table.detach(), alpha=l2)


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
