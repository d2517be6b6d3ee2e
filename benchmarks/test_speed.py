"""How long the basic work takes: ``make bench``, or ``pytest benchmarks --benchmark-only``.

Interactions are synthetic, of the size of CiteULike, so that a benchmark needs no data. One
thread on a CPU unless OMP_NUM_THREADS says otherwise; with CUDA there, the same work on it.
"""

import pytest
import torch

from specrec_core import spectra, synthetic
from specrec_core.evaluation import evaluate
from specrec_core.models import MF, LightGCN
from specrec_core.training import fit

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def data():
    return synthetic.dcbm(n_users=5500, n_items=17000, n_communities=50, mean_degree=38.0)


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


@pytest.mark.parametrize("replicas", [1, 5])
@pytest.mark.parametrize("kind", ["MF", "LightGCN"])
def test_epoch(benchmark, kind, replicas, device, data):
    """One epoch of BPR, d = 64, batch 2048, and one evaluation on validation."""
    seeds = tuple(range(replicas))
    if kind == "MF":
        model = MF(data.n_users, data.n_items, 64, seeds=seeds).to(device)
    else:
        model = LightGCN(data.csr("train", device), 64, layers=3, seeds=seeds)

    def epoch():
        fit(model, data, batch_size=2048, epochs=1, progress=False)
        wait(device)

    benchmark.pedantic(epoch, rounds=3, warmup_rounds=1)
    benchmark.extra_info["interactions"] = int(data.train.nnz)


def test_evaluation(benchmark, device, data):
    """Full ranking of all items for all users, every metric at 10 and 20."""
    model = MF(data.n_users, data.n_items, 64).to(device)
    truth, seen = data.csr("test", device), data.csr("train", device)

    def rank():
        evaluate(model.scorer(), truth, seen)
        wait(device)

    benchmark.pedantic(rank, rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("method", ["svd", "gram"])
def test_singular_values(benchmark, method, device):
    """All singular values of a 40,981 × 64 table."""
    table = torch.randn(40_981, 64, generator=torch.Generator().manual_seed(0)).to(device)

    def values():
        spectra.singular_values(table, method=method)
        wait(device)

    benchmark.pedantic(values, rounds=5, warmup_rounds=1)


def test_product_singular_values(benchmark, device):
    """σ of U Vᵀ for 29,858 users and 40,981 items, d = 64, from the factors."""
    stream = torch.Generator().manual_seed(0)
    users = torch.randn(29_858, 64, generator=stream).to(device)
    items = torch.randn(40_981, 64, generator=stream).to(device)

    def values():
        spectra.product_singular_values(users, items)
        wait(device)

    benchmark.pedantic(values, rounds=5, warmup_rounds=1)
