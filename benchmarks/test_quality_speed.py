"""Validation NDCG@20 against processor seconds of training: ``make bench PEERS=1 QUALITY=1``.

What a test finds is written when all of them have ended: ``ONLY=gowalla`` or ``ONLY=PyG`` does some
of them, into a file of their own.
"""

import time

import pytest
from epochs import BATCH, PEERS, versions

from specrec_core.evaluation import evaluate
from specrec_core.speed import QUALITY

GRID = {  # rates and L2 strengths: each with each
    ("BPR-MF", "specrec"): ((1e-3, 3e-3), (1e-3, 1e-2)),
    ("BPR-MF", "RecBole"): ((1e-3,), (1e-3,)),
    ("BPR-MF", "implicit"): ((0.01, 0.05), (0.01, 0.03)),
    ("BPR-MF", "cornac"): ((0.01, 0.05), (0.001, 0.01)),
    ("LightGCN", "specrec"): ((1e-3,), (1e-4,)),
    ("LightGCN", "RecBole"): ((1e-3,), (1e-4,)),
    ("LightGCN", "PyG"): ((1e-3,), (1e-4,)),
}
EVERY = {"implicit": 25, "cornac": 10, "PyG": 1}  # epochs between evaluations; two but for these
LIMIT = {  # processor seconds of training for a setting; of LightGCN a peer's epoch is ten of ours
    "BPR-MF": {"implicit": 300, "cornac": 600, "specrec": 600, "RecBole": 600},
    "LightGCN": {"specrec": 3600, "RecBole": 1800, "PyG": 1800},
}
PATIENCE = 30  # epochs without progress, and at least five evaluations


@pytest.mark.parametrize(
    ("model", "peer"), [(model, by) for model, libraries in QUALITY.items() for by in libraries]
)
@pytest.mark.parametrize("name", ["ml-1m", "gowalla"])
def test_time_to_quality(request, benchmark, load, name, model, peer):
    """Until the score has not improved for long, or the time is spent."""
    if not request.config.getoption("--quality"):
        pytest.skip("needs --quality: it takes hours")
    data, every = load(name), EVERY.get(peer, 2)
    limit = LIMIT[model][peer]
    truth, seen = data.csr("validation"), data.csr("train")
    curves = []

    def train():
        for rate in GRID[model, peer][0]:
            for l2 in GRID[model, peer][1]:
                it = PEERS[peer](data, model, rate=rate, l2=l2)
                spent, seconds, scores = 0.0, [], []
                while spent < limit and rises(scores, max(5, PATIENCE // every)):
                    started = time.process_time()
                    it.epochs(every)
                    spent += time.process_time() - started
                    users, items = it.tables()
                    found = evaluate(lambda ids: (users[ids] @ items.mT)[None], truth, seen,  # noqa: B023
                                     k=(20,), conventions=("standard",))  # fmt: skip
                    seconds.append(round(spent, 3))
                    scores.append(round(float(found.mean["ndcg@20"]), 5))
                curves.append({"rate": rate, "l2": l2, "seconds": seconds, "ndcg@20": scores})

    try:
        benchmark.pedantic(train, rounds=1)
    except ImportError as error:
        pytest.skip(f"{peer}: {error}")
    benchmark.extra_info.update(
        work="time to quality", by=peer, model=model, data=name, device="cpu", every=every,
        batch=BATCH, limit=limit, curves=curves, patience=PATIENCE, versions=versions([peer]),
    )  # fmt: skip


def rises(scores, patience):
    return len(scores) <= patience or max(scores[-patience:]) > max(scores[:-patience])
