"""Which rows of a batch share a column of a sparse matrix, such as users with an item in common."""

from __future__ import annotations

import torch
from torch import Tensor

from specrec_core.interactions import CSR

PAIRS = 2**20  # of entries, to look at at a time: of frequent columns there are many


class CoOccurrence:
    """Which of a batch of rows of a sparse matrix share a column; rows need not be distinct.

    Only the entries of the batch are touched: they are sorted by column, and the entries of one
    column are paired, some columns at a time. Neither rows × rows nor its sparse form is ever made.
    How many entries and pairs there are is known on the device alone, and sizes are of use on the
    host: on CUDA each call waits for the device, and with it each step of ``directspec+`` with two
    temperatures.
    """

    def __init__(self, matrix: CSR) -> None:
        self.offsets, self.indices, self.columns = matrix.offsets, matrix.indices, matrix.shape[1]

    def __call__(self, ids: Tensor) -> Tensor:
        """``ids (*, B)`` → ``(*, B, B)`` bool; a row is related to itself, entries or not."""
        size = ids.shape[-1]
        flat = ids.reshape(-1)
        degree = self.offsets[flat + 1] - self.offsets[flat]
        owner, within = _runs(degree)
        column = self.indices[self.offsets[flat][owner] + within]
        # Leading dimensions stay apart: each has columns of its own.
        column, order = torch.sort(column + owner.div(size, rounding_mode="floor") * self.columns)
        owner = owner[order]
        _, group, count = torch.unique_consecutive(column, return_inverse=True, return_counts=True)
        # Of each entry, as many pairs as its column has entries, and where those begin.
        pairs, begin = count[group], (count.cumsum(0) - count)[group]
        _, sizes = torch.unique_consecutive(pairs.cumsum(0) // PAIRS, return_counts=True)
        pieces = (x.split(sizes.tolist()) for x in (owner * size, begin, pairs))
        related = (ids.unsqueeze(-1) == ids.unsqueeze(-2)).view(-1)
        other = owner % size
        for row, first, length in zip(*pieces, strict=True):
            entry, place = _runs(length)
            related[row[entry] + other[first[entry] + place]] = True
        return related.view(*ids.shape, size)


def transposed(matrix: CSR) -> CSR:
    """Columns as rows, on the same device."""
    n_rows, n_columns = matrix.shape
    order = torch.argsort(matrix.indices, stable=True)
    counts = torch.bincount(matrix.indices, minlength=n_columns)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return CSR(offsets, matrix.rows()[order], (n_columns, n_rows))


def _runs(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Of runs of these lengths, one after the other: which run, and which place in it."""
    run = torch.repeat_interleave(lengths)
    place = torch.arange(run.shape[0], device=run.device) - (lengths.cumsum(0) - lengths)[run]
    return run, place
