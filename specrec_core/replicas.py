"""Keeping replicas apart: their part of an optimiser, their best tables, and which one diverged."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from specrec_core.arguments import OPTIMIZERS, one_of
from specrec_core.models import MF
from specrec_core.strengths import Strength, listed


class Apart:
    """An optimiser of each replica's own part of the tables, at a rate of its own.

    Replicas of one rate are a group of its parameters, so that few kernels update all of them.
    """

    def __init__(self, name: str, model: MF, rates: Sequence[float]) -> None:
        self.tables = list(model.parameters())
        self.own = [[table.detach()[r] for table in self.tables] for r in range(len(rates))]
        groups: dict[float, list[Tensor]] = {}
        for rate, own in zip(rates, self.own, strict=True):
            groups.setdefault(rate, []).extend(own)
        self.first_of = [rates.index(rate) for rate in groups]  # a replica of each group
        self.of_all = _made(name, [{"params": own, "lr": lr} for lr, own in groups.items()])

    def step(self, tables: Sequence[Tensor] | None = None, first: int = 0) -> None:
        """Of all replicas; or of those whose part of the ``tables`` these are, from the first."""
        given = self.tables if tables is None else tables
        self.of_all.zero_grad()  # what gets no gradient is left as it is
        for r in range(len(given[0])):
            for own, table in zip(self.own[first + r], given, strict=True):
                own.grad = None if table.grad is None else table.grad[r]
        self.of_all.step()


Stepper = torch.optim.Optimizer | Apart


def of_rows_alone(stepper: Stepper) -> bool:
    """Whether it takes sparse gradients, of the rows that a batch touches."""
    of_all = stepper.of_all if isinstance(stepper, Apart) else stepper
    return isinstance(of_all, torch.optim.SparseAdam)


def set_rate(stepper: Stepper, rate: Strength) -> None:
    """The learning rate from now on: a number, or one for each replica where they are `Apart`."""
    if isinstance(stepper, Apart):
        values = listed(rate, len(stepper.own))
        for group, first in zip(stepper.of_all.param_groups, stepper.first_of, strict=True):
            group["lr"] = values[first]
    else:
        stepper.param_groups[0]["lr"] = rate


def optimizer_of(name: str, model: MF, learning_rate: Strength) -> Stepper:
    """An optimiser over all parameters of a model; one for each replica where rates are tensors.

    ``adam``; ``adamw``, with a decay of 0.01 [loshchilov2019decoupled]; ``sgd``, plain gradient
    descent; ``momentum``, the same with a momentum of 0.9. ``lazy_adam`` leaves alone the rows that
    no sample of a batch touches, their moments too, which ``adam`` lets decay: another optimiser,
    whose steps cost what a batch holds and not what the tables hold.
    """
    one_of("optimizer", name, OPTIMIZERS)
    if isinstance(learning_rate, Tensor):
        return Apart(name, model, listed(learning_rate, len(model.seeds)))
    return _made(name, [{"params": list(model.parameters()), "lr": learning_rate}])


def _made(name: str, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(groups, fused=True)
    if name == "adamw":
        return torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    if name == "lazy_adam":
        return torch.optim.SparseAdam(groups)
    return torch.optim.SGD(groups, momentum=0.9 if name == "momentum" else 0.0)


def carry_state(old: Stepper, new: Stepper, replicas: Tensor) -> None:
    """Give ``new`` the part of ``old``'s state that belongs to the replicas that go on.

    What is not shaped like its table, such as a number of steps, belongs to all of them.
    """
    if isinstance(old, Apart) and isinstance(new, Apart):
        for now, r in enumerate(replicas.tolist()):
            for before, after in zip(old.own[r], new.own[now], strict=True):
                new.of_all.state[after] = old.of_all.state[before]
        return
    assert isinstance(old, torch.optim.Optimizer) and isinstance(new, torch.optim.Optimizer)
    pairs = zip(old.param_groups[0]["params"], new.param_groups[0]["params"], strict=True)
    for before, after in pairs:
        kept = new.state[after]
        for key, value in old.state[before].items():
            of_replicas = isinstance(value, Tensor) and value.dim() == before.dim()
            kept[key] = value[replicas] if of_replicas else value


def check_finite(losses_of: Tensor, model: MF, epoch: int, learning_rate: Strength) -> None:
    """FloatingPointError that names replica and step, unless losses and tables are finite."""
    rates = listed(learning_rate, len(model.seeds))

    def remedy(replica: int) -> str:
        return f"lower learning_rate (it is {rates[replica]:g}) or raise l2"

    bad = ~torch.isfinite(losses_of)
    if bad.any():
        replica, step = torch.nonzero(bad)[0].tolist()
        raise FloatingPointError(
            f"the replica of seed {model.seeds[replica]} diverged: its loss is "
            f"{losses_of[replica, step].item()} at epoch {epoch}, step {step + 1}; "
            f"{remedy(replica)}"
        )
    for name, table in model.named_parameters():
        whole_table = torch.isfinite(table).flatten(1).all(1)
        if not whole_table.all():
            replica = int((~whole_table).nonzero()[0])
            raise FloatingPointError(
                f"the replica of seed {model.seeds[replica]} diverged: its table of {name} is not "
                f"finite after the last step of epoch {epoch}; {remedy(replica)}"
            )


def neighbours(values: Sequence[Any]) -> list[tuple[int, int]]:
    """First and last position (not included) of each run of equal values."""
    ends = [i for i in range(1, len(values)) if values[i] != values[i - 1]]
    return list(itertools.pairwise([0, *ends, len(values)]))


class Best:
    """Each replica's best epoch so far: its value, its parameters, and evaluations since.

    Made before any replica is dropped. With ``last`` the last epoch is the best, whatever its
    value, and nothing stops.
    """

    def __init__(self, model: MF, patience: int, last: bool) -> None:
        n = len(model.seeds)
        self.of_all = model.of_replicas()
        self.patience, self.last = patience, last
        self.values = [-math.inf] * n
        self.epochs, self.since = [0] * n, [0] * n
        self.parameters: list[dict[str, Tensor]] = [{} for _ in range(n)]

    def see(
        self, epoch: int, replicas: Sequence[int], values: Sequence[float], model: MF
    ) -> list[int]:
        """Take in the values of the ``replicas`` that ``model`` has: positions that go on."""
        for position, (r, value) in enumerate(zip(replicas, values, strict=True)):
            self.since[r] += 1
            if value > self.values[r] or self.last:
                self.values[r], self.epochs[r], self.since[r] = value, epoch, 0
                self.parameters[r] = {
                    name: p.detach()[position].clone() for name, p in model.named_parameters()
                }
        return [position for position, r in enumerate(replicas) if self.since[r] < self.patience]

    def restore(self, model: MF) -> None:
        """Put every replica back, stopped or not, at its best epoch."""
        for name in self.parameters[0]:
            tables = torch.stack([own[name] for own in self.parameters])
            setattr(model, name, torch.nn.Parameter(tables))
        for name, value in self.of_all.items():
            setattr(model, name, value)
