"""What an embedding recovers of planted communities and propensities.

A block model makes every community a ray from the origin along which the norm is proportional to
the propensity. `recovery` measures how nearly that holds for a table of embeddings.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from specrec_core.propensities import communities
from specrec_core.spikes import NEGLIGIBLE, peaks


def recovery(
    table: np.ndarray,
    labels: np.ndarray,
    theta: np.ndarray | None = None,
    degrees: np.ndarray | None = None,
    *,
    cos: float = 0.9,
    coverage: float = 0.5,
) -> dict[str, float]:
    """Compare a table of embeddings with the communities and propensities behind it.

    The direction of a community is the mean of its members' rows, scaled to length 1. A row that
    is zero, as `specrec_core.spikes.peaks` has it, has no direction: its cosine with all of them
    counts as 0, its label as missed.
    What is averaged over communities is averaged with equal weights.

    Parameters
    ----------
    table : (n, f)
        Embeddings, such as ``decomposition.embedding()``.
    labels : (n,) integers
        Community of each row, from 0; numbers without members are left out.
    theta, degrees : (n,)
        Propensities and degrees, for ``r_theta`` and ``r_degree``.
    cos, coverage
        Thresholds of `specrec_core.spikes.peaks`.

    Returns
    -------
    dict
        - ``cos_in``: cosine of a row and the direction of its community, mean over the members of
          each community, then over communities;
        - ``cv``: standard deviation over mean of the norms in a community, mean over communities:
          0 for blobs, large for spikes;
        - ``r_theta``, ``r_degree``: Spearman correlation of the norm with ``theta`` and with
          ``degrees`` in a community, mean over the communities where it is defined (it is not
          where one of the two is constant to 12 digits); NaN if there is none or nothing is given;
        - ``inter``: largest absolute cosine of the directions of two communities, NaN for one;
        - ``accuracy``: share of the rows that are nearer in angle to the direction of their own
          community than to any other;
        - ``peaks``, ``spk``: number of spikes, and that over n, a share [spiky2023svd].

    Raises
    ------
    ValueError
        If shapes do not fit.
    """
    table = np.asarray(table, dtype=np.float64)
    labels = communities(labels)
    if table.ndim != 2 or len(table) != len(labels):
        raise ValueError(f"table: shape {table.shape}, expected ({len(labels)}, f) as labels say")
    for name, values in (("theta", theta), ("degrees", degrees)):
        if values is not None and np.shape(values) != labels.shape:
            raise ValueError(f"{name}: shape {np.shape(values)}, expected {labels.shape}")
    labels = np.unique(labels, return_inverse=True)[1]
    spikes = peaks(table, cos=cos, coverage=coverage)
    norms = np.linalg.norm(table, axis=1)
    directed = norms > NEGLIGIBLE * norms.max()
    units = np.where(directed[:, None], table / np.where(directed, norms, 1.0)[:, None], 0.0)
    groups = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    directions = np.stack([table[group].mean(axis=0) for group in groups])
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions /= np.where(lengths > 0, lengths, 1.0)
    cosines = units @ directions.T
    own = cosines[np.arange(len(labels)), labels]
    between = np.abs(directions @ directions.T)[np.triu_indices(len(groups), 1)]
    hit = (cosines.argmax(axis=1) == labels) & directed
    spread = [norms[group].std() / norms[group].mean() for group in groups if norms[group].any()]
    return {
        "cos_in": float(np.mean([own[group].mean() for group in groups])),
        "cv": float(np.mean(spread)),
        "r_theta": _rank_correlation(norms, theta, groups),
        "r_degree": _rank_correlation(norms, degrees, groups),
        "inter": float(between.max()) if len(between) else float("nan"),
        "accuracy": float(hit.mean()),
        "peaks": float(len(spikes.peaks)),
        "spk": spikes.share if spikes.reached else float("nan"),
    }


def _rank_correlation(
    norms: np.ndarray, values: np.ndarray | None, groups: list[np.ndarray]
) -> float:
    """Mean over groups of the Spearman correlation where both vary, else NaN."""
    found = []
    for group in groups if values is not None else []:
        pair = np.stack([norms[group], np.asarray(values, dtype=np.float64)[group]])
        if (np.ptp(pair, axis=1) > 1e-12 * np.abs(pair).max(axis=1)).all():
            found.append(np.corrcoef(rankdata(pair, axis=1))[0, 1])
    return float(np.mean(found)) if found else float("nan")
