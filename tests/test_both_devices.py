"""The same work on the CPU and, marked ``gpu``, on CUDA: the same samples, the same result."""

import pytest
import torch
from alone import make, small_data

from specrec_core import spectra
from specrec_core.corrections import Debiasing
from specrec_core.evaluation import evaluate
from specrec_core.models import generator
from specrec_core.ranking import recommend
from specrec_core.regularizers import Regularizer
from specrec_core.replicas import optimizer_of
from specrec_core.sampling import EpochSampler
from specrec_core.steps import Objective, RowSteps

SEEDS = (0, 1)


class Drawn:
    """Samples that were drawn on the CPU, an epoch for each replica."""

    def __init__(self, train, device):
        sampler = EpochSampler(train, "interactions", 2, "uniform")
        streams = [generator(seed, "samples", "cpu") for seed in SEEDS]
        self.of = {s: [x.to(device) for x in sampler.epoch(s)] for s in streams}
        self.streams = streams

    def epoch(self, stream):
        return self.of[stream]


def trained(kind, device, optimizer="adam"):
    """A model in double precision after an epoch of seven steps, from where all begin."""
    data = small_data()
    model, start = make(kind, data, SEEDS, device), make(kind, data, SEEDS, "cpu")
    model.load_state_dict(start.state_dict())
    train, drawn = data.csr("train", device), Drawn(data.csr("train"), device)
    objective = Objective("bpr", Regularizer().on(train), Debiasing().on(train))
    steps = RowSteps(drawn, objective, -(-train.nnz // 7), l2=1e-2)
    steps(model, optimizer_of(optimizer, model, 0.05), drawn.streams)
    return data, model


def everything(kind, device, optimizer):
    """Tables, metrics, lists and singular values, on the CPU."""
    data, model = trained(kind, device, optimizer)
    truth, seen, score = data.csr("test", device), data.csr("train", device), model.scorer()
    tables = [table.detach() for table in model()]
    found = {
        **{f"table {side}": table for side, table in enumerate(tables)},
        **{f"σ {side}": spectra.singular_values(table) for side, table in enumerate(tables)},
        "σ of scores": spectra.product_singular_values(*(table[0] for table in tables)),
        **evaluate(score, truth, seen, k=(5, 20)).mean,
    }
    lists = recommend(score, torch.arange(data.n_users, device=device), seen, 20)
    return {name: value.cpu() for name, value in found.items()}, lists.cpu()


@pytest.mark.parametrize(
    ("kind", "optimizer"), [("mf", "adam"), ("mf", "lazy_adam"), ("lightgcn", "adam")]
)
def test_an_epoch_and_what_is_measured_after_it(kind, optimizer, device):
    wanted, lists = everything(kind, "cpu", optimizer)
    found, found_lists = everything(kind, device, optimizer)
    start = make(kind, small_data(), SEEDS, "cpu")
    moved = (wanted["table 0"] - start()[0].detach()).abs().max()
    assert moved > 0.05, "training moved nothing: a weak test"
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-8, atol=1e-8, msg=name)
    assert torch.equal(found_lists, lists)
