"""A method against popularity bias in training: what it adds to a model, its loss and its ranking.

`Debiasing` binds the functions of `specrec_core.debiasing` to training interactions and to a model.
Parameters of a method's own (branches, encoders) are registered on the model, so that they are
trained, kept and restored with its tables.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from specrec_core import debiasing, objectives
from specrec_core.arguments import check_debias
from specrec_core.interactions import CSR
from specrec_core.models import MF, gather, generator
from specrec_core.pair_scores import Pairs
from specrec_core.ranking import Score

OWN: dict[str, tuple[str, ...]] = {  # the parameters that a method adds to a model
    "macr": ("user_branch", "item_branch"),
    "invcf": ("user_popularity", "item_popularity"),
}


@dataclass(frozen=True, eq=False)
class Batch:
    """Scores and ids of a batch of B positives and N negatives each.

    Attributes
    ----------
    positive, negative
        ``(R, B)`` and ``(R, B, N)``.
    ids
        Users ``(R, B)``, items ``(R, B)`` and negatives ``(R, B, N)``.
    project
        ``project(w, x)`` gives uᵀw of the users, vᵀx of the items and of the negatives, for
        ``w, x (R, d)``.
    rows
        The embeddings of users, items and negatives, where the scores were made from them.
    """

    positive: Tensor
    negative: Tensor
    ids: Sequence[Tensor]
    project: Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
    rows: Sequence[Tensor] | None = None

    @classmethod
    def of_rows(cls, rows: Sequence[Tensor], ids: Sequence[Tensor]) -> Batch:
        """From gathered embeddings u, p ``(R, B, d)`` and n ``(R, B, N, d)``."""
        u, p, n = rows

        def project(w: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            x = x.unsqueeze(-2)
            return (u * w.unsqueeze(-2)).sum(-1), (p * x).sum(-1), (n * x.unsqueeze(-2)).sum(-1)

        return cls((u * p).sum(-1), (u.unsqueeze(-2) * n).sum(-1), ids, project, rows)


@dataclass(frozen=True, eq=False)
class Debiasing:
    """A method with its settings, as `specrec_core.training.fit` takes it.

    Parameters
    ----------
    name, settings
        ``none``; or a method with its settings in this order: ``zero_sum`` (weight w), ``macr``
        (α, β, reference c), ``pd`` and ``pda`` (exponent γ), ``ips`` (power, least propensity),
        ``ipl`` (strength λ, exponent γ), ``invcf`` (λ₁, λ₂, λ₃, temperature). Sources: see
        `specrec_core.debiasing`.

    Attributes
    ----------
    factors
        ``(m,)``, a number for each item that multiplies what it has, set by `on`: m_i^γ of ``pd``
        and ``pda``, 1 / propensity of ``ips``.
    pairs, counts, known
        Of ``ipl``, set by `on`: the training interactions, how many each item has, ``(m,)``, and
        the items that have any, in order.
    levels
        Of ``invcf``, set by `on`: for users ``(n,)`` and for items ``(m,)``, the rank of the number
        of their interactions among the numbers that occur.

    Raises
    ------
    ValueError
        On an unknown name, or settings that are not those of the method.

    Notes
    -----
    Popularity is that of the training interactions, in one stage: without times PDA predicts
    nothing and ranks with it as it is. The branches of MACR begin as Xavier's normal numbers, and
    so do the popularity embeddings of InvCF, one for each number of interactions that occurs. InvCF
    shuffles popularity by moving it on by one (users) and by two (items) in the batch, which is in
    random order.
    """

    name: str = "none"
    settings: tuple[float, ...] = ()
    factors: Tensor | None = None
    pairs: Pairs | None = None
    counts: Tensor | None = None
    known: Tensor | None = None
    levels: tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        check_debias(self.name, self.settings)

    def on(self, train: CSR, dtype: torch.dtype = torch.float64) -> Debiasing:
        """The same for these training interactions, its numbers in the precision of scores."""
        counts = torch.bincount(train.indices, minlength=train.shape[1])
        of_train: dict[str, Any] = {}
        if self.name in ("pd", "pda"):
            factors = debiasing.smoothed_popularity(counts) ** self.settings[0]
            of_train = {"factors": factors.to(dtype)}
        elif self.name == "ips":
            p = debiasing.propensities(counts, *self.settings)
            factors = torch.where(counts > 0, 1 / p, 0.0)  # never a positive: of no use
            of_train = {"factors": factors.to(dtype)}
        elif self.name == "ipl":
            of_train = {
                "pairs": Pairs(train.offsets, train.indices, train.shape[1]),
                "counts": counts.to(dtype),
                "known": counts.nonzero().squeeze(1),
            }
        elif self.name == "invcf":
            of_train = {"levels": (_ranks(train.degree()), _ranks(counts))}
        return dataclasses.replace(self, **of_train)

    def prepare(self, model: MF) -> None:
        """Register the method's own parameters on the model, each replica's from its seed.

        Those that it has already, of an earlier fit, go on from where they are; ValueError if they
        have another shape, ``(R, dim)`` or ``(R, levels, dim)``.
        """
        dim, table = model.users.shape[-1], model.users
        for side, name in enumerate(OWN.get(self.name, ())):
            macr = self.name == "macr"
            rows = dim
            if self.name == "invcf":
                assert self.levels is not None
                rows = int(self.levels[side].max()) + 1
            shape: tuple[int, ...] = (dim,) if macr else (rows, dim)
            there = getattr(model, name, None)
            if there is not None:
                if there.shape[1:] != shape:
                    raise ValueError(
                        f"the model's {name} has shape {tuple(there.shape)}: expected "
                        f"{(len(model.seeds), *shape)}; was it trained on other interactions?"
                    )
                continue
            streams = [generator(seed, name) for seed in model.seeds]
            draws = [torch.randn(shape, generator=s, dtype=table.dtype) for s in streams]
            std = math.sqrt(2 / (rows + (1 if macr else dim)))
            own = std * torch.stack(draws).to(table.device)
            model.register_parameter(name, nn.Parameter(own))

    def own(self, model: MF) -> list[nn.Parameter]:
        """The method's own parameters, as registered."""
        return [getattr(model, name) for name in OWN.get(self.name, ())]

    def loss(self, loss: str, model: MF, batch: Batch) -> Tensor:
        """The training loss ``(R,)``, a mean over positives, without penalties."""
        plain = objectives.SCORE_LOSSES[loss]
        s, t = batch.positive, batch.negative
        if self.name in ("none", "ipl"):
            return plain(s, t)
        if self.name == "zero_sum":
            return debiasing.zero_sum(s, t, *self.settings)
        if self.name == "macr":
            user, item, other = batch.project(*self.own(model))
            alpha, beta, _ = self.settings
            return debiasing.macr(s, t, item, other, user, items=alpha, users=beta)
        if self.name == "invcf":
            return self._invariant(model, batch)
        assert self.factors is not None
        factors = self.factors.to(s)
        if self.name == "ips":
            return debiasing.weighted(s, t, factors[batch.ids[1]], loss)
        return debiasing.deconfounded_bpr(s, t, factors[batch.ids[1]], factors[batch.ids[2]])

    def of_tables(self, users: Tensor, items: Tensor) -> Tensor | None:
        """A penalty ``(R,)`` of whole tables, where the method has one: of IPL."""
        if self.name != "ipl":
            return None
        assert self.pairs is not None and self.counts is not None
        strength, exponent = self.settings
        scores = torch.stack([self.pairs.scores(*both) for both in zip(users, items, strict=True)])
        uneven = debiasing.interaction_spread(
            scores, self.pairs.items, self.counts, exponent, self.known
        )
        return strength * uneven

    @torch.no_grad()
    def scorer(self, model: MF) -> Score:
        """``score(user_ids (B,)) -> (R, B, n_items)`` to rank by."""
        plain = model.scorer()
        if self.name == "macr":
            of_user, of_item = (w.detach().unsqueeze(-1) for w in self.own(model))
            users, items = ((x.detach() @ w).squeeze(-1)
                            for x, w in zip(model(), (of_user, of_item), strict=True))  # fmt: skip
            reference = self.settings[2]
            return lambda ids: debiasing.macr_scores(plain(ids), items, users[:, ids], reference)
        if self.name == "pda":
            factors = self.factors
            return lambda ids: debiasing.popularity_scores(plain(ids), factors)
        return plain  # ELU is increasing: PD ranks as the plain scores do

    def _invariant(self, model: MF, batch: Batch) -> Tensor:
        assert batch.rows is not None and self.levels is not None
        tables, levels = self.own(model), self.levels
        users, items, negatives = (
            gather(tables[side], levels[side][ids])
            for side, ids in zip((0, 1, 1), batch.ids, strict=True)
        )
        order = torch.arange(batch.positive.shape[-1], device=users.device)
        u, p, n = batch.rows
        first, second, third, temperature = self.settings
        return debiasing.invariant(
            (u, p, n),
            (users, items, negatives),
            (order.roll(1), order.roll(2)),
            temperature=temperature,
            strengths=(first, second, third),
        )


def _ranks(counts: Tensor) -> Tensor:
    """Rank of each number among those that occur, from 0: ``(n,)``."""
    return counts.unique(return_inverse=True)[1]
