"""What chapters 12 and 13 measure without training: quality against the width of an SVD.

Every function is a study (`specrec_core.studies`): one seed in, one `Measured` out. The seed draws
the split, the planted noise and the sampled negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from specrec_core import datasets
from specrec_core.arguments import between, whole
from specrec_core.interactions import Interactions, generator, random_part
from specrec_core.studies import Measured

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def split(pairs: sp.csr_matrix, seed: int) -> tuple[Mask, Mask, Mask]:
    """Train, validation and test, a tenth of each user's pairs for each of the last two.

    Dense masks ``(n, m)``. A user with fewer than ten pairs has none of them tested.
    """
    size = np.diff(pairs.indptr)
    test = random_part(pairs, 0.1, seed, "scaling test", size)
    valid = random_part(pairs - test, 0.1, seed, "scaling validation", size)
    kept, held, tested = (x.toarray() > 0 for x in (pairs - test - valid, valid, test))
    return kept, held, tested


def sampled(seen: Mask, test: Mask, per_positive: int, draw: np.random.Generator) -> Mask:
    """Which items are ranked: a user's test items and negatives drawn for each of them.

    ``per_positive`` items for each, uniformly and with replacement among the items that are
    neither ``seen`` nor tested. Shapes: all ``(n, m)``.
    """
    ranked = test.copy()
    for user in np.flatnonzero(test.any(1)):
        unseen = np.flatnonzero(~(seen[user] | test[user]))
        count = per_positive * int(test[user].sum())
        if len(unseen):
            ranked[user, unseen[draw.integers(0, len(unseen), count)]] = True
    return ranked


def ndcg(scores: Floats, test: Mask, ranked: Mask, cut: int = 20) -> float:
    """NDCG@cut over the ``ranked`` items, mean over users with a test item.

    The ideal has min(test items, cut) hits. Shapes: all ``(n, m)``.
    """
    users = np.flatnonzero(test.any(1))
    masked = np.where(ranked[users], scores[users], -np.inf)
    cut = min(cut, masked.shape[1])
    top = np.argpartition(-masked, cut - 1, axis=1)[:, :cut]
    order = np.argsort(-np.take_along_axis(masked, top, 1), axis=1, kind="stable")
    top = np.take_along_axis(top, order, 1)
    hits = np.take_along_axis(test[users], top, 1)
    discount = 1 / np.log2(np.arange(2, cut + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    most = ideal[np.minimum(test[users].sum(1), cut)]
    return float(((hits * discount).sum(1) / most).mean())


def with_noise(train: Mask, closed: Mask, share: float, draw: np.random.Generator) -> Mask:
    """``train`` with ``share`` of its pairs added at random, none of them in ``closed``.

    A share of 0.5 adds half as many pairs as there are: a third of the result is noise.
    """
    between("share", share, 0.0, np.inf)
    free = np.flatnonzero(~(train | closed).ravel())
    count = round(share * int(train.sum()))
    if count > len(free):
        raise ValueError(f"share is {share}: expected at most {len(free)} pairs to be added")
    noisy = train.ravel().copy()
    noisy[draw.choice(free, count, replace=False)] = True
    return noisy.reshape(train.shape)


def without_unlikely(train: Mask, share: float, width: int) -> Mask:
    """``train`` without the ``share`` of its pairs that an SVD of ``width`` scores lowest."""
    between("share", share, 0.0, 1.0)
    u, s, vt = np.linalg.svd(train.astype(float), full_matrices=False)
    scores = (u[:, :width] * s[:width]) @ vt[:width]
    at = np.flatnonzero(train.ravel())
    order = at[np.argsort(scores.ravel()[at], kind="stable")]
    kept = train.ravel().copy()
    kept[order[: round(share * len(at))]] = False
    return kept.reshape(train.shape)


def svd_curve(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    widths: Sequence[int],
    negatives: int = 100,
    draws: int = 5,
    noise: float = 0.0,
    drop: float = 0.0,
    drop_width: int = 8,
) -> Measured:
    """NDCG@20 of a truncated SVD against its width, among all items and among sampled negatives.

    The score matrix is the training matrix cut to its first d singular values
    [cremonesi2010performance]: nothing is trained, and only d changes along a curve. The split is
    0.8 / 0.1 / 0.1 per user, the negatives are drawn anew for each of ``draws`` evaluations.
    ``noise``, ``drop``: see `with_noise` and `without_unlikely`, in this order, on train alone.
    No training pair is ranked, planted and dropped ones included.

    Metrics: for each width d ``"all ndcg@20, d=…"`` and ``"sampled ndcg@20, d=…"``, the mean over
    the draws; ``"deviation of draws"``, the standard deviation between draws, pooled over widths;
    with ``drop``, ``"noise dropped"`` and ``"clean dropped"``, shares of the planted and of the
    other pairs.
    """
    whole("draws", draws, 2)
    whole("negatives", negatives, 1)
    known: Interactions = datasets.load(dataset, validation=0.0)
    train, valid, test = split((known.train + known.test).tocsr(), seed)
    draw = generator("scaling noise", seed)
    used = with_noise(train, valid | test, noise, draw)
    seen = used | valid  # what trained, planted or not, is not ranked
    metrics: dict[str, float] = {}
    if drop:
        before, used = used, without_unlikely(used, drop, drop_width)
        gone, planted = before & ~used, before & ~train
        metrics["clean dropped"] = float((gone & train).sum() / train.sum())
        if planted.any():
            metrics["noise dropped"] = float((gone & planted).sum() / planted.sum())
    draw = generator("scaling negatives", seed)
    masks = [sampled(seen, test, negatives, draw) for _ in range(draws)]
    u, s, vt = np.linalg.svd(used.astype(float), full_matrices=False)
    curves: dict[str, list[Any]] = {"width": [], "all ndcg@20": [], "sampled ndcg@20": []}
    squares = []
    for width in sorted(w for w in widths if w <= len(s)):
        scores = (u[:, :width] * s[:width]) @ vt[:width]
        values = [ndcg(scores, test, mask) for mask in masks]
        squares.append(np.var(values, ddof=1))
        curves["width"].append(width)
        curves["all ndcg@20"].append(ndcg(scores, test, ~seen))
        curves["sampled ndcg@20"].append(float(np.mean(values)))
        for kind in ("all", "sampled"):
            metrics[f"{kind} ndcg@20, d={width}"] = curves[f"{kind} ndcg@20"][-1]
    metrics["deviation of draws"] = float(np.sqrt(np.mean(squares)))
    about = {"pairs": int(train.sum()), "planted": int((used & ~train).sum())}
    return Measured(metrics, {"train": s[:256].tolist()}, curves, about)
