"""What chapter 9 measures: how spiky real embeddings are, and what the answer hangs on.

Every function is a study (`specrec_core.studies`): one seed in, one `Measured` out. Unless said
otherwise the table is E = US of the PPMI graph of a data set and the seed is that of its
randomised SVD; shares of peaks (Spk) are in per cent.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from scipy.stats import spearmanr

from specrec_core import datasets, item_names, spikes
from specrec_core.arguments import one_of
from specrec_core.factorisation import Decomposition, truncated_svd
from specrec_core.ppmi import PPMI, ppmi
from specrec_core.studies import Measured

INPUTS = ("distinct", "repeats")
LEAST = 5  # members that a spike needs before its spread is measured


@dataclass(frozen=True, eq=False)
class Rows:
    """All rows (context, item) of a data set, repeats included.

    ``contexts`` and ``items``, ``(P,)`` each, are codes from 0; ``ids`` are the source's ids of
    the items, in whose order their codes stand.
    """

    contexts: np.ndarray
    items: np.ndarray
    ids: np.ndarray

    @property
    def checksum(self) -> str:
        codes = np.concatenate([self.contexts, self.items]).astype("<i8")
        return hashlib.sha256(codes.tobytes()).hexdigest()


def rows(dataset: str) -> Rows:
    """The rows of a data set, as its files have them, all splits together."""
    if dataset == "synthetic":
        known = datasets.load(dataset, validation=0.0)
        pairs = (known.train + known.test).tocoo()
        return Rows(pairs.row.astype(np.int64), pairs.col.astype(np.int64), known.item_ids)
    source = datasets.read(dataset)
    tables = [t for t in (source.train, source.test) if t is not None]
    contexts = np.unique(np.concatenate([t.users for t in tables]), return_inverse=True)[1]
    ids, items = np.unique(np.concatenate([t.items for t in tables]), return_inverse=True)
    return Rows(contexts, items, ids)


@lru_cache(maxsize=1)  # the seeds of a study share it
def _graph(dataset: str, counted: str, mirror: bool, top_rule: str) -> tuple[PPMI, dict[str, Any]]:
    one_of("input", counted, INPUTS)
    found = rows(dataset)
    distinct = counted == "distinct"
    graph = ppmi(found.contexts, found.items, distinct=distinct, mirror=mirror, top_rule=top_rule)
    about = {"rows": len(found.items), "contexts": graph.contexts, "checksum": found.checksum}
    return graph, {**about, "items": len(graph.items), "entries": int(graph.matrix.nnz)}


def open_data(
    *,
    dataset: str,
    seed: int,
    progress: bool = True,
    input: str = "distinct",
    mirror: bool = True,
    top_rule: str = "half-lists",
    method: str = "randomized",
    cuts: Sequence[int] = (8, 16, 32, 64, 128),
    cosines: Sequence[float] = (),
    coverages: Sequence[float] = (),
    exponents: Sequence[float] = (),
    gaussian: Sequence[int] = (),
    shaped: Sequence[int] = (),
    closely: int = 64,
) -> Measured:
    """Spk@f of one data set, and all it might depend on.

    Parameters
    ----------
    input
        "distinct" counts a pair (context, item) once, "repeats" as often as it occurs.
    mirror, top_rule, method
        As in `specrec_core.ppmi.ppmi` and `specrec_core.factorisation.truncated_svd`.
    cuts
        f, numbers of columns. The SVD has the largest of them.
    cosines, coverages
        Other thresholds and coverages, one changed at a time, at f = ``closely``.
    exponents
        Other powers of the singular values than 1, at every cut.
    gaussian, shaped
        Cuts at which a Gaussian cloud of the same size is measured: round, or with the columns
        scaled by the same singular values.
    closely
        f at which spikes are looked at closely: the profile, the spread of norms inside them, and
        the rank correlations of norms with degree and popularity. One of ``cuts``.
    """
    if closely not in cuts:
        raise ValueError(f"closely: {closely}, expected one of cuts, {', '.join(map(str, cuts))}")
    graph, about = _graph(dataset, input, mirror, top_rule)
    factors = truncated_svd(graph.matrix, max(cuts), method=method, seed=seed)
    found: dict[str, float] = {
        "items": len(graph.items),
        "first singular value": factors.s[0],
        "last singular value": factors.s[-1],
    }
    if mirror:
        negative = np.flatnonzero(factors.signs < 0)
        found["negative eigenvalues"] = len(negative)
        found["first negative eigenvalue"] = negative[0] + 1 if len(negative) else np.nan
    curves: dict[str, list[Any]] = {}
    for f in cuts:
        table = torch.from_numpy(factors.embedding(f))
        found.update(measured_at(table))
        for exponent in exponents:
            other = torch.from_numpy(factors.embedding(f, exponent))
            found[f"spk@{f} exponent={exponent:g}"] = 100 * spikes.spk(other)
        if f == closely:
            found.update(thresholds(table, cosines, coverages))
            curves = profile(table)
            norms = torch.linalg.vector_norm(table, dim=1).numpy()
            for name in ("strength", "neighbours", "popularity"):
                found[f"norm and {name}@{f}"] = spearmanr(norms, getattr(graph, name)).statistic
    found.update(_clouds(factors, len(graph.items), gaussian, shaped, seed))
    return Measured({k: float(v) for k, v in found.items()}, {"graph": factors.s.tolist()}, curves,
                    about)  # fmt: skip


def measured_at(table: torch.Tensor) -> dict[str, float]:
    """Peaks, Spk in per cent, zero rows, and the spread of norms inside spikes; ``(n, f)``.

    The spread is measured on spikes of at least `LEAST` members: the mean of the coefficients of
    variation, and the median of the ratios of the 95th percentile to the 5th.
    """
    f = table.shape[1]
    found = spikes.peaks(table)
    labels = spikes.members(table, found)
    spread = spikes.radial_dispersion(table, labels, least=LEAST)
    values = {
        "peaks": len(found.peaks),
        "spk": 100 * found.share if found.reached else math.nan,
        "zero rows": found.zero_rows,
        "largest spike": int(torch.bincount(labels[labels >= 0], minlength=1).max()),
        "large spikes": len(spread.spikes),
        "spread inside spikes": float(spread.variation.nanmean()),
        "ratio inside spikes": float(spread.ratio.nanmedian()) if len(spread.spikes) else math.nan,
    }
    return {f"{name}@{f}": float(value) for name, value in values.items()}


def thresholds(
    table: torch.Tensor, cosines: Sequence[float], coverages: Sequence[float]
) -> dict[str, float]:
    """Spk with one of the two thresholds changed."""
    f = table.shape[1]
    return {
        **{f"spk@{f} cos={c:g}": 100 * spikes.spk(table, cos=c) for c in cosines},
        **{f"spk@{f} coverage={r:g}": 100 * spikes.spk(table, coverage=r) for r in coverages},
    }


def profile(table: torch.Tensor, points: int = 60) -> dict[str, list[Any]]:
    """The clustering profile: share covered after each peak, against its rank by norm (from 1)."""
    found = spikes.peaks(table)
    norms = torch.linalg.vector_norm(table, dim=1)
    rank = torch.empty(len(norms), dtype=torch.int64)
    rank[torch.argsort(norms, descending=True, stable=True)] = torch.arange(1, len(norms) + 1)
    p = len(found.peaks)
    kept = np.unique(np.rint(np.geomspace(1, p, points)).astype(int)) - 1
    return {
        "peak": (kept + 1).tolist(),
        "rank": rank[found.peaks[kept]].tolist(),
        "covered": (found.covered[kept].double() / found.n).tolist(),
    }


def _clouds(
    factors: Decomposition, n: int, gaussian: Sequence[int], shaped: Sequence[int], seed: int
) -> dict[str, float]:
    found = {f"gaussian spk@{f}": 100 * spikes.random_spk(n, f, seed=seed) for f in gaussian}
    for f in shaped:
        share = spikes.random_spk(n, f, spectrum=factors.s[:f], seed=seed)
        found[f"shaped gaussian spk@{f}"] = 100 * share
    return found


def meaning(
    *, dataset: str, seed: int, progress: bool = True, f: int = 64, pairs: int = 200_000,
    rare: float = 0.1,
) -> Measured:  # fmt: skip
    """Whether the items of a spike have more in common than any two items.

    The share of pairs that have a tag or genre in common, that have a *rare* one in common (one
    that at most the share ``rare`` of the labelled items has), and that are by the same artist, in
    per cent: among pairs of one spike (any member, and any other one of its spike), and among all
    pairs. Items without labels, or without an artist, take part in none of the pairs for these.
    """
    graph, about = _graph(dataset, "distinct", True, "half-lists")
    table = torch.from_numpy(truncated_svd(graph.matrix, f, seed=seed).embedding())
    labels = spikes.members(table, spikes.peaks(table)).numpy()
    known = item_names.names(dataset).loc[rows(dataset).ids[graph.items]]
    draw = np.random.default_rng(seed)
    found: dict[str, float] = {}
    tags = _incidence(known["labels"])
    labelled = tags.sum(axis=1) > 0
    some = np.flatnonzero(tags.sum(axis=0) <= rare * labelled.sum())
    artist = sp.csr_array(_incidence(known["by"].map(lambda name: (name,) if name else ())))
    for what, has, kinds in (
        ("label", labelled, tags),
        ("rare label", labelled, sp.csr_array(tags[:, some])),
        ("artist", artist.sum(axis=1) > 0, artist),
    ):
        if not kinds.nnz:
            continue
        for name, groups in (("spike", labels), ("data set", np.zeros_like(labels))):
            one, two = _pairs_within(np.where(has, groups, -1), pairs, draw)
            common = kinds[one].multiply(kinds[two]).sum(axis=1) > 0
            found[f"same {what} in one {name}"] = 100 * float(np.mean(common))
    found["spikes of two and more"] = float((np.bincount(labels[labels >= 0]) > 1).sum())
    return Measured(found, data=about)


def sizes(
    *, dataset: str, seed: int, progress: bool = True, counts: Sequence[int], f: int = 64
) -> Measured:
    """Spk of random parts of a data set, by number of items.

    ``"spk of n rows"``: n rows of the table of all items, drawn at random, as [spiky2023svd] does
    with more than a million. ``"spk of n items"``: the table made anew from what contexts hold of
    n items drawn at random, those with an edge among all; fewer may keep one, and their number is
    ``"items of n"``. A count above the number of items is passed over.
    """
    graph, about = _graph(dataset, "distinct", True, "half-lists")
    draw = np.random.default_rng(seed)
    table = truncated_svd(graph.matrix, f, seed=seed).embedding()
    data = rows(dataset)
    found: dict[str, float] = {}
    for n in counts:
        if n > len(graph.items):
            continue
        part = draw.choice(len(graph.items), n, replace=False)
        found[f"spk of {n} rows"] = 100 * spikes.spk(torch.from_numpy(table[part]))
        kept = np.isin(data.items, graph.items[part])
        anew = ppmi(data.contexts[kept], data.items[kept])
        small = truncated_svd(anew.matrix, f, seed=seed).embedding()
        found[f"items of {n}"] = float(len(small))
        found[f"spk of {n} items"] = 100 * spikes.spk(torch.from_numpy(small))
    return Measured(found, data=about)


def friends(
    *, dataset: str, seed: int, progress: bool = True, country: str,
    cuts: Sequence[int] = (8, 16, 32, 64, 128),
) -> Measured:  # fmt: skip
    """Spk@f of a friendship graph: its 0/1 adjacency factorised as it is, no PPMI."""
    edges = pd.read_csv(datasets.fetch(dataset)[f"{country}_edges.csv"]).to_numpy()
    n = int(edges.max()) + 1
    ones = np.ones(len(edges))
    half = sp.coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(n, n)).tocsr()
    adjacency = sp.csr_array(half + half.T)
    adjacency.data[:] = 1.0
    degree = np.asarray(adjacency.sum(axis=1))
    factors = truncated_svd(adjacency, max(cuts), seed=seed)
    found: dict[str, float] = {"nodes": float(n), "edges": adjacency.nnz / 2}
    for f in cuts:
        table = torch.from_numpy(factors.embedding(f))
        found.update(measured_at(table))
        norms = torch.linalg.vector_norm(table, dim=1).numpy()
        found[f"norm and degree@{f}"] = float(spearmanr(norms, degree).statistic)
    found["negative eigenvalues"] = float((factors.signs < 0).sum())
    return Measured(found, {"graph": factors.s.tolist()})


def _incidence(labels: pd.Series) -> sp.csr_array:
    """Items × labels, 0/1."""
    item = np.repeat(np.arange(len(labels)), labels.map(len).to_numpy())
    code = pd.factorize(np.array([t for each in labels for t in each], dtype=object))[0]
    shape = (len(labels), int(code.max(initial=-1)) + 1)
    return sp.coo_array((np.ones(len(item)), (item, code)), shape=shape).tocsr()


def _pairs_within(
    groups: np.ndarray, pairs: int, draw: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of different rows of one group: a row at random, and another of its group (not -1)."""
    order = np.argsort(groups, kind="stable")
    order = order[groups[order] >= 0]
    code = groups[order]
    first, last = (np.searchsorted(code, code, side) for side in ("left", "right"))
    able = np.flatnonzero(last - first > 1)
    if not len(able):
        raise ValueError("groups: none has two rows, expected one at least")
    at = draw.choice(able, pairs)
    other = first[at] + draw.integers(0, last[at] - first[at] - 1)
    return order[at], order[other + (other >= at)]
