"""What chapter 11 measures, against slow references written from the formulas."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import sparse, stats

from specrec_core import (
    datasets,
    part4_uses,
    spikes,
    study_ranking,
    study_spikes,
    study_uses,
    use_claims,
)
from specrec_core.evaluation import evaluate
from specrec_core.factorisation import truncated_svd
from specrec_core.interactions import CSR
from specrec_core.item_metrics import head_and_tail, restricted, spike_metrics
from specrec_core.ppmi import ppmi
from specrec_core.studies import PLANTED


def some_table(n: int = 120, f: int = 6, seed: int = 0) -> np.ndarray:
    """Five noisy rays with norms of a long tail."""
    draw = np.random.default_rng(seed)
    rays = np.linalg.qr(draw.standard_normal((f, f)))[0][:5]
    length = draw.pareto(2.5, n) + 0.2
    return length[:, None] * rays[draw.integers(0, 5, n)] + 0.05 * draw.standard_normal((n, f))


def planted_matrix(labels, theta, blocks):
    return np.outer(theta, theta) * blocks[np.ix_(labels, labels)]


# ------------------------------------------------------------------------------- the propositions


@pytest.mark.theorem("prop-row-sums")
def test_row_sums_are_the_best_linear_reading(theorem_cases):
    draw = np.random.default_rng(0)
    for n, f in itertools.product((6, 15, 40), (1, 3, 5)):
        for _ in range(10):
            matrix = draw.standard_normal((n, n))
            matrix = matrix + matrix.T
            svd = truncated_svd(matrix, f, method="arpack")
            table, degree, read = svd.embedding(), matrix.sum(1), svd.row_sums()
            # (a) they are the least-squares fit of the true sums by the columns of E
            fit = table @ np.linalg.lstsq(table, degree, rcond=None)[0]
            np.testing.assert_allclose(read, fit, atol=1e-8 * np.abs(matrix).sum())
            rest = np.linalg.svd(matrix, compute_uv=False)[f]
            assert np.linalg.norm(read - degree) <= rest * np.sqrt(n) * (1 + 1e-9)
            wider = truncated_svd(matrix, f + 1, method="arpack") if f + 1 < n else svd
            missed = np.linalg.norm(wider.row_sums() - degree)
            assert missed <= np.linalg.norm(read - degree) * (1 + 1e-9)
            # (b) from E alone, where no eigenvalue is negative
            psd = matrix @ matrix
            svd = truncated_svd(psd, f, method="arpack")
            alone = study_uses.sums_from_table(svd.embedding())
            np.testing.assert_allclose(alone, svd.row_sums(), atol=1e-8 * np.abs(psd).sum())
            # (c) a block model: exact, while norms need the factor of their community
            labels = np.concatenate([np.arange(3), draw.integers(0, 3, n - 3)])
            blocks = draw.random((3, 3)) + 0.1
            planted = planted_matrix(labels, draw.random(n) + 0.1, blocks + blocks.T)
            rank = int(np.linalg.matrix_rank(planted))
            svd = truncated_svd(planted, rank, method="arpack")
            np.testing.assert_allclose(svd.row_sums(), planted.sum(1), rtol=1e-7)
            ratio = np.linalg.norm(svd.embedding(), axis=1) / planted.sum(1)
            for k in range(3):
                assert np.ptp(ratio[labels == k]) < 1e-8
            theorem_cases.count()


@pytest.mark.theorem("prop-lists")
def test_the_members_of_a_ray_have_the_same_lists(theorem_cases):
    draw = np.random.default_rng(1)
    for n, f, power, _ in itertools.product((20, 60), (3, 6), (0.0, 0.25, 0.5, 1.0), range(5)):
        table = draw.standard_normal((n, f))
        ray = draw.permutation(n)[: n // 3]
        lengths = draw.random(len(ray)) * 3 + 0.1
        table[ray] = lengths[:, None] * draw.standard_normal(f)
        norms = np.linalg.norm(table, axis=1)
        scores = table @ (table / norms[:, None] * norms[:, None] ** power).T
        orders = [np.argsort(-np.round(scores[i] / norms[i], 9), kind="stable") for i in ray]
        assert all((order == orders[0]).all() for order in orders)
        inside = [j for j in orders[0] if j in set(ray)]
        if power:
            assert (np.diff(norms[inside]) <= 1e-9).all()
            cosine = table @ table[ray[0]] / (norms * norms[ray[0]])
            for j in set(range(n)) - set(ray):
                before = scores[ray[0], j] > scores[ray[0], ray]
                long = cosine[j] > 0 and norms[j] > cosine[j] ** (-1 / power) * norms[ray]
                assert (before == long).all()
        else:
            assert set(orders[0][: len(ray)]) == set(ray)
        theorem_cases.count()


# ------------------------------------------------------------------------------------- the studies


def test_degree_is_measured_as_defined():
    found = study_uses.degree(dataset="synthetic", seed=0, progress=False, dimensions=(4, 8),
                              inside=8).metrics  # fmt: skip
    pairs = study_spikes.rows("synthetic")
    graph = ppmi(pairs.contexts, pairs.items)
    dense = graph.matrix.toarray()
    u, s, vt = np.linalg.svd(dense)
    for f in (4, 8):
        norms = np.sqrt(((u[:, :f] * s[:f]) ** 2).sum(1))
        sums = (u[:, :f] * s[:f]) @ vt[:f].sum(1)
        for name, value in (("norm", norms), ("row sums", sums)):
            expected = stats.spearmanr(value, dense.sum(1)).statistic
            assert found[f"{name} against strength, f={f}"] == pytest.approx(expected, abs=1e-2)
            scaled = value * dense.sum() / value.sum()
            error = np.median(np.abs(scaled / dense.sum(1) - 1))
            assert found[f"error of {name}, f={f}"] == pytest.approx(error, abs=1e-2)
    expected = stats.spearmanr(norms, graph.popularity).statistic
    assert found["norm against popularity, f=8"] == pytest.approx(expected, abs=2e-2)


def test_inside_and_across_spikes():
    # Two spikes: norms grow with strength inside each, and shrink from one to the other.
    length = np.arange(1.0, 13.0)
    table = np.zeros((24, 2))
    table[:12, 0], table[12:, 1] = length, length + 5
    strength = np.concatenate([length + 100, length])
    norms = np.linalg.norm(table, axis=1)
    found = study_uses._inside_and_across(table, {"norm": norms, "row sums": strength}, strength)
    assert found["large spikes"] == 2
    assert found["norm inside spikes"] == pytest.approx(1)
    assert found["norm across spikes"] == pytest.approx(-1)
    assert found["row sums across spikes"] == pytest.approx(1)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_nearest_items_are_those_of_the_formula(power):
    table = some_table()
    table[7] = 0
    rows = torch.tensor([0, 3, 50])
    norms = np.linalg.norm(table, axis=1)
    for i, best in zip(rows.tolist(), study_uses.nearest(torch.from_numpy(table), rows, 9, power),
                       strict=True):  # fmt: skip
        score = [
            -np.inf if j == i else 0.0 if norms[j] == 0
            else table[i] @ table[j] / norms[i] / norms[j] * norms[j] ** power
            for j in range(len(table))
        ]  # fmt: skip
        assert set(best.tolist()) == set(np.argsort(score)[-9:].tolist())


def test_overlap_counts_common_items():
    one = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8]])
    two = torch.tensor([[4, 9, 2, 0], [8, 7, 6, 5]])
    assert study_uses.overlap(one, two).tolist() == [0.5, 1.0]


def test_percentiles_count_ties_by_half():
    found = study_uses._percentile(np.array([3, 1, 3, 9]))
    assert found.tolist() == [0.5, 0.125, 0.5, 0.875]


def test_lists_of_a_table_without_choice():
    found = study_uses.lists(dataset="synthetic", seed=0, progress=False, f=8, k=5, queries=40,
                             groups=3).metrics  # fmt: skip
    assert 0 < found["listed by cosine"] <= 1
    for g in range(3):
        assert 0 <= found[f"lists in common, group {g}"] <= 1
    # All items but the query: both lists hold everything, half as popular as the rest on average.
    n = len(study_uses.graph_of("synthetic").items)
    every = study_uses.lists(dataset="synthetic", seed=0, progress=False, f=8, k=n - 1,
                             queries=40, groups=3).metrics  # fmt: skip
    assert every["lists in common, group 0"] == pytest.approx(1)
    assert every["popularity of dot lists, group 2"] == pytest.approx(0.5, abs=0.01)
    assert every["listed by dot"] == 1


def test_only_queries_in_a_spike_are_asked_for_their_spike():
    found = study_uses.lists(
        dataset="synthetic", seed=0, progress=False, f=16, k=5, queries=10**6, groups=2
    ).metrics
    table = truncated_svd(study_uses.graph_of("synthetic").matrix, 16, seed=0).embedding()
    table = torch.from_numpy(table)
    labels, group = spikes.members(table, spikes.peaks(table)), spikes.norm_groups(table, 2)
    assert (labels < 0).any()
    for g in range(2):
        rows = ((group == g) & (labels >= 0)).nonzero().squeeze(1)
        same = labels[study_uses.nearest(table, rows, 5, 0.0)] == labels[rows].unsqueeze(1)
        share = found[f"same spike in cosine lists, group {g}"]
        assert share == pytest.approx(same.double().mean().item())


def test_the_elbow_is_before_the_steepest_rise():
    assert study_uses.elbow((8, 16, 32, 64), (0.01, 0.02, 0.4, 0.5)) == 16
    assert study_uses.elbow((2, 3, 64), (0.01, 0.02, 0.04)) == 2  # steep for the short way
    for bad in (((8,), (0.1,)), ((8, 8), (0.1, 0.2)), ((8, 16), (0.0, 0.2))):
        with pytest.raises(ValueError, match="dimensions"):
            study_uses.elbow(*bad)
    assert study_uses.within_dimensions((2, 4, 8), (0.02, 0.04, 0.09), 100) == 4
    assert study_uses.within_dimensions((2, 4), (0.5, 0.5), 100) == 0


def test_growth_of_a_planted_graph():
    settings = dict(dataset=PLANTED, progress=False, communities=4, degree=40.0,
                    dimensions=(2, 4, 8, 32), n=500, law="pareto")  # fmt: skip
    one = study_uses.planted_growth(seed=1, **settings)
    assert one == study_uses.planted_growth(seed=1, **settings)
    assert one.curves["purity"][1] > 0.95 > one.curves["purity"][0]
    assert one.metrics["elbow over K"] * 4 == one.metrics["elbow"]
    assert one.curves["spk"][-1] > 5 * one.curves["spk"][1]


def test_stability_uses_nested_parts_and_says_what_the_library_says():
    settings = dict(dataset="synthetic", seed=3, progress=False, f=8, reference=50,
                    shares=(50, 100), k=(5, 20), queries=30, groups=3)  # fmt: skip
    found = study_uses.stability(**settings)
    assert found.curves["share"] == [50, 100]
    # The reference against itself: everything is common.
    assert found.curves["overlap dot group k=5"][0] == [1.0, 1.0, 1.0]
    assert max(found.curves["overlap dot group k=5"][1]) < 1
    assert (
        found.metrics["dot all k=20 group=1 share=100"]
        == (found.curves["overlap dot all k=20"][1][1])
    )


def test_item_item_scores_are_sums_over_the_history():
    data = datasets.load("synthetic")
    draw = np.random.default_rng(0)
    codes = np.sort(draw.choice(data.n_items, 50, replace=False))
    directions, weight = draw.standard_normal((50, 4)), draw.random(50)
    score = study_ranking.similar_items(data, codes, directions, weight)(torch.tensor([3, 8]))[0]
    for row, user in zip(score.numpy(), (3, 8), strict=True):
        expected = np.zeros(data.n_items)
        for i in data.train[user].indices:
            if i in codes:
                at = int(np.flatnonzero(codes == i)[0])
                expected[codes] += directions @ directions[at] * weight
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_snapping_moves_weak_members_towards_the_peak_and_nothing_else():
    table = some_table()
    greedy = spikes.peaks(table)
    labels = spikes.members(torch.from_numpy(table), greedy).numpy()
    made = study_ranking.snapped(table, greedy, 0.7)
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1)
    median = np.median(np.linalg.norm(table, axis=1))
    for i, label in enumerate(labels):
        e = table[i]
        expected = e / np.linalg.norm(e)
        if label >= 0:
            p = table[greedy.peaks[label]]
            w = 1 / (1 + np.linalg.norm(e) / (0.7 * median))
            expected = (1 - w) * expected + w * p / np.linalg.norm(p)
            expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(made[i], expected, atol=1e-12)
    assert (labels < 0).any() and (labels >= 0).any()


def test_ranking_keeps_the_best_choice_on_validation():
    powers = (0.0, -0.25)
    found = study_ranking.ranking(
        dataset="synthetic", seed=0, progress=False, dimensions=(4, 16), powers=powers,
        shrinkage=(0.5,),
    )  # fmt: skip
    best = {}
    for power in powers:
        name = f"γ={power:g}"
        curve = found.curves[f"validation {name}"]
        best[power] = max(curve)
        assert found.metrics[f"{name}, validation ndcg@20"] == max(curve)
        assert found.metrics[f"{name}, f"] == (4, 16)[int(np.argmax(curve))]
        assert found.metrics[f"{name} snapped, t"] == 0.5
        assert found.metrics[f"{name}, t"] == 0
    assert found.metrics["γ chosen, power"] == max(best, key=best.get)
    assert found.metrics["γ chosen, validation ndcg@20"] == max(best.values())
    assert found.metrics["popularity, share[0]@10"] < 0.5


def test_what_is_tested_is_recommended_among_items_of_neither_train_nor_validation():
    data = datasets.load("synthetic")
    score = study_ranking._by_popularity(data)
    found = study_ranking._tested(data, "popularity", score)
    truth, seen = data.csr("test"), data.csr("train+validation")
    expected = evaluate(score, truth, seen, k=(10, 20)).mean
    expected |= head_and_tail(score, truth, seen, data.item_popularity, k=(10, 20))
    for name in ("ndcg@10", "recall@20", "coverage@20", "recall[tail]@10", "ndcg[head]@20"):
        assert found[f"popularity, {name}"] == expected[name].item(), name


def test_rows_that_are_zero_but_for_rounding_score_nothing():
    table = some_table()
    table[5] *= 1e-13
    assert not study_ranking._directions(table)[5].any()
    data = datasets.load("synthetic")
    graph = ppmi(*data.train.nonzero())
    items = np.zeros((len(graph.items), 6))
    items[:120] = table
    for _, _, score in study_ranking._scores(data, graph, items, spikes.peaks(items), (-0.25,), ()):
        scores = score(torch.arange(50))[0]
        assert torch.isfinite(scores).all()
        assert (scores[:, graph.items[5]] == 0).all()


@pytest.mark.parametrize("method", ["svd of ppmi", "svd of counts", "random"])
def test_tables_are_those_of_the_training_pairs(method):
    data = datasets.load("synthetic")
    table = study_ranking._table(method, data, 8, 0, 1, 5)
    assert table.shape == (data.n_items, 8)
    if method == "svd of counts":
        s = np.linalg.svd(data.train.toarray(), compute_uv=False)
        np.testing.assert_allclose(np.linalg.norm(table, axis=0), s[:8], rtol=1e-3)
    if method == "svd of ppmi":
        graph = ppmi(*data.train.nonzero())
        assert set(np.flatnonzero(np.abs(table).sum(1))) == set(graph.items.tolist())
    with pytest.raises(ValueError, match="method"):
        study_ranking.table(dataset="synthetic", seed=0, progress=False, method="x", f=8,
                            epochs=1, window=5)  # fmt: skip


# ------------------------------------------------------------------------------------ item metrics


def test_spike_metrics_of_two_replicas(device):
    tables = torch.from_numpy(np.stack([some_table(seed=1), some_table(seed=2)])).to(device)
    popularity = np.random.default_rng(0).integers(0, 12, 120)
    found = spike_metrics(tables, popularity)
    for r, table in enumerate(tables.cpu().numpy()):
        for name, least in (("items", 1), ("frequent items", 5)):
            kept = table[popularity >= least]
            assert found[f"spk of {name}"][r] == pytest.approx(100 * spikes.spk(kept))
            norms = np.linalg.norm(kept, axis=1)
            expected = stats.spearmanr(norms, popularity[popularity >= least]).statistic
            assert found[f"norm against popularity of {name}"][r] == pytest.approx(expected)
        mean = kept.mean(0)
        share = len(kept) * mean @ mean / (kept**2).sum()
        assert found["energy in the mean of frequent items"][r] == pytest.approx(share)
    with pytest.raises(ValueError, match="popularity"):
        spike_metrics(tables, popularity[1:])
    nothing = spike_metrics(torch.zeros(1, 120, 6), popularity)
    assert all(np.isnan(values).all() for values in nothing.values())


def test_head_and_tail_by_hand():
    # Items 0 and 1 hold half of the 12 interactions: the head.
    popularity = np.array([3, 3, 2, 2, 1, 1])
    score = torch.tensor([[[6.0, 5, 4, 3, 2, 1], [1.0, 2, 3, 4, 5, 6]]])
    truth = CSR.from_scipy(sparse.csr_matrix([[1, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0]]))
    seen = CSR.from_scipy(sparse.csr_matrix(([], ([], [])), shape=(2, 6)))
    found = head_and_tail(lambda users: score[:, users], truth, seen, popularity, k=(2, 4))
    # User 0 ranks 0 1 2 3: the head item first, the tail item fourth. User 1 ranks 5 4 3 2: misses
    # the head item, and has no tail item.
    assert found["recall[head]@2"].item() == 0.5
    assert found["ndcg[head]@4"].item() == 0.5
    assert found["recall[tail]@2"].item() == 0
    assert found["ndcg[tail]@4"].item() == pytest.approx(1 / np.log2(5))
    part = restricted(truth, torch.tensor([False, True, True, True, False, False]))
    assert part.rows().tolist() == [0, 1] and part.indices.tolist() == [3, 1]


# --------------------------------------------------------------------------------------- catalogue


def test_every_choice_is_one_of_its_grid():
    for (model, name), chosen in part4_uses.CHOSEN.items():
        assert 0 <= chosen < len(part4_uses.GRIDS[model])
        assert name in part4_uses.TRAINED


def test_versions_are_those_at_hand():
    for name, version in part4_uses.VERSIONS.items():
        assert datasets.version(name) == version


def fake(metrics, **history):
    return SimpleNamespace(metrics=metrics, history=history)


def test_claims_fall_as_the_records_say():
    both = {"norm against strength, f=64": [0.9, 0.9]}
    one = {"norm against strength, f=64": [0.8, 0.9]}
    assert use_claims.tracks("strength", 0.86)({"degree a": fake(both)})[0]
    assert not use_claims.tracks("strength", 0.86)({"degree a": fake(both), "b": fake(one)})[0]

    found = {"elbow": [8.0], "elbow over K": [1.5]}
    assert use_claims.elbow_finds_communities({"planted K=5": fake(found)})[0]
    found = {"elbow": [8.0, 8.0], "elbow over K": [1.5, 1.6]}
    assert not use_claims.elbow_finds_communities({"planted K=5": fake(found)})[0]

    curves = {"f": [[8, 16]], "validation γ=0": [[0.99, 1.0]], "validation γ=1": [[1.0, 0.9]]}
    assert use_claims.elbow_is_accurate({"r a": fake({"elbow": [8.0]}, **curves)})[0]
    assert not use_claims.elbow_is_accurate({"r a": fake({"elbow": [16.0]}, **curves)})[0]

    chosen = {"γ chosen, ndcg@20": [0.3], "γ=0, ndcg@20": [0.2], "γ=1, ndcg@20": [0.25],
              "γ chosen, power": [0.5]}  # fmt: skip
    assert use_claims.between_is_better({"r a": fake(chosen)}) == (True, "a: γ = 0.5")
    assert not use_claims.between_is_better({"r a": fake(chosen | {"γ=1, ndcg@20": [0.3]})})[0]

    spk = {"svd a": fake({"spk of frequent items": [1.0]}),
           "bpr a": fake({"spk of frequent items": [2.0]})}  # fmt: skip
    assert use_claims.spikier("svd a", ["bpr a"])(spk)[0]
    assert not use_claims.spikier("bpr a", ["svd a"])(spk)[0]

    grid = {"tuning bpr a x": fake({"validation ndcg@20": [0.1]}),
            "tuning bpr a y": fake({"validation ndcg@20": [0.2]})}  # fmt: skip
    assert use_claims.best_of_grids({("bpr", "a"): "tuning bpr a y"})(grid)[0]
    assert not use_claims.best_of_grids({("bpr", "a"): "tuning bpr a x"})(grid)[0]


def test_claims_about_norms_and_lists_can_fail():
    known = {f"{which} against strength, f={f}": [value] for f in use_claims.DIMENSIONS
             for which, value in (("row sums", 0.9), ("norm", 0.8))}  # fmt: skip
    assert use_claims.sums_beat_norms({"degree a": fake(known)})[0]
    equal = fake(known | {"norm against strength, f=8": [0.9]})
    holds, said = use_claims.sums_beat_norms({"degree a": fake(known), "degree b": equal})
    assert not holds and said == "9 of 10; not in b, f = 8"
    lists = {f"popularity of {name} lists, group {g}": [value] for g in range(use_claims.GROUPS)
             for name, value in (("dot", 0.7), ("cosine", 0.6))}  # fmt: skip
    assert use_claims.dot_is_more_popular({"lists a": fake(lists)})[0]
    one = fake(lists | {"popularity of dot lists, group 3": [0.5]})
    assert not use_claims.dot_is_more_popular({"lists a": fake(lists), "lists b": one})[0]
    better = {name: [value] for power in use_claims.POWERS for name, value in (
        (f"{power} snapped, ndcg[tail]@20", 0.11), (f"{power}, ndcg[tail]@20", 0.1))}  # fmt: skip
    assert use_claims.snapping_helps_the_tail({"ranking a": fake(better)})[0]
    worse = fake(better | {"γ=0.25 snapped, ndcg[tail]@20": [0.09]})
    assert not use_claims.snapping_helps_the_tail({"r a": fake(better), "r b": worse})[0]


def test_claims_about_stability_are_of_the_groups_of_norms():
    names = "{} {} k={} group={} share=100"
    found = {
        names.format(similarity, candidates, k, g): [0.5 + 0.1 * g]
        for similarity in ("cosine", "dot") for candidates in ("group", "all")
        for k in (10, 100, 500) for g in range(use_claims.GROUPS)
    }  # fmt: skip
    stable, less = use_claims.high_norms_are_stable, use_claims.low_norms_are_less_stable
    assert stable({"a": fake(found)})[0] and less({"a": fake(found)})[0]
    high = names.format("dot", "group", 500, use_claims.GROUPS - 1)
    assert not stable({"a": fake(found | {high: [0.79]})})[0]
    low = names.format("cosine", "all", 10, 0)
    assert not less({"a": fake(found | {low: [0.91]})})[0]
