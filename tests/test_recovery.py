"""What an embedding recovers: a slow reference, the population, and our earlier measurement."""

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import spearmanr

from specrec_core.blockmodel import BlockModel, block_matrix, planted
from specrec_core.factorisation import truncated_svd
from specrec_core.recovery import recovery


def slow(table, labels, theta, degrees):
    """The columns from their definitions, a row and a community at a time."""
    communities = sorted(set(labels.tolist()))
    directions = [
        np.mean([e for e, z in zip(table, labels, strict=True) if z == k], axis=0)
        for k in communities
    ]

    def cosine(a, b):
        return a @ b / np.sqrt((a @ a) * (b @ b))

    rows = {k: [i for i in range(len(table)) if labels[i] == k] for k in communities}
    norms = np.array([np.sqrt(e @ e) for e in table])
    nearest = [communities[np.argmax([cosine(e, w) for w in directions])] for e in table]
    return {
        "cos_in": np.mean(
            [
                np.mean([cosine(table[i], w) for i in rows[k]])
                for k, w in zip(communities, directions, strict=True)
            ]
        ),
        "cv": np.mean([norms[rows[k]].std() / norms[rows[k]].mean() for k in communities]),
        "r_theta": np.mean([spearmanr(norms[rows[k]], theta[rows[k]])[0] for k in communities]),
        "r_degree": np.mean([spearmanr(norms[rows[k]], degrees[rows[k]])[0] for k in communities]),
        "inter": max(
            abs(cosine(a, b)) for i, a in enumerate(directions) for b in directions[i + 1 :]
        ),
        "accuracy": np.mean(np.array(nearest) == labels),
    }


@pytest.fixture
def noisy():
    draw = np.random.default_rng(0)
    labels = draw.choice([0, 2, 3, 7], size=200)  # 1, 4, 5, 6 are empty
    theta, degrees = draw.lognormal(size=200), draw.integers(1, 9, size=200)  # with ties
    table = theta[:, None] * (draw.standard_normal((8, 5))[labels] + draw.normal(size=(200, 5)))
    return table, labels, theta, degrees


def test_columns_are_those_of_a_slow_reference(noisy):
    found, expected = recovery(*noisy), slow(*noisy)
    assert 0.3 < expected["accuracy"] < 1.0
    assert {k: found[k] for k in expected} == pytest.approx(expected, rel=1e-12)
    assert found["spk"] == found["peaks"] / 200


def test_nothing_depends_on_rotation_scale_or_order(noisy):
    table, labels, theta, degrees = noisy
    draw = np.random.default_rng(1)
    turn, order = np.linalg.qr(draw.standard_normal((5, 5)))[0], draw.permutation(200)
    turned = recovery(7.0 * table[order] @ turn, labels[order], theta[order], degrees[order])
    assert turned == pytest.approx(recovery(*noisy), rel=1e-10)


@pytest.mark.parametrize("kind", ["assortative", "disassortative", "paired"])
def test_the_population_is_recovered_exactly(kind):
    model = planted(1500, 6, kind=kind, between=0.3, seed=1)
    found = recovery(
        model.decomposition().embedding(), model.labels, model.theta, model.expected_degrees()
    )
    for column in ("cos_in", "r_theta", "r_degree", "accuracy"):
        assert found[column] == pytest.approx(1.0, abs=1e-12), column
    members = [model.theta[model.labels == k] for k in range(6)]
    assert found["cv"] == pytest.approx(np.mean([t.std() / t.mean() for t in members]), rel=1e-12)
    square = model.core @ model.core
    cosines = square / np.sqrt(np.outer(np.diag(square), np.diag(square)))
    assert found["inter"] == pytest.approx(cosines[~np.eye(6, dtype=bool)].max(), rel=1e-12)


def test_rows_without_direction_count_as_missed(noisy):
    table, labels, _, _ = noisy
    full = recovery(table, labels)
    zero, noise = np.zeros((50, 5)), 1e-14 * np.abs(table[:50])
    for rest in (zero, noise):
        found = recovery(np.concatenate([table, rest]), np.concatenate([labels, np.full(50, 2)]))
        assert found["accuracy"] == pytest.approx(full["accuracy"] * 200 / 250)
        assert found["inter"] == pytest.approx(full["inter"], rel=1e-9)
        assert found["cos_in"] < full["cos_in"]
    gone = np.where(labels[:, None] == 3, 0.0, table)  # a whole community
    assert np.isfinite([recovery(gone, labels)[k] for k in ("cos_in", "cv", "inter")]).all()


def test_what_is_undefined_is_nan_and_no_warning(noisy, recwarn):
    table, labels, theta, _ = noisy
    found = recovery(table, labels, np.ones(200))
    assert np.isnan(found["r_theta"]) and np.isnan(found["r_degree"])
    assert np.isnan(recovery(table, np.zeros(200, dtype=int))["inter"])
    partly = np.where(labels == 7, 1.0, theta)
    norms = np.linalg.norm(table, axis=1)
    defined = [spearmanr(norms[labels == k], theta[labels == k])[0] for k in (0, 2, 3)]
    assert recovery(table, labels, partly)["r_theta"] == pytest.approx(np.mean(defined))
    assert not recwarn.list


def test_an_earlier_measurement_is_met():
    """n = 4000, K = 10, mean degree 80, seeds 0 to 2, with that measurement's own graphs."""
    rows = []
    for seed in range(3):
        draw = np.random.default_rng(seed)
        labels = np.sort(draw.integers(10, size=4000))
        theta = (1 - draw.random(4000)) ** (-1 / 2.5)
        theta /= (np.bincount(labels, theta) / np.bincount(labels))[labels]
        model = BlockModel(theta, labels, block_matrix(10))
        scale = 80 / model.expected_degrees().mean()
        model = BlockModel(theta, labels, model.blocks * scale)
        upper = np.triu(draw.random((4000, 4000)) < model.mean(), 1)
        graph = sp.csr_array(upper | upper.T).astype(np.float64)
        table = truncated_svd(graph, 10, seed=seed).embedding()
        rows.append(recovery(table, labels, theta, graph.sum(axis=1)))
    assert {k: np.mean([row[k] for row in rows]) for k in rows[0]} == pytest.approx(
        {
            "cos_in": 0.9920746057,
            "cv": 0.5314962952,
            "r_theta": 0.8741157242,
            "r_degree": 0.9443235417,
            "inter": 0.1379265446,
            "accuracy": 1.0,
            "peaks": 17 / 3,
            "spk": 17 / 12000,
        },
        rel=1e-6,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"table": np.ones((3, 2))}, r"table: shape \(3, 2\), expected \(4, f\)"),
        ({"labels": np.array([0, 1, -1, 0])}, "labels: -1, expected communities from 0"),
        ({"theta": np.ones(3)}, r"theta: shape \(3,\), expected \(4,\)"),
        ({"degrees": np.ones((4, 1))}, r"degrees: shape \(4, 1\), expected \(4,\)"),
        ({"cos": 1.5}, "cos: 1.5"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    good = {"table": np.eye(4), "labels": np.array([0, 0, 1, 1])}
    with pytest.raises(ValueError, match=message):
        recovery(**{**good, **arguments})
