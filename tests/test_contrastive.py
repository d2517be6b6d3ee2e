"""SGL and XSimGCL against slow references in float64, and their replicas against single runs."""

from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from specrec_core import contrastive, losses, synthetic
from specrec_core.contrastive import SGL, XSimGCL, distinct, first_of_each, thinned
from specrec_core.interactions import CSR
from specrec_core.models import generator
from specrec_core.sampling import EpochSampler
from specrec_core.training import fit

KINDS = ["sgl", "xsimgcl"]
DTYPE = torch.float64


@pytest.fixture(scope="module")
def data():
    return synthetic.dcbm(n_users=60, n_items=50, n_communities=3, mean_degree=12.0, seed=1)


def make(kind, data, seeds, device="cpu", reduction="mean", **changes):
    settings = dict(
        layers=2, contrast_weight=0.3, contrast_temperature=0.5, reduction=reduction, seeds=seeds,
        dtype=DTYPE,
    )  # fmt: skip
    graph = data.csr("train", device)
    if kind == "sgl":
        return SGL(graph, 4, edge_dropout=0.2, **settings)
    own = dict(perturbation=0.1, contrast_layer=1, **changes)
    return XSimGCL(graph, 4, **own, **settings)


def adjacency(users, items, n_users, n_items):
    a = np.zeros((n_users + n_items,) * 2)
    a[users, n_users + items] = a[n_users + items, users] = 1
    degree = a.sum(1)
    scale = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1)), 0)
    return scale[:, None] * a * scale


def unit(x):
    return x / np.sqrt((x**2).sum(-1, keepdims=True))


def slow_info_nce(anchors, keys, which, temperature):
    """Term by term, as the formula has it."""
    found = []
    for b in range(len(anchors)):
        similar = [float(unit(anchors[b]) @ unit(k)) / temperature for k in keys]
        found.append(-np.log(np.exp(similar[which[b]]) / np.sum(np.exp(similar))))
    return np.array(found)


def test_info_nce_is_the_formula(device):
    draw = np.random.default_rng(0)
    anchors, keys = draw.normal(size=(2, 5, 3)), draw.normal(size=(2, 7, 3))
    which = np.array([[0, 6, 2, 2, 1], [3, 3, 3, 0, 5]])
    among = draw.random((2, 7)) < 0.6
    among[np.arange(2)[:, None], which] = True
    arrays = [torch.tensor(x, device=device) for x in (anchors, keys, which)]
    got = losses.info_nce(*arrays, 0.2)
    part = losses.info_nce(*arrays, 0.2, torch.tensor(among, device=device))
    for r in range(2):
        expected = slow_info_nce(anchors[r], keys[r], which[r], 0.2)
        np.testing.assert_allclose(got[r].cpu(), expected, rtol=1e-12)
        place = among[r].cumsum() - 1
        expected = slow_info_nce(anchors[r], keys[r][among[r]], place[which[r]], 0.2)
        np.testing.assert_allclose(part[r].cpu(), expected, rtol=1e-12)


AMONG = torch.tensor(
    [[True, False, True, True, False, True], [False, True, True, False, True, True]]
)


@pytest.mark.parametrize("among", [None, AMONG], ids=["all", "some"])
@pytest.mark.parametrize("temperature", [0.5, torch.tensor([0.5, 0.2], dtype=DTYPE)])
def test_info_nce_has_the_gradient_that_gradcheck_finds(temperature, among):
    rows = [torch.randn(2, n, 3, dtype=DTYPE, requires_grad=True) for n in (4, 6)]
    which = torch.tensor([[0, 2, 3, 5], [1, 2, 4, 5]])
    assert torch.autograd.gradcheck(
        lambda a, k: losses.info_nce(a, k, which, temperature, among), rows
    )


def plain_info_nce(anchors, keys, which, temperature, among):
    """As torch differentiates it."""
    anchors, keys = losses.unit(anchors) / temperature.view(-1, 1, 1), losses.unit(keys)
    logits = anchors @ keys.mT
    own = logits.take_along_dim(which.unsqueeze(-1), -1).squeeze(-1)
    if among is not None:
        logits = logits.masked_fill(~among.unsqueeze(-2), -torch.inf)
    return logits.logsumexp(-1) - own


@pytest.mark.parametrize("temperature", [1.0, 1e-3])  # 1e-3: exponents of up to 1000
@pytest.mark.parametrize("among", [None, "some", "none of one replica"])
def test_info_nce_is_that_of_autograd(among, temperature, device):
    temperature = torch.tensor([temperature, temperature / 2], dtype=DTYPE, device=device)
    sizes = (2, 30, 5), (2, 40, 5)
    rows = [torch.randn(*s, dtype=DTYPE, device=device, requires_grad=True) for s in sizes]
    which = torch.randint(0, 40, (2, 30), device=device)
    if among is not None:
        some = torch.rand(2, 40, device=device) < 0.5
        some[1] &= among == "some"
        among = some
    weights = torch.randn(2, 30, dtype=DTYPE, device=device)
    found = []
    for form in (losses.info_nce, plain_info_nce):
        value = form(*rows, which, temperature, among)
        found.append((value.detach(), *torch.autograd.grad((weights * value).sum(), rows)))
    torch.testing.assert_close(*found)
    assert found[0][1].isfinite().all() and found[0][2].isfinite().all()


def edges_of(graph, r, n_users, n_items):
    """Edges of replica r in what `thinned` gives."""
    rows, columns = graph.rows().numpy(), graph.indices.numpy()
    own = rows // n_users == r
    assert (columns[own] // n_items == r).all(), "an edge between replicas"
    return rows[own] % n_users, columns[own] % n_items


def test_views_keep_the_share_of_edges(data):
    train = data.csr("train")
    graph = thinned(train, 0.2, [generator(s, "samples") for s in (0, 1)])
    known = set(zip(*data.train.nonzero(), strict=True))
    chosen = []
    for r in range(2):
        pairs = set(zip(*edges_of(graph, r, 60, 50), strict=True))
        assert len(pairs) == int(0.8 * train.nnz) and pairs <= known
        chosen.append(pairs)
    assert chosen[0] != chosen[1]
    assert (graph.rows().diff() >= 0).all()


@pytest.mark.parametrize("dropout, left", [(0.8, 2), (0.9, 1), (0.7, 3), (0.25, 7), (0.99, 0)])
def test_rounding_does_not_cost_an_edge(dropout, left):
    """1 - 0.8 is a little less than 0.2 in floating point, and ten times that less than 2."""
    train = CSR.from_scipy(sp.csr_matrix(np.eye(10)))
    assert thinned(train, dropout, [generator(0, "samples")]).nnz == left


@pytest.mark.parametrize("batch", [30, 55, 80])  # below, between and above the 60 and 50 nodes
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_of_sgl_is_that_of_the_authors_code(data, reduction, batch):
    """BPR + EmbLoss's part aside: w · (InfoNCE of users + of positives), all nodes below it."""
    model = make("sgl", data, (0, 7), reduction=reduction)
    streams = [generator(s, "samples") for s in (0, 7)]
    again = [generator(s, "samples") for s in (0, 7)]
    model.new_epoch(streams)
    graphs = [thinned(data.csr("train"), 0.2, again) for _ in range(2)]
    ids = [torch.randint(0, n, (2, batch), generator=generator(5, "ids")) for n in (60, 50)]
    got = model.own_loss(model.training_pass(), ids)
    for r in range(2):
        views = []
        for graph in graphs:
            a = adjacency(*edges_of(graph, r, 60, 50), 60, 50)
            tables = (model.users, model.items)
            x = np.concatenate([t.detach()[r].numpy() for t in tables])
            views.append((x + a @ x + a @ a @ x) / 3)
        u, i = ids[0][r].numpy(), ids[1][r].numpy()
        terms = slow_info_nce(views[0][:60][u], views[1][:60], u, 0.5)
        terms = terms + slow_info_nce(views[0][60:][i], views[1][60:], i, 0.5)
        expected = 0.3 * (terms.sum() if reduction == "sum" else terms.mean())
        assert got[r].item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("variant", ["formula", "official"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_of_xsimgcl_is_that_of_the_formula(data, variant, reduction):
    model = make("xsimgcl", data, (0, 7), reduction=reduction, variant=variant)
    model.new_epoch([generator(s, "samples") for s in (0, 7)])
    ids = [torch.randint(0, n, (2, 30), generator=generator(5, "ids")) for n in (60, 50)]
    final = model.training_pass()
    got = model.own_loss(final, ids)
    a = adjacency(*data.train.nonzero(), 60, 50)
    clean = model()
    for r, seed in enumerate((0, 7)):
        draw = generator(seed, "samples")
        x = np.concatenate([t.detach()[r].numpy() for t in (model.users, model.items)])
        noisy, plain = [x], [x]
        for _ in range(2):
            step = a @ noisy[-1]
            noise = unit(torch.rand(110, 4, generator=draw).double().numpy())
            noisy.append(step + np.sign(step) * noise * 0.1)
            plain.append(a @ plain[-1])
        first = 0 if variant == "official" else 1
        mean, layer = np.mean(noisy[first:], 0), noisy[1]
        np.testing.assert_allclose(final[0][r].detach(), mean[:60], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(clean[1][r].detach(), np.mean(plain[first:], 0)[60:], rtol=1e-9)
        total = 0.0
        for side, cut in ((0, slice(0, 60)), (1, slice(60, None))):
            distinct = np.unique(ids[side][r].numpy())
            one, other = mean[cut][distinct], layer[cut][distinct]
            terms = slow_info_nce(one, other, np.arange(len(distinct)), 0.5)
            total += terms.sum() if reduction == "sum" else terms.mean()
        assert got[r].item() == pytest.approx(0.3 * total, rel=1e-6)


@pytest.mark.parametrize("variant", ["formula", "official"])
def test_the_gradient_of_a_noisy_propagation_is_that_of_a_clean_one(variant, data):
    """Noise that depends on a sign alone has no gradient: that of the means of powers is left."""
    model = make("xsimgcl", data, (0, 7), variant=variant)
    model.new_epoch([generator(s, "samples") for s in (0, 7)])
    final = model.training_pass()
    weights = [torch.randn_like(x) for x in final]
    sum((w * x).sum() for w, x in zip(weights, final, strict=True)).backward()
    a = torch.tensor(adjacency(*data.train.nonzero(), 60, 50))
    w = torch.cat(weights, 1)
    expected = (w + a @ w + a @ a @ w) / 3 if variant == "official" else (a @ w + a @ a @ w) / 2
    torch.testing.assert_close(torch.cat([model.users.grad, model.items.grad], 1), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_one_sgd_step_is_the_gradient_of_the_whole_loss(kind, data):
    """Sum of BPR and own loss, and RecBole's norm of the rows, differentiated in one piece."""
    kept = {}

    def keep(epoch, model):
        kept[epoch] = model.users.detach().clone(), model.items.detach().clone()
        return {}

    fit(
        make(kind, data, (4,), reduction="sum"), data, optimizer="sgd", learning_rate=1e-3, l2=5.0,
        l2_on="norms", reduction="sum", batch_size=10**9, epochs=1, callbacks=(keep,),
        progress=False,
    )  # fmt: skip
    start, stream = make(kind, data, (4,), reduction="sum"), generator(4, "samples")
    start.new_epoch([stream])
    sampler = EpochSampler(data.csr("train"), "interactions", 1, "uniform")
    users, items, negatives = (x.unsqueeze(0) for x in sampler.epoch(stream))
    final = start.training_pass()
    u, p, n = final[0][0, users[0]], final[1][0, items[0]], final[1][0, negatives[0, :, 0]]
    loss = -torch.nn.functional.logsigmoid((u * p).sum(-1) - (u * n).sum(-1)).sum()
    ego = start.users[0, users[0]], start.items[0, items[0]], start.items[0, negatives[0, :, 0]]
    loss = loss + 5.0 * sum(x.norm() for x in ego) / users.shape[1]
    loss = loss + start.own_loss(final, [users, items, negatives]).sum()
    loss.backward()
    for side, table in enumerate((start.users, start.items)):
        moved = (kept[1][side] - kept[0][side]) / -1e-3
        torch.testing.assert_close(moved, table.grad, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_replicas_equal_single_runs(kind, data, device):
    settings = dict(
        learning_rate=0.02, l2=1e-3, batch_size=128, epochs=20, patience=2, progress=False
    )
    together = make(kind, data, (1, 4, 0), device)
    history = fit(together, data, **settings)
    assert len(set(history.epochs_run)) > 1, "no replica stopped before another: a weak test"
    for r, seed in enumerate((1, 4, 0)):
        alone = make(kind, data, (seed,), device)
        own = fit(alone, data, **settings)
        assert own.epochs[0] == history.epochs[r]
        for name, series in own.values.items():
            np.testing.assert_allclose(series[0], history.values[name][r], rtol=1e-6)
        torch.testing.assert_close(alone.users[0], together.users[r], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_trains_after_it_was_moved(kind, data, device):
    """What it draws, its graph and its strengths are where its tables are."""
    model = make(kind, data, (1, 4))
    model.contrast_weight = torch.tensor([0.3, 0.2])
    model.new_epoch([generator(s, "samples") for s in (1, 4)])
    model = model.float().to(device)
    assert model.contrast_weight.device == model.users.device
    fit(model, data, learning_rate=0.02, batch_size=128, epochs=2, progress=False)
    assert model.users.dtype == torch.float32 and model.users.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_leaves_the_strengths_of_all_replicas(kind, data, device):
    """Also of those that stopped before the others; so a second fit goes on with all of them."""
    model = make(kind, data, (1, 4, 0), device)
    before = {"contrast_weight": [0.3, 0.31, 0.3], "contrast_temperature": [0.5, 0.5, 0.51]}
    for name, values in before.items():
        setattr(model, name, torch.tensor(values, device=device))
    settings = dict(learning_rate=0.02, batch_size=128, epochs=20, patience=2, progress=False)
    for again in (False, True):
        history = fit(model, data, **settings)
        assert again or len(set(history.epochs_run)) > 1, "all stopped at once: a weak test"
        assert model.seeds == (1, 4, 0) and model.users.shape[0] == 3
        for name, values in before.items():
            torch.testing.assert_close(getattr(model, name).cpu(), torch.tensor(values))


@pytest.mark.parametrize("fixed_size", [None, False, True])
@pytest.mark.parametrize("n", [5, 40])
def test_distinct_numbers_count_once(n, fixed_size, device):
    ids = torch.tensor([[3, 1, 3, 3, 0, 1], [4, 4, 2, 4, 2, 4]], device=device)
    nodes, counted = distinct(ids, n, fixed_size=fixed_size)
    assert nodes.shape == counted.shape
    for row, kept, expected in zip(nodes.tolist(), counted.tolist(), ids.tolist(), strict=True):
        found = [node for node, counts in zip(row, kept, strict=True) if counts]
        assert sorted(found) == sorted(set(expected))
        assert set(row) == set(expected), "filled up with a number that is not in the row"


@pytest.mark.parametrize("variant", ["formula", "official"])
@pytest.mark.parametrize("batch", [6, 20])  # below and above the 8 users and 6 items
def test_nodes_without_edges_stay_out_of_the_loss_of_xsimgcl(batch, variant, monkeypatch):
    """User 0 and item 0 have no edges; with two replicas, or on a GPU, rows are filled up."""
    dense = np.ones((8, 6))
    dense[0], dense[:, 0], dense[1, 1] = 0, 0, 0
    graph = CSR.from_scipy(sp.csr_matrix(dense))
    first = torch.tensor([[1, 2, 3, 4, 5, 6, 7], [1, 2, 1, 2, 1, 2, 1]])
    users = first.repeat(1, 3)[:, :batch]
    items = users.remainder(5) + 1

    def found(replicas):
        seeds = tuple(range(2))[replicas]
        model = XSimGCL(
            graph, 4, layers=2, contrast_weight=0.3, contrast_temperature=0.5, perturbation=0.1,
            contrast_layer=1, variant=variant, seeds=seeds, dtype=DTYPE,
        )  # fmt: skip
        model.new_epoch([generator(s, "samples") for s in seeds])
        value = model.own_loss(model.training_pass(), [users[replicas], items[replicas]])
        value.sum().backward()
        return value.detach(), model.users.grad, model.items.grad

    together = found(slice(0, 2))
    assert all(x.isfinite().all() for x in together)
    for r in range(2):
        for one, both in zip(found(slice(r, r + 1)), together, strict=True):
            torch.testing.assert_close(one[0], both[r])
    monkeypatch.setattr(contrastive, "distinct", partial(distinct, fixed_size=True))
    torch.testing.assert_close(found(slice(0, 2)), together)


def test_the_first_of_each_is_marked(device):
    ids = torch.tensor([[3, 1, 3, 0, 1], [2, 2, 2, 2, 2]], device=device)
    expected = [[True, True, False, True, False], [True, False, False, False, False]]
    assert first_of_each(ids).tolist() == expected


def test_gradients_of_the_contrast_by_unit_rows_stay_below_two_over_tau(device):
    """However large the dimension: what the scaling chapter says of robustness."""
    for d in (4, 256):
        rows = losses.unit(torch.randn(40, d, dtype=DTYPE, device=device)).requires_grad_()
        keys = losses.unit(torch.randn(60, d, dtype=DTYPE, device=device))
        which = torch.arange(40, device=device)
        losses.info_nce(rows, keys, which, 0.1).sum().backward()
        assert torch.linalg.vector_norm(rows.grad, dim=-1).max() <= 2 / 0.1


def test_bad_arguments_are_named(data):
    for name, value in (("contrast_layer", 3), ("perturbation", -1.0), ("variant", "x")):
        with pytest.raises(ValueError, match=f"{name} is"):
            graph = data.csr("train")
            given = dict(perturbation=0.1, contrast_layer=1) | {name: value}
            XSimGCL(graph, 4, layers=2, contrast_weight=1.0, contrast_temperature=1.0, **given)
    with pytest.raises(ValueError, match="reduction is 'mean'"):
        fit(make("sgl", data, (0,), reduction="sum"), data, epochs=1, progress=False)
