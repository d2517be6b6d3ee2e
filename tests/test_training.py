"""The training loop: replicas, early stop, selection, divergence."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from alone import assert_as_alone, make, small_data

from specrec_core import losses, synthetic
from specrec_core.corrections import Debiasing
from specrec_core.evaluation import evaluate, popularity_groups
from specrec_core.models import MF, gather, generator
from specrec_core.regularization import Regularizer
from specrec_core.replicas import optimizer_of, set_rate
from specrec_core.sampling import EpochSampler
from specrec_core.steps import Objective, RowSteps
from specrec_core.training import History, fit, track_popularity, track_spectra


@pytest.fixture(scope="module")
def data():
    return small_data()


@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
@pytest.mark.parametrize(
    "loss, balance",
    [
        ("bpr", {}),
        ("bce", {}),
        ("alignment", {}),
        ("sampled_softmax", dict(regularizer="log_determinant", strength=0.01)),
        ("alignment", dict(regularizer="uniformity", strength=0.3, temperature=2.0)),
        (
            "logistic_alignment",
            dict(regularizer="directspec+", strength=1.0, temperature=1.5, normalised=True,
                 temperature_unrelated=3.0),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else value.get("regularizer", "none"),
)  # fmt: skip
def test_replicas_equal_single_runs(kind, loss, balance, data, device):
    """Own initialisation, samples and early stop: training together changes nothing."""
    settings = dict(
        loss=loss, regularizer=Regularizer(**balance), learning_rate=0.02, decay=0.98, l2=1e-3,
        batch_size=256, epochs=25, patience=2, callbacks=(track_spectra,), progress=False,
    )  # fmt: skip
    assert_as_alone(lambda seeds: make(kind, data, seeds, device), data, (1, 4, 0), settings)


def test_replicas_with_strengths_of_their_own_equal_single_runs(data, device):
    """A sweep over α and τ as replicas; strengths stay with their replicas as others stop."""
    seeds, strengths, temperatures = (3, 3, 8, 1), (0.2, 1.0, 0.0, 0.9), (2.0, 3.0, 1.0, 0.5)

    def balance(strength, temperature):
        return Regularizer("directspec+", strength, temperature, normalised=True)

    settings = dict(
        loss="logistic_alignment", optimizer="sgd", learning_rate=20.0, batch_size=256, epochs=25,
        patience=2, progress=False,
    )  # fmt: skip
    together = make("mf", data, seeds, device)
    per_replica = [
        torch.tensor(x, dtype=torch.float64, device=device) for x in (strengths, temperatures)
    ]
    history = fit(together, data, regularizer=balance(*per_replica), **settings)
    assert len(set(history.epochs_run)) > 1, "no replica stopped before another: a weak test"
    for r, seed in enumerate(seeds):
        alone = make("mf", data, (seed,), device)
        own = fit(
            alone, data, **settings,
            regularizer=balance(torch.tensor(strengths[r]).double().to(device), temperatures[r]),
        )  # fmt: skip
        assert own.epochs[0] == history.epochs[r]
        torch.testing.assert_close(alone.users[0], together.users[r], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(together.users[0], together.users[1])


def test_each_replica_is_left_at_its_best_epoch(data, device):
    model = make("mf", data, (0, 1), device)
    history = fit(model, data, learning_rate=0.05, epochs=30, patience=3, progress=False)
    score = evaluate(model.scorer(), data.csr("validation", device), data.csr("train", device))
    for r in range(2):
        series = history.values["validation ndcg@10"][r]
        assert history.epochs[r][int(np.argmax(series))] == history.best_epoch[r]
        assert score.mean["ndcg@10"][r].item() == pytest.approx(max(series), rel=1e-9)
        assert history.epochs_run[r] - history.best_epoch[r] <= 3


def test_training_learns_planted_communities(data, device):
    model = make("mf", data, (0,), device)
    history = fit(model, data, learning_rate=0.02, epochs=40, progress=False)
    series = history.values["validation ndcg@10"][0]
    assert max(series) > 2 * series[0]
    assert history.values["loss"][0][-1] < history.values["loss"][0][1]


def test_the_table_of_a_history_is_the_mean_over_replicas():
    history = History([[0, 1], [0, 1, 2]], {"x": [[1.0, 2.0], [3.0, 6.0, 9.0]]})
    table = history.table()
    assert table.index.tolist() == [0, 1]
    assert table["x"].tolist() == [2.0, 4.0]


@pytest.mark.parametrize("distribution", ["uniform", "popularity"])
@pytest.mark.parametrize("positives", ["interactions", "users"])
def test_every_sampler_trains(distribution, positives, data):
    model = make("mf", data, (0,), "cpu")
    history = fit(
        model, data, negatives=2, negative_distribution=distribution, positives=positives,
        learning_rate=0.02, epochs=2, progress=False,
    )  # fmt: skip
    assert history.values["loss"][0][2] < history.values["loss"][0][1]


@pytest.mark.parametrize("l2_on", ["tables", "rows"])
@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
def test_one_sgd_step_is_the_gradient_step(kind, l2_on, data):
    """One batch of everything: the tables move by −rate × gradient of loss + l2 penalty."""
    seen = {}

    def keep(epoch, model):
        seen[epoch] = model.users.detach().clone(), model.items.detach().clone()
        return {}

    fit(
        make(kind, data, (4,), "cpu"), data, loss="logistic_alignment", optimizer="sgd", l2=0.3,
        l2_on=l2_on, learning_rate=0.5, batch_size=10**9, epochs=1, callbacks=(keep,),
        progress=False,
    )  # fmt: skip
    start = make(kind, data, (4,), "cpu")
    users = torch.tensor(np.repeat(np.arange(data.n_users), np.diff(data.train.indptr)))
    items = torch.tensor(data.train.indices.astype(np.int64))
    final_users, final_items = start()
    loss = losses.logistic_alignment((final_users[:, users] * final_items[:, items]).sum(-1))
    shrunk = (start.users, start.items) if l2_on == "tables" else (final_users, final_items)
    penalty = losses.l2(shrunk[0][:, users], shrunk[1][:, items])
    (loss + 0.3 * penalty).sum().backward()
    torch.testing.assert_close(seen[1][0] - seen[0][0], -0.5 * start.users.grad)
    torch.testing.assert_close(seen[1][1] - seen[0][1], -0.5 * start.items.grad)


@pytest.mark.parametrize("optimizer", ["momentum", "adamw"])
def test_two_steps_of_an_optimiser(optimizer, data):
    """v ← 0.9 v + g; and Adam, after each table was multiplied by 1 − 0.01 rate."""
    seen = {}

    def keep(epoch, model):
        seen[epoch] = model.users.detach().clone(), model.items.detach().clone()
        return {}

    rate = 0.5 if optimizer == "momentum" else 0.05
    fit(
        make("mf", data, (4,), "cpu"), data, loss="logistic_alignment", optimizer=optimizer,
        learning_rate=rate, batch_size=10**9, epochs=2, callbacks=(keep,), progress=False,
    )  # fmt: skip
    users = torch.tensor(np.repeat(np.arange(data.n_users), np.diff(data.train.indptr)))
    items = torch.tensor(data.train.indices.astype(np.int64))
    tables = [table.clone().requires_grad_() for table in seen[0]]
    first = [torch.zeros_like(table) for table in tables]
    second = [torch.zeros_like(table) for table in tables]
    for step in (1, 2):
        value = losses.logistic_alignment((tables[0][:, users] * tables[1][:, items]).sum(-1)).sum()
        gradients = torch.autograd.grad(value, tables)
        with torch.no_grad():
            for table, g, m, v in zip(tables, gradients, first, second, strict=True):
                if optimizer == "momentum":
                    m.mul_(0.9).add_(g)
                    table -= rate * m
                    continue
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g.square())
                moved = (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
                table.mul_(1 - 0.01 * rate).sub_(rate * moved)
    for got, expected in zip(seen[2], tables, strict=True):
        torch.testing.assert_close(got, expected.detach())


def test_each_replica_steps_at_its_own_rate(data, device):
    model = make("mf", data, range(4), device)
    apart = optimizer_of("sgd", model, torch.tensor([0.5, 0.25, 0.5, 0.125]))
    before = [table.detach().clone() for table in model.parameters()]
    for table in model.parameters():
        table.grad = torch.ones_like(table)
    apart.step()
    set_rate(apart, torch.tensor([2.0, 1.0, 2.0, 4.0]))
    apart.step()
    some = model.part(slice(1, 3))  # the two in the middle
    for table in some.parameters():
        table.grad = torch.ones_like(table)
    apart.step(list(some.parameters()), 1)
    moved = torch.tensor([2.5, 1.25 + 1.0, 2.5 + 2.0, 4.125], device=device).view(4, 1, 1)
    for table, first in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(table.detach(), first - moved)


def test_lazy_adam_moves_touched_rows_alone(data, device):
    """Against Adam written out, whose moments stay where a row is not in the batch."""
    model = make("mf", data, (0, 1), device)
    adam = optimizer_of("lazy_adam", model, 0.05)
    sampler = EpochSampler(data.csr("train", device), "interactions", 2, "uniform")
    train = data.csr("train", device)
    plain = Objective("bpr", Regularizer().on(train), Debiasing().on(train))
    steps = RowSteps(sampler, plain, 30, l2=0.3)
    tables = [t.detach().clone().cpu().double() for t in (model.users, model.items)]
    moments = [[torch.zeros_like(t), torch.zeros_like(t)] for t in tables]
    streams = [generator(seed, "samples", device) for seed in (0, 1)]
    drawn = [sampler.epoch(generator(seed, "samples", device)) for seed in (0, 1)]
    steps(model, adam, streams)
    for step in range(1, 1 + -(-data.train.nnz // 30)):
        leaves = [t.clone().requires_grad_() for t in tables]
        value, hit = 0.0, [torch.zeros(t.shape[:2], dtype=torch.bool) for t in tables]
        for r, columns in enumerate(drawn):
            u, p, n = (c[30 * (step - 1) : 30 * step].cpu() for c in columns)
            hit[0][r, u], hit[1][r, p], hit[1][r, n.flatten()] = True, True, True
            users, items, others = leaves[0][r, u], leaves[1][r, p], leaves[1][r, n]
            x = (users * items).sum(-1, keepdim=True) - (users.unsqueeze(1) * others).sum(-1)
            squares = users.square().sum() + items.square().sum() + others.square().sum()
            value = value - torch.nn.functional.logsigmoid(x).mean() + 0.15 * squares / len(u)
        value.backward()
        for table, leaf, (m, v), rows in zip(tables, leaves, moments, hit, strict=True):
            g = leaf.grad[rows]
            m[rows] = 0.9 * m[rows] + 0.1 * g
            v[rows] = 0.999 * v[rows] + 0.001 * g.square()
            rate = 0.05 * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)
            table[rows] -= rate * m[rows] / (v[rows].sqrt() + 1e-8)  # 1e-8 as torch adds it here
    for got, expected in zip((model.users, model.items), tables, strict=True):
        torch.testing.assert_close(got.detach().cpu().double(), expected, rtol=1e-8, atol=1e-10)


def test_lazy_adam_is_for_rows(data):
    settings = {"optimizer": "lazy_adam", "epochs": 1, "progress": False}
    fit(make("mf", data, (0,), "cpu"), data, **settings)
    for model, more in (("lightgcn", {}), ("mf", {"positives": "user chunks"}),
                        ("mf", {"l2": 0.1, "l2_on": "whole"})):  # fmt: skip
        with pytest.raises(ValueError, match="rows of a batch alone"):
            fit(make(model, data, (0,), "cpu"), data, **{**settings, **more})


def test_popularity_is_tracked_of_the_lists_that_are_recommended(data, device):
    """Share of the head as `evaluate` has it, and σ₁/Σσ as numpy has it, at every epoch."""
    whole = replace(data, test=data.train, validation=data.validation * 0)  # a test for every user
    groups = popularity_groups(torch.as_tensor(whole.item_popularity))
    expected = []

    def look(epoch, model):
        seen = whole.csr("train", device)
        found = evaluate(
            model.scorer(), whole.csr("test", device), seen, k=(20,), item_groups=groups.to(device)
        )
        users, items = (x[0].detach().cpu().double().numpy() for x in model())
        s = np.linalg.svd(users @ items.T, compute_uv=False)
        expected.append((float(found.mean["share[4]@20"][0]), s[0] / s.sum()))
        return {}

    track = track_popularity(whole, "sigmoid", Debiasing(), torch.device(device))
    history = fit(
        make("mf", whole, (3,), device), whole, loss="mse_sigmoid", learning_rate=0.05, epochs=4,
        select="last", callbacks=(look, track), progress=False,
    )  # fmt: skip
    names = ("share[4]@20", "share of sigma1 of scores")
    got = np.array([history.values[name][0] for name in names]).T
    np.testing.assert_allclose(got, np.array(expected), rtol=1e-6)
    assert got[-1, 0] != got[0, 0]


def test_without_selection_every_interaction_trains_and_the_last_epoch_stays(data):
    whole = replace(data, train=data.train + data.validation, validation=data.validation * 0)
    seen = {}

    def keep(epoch, model):
        seen[epoch] = model.users.detach().clone()
        return {}

    model = make("mf", whole, (0, 1), "cpu")
    history = fit(
        model, whole, learning_rate=0.05, epochs=13, patience=1, evaluate_every=5, select="last",
        callbacks=(keep,), progress=False,
    )  # fmt: skip
    assert history.epochs == [[0, 5, 10, 13]] * 2 and history.best_epoch == [13, 13]
    torch.testing.assert_close(model.users.detach(), seen[13], rtol=0, atol=0)
    score = evaluate(model.scorer(), whole.csr("test"), whole.csr("train"), k=(10,))
    last = [series[-1] for series in history.values["test ndcg@10"]]
    assert last == score.mean["ndcg@10"].tolist()
    with pytest.raises(ValueError, match="of no use to select='last'"):
        fit(model, data, select="last", epochs=1, progress=False)


def test_the_rate_decays_from_epoch_to_epoch(data):
    """On a linear loss of one fixed batch, epoch t moves the tables by rate · decay^(t − 1)."""
    moves = []

    def keep(epoch, model):
        moves.append(model.users.detach().clone())
        return {}

    fit(
        make("mf", data, (0,), "cpu"), data, loss="inner_product", optimizer="sgd", decay=0.5,
        learning_rate=1e-6, batch_size=10**9, epochs=3, callbacks=(keep,), progress=False,
    )  # fmt: skip
    steps = [(b - a).norm().item() for a, b in itertools.pairwise(moves)]
    assert steps[1] / steps[0] == pytest.approx(0.5, rel=1e-5)
    assert steps[2] / steps[1] == pytest.approx(0.5, rel=1e-5)


def test_dropping_the_last_batch_leaves_the_full_ones(data):
    """A batch of more than half the samples: with drop_last there is one step, else two."""
    size = data.train.nnz // 2 + 1
    counted = []

    class Counting(Regularizer):
        def loss(self, objective, rows, ids):
            counted.append(rows[0].shape[-2])
            return super().loss(objective, rows, ids)

    for drop_last in (True, False):
        fit(
            make("mf", data, (0,), "cpu"), data, batch_size=size, epochs=1, drop_last=drop_last,
            regularizer=Counting(), progress=False,
        )  # fmt: skip
    assert counted == [size, size, data.train.nnz - size]
    with pytest.raises(ValueError, match="batch_size is"):
        fit(
            make("mf", data, (0,), "cpu"), data, batch_size=10**9, epochs=1, drop_last=True,
            progress=False,
        )  # fmt: skip


def test_divergence_names_replica_and_step(data):
    model = make("mf", data, (7, 9), "cpu")
    with pytest.raises(FloatingPointError, match=r"seed (7|9) diverged.*epoch \d+, step \d+;"):
        fit(model, data, loss="bce", optimizer="sgd", learning_rate=1e200, epochs=3, progress=False)


@pytest.mark.parametrize("why", [FloatingPointError, KeyboardInterrupt])
def test_what_ends_a_fit_early_leaves_every_replica_at_its_best_epoch(data, why):
    """Also those that had stopped before: the model is what it would be after fewer epochs."""

    def stop(epoch, model):
        if epoch == 4:
            raise why
        return {}

    settings = {"learning_rate": torch.tensor([1e-2, 1.0]), "patience": 2, "progress": False}
    short, long = make("mf", data, (7, 9), "cpu"), make("mf", data, (7, 9), "cpu")
    history = fit(short, data, epochs=3, **settings)
    with pytest.raises(why):
        fit(long, data, epochs=9, callbacks=[stop], **settings)
    assert sorted(history.epochs_run) == [2, 3] and any(history.best_epoch)  # one stopped before
    for got, expected in zip(long.parameters(), short.parameters(), strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=0)


def test_divergence_in_the_last_step_is_named_too(data):
    """The losses of the only step are finite, the tables after it are not."""
    model = make("mf", data, (7, 9), "cpu")
    with pytest.raises(FloatingPointError, match=r"seed 7 diverged: its table of users .*epoch 1"):
        fit(
            model, data, optimizer="sgd", learning_rate=1e308, l2=1e10, batch_size=10**9,
            epochs=1, progress=False,
        )  # fmt: skip


def test_gather_takes_each_replica_from_its_own_table(device):
    tables = torch.randn(3, 5, 2, device=device)
    ids = torch.tensor([[[0, 4]], [[1, 1]], [[2, 3]]], device=device)
    got = gather(tables, ids)
    assert got.shape == (3, 1, 2, 2)
    for r in range(3):
        torch.testing.assert_close(got[r, 0], tables[r, ids[r, 0]])


def test_bad_arguments_are_named(data):
    model = make("mf", data, (0,), "cpu")
    for argument, value in (
        ("loss", "hinge"), ("optimizer", "lion"), ("positives", "x"), ("metric", "ndcg"),
        ("negative_distribution", "x"), ("metric", "rmse@10"), ("metric", "gini@10"),
        ("patience", 0), ("batch_size", 0), ("evaluate_every", 0), ("epochs", -1), ("l2", -5.0),
        ("learning_rate", float("nan")), ("negatives", 0), ("decay", 0.0), ("l2_on", "x"),
        ("select", "first"), ("regularizer", "directspec"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=argument):
            fit(model, data, **{"epochs": 1, argument: value}, progress=False)
    bare = synthetic.dcbm(n_users=50, n_items=40, n_communities=2, mean_degree=6.0)
    bare = replace(bare, validation=bare.validation * 0)
    with pytest.raises(ValueError, match="no validation interactions"):
        fit(MF(bare.n_users, bare.n_items, 4), bare, epochs=1, progress=False)
