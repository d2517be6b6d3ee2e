"""Training by chunks of users, with the spectral norm and with methods against popularity bias."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from alone import assert_as_alone

from specrec_core import chunks, debiasing, experiments, synthetic
from specrec_core.arguments import SPECTRAL_VARIANTS
from specrec_core.chunks import user_chunks
from specrec_core.contrastive import SGL, XSimGCL
from specrec_core.corrections import Debiasing
from specrec_core.evaluation import evaluate
from specrec_core.models import MF, LightGCN, generator
from specrec_core.records import Experiment
from specrec_core.regularization import Regularizer
from specrec_core.sampling import EpochSampler, Negatives
from specrec_core.spectral_norm import spectral_norm_penalty
from specrec_core.training import fit

CHUNKS = dict(positives="user chunks", loss="mse_sigmoid", reduction="sum", batch_size=50,
              negatives=2)  # fmt: skip
SPECTRAL = {
    variant: dict(regularizer="spectral_norm", strength=0.01, spectral_variant=variant)
    for variant in SPECTRAL_VARIANTS
}
PAPER, BATCH, SIGMOID, OFFICIAL = (SPECTRAL[name] for name in SPECTRAL_VARIANTS)


@pytest.fixture(scope="module")
def data():
    return synthetic.dcbm(n_users=120, n_items=90, n_communities=3, mean_degree=12.0, seed=1)


def make(kind, data, seeds, device="cpu"):
    if kind == "lightgcn":
        train = data.csr("train", device)
        return LightGCN(train, 6, layers=2, seeds=seeds, dtype=torch.float64).to(device)
    if kind in ("sgl", "xsimgcl"):
        contrast = dict(
            contrast_weight=0.3, contrast_temperature=0.5, reduction="sum", layers=2,
            seeds=seeds, dtype=torch.float64,
        )  # fmt: skip
        train = data.csr("train", device)
        if kind == "sgl":
            return SGL(train, 6, edge_dropout=0.2, **contrast)
        return XSimGCL(train, 6, perturbation=0.1, contrast_layer=1, **contrast)
    return MF(data.n_users, data.n_items, 6, seeds=seeds, dtype=torch.float64).to(device)


CASES = {
    "chunks": ("mf", CHUNKS, {}, Debiasing()),
    "chunks sgl": ("sgl", CHUNKS, {}, Debiasing()),
    "chunks xsimgcl": (
        "xsimgcl", {**CHUNKS, "learning_rate": 0.05, "patience": 1}, OFFICIAL, Debiasing()
    ),
    **{name: ("mf", CHUNKS, spectral, Debiasing()) for name, spectral in SPECTRAL.items()},
    "official lightgcn": ("lightgcn", CHUNKS, OFFICIAL, Debiasing()),
    "paper by rows": ("lightgcn", dict(loss="bpr"), {**PAPER, "power_steps": 2}, Debiasing()),
    "detached": (
        "mf", dict(loss="bpr", epochs=5, patience=4), {**PAPER, "detach_start": True}, Debiasing()
    ),
    "zero_sum": ("mf", dict(loss="bpr"), {}, Debiasing("zero_sum", (0.9,))),
    "macr": ("lightgcn", dict(loss="bce"), {}, Debiasing("macr", (0.01, 0.01, 3.0))),
    "macr chunks": (
        "mf", {**CHUNKS, "loss": "bce", "epochs": 5, "patience": 4}, {},
        Debiasing("macr", (0.1, 0.1, 3.0)),
    ),
    "pd": ("mf", dict(loss="bpr"), {}, Debiasing("pd", (0.1,))),
    "pda chunks": ("mf", {**CHUNKS, "loss": "bpr"}, {}, Debiasing("pda", (0.1,))),
    "ips": ("mf", dict(loss="bce"), {}, Debiasing("ips", (0.5, 0.1))),
    "ips chunks": ("mf", CHUNKS, {}, Debiasing("ips", (0.5, 0.1))),
    "ipl": ("mf", dict(loss="bpr"), {}, Debiasing("ipl", (0.1, 1.4))),
    "ipl chunks": ("lightgcn", CHUNKS, PAPER, Debiasing("ipl", (0.1, 1.4))),
    "invcf": (
        "mf", dict(loss="sampled_softmax", negatives=3, batch_size=100, patience=1), {},
        Debiasing("invcf", (0.1, 0.1, 0.1, 0.2)),
    ),
}  # fmt: skip


UNEVEN = ("detached", "macr chunks")  # on any device; on a CPU all are


@pytest.mark.parametrize("name", CASES)
def test_replicas_equal_single_runs(name, data, device):
    kind, settings, balance, debias = CASES[name]
    settings = dict(
        regularizer=Regularizer(**balance), debias=debias, learning_rate=0.1, batch_size=256,
        l2=1e-3, l2_on="whole", epochs=25, patience=2, progress=False,
    ) | settings  # fmt: skip
    assert_as_alone(
        lambda seeds: make(kind, data, seeds, device), data, (1, 4, 2), settings,
        uneven=device == "cpu" or name in UNEVEN, rtol=1e-6, atol=1e-8,
    )  # fmt: skip


def moved(model_of, data, **settings):
    """The model before and after one SGD step of rate 0.5 on everything at once."""
    after = {}

    def keep(epoch, model):
        after.update({k: p.detach().clone() for k, p in model.named_parameters()})
        return {}

    fit(
        model_of(), data, optimizer="sgd", learning_rate=0.5, epochs=1, callbacks=(keep,),
        progress=False, **{"batch_size": 10**9, **settings},
    )  # fmt: skip
    return model_of(), after


def sampled(data, seed, count, order=None):
    """The pairs of the only batch and their negatives, as the steps draw them."""
    train = data.csr("train")
    stream = generator(seed, "samples")
    if order is None:
        return EpochSampler(train, "interactions", count, "uniform").epoch(stream)
    (chunk,) = user_chunks(train, data.n_users)
    users = chunk.users[chunk.rows]
    return users, chunk.items, Negatives(train).draw(users, count, stream)


@pytest.mark.parametrize("kind", ["sgl", "xsimgcl"])
def test_a_step_of_a_chunk_takes_the_loss_of_the_model_along(kind, data):
    """Σ (1 − σ)² + Σ σ² of the noisy or plain embeddings, and what the model adds."""
    model, after = moved(
        lambda: make(kind, data, (4,)), data, **{**CHUNKS, "batch_size": data.n_users}
    )
    stream = generator(4, "samples")
    model.new_epoch([stream])
    train = data.csr("train")
    (chunk,) = user_chunks(train, data.n_users)
    users = chunk.users[chunk.rows]
    negatives = Negatives(train).draw(users, 2, stream)
    final = model.training_pass()
    u, p, n = final[0][0, users], final[1][0, chunk.items], final[1][0, negatives]
    right, wrong = (u * p).sum(-1).sigmoid(), (u.unsqueeze(1) * n).sum(-1).sigmoid()
    loss = (1 - right).square().sum() + wrong.square().sum()
    own = model.own_loss(final, [users.unsqueeze(0), chunk.items.unsqueeze(0)]).sum()
    assert own > 1.0
    (loss + own).backward()
    for name in ("users", "items"):
        table = getattr(model, name)
        expected = table.detach() - 0.5 * table.grad
        torch.testing.assert_close(after[name], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "balance",
    [{}, PAPER, BATCH, OFFICIAL, SIGMOID, {**PAPER, "detach_start": True}],
    ids=["none", "paper", "batch", "official", "sigmoid", "constant direction"],
)
@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
def test_one_step_of_a_chunk_is_the_gradient_step(kind, balance, data):
    """Σ (1 − σ)² + Σ σ² + β‖·‖² + λ/2 (‖U‖² + ‖V‖²), of all users at once."""
    model, after = moved(
        lambda: make(kind, data, (4,)), data, **{**CHUNKS, "batch_size": data.n_users},
        regularizer=Regularizer(**balance), l2=0.3, l2_on="whole",
    )  # fmt: skip
    users, items, negatives = sampled(data, 4, 2, "chunks")
    final_users, final_items = model()
    z = torch.sigmoid(final_users[0] @ final_items[0].T)
    loss = (1 - z[users, items]).square().sum() + z[users[:, None], negatives].square().sum()
    if balance:
        loss = loss + 0.01 * spectral_norm_penalty(
            final_users[0], final_items[0], variant=balance.get("spectral_variant", "paper"),
            detach_start=balance.get("detach_start"),
        )  # fmt: skip
    loss = loss + 0.15 * (model.users.square().sum() + model.items.square().sum())
    loss.backward()
    for name, table in model.named_parameters():
        torch.testing.assert_close(after[name], table.detach() - 0.5 * table.grad)


@pytest.mark.parametrize(
    "balance",
    [{}, PAPER, BATCH, OFFICIAL, SIGMOID],
    ids=["none", "paper", "batch", "official", "sigmoid"],
)
@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
def test_adam_takes_the_same_gradients(kind, balance, data, device):
    """Three epochs of three chunks against a loop that calls ``backward`` and plain Adam.

    The paper's penalty is of all users, the others are of those of a chunk.
    """
    whole = replace(data, validation=data.validation * 0)
    trained, model = (make(kind, data, (4,), device) for _ in range(2))
    fit(
        trained, whole, **CHUNKS, learning_rate=0.05, epochs=3, select="last", progress=False,
        regularizer=Regularizer(**balance),
    )  # fmt: skip
    train, stream = data.csr("train", device), generator(4, "samples", device)
    stepper = torch.optim.Adam(model.parameters(), lr=0.05, foreach=False, fused=False)
    for _ in range(3):
        for chunk in user_chunks(train, 50):
            users = chunk.users[chunk.rows]
            negatives = Negatives(train).draw(users, 2, stream)
            u, v = (table[0] for table in model())
            positive = torch.sigmoid((u[users] * v[chunk.items]).sum(-1))
            negative = torch.sigmoid((u[users].unsqueeze(1) * v[negatives]).sum(-1))
            loss = (1 - positive).square().sum() + negative.square().sum()
            if balance:
                variant = balance.get("spectral_variant", "paper")
                rows = u if variant == "paper" else u[chunk.users]
                loss = loss + 0.01 * spectral_norm_penalty(rows, v, variant=variant)
            stepper.zero_grad()
            loss.backward()
            stepper.step()
    for name, table in model.named_parameters():
        torch.testing.assert_close(dict(trained.named_parameters())[name], table)


@pytest.mark.parametrize("l2_on", ["tables", "whole"])
def test_penalties_of_whole_tables_reach_every_row(l2_on, data):
    """By rows, two batches: what one step leaves in the gradients must not reach the next."""
    size = data.train.nnz // 2 + 1
    settings = dict(
        loss="bpr", regularizer=Regularizer(**PAPER), debias=Debiasing("ipl", (0.2, 1.4)), l2=0.1,
        l2_on=l2_on, batch_size=size,
    )  # fmt: skip
    model, after = moved(lambda: make("mf", data, (4,)), data, **settings)
    users, items, negatives = sampled(data, 4, 1)
    counts = torch.as_tensor(data.item_popularity)
    pairs = [torch.as_tensor(x.astype(np.int64)) for x in data.train.nonzero()]
    for batch in (slice(0, size), slice(size, None)):
        u, p = model.users[0, users[batch]], model.items[0, items[batch]]
        n = model.items[0, negatives[batch, 0]]
        loss = torch.nn.functional.softplus((u * (n - p)).sum(-1)).mean()
        spread = debiasing.interaction_spread(
            (model.users[0, pairs[0]] * model.items[0, pairs[1]]).sum(-1), pairs[1], counts, 1.4
        )
        loss = loss + 0.01 * spectral_norm_penalty(model.users[0], model.items[0]) + 0.2 * spread
        shrunk = (u, p, n) if l2_on == "tables" else (model.users, model.items)
        share = len(u) if l2_on == "tables" else 1
        loss = loss + 0.05 / share * sum(x.square().sum() for x in shrunk)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for table, gradient in zip(model.parameters(), gradients, strict=True):
                table -= 0.5 * gradient
    for name, table in model.named_parameters():
        torch.testing.assert_close(after[name], table.detach())


@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
@pytest.mark.parametrize(
    "loss, debias, balance",
    [("mse_sigmoid", ("none", ()), {}), ("bpr", ("none", ()), PAPER),
     ("bce", ("macr", (0.3, 0.6, 2.0)), {}), ("bpr", ("ipl", (0.2, 1.4)), {})],
    ids=["plain", "paper", "macr", "ipl"],
)  # fmt: skip
def test_all_scores_and_those_of_pairs_agree(kind, loss, debias, balance, data, monkeypatch):
    """Two replicas, three epochs of three chunks."""
    found = []
    for one_in in (0, 10**9):  # no chunk is dense enough; every one is
        monkeypatch.setattr(chunks, "DENSE", one_in)
        model = make(kind, data, (4, 5))
        history = fit(
            model, data, **{**CHUNKS, "loss": loss}, learning_rate=0.05, epochs=3, progress=False,
            debias=Debiasing(*debias), regularizer=Regularizer(**balance),
        )  # fmt: skip
        found.append({**dict(model.named_parameters()), "history": history.values})
    assert found[0].keys() == found[1].keys()
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], equal_nan=True)


def test_pairs_are_scored_alone_where_they_are_few(data, monkeypatch):
    calls = []
    monkeypatch.setattr(chunks, "_scored", lambda *given: calls.append(given))
    for one_in, official in ((0, True), (10**9, False)):
        monkeypatch.setattr(chunks, "DENSE", one_in)
        balance = Regularizer(**(OFFICIAL if official else {}))
        fit(make("mf", data, (4,)), data, **CHUNKS, regularizer=balance, epochs=1, progress=False)
    assert not calls  # the official penalty is of all scores
    monkeypatch.setattr(chunks, "DENSE", 0)
    with pytest.raises(TypeError):
        fit(make("mf", data, (4,)), data, **CHUNKS, epochs=1, progress=False)
    assert len(calls) == 1


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("name, values", [("zero_sum", (0.7,)), ("macr", (0.3, 0.6, 2.0)),
                                          ("pd", (0.3,)), ("ips", (0.5, 0.05))])  # fmt: skip
def test_one_step_of_a_method_is_the_gradient_step(name, values, chunks, data):
    loss = "bce" if name == "macr" else "bpr"
    model, after = moved(
        lambda: make("mf", data, (4,)), data, loss=loss, negatives=2,
        debias=Debiasing(name, values), positives="user chunks" if chunks else "interactions",
    )  # fmt: skip
    Debiasing(name, values).prepare(model)
    users, items, negatives = sampled(data, 4, 2, "chunks" if chunks else None)
    scores = model.users[0] @ model.items[0].T
    s, t = scores[users, items], scores[users[:, None], negatives]
    counts = torch.as_tensor(data.item_popularity)
    if name == "zero_sum":
        value = debiasing.zero_sum(s, t, 0.7)
    elif name == "macr":
        a, b = model.items[0] @ model.item_branch[0], model.users[0] @ model.user_branch[0]
        value = debiasing.macr(s, t, a[items], a[negatives], b[users], items=0.3, users=0.6)
    elif name == "pd":
        m = debiasing.smoothed_popularity(counts) ** 0.3
        value = debiasing.deconfounded_bpr(s, t, m[items], m[negatives])
    else:
        p = ((counts / counts.max()).double() ** 0.5).clamp_min(0.05)
        value = debiasing.weighted(s, t, 1 / p[items], "bpr")
    value.backward()
    assert len(after) == (4 if name == "macr" else 2)
    for key, table in model.named_parameters():
        torch.testing.assert_close(after[key], table.detach() - 0.5 * table.grad)


def test_one_step_of_invcf_is_the_gradient_step(data):
    values = (0.5, 0.3, 0.2, 0.7)
    train = data.csr("train")
    debias = Debiasing("invcf", values).on(train)
    model, after = moved(
        lambda: make("mf", data, (4,)), data, loss="sampled_softmax", negatives=3, debias=debias,
    )  # fmt: skip
    debias.prepare(model)
    users, items, negatives = sampled(data, 4, 3)
    degree, popularity = np.diff(data.train.indptr), data.item_popularity
    of_user = torch.tensor(np.searchsorted(np.unique(degree), degree))
    of_item = torch.tensor(np.searchsorted(np.unique(popularity), popularity))
    assert model.user_popularity.shape[1] == len(np.unique(degree))
    assert model.item_popularity.shape[1] == len(np.unique(popularity))
    value = debiasing.invariant(
        (model.users[0, users], model.items[0, items], model.items[0, negatives]),
        (model.user_popularity[0, of_user[users]], model.item_popularity[0, of_item[items]],
         model.item_popularity[0, of_item[negatives]]),
        tuple((torch.arange(len(users)) - k) % len(users) for k in (1, 2)),
        temperature=0.7, strengths=values[:3],
    )  # fmt: skip
    value.backward()
    for key, table in model.named_parameters():
        torch.testing.assert_close(after[key], table.detach() - 0.5 * table.grad)


def test_a_last_batch_of_one_is_named_where_invcf_cannot_have_it(data):
    """It has no correlation; training would stop with a loss that is NaN."""
    settings = dict(
        loss="sampled_softmax", debias=Debiasing("invcf", (0.1, 0.1, 0.1, 0.2)), epochs=1,
        batch_size=data.train.nnz - 1, progress=False,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"two rows.*drop_last leaves out a last batch of one"):
        fit(make("mf", data, (4,)), data, **settings)
    fit(make("mf", data, (4,)), data, **settings, drop_last=True)


@pytest.mark.parametrize("name, values, loss", [
    ("macr", (0.1, 0.1, 3.0), "bce"), ("invcf", (0.1, 0.1, 0.1, 0.2), "sampled_softmax"),
])  # fmt: skip
def test_a_second_fit_goes_on_from_the_parameters_of_the_method(name, values, loss, data):
    model, seen = make("mf", data, (4, 5)), []

    def look(epoch, model):
        seen.append({key: table.detach().clone() for key, table in model.named_parameters()})
        return {}

    settings = dict(
        loss=loss, debias=Debiasing(name, values), learning_rate=0.05, select="last", epochs=2,
        callbacks=(look,), progress=False,
    )  # fmt: skip
    sizes = dict(n_users=120, n_items=90, n_communities=3, seed=1)
    whole = synthetic.dcbm(**sizes, mean_degree=12.0, validation_fraction=0.0)
    for _ in range(2):
        fit(model, whole, **settings)
    assert len(seen) == 6 and len(seen[0]) == 4
    for key, table in seen[3].items():
        torch.testing.assert_close(table, seen[2][key], rtol=0, atol=0)
        assert not torch.equal(table, seen[0][key])
    other = synthetic.dcbm(**sizes, mean_degree=4.0, validation_fraction=0.0)
    if name == "invcf":
        with pytest.raises(ValueError, match="user_popularity has shape"):
            fit(model, other, **settings)


def test_every_interaction_is_in_one_chunk(data):
    train = data.csr("train")
    chunks = user_chunks(train, 50)
    assert [len(c.users) for c in chunks] == [50, 50, 20]
    assert sorted(torch.cat([c.users for c in chunks]).tolist()) == list(range(120))
    pairs = [(int(c.users[r]), int(i)) for c in chunks
             for r, i in zip(c.rows, c.items, strict=True)]  # fmt: skip
    assert sorted(pairs) == sorted(zip(*map(np.ndarray.tolist, data.train.nonzero()), strict=True))


@pytest.mark.parametrize("name, values", [("macr", (0.01, 0.01, 3.0)), ("pda", (0.5,))])
def test_the_ranking_is_that_of_the_method(name, values, data, device):
    """Each replica is left at its best epoch with the method's own parameters and scores."""
    model = make("mf", data, (0, 1), device)
    debias = Debiasing(name, values)
    history = fit(
        model, data, loss="bce" if name == "macr" else "bpr", debias=debias, learning_rate=0.05,
        epochs=6, patience=3, progress=False,
    )  # fmt: skip
    train, truth = data.csr("train", device), data.csr("validation", device)
    score = evaluate(debias.on(train).scorer(model), truth, train)
    for r in range(2):
        best = max(history.values["validation ndcg@10"][r])
        assert score.mean["ndcg@10"][r].item() == pytest.approx(best, rel=1e-9)
    plain = evaluate(model.scorer(), truth, train)
    assert not torch.allclose(plain.mean["ndcg@10"], score.mean["ndcg@10"])


def test_rankings_are_by_the_formulas_of_the_methods(data):
    """Branches and reference of MACR, popularity of PDA, from the tables; PD ranks without it."""
    model, train, ids = make("mf", data, (0, 1)), data.csr("train"), torch.tensor([5, 0, 7])
    with torch.no_grad():
        model.users.mul_(10)
    plain = model.scorer()(ids)
    macr = Debiasing("macr", (0.3, 0.6, 2.0)).on(train)
    macr.prepare(model)
    tables = dict(model.named_parameters())
    u, v, w, x = (
        tables[name].detach().numpy() for name in ("users", "items", "user_branch", "item_branch")
    )
    s = np.einsum("rud,rid->rui", u[:, ids], v)
    of_users, of_items = (
        1 / (1 + np.exp(-np.einsum("rnd,rd->rn", *both))) for both in ((u[:, ids], w), (v, x))
    )
    expected = (s - 2.0) * of_users[:, :, None] * of_items[:, None]
    np.testing.assert_allclose(macr.scorer(model)(ids).numpy(), expected, rtol=1e-9)

    counts = data.item_popularity.astype(float)
    popularity = (counts - counts.min()) / np.ptp(counts)
    expected = (np.where(s > 0, s, np.exp(s) - 1) + 1) * popularity**0.4
    pda, pd = (Debiasing(name, (0.4,)).on(train).scorer(model)(ids) for name in ("pda", "pd"))
    np.testing.assert_allclose(pda.numpy(), expected, rtol=1e-9)
    assert torch.equal(pd.argsort(-1), plain.argsort(-1))
    assert not torch.equal(pda.argsort(-1), plain.argsort(-1))


def test_the_least_propensity_bounds_the_weights(data):
    counts = data.item_popularity.astype(float)
    share = np.sqrt(counts / counts.max())
    assert 0 < (share < 0.5).sum() < len(share), "a bound without effect would say nothing"
    factors = Debiasing("ips", (0.5, 0.5)).on(data.csr("train")).factors
    expected = np.where(counts > 0, 1 / np.maximum(share, 0.5), 0.0)
    np.testing.assert_allclose(factors.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("name, values", [("macr", (0.1, 0.1, 3.0)),
                                          ("invcf", (0.1, 0.1, 0.1, 0.2))])  # fmt: skip
def test_parameters_of_a_method_begin_as_xaviers_normal_numbers(name, values, data):
    """Of variance 2 / (rows + columns): a branch is d rows of one, levels are rows of d."""
    seeds = tuple(range(600))
    model = MF(data.n_users, data.n_items, 2, seeds=seeds, dtype=torch.float64)
    debias = Debiasing(name, values).on(data.csr("train"))
    debias.prepare(model)
    own = [table.detach() for table in debias.own(model)]
    for table in own:
        rows, columns = (2, 1) if name == "macr" else table.shape[1:]
        assert table.std().item() == pytest.approx((2 / (rows + columns)) ** 0.5, rel=0.08)
        assert abs(table.mean() / table.std()).item() < 0.12
    # No two of them share a stream, and each goes with its seed.
    first = [table.reshape(600, -1)[:, :2].flatten() for table in own]
    assert abs(torch.corrcoef(torch.stack(first))[0, 1]).item() < 0.12
    alone = MF(data.n_users, data.n_items, 2, seeds=(7,), dtype=torch.float64)
    debias.prepare(alone)
    for table, of_one in zip(own, debias.own(alone), strict=True):
        assert torch.equal(table[7], of_one[0]) and not torch.equal(table[7], table[8])


def test_chunks_learn_planted_communities(data):
    history = fit(
        make("mf", data, (0,)), data, **CHUNKS, learning_rate=0.05, epochs=12, progress=False
    )
    series = history.values["validation ndcg@10"][0]
    assert max(series) > 2 * series[0]


def test_a_strong_penalty_lowers_the_norm(data):
    norms = []
    for strength in (1e-9, 1.0):
        model = make("mf", data, (0,))
        penalty = Regularizer("spectral_norm", strength)
        fit(
            model, data, learning_rate=0.05, epochs=6, select="best", patience=50,
            regularizer=penalty, progress=False,
        )  # fmt: skip
        norms.append(torch.linalg.matrix_norm(model.users @ model.items.mT, 2).item())
    assert norms[1] < norms[0] / 2


def experiment(**changes):
    fields = dict(
        dataset="synthetic", version=synthetic.dcbm().version, dim=8, epochs=2, seeds=(0,)
    )
    return Experiment(**{**fields, **changes})


def test_an_experiment_of_the_official_protocol():
    e = experiment(
        **{**CHUNKS, "batch_size": 512, "negatives": 4}, **OFFICIAL, l2=1e-5, l2_on="whole",
        test_split="equal exposure", init="xavier",
    )  # fmt: skip
    record = experiments.run(e, progress=False)
    assert record.data["version"].endswith("equal exposure in test, seed 0")
    for name in ("cos(q1, r) of scores", "cos(q1, r) of sigmoid", "cos(e, r) of sigmoid",
                 "share of the most popular 20%@20", "largest share of one item@1"):  # fmt: skip
        assert 0 < record.metrics[name][0] <= 1
    assert len(record.history["cos(q1, r)"][0]) == 3


def test_settings_without_use_are_refused():
    chunks = {**CHUNKS, "batch_size": 512}
    for changes, message in (
        (dict(OFFICIAL), "spectral_variant is 'official'"),
        (dict(SIGMOID), "spectral_variant is 'sigmoid'"),
        (dict(**chunks, **OFFICIAL, detach_start=True), "detach_start is True"),
        (dict(spectral_variant="official"), "spectral_variant is 'official'"),
        (dict(power_steps=2), "power_steps is 2"),
        (dict(detach_start=True), "detach_start is True"),
        (dict(**PAPER, power_steps=0), "power_steps is 0"),
        (dict(regularizer="spectral_norm"), "strength is 0"),
        (dict(chunks, loss="alignment"), "loss is 'alignment'"),
        (dict(chunks, l2=0.1), "l2_on is 'tables'"),
        (dict(chunks, drop_last=True), "drop_last is True"),
        (dict(chunks, normalised=True), "normalised and shrink"),
        (dict(chunks, regularizer="vicreg", strength=1.0), "regularizer is 'vicreg'"),
        (dict(debias="macr", debias_settings=(1, 1, 1)), "loss is 'bpr'"),
        (dict(debias="zero_sum"), "debias_settings is"),
        (dict(debias="zero_sum", debias_settings=(1.5,)), r"debias_settings \(weight\)"),
        (dict(debias="zero_sum", debias_settings=(0.5,), normalised=True), "normalised and shrink"),
        (dict(debias="x"), "debias is 'x'"),
        (dict(debias_settings=(1,)), "debias_settings is"),
        (dict(reduction="x"), "reduction is 'x'"),
        (dict(test_split="x"), "test_split is 'x'"),
        (dict(chunks, loss="sampled_softmax", debias="invcf",
              debias_settings=(1, 1, 1, 0.1)), "debias is 'invcf'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            experiment(**changes)


def test_new_settings_have_names_and_survive_the_disk(tmp_path):
    base = dict(CHUNKS, batch_size=512, **PAPER)
    others = [dict(OFFICIAL), dict(power_steps=2), dict(detach_start=True), dict(reduction="mean"),
              dict(loss="bce_sigmoid"), dict(test_split="equal exposure"),
              dict(l2=0.1, l2_on="whole"),
              dict(loss="bpr", debias="zero_sum", debias_settings=(0.9,)),
              dict(loss="bpr", debias="zero_sum", debias_settings=(0.8,))]  # fmt: skip
    all_of = [experiment(**{**base, **changes}) for changes in ({}, *others)]
    assert len({e.name for e in all_of}) == len(all_of)
    for e in all_of:
        assert replace(e) == e and Experiment(**e.definition()) == e
