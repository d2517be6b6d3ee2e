"""Steps of training: one pass over the samples, by batches of positives.

`Objective` is all that is minimised but for the plain L2 penalties of tables; the spectral norm is
that of all final embeddings (variant ``paper``) or of a chunk of users (the others). `RowSteps`
gathers the rows of a batch of positives; `specrec_core.chunks` goes by users. Each keeps replicas
apart.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from specrec_core import losses, objectives
from specrec_core.arguments import OF_SIGMOIDS, of_all_scores
from specrec_core.corrections import Batch, Debiasing
from specrec_core.models import MF, add_rows, clear_rows, gather, sparse_rows
from specrec_core.regularization import Regularizer
from specrec_core.replicas import Apart, Stepper, neighbours, of_rows_alone
from specrec_core.sampling import EpochSampler
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

    def part(self, replicas: Tensor) -> Objective:
        """The same for the replicas at these positions alone."""
        balance, row_l2 = self.regularizer.keep(replicas), kept(self.row_l2, replicas)
        return dataclasses.replace(self, regularizer=balance, row_l2=row_l2)

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

    def _plain(self, model: MF) -> objectives.Objective:
        """The loss of rows, where there is no debiasing."""
        if self.drop is None and model.inner_product:
            return objectives.OBJECTIVES[self.loss][0]
        of_scores = self.drop or objectives.SCORE_LOSSES[self.loss]
        return objectives.of_scores(of_scores, None if model.inner_product else model.score)

    def of_chunk(self, model: MF, batch: Batch, scores: Tensor | None) -> Tensor:
        """``(R,)`` of a batch and, if `of_all_scores`, of the ``scores (R, C, m)`` of its users."""
        value = self.debias.loss(self.loss, model, batch)
        if self.reduction == "sum":
            value = value * batch.positive.shape[-1]
        spectral = self.regularizer
        if of_all_scores(spectral):
            assert scores is not None
            detach = spectral.detach_start or spectral.spectral_variant == "official"
            if spectral.spectral_variant in OF_SIGMOIDS:
                scores = torch.sigmoid(scores)
            penalty = penalty_of_scores(scores, spectral.power_steps, detach)
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

    The ``sampler`` is that of all replicas, or there is one for each. As long as all have a batch
    of one size they take a step together; otherwise neighbours that do, and the optimiser is to be
    one for each replica.

    On CUDA a step waits for the device with lazy Adam and with co-occurrences; plain BPR of MF and
    LightGCN do not, and InvCF and IPL look up once what would wait. Where replicas have not as many
    samples, what they do not take together waits where settings are tensors, once for each run of
    neighbours.
    """

    sampler: EpochSampler | Sequence[EpochSampler]
    objective: Objective
    batch_size: int
    drop_last: bool = False
    l2: Strength = 0.0
    l2_on: str = "tables"

    def __post_init__(self) -> None:
        self.penalised = positive(self.l2)  # once: of a tensor, the device is waited for

    def part(self, replicas: Tensor) -> RowSteps:
        """The same for the replicas at these positions alone."""
        sampler = self.sampler
        if isinstance(sampler, Sequence):
            sampler = [sampler[r] for r in replicas.tolist()]
        objective, l2 = self.objective.part(replicas), kept(self.l2, replicas)
        return dataclasses.replace(self, sampler=sampler, objective=objective, l2=l2)

    def __call__(self, model: MF, stepper: Stepper, streams: Sequence[torch.Generator]) -> Tensor:
        """One pass over the samples; the loss of each replica at each step, ``(R, steps)``.

        That of a replica with fewer steps than others is filled up with its mean.
        """
        model.new_epoch(streams)
        sampler = self.sampler
        each = sampler if isinstance(sampler, Sequence) else [sampler] * len(streams)
        drawn = [one.epoch(stream) for one, stream in zip(each, streams, strict=True)]
        sizes = [len(users) for users, _, _ in drawn]
        if self.drop_last:
            sizes = [size - size % self.batch_size for size in sizes]
        shared = sizes[0]  # samples of each that all have in batches of one size
        if len(set(sizes)) > 1:
            shared = min(sizes) - min(sizes) % self.batch_size
        users, items, negatives = (
            _stacked([one[:shared] for one in column]) for column in zip(*drawn, strict=True)
        )
        rest = [[one[shared:size] for one in of] for of, size in zip(drawn, sizes, strict=True)]
        del drawn
        if shared == max(sizes):
            rest.clear()  # or views of nothing would hold on to all samples
        # One gradient for each table, kept from step to step: only rows of the batch are touched.
        gradients = [torch.zeros_like(table) for table in (model.users, model.items)]
        starts, steps = range(0, shared, self.batch_size), list[Tensor]()
        for number, start in enumerate(starts):
            batch = slice(start, min(start + self.batch_size, shared))
            ids = users[:, batch], items[:, batch], negatives[:, batch]
            value = self._step(model, ids, gradients, stepper.step, of_rows_alone(stepper))
            if not steps:
                # All in one place: a loss kept where a step has left room would leave what is left
                # of it too small for the same block of the next step, once for each step.
                steps = list(value.new_empty(len(starts), len(streams)))
            steps[number].copy_(value)
        if shared == max(sizes):
            return torch.stack(steps, -1)
        return self._uneven(model, stepper, rest, gradients, steps)

    def _uneven(
        self,
        model: MF,
        stepper: Stepper,
        rest: Sequence[Sequence[Tensor]],
        gradients: Sequence[Tensor],
        steps: Sequence[Tensor],
    ) -> Tensor:
        """The ``rest`` of an epoch, where replicas have not as many samples; the losses of all.

        ``steps`` are the losses ``(R,)`` of those that all replicas took together.
        """
        assert isinstance(stepper, Apart)
        sizes = [len(users) for users, _, _ in rest]
        losses_of = [[step[r] for step in steps] for r in range(len(rest))]
        parts: dict[tuple[int, int], tuple[RowSteps, MF]] = {}
        for start in range(0, max(sizes), self.batch_size):
            left = [min(self.batch_size, max(0, size - start)) for size in sizes]
            for first, last in neighbours(left):
                if not left[first]:
                    continue
                if (first, last) not in parts:
                    alone = torch.arange(first, last)
                    parts[first, last] = self.part(alone), model.part(slice(first, last))
                those, some = parts[first, last]
                batch = slice(start, start + left[first])
                ids = [torch.stack([one[batch] for one in column])
                       for column in zip(*rest[first:last], strict=True)]  # fmt: skip
                own = [gradient[first:last] for gradient in gradients]
                step = functools.partial(stepper.step, list(some.parameters()), first)
                values = those._step(some, ids, own, step, of_rows_alone(stepper))
                for r, value in zip(range(first, last), values, strict=True):
                    losses_of[r].append(value)
        most, each = max(map(len, losses_of)), [torch.stack(of) for of in losses_of]
        return torch.stack([torch.cat([x, x.mean().expand(most - len(x))]) for x in each])

    def _step(
        self,
        model: MF,
        batch: Sequence[Tensor],
        gradients: list[Tensor],
        step: Callable[[], object],
        lazy: bool,
    ) -> Tensor:
        """One step on users, items ``(R, B)`` and negatives ``(R, B, N)``; its losses ``(R,)``.

        ``gradients`` of both tables are zero, and so again afterwards.
        """
        own = [*model.network(), *self.objective.debias.own(model)]
        ids = tuple(zip((0, 1, 1), batch, strict=True))
        final = model.training_pass()
        rows = [gather(final[side].detach(), i).requires_grad_() for side, i in ids]
        value = self.objective.of_rows(model, rows, [i for _, i in ids])
        found = torch.autograd.grad(value.sum(), [*rows, *own], materialize_grads=True)
        of_rows = self.penalised and self.l2_on in ("tables", "norms")
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
            for side, table in enumerate((model.users, model.items)):
                self._shrink_whole(table, [i for of, i in ids if of == side], rows[0].shape[-2])
        elif self.penalised and self.l2_on == "whole":
            add_whole(model, self.l2)
        touched = [[i for of, i in ids if of == side] for side in (0, 1)]
        if lazy:
            for side, table in enumerate((model.users, model.items)):
                table.grad = sparse_rows(gradients[side], touched[side])
        step()
        if dense is not None or self.l2_on == "whole":
            for gradient in gradients:
                gradient.zero_()
        else:
            for gradient, rows_of in zip(gradients, touched, strict=True):
                clear_rows(gradient, rows_of)
        value = value if dense is None else value + dense
        return value if of_model is None else value + of_model.detach()

    def _shrink(self, rows: Tensor, batch: int) -> Tensor:
        """The gradient of `losses.l2` or `losses.norms` by rows of a table, ``(R, *, d)``."""
        if self.l2_on == "tables":
            return rows * spread(self.l2 / batch, rows)
        norms = torch.linalg.vector_norm(rows.flatten(1), dim=-1).clamp_min(1e-30)
        return rows * spread(spread(self.l2 / batch, norms) / norms, rows)

    def _shrink_whole(self, table: Tensor, ids: Sequence[Tensor], batch: int) -> None:
        """As `_shrink`, for the rows ``ids`` of a table that has a gradient for all of its rows.

        A row counts as often as it is in the batch, so that none need be gathered. It passes over
        the whole table, of which such a model, one with a graph, has the gradient anyway.
        """
        assert table.grad is not None
        weights = torch.zeros_like(table[..., 0])
        lengths = None
        if self.l2_on == "norms":
            lengths = torch.linalg.vector_norm(table.detach(), dim=-1)
        for i in (i.flatten(1) for i in ids):
            times = torch.zeros_like(weights)
            times.scatter_add_(1, i, times.new_ones(()).expand_as(i))
            if lengths is not None:  # of the norm of all rows of the batch
                norm = torch.linalg.vector_norm(times.sqrt() * lengths, dim=-1, keepdim=True)
                times /= norm.clamp_min(1e-30)
            weights += times * spread(self.l2 / batch, times)
        table.grad.addcmul_(table.detach(), weights.unsqueeze(-1))

    def _add_tables(self, final: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor | None:
        """Add the gradient of penalties of whole tables; their value, or None."""
        leaves = [table.detach().requires_grad_() for table in final]
        value = self.objective.of_tables(*leaves)
        if value is None:
            return None
        for gradient, more in zip(gradients, torch.autograd.grad(value.sum(), leaves), strict=True):
            gradient += more
        return value.detach()


def _stacked(replicas: Sequence[Tensor]) -> Tensor:
    """``(R, *)``: of one replica, its own memory."""
    return replicas[0].unsqueeze(0) if len(replicas) == 1 else torch.stack(list(replicas))


def add_whole(model: MF, l2: Strength) -> None:
    """Add the gradient of ``l2``/2 times the squared norm of both tables, all rows of them."""
    for table in (model.users, model.items):
        assert table.grad is not None
        if isinstance(l2, Tensor):
            table.grad.addcmul_(table.detach(), torch.as_tensor(spread(l2, table)))
        else:
            table.grad.add_(table.detach(), alpha=l2)
