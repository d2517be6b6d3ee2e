"""The memory a run needs: against what tensors it holds, and the refusal of one that cannot fit."""

import subprocess
import sys

import pytest
import torch

from specrec_core import catalogue, experiments, memory
from specrec_core.building import build, interactions
from specrec_core.records import Experiment

CONTRAST = dict(layers=2, contrast_weight=0.1, contrast_temperature=0.5)
MODELS = {
    "mf": {},
    "neumf": dict(hidden=(16, 8)),
    "lightgcn": dict(layers=2),
    "sgl": dict(edge_dropout=0.1, **CONTRAST),
    "xsimgcl": dict(perturbation=0.1, contrast_layer=1, **CONTRAST),
    "multi_mf": dict(sets=2, width=8),
    "multi_lightgcn": dict(sets=2, width=8, layers=2),
}


def experiment(model="mf", **changes):
    settings = dict(dataset="synthetic", version=catalogue.SYNTHETIC, dim=8, epochs=1, seeds=(0, 1))
    return Experiment(model=model, **{**settings, **MODELS[model], **changes})


@pytest.mark.parametrize("model", list(MODELS))
def test_tables_and_state_are_counted_as_they_are(model):
    e = experiment(model)
    data = interactions(e)
    made = build(e, data, e.seeds, "cpu")
    size = sum(t.numel() * t.element_size() for t in (made.users, made.items))
    parts = memory.needed(e, data.statistics)
    assert parts["tables"] == size and parts["optimiser"] == 2 * size
    assert memory.needed(e, data.statistics, replicas=1)["tables"] == size // 2
    assert memory.needed(e.with_(optimizer="sgd"), data.statistics)["optimiser"] == 0


@pytest.mark.parametrize("model", list(MODELS))
def test_more_of_everything_needs_more(model):
    statistics = dict(users=10**5, items=10**5, train=10**6, test=10**5, validation=10**5)
    least = memory.needed(experiment(model), statistics)["total"]
    for changes in (dict(dim=64), dict(seeds=tuple(range(9)))):
        assert memory.needed(experiment(model, **changes), statistics)["total"] > least
    sampled = memory.needed(experiment(model, candidates=100), statistics)
    assert sampled["evaluation"] > memory.needed(experiment(model), statistics)["evaluation"]
    assert memory.needed(experiment(model), {**statistics, "users": 10**6})["total"] > least


@pytest.mark.parametrize("model", ["mf", "neumf", "lightgcn", "sgl", "xsimgcl"])
def test_a_run_takes_no_more_than_was_said(model):
    """The peak of all tensors that live at once while a small run trains and is evaluated."""
    if not torch.cuda.is_available():
        pytest.skip("only CUDA counts the peak of its allocations")
    e = experiment(model, dim=256)
    data = interactions(e)
    torch.cuda.reset_peak_memory_stats()
    experiments.run(e, device="cuda", progress=False)
    needed = memory.needed(e, data.statistics, device="cuda")["total"]
    assert torch.cuda.max_memory_allocated() <= needed


def test_chunks_of_users_hold_their_scores():
    statistics = dict(users=10**5, items=10**5, train=10**6, test=10**5, validation=10**5)
    chunks = experiment(positives="user chunks", loss="mse_sigmoid", batch_size=2048)
    step = memory.needed(chunks, statistics, replicas=1)["step"]
    assert step > 2 * 2048 * 10**5 * 4  # the scores of the chunk, and their gradient
    more = memory.needed(chunks.with_(batch_size=4096), statistics, replicas=1)["step"]
    assert more == pytest.approx(2 * step, rel=0.01)


def test_a_run_that_cannot_fit_is_refused_with_the_number(monkeypatch):
    e = experiment("mf", dim=2**15)
    monkeypatch.setattr(memory, "available", lambda device: 2**28)
    with pytest.raises(MemoryError, match=r"needs about 3\.\d GiB on cpu, and 256 MiB are free"):
        experiments.run(e, progress=False)
    monkeypatch.undo()
    assert memory.available(torch.device("cpu")) > 2**20


FAULTS = """
import resource, sys, torch
from specrec_core import memory
if sys.argv[1] == "keep":
    assert memory.keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(2**25)
before = faults()
for _ in range(8):
    torch.ones(2**25)
print(faults() - before)
"""


@pytest.mark.skipif(not memory.keep_freed(), reason="not a glibc that takes it")
def test_what_was_freed_is_kept_and_not_mapped_anew():
    def faults(how):
        command = [sys.executable, "-c", FAULTS, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    kept, given_back = faults("keep"), faults("plain")
    assert kept < given_back / 4  # of eight blocks of 32,768 pages, or 64 huge ones, each
