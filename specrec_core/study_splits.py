"""Whether the test pairs of a data set are like the training pairs that validation holds out.

Choosing an epoch or a setting on a random part of train takes this for granted.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from specrec_core import datasets
from specrec_core.arguments import between
from specrec_core.progress import bar
from specrec_core.studies import Measured

Floats = NDArray[np.float64]
USERS_AT_A_TIME = 512


def nearness(train: sp.csr_matrix, pairs: sp.csr_matrix, users: NDArray[np.int64]) -> Floats:
    """Paths u–i′–u′–i of three training pairs, for the ``pairs`` (u, i) of ``users``, by rows."""
    part = pairs[users].tocoo()
    reached = ((train[users] @ train.T) @ train).tocsr()
    order = np.lexsort((part.col, part.row))
    return np.asarray(reached[part.row[order], part.col[order]]).ravel()


def exchangeable(*, dataset: str, seed: int, progress: bool, validation: float = 0.1) -> Measured:
    """How often a pair held out of train lies nearer to the other training pairs than a test pair.

    A share ``validation`` of each user's training pairs is held out by ``seed``. Near is a pair
    (u, i) with many paths u–i′–u′–i over what is left of train: users u′ who share an item with u
    and have i. If test were a random part of each user's pairs, labels of the two held-out parts
    could be exchanged, and either would be the nearer one half of the time.

    Metrics: ``"held out is nearer"``, a share of one, ties counting half, mean over the pairs of
    a user and then over users who have both; ``"test pairs without a path"`` and ``"held-out pairs
    without a path"``, shares of all pairs of these users.
    """
    between("validation", validation, 0.0, 1.0, ends=False)
    data = datasets.load(dataset, validation=0.0).holdout(validation, seed)
    train, held, test = (
        sp.csr_matrix(getattr(data, part), dtype=np.float64)
        for part in ("train", "validation", "test")
    )
    sizes = [np.diff(part.indptr) for part in (held, test)]
    users = np.flatnonzero((sizes[0] > 0) & (sizes[1] > 0))
    nearer, alone = [], np.zeros(2)
    chunks = np.array_split(users, -(-len(users) // USERS_AT_A_TIME))
    with bar(range(len(chunks)), f"pairs of {dataset}", progress) as steps:
        for step in steps:
            found = [nearness(train, part, chunks[step]) for part in (held, test)]
            alone += [(values == 0).sum() for values in found]
            ends = [np.cumsum(size[chunks[step]])[:-1] for size in sizes]
            for a, b in zip(*map(np.split, found, ends), strict=True):
                nearer.append(np.mean((np.sign(a[:, None] - b) + 1) / 2))
    shares = alone / [size[users].sum() for size in sizes]
    return Measured(
        {
            "held out is nearer": float(np.mean(nearer)),
            "held-out pairs without a path": float(shares[0]),
            "test pairs without a path": float(shares[1]),
        },
        data={"users": len(users)},
    )
