"""What chapter 11 measures on a training split: which tables are spiky, and what spikes rank.

Every function is a study (`specrec_core.studies`). Tables are made from the training pairs alone;
an item that no edge of the PPMI graph names has a row of zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from specrec_core import datasets, spikes
from specrec_core.evaluation import evaluate, popularity_groups
from specrec_core.factorisation import nmf, truncated_svd, word2vec
from specrec_core.interactions import Interactions
from specrec_core.item_metrics import head_and_tail, spike_metrics
from specrec_core.ppmi import PPMI, ppmi
from specrec_core.ranking import Score
from specrec_core.studies import Measured
from specrec_core.study_uses import elbow

CUTS = (10, 20)
CHOSEN_BY = "ndcg@20"
TABLES = ("svd of ppmi", "svd of counts", "nmf of ppmi", "nmf of counts", "word2vec", "random")


def table(
    *, dataset: str, seed: int, progress: bool, method: str, f: int, epochs: int, window: int
) -> Measured:
    """`item_metrics.spike_metrics` of one table of ``f`` columns, of `TABLES`.

    ``epochs`` and ``window`` are those of word2vec, which reads each user's items in random order.
    "random" is a table of normal numbers.
    """
    if method not in TABLES:
        raise ValueError(f"method: {method!r}, expected one of {', '.join(TABLES)}")
    data = datasets.load(dataset)
    made = _table(method, data, f, seed, epochs, window)
    found = spike_metrics(torch.from_numpy(made).unsqueeze(0), data.item_popularity)
    described = {"version": data.version, "checksum": data.checksum, **data.statistics}
    return Measured({name: value for name, (value,) in found.items()}, data=described)


def _table(
    method: str, data: Interactions, f: int, seed: int, epochs: int, window: int
) -> np.ndarray:
    draw = np.random.default_rng(seed)
    if method == "random":
        return draw.standard_normal((data.n_items, f))
    if method == "word2vec":
        users, items = data.train.nonzero()
        order = draw.permutation(len(users))
        return word2vec(
            users[order], items[order], data.n_items, f, seed=seed, epochs=epochs, window=window
        )
    factorise = _factorisation(method, f, seed)
    if method.endswith("counts"):
        return factorise(sp.csr_array(data.train.T))
    graph = ppmi(*data.train.nonzero())
    return spread_out(factorise(graph.matrix), graph.items, data.n_items)


def _factorisation(method: str, f: int, seed: int) -> Callable[[sp.csr_array], np.ndarray]:
    if method.startswith("nmf"):
        return lambda matrix: nmf(matrix, f, seed=seed)
    return lambda matrix: truncated_svd(matrix, f, seed=seed).embedding()


def spread_out(rows: np.ndarray, items: np.ndarray, n_items: int) -> np.ndarray:
    """A table ``(n_items, f)`` that has ``rows`` at ``items`` and zeros elsewhere."""
    made = np.zeros((n_items, rows.shape[1]))
    made[items] = rows
    return made


def ranking(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    dimensions: Sequence[int],
    powers: Sequence[float],
    shrinkage: Sequence[float],
) -> Measured:
    """Recommend by similar items: score_j = Σ over the user's items i of ê_i · ê_j ‖e_j‖^γ.

    Variants: ``"γ=0.5"`` for each of the ``powers``, and each of them ``snapped``: before scoring,
    the direction of every item in a spike is mixed with that of the peak, see `snapped`, with t of
    ``shrinkage``. For each variant f (and t) is chosen by NDCG@20 on validation, and the test
    metrics of that choice are kept; likewise for ``"γ chosen"``, where the power is chosen too.
    Beside them ranking by ``popularity``, and by the PPMI ``graph`` itself, Σ_i M_ij. The seed
    draws the validation pairs, hence the training pairs too.

    Also kept: validation NDCG@20 and Spk (in per cent, items of the graph alone) at each f.
    """
    data = datasets.load(dataset, seed=seed)
    graph = ppmi(*data.train.nonzero())
    factors = truncated_svd(graph.matrix, max(dimensions), seed=seed)
    train, validation = data.csr("train"), data.csr("validation")

    def valid(score: Score) -> float:
        reached = evaluate(score, validation, train, k=CUTS, conventions=("standard",)).mean
        return reached[CHOSEN_BY].item()

    best: dict[str, tuple[float, int, float, float, Score]] = {}
    curves: dict[str, list[float]] = {"f": list(dimensions), "spk": []}
    for f in dimensions:
        items = factors.embedding(f)
        greedy = spikes.peaks(items)
        curves["spk"].append(100 * greedy.share)
        for power, t, score in _scores(data, graph, items, greedy, powers, shrinkage):
            reached = valid(score)
            kind = " snapped" if t else ""
            if not t:
                curves.setdefault(f"validation γ={power:g}", []).append(reached)
            for name in (f"γ={power:g}{kind}", f"γ chosen{kind}"):
                if name not in best or reached > best[name][0]:
                    best[name] = (reached, f, power, t, score)
    found: dict[str, float] = {"elbow": float(elbow(dimensions, curves["spk"]))}
    for name, (reached, f, power, t, score) in best.items():
        found[f"{name}, validation {CHOSEN_BY}"] = reached
        found.update({f"{name}, f": float(f), f"{name}, power": power, f"{name}, t": t})
        found.update(_tested(data, name, score))
    found.update(_tested(data, "popularity", _by_popularity(data)))
    found.update(_tested(data, "graph", _by_graph(data, graph)))
    described = {"version": data.version, "checksum": data.checksum, **data.statistics}
    return Measured(found, {"graph": factors.s.tolist()}, curves, described)


def _scores(
    data: Interactions,
    graph: PPMI,
    items: np.ndarray,
    greedy: spikes.Spikes,
    powers: Sequence[float],
    shrinkage: Sequence[float],
) -> Iterator[tuple[float, float, Score]]:
    """Each power and each t (0: not snapped) at one f, with its score."""
    norms = np.linalg.norm(items, axis=1)
    for t in (0.0, *shrinkage):
        made = snapped(items, greedy, t) if t else _directions(items)
        for power in powers:
            weight = np.where(made.any(axis=1), norms, 1.0) ** power
            yield power, t, similar_items(data, graph.items, made, weight)


def _directions(items: np.ndarray) -> np.ndarray:
    """Unit rows; zero for rows that are zero but for rounding."""
    norms = np.linalg.norm(items, axis=1, keepdims=True)
    alive = norms > spikes.NEGLIGIBLE * norms.max()
    return np.where(alive, items / np.where(alive, norms, 1.0), 0.0)


def snapped(items: np.ndarray, greedy: spikes.Spikes, t: float) -> np.ndarray:
    """Unit directions ``(n, f)`` with those of weak members of spikes drawn to the peak.

    For a member e of the spike with peak p it is (1 − w) e/‖e‖ + w p/‖p‖, normalised, with
    w = 1 / (1 + ‖e‖ / (t m)) and m the median norm; a peak keeps its direction.
    """
    norms = np.linalg.norm(items, axis=1)
    directions = _directions(items)
    labels = spikes.members(torch.from_numpy(items), greedy).cpu().numpy()
    inside = labels >= 0
    weight = 1 / (1 + norms[inside, None] / (t * np.median(norms)))
    peaks = directions[greedy.peaks.cpu().numpy()][labels[inside]]
    mixed = (1 - weight) * directions[inside] + weight * peaks
    directions[inside] = mixed / np.linalg.norm(mixed, axis=1, keepdims=True)
    return directions


def similar_items(
    data: Interactions, codes: np.ndarray, directions: np.ndarray, weight: np.ndarray
) -> Score:
    """The score Σ_i d_i · d_j weight_j over a user's training items i, for items j at ``codes``.

    Items without a row in ``directions`` score 0.
    """
    history = sp.csr_array(data.train)[:, codes] @ directions  # (users, f)
    users = torch.from_numpy(history).float()
    items = torch.from_numpy(spread_out(directions * weight[:, None], codes, data.n_items)).float()
    return lambda ids: (users[ids] @ items.T).unsqueeze(0)


def _by_popularity(data: Interactions) -> Score:
    popularity = torch.from_numpy(data.item_popularity).float()
    return lambda ids: popularity.expand(1, len(ids), -1)


def _by_graph(data: Interactions, graph: PPMI) -> Score:
    history = sp.csr_array(data.train)[:, graph.items]

    def score(ids: Tensor) -> Tensor:
        made = torch.zeros(1, len(ids), data.n_items)
        sums = (history[ids.numpy()] @ graph.matrix).toarray()
        made[0, :, torch.from_numpy(graph.items)] = torch.from_numpy(sums).float()
        return made

    return score


def _tested(data: Interactions, variant: str, score: Score) -> dict[str, float]:
    """Test metrics of one score, named ``"<variant>, <metric>"``."""
    truth, seen = data.csr("test"), data.csr("train+validation")
    popularity = torch.from_numpy(data.item_popularity)
    groups = popularity_groups(popularity, 2)
    measured = evaluate(
        score, truth, seen, k=CUTS, conventions=("standard",), item_groups=groups
    ).mean
    measured.update(head_and_tail(score, truth, seen, data.item_popularity, k=CUTS))
    wanted = ("ndcg", "recall", "coverage", "gini", "share")
    return {
        f"{variant}, {name}": value.item()
        for name, value in measured.items()
        if name.startswith(wanted)
    }
