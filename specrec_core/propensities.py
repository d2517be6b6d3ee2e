"""Propensities: how readily each node, item or user makes connections, as a law draws them.

>>> import numpy as np
>>> theta_law(4, "constant", np.array([0, 0, 1, 1]), seed=0).tolist()
[1.0, 1.0, 1.0, 1.0]
"""

from __future__ import annotations

import numpy as np

from specrec_core.interactions import generator

LAWS: dict[str, dict[str, float]] = {  # of the propensities, with their parameters
    "constant": {},
    "pareto": {"alpha": 2.5},
    "uniform": {"low": 0.2, "high": 1.8},
    "lognormal": {"sigma": 0.8},
}


def theta_law(
    n: int, law: str, labels: np.ndarray, seed: int | np.random.Generator, **parameters: float
) -> np.ndarray:
    """Draw propensities, ``(n,)`` float64, and scale them to mean 1 in each community.

    Parameters
    ----------
    law
        "constant"; "pareto" (``alpha=2.5``: density falls as ``θ ** -(alpha + 1)`` above the
        least value); "uniform" (``low=0.2``, ``high=1.8``); "lognormal" (``sigma=0.8``, of log θ).
    labels : (n,) integers
        Communities, from 0.
    seed
        Of the draw, or a generator to draw from.

    Raises
    ------
    ValueError
        If the law or a parameter is unknown or out of range, or ``labels`` do not fit.
    """
    labels = communities(labels)
    if labels.shape != (n,):
        raise ValueError(f"labels: shape {labels.shape}, expected ({n},)")
    given = law_parameters(law, **parameters)
    draw = seed if isinstance(seed, np.random.Generator) else generator("theta", seed)
    if law == "pareto":
        theta = (1.0 - draw.random(n)) ** (-1.0 / given["alpha"])
    elif law == "uniform":
        theta = given["low"] + (given["high"] - given["low"]) * draw.random(n)
    elif law == "lognormal":
        theta = np.exp(given["sigma"] * draw.standard_normal(n))
    else:
        return np.ones(n)
    mean = np.bincount(labels, theta) / np.maximum(np.bincount(labels), 1)
    return theta / mean[labels]


def law_parameters(law: str, **parameters: float) -> dict[str, float]:
    """The parameters of a law of `theta_law`, the given ones and the others at their defaults."""
    if law not in LAWS:
        raise ValueError(f"law: {law!r}, expected one of {', '.join(LAWS)}")
    unknown = sorted(set(parameters) - set(LAWS[law]))
    if unknown:
        names = ", ".join(LAWS[law]) or "none"
        raise ValueError(f"{unknown[0]}: not a parameter of {law!r}, expected {names}")
    given = {**LAWS[law], **parameters}
    if law == "pareto" and not given["alpha"] > 1.0:
        raise ValueError(f"alpha: {given['alpha']}, expected more than 1, so that there is a mean")
    if law == "uniform" and not 0.0 < given["low"] <= given["high"] < np.inf:
        raise ValueError(f"low: {given['low']}, expected 0 < low <= high = {given['high']}")
    if law == "lognormal" and not 0.0 < given["sigma"] < np.inf:
        raise ValueError(f"sigma: {given['sigma']}, expected a positive number")
    return given


def communities(labels: np.ndarray) -> np.ndarray:
    """Labels as (n,) int64 from 0, or a ValueError."""
    labels = np.asarray(labels)
    if labels.ndim != 1 or not len(labels) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"labels: shape {labels.shape} of {labels.dtype}, expected integers, (n,) with n > 0"
        )
    if labels.min() < 0:
        raise ValueError(f"labels: {labels.min()}, expected communities from 0")
    return labels.astype(np.int64)
