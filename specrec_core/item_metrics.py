"""What the items of a model look like: spikes in their table, and accuracy on head and tail.

The *frequent* items are those with at least `FREQUENT` training interactions: of an item seen less
often, a table holds little but noise, whatever made it. Head and tail are the more and the less
popular items that hold half of the training interactions each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from specrec_core import spectra, spikes
from specrec_core.evaluation import popularity_groups, ranking_metrics
from specrec_core.interactions import CSR
from specrec_core.ranking import Score, contains, recommend

FREQUENT = 5
TAIL, HEAD = 0, 1
MEASURED = (
    "spk",
    "spread inside spikes",
    "norm against popularity",
    "effective rank",
    "energy in the mean",
)


def spike_metrics(items: Tensor, popularity: np.ndarray) -> dict[str, list[float]]:
    """Statistics of R item tables ``(R, n, d)``, one value per replica.

    Over all ``items`` with training data, and over the ``frequent items``:

    - ``spk of …``: peaks per hundred items at f = d (`specrec_core.spikes`); rows that are zero
      count among the items and are never covered;
    - ``spread inside spikes of …``: coefficient of variation of the norms inside a spike, mean
      over the spikes of five items and more;
    - ``norm against popularity of …``: Spearman's correlation;
    - ``effective rank of …`` (frequent items alone);
    - ``energy in the mean of …`` (frequent items alone): the share of Σ‖e‖² that the mean row
      accounts for. Where it is large the table is a cone: any two rows of it have a large cosine.

    NaN where a number is not defined: half of the rows zero, no such spike, equal norms, fewer than
    two items.
    ``popularity`` is the training interactions of each item, ``(n,)``; ValueError for other shapes.
    """
    if popularity.shape != items.shape[-2:-1]:
        raise ValueError(f"popularity: shape {popularity.shape}, expected ({items.shape[-2]},)")
    found: dict[str, list[float]] = {}
    for replica in items.detach():
        for name, least in (("items", 1), ("frequent items", FREQUENT)):
            kept = np.flatnonzero(popularity >= least)
            table = replica[torch.as_tensor(kept, device=replica.device)]
            measured = _measured(table, popularity[kept], whole=least > 1)
            for key, value in measured.items():
                found.setdefault(f"{key} of {name}", []).append(value)
    return found


def _measured(table: Tensor, popularity: np.ndarray, whole: bool) -> dict[str, float]:
    names = MEASURED if whole else MEASURED[:3]
    if len(table) < 2 or not bool(table.any()):
        return dict.fromkeys(names, float("nan"))
    greedy = spikes.peaks(table)
    variation = spikes.radial_dispersion(table, spikes.members(table, greedy)).variation
    norms = torch.linalg.vector_norm(table.double(), dim=1)
    values = [
        100 * greedy.share if greedy.reached else float("nan"),
        float(variation.mean()),
        correlation(norms.cpu().numpy(), popularity),
    ]
    if whole:
        mean = table.double().mean(0)
        values.append(float(spectra.effective_rank(spectra.singular_values(table))))
        values.append(float(mean @ mean / norms.square().mean()))
    return dict(zip(names, values, strict=True))


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation; NaN where one of the two is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(spearmanr(x, y).statistic)


def head_and_tail(
    score: Score, truth: CSR, seen: CSR, popularity: np.ndarray, *, k: Sequence[int] = (10, 20)
) -> dict[str, Tensor]:
    """NDCG and recall on the truth items of the head alone, and of the tail alone.

    The ranking is of the whole catalogue, as in `specrec_core.evaluation.evaluate`; only the truth
    is cut down, and means are over the users who keep some, NaN if nobody does. Names are
    ``"ndcg[tail]@10"`` and so on, values ``(R,)``.
    """
    device = truth.device
    groups = popularity_groups(torch.as_tensor(popularity, device=device), 2)
    users = truth.degree().nonzero().squeeze(1)
    items = recommend(score, users, seen, max(k))
    values: dict[str, Tensor] = {}
    for name, group in (("tail", TAIL), ("head", HEAD)):
        part = restricted(truth, groups == group)
        some = part.degree()[users] > 0
        hits = contains(part, users[some], items[:, some])
        measured = ranking_metrics(hits, part.degree()[users[some]], k=k)
        for metric in ("ndcg", "recall"):
            for cut in k:
                values[f"{metric}[{name}]@{cut}"] = measured[f"{metric}@{cut}"].mean(-1)
    return values


def restricted(matrix: CSR, columns: Tensor) -> CSR:
    """The entries of a matrix in the columns where ``columns (n_columns,)`` is true."""
    kept = columns[matrix.indices]
    counts = torch.bincount(matrix.rows()[kept], minlength=matrix.shape[0])
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return CSR(offsets, matrix.indices[kept], matrix.shape)
