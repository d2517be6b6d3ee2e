"""What chapters 6 and 7 measure without training: interactions, their tails, their truncations.

Every function is a study (`specrec_core.studies`): one seed in, one `Measured` out. Y is the
training part of a data set, nothing of it held out, and r its column sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from specrec_core import alignment, amplification, datasets, gradient_flow, powerlaws, synthetic
from specrec_core.evaluation import popularity_groups, ranking_metrics
from specrec_core.exposure import equal_exposure
from specrec_core.factorisation import Decomposition, truncated_svd
from specrec_core.interactions import CSR, Interactions
from specrec_core.ranking import contains, recommend
from specrec_core.spectral_norm import spectral_norm_penalty
from specrec_core.studies import Measured

POINTS = 120  # of a rank plot
TOP = 20  # the length of a list of recommendations
GROUPS = 5


@lru_cache(maxsize=1)  # the seeds of a study share it
def interactions(dataset: str) -> Interactions:
    """A data set with all of its training pairs in train."""
    return datasets.load(dataset, validation=0.0)


def quotient(*, dataset: str, seed: int, progress: bool, dimensions: Sequence[int]) -> Measured:
    """What power steps from constant see of σ₁, for the best approximations of Y of rank d.

    By d, for 1 to 3 steps, the root of `specrec_core.spectral_norm.spectral_norm_penalty` over σ₁;
    and what `specrec_core.alignment.power_step_bound` guarantees for one. The seed draws the start
    of Lanczos.
    """
    return _seen(matrix(interactions(dataset)), seed, dimensions)


def planted_quotient(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    n_users: int,
    n_items: int,
    n_communities: int,
    mean_degree: float,
    exponent: float,
    assortativity: float,
    group: int = 0,
) -> Measured:
    """The same, at rank 64, of interactions that `specrec_core.synthetic.dcbm` draws.

    The last ``group`` users have all of the last ``group`` items besides. ``"second over first"``
    is σ₂ / σ₁. The seed draws the interactions too.
    """
    drawn = synthetic.dcbm(
        n_users, n_items, n_communities, mean_degree, exponent, assortativity, seed, 0.0, 0.0
    )
    y = matrix(drawn)
    if group:
        dense = y.toarray()
        dense[-group:, -group:] = 1.0
        y = sp.csr_array(dense)
    found = _seen(y, seed, (64,))
    first, second = found.spectrum["interactions"][:2]
    return Measured(found.metrics | {"second over first": second / first}, found.spectrum)


def _seen(y: sp.csr_array, seed: int, dimensions: Sequence[int]) -> Measured:
    found = alignment.leading(y, max(dimensions), seed=seed)
    level = abs(alignment.cosine(found.u[:, 0], np.ones(len(found.u))))
    curves: dict[str, list[float]] = {"d": [float(d) for d in dimensions], "guaranteed": []}
    for d in dimensions:
        users, items = (
            torch.as_tensor(found.u[:, :d] * found.s[:d]),
            torch.as_tensor(found.v[:, :d]),
        )
        for steps in (1, 2, 3):
            seen = spectral_norm_penalty(users, items, power_steps=steps).sqrt()
            curves.setdefault(f"steps={steps}", []).append(float(seen / found.s[0]))
        ratio = found.s[1] / found.s[0] if d > 1 else 0.0
        curves["guaranteed"].append(alignment.power_step_bound(ratio, level))
    ends = {name: series[-1] for name, series in curves.items() if name != "d"}
    return Measured(ends, {"interactions": found.s.tolist()}, curves)


def matrix(data: Interactions) -> sp.csr_array:
    """The training part as float64."""
    return sp.csr_array(data.train.astype(np.float64))


def raw(*, dataset: str, seed: int, progress: bool, f: int) -> Measured:
    """The leading directions of Y, how close q₁ is to r, and what the bounds say.

    ``"cos(e, r)"`` is the control, the cosine of r and the vector of ones. Slopes are those of log
    count on log rank by least squares, over items with a pair and over the first fifth of them.
    Curves: counts by rank, thinned to about `POINTS` ranks. The seed draws the start of Lanczos.
    """
    data = interactions(dataset)
    y = matrix(data)
    r = np.asarray(y.sum(axis=0)).ravel()
    found = alignment.leading(y, f, seed=seed)
    s, p, q = found.s, found.u[:, 0], found.v[:, 0]
    ones = np.ones(len(p))
    inside, bound = alignment.counting_bound(s[0], r)
    users = alignment.cosine(p, ones)
    step = float(np.linalg.norm(y @ r) / np.linalg.norm(r))
    counts = -np.sort(-r[r > 0])
    ranks = np.arange(1, len(counts) + 1)
    fifth = max(2, len(counts) // 5)
    metrics = {
        "sigma 1": float(s[0]),
        "sigma 2": float(s[1]),
        "energy share": float(s[0] ** 2 / r.sum()),
        "cos(q1, r)": alignment.cosine(q, r),
        "cos(e, r)": alignment.cosine(np.ones(len(r)), r),
        "cos(q1, e)": alignment.cosine(q, np.ones(len(r))),
        "cos(p1, e)": users,
        "under the root": inside,
        "counting bound": bound,
        "power-step bound": alignment.power_step_bound(float(s[1] / s[0]), users),
        "one power step": step,
        "loss of one power step": 1.0 - step / float(s[0]),
        "slope": float(-np.polyfit(np.log(ranks), np.log(counts), 1)[0]),
        "slope, top fifth": float(-np.polyfit(np.log(ranks[:fifth]), np.log(counts[:fifth]), 1)[0]),
        "pairs of the most popular": float(r.max()),
        "share of the most popular": float(r.max() / r.sum()),
    }
    kept = np.unique(np.geomspace(1, len(counts), POINTS).round().astype(int))
    curves = {"rank": kept.tolist(), "count": counts[kept - 1].astype(int).tolist()}
    return Measured(metrics, {"interactions": s.tolist()}, curves, dict(data.statistics))


def tail(*, dataset: str, seed: int, progress: bool, resamples: int) -> Measured:
    """Whether the popularity of items has a power law for tail; see `specrec_core.powerlaws`.

    ``"p"`` is that of the bootstrap, drawn from the seed; ``"R"`` and ``"p of R"`` compare with a
    lognormal. ``"rank exponent"`` is the α of r_i ∝ i^−α that belongs to the fitted exponent.
    """
    counts = np.asarray(interactions(dataset).item_popularity)
    fit = powerlaws.fit_tail(counts)
    compared = powerlaws.compare_lognormal(counts, fit)
    metrics = {
        "exponent": fit.exponent,
        "standard error": fit.standard_error,
        "rank exponent": fit.rank_exponent,
        "xmin": float(fit.xmin),
        "items in the tail": float(fit.size),
        "share of items": fit.size / int((counts > 0).sum()),
        "share of pairs": float(counts[counts >= fit.xmin].sum() / counts.sum()),
        "distance": fit.distance,
        "p": powerlaws.p_value(counts, resamples=resamples, seed=seed),
        "R": compared["R"],
        "p of R": compared["p"],
        "lognormal mu": compared["mu"],
        "lognormal sigma": compared["sigma"],
    }
    return Measured(metrics, data={"items with a pair": int((counts > 0).sum())})


def truncation(
    *, dataset: str, seed: int, progress: bool, dimensions: Sequence[int], users: int
) -> Measured:
    """Recommendations from the best approximation of Y of rank d, for each d.

    Shares of σ₁ are among the d singular values. Lists have `TOP` unseen items, of ``users`` users
    with test items drawn from the seed (all, where there are fewer). ``"head"`` is the share of
    list places that go to the most popular of `GROUPS` groups of equal interactions,
    ``"top fifth"`` that of the most popular fifth of the items. Seen items are *not* left out
    of ``"eta"``, the share of first choices that fall on the item that leads q₁, nor of ``"most
    chosen"``, that of the item chosen most; ``"bound"`` is what `amplification.sure_users` says of
    ``"eta"``.
    """
    data = interactions(dataset)
    found = truncated_svd(matrix(data), max(dimensions), seed=seed)
    found = Decomposition(*_signed(found))
    popularity = torch.as_tensor(np.asarray(data.item_popularity))
    head = popularity_groups(popularity, GROUPS).numpy()
    fifths = popularity_groups(popularity, GROUPS, "equal-items").numpy()
    truth, seen = data.csr("test"), data.csr("train")
    chosen = _sample(truth, users, seed)
    leader = int(found.v[:, 0].argmax())
    curves: dict[str, list[float]] = {"d": list(dimensions)}
    for d in dimensions:
        part = amplification.cut(found, d)
        lists = _lists(part, chosen, seen)
        hits = contains(truth, chosen, lists[None])
        values = ranking_metrics(hits, truth.degree()[chosen], k=(TOP,))
        places = lists.numpy().ravel()
        first = amplification.first_choices(part, chosen.numpy())
        row = {
            "share of sigma 1": float(part.s[0] / part.s.sum()),
            "energy share of sigma 1": float(part.s[0] ** 2 / (part.s**2).sum()),
            "head": float((head[places] == GROUPS - 1).mean()),
            "top fifth": float((fifths[places] == GROUPS - 1).mean()),
            "ndcg@20": float(values["ndcg@20"].mean()),
            "items shown": float(len(np.unique(places)) / len(head)),
            "eta": float((first == leader).mean()),
            "most chosen": float(np.bincount(first).max() / len(first)),
            "bound": float(amplification.sure_users(part, [leader])[chosen.numpy()].mean()),
        }
        for name, value in row.items():
            curves.setdefault(name, []).append(value)
    metrics = {
        f"{name}, d={d}": value
        for name, series in curves.items()
        if name != "d"
        for d, value in zip(dimensions, series, strict=True)
    }
    total = popularity.sum()
    metrics["head of the data"] = float(
        popularity[torch.as_tensor(head == GROUPS - 1)].sum() / total
    )
    metrics["top fifth of the data"] = float(
        popularity[torch.as_tensor(fifths == GROUPS - 1)].sum() / total
    )
    metrics["items in the head"] = float((head == GROUPS - 1).sum())
    about = {"users listed": len(chosen), "items": len(head)}
    return Measured(metrics, {"interactions": found.s.tolist()}, curves, about)


def reshaped(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    dim: int,
    levels: Sequence[float],
    factors: Sequence[float],
    users: int,
    evened: bool,
) -> Measured:
    """Recommendations from the best approximation of rank ``dim``, its leading σ made smaller.

    ``"cut"``: singular values cut off at a level, given over σ₁ (what a penalty of the spectral
    norm does, `specrec_core.spectral_norm.clipped`); ``"scaled"``: σ₁ alone times a factor. Lists
    and shares are those of `truncation`, and ``"cut by level"``, ``"scaled by factor"`` what they
    are at. With ``evened`` all items are equally exposed in test (`specrec_core.exposure`).
    """
    data = interactions(dataset)
    data = equal_exposure(data) if evened else data
    found = Decomposition(*_signed(truncated_svd(matrix(data), dim, seed=seed)))
    groups = popularity_groups(torch.as_tensor(np.asarray(data.item_popularity)), GROUPS)
    truth, seen = data.csr("test"), data.csr("train")
    chosen = _sample(truth, users, seed)
    curves: dict[str, list[float]] = {"cut by level": [*levels], "scaled by factor": [*factors]}
    spectra = [("cut", np.minimum(found.s, level * found.s[0])) for level in levels]
    spectra += [("scaled", np.r_[factor * found.s[0], found.s[1:]]) for factor in factors]
    for way, s in spectra:
        lists = _lists(Decomposition(found.u, s, found.v), chosen, seen)
        values = ranking_metrics(
            contains(truth, chosen, lists[None]), truth.degree()[chosen], k=(TOP,)
        )
        for name, value in (
            ("head", (groups[lists] == GROUPS - 1).double().mean()),
            ("tail", (groups[lists] <= 1).double().mean()),
            ("ndcg@20", values["ndcg@20"].mean()),
            ("items shown", torch.tensor(len(lists.unique()) / len(groups))),
            ("share of sigma 1", torch.tensor(s.max() / s.sum())),
        ):
            curves.setdefault(f"{way}: {name}", []).append(float(value))
    ends = {name: series[-1] for name, series in curves.items() if ":" in name}
    return Measured(ends, {"interactions": found.s.tolist()}, curves)


def descent(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    spectrum: Sequence[float],
    users: int,
    items: int,
    dim: int,
    optimizer: str,
    rate: float,
    std: float,
    steps: int,
    every: int,
    batch: int,
    decay: float = 0.0,
) -> Measured:
    """Matrix factorisation of a planted Y by one optimiser: when is which mode learned?

    Y = P Σ Qᵀ with random orthonormal P ``(users, k)`` and Q ``(items, k)``; both tables start
    normal with standard deviation ``std``. ``"mode k learned"`` is the step at which p_kᵀ U Vᵀ q_k
    settles within σ_k/2 of σ_k, NaN where it does not; ``"spread"`` the last of them over the
    first; ``"in order"`` the share of pairs of modes of which the larger one came first;
    ``"peak share"`` the largest σ₁/Σσ of U Vᵀ over time, ``"first share"`` and ``"final share"``
    its ends, where that of Y is ``"share of the target"``.
    """
    planted = gradient_flow.planted(spectrum, users, items, dim, std, seed)
    found = gradient_flow.descend(
        *planted, optimizer=optimizer, rate=rate, steps=steps, batch=batch,
        every=every, decay=decay, seed=seed,
    )  # fmt: skip
    learned = gradient_flow.settling_times(found.step, found.modes, spectrum)
    share = found.spectrum[:, 0] / found.spectrum.sum(axis=1)
    metrics = {
        **{f"mode {k + 1} learned": float(t) for k, t in enumerate(learned)},
        "spread": float(learned.max() / learned.min()),
        "in order": gradient_flow.in_order(learned),
        "first share": float(share[0]),
        "peak share": float(share.max()),
        "final share": float(share[-1]),
        "share of the target": spectrum[0] / sum(spectrum),
        "loss left": float(found.loss[-1] / found.loss[0]),
    }
    kept = np.unique(np.geomspace(1, len(found.step), POINTS).round().astype(int)) - 1
    curves = {
        "step": found.step[kept].tolist(),
        "share": share[kept].tolist(),
        "modes": (found.modes[kept] / np.asarray(spectrum)).T.tolist(),
    }
    return Measured(metrics, {"scores": found.spectrum[-1].tolist()}, curves)


def _signed(found: Decomposition) -> tuple[NDArray, NDArray, NDArray]:
    sign = np.where(found.u.sum(axis=0) < 0, -1.0, 1.0)
    return found.u * sign, found.s, found.v * sign


def _sample(truth: CSR, users: int, seed: int) -> torch.Tensor:
    having = torch.nonzero(truth.degree()).squeeze(1).numpy()
    drawn = np.random.default_rng(seed).choice(having, min(users, len(having)), replace=False)
    return torch.as_tensor(np.sort(drawn))


def _lists(scores: Decomposition, users: torch.Tensor, seen: CSR) -> torch.Tensor:
    """The `TOP` best unseen items, ``(len(users), TOP)``."""
    left = torch.as_tensor(scores.embedding(), dtype=torch.float32)
    right = torch.as_tensor(np.ascontiguousarray(scores.v), dtype=torch.float32)
    return recommend(lambda chunk: (left[chunk] @ right.T)[None], users, seen, TOP)[0]
