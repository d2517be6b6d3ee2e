"""The training loop: replicas, early stop, selection, divergence."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from specrec_core import losses, synthetic
from specrec_core.evaluation import evaluate
from specrec_core.models import MF, LightGCN
from specrec_core.training import History, fit, gather, track_spectra


@pytest.fixture(scope="module")
def data():
    return synthetic.dcbm(n_users=120, n_items=90, n_communities=3, mean_degree=12.0, seed=1)


def make(kind, data, seeds, device):
    if kind == "lightgcn":
        train = data.csr("train", device)
        return LightGCN(train, 6, layers=2, seeds=seeds, dtype=torch.float64).to(device)
    return MF(data.n_users, data.n_items, 6, seeds=seeds, dtype=torch.float64).to(device)


@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
@pytest.mark.parametrize("loss", ["bpr", "bce", "alignment"])
def test_replicas_equal_single_runs(kind, loss, data, device):
    """Own initialisation, samples and early stop: training together changes nothing."""
    settings = dict(
        loss=loss, learning_rate=0.02, l2=1e-3, batch_size=256, epochs=25, patience=2,
        callbacks=(track_spectra,), progress=False,
    )  # fmt: skip
    together = make(kind, data, (3, 1, 8), device)
    history = fit(together, data, **settings)
    assert len(set(history.epochs_run)) > 1, "no replica stopped before another: a weak test"
    for r, seed in enumerate((3, 1, 8)):
        alone = make(kind, data, (seed,), device)
        own = fit(alone, data, **settings)
        assert own.epochs[0] == history.epochs[r]
        assert own.best_epoch[0] == history.best_epoch[r]
        for name, series in own.values.items():
            np.testing.assert_allclose(series[0], history.values[name][r], rtol=1e-7)
        torch.testing.assert_close(alone.users[0], together.users[r], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(alone.items[0], together.items[r], rtol=1e-6, atol=1e-9)


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


@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
def test_one_sgd_step_is_the_gradient_step(kind, data):
    """One batch of everything: the tables move by −rate × gradient of loss + l2 penalty."""
    seen = {}

    def keep(epoch, model):
        seen[epoch] = model.users.detach().clone(), model.items.detach().clone()
        return {}

    fit(
        make(kind, data, (4,), "cpu"), data, loss="logistic_alignment", optimizer="sgd", l2=0.3,
        learning_rate=0.5, batch_size=10**9, epochs=1, callbacks=(keep,), progress=False,
    )  # fmt: skip
    start = make(kind, data, (4,), "cpu")
    users = torch.tensor(np.repeat(np.arange(data.n_users), np.diff(data.train.indptr)))
    items = torch.tensor(data.train.indices.astype(np.int64))
    final_users, final_items = start()
    loss = losses.logistic_alignment((final_users[:, users] * final_items[:, items]).sum(-1))
    penalty = losses.l2(start.users[:, users], start.items[:, items])
    (loss + 0.3 * penalty).sum().backward()
    torch.testing.assert_close(seen[1][0] - seen[0][0], -0.5 * start.users.grad)
    torch.testing.assert_close(seen[1][1] - seen[0][1], -0.5 * start.items.grad)


def test_divergence_names_replica_and_step(data):
    model = make("mf", data, (7, 9), "cpu")
    with pytest.raises(FloatingPointError, match=r"seed (7|9) diverged.*epoch \d+, step \d+ of"):
        fit(model, data, loss="bce", optimizer="sgd", learning_rate=1e200, epochs=3, progress=False)


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
        ("learning_rate", float("nan")), ("negatives", 0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=argument):
            fit(model, data, **{"epochs": 1, argument: value}, progress=False)
    bare = synthetic.dcbm(n_users=50, n_items=40, n_communities=2, mean_degree=6.0)
    bare = replace(bare, validation=bare.validation * 0)
    with pytest.raises(ValueError, match="no validation interactions"):
        fit(MF(bare.n_users, bare.n_items, 4), bare, epochs=1, progress=False)
