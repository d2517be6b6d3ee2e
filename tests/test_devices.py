"""CUDA and the CPU give the same numbers: of steps of training, full ranking, singular values.

Samples are drawn on the CPU for both, as each device has random numbers of its own. Training and
spectra are in double precision; ranked are tables whose inner products single precision holds
exactly, so that even the order of equal scores is to be the same.
"""

import contextlib
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from alone import make, small_data

from specrec_core import contrastive, spectra
from specrec_core.corrections import Debiasing
from specrec_core.evaluation import evaluate, popularity_groups
from specrec_core.models import generator
from specrec_core.ranking import recommend
from specrec_core.regularization import Regularizer
from specrec_core.replicas import optimizer_of
from specrec_core.sampling import EpochSampler
from specrec_core.steps import Objective, RowSteps

SEEDS = (0, 1)
CONTRASTS = ["sgl", "xsimgcl"]
TRAINED = [("mf", "adam"), ("mf", "lazy_adam"), ("lightgcn", "adam"),
           *[(kind, "adam") for kind in CONTRASTS]]  # fmt: skip


@pytest.fixture
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine: there is nothing to compare the CPU with")
    return "cuda"


@contextlib.contextmanager
def drawn_on_cpu():
    """Inside, edges and noise of the contrastive models come from generators of the CPU."""
    edges, noise = contrastive.thinned, torch.rand

    def thinned(train, dropout, streams):
        return edges(train.to("cpu"), dropout, streams).to(train.device)

    def rand(shape, *, generator, device):
        # In double precision: lengths of rows in single precision differ between devices.
        return noise(shape, generator=generator).to(device, torch.float64)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contrastive, "thinned", thinned)
        patch.setattr(torch, "rand", rand)
        yield


def trained(kind, optimizer, device):
    """Losses ``(R, 2)`` of two steps, and what they leave of the tables."""
    data = small_data()
    train = data.csr("train")
    drawn = EpochSampler(train, "interactions", 2, "uniform").epoch(generator(0, "samples"))
    samples = [ids.to(device) for ids in drawn]
    model, there = make(kind, data, SEEDS, "cpu").to(device), train.to(device)
    objective = Objective("bpr", Regularizer().on(there), Debiasing().on(there))
    sampler = SimpleNamespace(epoch=lambda stream: samples)
    steps = RowSteps(sampler, objective, -(-train.nnz // 2), l2=1e-2)
    streams = [generator(seed, "samples") for seed in SEEDS]
    with drawn_on_cpu():
        losses = steps(model, optimizer_of(optimizer, model, 0.01), streams)
    tables = dict(model.named_parameters())
    return {name: x.detach().cpu() for name, x in {"losses": losses, **tables}.items()}


@pytest.mark.gpu
@pytest.mark.parametrize("kind, optimizer", TRAINED)
def test_two_steps_of_training_are_those_of_the_cpu(kind, optimizer, cuda):
    there, here = trained(kind, optimizer, cuda), trained(kind, optimizer, "cpu")
    assert here["losses"].shape == (2, 2) and here["losses"].dtype == torch.float64
    assert (here["losses"][:, 1] < here["losses"][:, 0]).all()
    # A first step of Adam divides gradients, and their rounding, by their size: 1e-8 at the least.
    torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", CONTRASTS)
def test_what_is_filled_up_on_a_gpu_is_not_trained_on(kind, monkeypatch):
    """Two steps on a CPU, with nodes of as many as they are there and as on a GPU."""
    here = trained(kind, "adam", "cpu")
    assert here["losses"].shape == (2, 2) and here["losses"].isfinite().all()
    often = partial(contrastive.often, fixed_size=True)
    monkeypatch.setattr(contrastive, "often", lambda ids, n, **size: often(ids, n))
    torch.testing.assert_close(trained(kind, "adam", "cpu"), here, rtol=1e-9, atol=1e-10)


def ranked(device):
    """The 20 best items of all users ``(R, n_users, 20)``, and the metrics of a test."""
    data = small_data()
    draws = generator(0, "tables")
    users, items = (
        torch.randint(-8, 9, (len(SEEDS), n, 6), generator=draws).float().div(4).to(device)
        for n in (data.n_users, data.n_items)
    )
    assert users.dtype == torch.float32

    def score(ids):
        return users[:, ids] @ items.mT

    everybody, seen = torch.arange(data.n_users, device=device), data.csr("train", device)
    groups = popularity_groups(torch.as_tensor(data.item_popularity, device=device))
    found = evaluate(score, data.csr("test", device), seen, item_groups=groups, per_user=True)
    lists = recommend(score, everybody, seen, 20).cpu()
    metrics = {**found.mean, **{f"{name} by user": x for name, x in found.per_user.items()}}
    return lists, {name: value.cpu() for name, value in metrics.items()}


@pytest.mark.gpu
def test_lists_and_metrics_are_those_of_the_cpu(cuda):
    (there, found), (here, expected) = ranked(cuda), ranked("cpu")
    assert there.equal(here)
    assert expected["ndcg@10"].min() > 0 and "share[4]@20" in expected
    # The order of additions in double precision is all that may differ.
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-15)


def measured(device):
    """Singular values of two pairs of tables, by each method."""
    draws = generator(0, "tables")
    decay = torch.logspace(0, -2, 6, dtype=torch.float64)
    users, items = (
        (torch.randn(2, n, 6, generator=draws, dtype=torch.float64) * decay).to(device)
        for n in (120, 90)
    )
    values = {
        "svd": spectra.singular_values(users),
        "gram": spectra.singular_values(users, method="gram"),
        "wide": spectra.singular_values(items.mT),
        "product": spectra.product_singular_values(users, items),
        "product, gram": spectra.product_singular_values(users, items, method="gram"),
        "rank": spectra.effective_rank(spectra.singular_values(items)),
    }
    return {name: value.cpu() for name, value in values.items()}


@pytest.mark.gpu
def test_singular_values_are_those_of_the_cpu(cuda):
    expected = measured("cpu")
    assert (expected["svd"][:, 0] > 50 * expected["svd"][:, -1]).all()
    torch.testing.assert_close(measured(cuda), expected, rtol=1e-9, atol=0.0)
