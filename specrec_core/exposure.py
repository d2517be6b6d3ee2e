"""A test set in which items are equally present: the debiased split of ReSN [lin2024resn].

A random split tests an item as often as it was seen, so whoever recommends what is popular does
well. Here every item has the same number k of test pairs, as far as it has pairs at all: what it
has too many goes to train, what it has too few comes from there.

>>> pairs = np.array([[u, i] for i in range(3) for u in range(4 * (i + 1))])
>>> data = Interactions.from_pairs("toy", train=pairs[3:], test=pairs[:3])
>>> even = equal_exposure(data, seed=0)
>>> np.bincount(even.test.indices, minlength=3).tolist()
[1, 1, 1]
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from specrec_core.interactions import Interactions, generator, random_rows


def equal_exposure(data: Interactions, seed: int = 0) -> Interactions:
    """Move pairs between train and test until items are equally exposed in test [lin2024resn].

    k = ⌊test pairs / m⌋ with m the largest item id of the source plus one, so that ids without a
    pair count. An item with k test pairs or more keeps a random k of them, and the others move to
    train; one with fewer gets min(k − its test pairs, its train pairs) random ones from train, and
    so may be left with no train pair at all. The official code draws without a seed; ours draws
    from ``seed``.

    Pairs that a source has in both splits are moved as the two that they are; where a pair meets
    its copy, one is left.

    Raises
    ------
    ValueError
        If there is a validation split (carve it afterwards), or fewer test pairs than item ids.
    """
    if data.validation.nnz:
        raise ValueError(
            f"data ({data.name}) holds {data.validation.nnz} validation pairs, expected none: "
            "carve them from train afterwards"
        )
    n_ids = data.n_items
    if np.issubdtype(data.item_ids.dtype, np.integer):
        n_ids = max(n_ids, int(data.item_ids.max()) + 1)
    k = data.test.nnz // n_ids
    if k == 0:
        raise ValueError(
            f"data ({data.name}) has {data.test.nnz} test pairs for {n_ids} item ids: expected "
            "at least one for each"
        )
    draw = generator("equal exposure", seed)
    train, test = data.train.T.tocsr(), data.test.T.tocsr()  # rows are items
    in_train, in_test = np.diff(train.indptr), np.diff(test.indptr)
    stays = random_rows(test, np.minimum(in_test, k), draw)
    comes = random_rows(train, np.minimum(np.maximum(k - in_test, 0), in_train), draw)
    return replace(
        data,
        version=f"{data.version}, equal exposure in test, seed {seed}",
        train=_union(train - comes, test - stays),
        test=_union(stays, comes),
    )


def _union(first: sp.csr_matrix, second: sp.csr_matrix) -> sp.csr_matrix:
    """Pairs of either, users in rows; `Interactions` makes it binary."""
    return (first + second).T.tocsr()
