"""A step of training queues work on the device and never waits for it: what may, is named here.

An epoch waits: it draws samples, looks at losses, evaluates. So samples are drawn beforehand here,
and an epoch is one step. `CoOccurrence` and `sparse_rows` have to know how many pairs or rows there
are; the steps that call them, of ``directspec+`` with two temperatures and of lazy Adam, do wait.
"""

import contextlib

import pytest
import torch

from specrec_core import synthetic
from specrec_core.chunks import ChunkSteps, user_chunks
from specrec_core.corrections import Debiasing
from specrec_core.models import MF, LightGCN, generator
from specrec_core.objectives import OBJECTIVES
from specrec_core.regularization import Regularizer
from specrec_core.replicas import optimizer_of
from specrec_core.sampling import EpochSampler, Negatives
from specrec_core.steps import Objective, RowSteps

RELATED = Regularizer("directspec+", 0.1, 2.0, temperature_unrelated=3.0, normalised=True)
PLAIN = Regularizer()
INVCF, IPL = Debiasing("invcf", (0.1, 0.1, 0.1, 0.2)), Debiasing("ipl", (0.1, 1.4))
ROWS = {  # model, loss, optimiser, regularizer, method against popularity bias
    "bpr-mf": ("mf", "bpr", "adam", PLAIN, Debiasing()),
    "lightgcn": ("lightgcn", "bpr", "adam", PLAIN, Debiasing()),
    "invcf": ("mf", "sampled_softmax", "adam", PLAIN, INVCF),
    "ipl": ("lightgcn", "bpr", "adam", PLAIN, IPL),
}
WAITING = {
    "lazy adam: sparse_rows": ("mf", "bpr", "lazy_adam", PLAIN, Debiasing()),
    "two temperatures: CoOccurrence": ("mf", "logistic_alignment", "adam", RELATED, Debiasing()),
}


class Drawn:
    """An epoch that was drawn before: the same samples for each replica."""

    def __init__(self, sampler, stream):
        self.samples = sampler.epoch(stream)

    def epoch(self, stream):
        return self.samples


@pytest.fixture
def train():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine: on a CPU there is nothing to wait for")
    data = synthetic.dcbm(n_users=120, n_items=90, n_communities=3, mean_degree=12.0, seed=1)
    return data.csr("train", "cuda")


@contextlib.contextmanager
def no_waiting():
    """Inside, torch raises a RuntimeError where the host would wait for the device."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def row_step(kind, loss, optimizer, balance, debias, train):
    """A call that takes one step of two replicas."""
    seeds, device = (0, 1), train.device
    if kind == "lightgcn":
        model = LightGCN(train, 8, layers=2, seeds=seeds)
    else:
        model = MF(*train.shape, 8, seeds=seeds).to(device)
    count = int(OBJECTIVES[loss][1])
    sampler = EpochSampler(train, "interactions", count, "uniform")
    drawn = Drawn(sampler, generator(0, "samples", device))
    correct = debias.on(train, model.users.dtype)
    correct.prepare(model)
    steps = RowSteps(drawn, Objective(loss, balance.on(train), correct), train.nnz)
    stepper = optimizer_of(optimizer, model, 0.01)
    return lambda: steps(model, stepper, [None, None])


@pytest.mark.gpu
@pytest.mark.parametrize("name", ROWS)
def test_a_step_by_rows_does_not_wait(name, train):
    step = row_step(*ROWS[name], train)
    before = step()
    with no_waiting():
        after = step()
    assert after.shape == (2, 1) and (after < before).all()


@pytest.mark.gpu
def test_a_step_by_chunks_does_not_wait(train):
    """Its negatives are drawn in the step."""
    model = MF(*train.shape, 8, seeds=(0, 1)).to(train.device)
    objective = Objective("mse_sigmoid", Regularizer(), Debiasing().on(train), "sum")
    steps = ChunkSteps(user_chunks(train, train.shape[0]), Negatives(train), 2, objective, 1e-3)
    stepper = optimizer_of("adam", model, 0.01)
    streams = [generator(seed, "samples", train.device) for seed in (0, 1)]
    steps(model, stepper, streams)
    with no_waiting():
        value = steps(model, stepper, streams)
    assert value.shape == (2, 1) and value.isfinite().all()


@pytest.mark.gpu
@pytest.mark.parametrize("name", WAITING)
def test_the_steps_that_wait_are_these(name, train):
    step = row_step(*WAITING[name], train)
    step()
    with pytest.raises(RuntimeError, match="synchronizing"), no_waiting():
        step()
