"""The memory a run needs: against what tensors it holds, and the refusal of one that cannot fit."""

import json
import re
import subprocess
import sys
import weakref
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from specrec_core import catalogue, experiments, memory, sampling
from specrec_core.arguments import OPTIMIZERS
from specrec_core.building import build, interactions
from specrec_core.corrections import Debiasing
from specrec_core.interactions import Interactions
from specrec_core.records import Experiment
from specrec_core.regularization import Regularizer
from specrec_core.replicas import optimizer_of
from specrec_core.steps import Objective

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


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_state_is_counted_as_the_optimiser_keeps_it(name):
    wanted = experiment(optimizer=name)
    data = interactions(wanted)
    made = build(wanted, data, wanted.seeds, "cpu")
    stepper = optimizer_of(name, made, 0.1)
    for table in made.parameters():
        gradient = torch.ones_like(table)
        table.grad = gradient.to_sparse() if name == "lazy_adam" else gradient
    stepper.step()
    kept = [t for state in stepper.state.values() for t in state.values() if torch.is_tensor(t)]
    size = sum(t.numel() * t.element_size() for t in kept if t.dim())  # steps are one number
    assert size == memory.needed(wanted, data.statistics)["optimiser"]


@pytest.mark.parametrize("model", list(MODELS))
def test_more_of_everything_needs_more(model):
    statistics = dict(users=10**5, items=10**5, train=10**6, test=10**5, validation=10**5)
    least = memory.needed(experiment(model), statistics)["total"]
    for changes in (dict(dim=64), dict(seeds=tuple(range(9)))):
        assert memory.needed(experiment(model, **changes), statistics)["total"] > least
    sampled = memory.needed(experiment(model, candidates=100), statistics)
    assert sampled["evaluation"] > memory.needed(experiment(model), statistics)["evaluation"]
    assert memory.needed(experiment(model), {**statistics, "users": 10**6})["total"] > least


def at_random(users, items, count, tested=500):
    """Random interactions; ``tested`` users have one item to validate and one to test on."""

    def matrix(rows, columns):
        return sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), (users, items))

    columns = np.random.default_rng(0).integers(items - 2, size=count)
    some = np.arange(tested)
    return Interactions(
        "synthetic", catalogue.SYNTHETIC, "",
        train=matrix(np.arange(count) * users // count, columns),
        validation=matrix(some, some * 0 + items - 2),
        test=matrix(some, some * 0 + items - 1),
    )  # fmt: skip


LARGE = {  # two million interactions, of which a CPU takes in an epoch within seconds
    "mf": experiment("mf", seeds=(0,), batch_size=2**16),
    "popular negatives": experiment(
        "mf", seeds=(0,), batch_size=2**16, negatives=4, negative_distribution="popularity"
    ),
    "by users": experiment("mf", seeds=(0,), batch_size=2**16, positives="users"),
    "wide rows": experiment("mf", seeds=(0,), batch_size=2**13, dim=64),
    "lightgcn": experiment("lightgcn", seeds=(0,), batch_size=2**18, dim=32),
}


def run_on(data, wanted, device="cpu"):
    with mock.patch.object(experiments, "interactions", return_value=data):
        experiments.run(wanted, device=device, progress=False)


def said(wanted, data, device):
    return memory.needed(wanted, data.statistics, device=device)["total"] - memory.OVERHEAD


def resident(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def print_what_it_takes(name):
    """Said to be needed, and taken, bytes of this process; its libraries are warm before."""
    wanted = LARGE[name]
    run_on(at_random(1000, 500, 20_000), wanted)
    data = at_random(40_000, 20_000, 2_000_000)
    memory.check(wanted, data.statistics, torch.device("cpu"), 1)  # gives back what is free
    before, highest = resident("VmRSS"), resident("VmHWM")
    run_on(data, wanted)
    assert resident("VmHWM") > highest  # or it would be the peak of what made the data
    print(json.dumps([said(wanted, data, "cpu"), resident("VmHWM") - before]))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("name", list(LARGE))
def test_a_run_takes_no_more_than_was_said(name):
    """The peak of the memory of a process, beside that of its libraries and of the data."""
    code = "import sys; sys.path.append(sys.argv[1]); import test_memory; "
    code += "test_memory.print_what_it_takes(sys.argv[2])"
    command = [sys.executable, "-c", code, str(Path(__file__).parent), name]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    needed, taken = json.loads(done.stdout)
    assert taken <= needed <= 3 * taken


@pytest.mark.gpu
@pytest.mark.parametrize("model", ["mf", "neumf", "lightgcn", "sgl", "xsimgcl"])
def test_a_run_takes_no_more_than_was_said_on_a_gpu(model):
    """The peak of all tensors that live at once, beside what lived before."""
    if not torch.cuda.is_available():
        pytest.skip("only CUDA counts the peak of its allocations")
    batch = 2048 if model in ("sgl", "xsimgcl") else 2**16
    wanted = experiment(model, dim=64, batch_size=batch)
    run_on(at_random(1000, 500, 20_000), wanted, "cuda")  # libraries take their working space
    data = at_random(40_000, 20_000, 2_000_000)
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run_on(data, wanted, "cuda")
    taken = torch.cuda.max_memory_allocated() - before
    assert taken <= said(wanted, data, "cuda") <= 3 * taken


def test_the_samples_of_an_epoch_are_counted():
    """Interactions, sampler and samples, while there are steps; of one replica, what sorts them."""
    least = dict(users=1000, items=10**5, train=10**7, test=0, validation=0)
    more = {**least, "train": 2 * 10**7}
    for replicas, samples, most in ((1, 24, 48), (5, 240, 240)):
        few, many = (
            memory.needed(experiment("mf"), counts, replicas=replicas, device="cuda")
            for counts in (least, more)
        )
        assert many["samples"] - few["samples"] == samples * 10**7
        # Each interaction once, its user and key and what is skipped; and samples, or their making.
        assert many["total"] - few["total"] == (32 + most) * 10**7
        assert few["sampling"] <= most * 10**7 + 6 * 8 * sampling.BLOCK


class Living(TorchDispatchMode):
    """Bytes of the tensors that are made inside: those that live, and the most that ever did."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self.known = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        self.note((arguments, keywords), counted=False)
        made = function(*arguments, **(keywords or {}))
        self.note(made, counted=True)
        self.peak = max(self.peak, self.now)
        return made

    def note(self, of, counted):
        for tensor in tree_leaves(of):
            storage = tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None
            if storage is not None and storage._cdata not in self.known:
                size = storage.nbytes() if counted else 0
                self.known.add(storage._cdata)
                self.now += size
                weakref.finalize(storage, self.gone, storage._cdata, size)

    def gone(self, key, size):
        self.known.remove(key)
        self.now -= size


@pytest.mark.parametrize("name", ["mf", "popular negatives", "by users"])
def test_drawing_an_epoch_forms_no_more_than_was_said(name, monkeypatch):
    """All tensors that live at once, the interactions apart: looked up by small blocks."""
    for module in (sampling, memory):
        monkeypatch.setattr(module, "BLOCK", 2**12)
    wanted, data = LARGE[name], at_random(40_000, 20_000, 200_000)
    parts, train = memory.needed(wanted, data.statistics, replicas=1), data.csr("train")
    how = wanted.positives, wanted.negatives, wanted.negative_distribution
    with Living() as making:
        sampler = sampling.EpochSampler(train, *how)
        assert making.now <= parts["sampler"] <= 1.1 * making.now
        assert making.peak <= parts["sampler"] + parts["sampling"]
    with Living() as drawing:
        samples = sampler.epoch(torch.Generator().manual_seed(0))
        assert drawing.now == parts["samples"] == sum(8 * ids.numel() for ids in samples)
    assert drawing.peak <= parts["sampling"] <= 1.1 * drawing.peak


@pytest.mark.parametrize("model, batch", [("sgl", 1024), ("xsimgcl", 2048)])
def test_a_contrastive_step_forms_no_more_than_was_said(model, batch):
    """What compares the nodes of a batch is most of it."""
    wanted, data = experiment(model, batch_size=batch), at_random(8000, 4000, 100_000)
    made = build(wanted, data, wanted.seeds, "cpu")
    made.new_epoch([torch.Generator().manual_seed(seed) for seed in wanted.seeds])
    ids = [torch.randint(0, n, (2, batch)) for n in (8000, 4000)]
    with Living() as step:
        made.own_loss(made.training_pass(), ids).sum().backward()
    assert step.peak <= memory.needed(wanted, data.statistics)["step"] <= 3 * step.peak


@pytest.mark.parametrize(
    "name, settings",
    [
        (
            "invcf",
            dict(loss="sampled_softmax", debias="invcf", debias_settings=(0.1, 0.1, 0.1, 0.2)),
        ),
        ("spectral_contrastive", dict(loss="inner_product", strength=0.1)),
    ],
)
def test_a_step_that_compares_all_rows_of_a_batch_forms_no_more_than_was_said(name, settings):
    if "debias" not in settings:
        settings = settings | {"regularizer": name}
    wanted = experiment("mf", batch_size=1024, seeds=(0,), **settings)
    data = at_random(3000, 2000, 200_000)
    train, model = data.csr("train"), build(wanted, data, wanted.seeds, "cpu")
    debias = Debiasing(wanted.debias, wanted.debias_settings).on(train, torch.float32)
    debias.prepare(model)
    balance = Regularizer(wanted.regularizer, wanted.strength).on(train)
    rows = [torch.randn(1, 1024, *n, 8, requires_grad=True) for n in ((), (), (1,))]
    ids = [torch.randint(0, n, (1, 1024)) for n in (3000, 2000)] + [torch.zeros(1, 1024, 1).long()]
    with Living() as step:
        Objective(wanted.loss, balance, debias).of_rows(model, rows, ids).sum().backward()
    assert step.peak <= memory.needed(wanted, data.statistics)["step"] <= 3 * step.peak


def test_the_memory_of_a_run_is_stated_where_its_progress_is_shown(capsys):
    stated = r"dim 8\) needs about \d+ MiB on cpu, and [\d.]+ [GM]iB are free"
    experiments.run(experiment("mf", seeds=(0,)), progress=True)
    assert re.search(stated, capsys.readouterr().err)
    experiments.run(experiment("mf", seeds=(0,)), progress=False)
    assert capsys.readouterr().err == ""


def test_chunks_of_users_hold_their_scores():
    statistics = dict(users=10**5, items=10**5, train=10**6, test=10**5, validation=10**5)
    few = experiment(positives="user chunks", loss="mse_sigmoid", batch_size=2048)
    assert memory.needed(few, statistics, replicas=1)["step"] < 2048 * 10**5 * 4 / 4
    chunks = few.with_(regularizer="spectral_norm", spectral_variant="official", strength=0.01)
    step = memory.needed(chunks, statistics, replicas=1)["step"]
    assert step > 2 * 2048 * 10**5 * 4  # the scores of the chunk, and their gradient
    more = memory.needed(chunks.with_(batch_size=4096), statistics, replicas=1)["step"]
    assert more == pytest.approx(2 * step, rel=0.01)


def test_a_run_that_cannot_fit_is_refused_with_the_number(monkeypatch):
    e = experiment("mf", dim=2**15)
    monkeypatch.setattr(memory, "available", lambda device: 2**28)
    with pytest.raises(MemoryError, match=r"needs about 5\.\d GiB on cpu, and 256 MiB are free"):
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
