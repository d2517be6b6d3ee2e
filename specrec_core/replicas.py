"""Keeping replicas apart: their part of an optimiser, their best tables, and which one diverged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from specrec_core.arguments import OPTIMIZERS, one_of
from specrec_core.models import MF


def optimizer_of(name: str, model: MF, learning_rate: float) -> torch.optim.Optimizer:
    """An optimiser over all parameters of a model.

    ``adam``; ``adamw``, with a decay of 0.01 [loshchilov2019decoupled]; ``sgd``, plain gradient
    descent; ``momentum``, the same with a momentum of 0.9. ``lazy_adam`` leaves alone the rows that
    no sample of a batch touches, their moments too, which ``adam`` lets decay: another optimiser,
    whose steps cost what a batch holds and not what the tables hold.
    """
    one_of("optimizer", name, OPTIMIZERS)
    parameters = model.parameters()
    if name == "adam":
        return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    if name == "adamw":
        return torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.01, fused=True)
    if name == "lazy_adam":
        return torch.optim.SparseAdam(parameters, lr=learning_rate)
    momentum = 0.9 if name == "momentum" else 0.0
    return torch.optim.SGD(parameters, lr=learning_rate, momentum=momentum)


def carry_state(old: torch.optim.Optimizer, new: torch.optim.Optimizer, replicas: Tensor) -> None:
    """Give ``new`` the part of ``old``'s state that belongs to the replicas that go on.

    What is not shaped like its table, such as a number of steps, belongs to all of them.
    """
    pairs = zip(old.param_groups[0]["params"], new.param_groups[0]["params"], strict=True)
    for before, after in pairs:
        kept = new.state[after]
        for key, value in old.state[before].items():
            of_replicas = isinstance(value, Tensor) and value.dim() == before.dim()
            kept[key] = value[replicas] if of_replicas else value


def check_finite(losses_of: Tensor, model: MF, epoch: int, learning_rate: float) -> None:
    """FloatingPointError that names replica and step, unless losses and tables are finite."""
    remedy = f"lower learning_rate (it is {learning_rate:g}) or raise l2"
    bad = ~torch.isfinite(losses_of)
    if bad.any():
        replica, step = torch.nonzero(bad)[0].tolist()
        raise FloatingPointError(
            f"the replica of seed {model.seeds[replica]} diverged: its loss is "
            f"{losses_of[replica, step].item()} at epoch {epoch}, step {step + 1} of "
            f"{losses_of.shape[1]}; {remedy}"
        )
    for name, table in model.named_parameters():
        whole_table = torch.isfinite(table).flatten(1).all(1)
        if not whole_table.all():
            seed = model.seeds[int((~whole_table).nonzero()[0])]
            raise FloatingPointError(
                f"the replica of seed {seed} diverged: its table of {name} is not finite after "
                f"the last step, {losses_of.shape[1]}, of epoch {epoch}; {remedy}"
            )


def restore(model: MF, seeds: Sequence[int], best: Sequence[Mapping[str, Tensor]]) -> None:
    """Put every replica back, stopped or not, at its best epoch."""
    for key in best[0]:
        setattr(model, key, torch.nn.Parameter(torch.stack([tables[key] for tables in best])))
    model.seeds = tuple(seeds)
