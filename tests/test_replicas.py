"""Replicas that train together against single runs: each optimiser, regularizer and option.

Losses, the spectral norm of a batch of users and the methods against popularity bias are in
``test_training.py`` and ``test_steps.py``; the other models in the files of their own.
"""

import numpy as np
import pytest
import torch

from specrec_core import synthetic
from specrec_core.arguments import OPTIMIZERS, REGULARIZERS
from specrec_core.models import MF, LightGCN
from specrec_core.regularizers import Regularizer
from specrec_core.training import fit

SEEDS = (1, 4, 0)


@pytest.fixture(scope="module")
def data():
    return synthetic.dcbm(n_users=120, n_items=90, n_communities=3, mean_degree=12.0, seed=1)


def make(kind, data, seeds, device):
    if kind == "lightgcn":
        train = data.csr("train", device)
        return LightGCN(train, 6, layers=2, seeds=seeds, dtype=torch.float64)
    return MF(data.n_users, data.n_items, 6, seeds=seeds, dtype=torch.float64).to(device)


def assert_as_alone(kind, data, device, **changes):
    """Every epoch of every replica is that of a run by itself, wherever the others stop."""
    settings = dict(
        learning_rate=0.02, decay=0.98, batch_size=256, epochs=25, patience=2, progress=False
    )
    settings |= changes
    together = make(kind, data, SEEDS, device)
    history = fit(together, data, **settings)
    if device == "cpu":  # where the settings were chosen; another device draws other samples
        assert len(set(history.epochs_run)) > 1, "no replica stopped before another: a weak test"
    for r, seed in enumerate(SEEDS):
        alone = make(kind, data, (seed,), device)
        own = fit(alone, data, **settings)
        assert own.epochs[0] == history.epochs[r]
        assert own.best_epoch[0] == history.best_epoch[r]
        for name, series in own.values.items():
            np.testing.assert_allclose(series[0], history.values[name][r], rtol=1e-7)
        for name, parameter in alone.named_parameters():
            replica = dict(together.named_parameters())[name][r]
            torch.testing.assert_close(parameter[0], replica, rtol=1e-6, atol=1e-9)


RATES = {"adam": 0.02, "adamw": 0.02, "sgd": 20.0, "momentum": 2.0, "lazy_adam": 0.02}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_replicas_of_every_optimiser_equal_single_runs(optimizer, data, device):
    """What an optimiser keeps goes on with the replicas that do."""
    rate = RATES[optimizer]
    assert_as_alone("mf", data, device, optimizer=optimizer, learning_rate=rate, l2=1e-3)


NEEDED = {
    "directspec": dict(normalised=True),
    "directspec+": dict(normalised=True, temperature=2.0),
    "uniformity": dict(temperature=2.0),
}


@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
@pytest.mark.parametrize("name", REGULARIZERS[1:])
def test_replicas_with_every_regularizer_equal_single_runs(name, kind, data, device):
    balance = Regularizer(name, strength=0.05, **NEEDED.get(name, {}))
    assert_as_alone(kind, data, device, loss="alignment", regularizer=balance)


OPTIONS = {
    "drop": dict(drop=0.2, drop_ramp=50),
    "candidates": dict(candidates=20),
    "candidates drawn anew": dict(candidates=20, redraw=True),
    "negatives by popularity": dict(negative_distribution="popularity", negatives=3),
    "positives by users": dict(positives="users"),
    "sum": dict(reduction="sum"),
    "full batches": dict(drop_last=True),
    "every third epoch": dict(evaluate_every=3, patience=1),
    "l2 of tables": dict(l2=0.05),
    "l2 of rows": dict(l2=0.05, l2_on="rows"),
    "l2 of norms": dict(l2=0.05, l2_on="norms"),
    "l2 of whole tables": dict(l2=1e-3, l2_on="whole"),
}


@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
@pytest.mark.parametrize("option", OPTIONS)
def test_replicas_with_every_option_equal_single_runs(option, kind, data, device):
    assert_as_alone(kind, data, device, **OPTIONS[option])
