"""Synthetic interactions with a known cause: communities, activity, popularity.

`dcbm` draws from a bipartite degree-corrected block model [bibtex: karrer2011stochastic]: user
``u`` and item ``i`` interact with probability proportional to ``theta_u theta_i B[c_u, c_i]``,
where the ``theta`` follow a power law or another, and ``B`` favours equal communities or is given.
The truth comes with the data. `playlists` simulates lists of items instead.

>>> data = dcbm(n_users=200, n_items=100, n_communities=4, mean_degree=5.0)
>>> data.planted.user_community.shape, data.planted.theta_item.shape
((200,), (100,))
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from specrec_core.interactions import Interactions, generator, random_part
from specrec_core.playlists import playlists
from specrec_core.propensities import law_parameters, theta_law

__all__ = ["Planted", "PlantedInteractions", "dcbm", "playlists"]

POWER_LAW = "power law"
ASSORTATIVITY, EXPONENT = 0.9, 2.2


@dataclass(frozen=True, eq=False)
class Planted:
    """The truth behind synthetic interactions.

    Attributes
    ----------
    user_community, item_community : (n_users,), (n_items,) int64, from 0.
    theta_user, theta_item : (n_users,), (n_items,) float64, mean 1: propensity to interact.
    blocks : (K, K) float64, affinity of a user community (row) to an item community: a pair is
        drawn in proportion to ``theta_u theta_i B[c_u, c_i]``.
    """

    user_community: np.ndarray
    item_community: np.ndarray
    theta_user: np.ndarray
    theta_item: np.ndarray
    blocks: np.ndarray


@dataclass(frozen=True, eq=False)
class PlantedInteractions(Interactions):
    """`Interactions` whose cause is known, in ``planted``."""

    planted: Planted = None  # type: ignore[assignment]  # always set by `dcbm`


def dcbm(
    n_users: int = 1200,
    n_items: int = 800,
    n_communities: int = 8,
    mean_degree: float = 20.0,
    exponent: float = EXPONENT,
    assortativity: float = ASSORTATIVITY,
    seed: int = 0,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.1,
    *,
    law: str = POWER_LAW,
    blocks: np.ndarray | None = None,
    **parameters: float,
) -> PlantedInteractions:
    """Draw interactions from a bipartite degree-corrected block model.

    Each interaction picks its user in proportion to ``theta_user``, then an item of the same
    community with probability ``assortativity``, else of another one, in proportion to
    ``theta_item``; with ``blocks`` user and item are picked in proportion to
    ``theta_u theta_i blocks[c_u, c_i]``. Repeated pairs are drawn again until
    ``n_users * mean_degree`` distinct ones are there (to 0.5 %), so time grows with the number of
    interactions, never with users × items.

    Parameters
    ----------
    n_users, n_items, n_communities
        Sizes; communities are of equal size to within one.
    mean_degree
        Interactions per user, all splits together.
    exponent
        Of the power laws: the density of ``theta`` falls as ``theta ** -exponent``; above 1. The
        values are the quantiles of the law in random order, clipped where a user would be expected
        to meet more than a quarter of all items, or an item a quarter of all users.
    assortativity
        Probability that an interaction stays within the community; repeats, which are drawn
        again, lower the realised share a little where communities are dense. Not with ``blocks``.
    seed
        Seeds every random choice; the same numbers on every platform.
    test_fraction, validation_fraction
        Share of each user's pairs held out for test, and of those left for validation, rounded
        down.
    law, parameters
        "power law", with ``exponent``, or a law of `theta_law` with its parameters: values drawn
        from it (not its quantiles), with mean 1, clipped in the same way.
    blocks : (K, K)
        Affinities between the communities of users (rows) and of items, none negative, no row of
        zeros; their scale has no effect. A community whose affinities are larger is more active.

    Raises
    ------
    ValueError
        If an argument is out of range or the communities are too small for ``mean_degree``, or if
        ``exponent`` or ``assortativity`` is set where ``law`` or ``blocks`` leave it without use.
    """
    _check(n_users, n_items, n_communities, mean_degree, exponent, assortativity)
    spread = _law(law, exponent, parameters)
    mixing = f"assortativity={assortativity:g}"
    if blocks is not None:
        blocks = _affinities(blocks, n_communities, assortativity)
        mixing = f"blocks={hashlib.sha256(blocks.astype('<f8').tobytes()).hexdigest()[:16]}"
    for name, value in (("test", test_fraction), ("validation", validation_fraction)):
        if not 0.0 <= value < 1.0:
            raise ValueError(f"{name}_fraction: {value}, expected a share in [0, 1)")
    draw = generator("dcbm", seed)
    community = [_shuffled(np.arange(n) % n_communities, draw) for n in (n_users, n_items)]
    item_degree = mean_degree * n_users / n_items
    theta_user = _theta(n_users, law, exponent, parameters, n_items / 4 / mean_degree, draw)
    theta_item = _theta(n_items, law, exponent, parameters, n_users / 4 / item_degree, draw)
    within = assortativity if blocks is None else None
    if blocks is None:
        blocks = _shares(n_communities, assortativity) / np.bincount(community[1], theta_item)
    truth = Planted(community[0], community[1], theta_user, theta_item, blocks)
    pairs = _draw(truth, round(n_users * mean_degree), within, draw)
    version = (
        f"dcbm(n_users={n_users}, n_items={n_items}, n_communities={n_communities}, "
        f"mean_degree={mean_degree:g}, {spread}, {mixing}, "
        f"seed={seed}, test_fraction={test_fraction:g})"
    )
    data = PlantedInteractions.from_pairs(
        "synthetic", pairs, pairs[:0], (n_users, n_items),
        version=version, checksum=hashlib.sha256(pairs.astype("<i8").tobytes()).hexdigest(),
        planted=truth,
    )  # fmt: skip
    test = random_part(data.train, test_fraction, seed, "test")
    data = replace(data, train=data.train - test, test=test)
    return data.holdout(validation_fraction, seed)


def _draw(
    truth: Planted, total: int, assortativity: float | None, draw: np.random.Generator
) -> np.ndarray:
    """Distinct (user, item) pairs, sorted, ``total`` of them to within 0.5 %."""
    n_items, n_communities = len(truth.theta_item), len(truth.blocks)
    order = np.argsort(truth.item_community, kind="stable")
    mass = np.concatenate([[0.0], np.cumsum(truth.theta_item[order])])
    sizes = np.bincount(truth.item_community, minlength=n_communities)
    bounds = mass[np.concatenate([[0], np.cumsum(sizes)])]  # of each community in `mass`
    shares = truth.blocks * np.diff(bounds)
    activity = truth.theta_user
    if assortativity is None:
        activity = activity * shares.sum(axis=1)[truth.user_community]
    user_mass = np.cumsum(activity)
    keys = np.empty(0, dtype=np.int64)
    for _ in range(100):
        missing = total - len(keys)
        if missing <= 0.005 * total:
            return np.stack([keys // n_items, keys % n_items], axis=1)
        # Evenly spaced points with one random offset: a user is drawn within one of the number
        # of times expected, so that nobody is left without interactions by chance.
        points = (np.arange(missing) + draw.random()) / missing * user_mass[-1]
        users = np.minimum(np.searchsorted(user_mass, points, "right"), len(user_mass) - 1)
        home = truth.user_community[users]
        if assortativity is None:
            target = _targets(home, shares, draw)
        else:
            away = draw.random(missing) >= assortativity
            step = 1 + np.floor(draw.random(missing) * (n_communities - 1)).astype(np.int64)
            target = np.where(away & (n_communities > 1), (home + step) % n_communities, home)
        points = bounds[target] + draw.random(missing) * (bounds[target + 1] - bounds[target])
        items = order[np.minimum(np.searchsorted(mass, points, "right") - 1, n_items - 1)]
        keys = np.sort(np.concatenate([keys, users * n_items + items]))
        keys = keys[np.diff(keys, prepend=-1) > 0]
    raise ValueError(
        f"mean_degree: {total / len(user_mass):g}, expected less: communities of "
        f"{sizes.min()} items are too small for so many distinct interactions"
    )


def _shares(n_communities: int, assortativity: float) -> np.ndarray:
    """Probability of each community of items (columns) for each of users (rows)."""
    if n_communities == 1:
        return np.ones((1, 1))
    other = (1.0 - assortativity) / (n_communities - 1)
    return np.where(np.eye(n_communities, dtype=bool), assortativity, other)


def _targets(home: np.ndarray, shares: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A community for each row number in ``home``, in proportion to that row of ``shares``."""
    steps = np.cumsum(shares, axis=1)
    steps /= steps[:, -1:]
    ladder = (steps + np.arange(len(shares))[:, None]).ravel()  # row k climbs from k to k + 1
    points = np.minimum(home + draw.random(len(home)), np.nextafter(home + 1.0, 0.0))
    return np.searchsorted(ladder, points, "right") - home * len(shares)


def _theta(
    size: int,
    law: str,
    exponent: float,
    parameters: dict[str, float],
    largest: float,
    draw: np.random.Generator,
) -> np.ndarray:
    """Values of a law, mean 1, none much above ``largest``."""
    if law != POWER_LAW:
        one = np.zeros(size, dtype=np.int64)
        return _clipped(theta_law(size, law, one, draw, **parameters), largest)
    quantile = (np.arange(size) + 0.5) / size
    return _shuffled(_clipped((1.0 - quantile) ** (-1.0 / (exponent - 1.0)), largest), draw)


def _clipped(theta: np.ndarray, largest: float) -> np.ndarray:
    for _ in range(50):  # clipping lowers the mean, so scale and clip in turn
        theta = np.minimum(theta / theta.mean(), max(largest, 1.0))
    return theta / theta.mean()


def _shuffled(values: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    return values[np.argsort(draw.random(len(values)), kind="stable")]


def _check(
    n_users: int,
    n_items: int,
    n_communities: int,
    mean_degree: float,
    exponent: float,
    assortativity: float,
) -> None:
    for name, value in (("n_users", n_users), ("n_items", n_items)):
        if value < 1:
            raise ValueError(f"{name}: {value}, expected at least 1")
    if not 1 <= n_communities <= min(n_users, n_items):
        raise ValueError(
            f"n_communities: {n_communities}, expected 1 to {min(n_users, n_items)}, so that none "
            "is empty"
        )
    if not 1.0 <= mean_degree <= n_items / 4:
        raise ValueError(f"mean_degree: {mean_degree}, expected 1 to n_items / 4 = {n_items / 4:g}")
    if not exponent > 1.0:
        raise ValueError(f"exponent: {exponent}, expected more than 1")
    if not 0.0 <= assortativity <= 1.0:
        raise ValueError(f"assortativity: {assortativity}, expected a probability")


def _law(law: str, exponent: float, parameters: dict[str, float]) -> str:
    """What the version says of the law, or a ValueError."""
    if law == POWER_LAW:
        if parameters:
            raise ValueError(f"{min(parameters)}: not a parameter of {law!r}, expected exponent")
        return f"exponent={exponent:g}"
    given = law_parameters(law, **parameters)
    if exponent != EXPONENT:
        raise ValueError(f"exponent: {exponent}, expected none, as the law is {law!r}")
    return ", ".join([f"law={law}", *(f"{name}={value:g}" for name, value in given.items())])


def _affinities(blocks: np.ndarray, n_communities: int, assortativity: float) -> np.ndarray:
    blocks = np.asarray(blocks, dtype=np.float64)
    if blocks.shape != (n_communities, n_communities):
        raise ValueError(f"blocks: shape {blocks.shape}, expected {(n_communities,) * 2}")
    if not (np.isfinite(blocks) & (blocks >= 0)).all() or not blocks.any(axis=1).all():
        raise ValueError("blocks: expected finite values, none negative, no row of zeros")
    if assortativity != ASSORTATIVITY:
        raise ValueError(f"assortativity: {assortativity}, expected none, as blocks are given")
    return blocks
