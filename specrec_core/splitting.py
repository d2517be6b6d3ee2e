"""A split of all interactions of a data set: training, validation and test as 8:1:1.

This is RecBole's random split by users [zhao2021recbole], which the scaling experiments use
[scaling2025]: of a user's n interactions in random order, ⌊n / 10⌋ are for test and as many for
validation; a user for whom that is none gives one to test, and then one to validation, as long as
one is left to train on. So n = 1 trains, n = 2 trains and tests, and n from 3 has all three.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from specrec_core.interactions import Interactions, binary, generator


def sizes(n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interactions for validation and for test, of users with ``n (users,)`` of them."""
    tenth = n // 10
    few = (n > 0) & (tenth == 0)
    test = tenth + (few & (n > 1))
    validation = tenth + (few & (n > 2))
    return validation, test


def eight_one_one(data: Interactions, seed: int) -> Interactions:
    """``data`` with all its interactions split anew, drawn from ``seed``; its type is lost."""
    every = binary(data.train + data.validation + data.test)
    n = np.diff(every.indptr).astype(np.int64)
    users = np.repeat(np.arange(every.shape[0]), n)
    draw = generator("8:1:1", seed).random(every.nnz)
    order = np.lexsort((draw, users))
    rank = np.arange(every.nnz) - every.indptr[users]  # of the pair at each place of `order`
    validation, test = sizes(n)
    for_test = rank < test[users]
    for_validation = ~for_test & (rank < (test + validation)[users])

    def part(chosen: np.ndarray) -> sp.csr_matrix:
        pairs = order[chosen]
        ones = np.ones(len(pairs), dtype=np.float32)
        return sp.csr_matrix((ones, (users[pairs], every.indices[pairs])), shape=every.shape)

    plain = Interactions(**{name: getattr(data, name) for name in Interactions.__annotations__})
    return replace(
        plain,
        train=part(~for_test & ~for_validation),
        validation=part(for_validation),
        test=part(for_test),
        version=f"{data.version}, split 8:1:1",
    )
