"""specrec_core.stability, against sets of rows sorted one query at a time."""

import math
import statistics

import numpy as np
import pytest
import torch

from specrec_core import stability
from specrec_core.norms import norm_groups
from specrec_core.stability import neighbour_stability

K = (1, 3, 10)


def tables(n: int = 150, seed: int = 0, change: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers, so that similarities by dot product are exact and often equal."""
    draw = np.random.default_rng(seed)
    one = draw.integers(-3, 4, size=(n, 5)).astype(float)
    changed = draw.random((n, 1)) < change
    return one, np.where(changed, draw.integers(-3, 4, size=(n, 5)), one).astype(float)


def slow_list(
    table: np.ndarray, query: int, pool: list[int], k: int, similarity: str, self_match: bool
) -> set[int]:
    def alike(i: int) -> float:
        dot = float(table[query] @ table[i])
        if similarity == "dot" or not dot:
            return dot
        return dot / (math.hypot(*table[query]) * math.hypot(*table[i]))

    candidates = [i for i in pool if self_match or i != query]
    return set(sorted(candidates, key=lambda i: (-alike(i), i))[:k])


def slow_stability(
    one: np.ndarray, two: np.ndarray, groups: np.ndarray, similarity: str, wide: bool, match: bool
) -> dict[tuple[int, int], tuple[float, float, float, float]]:
    found = {}
    for group in sorted(set(groups[groups >= 0].tolist())):
        inside = np.flatnonzero(groups == group).tolist()
        pool = list(range(len(groups))) if wide else inside
        for k in K:
            overlaps, jaccards = [], []
            for query in inside:
                a, b = (slow_list(t, query, pool, k, similarity, match) for t in (one, two))
                overlaps.append(len(a & b) / len(a))
                jaccards.append(len(a & b) / len(a | b))
            half = 1.96 / math.sqrt(len(inside))
            found[group, k] = (
                statistics.fmean(overlaps),
                statistics.fmean(jaccards),
                half * statistics.pstdev(overlaps),
                half * statistics.pstdev(jaccards),
            )
    return found


@pytest.mark.parametrize("match", [True, False])
@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_lists_are_those_of_sets(
    monkeypatch: pytest.MonkeyPatch, device: str, similarity: str, wide: bool, match: bool
) -> None:
    monkeypatch.setattr(stability, "CHUNK_ON_CPU", 200)  # a few queries at a time
    one, two = tables()
    if similarity == "cosine":  # without equal similarities, which rounding would tell apart
        draw = np.random.default_rng(1)
        one, two = (t + 0.1 * draw.standard_normal(t.shape) for t in (one, two))
    groups = np.random.default_rng(2).integers(-1, 4, size=150) * 2
    found = neighbour_stability(
        torch.as_tensor(one, device=device),
        torch.as_tensor(two, device=device),
        groups=groups,
        k=(10, 1, 3),
        queries=None,
        similarity=similarity,
        candidates="all" if wide else "group",
        self_match=match,
    )
    expected = slow_stability(one, two, groups, similarity, wide, match)
    assert found.k == K and found.groups.tolist() == [0, 2, 4, 6]
    assert found.queries.tolist() == [int((groups == g).sum()) for g in (0, 2, 4, 6)]
    measured = [found.overlap, found.jaccard, found.overlap_error, found.jaccard_error]
    for g, group in enumerate(found.groups.tolist()):
        for column, k in enumerate(K):
            values = [float(tensor[g, column]) for tensor in measured]
            assert values == pytest.approx(expected[group, k], abs=1e-12)
    assert all(tensor.device.type == device for tensor in measured)


def test_the_mean_jaccard_index_is_not_that_of_the_mean_overlap() -> None:
    one, two = tables()
    found = neighbour_stability(one, two, groups=np.zeros(150, dtype=int), k=K, queries=None)
    of_mean = found.overlap / (2 - found.overlap)
    assert bool((found.jaccard >= of_mean - 1e-12).all())  # Jensen: o / (2 − o) is convex
    assert float((found.jaccard - of_mean).max()) > 0.01


def test_queries_are_drawn_without_replacement_and_from_the_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[int]] = []
    inner = stability._overlaps

    def spy(one, two, rows, *rest):
        asked.append(rows.tolist())
        return inner(one, two, rows, *rest)

    monkeypatch.setattr(stability, "_overlaps", spy)
    one, two = tables(n=500)
    groups = norm_groups(one, 5)
    for seed in (0, 0, 1):
        found = neighbour_stability(one, two, groups=groups, k=(5,), queries=60, seed=seed)
        assert found.queries.tolist() == [60] * 5
    for group in range(5):
        rows = asked[group]
        assert len(set(rows)) == 60 and set(groups[rows].tolist()) == {group}
        assert asked[5 + group] == rows != asked[10 + group]
    # a sample of the queries gives the mean over all of them, within its own interval and a half
    every = neighbour_stability(one, two, groups=groups, k=(5,), queries=None)
    assert bool(((found.overlap - every.overlap).abs() < 1.5 * found.overlap_error).all())


def test_tables_that_rank_alike_have_all_in_common(device: str) -> None:
    draw = np.random.default_rng(0)
    one = torch.as_tensor(draw.standard_normal((400, 6)), device=device)
    turn = torch.as_tensor(np.linalg.qr(draw.standard_normal((6, 6)))[0], device=device)
    groups = norm_groups(one, 4)
    same = {"groups": groups, "k": (1, 20, 100), "queries": 50}
    scale = torch.as_tensor(draw.uniform(0.5, 2, (400, 1)), device=device)
    for other, similarity in (
        (one, "dot"),
        (torch.cat([one @ turn * 1e-180, torch.zeros_like(one)], dim=1), "dot"),
        (one * scale, "cosine"),
    ):
        found = neighbour_stability(one, other, similarity=similarity, **same)
        assert bool((found.overlap == 1).all()) and bool((found.jaccard == 1).all())
        assert bool((found.overlap_error == 0).all())
    assert float(neighbour_stability(one, one * scale, **same).overlap.min()) < 0.9
    narrow = neighbour_stability(one.float(), one, **same)
    assert float(narrow.overlap.min()) > 0.99


def test_independent_tables_have_chance_in_common() -> None:
    draw = np.random.default_rng(0)
    one, two = draw.standard_normal((2, 600, 20))
    groups = np.repeat([0, 1], 300)
    for wide, size in (("group", 300), ("all", 600)):
        found = neighbour_stability(
            one, two, groups=groups, k=(50,), queries=None, similarity="cosine", candidates=wide,
            self_match=False,
        )  # fmt: skip
        assert found.overlap.flatten().tolist() == pytest.approx([50 / (size - 1)] * 2, rel=0.06)
    # a query in its own list is common to both, which matters for short lists
    settings = {"groups": groups, "k": (5,), "queries": None, "similarity": "cosine"}
    with_self = neighbour_stability(one, two, **settings)
    without = neighbour_stability(one, two, self_match=False, **settings)
    assert with_self.overlap.min() >= 0.2 > without.overlap.max()


def test_bad_arguments() -> None:
    one, two = tables(n=40)
    groups = np.repeat([0, 1], [10, 30])
    for settings, words in (
        ({"k": (11,)}, "k: 11, expected at most 10, the candidates of group 0"),
        ({"k": (10,), "self_match": False}, "k: 10, expected at most 9"),
        ({"k": (41,), "candidates": "all"}, "k: 41, expected at most 40"),
        ({"k": ()}, r"k: \(\)"),
        ({"k": 5}, "k: 5, expected a sequence"),
        ({"k": (0,)}, r"k: \(0,\)"),
        ({"queries": 11}, r"queries: 11, expected between 1 and 10, the rows of group 0 \(None"),
        ({"queries": 0}, "queries: 0"),
        ({"similarity": "cos"}, "similarity is 'cos': expected one of dot, cosine"),
        ({"candidates": "own"}, "candidates is 'own': expected one of group, all"),
        ({"groups": groups[1:]}, r"groups: shape \(39,\)"),
        ({"groups": groups - 2}, "groups: all below 0"),
        ({"groups": groups * 0.5}, "groups: torch.float64, expected integers"),
    ):
        arguments = {"groups": groups, "k": (3,), "queries": 5, **settings}
        with pytest.raises(ValueError, match=words):
            neighbour_stability(one, two, **arguments)
    with pytest.raises(ValueError, match="other: 39 rows"):
        neighbour_stability(one, two[1:], groups=groups, k=(3,), queries=5)
    with pytest.raises(ValueError, match="NaN or infinite"):
        neighbour_stability(one, two * math.nan, groups=groups, k=(3,), queries=5)
    with pytest.raises(ValueError, match="expected one table"):
        neighbour_stability(one, two[None], groups=groups, k=(3,), queries=5)


def test_rows_without_neighbours_are_refused():
    one, two = tables()
    one[3] = 0
    groups = np.zeros(len(one), dtype=int)
    with pytest.raises(ValueError, match="give them the group -1"):
        neighbour_stability(one, two, groups=groups, k=K, queries=None)
    groups[3] = -1
    assert neighbour_stability(one, two, groups=groups, k=K, queries=None) is not None
