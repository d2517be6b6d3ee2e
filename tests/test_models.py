"""Encoders against dense references, and their replicas against single runs."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from specrec_core import synthetic
from specrec_core.arguments import check_metric
from specrec_core.graph import BLOCK, NormalisedAdjacency
from specrec_core.interactions import CSR
from specrec_core.models import MF, LightGCN
from specrec_core.running import cosine_scorer
from specrec_core.training import fit


def made(n_users=11, n_items=7, seed=0, device="cpu") -> CSR:
    dense = np.random.default_rng(seed).random((n_users, n_items)) < 0.3
    dense[0] = False  # a node without edges
    return CSR.from_scipy(sp.csr_matrix(dense.astype(np.float32)), device)


def dense_adjacency(train: CSR) -> np.ndarray:
    n_users, n_items = train.shape
    a = np.zeros((n_users + n_items,) * 2)
    rows, columns = train.rows().cpu().numpy(), train.indices.cpu().numpy() + n_users
    a[rows, columns] = a[columns, rows] = 1
    degree = a.sum(1)
    scale = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1)), 0)
    return scale[:, None] * a * scale


def test_adjacency_is_the_normalised_one(device):
    train = made(device=device)
    operator = NormalisedAdjacency.of(train, torch.float64)
    identity = torch.eye(operator.size, dtype=torch.float64, device=device)
    expected = torch.tensor(dense_adjacency(train), device=device)
    torch.testing.assert_close(operator @ identity, expected)


@pytest.mark.parametrize("columns", [3, BLOCK + 3])  # of two replicas: one block or three
def test_mean_of_powers_matches_the_sum_of_powers(columns, device):
    train = made(device=device)
    a = torch.tensor(dense_adjacency(train), device=device)
    x = torch.randn(2, a.shape[0], columns, dtype=torch.float64, device=device)
    sides = NormalisedAdjacency.of(train, torch.float64).sides(11)
    got = sides.mean_of_powers(x[:, :11], x[:, 11:], 3)
    torch.testing.assert_close(torch.cat(got, 1), (x + a @ x + a @ a @ x + a @ a @ a @ x) / 4)
    assert all(side.is_contiguous() for side in got)  # fused Adam reads memory in order


def test_products_of_all_replicas_are_those_of_each(device):
    train = made(device=device)
    operator = NormalisedAdjacency.of(train, torch.float64)
    a = torch.tensor(dense_adjacency(train), device=device)
    x = torch.randn(2, operator.size, 3, dtype=torch.float64, device=device)
    torch.testing.assert_close(operator.times(x), a @ x)


def test_gradient_of_a_product():
    operator = NormalisedAdjacency.of(made(), torch.float64)
    x = torch.randn(2, operator.size, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(operator.times, (x,))


def test_gradient_of_the_mean_of_powers():
    sides = NormalisedAdjacency.of(made(), torch.float64).sides(11)
    tables = [torch.randn(2, n, 3, dtype=torch.float64, requires_grad=True) for n in (11, 7)]
    assert torch.autograd.gradcheck(lambda u, v: sides.mean_of_powers(u, v, 2), tables)
    used = torch.autograd.grad(sides.mean_of_powers(*tables, 2)[0].sum(), tables)
    assert all(gradient.abs().sum() > 0 for gradient in used)  # items too, through the users


@pytest.mark.parametrize("kind", ["mf", "lightgcn"])
def test_scores_are_inner_products_of_the_final_embeddings(kind, device):
    train = made(device=device)
    model = LightGCN(train, 4, layers=2, seeds=(0, 1)) if kind == "lightgcn" else MF(11, 7, 4)
    model = model.to(device)
    users, items = model()
    ids = torch.tensor([3, 0, 3], device=device)
    expected = torch.einsum("rud,rid->rui", users, items)[:, ids]
    torch.testing.assert_close(model.scorer()(ids), expected)


def test_a_replica_depends_on_its_own_seed_alone():
    together = MF(11, 7, 4, seeds=(5, 2))
    torch.testing.assert_close(together.users[1], MF(11, 7, 4, seeds=(2,)).users[0])
    assert not torch.equal(together.users[0], together.users[1])
    together.keep(torch.tensor([1]))
    assert together.seeds == (2,) and together.items.shape == (1, 7, 4)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="dim is 0"):
        MF(3, 3, 0)
    for seeds in ((), 3):
        with pytest.raises(ValueError, match=r"seeds is .*: expected one seed per replica"):
            MF(3, 3, 2, seeds=seeds)
    with pytest.raises(
        ValueError, match=r"train is a PlantedInteractions: expected a CSR, such as data"
    ):
        LightGCN(synthetic.dcbm(n_users=30, n_items=20, mean_degree=4.0, n_communities=2), 2)
    with pytest.raises(ValueError, match="layers is 0"):
        LightGCN(made(), 2, layers=0)
    with pytest.raises(ValueError, match="x has shape"):
        NormalisedAdjacency.of(made()) @ torch.zeros(3, 2)


def test_xavier_is_uniform_within_its_bound():
    """Each table has its own bound; LightGCN's nodes are one table, unless it says `sides`."""
    train = made(400, 300)
    mf = MF(400, 300, 16, seeds=(0, 1), init="xavier")
    gcn = LightGCN(train, 16, seeds=(0,), init="xavier")
    sides = LightGCN(train, 16, seeds=(0,), init="xavier_sides")
    for table, fan in (
        (mf.users, 416), (mf.items, 316), (gcn.users, 716), (gcn.items, 716), (sides.users, 416),
        (sides.items, 316),
    ):  # fmt: skip
        bound = (6 / fan) ** 0.5
        assert 0.99 * bound < table.abs().max() <= bound
        assert table.mean().abs() < 0.05 * bound
        assert table.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert not torch.equal(mf.users[0], mf.users[1])
    torch.testing.assert_close(MF(400, 300, 16, seeds=(1,), init="xavier").users[0], mf.users[1])


def test_the_sum_of_propagations_is_not_divided(device):
    train = made(device=device)
    mean, total = (LightGCN(train, 4, layers=2, propagation=p) for p in ("mean", "sum"))
    for one, other in zip(mean(), total(), strict=True):
        torch.testing.assert_close(3 * one, other)


def test_a_graph_goes_where_its_tables_go(device):
    """Made in single precision on a CPU: afterwards as one made in double precision there."""
    model = LightGCN(made(), 4, layers=3, seeds=(0, 1))
    moved = model.double().to(device)
    there = LightGCN(made(device=device), 4, layers=3, seeds=(0, 1), dtype=torch.float64)
    assert moved is model and moved.users.dtype == torch.float64
    for side in ("users", "items"):
        setattr(there, side, torch.nn.Parameter(getattr(moved, side).detach().clone()))
    for one, other in zip(moved(), there(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-14, atol=0)
    nodes = torch.cat([moved.users, moved.items], 1).detach()
    torch.testing.assert_close(moved.adjacency.times(nodes), there.adjacency.times(nodes))
    for graph in (moved.adjacency, moved.sides.users, moved.sides.items):
        assert graph.values.dtype == torch.float64
        assert {x.device for x in (graph.offsets, graph.indices, graph.values)} == {
            moved.users.device
        }
    assert moved.float().adjacency.values.dtype == torch.float32


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="init is"):
        MF(3, 3, 2, init="zeros")
    with pytest.raises(ValueError, match="propagation is"):
        LightGCN(made(), 2, propagation="max")


class Turned(MF):
    """Scores uᵀ W v: a model as a user of the library would write one."""

    def __init__(self, *sizes, **of_tables):
        super().__init__(*sizes, **of_tables)
        eye = torch.eye(self.users.shape[-1], dtype=self.users.dtype)
        self.matrix = torch.nn.Parameter(eye.repeat(len(self.seeds), 1, 1))

    def forward(self):
        return self.users @ self.matrix, self.items


def test_gradients_reach_the_parameters_of_a_model_of_one_s_own():
    model = Turned(5, 4, 3, seeds=(0, 1), dtype=torch.float64)
    gradients = [torch.randn_like(table) for table in (model.users, model.items)]
    model.pull_back(model.training_pass(), gradients)
    users = model.users.detach()
    torch.testing.assert_close(model.users.grad, gradients[0] @ model.matrix.detach().mT)
    torch.testing.assert_close(model.items.grad, gradients[1])
    torch.testing.assert_close(model.matrix.grad, users.mT @ gradients[0])


def test_gradients_of_an_own_loss_reach_tables_that_are_final():
    model = MF(5, 4, 3, dtype=torch.float64)
    gradients = [torch.randn_like(table) for table in (model.users, model.items)]
    expected = gradients[0] + 2 * model.users.detach()
    model.pull_back(model(), gradients, model.users.square().sum((1, 2)))
    torch.testing.assert_close(model.users.grad, expected)
    torch.testing.assert_close(model.items.grad, gradients[1])


@pytest.mark.parametrize("positives", ["interactions", "user chunks"])
def test_a_model_of_one_s_own_trains_replica_by_replica(positives):
    sizes = {"n_users": 60, "n_items": 40, "n_communities": 3, "mean_degree": 6.0}
    data = synthetic.dcbm(**sizes, validation_fraction=0.0)
    own = {"dtype": torch.float64, "init_std": 1.0}
    settings = {"positives": positives, "optimizer": "sgd", "learning_rate": 0.1, "epochs": 3,
                "select": "last"}  # fmt: skip
    both = Turned(data.n_users, data.n_items, 4, seeds=(0, 1), **own)
    before = both.matrix.detach().clone()
    fit(both, data, progress=False, **settings)
    assert (both.matrix - before).abs().amax((1, 2)).min() > 1e-3
    alone = Turned(data.n_users, data.n_items, 4, seeds=(1,), **own)
    fit(alone, data, progress=False, **settings)
    torch.testing.assert_close(both.matrix[1], alone.matrix[0])


def test_fit_names_what_is_no_model():
    data = synthetic.dcbm(n_users=60, n_items=40, n_communities=3, mean_degree=6.0)
    with pytest.raises(ValueError, match="model is a Linear: expected an MF"):
        fit(torch.nn.Linear(2, 2), data)


def test_a_row_of_zeros_scores_zero_by_angle():
    model = MF(3, 4, 2)
    with torch.no_grad():
        model.items[0, 1] = 0.0  # as that of an item without edges, where layer 0 is left out
    scores = cosine_scorer(model)(torch.arange(3))
    assert scores.isfinite().all() and not scores[..., 1].any() and scores[..., 0].all()


@pytest.mark.parametrize("metric", ["ndcg@010", "ndcg@²", "ndcg@0", "ndcg", "ndcg@-1"])
def test_a_metric_is_a_name_and_a_cut_off(metric):
    with pytest.raises(ValueError, match="metric is"):
        check_metric(metric)
