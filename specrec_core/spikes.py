"""Spikes: how few directions a table of embeddings points in, counted by greedy peaks.

A spike is a thin bundle of rows along one ray from the origin, its peak the row of largest norm.
Spk [spiky2023svd] is the share of rows that are needed as peaks until more than half of all rows
lie within a cosine of 0.9 of one of them: small where a table is spiky, ½ where it is noise.

    greedy = peaks(table, f=64)           # rows (n, d), their first 64 columns
    greedy.share                          # Spk@64
    labels = members(table, greedy)       # (n,): the spike of each row, -1 for none
    radial_dispersion(table, labels, 64)  # long spikes, or mere blobs?

One table ``(n, d)`` at a time, a tensor or a numpy array: the number of peaks differs from table to
table, so replicas are looped over. Tensors come back on the device of the table. float64 is worked
on in float64, all else in float32; norms are float64 always. Where a cosine equals the threshold
to rounding, or two norms do, dtypes and devices may decide differently; on CUDA leave TF32 off.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specrec_core.norms import (
    RadialDispersion,
    check_between,
    columns,
    degree_estimate,
    directions,
    has_direction,
    norm_groups,
    radial_dispersion,
    scaled_norms,
)
from specrec_core.tables import CHUNK_ROWS, Array, as_table

__all__ = [
    "RadialDispersion",
    "Spikes",
    "degree_estimate",
    "members",
    "norm_groups",
    "peaks",
    "radial_dispersion",
    "random_spk",
    "spk",
]

NEGLIGIBLE = 1e-10
FIRST_BLOCK, LARGEST_BLOCK = 128, 4096  # candidates whose order is settled at a time
PEAKS_AIMED_AT = {"cpu": 256, "cuda": 2048}  # peaks of a block: enough for a fast product
CHUNK = {"cpu": 2**20, "cuda": 2**27}  # cosines at a time; a CPU is fastest within its cache


@dataclass(frozen=True, eq=False)
class Spikes:
    """The peaks of a table, as :func:`peaks` chose them.

    Attributes:
        peaks: rows of the table, in the order chosen, by descending norm: ``(p,)`` int64.
        covered: rows covered once each peak is in, ``(p,)`` int64, increasing.
        n, f: rows and columns of the table that was measured.
        cos, coverage, negligible: the arguments of :func:`peaks`.
        zero_rows: rows without a direction: counted in n, never covered, never a peak.
    """

    peaks: Tensor
    covered: Tensor
    n: int
    f: int
    cos: float
    coverage: float
    zero_rows: int
    negligible: float = NEGLIGIBLE

    @property
    def share(self) -> float:
        """Peaks over all rows, p / n, which is Spk as a share, not in per cent."""
        return self.peaks.shape[0] / self.n

    @property
    def reached(self) -> bool:
        """Whether more than ``coverage * n`` rows are covered; false where zero rows forbid it."""
        return int(self.covered[-1]) > self.coverage * self.n


def peaks(
    table: Array,
    f: int | None = None,
    *,
    cos: float = 0.9,
    coverage: float = 0.5,
    negligible: float = NEGLIGIBLE,
) -> Spikes:
    """Greedy peaks of the first f columns of a table, to the rule of the official code.

    Rows are visited by descending norm of the truncated row, equal norms by row. One that is not
    covered yet becomes a peak; it covers itself and all rows at a cosine above ``cos``, signed and
    strictly. The walk ends once more than ``coverage * n`` rows are covered [spiky2023svd]. Where
    no two rows are near, p = ⌊coverage·n⌋ + 1.

    Rows without a direction count in n but are neither covered nor peaks. They are the zero rows
    and those up to ``negligible`` times the largest norm, such as the rounding that an SVD in
    float64 leaves of items outside its leading components; 0.0 takes exact zeros alone. If there
    are so many that the coverage cannot be had, the walk ends when all other rows are covered, and
    ``reached`` is false.

    The result is that of visiting rows one by one, got by blocks in O(p·n·f) time and O(n·f)
    memory. The official code draws a million rows of larger tables and visits no more than 50,000;
    here neither: draw rows before, or cut ``peaks`` and ``covered`` after.

    Args:
        table: ``(n, d)`` real numbers, for instance E = US.
        f: columns to use, all by default.

    Raises:
        ValueError: not one finite table with a row that is not zero, f outside 1..d, cos outside
            (-1, 1), coverage outside (0, 1), negligible outside [0, 1).
    """
    rows = columns(table, f)
    check_between("cos", cos, -1.0, 1.0)
    check_between("coverage", coverage, 0.0, 1.0)
    norms, scale = scaled_norms(rows)
    order = norms.argsort(descending=True, stable=True)
    order = order[: int(has_direction(norms, negligible).sum())]
    n = rows.shape[0]
    found, covered = _greedy(directions(rows, norms, scale, order), cos, coverage * n)
    zero_rows = n - order.shape[0]
    return Spikes(
        order[found], covered, n, rows.shape[1], cos, coverage, zero_rows, negligible=negligible
    )


def spk(table: Array, f: int | None = None, cos: float = 0.9, coverage: float = 0.5) -> float:
    """Spk@f, ``peaks(...).share``: a share in (0, 1], not in per cent [spiky2023svd].

    Raises:
        ValueError: as :func:`peaks`, and where zero rows keep the coverage from being reached.
    """
    found = peaks(table, f, cos=cos, coverage=coverage)
    if not found.reached:
        raise ValueError(
            f"coverage: {coverage} of {found.n} rows cannot be covered, as {found.zero_rows} rows "
            "are zero; lower it, leave these rows out, or take peaks(...), which covers the others"
        )
    return found.share


@torch.no_grad()
def members(table: Array, spikes: Spikes) -> Tensor:
    """The spike of each row, ``(n,)`` int64: position of its peak in ``spikes.peaks``, or -1.

    That of the peak with the largest cosine, if it is above ``spikes.cos``; of equal ones the first
    chosen. A row may so belong to a later peak than the one that covered it in the walk.

    Args:
        table: ``(n, d)``, the one that ``spikes`` was found in.
    """
    rows = columns(table, spikes.f)
    if rows.shape[0] != spikes.n:
        raise ValueError(f"table: {rows.shape[0]} rows, expected the {spikes.n} of spikes")
    norms, scale = scaled_norms(rows)
    heads = spikes.peaks.to(rows.device)
    axes = directions(rows, norms, scale, heads).T
    labels = torch.full_like(norms, -1, dtype=torch.int64)
    every = has_direction(norms, spikes.negligible).nonzero().squeeze(1)
    size = max(1, _setting(CHUNK, rows) // heads.shape[0])
    work = axes.new_empty(min(size, every.shape[0]), heads.shape[0])  # memory taken once
    for some in every.split(size):
        unit = directions(rows, norms, scale, some)
        cosine, nearest = torch.mm(unit, axes, out=work[: some.shape[0]]).max(dim=1)
        labels[some] = nearest.masked_fill(cosine <= spikes.cos, -1)
    labels[heads] = torch.arange(heads.shape[0], device=rows.device)  # whatever rounding says
    return labels


def random_spk(
    n: int,
    f: int,
    *,
    spectrum: Array | None = None,
    cos: float = 0.9,
    coverage: float = 0.5,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> float:
    """Spk of an n × f table of independent Gaussian numbers: what to print beside a measured Spk.

    Small for small f, where any direction is near many others; ``coverage`` for large f.

    Args:
        spectrum: ``(f,)`` factors of the columns, such as the singular values of the table.
        device: where to compute; the numbers are the same, drawn from ``seed`` in float32.
    """
    if n < 1 or f < 1:
        raise ValueError(f"n, f: {n}, {f}, expected both at least 1")
    table = torch.from_numpy(np.random.default_rng(seed).standard_normal((n, f), dtype=np.float32))
    table = table.to(device)
    if spectrum is not None:
        factors = as_table("spectrum", torch.as_tensor(spectrum)[None])
        if factors.shape != (1, f) or bool((factors < 0).any()) or not bool(factors.any()):
            raise ValueError(
                f"spectrum: expected {f} factors, one for each column, none negative, not all zero"
            )
        table *= (factors / factors.max()).to(table)
    return spk(table, None, cos, coverage)


# ---------------------------------------------------------------------------------- the greedy walk


@torch.no_grad()
def _greedy(unit: Tensor, cos: float, needed: float) -> tuple[Tensor, Tensor]:
    """Positions of the peaks of ``unit (m, f)``, rows in the order of the walk, and their coverage.

    A block of open rows is settled by its own cosines; its peaks then cover rows behind it. Covered
    rows are taken out when they are a quarter of those left, in place: ``unit`` is overwritten.
    """
    aim, chunk = _setting(PEAKS_AIMED_AT, unit), _setting(CHUNK, unit)
    position = torch.arange(unit.shape[0], device=unit.device)
    free = torch.ones_like(position, dtype=torch.bool)
    start, count, size = 0, 0, FIRST_BLOCK
    found, covered = [position[:0]], [position[:0]]
    while count <= needed:
        here = free[start:].nonzero().squeeze(1) + start
        if not here.shape[0]:
            break
        if 4 * here.shape[0] < 3 * (unit.shape[0] - start):
            unit, position = _compacted(unit, here), position[here]
            start, here = 0, torch.arange(here.shape[0], device=unit.device)
            free = torch.ones_like(here, dtype=torch.bool)
        size = max(1, min(size, math.isqrt(aim * here.shape[0])))
        block = here[:size]
        rows = unit[block]
        taken = _settle((rows @ rows.T > cos).cpu().numpy())
        heads = np.unique(taken)
        start = int(block[-1]) + 1
        head = block[torch.from_numpy(heads).to(block.device)]
        gained = torch.from_numpy(np.bincount(taken)[heads]).to(head)
        gained += _cover(unit[start:], free[start:], unit[head], cos, chunk)
        total = count + gained.cumsum(0)
        last = int((total <= needed).sum()) + 1  # the peak that passes the mark, and no other
        found.append(position[head[:last]])
        covered.append(total[:last])
        count = int(total[-1])
        if 2 * heads.shape[0] < aim:
            size = min(2 * block.shape[0], LARGEST_BLOCK)
        elif heads.shape[0] > aim:
            size = block.shape[0] // 2
    return torch.cat(found), torch.cat(covered)


def _settle(near: np.ndarray) -> np.ndarray:
    """Greedy walk along one block: ``(b, b)`` nearness to the peak that takes each row ``(b,)``."""
    taken = np.full(len(near), -1)
    for i, row in enumerate(near):
        if taken[i] < 0:
            taken[i:][row[i:] & (taken[i:] < 0)] = i
            taken[i] = i
    return taken


def _cover(unit: Tensor, free: Tensor, heads: Tensor, cos: float, chunk: int) -> Tensor:
    """Rows that each of ``heads (p, f)`` is the first to cover, ``(p,)``; they lose ``free``."""
    gained = torch.zeros(heads.shape[0], dtype=torch.int64, device=unit.device)
    size = max(1, chunk // heads.shape[0])
    work = unit.new_empty(min(size, unit.shape[0]), heads.shape[0])  # memory taken once
    for rows, open_ in zip(unit.split(size), free.split(size), strict=True):
        cosine = torch.mm(rows, heads.T, out=work[: rows.shape[0]])
        hit = ((cosine.amax(dim=1) > cos) & open_).nonzero().squeeze(1)
        first = (cosine[hit] > cos).to(torch.uint8).argmax(dim=1)  # of equal maxima the first
        gained += first.bincount(minlength=heads.shape[0])
        open_[hit] = False
    return gained


def _compacted(unit: Tensor, kept: Tensor) -> Tensor:
    """Rows ``kept`` (ascending) of ``unit``, moved to its front without a second copy of it."""
    for at, some in zip(range(0, kept.shape[0], CHUNK_ROWS), kept.split(CHUNK_ROWS), strict=True):
        unit[at : at + some.shape[0]] = unit[some]  # never ahead of what is still to be read
    return unit[: kept.shape[0]]


def _setting(by_device: dict[str, int], tensor: Tensor) -> int:
    return by_device["cpu" if tensor.device.type == "cpu" else "cuda"]
