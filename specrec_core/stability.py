"""Stability: how much of the lists of nearest neighbours two versions of a table have in common.

The versions hold the same items in the same rows: two snapshots in time, two samples, two seeds.
Items with large norms keep their neighbours longer than those with small ones [spiky2023svd], so
everything is told by group:

    groups = norm_groups(reference, 5)
    found = neighbour_stability(reference, other, groups=groups, k=(10, 100))
    found.overlap[0]        # smallest norms, at 10 and at 100
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from specrec_core.arguments import one_of
from specrec_core.norms import columns, directions, row_labels, scaled_norms
from specrec_core.ranking import CHUNK_ON_CPU, CHUNK_ON_GPU, top_items
from specrec_core.tables import Array

SIMILARITIES = ("dot", "cosine")
CANDIDATES = ("group", "all")
NORMAL_95 = 1.96


@dataclass(frozen=True, eq=False)
class Stability:
    """What :func:`neighbour_stability` found, for G groups at K cut-offs.

    Attributes:
        groups: labels of the groups, ascending, ``(G,)`` int64.
        queries: rows asked for in each, ``(G,)`` int64.
        k: the cut-offs, ascending.
        overlap, jaccard: means over the queries, ``(G, K)`` float64.
        overlap_error, jaccard_error: half widths of their 95 % intervals, ``(G, K)``.
    """

    groups: Tensor
    queries: Tensor
    k: tuple[int, ...]
    overlap: Tensor
    jaccard: Tensor
    overlap_error: Tensor
    jaccard_error: Tensor


@torch.no_grad()
def neighbour_stability(
    reference: Array,
    other: Array,
    *,
    groups: Array,
    k: Sequence[int] = (10, 100, 500),
    queries: int | None = 1000,
    similarity: str = "dot",
    candidates: str = "group",
    self_match: bool = True,
    seed: int = 0,
) -> Stability:
    """Overlap and Jaccard index of the k nearest rows in two tables, by group of the query.

    The defaults are the protocol of the official code [spiky2023svd], with groups of
    ``norm_groups(reference, 5)``: 1000 queries of each group, drawn without replacement, and the
    query and its group alone as candidates. With A the list in one table and B that in the other,
    overlap o = #(A ∩ B) / k (called "iou" there) and Jaccard #(A ∩ B) / #(A ∪ B) = o / (2 − o). The
    latter is convex in o, so its mean over queries is at least the Jaccard index of the mean
    overlap. Half widths are 1.96 · sd / √L over L queries, sd with L in the denominator.

    Equal similarities are ranked by lower row. A row that is zero but for rounding, as an SVD
    leaves it, has neighbours by chance, in the official protocol as here.

    Args:
        reference: ``(n, d)``, with the items of ``other`` in the same rows, on the same device.
        other: ``(n, d')``. float64 tables are ranked in float64, others in float32.
        groups: ``(n,)`` integers; rows below 0 are never asked for.
        k: lengths of the lists.
        queries: rows asked for in each group; None asks for all, in which case the interval is that
            of a sample all the same.
        candidates: ``"group"`` of the query, or ``"all"`` rows.
        self_match: whether a query may be in its own list, where it counts as common.

    Raises:
        ValueError: bad tables or arguments, a group with fewer than ``queries`` rows or with a zero
            row, lists longer than there are candidates, or no group at all.
    """
    one_of("similarity", similarity, SIMILARITIES)
    one_of("candidates", candidates, CANDIDATES)
    one, two = _prepared(reference, similarity), _prepared(other, similarity)
    n, device = one.shape[0], one.device
    if two.shape[0] != n or two.device != device:
        raise ValueError(
            f"other: {two.shape[0]} rows on {two.device}, expected the {n} of reference on {device}"
        )
    label = row_labels("groups", groups, one)
    ids = label[label >= 0].unique()
    if not ids.shape[0]:
        raise ValueError("groups: all below 0, expected at least one group")
    directed = one.any(dim=1) & two.any(dim=1)
    cuts, draw = _cut_offs(k), np.random.default_rng(seed)
    asked: list[Tensor] = []
    pools: list[Tensor] = []
    for group in ids.tolist():
        inside = (label == group).nonzero().squeeze(1)
        pool = inside if candidates == "group" else torch.arange(n, device=device)
        longest, size = pool.shape[0] - (not self_match), inside.shape[0]
        if cuts[-1] > longest:
            raise ValueError(
                f"k: {cuts[-1]}, expected at most {longest}, the candidates of group {group}"
            )
        if queries is not None and not 1 <= queries <= size:
            raise ValueError(
                f"queries: {queries}, expected between 1 and {size}, the rows of group {group} "
                "(None asks for all)"
            )
        empty = int((~directed[inside]).sum())
        if empty:
            raise ValueError(
                f"groups: {empty} rows of group {group} are zero in one of the tables and have no "
                "neighbours; give them the group -1"
            )
        chosen = range(size) if queries is None else draw.choice(size, queries, replace=False)
        asked.append(inside[torch.as_tensor(np.asarray(chosen), device=device)])
        pools.append(pool)
    measured = []
    for rows, pool in zip(asked, pools, strict=True):
        found = _overlaps(one, two, rows, pool, cuts, self_match)
        measured.append(_mean_and_error(torch.stack([found, found / (2 - found)])))
    mean, error = (torch.stack(each, dim=1) for each in zip(*measured, strict=True))
    sizes = torch.tensor([rows.shape[0] for rows in asked], device=device)
    return Stability(ids, sizes, cuts, mean[0], mean[1], error[0], error[1])


def _overlaps(
    one: Tensor, two: Tensor, rows: Tensor, pool: Tensor, cuts: tuple[int, ...], self_match: bool
) -> Tensor:
    """Overlap of the lists of each of ``rows (q,)`` among ``pool (c,)``: ``(q, K)`` float64."""
    first, second = one[pool].T, two[pool].T
    place = torch.searchsorted(pool, rows)
    elements = CHUNK_ON_CPU if pool.device.type == "cpu" else CHUNK_ON_GPU
    size = max(1, elements // pool.shape[0])
    found = []
    for some, own in zip(rows.split(size), place.split(size), strict=True):
        lists = []
        for table, candidates in ((one, first), (two, second)):
            scores = table[some] @ candidates
            if not self_match:
                scores.scatter_(1, own.unsqueeze(1), -torch.inf)
            lists.append(top_items(scores, cuts[-1]))
        # the position that each candidate has in the second list, seen from the first
        rank = torch.full_like(scores, cuts[-1], dtype=torch.int64)
        rank.scatter_(1, lists[1], torch.arange(cuts[-1], device=rank.device).expand_as(lists[1]))
        seen = rank.gather(1, lists[0])
        common = [(seen[:, :cut] < cut).double().mean(dim=1) for cut in cuts]
        found.append(torch.stack(common, dim=1))
    return torch.cat(found)


def _mean_and_error(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over ``(2, q, K)`` queries, and half the width of its 95 % interval: ``(2, K)`` each."""
    spread = values.std(dim=1, correction=0)
    return values.mean(dim=1), NORMAL_95 * spread / math.sqrt(values.shape[1])


def _prepared(table: Array, similarity: str) -> Tensor:
    """Rows to take dot products of: unit ones for cosine, else all scaled by one power of two."""
    rows = columns(table, None)
    norms, scale = scaled_norms(rows)
    if similarity == "dot":
        norms = torch.ones_like(norms)
    safe = torch.where(norms > 0, norms, 1.0)
    return directions(rows, safe, scale, torch.arange(rows.shape[0], device=rows.device))


def _cut_offs(k: Sequence[int]) -> tuple[int, ...]:
    if isinstance(k, int) or not k or any(isinstance(c, bool) or c != int(c) or c < 1 for c in k):
        raise ValueError(f"k: {k!r}, expected a sequence of integers of at least 1, such as (10,)")
    return tuple(sorted({int(cut) for cut in k}))
