"""How long the work of the book takes: ``make bench``; its page is `how_fast`.

Real data where there are any, d = 64, batches of 2,048, one thread on a CPU; with CUDA there, the
same work on it. Peers take part where they are installed: ``make bench PEERS=1``.
"""

import statistics
import time
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from epochs import BATCH, DIM, Specrec, bytes_of_epoch, installed, versions

from specrec_core import chunks, crew, memory
from specrec_core.chunks import ChunkSteps, user_chunks
from specrec_core.corrections import Debiasing
from specrec_core.interactions import CSR
from specrec_core.models import MF, generator
from specrec_core.ranking import recommend
from specrec_core.records import Experiment
from specrec_core.regularization import Regularizer
from specrec_core.replicas import optimizer_of
from specrec_core.sampling import EpochSampler, Negatives
from specrec_core.steps import Objective
from specrec_core.training import fit

DATA = ["ml-1m", "gowalla"]
ROUNDS = {"BPR-MF": 7, "LightGCN": 2}  # of LightGCN, a round with all peers takes ten minutes


@pytest.mark.parametrize("model", list(ROUNDS))
@pytest.mark.parametrize("name", DATA)
def test_epoch_beside_peers(in_turn, load, name, model):
    """An epoch of ours and of each peer that is installed, in turn."""
    found = installed(load(name), model)
    # Compiled loops are short: five passes a time.
    passes = {by: 5 if by in ("implicit", "cornac") else 1 for by in found}
    works = {by: (lambda it=it, n=passes[by]: it.epochs(n), passes[by]) for by, it in found.items()}
    if model == "BPR-MF":  # as RecBole's has no penalty
        works["specrec, no L2"] = (Specrec(load(name), model, l2=0.0).epochs, 1)
    in_turn(works, rounds=ROUNDS[model], warm=model == "BPR-MF", work="epoch", model=model,
            data=name, versions=versions(found))  # fmt: skip


@pytest.mark.parametrize("model", list(ROUNDS))
@pytest.mark.parametrize("name", DATA)
def test_epoch(timed, load, device, name, model):
    data = load(name)
    it = Specrec(data, model, device=device)
    timed(it.epochs, device, rounds=5 if model == "BPR-MF" else 3, work="epoch", by="specrec",
          model=model, data=name, bytes=bytes_of_epoch(data, model))  # fmt: skip


@pytest.mark.parametrize("name", ["ml-1m", "douban-movie"])
def test_epoch_by_users(in_turn, load, device, monkeypatch, name):
    """As ReSN trains: by the scores of all items, and by those of the pairs alone."""
    data = load(name)
    train = data.csr("train", device)
    objective = Objective("mse_sigmoid", Regularizer(), Debiasing().on(train), reduction="sum")
    steps = ChunkSteps(user_chunks(train, BATCH), Negatives(train), 4, objective)
    works = {}
    for by, one_in in (("all scores", 10**9), ("listed pairs", 0)):
        model = MF(data.n_users, data.n_items, 256).to(device)
        stepper, stream = optimizer_of("adam", model, 1e-3), generator(0, "samples", device)

        def epoch(one_in=one_in, model=model, stepper=stepper, stream=stream):
            monkeypatch.setattr(chunks, "DENSE", one_in)
            steps(model, stepper, [stream])

        works[by] = (epoch, 1)
    pairs = 5 * train.nnz
    in_turn(works, device, rounds=5, work="epoch by users", data=name,
            density=pairs / data.n_users / data.n_items)  # fmt: skip


@pytest.mark.parametrize("replicas", [1, 2, 5, 10])
def test_replicas(timed, load, device, replicas):
    it = Specrec(load("ml-1m"), device=device, seeds=tuple(range(replicas)))
    timed(it.epochs, device, rounds=2, work="replicas", replicas=replicas, data="ml-1m")


def some_epochs(data, seed, n):
    it = Specrec(data, seeds=(seed,))
    it.epochs(n)
    return seed


@pytest.mark.parametrize("processes", [2, 5])
def test_seeds_in_processes(benchmark, load, processes):
    """Five seeds, one thread each, in some processes, over one seed in one: by the clock."""
    data, n = load("ml-1m"), 10
    with crew.Processes(processes) as pool:
        wait([pool.submit(some_epochs, data, seed, 1) for seed in range(processes)])  # warm

        def clock(seeds):
            started = time.perf_counter()
            wait([pool.submit(some_epochs, data, seed, n) for seed in range(seeds)])
            return time.perf_counter() - started

        both = []  # alone and five, in turn
        benchmark.pedantic(lambda: both.append((clock(1), clock(5))), rounds=3)
    one, five = (statistics.median(times) for times in zip(*both, strict=True))
    benchmark.extra_info.update(
        work="seeds in processes", device="cpu", seeds=5, processes=processes, one=one, five=five,
        ratio=five / one,
    )  # fmt: skip


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


@pytest.mark.parametrize("count", [10**5, 10**6, 10**7])
def test_growth(timed, device, count):
    """An epoch of BPR-MF, as data grow: a hundred interactions to a user and to an item."""
    it = Specrec(Pairs(count), device=device)
    small = count < 10**7
    timed(it.epochs, device, rounds=3 if small else 1, warm=small, work="growth",
          interactions=count)  # fmt: skip


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
    data = Pairs(100 * BATCH, 10**6)
    it = Specrec(data, device=device, optimizer=optimizer)
    steps = -(-data.train.nnz // BATCH)
    dense = {"bytes": bytes_of_epoch(data, "BPR-MF") / steps} if optimizer == "adam" else {}
    timed(it.epochs, device, rounds=2, units=steps, work="step on large tables", by=optimizer,
          **dense)  # fmt: skip


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


@pytest.mark.parametrize("interactions", [10**7, 10**8])
def test_whole_run_on_large_tables(request, benchmark, timed, device, interactions):
    """A million users and items: an epoch, validated before and after.

    Adam on the rows of a batch alone, d = 64; validation is of a thousand users, over all items.
    """
    if interactions > 10**7 and not request.config.getoption("--huge"):
        pytest.skip("needs --huge: it takes a quarter of an hour on a CPU")
    counts = {
        "users": 10**6, "items": 10**6, "train": interactions, "validation": 1000, "test": 0,
    }  # fmt: skip
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
