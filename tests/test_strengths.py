"""Numbers that differ by replica: each replica gives what it gives by itself."""

import pytest
import torch

from specrec_core import debiasing, regularizers, synthetic
from specrec_core.arguments import whole_part
from specrec_core.contrastive import SGL, XSimGCL
from specrec_core.models import MF
from specrec_core.regularization import Regularizer
from specrec_core.strengths import check, kept, listed, positive, spread
from specrec_core.training import fit

SEEDS = (1, 4, 0)
COMMON = dict(batch_size=256, epochs=40, patience=2, progress=False)
CHUNKS = dict(positives="user chunks", batch_size=50, reduction="sum", loss="mse_sigmoid")


@pytest.fixture(scope="module")
def data():
    return synthetic.dcbm(n_users=120, n_items=90, n_communities=3, mean_degree=12.0, seed=1)


def mf(data, seeds, device):
    return MF(data.n_users, data.n_items, 6, seeds=seeds, dtype=torch.float64).to(device)


def by_replica(values, device):
    return torch.tensor(values, dtype=torch.float64, device=device)


def compare(build, data, device, settings, varied, regularized=None):
    """Train replicas with the ``varied`` settings together and apart; both must be equal.

    ``build(seeds, **model settings)``; names of ``regularized`` are of the regularizer.
    """
    of_model = [name for name in varied if name.startswith("contrast")]

    def run(seeds, chosen):
        model = build(seeds, **{name: chosen[name] for name in of_model})
        of_fit = {n: v for n, v in chosen.items() if n not in of_model}
        if regularized is not None:
            balance = {n: of_fit.pop(n) for n in list(of_fit) if hasattr(Regularizer, n)}
            of_fit["regularizer"] = Regularizer(**(regularized | balance))
        return model, fit(model, data, **(COMMON | settings | of_fit))

    together, history = run(SEEDS, {n: by_replica(v, device) for n, v in varied.items()})
    assert len(set(history.epochs_run)) > 1, "no replica stopped before another: a weak test"
    for r, seed in enumerate(SEEDS):
        alone, own = run((seed,), {name: values[r] for name, values in varied.items()})
        assert own.epochs[0] == history.epochs[r]
        assert own.best_epoch[0] == history.best_epoch[r]
        torch.testing.assert_close(alone.users[0], together.users[r], rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(alone.items[0], together.items[r], rtol=1e-6, atol=1e-9)
    return history


@pytest.mark.parametrize(
    "optimizer, rates",
    [
        ("adam", (0.02, 0.05, 0.005)),
        ("adamw", (0.02, 0.05, 0.005)),
        ("sgd", (30.0, 60.0, 1.0)),
        ("momentum", (3.0, 6.0, 0.1)),
        ("lazy_adam", (0.02, 0.05, 0.005)),
    ],
)
def test_rates_of_their_own(optimizer, rates, data, device):
    settings = dict(optimizer=optimizer, decay=0.97)
    compare(lambda s: mf(data, s, device), data, device, settings, {"learning_rate": rates})


@pytest.mark.parametrize("on", ["tables", "rows", "norms", "whole"])
def test_penalties_and_rates_of_their_own(on, data, device):
    varied = {"l2": (1e-3, 0.0, 0.3), "learning_rate": (0.02, 0.05, 0.01)}
    compare(lambda s: mf(data, s, device), data, device, {"l2_on": on}, varied)


@pytest.mark.parametrize(
    "name, loss, fixed, varied",
    [
        ("directspec", "alignment", {"normalised": True}, {"strength": (0.1, 0.3, 0.2)}),
        (
            "directspec+", "logistic_alignment", {"normalised": True},
            {"strength": (0.2, 1.0, 0.5), "temperature": (2.0, 3.0, 1.0),
             "temperature_unrelated": (3.0, 1.0, 2.0), "shrink": (0.3, 1.0, 0.5)},
        ),
        (
            "uniformity", "alignment", {},
            {"strength": (0.3, 1.0, 0.1), "temperature": (2.0, 1.0, 3.0)},
        ),
        ("barlow_twins", "invariance", {}, {"strength": (0.005, 0.02, 0.05)}),
        ("spectral_norm", "bpr", {}, {"strength": (1e-3, 1e-4, 1e-2)}),
    ],
)  # fmt: skip
def test_regularizers_of_their_own(name, loss, fixed, varied, data, device):
    settings = dict(loss=loss, learning_rate=0.02)
    compare(lambda s: mf(data, s, device), data, device, settings, varied,
            {"regularizer": name, **fixed})  # fmt: skip


@pytest.mark.parametrize("variant", ["paper", "batch", "official", "sigmoid"])
def test_users_in_chunks(variant, data, device):
    settings = CHUNKS | dict(l2_on="whole")
    varied = {
        "strength": (1e-3, 1e-4, 1e-2),
        "l2": (1e-3, 1e-2, 0.0),
        "learning_rate": (0.02, 0.05, 0.01),
    }
    compare(lambda s: mf(data, s, device), data, device, settings, varied,
            {"regularizer": "spectral_norm", "spectral_variant": variant})  # fmt: skip


@pytest.mark.parametrize("kind", [SGL, XSimGCL])
def test_contrasts_of_their_own(kind, data, device):
    train = data.csr("train", device)
    own = {"edge_dropout": 0.2} if kind is SGL else {"perturbation": 0.1, "contrast_layer": 1}

    def build(seeds, **contrast):
        return kind(train, 6, layers=2, seeds=seeds, dtype=torch.float64, reduction="sum",
                    **own, **contrast)  # fmt: skip

    varied = {"contrast_weight": (0.05, 0.5, 0.1), "contrast_temperature": (0.5, 0.2, 1.0)}
    compare(build, data, device, dict(reduction="sum", learning_rate=0.02), varied)


def test_what_does_not_fit_the_replicas_is_refused(data):
    model = mf(data, SEEDS, "cpu")
    with pytest.raises(ValueError, match=r"learning_rate has shape \(2,\): .* 3 replicas"):
        fit(model, data, learning_rate=torch.tensor([0.1, 0.2]))
    for wrong in (torch.tensor([0.1]), torch.ones(3, 1)):
        with pytest.raises(ValueError, match=r"strength has shape .* one number for each"):
            fit(model, data, loss="alignment",
                regularizer=Regularizer("uniformity", strength=wrong, temperature=2.0))  # fmt: skip
    with pytest.raises(ValueError, match=r"l2 is \[0.0, -1.0, 0.0\]: expected numbers from 0"):
        fit(model, data, l2=torch.tensor([0.0, -1.0, 0.0]))
    with pytest.raises(ValueError, match=r"shrink is .*: expected numbers above 0"):
        Regularizer(shrink=torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"contrast_temperature is .*: expected numbers above 0"):
        SGL(data.csr("train", "cpu"), 4, layers=2, contrast_weight=0.1, edge_dropout=0.1,
            contrast_temperature=torch.tensor([0.0]), reduction="sum")  # fmt: skip


def test_values_of_another_precision_leave_that_of_a_loss():
    rows, other = torch.randn(3, 6, 4), torch.randn(3, 6, 4)
    scores, negative = torch.randn(3, 6), torch.randn(3, 6, 2)
    value = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64)
    for loss in (
        regularizers.directau(rows, other, value, value),
        regularizers.barlow_twins(rows, other, value),
        regularizers.variance_covariance(rows, value),
        debiasing.zero_sum(scores, negative, value),
        debiasing.macr(scores, negative, scores, negative, scores, items=value, users=value),
    ):
        assert loss.dtype == torch.float32 and loss.shape == (3,)


def test_whole_parts_are_not_lowered_by_rounding():
    products = {31_457_280 * (1 - 0.8): 6_291_456, 10 * (1 - 0.8): 2, 2.5: 2, 2.999: 2}
    assert [whole_part(x) for x in products] == list(products.values())


def test_one_value_and_many():
    rows, values = torch.ones(3, 4, 2), torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64)
    assert spread(0.5, rows) == 0.5
    assert (rows * spread(values, rows)).sum((1, 2)).tolist() == [8.0, 16.0, 0.0]
    assert kept(values, torch.tensor([2, 0])).tolist() == [0.0, 1.0]
    assert kept(3.0, torch.tensor([0])) == 3.0
    assert listed(2.0, 3) == [2.0, 2.0, 2.0] and listed(values, 3) == values.tolist()
    assert positive(values) and not positive(torch.zeros(2)) and not positive(0.0)
    check("values", values, 3)
    with pytest.raises(ValueError, match="above 0"):
        check("values", values, 3, ends=False)
