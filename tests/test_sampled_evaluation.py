"""Sampled evaluation against an exhaustive reference that ranks one user at a time."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from specrec_core import synthetic
from specrec_core.evaluation import evaluate
from specrec_core.interactions import CSR
from specrec_core.models import MF, generator
from specrec_core.neural import NeuMF
from specrec_core.sampled_evaluation import SampledEvaluation, among
from specrec_core.training import fit


def made(n_users=40, n_items=60, seed=0, device="cpu"):
    draw = np.random.default_rng(seed)
    kind = draw.choice(3, p=[0.8, 0.15, 0.05], size=(n_users, n_items))
    kind[0] = 1  # has seen everything and is not tested
    kind[1][kind[1] == 2] = 0  # no truth
    matrices = [sp.csr_matrix((kind == k).astype(np.float32)) for k in (2, 1)]
    truth, seen = (CSR.from_scipy(m, device) for m in matrices)
    scores = torch.tensor(draw.integers(0, 12, size=(2, n_users, n_items)) / 4.0, device=device)
    return truth, seen, scores  # with many ties


def exhaustive(scores, truth, candidates, k):
    """Metrics of one replica, written from the definitions."""
    found = {name: [] for name in ("ndcg", "recall", "precision", "hit", "mrr", "map")}
    for user in range(truth.shape[0]):
        positives = set(truth.indices[truth.offsets[user] : truth.offsets[user + 1]].tolist())
        if not positives:
            continue
        own = candidates.indices[candidates.offsets[user] : candidates.offsets[user + 1]].tolist()
        order = sorted(own, key=lambda i: (-scores[user, i].item(), i))[:k]
        hits = [i in positives for i in order]
        gains = [1 / np.log2(j + 2) for j, hit in enumerate(hits) if hit]
        ideal = sum(1 / np.log2(j + 2) for j in range(min(k, len(positives))))
        found["ndcg"].append(sum(gains) / ideal)
        found["recall"].append(sum(hits) / len(positives))
        found["precision"].append(sum(hits) / k)
        found["hit"].append(float(any(hits)))
        found["mrr"].append(1 / (hits.index(True) + 1) if any(hits) else 0.0)
        precise = [sum(hits[: j + 1]) / (j + 1) for j, hit in enumerate(hits) if hit]
        found["map"].append(sum(precise) / len(positives))
    return {f"{name}@{k}": np.mean(values) for name, values in found.items()}


@pytest.mark.parametrize("negatives", [1, 4, 100])
def test_metrics_are_the_exhaustive_ones(negatives, device):
    truth, seen, scores = made(device=device)
    sampled = SampledEvaluation(truth, seen, negatives)
    streams = [[generator(s, "draws", device) for s in (0, 1)] for _ in range(2)]
    candidates = sampled.draw(streams[0])
    got = sampled.evaluate(lambda u: scores[:, u], streams[1], k=(3, 10)).mean
    for r in range(2):
        for k in (3, 10):
            expected = exhaustive(scores[r].cpu(), truth.to("cpu"), candidates[r].to("cpu"), k)
            for name, value in expected.items():
                assert got[name][r].item() == pytest.approx(value, rel=1e-12), name


def test_candidates_are_the_truth_and_what_the_user_never_met(device):
    truth, seen, _ = made(device=device)
    drawn = SampledEvaluation(truth, seen, 5).draw([generator(0, "draws", device)])[0]
    for user in range(truth.shape[0]):
        rows = [
            set(m.indices[m.offsets[user] : m.offsets[user + 1]].tolist())
            for m in (truth, seen, drawn)
        ]
        positives, known, candidates = rows
        assert positives <= candidates and not (candidates - positives) & known
        assert len(candidates) <= 6 * len(positives)
        assert bool(candidates) == bool(positives)


def test_draws_are_uniform_over_unmet_items_with_replacement(device):
    """How often an item is among the candidates is 1 − (1 − 1/m)^draws, for m items to draw."""
    one = np.zeros((2000, 20), dtype=np.float32)
    one[:, 0] = 1
    truth = CSR.from_scipy(sp.csr_matrix(one), device)
    seen = CSR(truth.offsets.clone().zero_(), truth.indices[:0], truth.shape)
    sampled = SampledEvaluation(truth, seen, 7)
    drawn = sampled.draw([generator(0, "draws", device)])[0]
    counts = torch.bincount(drawn.indices, minlength=20)[1:].double()
    expected = 1 - (1 - 1 / 19) ** 7
    assert (counts / 2000 - expected).abs().max() < 5 * (expected * (1 - expected) / 2000) ** 0.5


def test_with_enough_draws_it_is_the_evaluation_among_all_items(device):
    truth, seen, scores = made(device=device)

    def score(users):
        return scores[:, users]

    got = SampledEvaluation(truth, seen, 5000).evaluate(
        score, [generator(s, "draws", device) for s in (0, 1)], k=(5,)
    )
    expected = evaluate(score, truth, seen, k=(5,))
    for name, value in expected.mean.items():
        if not name.startswith(("coverage", "gini")):
            torch.testing.assert_close(got.mean[name], value)
    assert got.users_without_truth == expected.users_without_truth


def test_training_selects_on_the_sampled_metric(device):
    data = synthetic.dcbm(n_users=120, n_items=90, n_communities=3, mean_degree=12.0, seed=1)
    settings = dict(learning_rate=0.02, epochs=6, candidates=10, progress=False)
    values = {}
    for redraw in (False, True):
        model = MF(120, 90, 6, seeds=(1, 4), dtype=torch.float64).to(device)
        history = fit(model, data, redraw=redraw, **settings)
        values[redraw] = history.values["validation ndcg@10"]
        alone = MF(120, 90, 6, seeds=(4,), dtype=torch.float64).to(device)
        own = fit(alone, data, redraw=redraw, **settings)
        np.testing.assert_allclose(own.values["validation ndcg@10"][0], values[redraw][1])
        if redraw:
            continue
        sampled = SampledEvaluation(data.csr("validation", device), data.csr("train", device), 10)
        streams = [generator(s, "candidates validation", device) for s in (1, 4)]
        best = sampled.evaluate(model.scorer(), streams, k=(10,)).mean["ndcg@10"]
        assert best.tolist() == pytest.approx([max(series) for series in values[False]])
    assert values[True][0] != values[False][0]
    full = fit(
        MF(120, 90, 6, seeds=(1,), dtype=torch.float64).to(device), data, learning_rate=0.02,
        epochs=6, progress=False,
    )  # fmt: skip
    assert max(full.values["validation ndcg@10"][0]) < max(values[False][0])


def test_bad_arguments_are_named():
    truth, seen, scores = made()
    with pytest.raises(ValueError, match="negatives is 0"):
        SampledEvaluation(truth, seen, 0)
    with pytest.raises(ValueError, match="seen: shape"):
        SampledEvaluation(truth, CSR(seen.offsets, seen.indices, (40, 61)), 1)
    drawn = SampledEvaluation(truth, seen, 1).draw([generator(0, "draws")])
    with pytest.raises(ValueError, match="streams: 1"):
        among(lambda u: scores[:, u], drawn)(torch.arange(3))
    network = NeuMF(*truth.shape, 4, seeds=(0, 1)).scorer()
    with pytest.raises(ValueError, match="streams: 1"):
        among(network, drawn)(torch.arange(3))


def test_no_truth_item_is_drawn_for_another(device):
    """Who has met all items but two, one of them in the truth, always has the other drawn."""
    met, wanted = np.ones((50, 8), dtype=np.float32), np.zeros((50, 8), dtype=np.float32)
    met[:, :2], wanted[:, 0] = 0, 1
    truth, seen = (CSR.from_scipy(sp.csr_matrix(m), device) for m in (wanted, met))
    (drawn,) = SampledEvaluation(truth, seen, 1).draw([generator(0, "draws", device)])
    assert drawn.indices.tolist() == [0, 1] * 50
