"""What chapter 10 measures on graphs and playlists whose communities are planted.

Every function is a study (`specrec_core.studies`): one seed in, one `Measured` out. The seed draws
the model, the graph and the test vectors of the randomised SVD. Spk is in per cent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from scipy.stats import spearmanr

from specrec_core import rays, synthetic
from specrec_core.arguments import one_of
from specrec_core.blockmodel import BlockModel, block_matrix, planted
from specrec_core.factorisation import truncated_svd
from specrec_core.ppmi import ppmi
from specrec_core.propensities import theta_law
from specrec_core.recovery import recovery
from specrec_core.spikes import spk
from specrec_core.studies import Measured

MATRICES = ("graph", "expectation", "probabilities")
POWERS = {"US": 1.0, "U√S": 0.5, "U": 0.0}
NAMES = {
    "cos_in": "cosine to ray",
    "cv": "CV of norms",
    "r_theta": "norm against theta",
    "r_degree": "norm against degree",
    "inter": "largest cosine between rays",
    "accuracy": "accuracy",
    "peaks": "peaks",
}


def table_row(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    n: int,
    communities: int,
    law: str,
    blocks: str,
    between: float,
    degree: float,
    f: int,
    matrix: str,
    power: str = "US",
) -> Measured:
    """What `recovery` says of U S^p of one planted model; ``power`` is one of `POWERS`.

    ``matrix`` is "graph", drawn from the model; "expectation", the matrix of the model, decomposed
    at its rank whatever ``f``; or "probabilities", that matrix with entries above 1 cut to 1, which
    is what a graph has for expectation. Angles to the ray of `rays.directions` are in degrees.
    """
    one_of("matrix", matrix, MATRICES)
    model = planted(n, communities, law=law, kind=blocks, between=between, degree=degree, seed=seed)
    if matrix == "expectation":
        degrees, found = model.expected_degrees(), model.decomposition()
    else:
        whole = model.sample(seed) if matrix == "graph" else np.minimum(model.mean(), 1.0)
        degrees, found = np.asarray(whole.sum(axis=1)), truncated_svd(whole, f, seed=seed)
    table = found.embedding(exponent=POWERS[power])
    measured = recovery(table, model.labels, model.theta, degrees)
    metrics = {name: measured[key] for key, name in NAMES.items()}
    metrics["Spk"] = 100.0 * measured["spk"]
    metrics["clipped pairs"] = model.clipped
    if power == "US":
        angles = np.arctan(rays.tangents(table, rays.directions(model, found), model.labels))
        metrics["median angle"] = float(np.degrees(np.median(angles)))
        metrics["angle of the largest theta"] = float(np.degrees(angles[model.theta.argmax()]))
    return Measured(metrics, {"graph": found.s.tolist()}, data=_sizes(model))


def merging(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    n: int,
    communities: int,
    law: str,
    degree: float,
    ratios: Sequence[float],
    cos: float,
) -> Measured:
    """Cosines between the rays of drawn graphs as b/a grows, in U S^p for each of `POWERS`.

    Communities are of equal size, so that `rays.merging_ratio` is meant to apply. A ray is the mean
    of the unit vectors of its members. ``"US merges at"`` is the b/a at which the mean cosine
    between rays reaches ``cos``, interpolated; NaN where it does not.
    """
    labels = np.arange(n) % communities
    theta = theta_law(n, law, labels, seed)
    curves: dict[str, list[float]] = {f"cosine {name}": [] for name in POWERS}
    for ratio in ratios:
        model = _scaled(theta, labels, block_matrix(communities, between=ratio), degree)
        found = truncated_svd(model.sample(seed), communities, seed=seed)
        for name, exponent in POWERS.items():
            means = mean_directions(found.embedding(exponent=exponent), labels)
            apart = ~np.eye(communities, dtype=bool)
            curves[f"cosine {name}"].append(float((means @ means.T)[apart].mean()))
    metrics = {
        f"{name} merges at": crossing(ratios, curves[f"cosine {name}"], cos) for name in POWERS
    }
    metrics["US predicted"] = rays.merging_ratio(communities, cos)
    metrics["U√S predicted"] = rays.merging_ratio(communities, cos, 0.5)
    return Measured(metrics, curves={"b/a": list(ratios), **curves})


def angle(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    n: int,
    communities: int,
    law: str,
    between: float,
    degree: float,
    groups: int,
) -> Measured:
    """How far items leave the ray of their community, by groups of θ of equal size.

    Rays are those of `rays.directions`. Per group: the root mean square of the part of ê_i across
    its ray over the length θ_i ‖q‖ that it has without noise ("measured"), what the first-order
    formula of `rays.angle_scale` says of it ("predicted"), and the median tangent of the angle
    itself ("tangent"), which noise along the ray also moves. Slopes are of their logarithms on that
    of θ. The root mean square of the tangent is also given around three quantiles of θ.
    """
    model = planted(n, communities, law=law, between=between, degree=degree, seed=seed)
    found = truncated_svd(model.sample(seed), communities, seed=seed)
    table, toward = found.embedding(), rays.directions(model, found)
    length = model.theta * np.linalg.norm(toward, axis=1)[model.labels]
    across = rays.across(table, toward, model.labels) / length
    tangents = rays.tangents(table, toward, model.labels)
    predicted = np.sqrt(rays.angle_scale(model)[model.labels] / model.theta)
    curves: dict[str, list[float]] = {k: [] for k in ("theta", "measured", "predicted", "tangent")}
    for part in np.array_split(np.argsort(model.theta, kind="stable"), groups):
        curves["theta"].append(float(np.exp(np.log(model.theta[part]).mean())))
        curves["measured"].append(float(np.sqrt((across[part] ** 2).mean())))
        curves["predicted"].append(float(np.sqrt((predicted[part] ** 2).mean())))
        curves["tangent"].append(float(np.median(tangents[part])))
    theta = np.log(curves["theta"])
    ratio = np.array(curves["measured"]) / curves["predicted"]
    metrics = {
        "slope": float(np.polyfit(theta, np.log(curves["measured"]), 1)[0]),
        "slope of the tangent": float(np.polyfit(theta, np.log(curves["tangent"]), 1)[0]),
        "measured over predicted": float(np.exp(np.log(ratio).mean())),
        "beyond a right angle": float(np.isinf(tangents).mean()),
        "clipped pairs": model.clipped,
    }
    for quantile in (0.1, 0.5, 0.9):
        low, high = np.quantile(model.theta, [quantile - 0.05, quantile + 0.05])
        near = tangents[(model.theta >= low) & (model.theta <= high)]
        metrics[f"rms tangent at quantile {quantile}"] = float(np.sqrt((near**2).mean()))
    return Measured(metrics, curves=curves, data=_sizes(model))


def exponent(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    n: int,
    communities: int,
    law: str,
    between: float,
    degree: float,
    dimensions: Sequence[int],
) -> Measured:
    """Slope of log norm on log degree of a drawn graph, at each number of dimensions.

    Over all items, and inside communities (one slope, an intercept for each). Where ``dimensions``
    go beyond a tenth of n the graph is decomposed exactly. Items without an edge are left out.
    """
    model = planted(n, communities, law=law, between=between, degree=degree, seed=seed)
    graph = model.sample(seed)
    degrees = np.asarray(graph.sum(axis=1))
    if max(dimensions) > n // 10:
        values, vectors = np.linalg.eigh(graph.toarray())
        order = np.argsort(-np.abs(values), kind="stable")
        energy = (vectors[:, order] * values[order]) ** 2
    else:
        energy = truncated_svd(graph, max(dimensions), seed=seed).embedding() ** 2
    squares = np.cumsum(energy, axis=1)
    with_edges = degrees > 0
    x, labels = np.log(degrees[with_edges]), model.labels[with_edges]
    slopes: dict[str, list[float]] = {"slope": [], "slope inside": []}
    for f in dimensions:
        y = 0.5 * np.log(squares[with_edges, f - 1])
        slopes["slope"].append(float(np.polyfit(x, y, 1)[0]))
        inside = _centred(x, labels)
        slopes["slope inside"].append(float(inside @ _centred(y, labels) / (inside @ inside)))
    metrics = {
        f"{name}, f={f}": value
        for name, series in slopes.items()
        for f, value in zip(dimensions, series, strict=True)
    }
    return Measured(metrics, curves={"f": list(dimensions), **slopes}, data=_sizes(model))


def flattening(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    items: int,
    communities: int,
    playlists: int,
    length: int,
    noise: float,
    law: str,
    dimensions: Sequence[int],
) -> Measured:
    """Spikes of simulated playlists: of the PPMI matrix, and of the counts that it was made of.

    Both keep the items that have an edge in the PPMI graph. Norms are those of f = K dimensions;
    Spk is given for each of ``dimensions``.
    """
    contexts, codes, theta, labels = synthetic.playlists(
        n_items=items, n_communities=communities, n_playlists=playlists, mean_length=length,
        noise=noise, law=law, seed=seed,
    )  # fmt: skip
    graph = ppmi(contexts, codes)
    theta, labels = theta[graph.items], labels[graph.items]
    matrices = {"ppmi": graph.matrix, "counts": counts(contexts, codes, graph.items)}
    metrics: dict[str, float] = {"items": float(len(graph.items))}
    spectrum = {}
    for name, matrix in matrices.items():
        found = truncated_svd(matrix, max(*dimensions, communities), seed=seed)
        table = found.embedding(communities)
        strength = np.asarray(matrix.sum(axis=1))
        measured = recovery(table, labels, theta, strength)
        metrics[f"{name}: density"] = matrix.nnz / len(labels) ** 2
        for key in ("cos_in", "cv", "r_theta", "inter", "accuracy"):
            metrics[f"{name}: {NAMES[key]}"] = measured[key]
        norms = np.linalg.norm(table, axis=1)
        metrics[f"{name}: norm against strength"] = float(spearmanr(norms, strength)[0])
        metrics[f"{name}: norm against popularity"] = float(spearmanr(norms, graph.popularity)[0])
        for f in dimensions:
            metrics[f"{name}: Spk@{f}"] = 100.0 * spk(found.embedding(), f)
        spectrum[name] = found.s.tolist()
    return Measured(metrics, spectrum, data={"items": items, "playlists": playlists})


def counts(contexts: np.ndarray, items: np.ndarray, kept: np.ndarray) -> sp.csr_array:
    """Number of contexts that hold both of two items ``kept``, where at least 2; zero diagonal."""
    place = np.searchsorted(kept, items)
    place[place == len(kept)] = 0
    known = kept[place] == items
    shape = (len(kept), int(contexts.max()) + 1)
    ones = np.ones(int(known.sum()))
    incidence = sp.coo_array((ones, (place[known], contexts[known])), shape=shape).tocsr()
    incidence.data[:] = 1.0
    both = (incidence @ incidence.T).tocoo()
    (i, j), values = both.coords, both.data
    often = (values >= 2) & (i != j)
    return sp.csr_array((values[often], (i[often], j[often])), shape=both.shape)


def mean_directions(table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean unit vector of each community, of length 1, ``(K, f)``."""
    units = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-300)
    means = np.stack([units[labels == k].sum(axis=0) for k in range(labels.max() + 1)])
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def crossing(x: Sequence[float], y: Sequence[float], level: float) -> float:
    """The first x at which the broken line through the points reaches ``level``, or NaN."""
    for (x0, y0), (x1, y1) in pairwise(zip(x, y, strict=True)):
        if y0 < level <= y1:
            return x0 + (level - y0) / (y1 - y0) * (x1 - x0)
    return float("nan")


def _scaled(theta: np.ndarray, labels: np.ndarray, blocks: np.ndarray, degree: float) -> BlockModel:
    model = BlockModel(theta, labels, blocks)
    return BlockModel(theta, labels, blocks * (degree / model.expected_degrees().mean()))


def _centred(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    means = np.bincount(labels, values) / np.maximum(np.bincount(labels), 1)
    return values - means[labels]


def _sizes(model: BlockModel) -> dict[str, float]:
    return {"items": model.n, "communities": model.K}
