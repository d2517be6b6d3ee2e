"""Replicas with interactions of their own: each gives what it gives by itself."""

import dataclasses
import functools

import pytest
import torch
from alone import assert_as_alone, assert_same_record, make, small_data

from specrec_core import experiments, memory, noise, parts, synthetic
from specrec_core.corrections import Debiasing
from specrec_core.lanes import Lanes
from specrec_core.models import MF
from specrec_core.neural import MultiMF, NeuMF
from specrec_core.records import Experiment
from specrec_core.regularization import Regularizer
from specrec_core.replicas import neighbours
from specrec_core.training import fit

SEEDS = (1, 4, 0, 2)
SHARES = (0.0, 0.1, 0.1, 0.5)
COMMON = dict(learning_rate=0.02, batch_size=256, epochs=25, patience=2, progress=False)
RATES = {"sgd": 20.0, "momentum": 2.0}


@pytest.fixture(scope="module")
def clean():
    return small_data()


def planted(data, kind="added", shares=SHARES):
    of_share = {share: noise.plant(data, share, kind=kind, seed=3) for share in shares}
    return [of_share[share] for share in shares]


def as_alone(build, data, device, **changes):
    assert_as_alone(build, data, SEEDS, COMMON | changes, uneven=device == "cpu")


@pytest.mark.parametrize("kind", noise.NOISE_KINDS)
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "momentum", "lazy_adam"])
def test_shares_of_noise_with_every_optimiser(optimizer, kind, clean, device):
    data = planted(clean, kind)
    counts = {one.train.nnz for one in data}
    assert len(counts) == (1 if kind == "replaced" else 3)
    settings = dict(optimizer=optimizer, learning_rate=RATES.get(optimizer, 0.02), l2=1e-3)
    as_alone(lambda seeds: make("mf", clean, seeds, device), data, device, **settings)


OPTIONS = {
    "candidates": dict(candidates=20, redraw=True),
    "negatives by popularity": dict(negative_distribution="popularity", negatives=3),
    "no negatives": dict(loss="alignment", regularizer=Regularizer("vicreg", strength=0.1)),
    "positives by users": dict(positives="users"),
    "sum": dict(reduction="sum"),
    "full batches": dict(drop_last=True, batch_size=200),
    "one batch": dict(batch_size=4096),
    "l2 of rows": dict(l2=0.05, l2_on="rows"),
    "l2 of norms": dict(l2=0.05, l2_on="norms"),
    "l2 of whole tables": dict(l2=1e-3, l2_on="whole"),
    # Not with Adam, which makes the last digits of the tiny gradients of rare rows large.
    "spectral norm": dict(
        regularizer=Regularizer("spectral_norm", strength=1e-3), optimizer="sgd", learning_rate=20.0
    ),
    "a falling rate": dict(decay=0.9),
    "every third epoch": dict(evaluate_every=3, patience=1),
}


def test_the_time_of_an_epoch_is_shared_by_interactions(clean):
    noisy = noise.plant(clean, 0.5, seed=3)
    history = fit(make("mf", clean, (1, 4), "cpu"), [clean, noisy], epochs=2, progress=False)
    share = noisy.train.nnz / clean.train.nnz
    assert history.seconds[1] / history.seconds[0] == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize("option", OPTIONS)
def test_shares_of_noise_with_every_option(option, clean, device):
    as_alone(lambda seeds: make("mf", clean, seeds, device), planted(clean), device,
             **OPTIONS[option])  # fmt: skip


def test_full_batches_that_are_as_many_of_unequal_data(clean, device):
    """A pair a share apart has the same number of them; also when the third replica has stopped."""
    few = noise.plant(clean, 0.005, seed=3)
    data = [clean, few, noise.plant(clean, 0.5, seed=3), few]
    assert clean.train.nnz < few.train.nnz and clean.train.nnz // 200 == few.train.nnz // 200
    settings = dict(drop_last=True, batch_size=200)
    as_alone(lambda seeds: make("mf", clean, seeds, device), data, device, **settings)


def test_data_in_any_order_and_the_last_epoch(clean, device):
    noisy = noise.plant(clean, 0.3, seed=3)
    bare = [dataclasses.replace(x, validation=0 * x.validation) for x in (clean, noisy)]
    data = [bare[1], bare[0], bare[1], bare[0]]
    assert_as_alone(lambda seeds: make("mf", clean, seeds, device), data, SEEDS,
                    COMMON | dict(select="last", epochs=4), uneven=False)  # fmt: skip


@pytest.mark.parametrize("kind", [NeuMF, MultiMF])
def test_shares_of_noise_of_networks(kind, clean, device):
    """Their layers have gradients and a state of their own, NeuMF draws which inputs it drops."""
    own = {"hidden": (8, 4), "dropout": 0.2} if kind is NeuMF else {"sets": 2, "width": 5}

    def build(seeds):
        return kind(clean.n_users, clean.n_items, 6, seeds=seeds, dtype=torch.float64,
                    **own).to(device)  # fmt: skip

    as_alone(build, planted(clean), device)


GRIDS = {  # settings of all, and of each, of the regularizer where they are named so
    "tables": ({}, {"learning_rate": (0.02, 0.05, 0.01, 0.02), "l2": (0.0, 1e-3, 0.1, 1e-2)}),
    "rows": ({"l2_on": "rows"}, {"l2": (0.0, 1e-3, 0.1, 1e-2)}),
    "norms": ({"l2_on": "norms"}, {"l2": (0.0, 1e-3, 0.1, 1e-2)}),
    "whole": ({"l2_on": "whole"}, {"l2": (0.0, 1e-4, 1e-2, 1e-3)}),
    "lazy": ({"optimizer": "lazy_adam"}, {"learning_rate": (0.02, 0.05, 0.01, 0.02)}),
    "balance": (
        {"loss": "logistic_alignment", "regularizer": "directspec+", "normalised": True},
        {"strength": (0.2, 1.0, 0.5, 0.7), "temperature": (2.0, 3.0, 1.0, 2.0),
         "shrink": (0.3, 1.0, 0.5, 0.8)},
    ),
    "norm of scores": (
        {"optimizer": "sgd", "learning_rate": 20.0, "regularizer": "spectral_norm"},
        {"strength": (1e-3, 1e-4, 1e-2, 1e-3)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("grid", GRIDS)
def test_noise_and_settings_of_their_own(grid, clean, device):
    """The whole of a grid at once, against one run for each of its points."""
    data, (fixed, varied) = planted(clean), GRIDS[grid]

    def run(seeds, which, own):
        of_fit = COMMON | fixed | own
        names = [field.name for field in dataclasses.fields(Regularizer)]
        balance = {name: of_fit.pop(name) for name in names if name in of_fit}
        model = make("mf", clean, seeds, device)
        return model, fit(model, which, regularizer=Regularizer(**balance), **of_fit)

    tensors = {k: torch.tensor(v, dtype=torch.float64, device=device) for k, v in varied.items()}
    together, history = run(SEEDS, data, tensors)
    for r, seed in enumerate(SEEDS):
        alone, own = run((seed,), data[r], {name: values[r] for name, values in varied.items()})
        assert own.epochs[0] == history.epochs[r]
        torch.testing.assert_close(alone.users[0], together.users[r], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(alone.items[0], together.items[r], rtol=1e-6, atol=1e-9)


NOISY = Experiment(
    dataset="synthetic", version="small", dim=4, epochs=12, seeds=(0, 1), patience=2,
    learning_rate=0.05, l2=1e-3, batch_size=256,
)  # fmt: skip


@pytest.fixture
def small(monkeypatch, clean):
    loaded = []

    def interactions(e):
        loaded.append(e.noise)
        return noise.plant(clean, e.noise, kind=e.noise_kind, seed=0) if e.noise else clean

    monkeypatch.setattr(experiments, "interactions", interactions)
    return loaded


@pytest.mark.parametrize("model", ["mf", "neumf"])
@pytest.mark.parametrize("together", [2, 10])
def test_a_group_leaves_the_records_of_its_experiments(model, together, small, device):
    """Also where it is taken apart in the midst of a share, and in whatever order it comes."""
    base = NOISY if model == "mf" else NOISY.with_(model="neumf", hidden=(8,), dropout=0.1)
    wholes = [
        base.with_(noise=0.5, seeds=(0, 1, 2)),
        base,
        base.with_(noise=0.2, learning_rate=0.02),
        base.with_(noise=0.2, noise_kind="replaced", seeds=(5,)),
    ]
    assert len({parts.kind(e) for e in wholes}) == 1
    found = experiments.run_together(wholes, device=device, together=together, progress=False)
    assert [record.experiment for record in found] == wholes
    alone = [experiments.run(e, device=device, together=1, progress=False) for e in wholes]
    assert len({e for record in alone for e in record.epochs_run}) > 1, "a weak test"
    for one, other in zip(found, alone, strict=True):
        assert_same_record(one, other)
    assert found[0].data["train"] > found[1].data["train"]


def test_data_are_loaded_once(small):
    grid = [NOISY.with_(learning_rate=rate, noise=n) for rate in (0.01, 0.02) for n in (0.0, 0.2)]
    experiments.run_together(grid, together=20, progress=False)
    assert sorted(small) == [0.0, 0.2]


@pytest.mark.parametrize("change", [{}, {"candidates": 20}, {"loss": "alignment"}])
def test_memory_counts_every_data_set(change, clean):
    needed = functools.partial(memory.needed, NOISY.with_(**change), clean.statistics, replicas=6)
    one, three = needed(), needed(datasets=3)
    for name, size in one.items():
        times = 3 if name in ("interactions", "sampler") else 1
        assert three[name] == times * size or name == "total", name
    assert one["sampler"] > 0 and three["total"] > one["total"]


def test_fewer_replicas_fit_where_data_are_many(monkeypatch, clean):
    counts, cpu = {**clean.statistics, "train": 10**7, "users": 10**4}, torch.device("cpu")
    four = memory.needed(NOISY, counts, replicas=4)["total"]
    monkeypatch.setattr(memory, "available", lambda _: four)
    assert memory.fitting(NOISY, counts, cpu, 8) == 4
    assert memory.fitting(NOISY, counts, cpu, 8, datasets=8) < 4


def test_what_cannot_have_data_of_its_own_is_of_another_kind():
    assert parts.kind(NOISY) == parts.kind(NOISY.with_(noise=0.1))
    for change in (
        {"model": "lightgcn", "layers": 2},
        {"drop": 0.2, "drop_ramp": 10},
        {"optimizer": "lazy_adam", "l2": 0.0},
        {"debias": "ips", "debias_settings": (0.5, 0.1)},
        {"positives": "user chunks", "loss": "mse_sigmoid", "l2": 0.0},
    ):
        other = NOISY.with_(**change)
        assert parts.kind(other) != parts.kind(other.with_(noise=0.1)), change


def test_what_does_not_fit_is_refused(clean):
    data = planted(clean)
    with pytest.raises(ValueError, match="data are 4: expected one, or one for each of 2"):
        fit(make("mf", clean, (0, 1), "cpu"), data)
    with pytest.raises(ValueError, match="expected one, which the model has the graph of"):
        fit(make("lightgcn", clean, SEEDS, "cpu"), data)
    with pytest.raises(ValueError, match=r"drop is 0\.1: expected 0\.0 where data differ"):
        fit(make("mf", clean, SEEDS, "cpu"), data, drop=0.1, drop_ramp=5)
    with pytest.raises(ValueError, match="positives is 'user chunks': expected"):
        fit(make("mf", clean, SEEDS, "cpu"), data, positives="user chunks", loss="mse_sigmoid")
    related = Regularizer(
        "directspec+", strength=0.5, temperature=2.0, temperature_unrelated=3.0, normalised=True
    )
    with pytest.raises(ValueError, match=r"temperature_unrelated is 3\.0: expected None"):
        fit(make("mf", clean, SEEDS, "cpu"), data, loss="logistic_alignment", regularizer=related)
    with pytest.raises(ValueError, match="debias is 'pda': expected 'none' where data differ"):
        fit(make("mf", clean, SEEDS, "cpu"), data, debias=Debiasing("pda", (0.1,)))
    other = synthetic.dcbm(n_users=130, n_items=90, n_communities=3, mean_degree=12.0, seed=1)
    with pytest.raises(ValueError, match=r"data \(synthetic\) have shape \(130, 90\): expected"):
        fit(make("mf", clean, SEEDS, "cpu"), other)
    with pytest.raises(ValueError, match=r"have shape \(130, 90\): expected \(120, 90\)"):
        fit(make("mf", clean, SEEDS, "cpu"), [*data[:3], other])


def test_runs_of_neighbours(clean):
    assert neighbours([3, 3, 1, 3]) == [(0, 2), (2, 3), (3, 4)]
    assert neighbours("a") == [(0, 1)]
    model, data = MF(clean.n_users, clean.n_items, 2, seeds=SEEDS), planted(clean)
    lanes = Lanes.of(data, model)
    assert [(p.start, p.stop) for p, _ in lanes.parts()] == [(0, 1), (1, 3), (3, 4)]
    assert lanes.several and not lanes.part(torch.tensor([1, 2])).several
    assert not Lanes.of(clean, model).several
    part = model.part(slice(1, 3))
    assert part.seeds == (4, 0)
    with torch.no_grad():
        part.users.fill_(7.0)
    assert (model.users[1:3] == 7).all() and not (model.users[[0, 3]] == 7).any()
