"""Evaluation among sampled items: each user's truth items against a few they never met.

The rule of RecBole's ``uni100`` [zhao2021recbole], which the scaling experiments use [scaling2025]:
for every truth item of a user, draw ``negatives`` items uniformly, with replacement, from those
that are neither seen nor truth items of that user; rank the truth items and the distinct items
drawn, nothing else. All metrics are those of `specrec_core.evaluation` on that short list; equal
scores come by lower item id.

So a user with many truth items is ranked among more items, and such a metric is no estimate of the
one over all items: on ML-100K it is half to two thirds larger where models rank well. Each replica
has draws of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from specrec_core.arguments import whole
from specrec_core.evaluation import Metrics, evaluate
from specrec_core.interactions import CSR
from specrec_core.ranking import Score, check_candidates, entries, kept_only
from specrec_core.sampling import Negatives


class SampledEvaluation:
    """Sampled evaluation of one split.

    Parameters
    ----------
    truth
        The split to predict, ``(n_users, n_items)``.
    seen
        What is neither recommended nor drawn: train for validation, train + validation for test.
        (So test items may be drawn in validation, as in RecBole.)
    negatives
        Draws for each truth item.

    Raises
    ------
    ValueError
        If shapes differ, ``negatives`` is below 1, or a user with truth items has none to draw.
    """

    def __init__(self, truth: CSR, seen: CSR, negatives: int) -> None:
        whole("negatives", negatives, 1)
        if truth.shape != seen.shape or truth.device != seen.device:
            raise ValueError(
                f"seen: shape {seen.shape} on {seen.device}, expected that of truth, "
                f"{truth.shape} on {truth.device}"
            )
        self.truth, self.seen, self.count = truth, seen, negatives
        self.users = truth.rows()
        self.pairs = self.users * truth.shape[1] + truth.indices
        tested = truth.degree() > 0
        of_seen = seen.rows()
        kept = tested[of_seen]
        known = (of_seen * truth.shape[1] + seen.indices)[kept]
        self.negatives = Negatives(self._csr(torch.cat([known, self.pairs])))

    def draw(self, streams: Sequence[torch.Generator]) -> list[CSR]:
        """The items to rank for each user, truth items included: one matrix per stream."""
        found = []
        for stream in streams:
            items = self.negatives.draw(self.users, self.count, stream)
            drawn = self.users.unsqueeze(-1) * self.truth.shape[1] + items
            found.append(self._csr(torch.cat([drawn.flatten(), self.pairs])))
        return found

    def evaluate(
        self, score: Score, streams: Sequence[torch.Generator], **settings: Any
    ) -> Metrics:
        """As `specrec_core.evaluation.evaluate`, with its ``settings``; one stream per replica."""
        candidates = self.draw(streams)
        return evaluate(among(score, candidates), self.truth, self.seen, **settings)

    def _csr(self, keys: Tensor) -> CSR:
        """The matrix of the distinct pairs ``user · n_items + item``."""
        n_users, n_items = self.truth.shape
        if n_users * n_items <= 4 * len(keys):  # as many as cells, almost: mark them, do not sort
            drawn = torch.zeros(n_users * n_items, dtype=torch.bool, device=keys.device)
            drawn[keys] = True
            keys = drawn.nonzero().squeeze(1)
        else:
            keys = keys.unique()
        degree = torch.bincount(keys // n_items, minlength=n_users)
        return CSR(
            torch.cat([degree.new_zeros(1), degree.cumsum(0)]), keys % n_items, (n_users, n_items)
        )


def among(score: Score, candidates: Sequence[CSR]) -> Score:
    """``score`` with −inf for every item that is no candidate; a matrix per replica.

    A score that knows how to leave out the others (`specrec_core.neural.NetworkScore`) does.
    """
    of_some = getattr(score, "among", None)

    def restricted(users: Tensor) -> Tensor:
        if of_some is not None:
            found: Tensor = of_some(users, candidates)
            return found
        scores = score(users)
        check_candidates(candidates, scores.shape[0])
        return kept_only(scores, [entries(matrix, users) for matrix in candidates])

    return restricted
