"""One epoch of training and one evaluation, by this library and by its peers, as functions.

Each peer is a class made of interactions and the name of a model; ``epochs(n)`` trains on, and
``rank()`` evaluates Recall and NDCG at 20 of all users over all items, as the peer does it itself.
``tables()`` are final embeddings, for a common judge. A peer that is not installed raises
ImportError; one that has no such model, LookupError.
"""

import contextlib
import math
import tempfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from specrec_core import evaluation, models
from specrec_core.corrections import Debiasing
from specrec_core.models import generator
from specrec_core.regularization import Regularizer
from specrec_core.replicas import optimizer_of
from specrec_core.sampling import EpochSampler
from specrec_core.steps import Objective, RowSteps

DIM, BATCH, LAYERS = 64, 2048, 3


def bytes_of_epoch(data, model, dim=DIM):
    """What an epoch of ours has to move between memory and processor, in bytes of float32.

    Each step: dense Adam reads parameter, gradient and both moments of both tables and writes all
    but the gradient, seven times the tables. Each of the three rows of a sample: the row is read,
    its gradient is added to a kept buffer (read and written), and the buffer is cleared again
    (written). Samples: three whole numbers of 8 bytes, written once and read once. LightGCN
    besides: as many products forward as backward, one for each layer, each of which reads for
    every entry of the adjacency its index and weight, 8 bytes, and a row, reads what Horner's rule
    adds, and writes the result.

    Left out is what a kernel made for it could keep in registers, so that no step moves less unless
    a cache holds the tables. The share of the roofline can be above one then, or where memory
    serves these reads and writes faster than those of a copy.
    """
    samples, nodes, row = data.train.nnz, sum(data.train.shape), 4 * dim
    steps = math.ceil(samples / BATCH)
    moved = steps * 7 * nodes * row + samples * (3 * 4 * row + 2 * 3 * 8)
    if model == "LightGCN":
        moved += steps * 2 * LAYERS * (2 * samples * (8 + row) + 2 * nodes * row)
    return moved


class Specrec:
    """Adam on mini-batches."""

    def __init__(
        self, data, model="BPR-MF", rate=1e-3, l2=1e-4, device="cpu", seeds=(0,), dim=DIM,
        optimizer="adam",
    ):  # fmt: skip
        self.train, self.test = data.csr("train", device), data.csr("test", device)
        self.seen = data.csr("train", device)
        if model == "BPR-MF":
            self.model = models.MF(data.n_users, data.n_items, dim, seeds=seeds).to(device)
        else:
            self.model = models.LightGCN(self.train, dim, layers=LAYERS, seeds=seeds)
        objective = Objective("bpr", Regularizer().on(self.train), Debiasing().on(self.train))
        sampler = EpochSampler(self.train, "interactions", 1, "uniform")
        self.steps = RowSteps(sampler, objective, BATCH, l2=l2)
        self.optimizer = optimizer_of(optimizer, self.model, rate)
        self.streams = [generator(seed, "samples", device) for seed in seeds]

    def epochs(self, n=1):
        for _ in range(n):
            self.steps(self.model, self.optimizer, self.streams)

    def rank(self):
        return evaluation.evaluate(
            self.model.scorer(), self.test, self.seen, k=(20,), conventions=("standard",)
        )

    def tables(self):
        with torch.no_grad():
            return [table[0] for table in self.model()]


class Implicit:
    """A compiled loop of plain SGD over single triples, with a bias for each item.

    Positives and negatives are drawn from the interactions, negatives hence by popularity; one that
    the user has seen is skipped with its triple.
    """

    def __init__(self, data, model="BPR-MF", rate=0.01, l2=0.01):
        import implicit

        only_mf(model)
        self.train, self.test = (
            sp.csr_matrix(x, dtype=np.float32) for x in (data.train, data.test)
        )
        self.model = implicit.bpr.BayesianPersonalizedRanking(
            factors=DIM - 1, learning_rate=rate, regularization=l2, iterations=1, num_threads=1,
            random_state=np.random.default_rng(0),  # a number would restart at every call of fit
        )  # fmt: skip

    def epochs(self, n=1):
        self.model.iterations = n
        self.model.fit(self.train, show_progress=False)

    def rank(self):
        from implicit.evaluation import ranking_metrics_at_k

        return ranking_metrics_at_k(
            self.model, self.train, self.test, K=20, show_progress=False, num_threads=1
        )

    def tables(self):
        return [torch.from_numpy(x) for x in (self.model.user_factors, self.model.item_factors)]


class Cornac:
    """A compiled loop of plain SGD over single triples, with a bias for each item."""

    def __init__(self, data, model="BPR-MF", rate=0.001, l2=0.01):
        import cornac

        only_mf(model)
        pairs = zip(*data.train.nonzero(), strict=True)
        self.data = cornac.data.Dataset.from_uir([(int(u), int(i), 1.0) for u, i in pairs], seed=0)
        self.shape = data.train.shape
        self.model = cornac.models.BPR(
            k=DIM, learning_rate=rate, lambda_reg=l2, max_iter=1, num_threads=1, seed=0
        )

    def epochs(self, n=1):
        self.model.max_iter = n
        self.model.fit(self.data)

    def rank(self):
        raise LookupError("cornac evaluates one user at a time, in Python")

    def tables(self):
        """Rows of users and items in the order of the codes; those it never saw stay zero."""
        m = self.model
        users, items = np.zeros((self.shape[0], DIM + 1)), np.zeros((self.shape[1], DIM + 1))
        of_user = np.array(list(self.data.uid_map)), np.array(list(self.data.uid_map.values()))
        of_item = np.array(list(self.data.iid_map)), np.array(list(self.data.iid_map.values()))
        users[of_user[0], :DIM], users[:, DIM] = m.u_factors[of_user[1]], 1.0
        items[of_item[0], :DIM] = m.i_factors[of_item[1]]
        items[of_item[0], DIM] = m.i_biases[of_item[1]]
        return [torch.from_numpy(x).float() for x in (users, items)]


class RecBole:
    """Adam on mini-batches. Its BPR has no penalty: ``l2`` is of LightGCN alone."""

    def __init__(self, data, model="BPR-MF", rate=1e-3, l2=1e-4):
        # Its 1.2.1 asks NumPy 1 for names, and SciPy 1.10 for a private method, that are gone.
        for old, new in (("float_", np.float64), ("complex_", np.complex128),
                         ("unicode_", np.str_), ("string_", np.bytes_)):  # fmt: skip
            if old not in vars(np):
                setattr(np, old, new)
        if not hasattr(sp.dok_matrix, "_update"):
            sp.dok_matrix._update = lambda matrix, entries: matrix._dict.update(entries)
        from recbole.config import Config
        from recbole.data import create_dataset, data_preparation
        from recbole.utils import get_model, get_trainer

        name = {"BPR-MF": "BPR", "LightGCN": "LightGCN"}[model]
        self.shape = data.train.shape
        # It writes logs to where it is.
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            write_inter(Path(folder) / "pairs", data)
            config = Config(model=name, dataset="pairs", config_dict={
                "data_path": folder, "benchmark_filename": ["train", "valid", "test"],
                "load_col": {"inter": ["user_id", "item_id"]}, "embedding_size": DIM,
                "n_layers": LAYERS, "train_batch_size": BATCH, "eval_batch_size": 2**24,
                "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1,
                                          "dynamic": False},
                "eval_args": {"order": "RO", "mode": "full", "group_by": "user",
                              "split": {"RS": [0.8, 0.1, 0.1]}},
                "metrics": ["Recall", "NDCG"], "topk": [20], "valid_metric": "NDCG@20",
                "use_gpu": False, "show_progress": False, "learning_rate": rate, "seed": 0,
                "reg_weight": l2, "checkpoint_dir": folder,
            })  # fmt: skip
            train, _, self.test = data_preparation(config, create_dataset(config))
            self.train = train
            self.model = get_model(name)(config, train.dataset)
            self.trainer = get_trainer(config["MODEL_TYPE"], name)(config, self.model)

    def epochs(self, n=1):
        for epoch in range(n):
            self.trainer._train_epoch(self.train, epoch)

    def rank(self):
        return self.trainer.evaluate(self.test, load_best_model=False)

    def tables(self):
        """Rows in the order of our numbers; those of users and items it never saw stay zero."""
        with torch.no_grad():
            if self.model.__class__.__name__ == "LightGCN":
                tables = self.model()
            else:
                tables = (self.model.user_embedding.weight, self.model.item_embedding.weight)
        found = []
        for table, field, n in zip(tables, ("user_id", "item_id"), self.shape, strict=True):
            code = self.train.dataset.field2token_id[field]
            tokens = [token for token in code if token != "[PAD]"]
            rows = torch.zeros(n, DIM)
            rows[[int(token) for token in tokens]] = table[[int(code[t]) for t in tokens]].detach()
            found.append(rows)
        return found


class PyG:
    """Adam on mini-batches; the propagation of torch_geometric.

    Negatives are drawn from all items, as in its own example: those of the user among them.
    """

    def __init__(self, data, model="LightGCN", rate=1e-3, l2=1e-4):
        from torch_geometric.nn.models import LightGCN
        from torch_geometric.utils import to_torch_csr_tensor

        if model != "LightGCN":
            raise LookupError("torch_geometric has no plain matrix factorisation")
        u, i = (torch.from_numpy(x).long() for x in data.train.nonzero())
        self.users, self.items = data.n_users, data.n_items
        self.pairs = torch.stack([u, i + self.users])
        edges, nodes = torch.cat([self.pairs, self.pairs.flip(0)], 1), self.users + self.items
        self.graph = to_torch_csr_tensor(edges, size=(nodes, nodes))  # 7 × faster than by edges
        self.model = LightGCN(nodes, DIM, LAYERS)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=rate)
        self.l2 = l2

    def epochs(self, n=1):
        for _ in range(n):
            for batch in torch.randperm(self.pairs.shape[1]).split(BATCH):
                users, items = self.pairs[:, batch]
                other = torch.randint(self.users, self.users + self.items, items.shape)
                ends = torch.cat([torch.stack([users, items]), torch.stack([users, other])], 1)
                better, worse = self.model(self.graph, ends).chunk(2)
                loss = self.model.recommendation_loss(
                    better, worse, torch.cat([users, items, other]), lambda_reg=self.l2
                )
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()

    def rank(self):
        raise LookupError("torch_geometric leaves evaluation to its user")

    def tables(self):
        with torch.no_grad():
            return self.model.get_embedding(self.graph).split([self.users, self.items])


class LensKit:
    """AdamW on mini-batches: FlexMF with the pairwise loss, its model compiled by torch."""

    def __init__(self, data, model="BPR-MF", rate=1e-3, l2=1e-4):
        import pandas as pd
        from lenskit.data import from_interactions_df
        from lenskit.flexmf import FlexMFImplicitScorer
        from lenskit.training import TrainingOptions

        only_mf(model)
        users, items = data.train.nonzero()
        pairs = from_interactions_df(pd.DataFrame({"user_id": users, "item_id": items}))
        scorer = FlexMFImplicitScorer(
            preset="bpr", embedding_size=DIM, batch_size=BATCH, learning_rate=rate,
            regularization=l2,
        )  # fmt: skip
        self.trainer = scorer.create_trainer(pairs, TrainingOptions(device="cpu", rng=0))
        torch.set_num_threads(1)  # it takes as many as there are cores

    def epochs(self, n=1):
        for _ in range(n):
            self.trainer.train_epoch()

    def rank(self):
        raise LookupError("lenskit recommends for one user at a time, in Python")


class Authors:
    """The steps of the code that LightGCN's authors publish, written anew: it is no package.

    Adam on mini-batches; loss and penalty by autograd; for LightGCN a sparse product in coordinates
    for each layer, all layers kept and their mean taken. Their samples come from a loop over single
    draws, in Python or compiled; here a batch is drawn at once from all items, which costs less.
    """

    def __init__(self, data, model="BPR-MF", rate=1e-3, l2=1e-4):
        users, items = data.train.nonzero()
        self.pairs = torch.from_numpy(np.stack([users, items])).long()
        self.shape = data.train.shape
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(n, DIM) for n in self.shape)
        for table in self.tables:
            torch.nn.init.normal_(table.weight, std=0.1)
        self.optimizer = torch.optim.Adam(self.tables.parameters(), lr=rate)
        self.l2, self.layers = l2, LAYERS if model == "LightGCN" else 0
        ends = torch.stack([self.pairs[0], self.pairs[1] + self.shape[0]])
        edges, nodes = torch.cat([ends, ends.flip(0)], 1), sum(self.shape)
        degree = edges[0].bincount(minlength=nodes).double().clamp(min=1)
        weight = (degree[edges[0]] * degree[edges[1]]).rsqrt().float()
        self.graph = torch.sparse_coo_tensor(edges, weight, (nodes, nodes)).coalesce()

    def final(self):
        """Embeddings of users and items after propagation."""
        if not self.layers:
            return [table.weight for table in self.tables]
        layers = [torch.cat([table.weight for table in self.tables])]
        for _ in range(self.layers):
            layers.append(torch.sparse.mm(self.graph, layers[-1]))
        return torch.stack(layers, dim=1).mean(1).split(self.shape)

    def epochs(self, n=1):
        for _ in range(n):
            for batch in torch.randperm(self.pairs.shape[1]).split(BATCH):
                u, p = self.pairs[:, batch]
                ids = ((0, u), (1, p), (1, torch.randint(self.shape[1], p.shape)))
                users, items = self.final()
                better, worse = ((users[u] * items[i]).sum(1) for _, i in ids[1:])
                own = [self.tables[side](i) for side, i in ids]
                penalty = sum(rows.square().sum() for rows in own) / 2 / len(u)
                loss = torch.nn.functional.softplus(worse - better).mean() + self.l2 * penalty
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()

    def rank(self):
        raise LookupError("only its steps are written here")


PEERS = {
    "specrec": Specrec, "RecBole": RecBole, "PyG": PyG, "implicit": Implicit, "cornac": Cornac,
    "LensKit": LensKit, "authors' steps": Authors,
}  # fmt: skip


PACKAGES = {
    "RecBole": "recbole", "PyG": "torch-geometric", "implicit": "implicit", "cornac": "cornac",
    "LensKit": "lenskit",
}  # fmt: skip


def versions(libraries):
    """The installed version of each of the peers among them."""
    return {by: metadata.version(PACKAGES[by]) for by in libraries if by in PACKAGES}


def installed(data, model):
    """One of ours and one of each peer that is here and has the model, by name."""
    found = {}
    for by, library in PEERS.items():
        try:
            found[by] = library(data, model)
        except (ImportError, LookupError):
            continue
    if not PACKAGES.keys() & found.keys():
        pytest.skip("no peer with this model is installed: make bench PEERS=1")
    return found


def only_mf(model):
    if model != "BPR-MF":
        raise LookupError("only its matrix factorisation is compared")


def write_inter(folder, data):
    """RecBole's files of pairs; a user or item of the test that training lacks is left out."""
    folder.mkdir()
    for part, name in ((data.train, "train"), (data.validation, "valid"), (data.test, "test")):
        lines = (f"{u}\t{i}\n" for u, i in zip(*part.nonzero(), strict=True))
        with open(folder / f"pairs.{name}.inter", "w") as file:
            file.write("user_id:token\titem_id:token\n")
            file.writelines(lines)
