"""Numbers that may differ by replica: rates, weights and temperatures.

Each is a number, or a tensor ``(R,)`` with one value per replica (or of no dimension, for all). So
the settings of a grid train together as seeds do, and each gives what it gives by itself (rates
in double precision, as numbers are).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from specrec_core.arguments import between

Strength = float | Tensor
"""A number, or a tensor ``(R,)`` with one value per replica."""


def check(name: str, value: Strength, replicas: int | None = None, *, ends: bool = True) -> None:
    """ValueError unless all values are finite and from 0 (above 0 without ``ends``).

    And unless there is one of them for each of the ``replicas``, where their number is given.
    """
    if not isinstance(value, Tensor):
        between(name, value, 0.0, math.inf, ends=ends)
        return
    if not (value.isfinite() & (value >= 0 if ends else value > 0)).all():
        raise ValueError(
            f"{name} is {value.tolist()}: expected numbers {'from' if ends else 'above'} 0"
        )
    if value.dim() > 1 or (replicas is not None and value.shape not in ((), (replicas,))):
        raise ValueError(
            f"{name} has shape {tuple(value.shape)}: expected one number for each of the "
            f"{'' if replicas is None else f'{replicas} '}replicas"
        )


def spread(value: Strength, rows: Tensor) -> Strength:
    """``value (R,)``, shaped to multiply ``rows (R, …)``, in their precision and place."""
    if not isinstance(value, Tensor):
        return value
    return value.to(rows).view(*value.shape, *[1] * (rows.dim() - value.dim()))


def kept(value: Strength, replicas: Tensor) -> Strength:
    """The values of the replicas at these positions."""
    if not isinstance(value, Tensor) or value.dim() == 0:
        return value
    return value[replicas.to(value.device)]


def placed(value: Strength, device: torch.device) -> Strength:
    """The same on a device: copied once, and not at each step."""
    return value.to(device) if isinstance(value, Tensor) else value


def positive(value: Strength) -> bool:
    """Whether any of the values is above 0."""
    return bool((value > 0).any()) if isinstance(value, Tensor) else value > 0


def listed(value: Strength, replicas: int) -> list[float]:
    """One number for each replica."""
    return torch.as_tensor(value, dtype=torch.float64).expand(replicas).tolist()
