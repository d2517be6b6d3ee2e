"""How long the work of the book takes: ``make bench``; its page is `how_fast`.

Real data where there are any, d = 64, batches of 2,048, one thread on a CPU; with CUDA there, the
same work on it. Peers take part where they are installed: ``pip install -e '.[peers]'``.
"""

import time
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from epochs import BATCH, DIM, PEERS, Specrec

from specrec_core import crew, memory, spectra, spectral_norm
from specrec_core.evaluation import evaluate
from specrec_core.interactions import CSR
from specrec_core.models import MF
from specrec_core.ranking import recommend
from specrec_core.records import Experiment
from specrec_core.sampling import EpochSampler
from specrec_core.training import fit

DATA = ["ml-1m", "gowalla"]


def of(peer, data, model, **settings):
    try:
        return PEERS[peer](data, model, **settings)
    except (ImportError, LookupError) as error:
        pytest.skip(f"{peer}: {error}")


@pytest.mark.parametrize("peer", [name for name in PEERS if name != "specrec"])
@pytest.mark.parametrize("model", ["BPR-MF", "LightGCN"])
@pytest.mark.parametrize("name", DATA)
def test_epoch_of_peer(timed, load, name, model, peer):
    it = of(peer, load(name), model)
    units = 1 if peer in ("RecBole", "PyG") else 5
    slow = model == "LightGCN"  # minutes: one epoch tells enough
    timed(lambda: it.epochs(units), rounds=1 if slow else 3, warm=not slow, units=units,
          work="epoch", by=peer, model=model, data=name)  # fmt: skip


@pytest.mark.parametrize("model", ["BPR-MF", "LightGCN"])
@pytest.mark.parametrize("name", DATA)
def test_epoch(timed, load, device, name, model):
    it = Specrec(load(name), model, device=device)
    timed(it.epochs, device, work="epoch", by="specrec", model=model, data=name)


@pytest.mark.parametrize("replicas", [1, 2, 5, 10])
def test_replicas(timed, load, device, replicas):
    it = Specrec(load("ml-1m"), device=device, seeds=tuple(range(replicas)))
    timed(it.epochs, device, rounds=2, work="replicas", replicas=replicas, data="ml-1m")


def some_epochs(data, seed, n):
    it = Specrec(data, seeds=(seed,))
    it.epochs(n)
    return seed


def test_seeds_in_two_processes(benchmark, load):
    """Five seeds, one thread each, in two processes, over one seed in one: by the clock."""
    data, n = load("ml-1m"), 10
    with crew.Processes(2) as pool:
        wait([pool.submit(some_epochs, data, seed, 1) for seed in range(2)])  # started, warm

        def clock(seeds):
            started = time.perf_counter()
            wait([pool.submit(some_epochs, data, seed, n) for seed in range(seeds)])
            return time.perf_counter() - started

        one = min(clock(1) for _ in range(2))
        five = benchmark.pedantic(lambda: clock(5), rounds=1)
    benchmark.extra_info.update(
        work="seeds in processes", seeds=5, processes=2, one=one, five=five, ratio=five / one
    )


@pytest.mark.parametrize("dim", [16, 64, 256, 1024])
def test_dimensions(timed, load, device, dim):
    it = Specrec(load("ml-1m"), device=device, dim=dim)
    timed(it.epochs, device, rounds=1, work="dimensions", dim=dim, data="ml-1m")


class Pairs:
    """Random interactions, ``count``: a hundred to a user, or of ``size`` users and items."""

    def __init__(self, count, size=None):
        draw = np.random.default_rng(0)
        self.n_users = self.n_items = size or count // 100
        columns = draw.integers(self.n_items, size=count)
        rows = np.arange(count) * self.n_users // count
        ones = np.ones(count, np.int8)
        matrix = sp.csr_matrix((ones, (rows, columns)), (self.n_users, self.n_items))
        matrix.sum_duplicates()
        self.train = self.test = matrix

    def csr(self, split, device):
        offsets, columns = (
            torch.from_numpy(x.astype(np.int64)).to(device)
            for x in (self.train.indptr, self.train.indices)
        )
        return CSR(offsets, columns, self.train.shape)


def samples(timed, device, count):
    """All samples of an epoch, as data grow."""
    data = Pairs(count)
    sampler = EpochSampler(data.csr("train", device), "interactions", 1, "uniform")
    stream = torch.Generator(device).manual_seed(0)
    timed(lambda: sampler.epoch(stream), device, work="samples of an epoch", interactions=count)


@pytest.mark.parametrize("count", [10**5, 10**6, 10**7])
def test_samples(timed, device, count):
    samples(timed, device, count)


def test_samples_of_large_data(timed, device):
    """A hundred million interactions of a million users with a million items."""
    if memory.available(torch.device(device)) < 16 * 2**30:
        pytest.skip("needs 16 GiB of memory")
    samples(timed, device, 10**8)


@pytest.mark.parametrize("optimizer", ["adam", "lazy_adam"])
def test_step_on_large_tables(timed, device, optimizer):
    """A million users and a million items: a hundred steps."""
    it = Specrec(Pairs(100 * BATCH, 10**6), device=device, optimizer=optimizer)
    timed(it.epochs, device, rounds=1, units=100, work="step on large tables", by=optimizer)


class Held(Pairs):
    """`Pairs` to train on; the first ``tested`` users have one more item to validate on."""

    name = "random pairs"

    def __init__(self, count, size, tested):
        super().__init__(count, size)
        # Who has the item in training already is left out.
        some = np.flatnonzero(np.asarray(self.train[:tested, [0]].todense()) == 0)
        pairs = (np.ones(len(some), np.int8), (some, np.zeros(len(some), np.int64)))
        self.validation = sp.csr_matrix(pairs, self.train.shape)

    def csr(self, split, device):
        return CSR.from_scipy(getattr(self, split), device)


def test_whole_run_on_large_tables(benchmark, timed, device):
    """A million users and items, ten million interactions: an epoch, validated before and after.

    Adam on the rows of a batch alone, d = 64; validation is of a thousand users, over all items.
    """
    counts = {"users": 10**6, "items": 10**6, "train": 10**7, "validation": 1000, "test": 0}
    run = Experiment(dataset="synthetic", version="none", dim=DIM, epochs=1, seeds=(0,),
                     batch_size=BATCH, optimizer="lazy_adam")  # fmt: skip
    said = memory.needed(run, counts, device=device)["total"]
    free = memory.available(torch.device(device))
    if said > free:
        pytest.skip(f"needs {said / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} are free")
    data = Held(counts["train"], counts["users"], counts["validation"])
    peak = Peak(device)
    model = MF(data.n_users, data.n_items, DIM).to(device)
    history = timed(
        lambda: fit(model, data, optimizer=run.optimizer, batch_size=BATCH, epochs=1, l2=1e-4,
                    progress=False),
        device, rounds=1, warm=False, work="whole run", by=run.optimizer,
        users=data.n_users, items=data.n_items, interactions=data.train.nnz,
        validated=data.validation.nnz, dim=DIM, batch=BATCH,
    )  # fmt: skip
    benchmark.extra_info.update(clock=history.seconds[0], peak_bytes=peak.bytes(), said_bytes=said)


class Peak:
    """Bytes taken from here on, at their peak: by tensors on a GPU, else by the process."""

    def __init__(self, device):
        self.cuda, anew = device == "cuda", Path("/proc/self/clear_refs")
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
        elif anew.exists():
            anew.write_text("5")
            self.before = self._resident("VmRSS")
        else:
            pytest.skip("needs /proc, to know the peak of the memory")

    def bytes(self):
        now = torch.cuda.max_memory_allocated() if self.cuda else self._resident("VmHWM")
        return now - self.before

    def _resident(self, key):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def test_ranking_of_large_tables(timed, device):
    """The twenty best unseen of a million items, for a thousand of a million users."""
    it = Specrec(Pairs(100 * BATCH, 10**6), device=device)
    score, users = it.model.scorer(), torch.arange(1000, device=device)
    timed(lambda: recommend(score, users, it.seen, 20), device, units=1000,
          work="ranking of large tables", by="one user")  # fmt: skip


@pytest.mark.parametrize("peer", [name for name in PEERS if name != "specrec"])
@pytest.mark.parametrize("name", DATA)
def test_evaluation_of_peer(timed, load, name, peer):
    it = of(peer, load(name), "BPR-MF")
    it.epochs(1)
    try:
        it.rank()
    except LookupError as error:
        pytest.skip(f"{peer}: {error}")
    timed(it.rank, rounds=3, work="evaluation", by=peer, data=name)


@pytest.mark.parametrize("name", DATA)
def test_evaluation(timed, load, device, name):
    """Recall and NDCG at 20 of all users over all items, seen items left out."""
    it = Specrec(load(name), device=device)
    timed(it.rank, device, work="evaluation", by="specrec", data=name)


@pytest.mark.parametrize("name", DATA)
def test_product_and_top(timed, load, device, name):
    """What an evaluation cannot do without: the product, and the 20 best of each row."""
    it = Specrec(load(name), device=device)
    users, items = (table.to(device) for table in it.tables())

    def least():
        for chunk in users.split(1024):
            (chunk @ items.mT).topk(20)

    timed(least, device, work="evaluation", by="product and top-k alone", data=name)


@pytest.mark.parametrize("method", ["svd", "gram"])
def test_singular_values(timed, method, device):
    """All singular values of a 40,981 × 64 table."""
    table = torch.randn(40_981, DIM, generator=torch.Generator().manual_seed(0)).to(device)
    timed(lambda: spectra.singular_values(table, method=method), device, rounds=5,
          work="singular values of 40,981 × 64", by=method)  # fmt: skip


def normal_tables(users, items, device, mean=0.0):
    stream = torch.Generator().manual_seed(0)
    return [torch.randn(n, DIM, generator=stream).add_(mean).to(device) for n in (users, items)]


def test_product_singular_values(timed, device):
    """σ of U Vᵀ for 29,858 users and 40,981 items, d = 64, from the factors."""
    tables = normal_tables(29_858, 40_981, device)
    timed(lambda: spectra.product_singular_values(*tables), device, rounds=5,
          work="singular values of scores, 29,858 × 40,981", by="factors")  # fmt: skip


WAYS = {  # to the square of the norm
    "one power step": spectral_norm.spectral_norm_penalty,
    "exact, from the factors": spectral_norm.exact_spectral_norm,
    "exact, of the scores": lambda users, items: torch.linalg.svdvals(users @ items.mT)[0] ** 2,
}


@pytest.mark.parametrize("items", [10**3, 10**4, 10**5, 10**6])
@pytest.mark.parametrize("way", list(WAYS))
def test_spectral_norm(benchmark, timed, way, items, device):
    """ReSN's approximation of σ₁ of U Vᵀ against exact ones: as many users as items, d = 64."""
    if way == "exact, of the scores" and items > 10**3:
        pytest.skip("the singular values of 10,000 × 10,000 scores take minutes, of more, hours")
    tables = normal_tables(items, items, device, mean=0.2)
    found = timed(lambda: WAYS[way](*tables), device, work="spectral norm", by=way, items=items)
    squared = spectral_norm.exact_spectral_norm(*tables)
    benchmark.extra_info["over exact"] = float(found / squared) ** 0.5


GRID = {  # rates and L2 strengths: four settings for each
    "specrec": ((1e-3, 3e-3), (1e-3, 1e-2)),
    "implicit": ((0.01, 0.05), (0.01, 0.03)),
    "cornac": ((0.01, 0.05), (0.001, 0.01)),
}


@pytest.mark.parametrize("peer", list(GRID))
@pytest.mark.parametrize("name", DATA)
def test_time_to_quality(request, benchmark, load, name, peer):
    """Validation NDCG@20 against processor seconds of training, four settings of each.

    Until the score has not improved for five evaluations, or 600 processor seconds of training.
    """
    if not request.config.getoption("--quality"):
        pytest.skip("needs --quality: it takes half an hour")
    data, every = load(name), {"specrec": 2}.get(peer, 10)
    truth, seen = data.csr("validation"), data.csr("train")
    curves = []

    def train():
        for rate in GRID[peer][0]:
            for l2 in GRID[peer][1]:
                it = of(peer, data, "BPR-MF", rate=rate, l2=l2)
                spent, seconds, scores = 0.0, [], []
                while spent < 600 and (len(scores) < 6 or max(scores[-5:]) > max(scores[:-5])):
                    started = time.process_time()
                    it.epochs(every)
                    spent += time.process_time() - started
                    users, items = it.tables()
                    found = evaluate(lambda ids: (users[ids] @ items.mT)[None], truth, seen,  # noqa: B023
                                     k=(20,), conventions=("standard",))  # fmt: skip
                    seconds.append(round(spent, 3))
                    scores.append(round(float(found.mean["ndcg@20"]), 5))
                curves.append({"rate": rate, "l2": l2, "seconds": seconds, "ndcg@20": scores})

    benchmark.pedantic(train, rounds=1)
    benchmark.extra_info.update(
        work="time to quality", by=peer, data=name, every=every, batch=BATCH, curves=curves
    )
