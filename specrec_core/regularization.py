"""`Regularizer`: a transform or a penalty of `specrec_core.regularizers` with its settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from specrec_core.arguments import PENALTIES, TRANSFORMS, check_regularizer
from specrec_core.cooccurrence import CoOccurrence, transposed
from specrec_core.interactions import CSR
from specrec_core.losses import unit
from specrec_core.objectives import Objective
from specrec_core.regularizers import (
    OF_PAIR,
    OF_SIDE,
    directspec,
    directspec_plus,
    shrink,
    uniformity,
)
from specrec_core.strengths import Strength, check, kept, placed, spread

PER_REPLICA = ("strength", "temperature", "temperature_unrelated", "shrink")


@dataclass(frozen=True, eq=False)
class Regularizer:
    """A transform or a penalty with its settings: what stands between the batch and the loss.

    Rows are divided by their norms if ``normalised`` (negatives too), transformed, shrunk (positive
    pairs alone), and given to the loss; a penalty of those rows is then added ``strength`` times.
    Evaluation knows nothing of this: it scores by the embeddings as they are.

    Parameters
    ----------
    regularizer
        ``none``; ``directspec`` with α = strength / B, so that on unit rows a strength of at most
        1/3 is safe whatever the batch; ``directspec+``; or the penalty ``uniformity``, ``vicreg``,
        ``log_determinant`` (mean of both sides), ``barlow_twins``, ``spectral_contrastive`` (of
        the pair; they are the part of these objectives that balances); or ``spectral_norm`` of all
        scores, which ``fit`` adds.
    strength, temperature, temperature_unrelated, shrink
        Numbers, or tensors with one value per replica. The temperatures are τ (or τ₀ and τ₁ of
        pairs that do and do not co-occur in train) of ``directspec+``, and t of ``uniformity``.
    self_similarity
        Of ``directspec+``.
    shrink_variant
        ``shrink`` and this are scale and variant of `shrink`; 0, of all replicas, leaves rows as
        they are.
    spectral_variant, power_steps, detach_start
        Of `specrec_core.spectral_norm.spectral_norm_penalty`.

    Raises
    ------
    ValueError
        On unknown names, numbers out of range, or a setting that the regularizer does not have.
    """

    regularizer: str = "none"
    strength: Strength = 0.0
    temperature: Strength | None = None
    temperature_unrelated: Strength | None = None
    self_similarity: bool = True
    normalised: bool = False
    shrink: Strength = 0.0
    shrink_variant: str = "official"
    related: tuple[CoOccurrence, CoOccurrence] | None = None
    spectral_variant: str = "paper"
    power_steps: int = 1
    detach_start: bool = False

    def __post_init__(self) -> None:
        for name in PER_REPLICA:
            value = getattr(self, name)
            if isinstance(value, Tensor):  # a shrink of 0 is none, and so of all replicas or none
                check(name, value, ends=name != "shrink")
        check_regularizer(self.in_numbers())

    def in_numbers(self) -> SimpleNamespace:
        """The settings with a number for each tensor: for the checks of what goes together."""
        settings = SimpleNamespace(**vars(self))
        for name in PER_REPLICA:
            if isinstance(getattr(self, name), Tensor):
                setattr(settings, name, 1.0)  # in range, and not 0
        return settings

    def on(self, train: CSR) -> Regularizer:
        """The same on the device of ``train``, with its co-occurrences where they are needed."""
        there = self._with(lambda value: placed(value, train.device))
        if self.temperature_unrelated is None:
            return there
        both = CoOccurrence(train), CoOccurrence(transposed(train))
        return dataclasses.replace(there, related=both)

    def keep(self, replicas: Tensor) -> Regularizer:
        """The same for the replicas at these positions alone."""
        return self._with(lambda value: kept(value, replicas))

    def _with(self, change: Callable[[Strength], Strength]) -> Regularizer:
        values = {name: getattr(self, name) for name in PER_REPLICA}
        changes: dict[str, Any] = {k: change(v) for k, v in values.items() if isinstance(v, Tensor)}
        return dataclasses.replace(self, **changes)

    def loss(self, objective: Objective, rows: Sequence[Tensor], ids: Sequence[Tensor]) -> Tensor:
        """Regularised loss ``(R,)`` of ``rows`` u, p, n as of an `Objective`.

        ``ids`` are the users and items ``(R, B)`` of u and p. The penalty ``spectral_norm`` is not
        of rows, and left out here.
        """
        u, p, n = (unit(x) for x in rows) if self.normalised else rows
        if self.regularizer in TRANSFORMS:
            u, p = self._transform(u, 0, ids[0]), self._transform(p, 1, ids[1])
        if isinstance(self.shrink, Tensor) or self.shrink:
            u, p = (shrink(x, self.shrink, variant=self.shrink_variant) for x in (u, p))
        value = objective(u, p, n)
        if self.regularizer in PENALTIES:
            value = value + self._penalty(u, p) * spread(self.strength, value)
        return value

    def _transform(self, rows: Tensor, side: int, ids: Tensor) -> Tensor:
        if self.regularizer == "directspec":
            return directspec(rows, self.strength / rows.shape[-2])
        assert self.regularizer == "directspec+" and self.temperature is not None
        if self.temperature_unrelated is not None and self.related is None:
            raise ValueError(
                "temperature_unrelated is set, but which rows co-occur is not known: call "
                ".on(train) first, with train a CSR such as data.csr('train')"
            )
        return directspec_plus(
            rows,
            self.strength,
            self.temperature,
            temperature_unrelated=self.temperature_unrelated,
            related=None if self.related is None else self.related[side](ids),
            self_similarity=self.self_similarity,
        )

    def _penalty(self, users: Tensor, items: Tensor) -> Tensor:
        if self.regularizer in OF_PAIR:
            return OF_PAIR[self.regularizer](users, items)
        if self.regularizer == "uniformity":
            assert self.temperature is not None
            return (uniformity(users, self.temperature) + uniformity(items, self.temperature)) / 2
        of_side = OF_SIDE[self.regularizer]
        return (of_side(users) + of_side(items)) / 2
