"""Simulated playlists: lists of items from one community each, picked by popularity, with noise.

>>> contexts, items, theta, labels = playlists(100, 4, 50, mean_length=5.0)
>>> len(contexts) == len(items), theta.shape, int(labels.max())
(True, (100,), 3)
"""

from __future__ import annotations

import numpy as np

from specrec_core.interactions import generator
from specrec_core.propensities import theta_law


def playlists(
    n_items: int = 5000,
    n_communities: int = 20,
    n_playlists: int = 20_000,
    mean_length: float = 20.0,
    alpha: float | None = None,
    noise: float = 0.1,
    law: str = "pareto",
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Simulate playlists whose co-occurrences follow a degree-corrected block model.

    A playlist has a community, drawn uniformly, and a Poisson number of picks. A pick is an item
    of this community, or with probability ``noise`` any item; either in proportion to its
    popularity θ. An item that is picked again is not listed again. Up to these repeats the
    expected number of playlists that hold both i and j is θ_i θ_j times a number for their
    communities [karrer2011stochastic].

    Parameters
    ----------
    n_items, n_communities, n_playlists
        Sizes; communities are of equal size to within one.
    mean_length
        Mean number of picks; a playlist without any does not appear.
    alpha
        Of the law "pareto" alone: its density falls as ``θ ** -(alpha + 1)``; 1.5 if None.
    noise
        Probability that a pick is of any community, its own among them.
    law
        Of the popularity, one of those of `theta_law`, with its default parameters but for alpha.
    seed
        Seeds every random choice.

    Returns
    -------
    contexts, items : (P,) int64
        One row per playlist and item, distinct; playlists ascending, items as they were picked.
    theta : (n_items,) float64
        Popularity, mean 1 in each community.
    labels : (n_items,) int64
        Community of each item.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    if not 1 <= n_communities <= n_items:
        raise ValueError(f"n_communities: {n_communities}, expected 1 to n_items = {n_items}")
    if n_playlists < 1:
        raise ValueError(f"n_playlists: {n_playlists}, expected at least 1")
    if not 0.0 < mean_length < np.inf:
        raise ValueError(f"mean_length: {mean_length}, expected a positive number")
    if not 0.0 <= noise <= 1.0:
        raise ValueError(f"noise: {noise}, expected a probability")
    if law == "pareto":
        parameters = {"alpha": 1.5 if alpha is None else alpha}
    elif alpha is not None:
        raise ValueError(f"alpha: {alpha}, expected None, as the law is {law!r}")
    else:
        parameters = {}
    draw = generator("playlists", seed)
    labels = draw.permutation(np.arange(n_items, dtype=np.int64) % n_communities)
    theta = theta_law(n_items, law, labels, draw, **parameters)
    order = np.argsort(labels, kind="stable")
    mass = np.concatenate([[0.0], np.cumsum(theta[order])])
    bounds = mass[np.concatenate([[0], np.cumsum(np.bincount(labels))])]

    home = draw.integers(n_communities, size=n_playlists)
    contexts = np.repeat(np.arange(n_playlists), draw.poisson(mean_length, n_playlists))
    anywhere = draw.random(len(contexts)) < noise
    low = np.where(anywhere, 0.0, bounds[home[contexts]])
    high = np.where(anywhere, mass[-1], bounds[home[contexts] + 1])
    points = np.minimum(low + draw.random(len(contexts)) * (high - low), np.nextafter(high, low))
    items = order[np.searchsorted(mass, points, "right") - 1]
    first = np.sort(np.unique(contexts * n_items + items, return_index=True)[1])
    return contexts[first], items[first], theta, labels
