"""Recall and NDCG at 20 of all users over all items, seen items left out; and what it cannot avoid.

In turn with the product of the embeddings alone, and with the product and the 20 best of each row.
"""

import pytest
import torch
from epochs import Specrec, installed, versions

from specrec_core.ranking import CHUNK_ON_CPU, CHUNK_ON_GPU, recommend

ROUNDS = 7
DATA = ["ml-1m", "gowalla"]
BOTH = ("recall@20", "ndcg@20")


def limits(it, device="cpu"):
    """What an evaluation cannot do without, in chunks of the size of ours and one kept buffer."""
    users, items = (table.detach().to(device) for table in it.tables())
    size = (CHUNK_ON_CPU if device == "cpu" else CHUNK_ON_GPU) // len(items)
    buffer = torch.empty(size, len(items), device=device)

    def products():
        for chunk in users.split(size):
            yield torch.mm(chunk, items.mT, out=buffer[: len(chunk)])

    def product():
        for _ in products():
            pass

    def product_and_top():
        for scores in products():
            scores.topk(20)

    return {"product and top-k alone": (product_and_top, 1), "product alone": (product, 1)}


@pytest.mark.parametrize("name", DATA)
def test_evaluation(in_turn, load, device, name):
    it = Specrec(load(name), device=device)
    works = {"specrec": (it.rank, 1), **limits(it, device)}
    in_turn(works, device, rounds=ROUNDS, work="evaluation", data=name)


@pytest.mark.parametrize("name", DATA)
def test_evaluation_in_less_precision(in_turn, load, device, name):
    """Products as torch has them where it is asked for less, on a GPU in TF32.

    On a CPU its products were the same to the last digit, asked or not.
    """
    if device == "cpu":
        pytest.skip("torch computes the same on a CPU")
    it = Specrec(load(name), device=device)
    it.epochs(10)

    def ranked(precision):
        def rank():
            torch.set_float32_matmul_precision(precision)
            try:
                return it.rank().mean
            finally:
                torch.set_float32_matmul_precision("highest")

        return rank

    works = {asked: ranked(asked) for asked in ("highest", "medium")}
    full, less = (work() for work in works.values())
    error = max(float((less[metric] / full[metric] - 1).abs().max()) for metric in BOTH)
    timed = {asked: (work, 1) for asked, work in works.items()}
    in_turn(timed, device, rounds=ROUNDS, work="evaluation by precision", data=name, error=error)


@pytest.mark.parametrize("name", DATA)
def test_evaluation_beside_peers(in_turn, load, name):
    works = {}
    for by, it in installed(load(name), "BPR-MF").items():
        it.epochs(1)
        try:
            it.rank()
        except LookupError:  # it has no evaluation of all users
            continue
        works |= {by: (it.rank, 1), **(limits(it) if by == "specrec" else {})}
    in_turn(works, rounds=ROUNDS, work="evaluation", data=name, versions=versions(works))


@pytest.mark.parametrize("name", DATA)
def test_parts_of_evaluation(in_turn, load, device, name):
    """Scores; they, the mask and the lists; all of it, with the metrics: each in the next."""
    it = Specrec(load(name), device=device)
    score = it.model.scorer()
    users = it.test.degree().nonzero().squeeze(1)
    size = (CHUNK_ON_CPU if device == "cpu" else CHUNK_ON_GPU) // it.test.shape[1]

    def scores():
        with torch.no_grad():
            for chunk in users.split(size):
                score(chunk)

    works = {"scores": scores, "lists": lambda: recommend(score, users, it.seen, 20),
             "all": it.rank}  # fmt: skip
    timed = {by: (work, 1) for by, work in works.items()}
    in_turn(timed, device, rounds=ROUNDS, work="parts of an evaluation", data=name)
