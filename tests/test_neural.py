"""NeuMF and multi-embedding against slow references, and their replicas against single runs."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from specrec_core import losses, neural, synthetic
from specrec_core.interactions import CSR
from specrec_core.models import MF, generator
from specrec_core.neural import MultiLightGCN, MultiMF, NeuMF
from specrec_core.sampled_evaluation import among
from specrec_core.training import fit, track_spectra

KINDS = ["neumf", "multi_mf", "multi_lightgcn"]


@pytest.fixture(scope="module")
def data():
    return synthetic.dcbm(n_users=90, n_items=70, n_communities=3, mean_degree=12.0, seed=1)


def make(kind, data, seeds, device="cpu", dropout=0.2):
    settings = dict(seeds=seeds, init_std=0.1, dtype=torch.float64)
    if kind == "neumf":
        sizes = data.n_users, data.n_items, 6
        return NeuMF(*sizes, hidden=(8, 5), dropout=dropout, **settings).to(device)
    if kind == "multi_mf":
        return MultiMF(data.n_users, data.n_items, 3, sets=2, width=4, **settings).to(device)
    graph = data.csr("train", device)
    return MultiLightGCN(graph, 3, sets=2, width=4, layers=2, **settings).to(device)


def parameters(model, r):
    return {name: p.detach()[r].cpu().numpy() for name, p in model.named_parameters()}


def neumf_score(of, user, item):
    """One score of NeuMF, from the formula."""
    d = of["users"].shape[1] // 2
    p, q = of["users"][user], of["items"][item]
    h = np.concatenate([p[d:], q[d:]])
    layer = 0
    while f"weight {layer}" in of:
        h = np.maximum(of[f"weight {layer}"] @ h + of[f"bias {layer}"], 0)
        layer += 1
    out = of["weight out"][:, 0]
    return sum(out[k] * p[k] * q[k] for k in range(d)) + out[d:] @ h + of["bias out"][0]


def multi_score(of, users, items, user, item):
    sets, _, d = of["weight"].shape
    total = 0.0
    for m in range(sets):
        part = slice(m * d, (m + 1) * d)
        product = users[user, part] * items[item, part]
        total += of["weight out"][:, 0] @ np.maximum(of["weight"][m] @ product + of["bias"][m], 0)
    return total / sets + of["bias out"][0]


def reference(kind, model, r):
    of = parameters(model, r)
    users, items = (x[r].detach().cpu().numpy() for x in model())
    if kind == "neumf":
        return lambda u, i: neumf_score(of, u, i)
    return lambda u, i: multi_score(of, users, items, u, i)


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_those_of_the_formula(kind, data, device, monkeypatch):
    """In evaluation, whatever the chunk, and in training where nothing is dropped."""
    model = make(kind, data, (3, 8), device, dropout=0.0)
    ids = torch.tensor([5, 0, 89], device=device)
    whole = model.scorer()(ids)
    assert whole.shape == (2, 3, data.n_items)
    monkeypatch.setattr("specrec_core.neural.CELLS_ON_CPU", 1)
    monkeypatch.setattr("specrec_core.neural.CELLS_ON_GPU", 1)
    torch.testing.assert_close(model.scorer()(ids), whole)
    users, items = (x.detach() for x in model())
    trained = model.score(users[:, ids].unsqueeze(2), items[:, None])
    torch.testing.assert_close(trained, whole)
    for r in range(2):
        expected = reference(kind, model, r)
        for b, i in ((0, 0), (1, 69), (2, 33)):
            assert whole[r, b, i].item() == pytest.approx(expected(int(ids[b]), i), rel=1e-12)


def test_no_chunk_of_the_evaluation_is_larger_than_the_budget(data, monkeypatch):
    """The widest layer is formed for so many pairs at a time, never for all."""
    monkeypatch.setattr("specrec_core.neural.CELLS_ON_CPU", 2000)
    model, seen = make("neumf", data, (0,)), []
    layers = model._layers
    monkeypatch.setattr(
        model, "_layers", lambda x, *a, **k: seen.append(x.numel()) or layers(x, *a, **k)
    )
    model.scorer()(torch.arange(data.n_users))
    assert max(seen) <= 2000 and len(seen) == 30


@pytest.mark.parametrize("kind", KINDS)
def test_one_step_is_the_gradient_step_of_the_formula(kind, data):
    """All samples in one batch: every parameter moves by −rate × the gradient of the loss."""
    kept = {}

    def keep(epoch, model):
        kept[epoch] = {name: p.detach().clone() for name, p in model.named_parameters()}
        return {}

    model = make(kind, data, (4,), dropout=0.0)
    history = fit(
        model, data, loss="bce_mean", optimizer="sgd", learning_rate=0.5, batch_size=10**9,
        epochs=1, callbacks=(keep,), progress=False,
    )  # fmt: skip
    start = make(kind, data, (4,), dropout=0.0)
    from specrec_core.sampling import EpochSampler

    sampler = EpochSampler(data.csr("train"), "interactions", 1, "uniform")
    users, items, negatives = sampler.epoch(generator(4, "samples"))
    score = reference(kind, start, 0)
    x = [score(int(u), int(i)) for u, i in zip(users, items, strict=True)]
    y = [score(int(u), int(j)) for u, j in zip(users, negatives[:, 0], strict=True)]
    logits, labels = np.array([*x, *y]), np.repeat([1.0, 0.0], len(x))
    sigma = 1 / (1 + np.exp(-logits))
    loss = -(labels * np.log(sigma) + (1 - labels) * np.log(1 - sigma)).mean()
    assert history.values["loss"][0][1] == pytest.approx(loss, rel=1e-10)
    # The gradient of the loss, by differences of the reference in a few places.
    for name, parameter in start.named_parameters():
        moved = (kept[1][name] - kept[0][name]) / -0.5
        place = int(moved.abs().argmax())
        flat = parameter.detach().view(-1)

        def at(value, flat=flat, place=place):
            flat[place] = value
            changed = reference(kind, start, 0)
            some = [changed(int(u), int(i)) for u, i in zip(users, items, strict=True)]
            rest = [changed(int(u), int(j)) for u, j in zip(users, negatives[:, 0], strict=True)]
            return (np.logaddexp(0, -np.array(some)).mean()
                    + np.logaddexp(0, np.array(rest)).mean()) / 2  # fmt: skip

        value = flat[place].item()
        slope = (at(value + 1e-5) - at(value - 1e-5)) / 2e-5
        flat[place] = value
        assert moved.view(-1)[place].item() == pytest.approx(slope, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_of_scores(kind, data):
    model = make(kind, data, (1, 2), dropout=0.0)
    columns = model.users.shape[-1]
    rows = [torch.randn(2, 3, columns, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(model.score, rows)


@pytest.mark.parametrize("kind", KINDS)
def test_replicas_equal_single_runs(kind, data, device):
    settings = dict(
        loss="bce_mean", learning_rate=0.02, l2=1e-3, batch_size=256, epochs=20, patience=2,
        callbacks=(track_spectra,), progress=False,
    )  # fmt: skip
    together = make(kind, data, (1, 4, 0), device)
    history = fit(together, data, **settings)
    assert len(set(history.epochs_run)) > 1, "no replica stopped before another: a weak test"
    for r, seed in enumerate((1, 4, 0)):
        alone = make(kind, data, (seed,), device)
        own = fit(alone, data, **settings)
        assert own.epochs[0] == history.epochs[r]
        for name, series in own.values.items():
            np.testing.assert_allclose(series[0], history.values[name][r], rtol=1e-6)
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(
                parameter[0], together.get_parameter(name)[r], rtol=1e-5, atol=1e-8
            )


def test_dropout_leaves_out_the_share_and_keeps_the_mean():
    model = NeuMF(3, 3, 2, dropout=0.3, seeds=(0, 1))
    model.new_epoch([generator(s, "samples") for s in (0, 1)])
    kept = model._drop(torch.ones(2, 2000, 10))
    assert (kept == 0).double().mean().item() == pytest.approx(0.3, abs=0.01)
    assert kept.mean().item() == pytest.approx(1.0, abs=0.02)
    assert not torch.equal(kept[0], kept[1])


def test_initial_values_are_those_of_the_authors_code():
    """Embeddings are normal with deviation 0.01, layers uniform in ±1/√(numbers that enter)."""
    model = NeuMF(500, 400, 32, seeds=(0,), init_std=0.01)
    for table in model.tables().values():
        assert table.shape[-1] == 32 and table.std().item() == pytest.approx(0.01, rel=0.03)
    shapes = {"0": (128, 64), "1": (64, 128), "out": (96, 1)}
    for layer, shape in shapes.items():
        weight = model.get_parameter(f"weight {layer}")
        bound = (shape[0] if layer == "out" else shape[1]) ** -0.5
        assert weight.shape[1:] == shape and 0.9 * bound < weight.abs().max() <= bound
        assert model.get_parameter(f"bias {layer}").abs().max() <= bound


@pytest.mark.parametrize("init, fans", [("xavier", (716, 716)), ("xavier_sides", (416, 316))])
def test_every_set_begins_as_the_table_of_its_encoder(init, fans):
    """And its projection uniform in ±1/√(numbers that enter), its bias too."""
    graph = CSR.from_scipy(sp.random(400, 300, 0.02, "csr", random_state=0))
    model = MultiLightGCN(graph, 16, sets=3, width=32, layers=1, init=init)
    for table, fan in zip((model.users, model.items), fans, strict=True):
        for one in table.chunk(3, dim=-1):
            assert 0.99 * (6 / fan) ** 0.5 < one.abs().max() <= (6 / fan) ** 0.5
    for name, bound in (("weight", 16**-0.5), ("bias", 16**-0.5), ("weight out", 32**-0.5)):
        assert 0.9 * bound < model.get_parameter(name).abs().max() <= bound, name


def test_the_mean_over_rows_is_the_loss_of_torch():
    positive, negative = torch.randn(2, 7).double(), torch.randn(2, 7, 3).double()
    logits = torch.cat([positive.unsqueeze(-1), negative], -1)
    labels = torch.zeros_like(logits)
    labels[..., 0] = 1
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    expected = bce(logits, labels, reduction="none").mean((-2, -1))
    torch.testing.assert_close(losses.bce_mean(positive, negative), expected)


def test_linear_sets_are_one_embedding(data):
    """Without a non-linearity M sets score as one table of M·d with stacked projections."""
    model = MultiMF(20, 15, 3, sets=4, width=5, linear=True, dtype=torch.float64)
    w = model.get_parameter("weight out")[0, :, 0] @ model.get_parameter("weight")[0]  # (M, d)
    diagonal = w.flatten() / 4
    users, items = (x[0].detach() for x in model())
    bias = model.get_parameter("bias")[0].mean(0) @ model.get_parameter("weight out")[0, :, 0]
    expected = (users * diagonal) @ items.T + bias + model.get_parameter("bias out")[0]
    torch.testing.assert_close(model.scorer()(torch.arange(20))[0], expected.detach())


@pytest.mark.parametrize("kind", KINDS)
def test_scores_among_candidates_are_those_among_all(kind, data, device, monkeypatch):
    monkeypatch.setattr(neural, "CELLS_ON_CPU", 1)  # one user at a time
    monkeypatch.setattr(neural, "CELLS_ON_GPU", 1)
    score = make(kind, data, (0, 1), device).scorer()
    users = torch.arange(30, 50, device=device)
    wanted = np.random.default_rng(0).random((2, data.n_users, data.n_items)) < 0.2
    wanted[1, 33] = False  # for one user of one replica nothing
    candidates = [CSR.from_scipy(sp.csr_matrix(half), device) for half in wanted]
    found = among(score, candidates)(users)
    wanted = torch.as_tensor(wanted[:, 30:50], device=device)
    torch.testing.assert_close(found, score(users).masked_fill(~wanted, -torch.inf))


def test_a_network_learns_planted_communities(data):
    for kind in ("neumf", "multi_mf"):
        model = make(kind, data, (0,))
        history = fit(
            model, data, loss="bce_mean", learning_rate=0.01, epochs=40, progress=False
        )  # fmt: skip
        series = history.values["validation ndcg@10"][0]
        assert max(series) > 1.5 * series[0]


def test_what_makes_no_sense_is_refused(data):
    with pytest.raises(ValueError, match="loss is 'alignment'"):
        fit(make("neumf", data, (0,)), data, loss="alignment", epochs=1, progress=False)
    from specrec_core.regularization import Regularizer

    with pytest.raises(ValueError, match="normalised is True"):
        fit(
            make("multi_mf", data, (0,)), data, epochs=1, progress=False,
            regularizer=Regularizer(normalised=True),
        )  # fmt: skip
    for settings, name in (({"hidden": ()}, "hidden"), ({"dropout": 1.0}, "dropout")):
        with pytest.raises(ValueError, match=f"{name} is"):
            NeuMF(3, 3, 2, **settings)
    with pytest.raises(ValueError, match="sets is 0"):
        MultiMF(3, 3, 2, sets=0)


def test_xavier_normal_has_its_deviation():
    model = MF(400, 300, 100, seeds=(0,), init="xavier_normal")
    assert model.users.std().item() == pytest.approx((2 / 500) ** 0.5, rel=0.02)
    assert model.items.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
