"""Experiments that differ in settings alone train as replicas, and leave their own records."""

import pytest
from alone import assert_same_record

from specrec_core import catalogue, experiments, parts, synthetic
from specrec_core.records import Experiment

GRID = Experiment(
    dataset="synthetic", version=catalogue.SYNTHETIC, dim=4, epochs=12, seeds=(0, 1), patience=2,
    learning_rate=0.05, l2=1e-3, batch_size=256,
)  # fmt: skip
SGL = GRID.with_(
    model="sgl", layers=2, reduction="sum", edge_dropout=0.2, contrast_weight=0.1,
    contrast_temperature=0.5,
)  # fmt: skip
BALANCED = GRID.with_(
    loss="logistic_alignment", regularizer="directspec+", normalised=True,
    strength=0.5, temperature=2.0, temperature_unrelated=1.0, shrink=0.5,
)  # fmt: skip
GROUPS = {
    "rates": [GRID, GRID.with_(learning_rate=0.2, seeds=(0,)), GRID.with_(l2=0.1, seeds=(7,))],
    "contrasts": [SGL, SGL.with_(contrast_weight=0.5), SGL.with_(contrast_temperature=0.2)],
    "balance": [
        BALANCED,
        BALANCED.with_(strength=1.0, temperature=3.0, seeds=(1,)),
        BALANCED.with_(temperature_unrelated=4.0, shrink=1.0, seeds=(1,)),
    ],
}


@pytest.fixture
def small(monkeypatch):
    """Fewer users and items than the synthetic data have, and otherwise like them."""
    data = synthetic.dcbm(n_users=120, n_items=90, n_communities=3, mean_degree=12.0, seed=1)
    monkeypatch.setattr(experiments, "interactions", lambda _: data)


@pytest.mark.parametrize("group", list(GROUPS))
def test_a_group_leaves_the_records_of_its_experiments(group, small, device):
    wholes = GROUPS[group]
    found = experiments.run_together(wholes, device=device, together=10, progress=False)
    assert [record.experiment for record in found] == wholes
    alone = [experiments.run(e, device=device, together=1, progress=False) for e in wholes]
    assert len({tuple(record.epochs_run) for record in alone}) > 1, "all stop at once: a weak test"
    for one, other in zip(found, alone, strict=True):
        assert_same_record(one, other)


def test_what_can_train_together_is_of_one_kind():
    same = {parts.kind(e) for e in GROUPS["rates"] + [GRID.with_(seeds=(3, 4))]}
    assert len(same) == 1
    for change in (
        {"dim": 8},
        {"epochs": 31},
        {"l2": 0.0},
        {"noise": 0.1, "drop": 0.1, "drop_ramp": 10},
        {"loss": "bce"},
        {"model": "lightgcn", "layers": 1},
        {"regularizer": "spectral_norm", "strength": 0.1},
    ):
        other = GRID.with_(**change)
        assert parts.kind(other) not in same, change
        with pytest.raises(ValueError, match="differ in more than seeds"):
            experiments.run_together([GRID, other])


@pytest.mark.parametrize("name", parts.VARIED)
def test_no_setting_that_may_differ_is_lost(name, small, monkeypatch):
    """Each reaches training, or the model, with a value of its own for each replica."""
    base = (
        SGL
        if name.startswith("contrast")
        else GRID
        if name in ("learning_rate", "l2")
        else BALANCED
    )
    two = [base, base.with_(**{name: 2 * getattr(base, name)})]
    found = experiments.run_together(two, together=4, progress=False)
    lanes = [record.history["loss"] for record in found]
    assert lanes[0] != lanes[1]
