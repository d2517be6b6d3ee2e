"""What replicas train on and are judged by: interactions of all of them, or each its own.

With a share of planted noise of its own, each replica has interactions, negatives and a number of
steps of its own; the truth that it is judged by may be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from specrec_core.arguments import check_metric
from specrec_core.corrections import Debiasing
from specrec_core.evaluation import evaluate
from specrec_core.interactions import CSR, Interactions
from specrec_core.models import MF, LightGCN, generator
from specrec_core.replicas import neighbours
from specrec_core.sampled_evaluation import SampledEvaluation


@dataclass(frozen=True, eq=False)
class Lanes:
    """The interactions of each replica, in their order; neighbours may share them.

    Attributes
    ----------
    each
        One for each replica.
    """

    each: tuple[Interactions, ...]

    @classmethod
    def of(cls, data: Interactions | Sequence[Interactions], model: MF) -> Lanes:
        """From one of all replicas, or one for each.

        Raises
        ------
        ValueError
            If there are not as many as replicas, they differ in users or items, or they are not all
            the same and the model propagates over the graph of one of them.
        """
        count = len(model.seeds)
        if isinstance(data, Interactions):
            return cls((data,) * count)
        if len(data) != count:
            raise ValueError(f"data are {len(data)}: expected one, or one for each of {count}")
        lanes = cls(tuple(data))
        shapes = {one.train.shape for one in data}
        if len(shapes) > 1:
            raise ValueError(
                f"data have shapes {sorted(shapes)}: expected the same users and items"
            )
        if lanes.several and isinstance(model, LightGCN):
            raise ValueError(
                "data differ between replicas: expected one, which the model has the graph of"
            )
        return lanes

    @property
    def several(self) -> bool:
        """Whether they are not all the same."""
        return any(one is not self.each[0] for one in self.each)

    def parts(self) -> list[tuple[slice, Interactions]]:
        """Runs of neighbours that have the same."""
        runs = neighbours([id(one) for one in self.each])
        return [(slice(first, last), self.each[first]) for first, last in runs]

    def part(self, replicas: Tensor) -> Lanes:
        """Those of the replicas at these positions alone."""
        return Lanes(tuple(self.each[r] for r in replicas.tolist()))


@dataclass(eq=False)
class Judge:
    """The metric of a split, for each replica by its own interactions.

    Parameters
    ----------
    split
        ``validation`` or ``test``; what is in train is not recommended.
    metric
        Such as ``ndcg@10``.
    candidates, redraw
        As of `specrec_core.records.Experiment`.
    debias
        The method whose scores rank.
    """

    split: str
    metric: str
    candidates: int
    redraw: bool
    debias: Debiasing
    _known: dict[int, tuple[CSR, CSR, SampledEvaluation | None]] = field(default_factory=dict)

    def __call__(self, model: MF, lanes: Lanes, epoch: int) -> Tensor:
        """Its mean over users, ``(R,)``."""
        whole = not lanes.several
        found = [
            self._of(model if whole else model.part(replicas), data, epoch)
            for replicas, data in lanes.parts()
        ]
        return torch.cat(found)

    def _of(self, model: MF, data: Interactions, epoch: int) -> Tensor:
        if id(data) not in self._known:
            truth, train = (data.csr(name, model.users.device) for name in (self.split, "train"))
            among = SampledEvaluation(truth, train, self.candidates) if self.candidates else None
            self._known[id(data)] = truth, train, among
        truth, train, sampled = self._known[id(data)]
        cut, score = check_metric(self.metric), self.debias.scorer(model)
        if sampled is None:
            return evaluate(score, truth, train, k=(cut,)).mean[self.metric]
        purpose = f"candidates {self.split}" + (f" {epoch}" if self.redraw else "")
        draws = [generator(seed, purpose, model.users.device) for seed in model.seeds]
        return sampled.evaluate(score, draws, k=(cut,)).mean[self.metric]
