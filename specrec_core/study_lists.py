"""What recommendation lists are like: how they change when a method pushes popularity down.

Accuracy and the share of the head are in every record; here is the rest for a few models, trained
for it: how unlike the items of a list are, how many items appear on some list, and who gets the
places.
"""

from __future__ import annotations

import json

import torch

from specrec_core import datasets, running
from specrec_core.building import build
from specrec_core.evaluation import evaluate, popularity_groups
from specrec_core.item_metrics import head_and_tail
from specrec_core.popularity import intra_list_diversity, novelty
from specrec_core.ranking import recommend
from specrec_core.records import Experiment
from specrec_core.studies import Measured

USERS = 128  # at a time: each item of a list is compared by its column of interactions
K = 20


def described(*, dataset: str, seed: int, progress: bool, protocol: str) -> Measured:
    """Lists of 20 for all test users, by a model that is trained for it.

    ``protocol`` is JSON: the fields of an `Experiment` but for data and seeds. Two items are as
    alike as the cosine of the sets of users who consumed them in training; a list's diversity is
    the mean of 1 − cosine over its pairs [ziegler2005improving].
    """
    settings = json.loads(protocol)
    data = datasets.load(
        dataset, validation=settings.get("validation", 0.1), seed=settings.get("split_seed", 0)
    )
    e = Experiment(dataset=dataset, version=data.version, seeds=(seed,), **settings)
    model = build(e, data, e.seeds, "cpu")
    running.train(e, data, model, progress=progress)
    truth, seen = data.csr("test"), data.csr("train+validation")
    score, counts = model.scorer(), torch.as_tensor(data.item_popularity)
    found = evaluate(score, truth, seen, k=(K,), item_groups=popularity_groups(counts)).mean
    found |= head_and_tail(score, truth, seen, data.item_popularity, k=(K,))
    lists = recommend(score, truth.degree().nonzero().squeeze(1), seen, K)
    found[f"novelty@{K}"] = novelty(lists, counts, data.n_users)
    consumed = torch.from_numpy(data.train.toarray().T).double()
    apart = [
        intra_list_diversity(chunk, consumed) * chunk.shape[-2] for chunk in lists.split(USERS, -2)
    ]
    found[f"diversity@{K}"] = torch.stack(apart).sum(0) / lists.shape[-2]
    return Measured({name: float(value) for name, value in found.items()})
