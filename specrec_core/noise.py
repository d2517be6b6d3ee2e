"""Planted noise: random interactions among those to train on.

How the scaling paper [scaling2025] plants noise is in no source; this is the plain way. Pairs are
drawn uniformly from all that the data do not have, in any split, and only train gets them: what is
selected on and tested is as clean as before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from specrec_core.arguments import NOISE_KINDS, between, one_of, whole_part
from specrec_core.interactions import Interactions, binary, generator


@dataclass(frozen=True, eq=False)
class NoisyInteractions(Interactions):
    """`Interactions` whose training pairs are noise in part: those of ``noise``."""

    noise: sp.csr_matrix = None  # type: ignore[assignment]  # always set by `plant`


def plant(data: Interactions, share: float, *, kind: str = "added", seed: int) -> NoisyInteractions:
    """``data`` with noise in train: ⌊share · interactions⌋ pairs, drawn from ``seed``.

    Parameters
    ----------
    share
        Of the training interactions that there were, in [0, 1).
    kind
        ``added`` to them; or ``replaced``: as many of them, drawn uniformly, are taken out first.
        A user may then lose all of theirs.

    Raises
    ------
    ValueError
        If an argument is out of range, or there are not so many pairs without an interaction.
    """
    between("share", share, 0.0, 1.0)
    one_of("kind", kind, NOISE_KINDS)
    count = whole_part(share * data.train.nnz)
    n_users, n_items = data.train.shape
    every = binary(data.train + data.validation + data.test)
    if count > n_users * n_items - every.nnz:
        raise ValueError(
            f"share is {share}: {count} pairs, expected at most those without an interaction, "
            f"{n_users * n_items - every.nnz}"
        )
    draw = generator("planted noise", seed)
    # Positions among the free pairs, then the pairs: the r-th free one lies after the taken ones
    # that come before it.
    free = draw.choice(n_users * n_items - every.nnz, size=count, replace=False)
    taken = np.repeat(np.arange(n_users), np.diff(every.indptr)) * n_items + every.indices
    keys = free + np.searchsorted(taken - np.arange(len(taken)), free, side="right")
    noise = _matrix(keys, data.train.shape)
    train = data.train
    if kind == "replaced":
        old = np.repeat(np.arange(n_users), np.diff(train.indptr)) * n_items + train.indices
        kept = draw.permutation(len(old))[count:]
        train = _matrix(old[kept], train.shape)
    fields = {name: getattr(data, name) for name in Interactions.__annotations__}
    return NoisyInteractions(
        **{
            **fields,
            "train": binary(train + noise),
            "noise": noise,
            "version": f"{data.version}, {share:g} of train noise, {kind}",
        }
    )


def _matrix(keys: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    ones = np.ones(len(keys), dtype=np.float32)
    return binary(sp.csr_matrix((ones, (keys // shape[1], keys % shape[1])), shape=shape))
