"""Replicas that train together against single runs: each optimiser, regularizer and option.

Losses, the spectral norm of a batch of users and the methods against popularity bias are in
``test_training.py`` and ``test_steps.py``; the other models in the files of their own.
"""

import pytest
from alone import assert_as_alone, make, small_data

from specrec_core.arguments import OPTIMIZERS, REGULARIZERS
from specrec_core.regularization import Regularizer

SEEDS = (1, 4, 0)


@pytest.fixture(scope="module")
def data():
    return small_data()


def as_alone(kind, data, device, **changes):
    """`assert_as_alone` with these settings changed; on a CPU, where they were chosen, uneven."""
    settings = dict(
        learning_rate=0.02, decay=0.98, batch_size=256, epochs=25, patience=2, progress=False
    )
    assert_as_alone(
        lambda seeds: make(kind, data, seeds, device), data, SEEDS, settings | changes,
        uneven=device == "cpu",
    )  # fmt: skip


RATES = {"adam": 0.02, "adamw": 0.02, "sgd": 20.0, "momentum": 2.0, "lazy_adam": 0.02}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_replicas_of_every_optimiser_equal_single_runs(optimizer, data, device):
    """What an optimiser keeps goes on with the replicas that do."""
    rate = RATES[optimizer]
    as_alone("mf", data, device, optimizer=optimizer, learning_rate=rate, l2=1e-3)


NEEDED = {
    "directspec": dict(normalised=True),
    "directspec+": dict(normalised=True, temperature=2.0),
    "uniformity": dict(temperature=2.0),
}


@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
@pytest.mark.parametrize("name", REGULARIZERS[1:])
def test_replicas_with_every_regularizer_equal_single_runs(name, kind, data, device):
    balance = Regularizer(name, strength=0.05, **NEEDED.get(name, {}))
    as_alone(kind, data, device, loss="alignment", regularizer=balance)


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
    as_alone(kind, data, device, **OPTIONS[option])
