"""Models of clicks: slow references, the collapse regulariser, AUC, and the fields they read."""

import numpy as np
import pytest
import torch

from specrec_core import ctr, fields, studies, study_collapse
from specrec_core.studies import Study


@pytest.fixture(scope="module")
def log():
    return fields.planted(rows=1500, sizes=(3, 8, 20), seed=1)


def values(model):
    return {k: v.detach().double().numpy() for k, v in model.state_dict().items()}


@pytest.mark.parametrize("sets, width", [(1, 0), (1, 5), (3, 5)])
def test_a_factorisation_machine_is_its_formula(sets, width):
    model = ctr.FM((3, 4, 5), 4, sets=sets, width=width, seed=2)
    with torch.no_grad():
        model.first_order.normal_()
    of, codes = values(model), np.array([[0, 3, 1], [2, 0, 4]])
    got = model(torch.tensor(codes)).detach()
    for b, row in enumerate(codes):
        places = row + np.array([0, 3, 7])
        total, hidden = of["bias"][0] + of["first_order"][places].sum(), 0.0
        for m in range(sets):
            e = of["embeddings"][m][places]
            pairs = sum(e[i] * e[j] for i in range(3) for j in range(i))
            if width:
                w, c = (of[f"projections.{m}.{k}"] for k in ("weight", "bias"))
                hidden = hidden + np.maximum(w @ pairs + c, 0) / sets
            else:
                total += pairs.sum()
        if width:
            total += of["out.weight"][0] @ hidden + of["out.bias"][0]
        assert got[b].item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("regularised", ["", "formula", "official"])
@pytest.mark.parametrize("sets", [1, 2])
def test_a_cross_network_is_its_formula(sets, regularised):
    """In evaluation, with running statistics as they were left by one step of training."""
    model = ctr.DCNv2(
        (3, 4, 5), 2, sets=sets, layers=2, width=6, seed=2, regularised=regularised
    )  # fmt: skip
    with torch.no_grad():
        model.scales.uniform_(0.5, 2.0)
    codes = np.array([[0, 3, 1], [2, 0, 4], [1, 1, 1]])
    model.train()
    model(torch.tensor(codes))
    model.eval()
    of, got = values(model), model(torch.tensor(codes)).detach()

    def block(k, x):
        x = of[f"blocks.{k}.weight"] @ x + of[f"blocks.{k}.bias"]
        spread = np.sqrt(of[f"norms.{k}.running_var"] + 1e-5)
        x = (x - of[f"norms.{k}.running_mean"]) / spread
        return np.maximum(x * of[f"norms.{k}.weight"] + of[f"norms.{k}.bias"], 0)

    for b, row in enumerate(codes):
        hidden = 0.0
        for m in range(sets):
            first = of["embeddings"][m][row + np.array([0, 3, 7])].reshape(-1)
            x = first
            for layer in (2 * m, 2 * m + 1):
                w = of[f"cross.{layer}.weight"].copy()
                if regularised == "official":
                    for j in range(3):
                        for i in range(3):
                            w[2 * j : 2 * j + 2, 2 * i : 2 * i + 2] *= of["scales"][layer, j, i]
                x = first * (w @ x + of[f"cross.{layer}.bias"]) + x
            hidden = hidden + block(m, x) / sets
        expected = of["out.weight"][0] @ block(sets, hidden) + of["out.bias"][0]
        assert got[b].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_collapse_regulariser_is_its_formula():
    n, k = 3, 4
    draw = np.random.default_rng(0)
    weight, scales = draw.normal(size=(n * k, n * k)), draw.normal(size=(n, n))
    formula = official = 0.0
    for i in range(n):
        for j in range(n):
            w = weight[i * k : (i + 1) * k, j * k : (j + 1) * k]
            formula += np.linalg.norm(w.T @ w - scales[i, j] * np.eye(k)) ** 2
            official += np.linalg.norm(np.eye(k) - w @ w.T) ** 2
    blocks = ctr.fields_of(torch.tensor(weight), k)
    assert ctr.orthogonality(blocks, torch.tensor(scales)).item() == pytest.approx(formula)
    for variant, expected in (("formula", formula), ("official", official)):
        model = ctr.DCNv2((3, 4, 5), k, layers=1, width=4, regularised=variant).double()
        with torch.no_grad():
            model.cross[0].weight.copy_(torch.tensor(weight))
            model.scales[0].copy_(torch.tensor(scales))
        assert model.penalty().item() == pytest.approx(ctr.PENALTY * expected)
    blocks = torch.randn(2, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    scales = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ctr.orthogonality, (blocks, scales))


def test_the_regulariser_is_zero_where_no_abundance_is_lost():
    """Scaled orthogonal blocks keep the abundance of every field whichever way it is projected."""
    model = ctr.DCNv2((6, 9), 4, layers=1, width=4, regularised="formula").double()
    with torch.no_grad():
        for j in range(2):
            for i in range(2):
                q = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64)).Q
                model.cross[0].weight[4 * j : 4 * j + 4, 4 * i : 4 * i + 4] = (1 + i + j) * q
                model.scales[0, j, i] = (1 + i + j) ** 2
    assert model.penalty().item() < 1e-20
    own = torch.tensor(ctr.abundance(model)["per set"], dtype=torch.float64)
    torch.testing.assert_close(model.projected_abundance()[0], own[:, None].expand(2, 2))


def test_projected_abundance_is_that_of_the_projected_table():
    model = ctr.DCNv2((6, 9), 4, sets=2, layers=2, width=4, seed=5)
    got, of = model.projected_abundance(), values(model)
    for m, i, j in ((0, 0, 1), (1, 1, 0)):
        table = of["embeddings"][m][[slice(0, 6), slice(6, 15)][i]]
        w = of[f"cross.{2 * m}.weight"][4 * j : 4 * j + 4, 4 * i : 4 * i + 4]
        s = np.linalg.svd(table @ w.T, compute_uv=False)
        assert got[m, i, j].item() == pytest.approx(s.sum() / s[0], rel=1e-5)


def test_auc_is_that_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    labels, scores = draw.integers(0, 2, 500), draw.integers(0, 30, 500)  # with ties
    assert ctr.auc(labels, scores) == pytest.approx(sklearn.roc_auc_score(labels, scores))
    assert ctr.auc([0, 0, 1], [1.0, 2.0, 3.0]) == 1.0 and ctr.auc([1, 0], [1.0, 1.0]) == 0.5
    with pytest.raises(ValueError, match="labels: 2 of 2"):
        ctr.auc([1, 1], [0.0, 1.0])


@pytest.mark.parametrize("kind", ["fm", "dcnv2"])
def test_models_learn_planted_interactions(kind, log):
    sizes = log.cardinalities.tolist()
    if kind == "fm":
        model = ctr.FM(sizes, 6, sets=2, width=16)
    else:
        model = ctr.DCNv2(sizes, 4, sets=2, layers=2, width=16)
    train, validation, test = fields.split(log)
    fitted = ctr.fit(
        model, log, train, validation, epochs=15, batch_size=64, learning_rate=1e-2
    )  # fmt: skip
    assert ctr.auc(log.labels[test], ctr.predict(model, log, test)) > 0.7
    best = ctr.auc(log.labels[validation], ctr.predict(model, log, validation))
    assert best == max(fitted.auc) == fitted.auc[fitted.best_epoch - 1]
    assert len(fitted.auc) - fitted.best_epoch in (0, 1, 2, 3)
    again = type(model)(sizes, model.dim, sets=2, **({"width": 16} if kind == "fm" else
                                                     {"width": 16, "layers": 2}))  # fmt: skip
    same = ctr.fit(again, log, train, validation, epochs=15, batch_size=64, learning_rate=1e-2)
    assert same.auc == fitted.auc  # dropout has its own stream


def test_the_loss_of_an_epoch_is_the_mean_over_rows(log):
    """Of batches of 64 and 36 rows, by a model that a rate of 0 leaves as it is."""
    model, rows = ctr.FM(log.cardinalities.tolist(), 4), np.arange(100)
    fitted = ctr.fit(
        model, log, rows, np.arange(100, 300), epochs=1, batch_size=64, learning_rate=0.0
    )
    logits, labels = torch.tensor(ctr.predict(model, log, rows)), torch.tensor(log.labels[rows])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels.double())
    assert fitted.loss == [pytest.approx(expected.item(), rel=1e-5)]


def test_a_last_row_by_itself_goes_with_those_before(log):
    model = ctr.DCNv2(log.cardinalities.tolist(), 4, layers=1, width=8)
    fitted = ctr.fit(model, log, np.arange(65), np.arange(100, 300), epochs=1, batch_size=32)
    assert np.isfinite(fitted.loss).all()


def test_of_equally_good_epochs_the_first_is_kept(log, monkeypatch):
    monkeypatch.setattr(ctr, "auc", lambda labels, scores: 0.5)
    rows, other = np.arange(100), np.arange(100, 200)
    after = {}
    for epochs in (1, 3):
        model = ctr.FM(log.cardinalities.tolist(), 4)
        assert ctr.fit(model, log, rows, other, epochs=epochs).best_epoch == 1
        after[epochs] = ctr.predict(model, log, other)
    np.testing.assert_array_equal(after[1], after[3])


def test_rows_are_split_once_and_in_shares(log):
    parts = fields.split(log, 3)
    assert [len(p) for p in parts] == [1200, 150, 150]
    assert sorted(np.concatenate(parts)) == list(range(1500))


def test_movielens_has_fields():
    from specrec_core import datasets

    if not datasets.available("ml-100k", download=False):
        pytest.skip("ml-100k is not at hand")
    found = fields.movielens()
    assert found.codes.shape == (100_000, 8)
    sizes = dict(zip(found.fields, found.cardinalities.tolist(), strict=True))
    assert (sizes["user_id"], sizes["item_id"], sizes["gender"]) == (943, 1682, 2)
    assert sizes["occupation"] == 21
    assert found.labels.sum() == 55_375  # ratings of 4 and 5, as MovieLens 100K is known to have
    for k, size in enumerate(found.cardinalities):
        assert found.codes[:, k].min() == 0 and found.codes[:, k].max() == size - 1
    user = found.codes[:, 0]
    for name in ("age", "gender", "occupation", "zip_code"):  # known of the user alone
        column = found.codes[:, found.fields.index(name)]
        assert len(np.unique(np.stack([user, column]), axis=1).T) == 943


def test_few_values_in_the_third_field_collapse_the_first():
    """The direction of the paper's toy, after a part of its iterations, for three seeds."""
    ends = {}
    for third in (3, 100):
        study = Study.of("study_collapse.toy", seeds=(0, 1, 2), partner=third, iterations=1000)
        found, _ = studies.measure(study, progress=False)
        ends[third] = [m.metrics["abundance at the end"] for m in found]
        assert found[0].metrics["abundance at the start"] > 6
        for m in found:
            along = [m.metrics.get(f"length along the {x}") for x in ("partner", "others")]
            assert (None in along) == (third == 100)  # which spans everything
            if third == 3:
                energy = np.square(m.spectrum["first table"]).sum() / 100
                assert 3 * along[0] ** 2 + 7 * along[1] ** 2 == pytest.approx(energy)
                assert along[0] < along[1] < 1  # it is the partner's directions that shrink most
    assert all(a < b for a, b in zip(ends[3], ends[100], strict=True))


def test_the_gradient_is_a_sum_over_singular_directions():
    """The decomposition of the paper: θ_i = Σ_k α_ik σ_ik v_ik, summed over the other fields."""
    draw = np.random.default_rng(0)
    tables = [draw.normal(size=(d, 4)) for d in (5, 6, 7)]
    codes = np.stack([draw.integers(0, len(t), 40) for t in tables], 1)
    y = draw.integers(0, 2, 40)
    rows = [torch.tensor(t) for t in tables]
    rows[0].requires_grad_()
    e = [t[torch.tensor(codes[:, i])] for i, t in enumerate(rows)]
    logit = (e[0] * e[1] + e[0] * e[2] + e[1] * e[2]).sum(-1)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logit, torch.tensor(y).double())
    (gradient,) = torch.autograd.grad(loss, rows[0])
    slope = 1 / (1 + np.exp(-logit.detach().numpy())) - y
    for row in range(5):
        mine, total = codes[:, 0] == row, 0.0
        for i in (1, 2):
            u, s, v = np.linalg.svd(tables[i], full_matrices=False)
            alpha = (slope[mine, None] * u[codes[mine, i]]).sum(0) / 40
            total = total + (alpha * s) @ v
        np.testing.assert_allclose(gradient[row].numpy(), total, atol=1e-14)


@pytest.mark.parametrize("model, settings", [("fm", {"width": 8}), ("dcnv2", {"width": 8})])
def test_a_study_of_clicks_measures(model, settings):
    study = Study.of("study_collapse.clicks", model=model, dim=4, epochs=2, sets=2, **settings)
    found, _ = studies.measure(study, progress=False)
    n = len(fields.PLANTED_SIZES)
    assert 0 < found[0].metrics["auc"] < 1
    for name in ("abundance", "abundance per set", "initial abundance", "cardinality"):
        assert len(found[0].curves[name]) == n
    assert max(found[0].curves["abundance per set"]) <= 4 + 1e-9
    with pytest.raises(ValueError, match="model is 'x'"):
        study_collapse.clicks(dataset="planted", seed=0, progress=False, model="x", dim=2)


def test_an_ensemble_is_the_mean_of_its_members_logits():
    given = {"dataset": "planted", "progress": False, "dim": 3, "width": 8, "epochs": 1}
    one = study_collapse.ensemble(seed=0, model="fm", members=1, **given).metrics
    alone = study_collapse.clicks(seed=0, model="fm", **given).metrics
    assert one["auc"] == one["auc of one"] == alone["auc"]
    log = fields.planted()
    train, validation, test = fields.split(log)
    total = np.zeros(len(test))
    for member in (2000, 2001):
        model = ctr.FM(log.cardinalities.tolist(), 3, width=8, seed=member)
        ctr.fit(model, log, train, validation, epochs=1)
        total += ctr.predict(model, log, test)
    two = study_collapse.ensemble(seed=2, model="fm", members=2, **given).metrics
    assert two["auc"] == ctr.auc(log.labels[test], total)


def test_the_logs_of_the_paper_train_where_their_files_are(tmp_path, monkeypatch):
    row = "\t".join(["{label}", *["{n}"] * 13, *["a{n}"] * 26])
    lines = [row.format(label=k % 2, n=k % 3 + 3) for k in range(120)]
    (tmp_path / "criteo").mkdir()
    (tmp_path / "criteo" / "train.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.setenv("SPECREC_DATA", str(tmp_path))
    found = study_collapse.clicks(
        dataset="criteo", seed=0, progress=False, model="fm", dim=2, width=4, epochs=1
    )
    assert found.data["rows"] == 120 and 0 <= found.metrics["auc"] <= 1
    assert len(found.spectrum) == 39
