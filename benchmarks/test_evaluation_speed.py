"""Recall and NDCG at 20 of all users over all items, seen items left out; and what it cannot avoid.

In turn with the product of the embeddings alone, and with the product and the 20 best of each row.
"""

import pytest
from epochs import Specrec, installed

ROUNDS = 7
DATA = ["ml-1m", "gowalla"]


def limits(it, device="cpu"):
    """What an evaluation cannot do without."""
    users, items = (table.to(device) for table in it.tables())

    def product():
        for chunk in users.split(1024):
            chunk @ items.mT

    def product_and_top():
        for chunk in users.split(1024):
            (chunk @ items.mT).topk(20)

    return {"product and top-k alone": (product_and_top, 1), "product alone": (product, 1)}


@pytest.mark.parametrize("name", DATA)
def test_evaluation(in_turn, load, device, name):
    it = Specrec(load(name), device=device)
    works = {"specrec": (it.rank, 1), **limits(it, device)}
    in_turn(works, device, rounds=ROUNDS, work="evaluation", data=name)


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
    in_turn(works, rounds=ROUNDS, work="evaluation", data=name)
