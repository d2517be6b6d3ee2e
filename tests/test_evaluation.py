"""Ranking and metrics against plain loops in float64, two known libraries, and themselves."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from specrec_core import ranking
from specrec_core.evaluation import (
    CONVENTIONS,
    catalogue_metrics,
    evaluate,
    popularity_groups,
    ranking_metrics,
)
from specrec_core.interactions import CSR
from specrec_core.ranking import recommend, top_items

CUTS = (1, 3, 10, 20)


class Case:
    """Random scores (tied where ``levels`` are few), truth and seen, as numpy and on a device."""

    def __init__(
        self, seed: int, device: str, users: int = 23, items: int = 40, levels: int = 0, r: int = 3
    ) -> None:
        rng = np.random.default_rng(seed)
        kind = rng.random((users, items))
        self.truth, self.seen = kind < 0.2, (kind > 0.17) & (kind < 0.5)  # some seen truth
        self.truth[::7] = False
        self.seen[1] = True
        self.seen[1, :4] = False  # a user with fewer candidates than most cut-offs
        self.scores = rng.standard_normal((r, users, items))
        if levels:
            self.scores = np.floor(levels * rng.random((r, users, items)))
        self.table = torch.tensor(self.scores, device=device)
        self.csr = [CSR.from_scipy(sp.csr_matrix(m), device) for m in (self.truth, self.seen)]

    def score(self, users: torch.Tensor) -> torch.Tensor:
        return self.table[:, users]


def slow_list(scores: np.ndarray, seen: np.ndarray, k: int) -> list[int]:
    candidates = [i for i in range(len(scores)) if not seen[i]]
    return sorted(candidates, key=lambda i: (-scores[i], i))[:k]


def slow_metrics(ranked: list[int], truth: set[int], k: int, convention: str) -> dict[str, float]:
    read = 11 if (convention, k) == ("eleven", 10) else k
    hits = [(j, item) for j, item in enumerate(ranked[:read], start=1) if item in truth]
    possible = len(truth) if convention == "standard" else min(k, len(truth))
    ideal = sum(1 / math.log2(j + 1) for j in range(1, min(k, len(truth)) + 1))
    average = sum(sum(1 for i, _ in hits if i <= j) / j for j, _ in hits)
    return {
        "recall": len(hits) / possible,
        "precision": len(hits) / k,
        "hit": float(len(hits) > 0),
        "ndcg": sum(1 / math.log2(j + 1) for j, _ in hits) / ideal,
        "mrr": 1 / hits[0][0] if hits else 0.0,
        "map": average / possible,
    }


def slow_gini(counts: list[int]) -> float:
    differences = sum(abs(a - b) for a in counts for b in counts)
    return differences / (2 * len(counts) * sum(counts))


@pytest.mark.parametrize("levels", [0, 4, 1])
def test_all_metrics_equal_plain_loops(device: str, levels: int) -> None:
    case = Case(levels, device, levels=levels)
    group_of = np.arange(case.truth.shape[1]) * 7 % 3
    got = evaluate(
        case.score,
        *case.csr,
        k=CUTS,
        conventions=tuple(CONVENTIONS),
        item_groups=torch.tensor(group_of, device=device),
        per_user=True,
    )
    evaluated = np.flatnonzero(case.truth.any(axis=1))
    assert got.users.tolist() == evaluated.tolist()
    assert got.users_without_truth == len(case.truth) - len(evaluated) > 0
    expected: dict[str, list[float]] = {}
    for replica in case.scores:
        lists = {u: slow_list(replica[u], case.seen[u], 21) for u in evaluated}
        for k in CUTS:
            for convention, rule in CONVENTIONS.items():
                each = [
                    slow_metrics(lists[u], set(np.flatnonzero(case.truth[u])), k, convention)
                    for u in evaluated
                ]
                suffix = "" if convention == "standard" else f"[{convention}]"
                for name in rule.metrics:
                    key = f"{name}{suffix}@{k}"
                    expected.setdefault(key, []).append(float(np.mean([e[name] for e in each])))
            slots = [i for u in evaluated for i in lists[u][:k]]
            counts = [slots.count(i) for i in range(case.truth.shape[1])]
            expected.setdefault(f"coverage@{k}", []).append(float(np.mean(np.array(counts) > 0)))
            expected.setdefault(f"gini@{k}", []).append(slow_gini(counts))
            for g in range(3):
                share = sum(group_of[i] == g for i in slots) / len(slots)
                expected.setdefault(f"share[{g}]@{k}", []).append(share)
    assert set(got.mean) == set(expected)
    for name, value in expected.items():
        assert got.mean[name].dtype == torch.float64
        np.testing.assert_allclose(got.mean[name].cpu(), value, atol=1e-12, err_msg=name)
    for name, of_users in got.per_user.items():
        assert of_users.shape == (3, len(evaluated))
        torch.testing.assert_close(of_users.mean(-1), got.mean[name])


def test_a_hundred_of_thousands_are_those_of_a_stable_sort(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """k = 100 of 5000 items in 50 levels, where every list ends within a tie; users in chunks."""
    for name in ("CHUNK_ON_CPU", "CHUNK_ON_GPU"):
        monkeypatch.setattr(ranking, name, 20 * 5000)
    case = Case(0, device, users=60, items=5000, levels=50, r=2)
    chunks: list[int] = []

    def score(users: torch.Tensor) -> torch.Tensor:
        chunks.append(len(users))
        return case.score(users)

    got = evaluate(score, *case.csr, k=(10, 100), conventions=("standard",))
    evaluated = np.flatnonzero(case.truth.any(axis=1))
    assert len(chunks) > 2 and sum(chunks) == len(evaluated) and max(chunks) == 10  # of two
    lists = recommend(case.score, got.users, case.csr[1], 100).cpu().numpy()
    expected: dict[str, list[float]] = {}
    for scores, listed in zip(case.scores, lists, strict=True):
        masked = np.where(case.seen, -np.inf, scores)[evaluated]
        order = np.argsort(-masked, axis=1, kind="stable")
        ends = np.take_along_axis(masked, order[:, 99:101], axis=1)
        assert (ends[:, 0] == ends[:, 1]).all(), "a list does not end within a tie: a weak test"
        best = order[:, :100]
        empty = np.take_along_axis(masked, best, axis=1) == -np.inf  # of the user with 4 candidates
        np.testing.assert_array_equal(listed, np.where(empty, -1, best))
        for k in (10, 100):
            each = [
                slow_metrics(
                    ranked[ranked >= 0].tolist(), set(np.flatnonzero(truth)), k, "standard"
                )
                for ranked, truth in zip(listed, case.truth[evaluated], strict=True)
            ]
            for name in CONVENTIONS["standard"].metrics:
                mean = float(np.mean([e[name] for e in each]))
                expected.setdefault(f"{name}@{k}", []).append(mean)
    for name, value in expected.items():
        np.testing.assert_allclose(got.mean[name].cpu(), value, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("n", [1, 5, 300, 1000, 1024])
@pytest.mark.parametrize("levels", [1, 2, 30, 300, 10**6])
def test_top_items_is_a_stable_sort(device: str, n: int, levels: int) -> None:
    rng = np.random.default_rng(n + levels)
    scores = np.floor(levels * rng.random((2, 9, n)))
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    scores[0, 0] = -np.inf
    scores[0, 1, 3:] = -np.inf
    scores[0, 2] = np.inf
    for k in (1, 2, 7):
        order = np.argsort(-scores, axis=-1, kind="stable")[..., :k]
        order = np.where(np.take_along_axis(scores, order, -1) == -np.inf, -1, order)
        order = np.pad(order, ((0, 0), (0, 0), (0, k - order.shape[-1])), constant_values=-1)
        for dtype in (torch.float64, torch.float32, torch.bfloat16):
            if dtype == torch.bfloat16 and levels > 30:
                continue  # rounding to bfloat16 would make other ties
            values = torch.tensor(scores, device=device, dtype=dtype)
            np.testing.assert_array_equal(top_items(values, k).cpu(), order)


@pytest.mark.parametrize("n, k", [(203, 3), (1001, 10), (5003, 20)])
def test_no_item_is_listed_twice(device: str, n: int, k: int) -> None:
    """Users with fewer than k candidates, the last item among them; by blocks, the last not full.

    Places past the end of the last block must not stand for its last item.
    """
    block = ranking.block_size(n, k)
    assert n > 2 * block * k and n % block, "one sort for all, or no block to fill up"
    rng = np.random.default_rng(n)
    scores = np.full((2, 40, n), -np.inf)
    for row in scores.reshape(-1, n):
        candidates = rng.choice(n - 1, rng.integers(0, k), replace=False)
        row[candidates] = rng.integers(-5, 5, len(candidates))
        row[-1] = rng.integers(-5, 5)
    order = np.argsort(-scores, axis=-1, kind="stable")[..., :k]
    expected = np.where(np.take_along_axis(scores, order, -1) == -np.inf, -1, order)
    values = torch.tensor(scores, device=device)
    np.testing.assert_array_equal(top_items(values, k).cpu(), expected)
    last = np.zeros((40, n))
    last[:, -1] = 1
    truth, seen = (CSR.from_scipy(sp.csr_matrix(x), device) for x in (last, np.zeros((40, n))))
    recall = evaluate(lambda users: values[:, users], truth, seen, k=(k,)).mean[f"recall@{k}"]
    assert recall.max() <= 1


def test_does_not_depend_on_chunks(device: str) -> None:
    case = Case(3, device, users=61, items=700, levels=50)
    whole = evaluate(case.score, *case.csr, k=(3, 20), conventions=tuple(CONVENTIONS))
    for size in (1, 7, 60, 1000):
        chunked = evaluate(
            case.score, *case.csr, k=(20, 3), conventions=tuple(CONVENTIONS), users_per_chunk=size
        )
        for name, value in whole.mean.items():
            assert torch.equal(chunked.mean[name], value), (name, size)


def test_chunks_stay_small(device: str) -> None:
    case = Case(4, device, users=50, r=2)
    asked: list[int] = []

    def score(users: torch.Tensor) -> torch.Tensor:
        asked.append(len(users))
        return case.table[:, users]

    evaluate(score, *case.csr, users_per_chunk=6)
    assert max(asked) == 6
    assert sum(asked) == case.truth.any(axis=1).sum()


def test_replicas_are_independent(device: str) -> None:
    case = Case(5, device, items=600, levels=9)
    together = evaluate(case.score, *case.csr).mean
    for r in range(3):
        table = case.table[r : r + 1]
        alone = evaluate(lambda users: table[:, users], *case.csr).mean  # noqa: B023
        for name, value in together.items():
            assert torch.equal(value[r : r + 1], alone[name]), name


@pytest.mark.parametrize("transform", [torch.exp, lambda s: 3 * s - 8, torch.arctan])
def test_only_the_order_of_scores_matters(
    device: str, transform: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    case = Case(6, device, levels=12)
    plain = evaluate(case.score, *case.csr).mean
    moved = evaluate(lambda users: transform(case.score(users) / 12), *case.csr).mean
    for name, value in plain.items():
        assert torch.equal(value, moved[name]), name


def test_naming_items_otherwise_changes_nothing_without_ties(device: str) -> None:
    case = Case(7, device, items=900)
    order = np.random.default_rng(0).permutation(900)
    csr = [CSR.from_scipy(sp.csr_matrix(m[:, order]), device) for m in (case.truth, case.seen)]
    index = torch.tensor(order, device=device)
    groups = torch.tensor(np.arange(900) % 4, device=device)
    plain = evaluate(case.score, *case.csr, item_groups=groups).mean
    moved = evaluate(lambda u: case.score(u)[..., index], *csr, item_groups=groups[index]).mean
    for name, value in plain.items():
        torch.testing.assert_close(value, moved[name], rtol=0, atol=1e-15)


def test_equal_to_trec_eval_ties_included(device: str) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    case = Case(8, device, levels=5, r=1)
    names = [f"{999 - i:03}" for i in range(case.truth.shape[1])]  # ties: larger name first there
    truth, run = {}, {}
    for u in np.flatnonzero(case.truth.any(axis=1)):
        truth[str(u)] = {names[i]: 1 for i in np.flatnonzero(case.truth[u])}
        run[str(u)] = {names[i]: float(case.scores[0, u, i]) for i in np.flatnonzero(~case.seen[u])}
    known = {"ndcg": "ndcg_cut", "recall": "recall", "precision": "P", "hit": "success"}
    known["map"] = "map_cut"
    measures = {f"{m}.{','.join(map(str, CUTS))}" for m in known.values()}
    result = pytrec_eval.RelevanceEvaluator(truth, measures | {"recip_rank"}).evaluate(run)
    got = evaluate(case.score, *case.csr, k=(*CUTS, 40), per_user=True)
    for j, u in enumerate(got.users.tolist()):
        for k in CUTS:
            for ours, theirs in known.items():
                value = got.per_user[f"{ours}@{k}"][0, j].item()
                assert value == pytest.approx(result[str(u)][f"{theirs}_{k}"], abs=1e-9), ours
        assert got.per_user["mrr@40"][0, j].item() == pytest.approx(result[str(u)]["recip_rank"])


@pytest.mark.parametrize("k", CUTS)
def test_ndcg_equals_scikit_learn_without_ties(device: str, k: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    case = Case(9, device, r=1)
    nothing = CSR.from_scipy(sp.csr_matrix(case.seen.shape), device)
    got = evaluate(case.score, case.csr[0], nothing, k=(k,)).mean[f"ndcg@{k}"]
    users = case.truth.any(axis=1)
    expected = metrics.ndcg_score(case.truth[users], case.scores[0][users], k=k)
    assert got.item() == pytest.approx(expected, abs=1e-12)


def test_eleven_counts_the_eleventh_position() -> None:
    hits = torch.zeros(2, 20, dtype=torch.bool)
    hits[0, 10] = hits[1, :11] = True
    values = ranking_metrics(hits, torch.tensor([1, 15]), convention="eleven")
    assert values["recall[eleven]@10"].tolist() == [1.0, 1.1]
    assert values["ndcg[eleven]@10"][0].item() == pytest.approx(1 / math.log2(12))
    assert values["ndcg[eleven]@10"][1].item() > 1
    truncated = ranking_metrics(hits, torch.tensor([1, 15]), convention="truncated")
    assert truncated["recall[truncated]@10"].tolist() == [0.0, 1.0]
    assert torch.equal(values["recall[eleven]@20"], truncated["recall[truncated]@20"])
    with pytest.raises(ValueError, match="hits: 10 positions, expected at least 11"):
        ranking_metrics(hits[:, :10], torch.tensor([1, 15]), k=(10,), convention="eleven")


def test_a_catalogue_of_ten_has_no_eleventh_position(device: str) -> None:
    case = Case(10, device, items=10)
    mean = evaluate(case.score, *case.csr, k=(10,), conventions=("truncated", "eleven")).mean
    assert torch.equal(mean["recall[eleven]@10"], mean["recall[truncated]@10"])


def test_seen_items_never_fill_empty_slots(device: str) -> None:
    seen = CSR.from_scipy(sp.csr_matrix([[1, 1, 1, 0], [1, 1, 1, 1]]), device)
    users = torch.tensor([1, 0], device=device)
    score = torch.ones(1, 2, 4, device=device)
    assert recommend(lambda u: score, users, seen, 3).tolist() == [[[-1, -1, -1], [3, -1, -1]]]
    metrics = catalogue_metrics(torch.full((2, 3, 4), -1, device=device), 5, k=(4,))
    assert metrics["coverage@4"].tolist() == [0.0, 0.0]
    assert metrics["gini@4"].isnan().all()


def test_no_users_have_empty_lists(device: str) -> None:
    case = Case(5, device, r=3)
    nobody = torch.empty(0, dtype=torch.long, device=device)
    lists = recommend(case.score, nobody, case.csr[1], np.int64(5))  # type: ignore[arg-type]
    assert lists.shape == (3, 0, 5) and lists.dtype == torch.long
    assert lists.device == nobody.device
    somebody = torch.arange(4, device=device)
    expected = recommend(case.score, somebody, case.csr[1], 5)
    assert torch.equal(recommend(case.score, somebody, case.csr[1], np.int64(5)), expected)  # type: ignore[arg-type]


def test_scores_are_left_as_they_were(device: str) -> None:
    case = Case(11, device, users=6, r=1)
    popularity = torch.arange(40.0, device=device)
    for table in (case.table, popularity.expand(4, 6, 40), popularity.expand(1, 6, 40)):
        before = table.clone()
        recommend(lambda _: table, torch.arange(6, device=device), case.csr[1], 5)  # noqa: B023
        assert torch.equal(table, before)


def test_gini_extremes() -> None:
    one_for_all = torch.zeros(1, 50, 1, dtype=torch.long)
    assert catalogue_metrics(one_for_all, 50, k=(1,))["gini@1"].item() == pytest.approx(0.98)
    one_each = torch.arange(50).view(1, 50, 1)
    assert catalogue_metrics(one_each, 50, k=(1,))["gini@1"].item() == pytest.approx(0.0)


def test_popularity_groups_of_equal_interactions(device: str) -> None:
    # mean 10; sorted 1 1 2 3 3 | 5 6 | 9: the first group reaches the mean exactly
    popularity = torch.tensor([3, 1, 9, 2, 1, 3, 5, 6], device=device)
    assert popularity_groups(popularity, 3).tolist() == [0, 0, 2, 0, 0, 0, 1, 1]
    rng = np.random.default_rng(0)
    for n_groups in (1, 2, 5):
        counts = torch.tensor(rng.zipf(1.8, 500).clip(max=60), device=device)
        counts[:20] = 0
        assert popularity_groups(counts, n_groups).tolist() == slow_groups(counts, n_groups)


def slow_groups(popularity: torch.Tensor, n_groups: int) -> list[int]:
    counts = popularity.tolist()
    group, total, result = 0, 0, [0] * len(counts)
    for item in sorted(range(len(counts)), key=lambda i: (counts[i], i)):
        result[item] = group
        total += counts[item]
        if total >= sum(counts) / n_groups and group < n_groups - 1:
            group, total = group + 1, 0
    return result


def test_popularity_groups_of_equal_items(device: str) -> None:
    popularity = torch.tensor([5, 0, 7, 7, 1, 2, 9], device=device)
    assert popularity_groups(popularity, 3, "equal-items").tolist() == [1, 0, 1, 2, 0, 0, 2]


def test_bad_arguments() -> None:
    case = Case(12, "cpu")
    truth, seen = case.csr
    empty = CSR.from_scipy(sp.csr_matrix(case.truth.shape))
    bad: list[tuple[str, Callable[[], object]]] = [
        (r"k: \(0,\)", lambda: evaluate(case.score, truth, seen, k=(0,))),
        (r"k: \(\)", lambda: evaluate(case.score, truth, seen, k=())),
        (r"k: 10,", lambda: evaluate(case.score, truth, seen, k=10)),  # type: ignore[arg-type]
        (r"k: \(1.5,\)", lambda: evaluate(case.score, truth, seen, k=(1.5,))),  # type: ignore
        ("k: 41, expected at most", lambda: evaluate(case.score, truth, seen, k=(41,))),
        ("conventions: 'x'", lambda: evaluate(case.score, truth, seen, conventions=("x",))),
        ("users_per_chunk: 0", lambda: evaluate(case.score, truth, seen, users_per_chunk=0)),
        ("k: 5, expected at most the length of lists, 4",
         lambda: catalogue_metrics(torch.zeros(1, 3, 4, dtype=torch.int64), 40, k=(5,))),
        ("item_groups: shape", lambda: evaluate(case.score, truth, seen,
                                                item_groups=torch.zeros(40, dtype=torch.bool))),
        ("truth: holds no pairs", lambda: evaluate(case.score, empty, seen)),
        ("seen: shape", lambda: evaluate(case.score, truth, CSR.from_scipy(sp.csr_matrix((2, 2))))),
        ("score: gave", lambda: evaluate(lambda u: case.score(u)[0], truth, seen)),
        ("score: gave", lambda: evaluate(lambda u: case.score(u).long(), truth, seen)),
        ("gave a ndarray", lambda: evaluate(lambda u: case.score(u).cpu().numpy(), truth, seen)),
        ("scores: hold NaN", lambda: evaluate(lambda u: case.score(u) * torch.nan, truth, seen)),
        ("k is 0: expected an integer", lambda: recommend(case.score, torch.arange(3), seen, 0)),
        ("k is 0: expected an integer", lambda: top_items(torch.zeros(3), 0)),
        ("item_groups", lambda: evaluate(case.score, truth, seen, item_groups=torch.zeros(3))),
        ("positives", lambda: ranking_metrics(torch.ones(1, 20) > 0, torch.tensor([0]))),
        ("popularity", lambda: popularity_groups(torch.tensor([0.5, 1.0]))),
        ("popularity", lambda: popularity_groups(torch.tensor([-1, 1]))),
        ("n_groups: 3", lambda: popularity_groups(torch.tensor([1, 1]), 3)),
        ("n_groups: 2", lambda: popularity_groups(torch.tensor([1, 1, 9]), 2)),
        ("rule: 'x'", lambda: popularity_groups(torch.tensor([1, 1]), 2, rule="x")),
    ]
    for message, call in bad:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("n", [40, 5000])
def test_one_nan_in_a_large_row_is_found(n: int) -> None:
    scores = torch.rand(2, 3, n)
    scores[1, 2, n - 1] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        top_items(scores, 10)
