"""The PPMI graph, against the steps of the official queries written with dictionaries and loops."""

from collections import Counter, defaultdict
from math import log

import numpy as np
import pytest

from specrec_core.ppmi import PPMI, TOP_RULES, WORK, ppmi

Edges = dict[tuple[int, int], float]


def random_rows(seed: int, rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Three communities, skewed items, ties and repeats; 25 contexts, codes with holes."""
    rng = np.random.default_rng(seed)
    context = rng.integers(0, 25, rows)
    community = np.where(rng.random(rows) < 0.8, context, rng.integers(0, 3, rows)) % 3
    rank = np.minimum(rng.pareto(1.0, rows) * 4, 11).astype(np.int64)
    return context * 3 + 1, (3 * rank + community) * 2


def step_by_step(
    contexts: np.ndarray,
    items: np.ndarray,
    top_rule: str = "half-lists",
    top: int = 1999,
    min_count: int = 2,
    distinct: bool = True,
) -> tuple[Edges, dict[int, int], int]:
    """Edges (smaller code, larger code) -> PMI, rows of each item, and N."""
    rows = list(zip(contexts.tolist(), items.tolist(), strict=True))
    if distinct:
        rows = sorted(set(rows))
    n_rows = Counter(item for _, item in rows)
    together: Counter[tuple[int, int]] = Counter()
    held = defaultdict(list)
    for context, item in rows:
        held[context].append(item)
    for context, i in rows:  # the join of the table with itself
        for j in held[context]:
            if i < j:
                together[i, j] += 1
    lists = defaultdict(list)
    for (i, j), count in together.items():
        first, second = ("larger", "smaller") if top_rule == "half-lists" else ("all", "all")
        lists[i, first].append((-count, j))
        lists[j, second].append((-count, i))
    rank = {
        (i, partner): position
        for (i, _), partners in lists.items()
        for position, (_, partner) in enumerate(sorted(partners), start=1)
    }
    n_contexts = len(set(contexts.tolist()))
    edges = {}
    for (i, j), count in together.items():
        if count >= min_count and rank[i, j] <= top and rank[j, i] <= top:
            pmi = log(n_contexts * count / (n_rows[i] * n_rows[j]))
            if pmi > 0:
                edges[i, j] = pmi
    return edges, n_rows, n_contexts


def edges_of(result: PPMI) -> Edges:
    """All stored entries by the codes of row and column."""
    entries = result.matrix.tocoo()
    i, j = (result.items[k].tolist() for k in entries.coords)
    return dict(zip(zip(i, j, strict=True), entries.data.tolist(), strict=True))


@pytest.mark.parametrize("work", [1, 300, WORK])  # a row a block, several, one block
@pytest.mark.parametrize("top_rule", TOP_RULES)
@pytest.mark.parametrize("distinct", [True, False])
def test_ppmi_is_the_official_query(work, top_rule, distinct, monkeypatch):
    monkeypatch.setattr("specrec_core.ppmi.WORK", work)
    bitten = compared = 0
    for seed in range(3):
        contexts, items = random_rows(seed)
        unfiltered = step_by_step(contexts, items, top_rule, 1999, 2, distinct)[0]
        for top, min_count in [(1, 1), (2, 1), (3, 2), (5, 2), (8, 3), (1999, 2)]:
            options = {
                "top_rule": top_rule, "top": top, "min_count": min_count, "distinct": distinct
            }  # fmt: skip
            expected, n_rows, n_contexts = step_by_step(contexts, items, **options)
            if not expected:
                with pytest.raises(ValueError, match="leave no edge"):
                    ppmi(contexts, items, **options)
                continue
            compared += 1
            result = ppmi(contexts, items, mirror=False, **options)
            assert edges_of(result) == pytest.approx(expected, rel=1e-13)
            codes = sorted({code for edge in expected for code in edge})
            assert result.items.tolist() == codes
            assert result.popularity.tolist() == [n_rows[code] for code in codes]
            assert result.contexts == n_contexts == 25
            bitten += min_count == 2 and set(expected) != set(unfiltered)
    assert bitten >= 5 and compared >= 14, "too little is cut, or all: the test shows too little"


def test_half_lists_and_whole_lists_and_repeats_differ():
    contexts, items = random_rows(0)
    half, whole = (set(edges_of(ppmi(contexts, items, top=5, top_rule=r))) for r in TOP_RULES)
    assert whole < half  # within the top of a whole list is within that of its half
    weighted = edges_of(ppmi(contexts, items, distinct=False))
    assert weighted != edges_of(ppmi(contexts, items))


@pytest.mark.parametrize("top", [3, 1999])
def test_mirrored_is_symmetric_and_the_other_its_upper_triangle(top):
    contexts, items = random_rows(1)
    full, upper = (ppmi(contexts, items, top=top, mirror=m) for m in (True, False))
    dense, half = full.matrix.toarray(), upper.matrix.toarray()
    assert (dense == half + half.T).all() and (np.tril(half) == 0).all()
    assert full.matrix.data.min() > 0 and full.matrix.nnz == 2 * upper.matrix.nnz
    assert full.matrix.format == upper.matrix.format == "csr"
    assert full.matrix.has_sorted_indices and full.matrix.dtype == np.float64
    for result in (full, upper):
        np.testing.assert_allclose(result.strength, dense.sum(axis=1), rtol=1e-13)
        assert result.neighbours.tolist() == (dense > 0).sum(axis=1).tolist()
        assert result.neighbours.dtype == result.items.dtype == result.popularity.dtype == np.int64
    assert full.neighbours.min() >= 1


def test_by_hand():
    # Items 4 and 7 share contexts 0 and 1, items 7 and 9 only context 2; six contexts in all.
    contexts = np.array([0, 0, 1, 1, 1, 2, 2, 3, 4, 5])
    items = np.array([4, 7, 4, 7, 7, 7, 9, 4, 9, 9])
    result = ppmi(contexts, items)
    assert result.items.tolist() == [4, 7] and result.popularity.tolist() == [3, 3]
    assert result.contexts == 6
    assert result.matrix.toarray() == pytest.approx(np.array([[0, log(4 / 3)], [log(4 / 3), 0]]))
    # With repeats item 7 has four rows and meets item 4 three times: 6 · 3 / (3 · 4).
    weighted = ppmi(contexts, items, distinct=False)
    assert weighted.popularity.tolist() == [3, 4]
    assert weighted.matrix[0, 1] == pytest.approx(log(3 / 2))
    # 6 · 1 / (3 · 3) < 1: never an edge between 7 and 9.
    assert ppmi(contexts, items, min_count=1).items.tolist() == [4, 7]


def test_pmi_of_zero_is_no_edge():
    contexts, items = np.array([0, 0, 1, 1, 2, 3]), np.array([0, 1, 0, 1, 2, 2])
    contexts, items = np.append(contexts, [0, 1, 2, 3]), np.append(items, [3, 3, 3, 3])
    # Item 3 is in all four contexts: 4 · 2 / (2 · 4) = 1 with every other.
    assert ppmi(contexts, items).items.tolist() == [0, 1]


def test_ties_go_to_the_smaller_code():
    # Item 0 meets 1 and 2 twice each; contexts 4 to 9 make the PMI positive.
    contexts = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9])
    items = np.array([0, 1, 0, 1, 0, 2, 0, 2, 9, 9, 9, 9, 9, 9])
    assert ppmi(contexts, items, top=1).items.tolist() == [0, 1]
    assert ppmi(contexts, items, top=2).items.tolist() == [0, 1, 2]


@pytest.mark.parametrize("top_rule", TOP_RULES)
def test_what_changes_nothing(top_rule):
    contexts, items = random_rows(2)
    plain = ppmi(contexts, items, top=4, top_rule=top_rule)
    order = np.random.default_rng(0).permutation(len(items))
    relabelled = np.random.default_rng(1).permutation(100)[contexts]
    again = [
        ppmi(contexts[order], items[order], top=4, top_rule=top_rule),
        ppmi(relabelled, items, top=4, top_rule=top_rule),
        ppmi(np.tile(contexts, 3), np.tile(items, 3), top=4, top_rule=top_rule),  # repeats
        ppmi(contexts.astype(np.uint16), items * 10**12, top=4, top_rule=top_rule),
    ]
    for other in again:
        assert other.matrix.data.tobytes() == plain.matrix.data.tobytes()
        assert other.matrix.indices.tolist() == plain.matrix.indices.tolist()
    assert again[3].items.tolist() == (plain.items * 10**12).tolist()


def test_a_new_order_of_the_codes_permutes_the_matrix_unless_half_lists_are_cut():
    contexts, items = random_rows(3)
    mapping = np.random.default_rng(0).permutation(80)

    def renamed(**options) -> tuple[Edges, Edges]:
        before = edges_of(ppmi(contexts, items, **options))
        after = edges_of(ppmi(contexts, mapping[items], **options))
        return {(mapping[i], mapping[j]): w for (i, j), w in before.items()}, after

    for options in ({"top_rule": "half-lists"}, {"top_rule": "whole-lists"}):
        before, after = renamed(**options)
        assert before == pytest.approx(after, rel=1e-14)
    before, after = renamed(top=4)
    assert set(before) != set(after)


def test_all_rows_twice_multiplies_counts_and_leaves_pmi():
    contexts, items = random_rows(4)
    once = ppmi(contexts, items, distinct=False, min_count=2)
    twice = ppmi(np.tile(contexts, 2), np.tile(items, 2), distinct=False, min_count=8)
    assert (twice.popularity == 2 * once.popularity).all()
    assert abs(twice.matrix - once.matrix).max() < 1e-14


def test_contexts_of_one_item_count_too():
    contexts, items = random_rows(5)
    more = ppmi(np.append(contexts, [1000, 1001]), np.append(items, [999, 999]))
    fewer = ppmi(contexts, items)
    assert more.contexts == fewer.contexts + 2
    edges = edges_of(more)
    shift = log(more.contexts / fewer.contexts)
    for edge, weight in edges_of(fewer).items():
        assert edges[edge] == pytest.approx(weight + shift, rel=1e-12)


def test_input_is_left_alone():
    contexts, items = random_rows(0)
    copies = contexts.copy(), items.copy()
    ppmi(contexts, items)
    assert (contexts == copies[0]).all() and (items == copies[1]).all()


@pytest.mark.parametrize(
    ("contexts", "items", "options", "expected"),
    [
        ([], [], {}, r"contexts: shape \(0,\), expected \(P,\)"),
        ([[0, 1]], [[0, 1]], {}, r"contexts: shape \(1, 2\)"),
        ([0, 1], [0], {}, "items: 1 rows, expected as many as contexts has, 2"),
        ([0, 1], [0, -3], {}, "items: code -3, expected non-negative"),
        ([0, -1], [0, 1], {}, "contexts: code -1, expected non-negative"),
        ([0.0, 1.0], [0, 1], {}, "contexts: dtype float64, expected integers"),
        ([0, 1], ["a", "b"], {}, "items: dtype <U1, expected integers"),
        ([0, 1], [True, False], {}, "items: dtype bool, expected integers"),
        ([0, 0], [0, 1], {"top": 0}, "top: 0, expected at least 1"),
        ([0, 0], [0, 1], {"min_count": 0}, "min_count: 0, expected at least 1"),
        ([0, 0], [0, 1], {"top_rule": "lists"}, "top_rule: 'lists', expected one of half-lists"),
        ([0, 0], [0, 1], {}, r"min_count: 2 and top: 1999 \(half-lists\) leave no edge: 0 pairs"),
        ([0, 0], [0, 1], {"min_count": 1}, "leave no edge: 1 pairs .* none of them has positive"),
        ([0, 1], [0, 1], {"min_count": 1}, "min_count: 1 and top: 1999 .* leave no edge: 0 pairs"),
    ],
)
def test_ppmi_rejects(contexts, items, options, expected):
    contexts = np.array(contexts, dtype=None if contexts else np.int64)
    items = np.array(items, dtype=None if items else np.int64)
    with pytest.raises(ValueError, match=expected):
        ppmi(contexts, items, **options)
