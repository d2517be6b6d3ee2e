"""The item–item PPMI graph of contexts, such as playlists or users.

`ppmi` ties two items that occur together in more contexts than chance would have it. With N
contexts, c_i rows of item i and c_ij rows in which i and j share a context, the edge weighs
PPMI_ij = max(0, ln(N c_ij / (c_i c_j))).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

TOP_RULES = ("half-lists", "whole-lists")
WORK = 2**23  # products of `ppmi` formed at a time: a few hundred MB of work space


@dataclass(frozen=True, eq=False)
class PPMI:
    """The PPMI graph of the n items that kept an edge; `ppmi` makes it.

    Attributes
    ----------
    matrix
        ``(n, n)`` float64, no diagonal, positive entries only: symmetric, or its strictly upper
        triangle (``mirror=False``).
    items
        ``(n,)`` int64: the code of each item, ascending.
    popularity
        ``(n,)`` int64: c_i, rows of each item.
    contexts
        N, the number of distinct contexts in the input.
    """

    matrix: sp.csr_array
    items: np.ndarray
    popularity: np.ndarray
    contexts: int

    @property
    def strength(self) -> np.ndarray:
        """Sum of the weights of each item's edges, ``(n,)`` float64, whether mirrored or not."""
        upper = sp.csr_array(sp.triu(self.matrix))
        return np.asarray(upper.sum(axis=0) + upper.sum(axis=1))

    @property
    def neighbours(self) -> np.ndarray:
        """Number of each item's edges, ``(n,)`` int64, whether mirrored or not."""
        ends = np.concatenate(sp.triu(self.matrix).coords)
        return np.bincount(ends, minlength=len(self.items)).astype(np.int64)


def ppmi(
    contexts: np.ndarray,
    items: np.ndarray,
    *,
    top_rule: str = "half-lists",
    top: int = 1999,
    min_count: int = 2,
    distinct: bool = True,
    mirror: bool = True,
) -> PPMI:
    """The filtered positive pointwise mutual information of items that share contexts.

    An item lists its partners by c_ij, largest first, then by smaller code. An edge stands where
    c_ij >= ``min_count``, each of the two items is within the ``top`` of the other's list, and
    PMI_ij > 0. Time grows with Σ (rows per context)²; memory with what the lists hold.

    Parameters
    ----------
    contexts, items
        ``(P,)`` integer codes from 0, holes allowed: one row per (context, item).
    top_rule
        "half-lists": each item has two lists, partners of larger code and partners of smaller
        code, and each keeps its top, as the queries of [spiky2023svd] do. It hangs on the order of
        the codes where a list is longer than ``top``. "whole-lists": one list per item.
    top
        Partners that a list keeps.
    min_count
        Smallest c_ij of an edge.
    distinct
        Count repeated rows once. Otherwise, as the queries of [spiky2023svd] do, c_i counts all
        rows and c_ij the pairs of rows: Σ over contexts of the product of the multiplicities.
    mirror
        False leaves the strictly upper triangle, in the order of the codes: what the first release
        of the code of [spiky2023svd] decomposed, by an error mended in its second.

    Raises
    ------
    ValueError
        If codes are not integers from 0 or the two arrays differ in length or are empty, an option
        is out of range, or no pair of items survives.

    Source of PMI: church1990word; of its positive part as a matrix to factorise: levy2014neural.
    """
    if top_rule not in TOP_RULES:
        raise ValueError(f"top_rule: {top_rule!r}, expected one of {', '.join(TOP_RULES)}")
    for name, least in (("top", top), ("min_count", min_count)):
        if least < 1:
            raise ValueError(f"{name}: {least}, expected at least 1")
    contexts, items = rows_of_codes(contexts, items)
    context_codes, context = np.unique(contexts, return_inverse=True)
    item_codes, item = np.unique(items, return_inverse=True)
    shape = (len(item_codes), len(context_codes))
    incidence = sp.coo_array((np.ones(len(item), np.int64), (item, context)), shape=shape).tocsr()
    if distinct:
        incidence.data[:] = 1
    popularity: np.ndarray = np.asarray(incidence.sum(axis=1))

    lists = _lists(incidence, top, min_count, top_rule == "half-lists")
    # An edge is in the lists of both its ends, with the same count.
    pairs = sp.triu(lists, 1, "csr").minimum(sp.triu(lists.T, 1, "csr")).tocoo()
    i, j = pairs.coords
    size = popularity.astype(np.float64)  # products of counts may pass 64 bits
    weight = np.log(shape[1] * pairs.data.astype(np.float64) / (size[i] * size[j]))
    positive = weight > 0
    if not positive.any():
        raise ValueError(
            f"min_count: {min_count} and top: {top} ({top_rule}) leave no edge: {pairs.nnz} pairs "
            "of items occur together so often and are in each other's lists, and none of them has "
            "positive PMI; expected more data or other thresholds"
        )
    i, j, weight = i[positive], j[positive], weight[positive]
    kept = np.union1d(i, j)
    ends = (np.searchsorted(kept, i), np.searchsorted(kept, j))
    upper = sp.coo_array((weight, ends), shape=(len(kept), len(kept))).tocsr()
    matrix = sp.csr_array(upper + upper.T) if mirror else upper
    matrix.sort_indices()
    return PPMI(matrix, item_codes[kept], popularity[kept], shape[1])


def _lists(incidence: sp.csr_array, top: int, min_count: int, halves: bool) -> sp.csr_array:
    """Counts c_ij of the partners j in the list (or the two half-lists) of each item i."""
    transposed = incidence.T.tocsr()
    work = np.cumsum(incidence @ transposed.sum(axis=1))  # bounds the entries of rows 0..i
    starts = np.flatnonzero(np.diff((work - 1) // WORK, prepend=-1)).tolist()
    blocks = []
    for first, last in zip(starts, [*starts[1:], len(work)], strict=True):
        counts = (incidence[first:last] @ transposed).tocoo()
        (row, partner), count = counts.coords, counts.data
        often = (count >= min_count) & (partner != row + first)
        row, partner, count = row[often], partner[often], count[often]
        side = 2 * row.astype(np.int64) + (halves & (partner > row + first))
        ranked = np.flatnonzero(np.bincount(side)[side] > top)  # the others keep all they have
        order = ranked[np.lexsort((partner[ranked], -count[ranked], side[ranked]))]
        begin = np.searchsorted(side[order], side[order])  # of each entry's own list
        kept = np.ones(len(side), dtype=bool)
        kept[order] = np.arange(len(order)) - begin < top
        entries = (count[kept], (row[kept], partner[kept]))
        blocks.append(sp.coo_array(entries, shape=counts.shape).tocsr())
    return sp.csr_array(sp.vstack(blocks, format="csr"))


def rows_of_codes(contexts: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``contexts`` and ``items`` as int64, checked: ``(P,)`` each, P >= 1, codes from 0.

    Raises ValueError, which names the argument, where they are not.
    """
    checked = []
    for name, given in (("contexts", contexts), ("items", items)):
        codes = np.asarray(given)
        if codes.ndim != 1 or not len(codes):
            raise ValueError(f"{name}: shape {codes.shape}, expected (P,) with P >= 1")
        if codes.dtype.kind not in "iu":
            raise ValueError(f"{name}: dtype {codes.dtype}, expected integers")
        if codes.min() < 0:
            raise ValueError(f"{name}: code {codes.min()}, expected non-negative codes")
        checked.append(codes.astype(np.int64))
    if len(checked[0]) != len(checked[1]):
        raise ValueError(
            f"items: {len(checked[1])} rows, expected as many as contexts has, {len(checked[0])}"
        )
    return checked[0], checked[1]
