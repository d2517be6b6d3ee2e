"""Norms of the rows of a table: what they say of degree, and how they spread inside a spike.

    degree_estimate(table, total=edges)   # (n,): inside a spike, norms are ordered as degrees are
    norm_groups(table, 5)                 # (n,): five groups of equal size, by norm
    radial_dispersion(table, labels)      # long spikes, or mere blobs? Spk cannot tell

One table ``(n, d)`` at a time, a tensor or a numpy array, of which the first f columns are taken.
Norms are float64, whatever the table is, and squares do not overflow on the way.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from specrec_core.tables import CHUNK_ROWS, Array, as_table


def degree_estimate(table: Array, total: float | None = None, f: int | None = None) -> Tensor:
    """Row norms as an estimate of degree, ``(n,)`` float64; with ``total``, scaled to sum to it.

    In a degree-corrected block model ‖e_i‖ = κ_k · degree_i for the rows of E = US of community k,
    with the degree (row sum) in the matrix that was factorised, not the raw popularity. So the
    order is right inside a spike, and between spikes as far as the κ_k agree
    [karrer2011stochastic, spiky2023svd].

    Args:
        table: ``(n, d)``; norms are over its first f columns, all by default.
    """
    norms = row_norms(columns(table, f))
    if total is None:
        return norms
    check_between("total", total, 0.0, math.inf)
    if not bool((norms > 0).any()):
        raise ValueError("table: zero everywhere, expected a row to give the total to")
    return norms * (total / norms.sum())


def norm_groups(table: Array, n_groups: int = 5, f: int | None = None) -> Tensor:
    """Group of each row by norm, ``(n,)`` int64: 0 the smallest, ``n_groups - 1`` the largest.

    All groups hold ⌊n / n_groups⌋ rows; the n mod n_groups rows of largest norm are left over, with
    -1, as in the official code [spiky2023svd]. Equal norms are ordered by row.

    Args:
        table: ``(n, d)``; norms are over its first f columns, all by default.
    """
    norms, _ = scaled_norms(columns(table, f))
    n = norms.shape[0]
    if not 1 <= n_groups <= n:
        raise ValueError(f"n_groups: {n_groups}, expected between 1 and {n}, the rows")
    group = torch.arange(n, device=norms.device) // (n // n_groups)
    group[group >= n_groups] = -1
    return torch.empty_like(group).index_copy_(0, norms.argsort(stable=True), group)


class RadialDispersion(NamedTuple):
    """How norms spread inside each spike; all ``(s,)``, for the s spikes that are large enough."""

    spikes: Tensor  # labels, ascending, int64
    sizes: Tensor  # members, int64
    variation: Tensor  # standard deviation (over the members, not less one) / mean, float64
    ratio: Tensor  # 95th percentile / 5th percentile, interpolated, float64


def radial_dispersion(
    table: Array, labels: Array, f: int | None = None, *, least: int = 5
) -> RadialDispersion:
    """Spread of the norms inside each spike: what tells long spikes from blobs.

    Spk [spiky2023svd] looks at directions alone. Where all members of a community are equally
    popular the rows gather around one point of the ray: Spk is as small as for a spike, and the
    norms hardly spread.

    Args:
        table: ``(n, d)``; norms are over its first f columns, all by default.
        labels: ``(n,)`` integers, as of `spikes.members`; below 0 is no spike.
        least: members that a spike must have.

    The ratio is infinite where the 5th percentile is zero, and both are NaN where all norms are.
    """
    rows = columns(table, f)
    label = row_labels("labels", labels, rows)
    if least < 1:
        raise ValueError(f"least: {least}, expected at least 1")
    length, _ = scaled_norms(rows)  # both measures are free of scale
    length, order = length[label >= 0].sort()
    label, by_label = label[label >= 0][order].sort(stable=True)  # by label, norms ascending
    length = length[by_label]
    ids, sizes = label.unique_consecutive(return_counts=True)
    spike = torch.repeat_interleave(sizes)
    start = sizes.cumsum(0) - sizes

    def mean(values: Tensor) -> Tensor:
        return torch.zeros_like(sizes, dtype=torch.float64).index_add_(0, spike, values) / sizes

    def percentile(q: float) -> Tensor:
        place = q * (sizes - 1).double()
        low, high = (start + end.long() for end in (place.floor(), place.ceil()))
        return torch.lerp(length[low], length[high], place - place.floor())

    centre = mean(length)
    deviation = mean((length - centre[spike]).square()).sqrt()
    kept = sizes >= least
    ratio = percentile(0.95) / percentile(0.05)
    return RadialDispersion(ids[kept], sizes[kept], (deviation / centre)[kept], ratio[kept])


# ------------------------------------------------------------------------------ rows and directions


def columns(table: Array, f: int | None) -> Tensor:
    """The first f columns of a checked table, ``(n, f)``."""
    rows = as_table("table", table).detach()
    if rows.ndim != 2:
        raise ValueError(
            f"table has shape {tuple(rows.shape)}; expected one table (n, d): loop over replicas, "
            "as the number of spikes differs between them"
        )
    width = rows.shape[1] if f is None else f
    if isinstance(width, bool) or not 1 <= width <= rows.shape[1]:
        raise ValueError(
            f"f: {f}, expected between 1 and {rows.shape[1]}, the columns of the table"
        )
    return rows[:, :width]


def scaled_norms(rows: Tensor) -> tuple[Tensor, float]:
    """Norms of ``scale * rows`` in float64, ``(n,)``, and scale: a power of two, so exact."""
    low, high = torch.aminmax(rows)
    exponent = math.frexp(max(-float(low), float(high)))[1]
    scale = 2.0 ** -max(-1000, min(exponent, 1000))
    lengths = [torch.linalg.vector_norm(r.double() * scale, dim=1) for r in rows.split(CHUNK_ROWS)]
    return torch.cat(lengths), scale


def row_norms(rows: Tensor) -> Tensor:
    """Norms in float64, ``(n,)``."""
    norms, scale = scaled_norms(rows)
    return norms / scale


def has_direction(norms: Tensor, negligible: float) -> Tensor:
    """Which rows are above ``negligible`` times the largest norm, ``(n,)``; ValueError if none."""
    if not 0 <= negligible < 1:
        raise ValueError(f"negligible: {negligible}, expected a share from 0 and below 1")
    largest = norms.max()
    if not bool(largest > 0):
        raise ValueError(
            "table: zero everywhere, expected a row with a direction; was it trained, and is it "
            "cut to the columns that were meant?"
        )
    return norms > negligible * largest


def directions(rows: Tensor, norms: Tensor, scale: float, index: Tensor) -> Tensor:
    """Unit vectors of the rows ``index``, in the precision that is worked in."""
    dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
    unit = torch.empty(index.shape[0], rows.shape[1], dtype=dtype, device=rows.device)
    for part, some in zip(unit.split(CHUNK_ROWS), index.split(CHUNK_ROWS), strict=True):
        part.copy_(rows[some].double() * scale / norms[some, None])
    return unit


def row_labels(name: str, labels: Array, rows: Tensor) -> Tensor:
    """`labels` as int64 `(n,)` on the device of `rows`."""
    given = torch.as_tensor(labels)
    if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
        raise ValueError(f"{name}: {given.dtype}, expected integers")
    if given.shape != rows.shape[:1]:
        raise ValueError(f"{name}: shape {tuple(given.shape)}, expected ({rows.shape[0]},)")
    return given.to(rows.device, torch.int64)


def check_between(name: str, value: float, low: float, high: float) -> None:
    """ValueError unless ``low < value < high``."""
    if not low < value < high:
        raise ValueError(f"{name}: {value}, expected a number between {low:g} and {high:g}")
