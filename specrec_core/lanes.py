"""What replicas train on and are judged by: interactions of all of them, or each its own.

With a share of planted noise of its own, each replica has interactions, negatives and a number of
steps of its own; the truth that it is judged by may be the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
            If there are not as many as replicas, their users or items are not those of the model,
            or they are not all the same and the model propagates over the graph of one of them.
        """
        count, shape = len(model.seeds), (model.users.shape[1], model.items.shape[1])
        each = tuple(data) if isinstance(data, Sequence) else (data,) * count
        if len(each) != count:
            raise ValueError(f"data are {len(each)}: expected one, or one for each of {count}")
        lanes = cls(each)
        for one in each:
            if one.train.shape != shape:
                raise ValueError(
                    f"data ({one.name}) have shape {one.train.shape}: expected {shape}, users and "
                    "items of the model"
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
    trains
        The training interactions on the device of the model, by data.
    """

    split: str
    metric: str
    candidates: int
    redraw: bool
    debias: Debiasing
    trains: Mapping[Interactions, CSR]

    def __post_init__(self) -> None:
        self._known: dict[Interactions, tuple[CSR, SampledEvaluation | None]] = {}
        for data, train in self.trains.items():
            truth = data.csr(self.split, train.device)
            among = SampledEvaluation(truth, train, self.candidates) if self.candidates else None
            self._known[data] = truth, among

    def __call__(self, model: MF, lanes: Lanes, epoch: int) -> Tensor:
        """Its mean over users, ``(R,)``."""
        whole = not lanes.several
        found = [
            self._of(model if whole else model.part(replicas), data, epoch)
            for replicas, data in lanes.parts()
        ]
        return torch.cat(found)

    def _of(self, model: MF, data: Interactions, epoch: int) -> Tensor:
        train, (truth, sampled) = self.trains[data], self._known[data]
        cut, score = check_metric(self.metric), self.debias.scorer(model)
        if sampled is None:
            return evaluate(score, truth, train, k=(cut,)).mean[self.metric]
        purpose = f"candidates {self.split}" + (f" {epoch}" if self.redraw else "")
        draws = [generator(seed, purpose, model.users.device) for seed in model.seeds]
        return sampled.evaluate(score, draws, k=(cut,)).mean[self.metric]
