"""What chapter 11 measures on tables as they are: degree, lists, and the choice of f.

Every function is a study (`specrec_core.studies`): one seed in, one `Measured` out. The table is
E = US of the PPMI graph of a data set unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, reduce

import numpy as np
import torch
from torch import Tensor

from specrec_core import blockmodel, spikes, study_spikes
from specrec_core.factorisation import truncated_svd
from specrec_core.item_metrics import correlation
from specrec_core.ppmi import PPMI, ppmi
from specrec_core.stability import neighbour_stability
from specrec_core.studies import Measured

SMALL = 10  # members that a spike needs before anything is measured inside it
SIMILARITIES = {"cosine": 0.0, "dot": 1.0}  # name: power of the candidate's norm


@lru_cache(maxsize=1)  # the seeds of a study share it
def graph_of(dataset: str) -> PPMI:
    """The PPMI graph of all pairs of a data set, its splits together."""
    found = study_spikes.rows(dataset)
    return ppmi(found.contexts, found.items)


def sums_from_table(table: np.ndarray) -> np.ndarray:
    """Row sums of the truncated matrix from E = US alone, ``(n, f)`` to ``(n,)``.

    The columns of E have the norms s_r. With the s_r and E, E S⁻¹ Eᵀ 1 is M_f 1 where no
    eigenvalue is negative, and takes the negative ones for positive otherwise.
    """
    s = np.linalg.norm(table, axis=0)
    return table @ (table.sum(axis=0) / np.where(s > 0, s, 1.0))


def degree(
    *, dataset: str, seed: int, progress: bool, dimensions: Sequence[int], inside: int
) -> Measured:
    """How well norms and row sums from the factors rank items by degree, at each f.

    Spearman correlations with the strength (row sum of the PPMI graph), the number of neighbours in
    it, and the popularity (number of contexts); and the median relative error of either as an
    estimate of the strength, scaled to the right total. At f = ``inside``, also the correlation
    with strength inside the spikes of at least `SMALL` items (mean over them), and across them (of
    their mean norm with their mean strength).
    """
    graph = graph_of(dataset)
    factors = truncated_svd(graph.matrix, max(dimensions), seed=seed)
    known = {
        "strength": graph.strength,
        "neighbours": graph.neighbours,
        "popularity": graph.popularity,
    }
    found: dict[str, float] = {}
    for f in dimensions:
        table = factors.embedding(f)
        estimates = {
            "norm": np.linalg.norm(table, axis=1),
            "row sums": factors.row_sums(f),
            "row sums from the table": sums_from_table(table),
        }
        for name, estimate in estimates.items():
            for what, value in known.items():
                found[f"{name} against {what}, f={f}"] = correlation(estimate, value)
            scaled = estimate * (known["strength"].sum() / estimate.sum())
            error = np.abs(scaled - known["strength"]) / known["strength"]
            found[f"error of {name}, f={f}"] = float(np.median(error))
        if f == inside:
            found.update(_inside_and_across(table, estimates, known["strength"]))
    return Measured(found, {"graph": factors.s.tolist()}, data=_described(graph))


def _inside_and_across(
    table: np.ndarray, estimates: dict[str, np.ndarray], strength: np.ndarray
) -> dict[str, float]:
    labels = spikes.members(torch.from_numpy(table), spikes.peaks(table)).numpy()
    large = [np.flatnonzero(labels == k) for k in range(labels.max() + 1)]
    large = [rows for rows in large if len(rows) >= SMALL]
    found = {"large spikes": float(len(large))}
    for name in ("norm", "row sums"):
        value = estimates[name]
        each = [correlation(value[rows], strength[rows]) for rows in large]
        means = np.array([[value[rows].mean(), strength[rows].mean()] for rows in large])
        found[f"{name} inside spikes"] = float(np.nanmean(each)) if each else float("nan")
        found[f"{name} across spikes"] = (
            correlation(means[:, 0], means[:, 1]) if len(large) > 1 else float("nan")
        )
    return found


def lists(
    *, dataset: str, seed: int, progress: bool, f: int, k: int, queries: int, groups: int
) -> Measured:
    """What the k nearest items by cosine and by dot product are, for queries of each norm group.

    Percentile of popularity of the listed items, their share that lies in the spike of the query
    (queries in a spike alone), how much the two lists have in common, by group of the query's norm
    (0: smallest); over all queries the share of the catalogue that is listed at all; and how much
    the lists of two members of one spike have in common.
    """
    graph = graph_of(dataset)
    table = torch.from_numpy(truncated_svd(graph.matrix, f, seed=seed).embedding())
    labels = spikes.members(table, spikes.peaks(table))
    percentile = _percentile(graph.popularity)
    draw = np.random.default_rng(seed)
    group = spikes.norm_groups(table, groups).numpy()
    asked = [_some(np.flatnonzero(group == g), queries, draw) for g in range(groups)]
    found: dict[str, float] = {}
    listed: dict[str, list[Tensor]] = {name: [] for name in SIMILARITIES}
    for g, rows in enumerate(asked):
        both = {name: nearest(table, rows, k, power) for name, power in SIMILARITIES.items()}
        for name, best in both.items():
            listed[name].append(best)
            found[f"popularity of {name} lists, group {g}"] = float(percentile[best].mean())
            spiked = labels[rows] >= 0
            same = labels[best[spiked]] == labels[rows][spiked].unsqueeze(1)
            found[f"same spike in {name} lists, group {g}"] = float(same.double().mean())
        found[f"lists in common, group {g}"] = float(overlap(*both.values()).mean())
    pair = _pairs_of_members(labels, draw)
    for name, power in SIMILARITIES.items():
        distinct = torch.cat(listed[name]).unique().numel()
        found[f"listed by {name}"] = distinct / len(table)
        one, two = (nearest(table, pair[:, side], k, power) for side in (0, 1))
        found[f"common to a spike by {name}"] = float(overlap(one, two).mean())
    return Measured(found, data=_described(graph))


def nearest(table: Tensor, rows: Tensor, k: int, power: float) -> Tensor:
    """The k items with the largest ê_i·e_j ‖e_j‖^(power − 1) for each query i: ``(q, k)``.

    The query itself is left out. Power 0 is the cosine, 1 ranks as the dot product does: the norm
    of the query changes no order. Rows that are zero have the direction zero.
    """
    norms = torch.linalg.vector_norm(table, dim=1, keepdim=True)
    unit = table / torch.where(norms > 0, norms, 1.0)
    scores = unit[rows] @ (unit * norms**power).T
    scores.scatter_(1, rows.unsqueeze(1), -torch.inf)
    return scores.topk(k).indices


def overlap(one: Tensor, two: Tensor) -> Tensor:
    """Share of each row of ``one (q, k)`` that is in the same row of ``two (q, k)``: ``(q,)``."""
    merged = torch.cat([one, two], dim=1).sort(dim=1).values
    return (merged[:, 1:] == merged[:, :-1]).double().sum(1) / one.shape[1]


def planted_growth(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    communities: int,
    degree: float,
    dimensions: Sequence[int],
    n: int,
    law: str,
) -> Measured:
    """Spk@f over f for a planted graph of known K, its elbow, and what the neighbours are worth.

    Purity at f: the mean share of the 10 nearest by cosine that are of the query's community, over
    500 queries.
    """
    model = blockmodel.planted(n, communities, law=law, degree=degree, seed=seed)
    factors = truncated_svd(model.sample(seed), max(dimensions), seed=seed)
    labels = torch.from_numpy(model.labels)
    rows = _some(np.arange(n), 500, np.random.default_rng(seed))
    share, purity = [], []
    for f in dimensions:
        table = torch.from_numpy(factors.embedding(f))
        share.append(spikes.spk(table))
        same = labels[nearest(table, rows, 10, 0.0)] == labels[rows].unsqueeze(1)
        purity.append(float(same.double().mean()))
    at = elbow(dimensions, share)
    found = {
        "elbow": float(at),
        "elbow over K": at / communities,
        "largest f with peaks ≤ f": float(within_dimensions(dimensions, share, n)),
    }
    curves: dict[str, list] = {"f": list(dimensions), "purity": purity}
    curves["spk"] = [100 * s for s in share]
    return Measured(found, {"graph": factors.s.tolist()}, curves)


def stability(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    f: int,
    reference: int,
    shares: Sequence[int],
    k: Sequence[int],
    queries: int,
    groups: int,
) -> Measured:
    """How far lists of nearest items survive as data come in, by norm group of the query.

    The contexts are put in random order; the first ``reference`` per cent of them make the
    reference, the first ``shares`` per cent the later tables, over the items that all of them hold.
    Overlap and Jaccard index as of `specrec_core.stability`: by dot product and by cosine, among
    the items of the group alone (as the official code has it) and among all, the query included.
    """
    found = study_spikes.rows(dataset)
    place = np.random.default_rng(seed).permutation(int(found.contexts.max()) + 1)[found.contexts]
    made: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for share in (reference, *shares):
        kept = 100 * place < share * (int(found.contexts.max()) + 1)
        graph = ppmi(found.contexts[kept], found.items[kept])
        made[share] = graph.items, truncated_svd(graph.matrix, f, seed=seed).embedding()
    common = reduce(np.intersect1d, (items for items, _ in made.values()))
    tables = {
        share: torch.from_numpy(table[np.searchsorted(items, common)]).float()
        for share, (items, table) in made.items()
    }
    group = spikes.norm_groups(tables[reference], groups)
    metrics: dict[str, float] = {"common items": float(len(common))}
    curves: dict[str, list] = {"share": list(shares)}
    for similarity in SIMILARITIES:
        for candidates in ("group", "all"):
            for share in shares:
                one = neighbour_stability(
                    tables[reference], tables[share], groups=group, k=k, queries=queries,
                    similarity=similarity, candidates=candidates, seed=seed,
                )  # fmt: skip
                for at, cut in enumerate(one.k):
                    name = f"{similarity} {candidates} k={cut}"
                    overlaps, jaccard = one.overlap[:, at].tolist(), one.jaccard[:, at].tolist()
                    curves.setdefault(f"overlap {name}", []).append(overlaps)
                    curves.setdefault(f"jaccard {name}", []).append(jaccard)
                    if share in (min(shares), max(shares)):
                        metrics.update(
                            {f"{name} group={g} share={share}": o for g, o in enumerate(overlaps)}
                        )
    return Measured(metrics, curves=curves, data={"contexts": int(place.max()) + 1})


def elbow(dimensions: Sequence[int], share: Sequence[float]) -> int:
    """The last f before the sharpest rise: where log Spk@f is steepest against log f.

    ValueError unless there are two values of f, ascending, each with a positive share.
    """
    f, s = np.asarray(dimensions, dtype=float), np.asarray(share, dtype=float)
    if len(f) < 2 or (np.diff(f) <= 0).any() or f.shape != s.shape or (s <= 0).any():
        raise ValueError(f"dimensions: {f.tolist()}, expected two or more, ascending, shares > 0")
    return int(dimensions[int(np.argmax(np.diff(np.log(s)) / np.diff(np.log(f))))])


def within_dimensions(dimensions: Sequence[int], share: Sequence[float], n: int) -> int:
    """The largest f at which there are no more peaks than dimensions; 0 where there is none."""
    return max((f for f, s in zip(dimensions, share, strict=True) if round(s * n) <= f), default=0)


def _pairs_of_members(labels: Tensor, draw: np.random.Generator) -> Tensor:
    """Two members at random of each spike of at least `SMALL` items, ``(spikes, 2)``."""
    found = []
    for k in range(int(labels.max()) + 1):
        rows = np.flatnonzero(labels.numpy() == k)
        if len(rows) >= SMALL:
            found.append(draw.choice(rows, 2, replace=False))
    if not found:
        raise ValueError(f"labels: no spike has {SMALL} members, expected one at least")
    return torch.from_numpy(np.array(found))


def _some(rows: np.ndarray, most: int, draw: np.random.Generator) -> Tensor:
    return torch.from_numpy(draw.choice(rows, min(most, len(rows)), replace=False))


def _percentile(values: np.ndarray) -> Tensor:
    """Share of all items that are less popular, ties counted by half, ``(n,)``."""
    ordered = np.sort(values)
    below, upto = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return torch.from_numpy((below + upto) / (2 * len(values)))


def _described(graph: PPMI) -> dict[str, int]:
    return {"items": len(graph.items), "edges": graph.matrix.nnz, "contexts": graph.contexts}
