"""Tails, bounds, flows and studies of the part on popularity, against slow references."""

import warnings
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.special import zeta

from specrec_core import (
    alignment,
    amplification,
    catalogue,
    datasets,
    gradient_flow,
    part1_spectra,
    part3_popularity,
    popularity_claims,
    popularity_suites,
    powerlaws,
    resn_suites,
    study_popularity,
    study_speed,
)
from specrec_core.evaluation import popularity_groups
from specrec_core.factorisation import Decomposition
from specrec_core.spectra import popularity_alignment

# ------------------------------------------------------------------------------------- power laws


def test_hurwitz_is_scipys():
    draw = np.random.default_rng(0)
    a, q = draw.uniform(1.01, 8, 2000), draw.integers(1, 5000, 2000).astype(float)
    np.testing.assert_allclose(powerlaws.hurwitz(a, q), zeta(a, q), rtol=1e-9)
    a = draw.uniform(8, 20, 500)
    np.testing.assert_allclose(powerlaws.hurwitz(a, q[:500]), zeta(a, q[:500]), rtol=1e-6)


def sample(exponent, xmin, size, seed):
    tail = powerlaws.Tail(exponent, xmin, 0.0, size)
    return powerlaws.draw_tail(tail, size, np.random.default_rng(seed))


def test_draws_have_the_probabilities_of_the_law():
    x = sample(1.7, 2, 200_000, 0)
    for k in (2, 3, 10, 100, 5000, 200_000):  # the last two lie beyond the table
        expected = zeta(1.7, k + 1) / zeta(1.7, 2)
        assert (x > k).mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / len(x)) + 1e-5)
    assert x.min() == 2


def test_the_fit_is_the_best_start_with_the_likeliest_exponent():
    counts = np.concatenate([sample(2.4, 6, 400, 1), np.random.default_rng(2).integers(0, 6, 300)])
    found = powerlaws.fit_tail(counts)
    best = (np.inf, 0, 0.0)
    for xmin in np.unique(counts[counts > 0]):
        tail = counts[counts >= xmin]
        if len(tail) < 10 or len(np.unique(tail)) < 2:
            continue
        grid = np.linspace(1.2, 6, 4801)
        loss = np.log(zeta(grid, xmin)) + grid * np.log(tail).mean()
        a = grid[loss.argmin()]
        at = np.arange(xmin, tail.max() + 1)
        model = 1 - zeta(a, at + 1.0) / zeta(a, float(xmin))
        data = np.array([(tail <= x).mean() for x in at])
        best = min(best, (float(np.abs(model - data).max()), int(xmin), float(a)))
    assert found.xmin == best[1]
    assert found.exponent == pytest.approx(best[2], abs=1e-3)
    assert found.distance == pytest.approx(best[0], abs=2e-4)
    assert found.size == (counts >= found.xmin).sum()
    assert found.exponent == pytest.approx(2.4, abs=4 * found.standard_error)
    assert found.rank_exponent == pytest.approx(1 / (found.exponent - 1))


def test_the_package_finds_the_same_exponent():
    powerlaw = pytest.importorskip("powerlaw")
    for exponent in (2.2, 4.0):  # beyond 3 only because it is told to look there
        counts = sample(exponent, 5, 800, 3)
        fit = powerlaws.fit_tail(counts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = powerlaw.Fit(
                counts, discrete=True, xmin=fit.xmin, estimate_discrete=False, verbose=0,
                parameter_ranges={"alpha": [1.0, 20.0]},
            )  # fmt: skip
            assert theirs.power_law.alpha == pytest.approx(fit.exponent, abs=2e-3)
            assert theirs.power_law.sigma == pytest.approx(fit.standard_error, rel=2e-3)


def test_the_package_finds_the_same_tail_by_itself():
    powerlaw = pytest.importorskip("powerlaw")
    mixed = np.concatenate([sample(2.4, 6, 400, 1), np.random.default_rng(2).integers(1, 6, 300)])
    bent = np.ceil(np.random.default_rng(5).exponential(30, 400)).astype(int)
    made = np.asarray(datasets.load("synthetic", validation=0.0).item_popularity)
    steep = sample(1.9, 2, 300, 8)
    for counts in (mixed, steep, made, bent):
        fit = powerlaws.fit_tail(counts)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = powerlaw.Fit(
                counts[counts > 0], discrete=True, estimate_discrete=False, verbose=0,
                parameter_ranges={"alpha": [1.0, 20.0]},
            )  # fmt: skip
        assert theirs.xmin == fit.xmin
        assert theirs.alpha == pytest.approx(fit.exponent, abs=1e-4)
        # It compares P(X < x) alone, at the values that occur: here the distance is there.
        assert theirs.D == pytest.approx(fit.distance, abs=1e-4)


def test_the_steepest_law_above_the_counts():
    ranks = np.arange(1, 200)
    law = 500.0 * ranks**-1.3
    assert powerlaws.steepest_law_above(ranks, law) == pytest.approx(1.3)
    drawn = -np.sort(-sample(1.8, 1, 300, 9).astype(float))
    ranks = np.arange(1, 301)
    alpha = powerlaws.steepest_law_above(ranks, drawn)
    assert (drawn <= drawn[0] * ranks ** -(alpha - 1e-9)).all()
    assert (drawn > drawn[0] * ranks ** -(alpha + 1e-6)).any()
    some = np.r_[0:5, 5:300:7]
    assert powerlaws.steepest_law_above(ranks[some], drawn[some]) >= alpha
    for ranks, counts in (([1], [3]), ([2, 3], [3, 2]), ([1, 2], [2, 3]), ([1, 2], [3, 0])):
        with pytest.raises(ValueError, match="expected at least two ranks"):
            powerlaws.steepest_law_above(ranks, counts)


def test_the_bootstrap_tells_laws_apart():
    law = sample(2.5, 3, 400, 4)
    assert powerlaws.p_value(law, resamples=20, seed=0) > 0.1
    assert powerlaws.p_value(law, resamples=20, seed=0) == powerlaws.p_value(
        law, resamples=20, seed=0
    )
    draw = np.random.default_rng(5)
    bent = np.ceil(draw.exponential(30, 1500)).astype(int)
    assert powerlaws.p_value(bent, resamples=20, seed=0, least=300) <= 0.1


def test_the_lognormal_wins_where_it_is_true_and_loses_where_it_is_not():
    pytest.importorskip("powerlaw")
    draw = np.random.default_rng(6)
    counts = np.round(draw.lognormal(4, 0.6, 4000)).astype(int)
    fit = powerlaws.Tail(2.0, 20, 0.1, 0)
    found = powerlaws.compare_lognormal(counts, fit)
    assert found["R"] < -3 and found["p"] < 0.01
    assert found["mu"] == pytest.approx(4, abs=0.1) and found["sigma"] == pytest.approx(
        0.6, abs=0.1
    )
    law = sample(2.5, 5, 4000, 7)
    assert powerlaws.compare_lognormal(law, powerlaws.fit_tail(law))["R"] > -2


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, 2], "expected at least"),
        ([3] * 40, "different values"),
        ([1.0] * 40, "whole number"),
        ([-1] * 40, "not"),
    ],
)
def test_bad_counts_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        powerlaws.fit_tail(np.array(counts))
    with pytest.raises(ValueError, match="resamples"):
        powerlaws.p_value(np.arange(1, 50), resamples=0, seed=0)


# ------------------------------------------------------------------------- bounds and the planted


def test_planted_power_laws_have_their_popularity():
    y = alignment.power_law_matrix(50, 40, 1.5, seed=1)
    counts = np.asarray(y.sum(0)).ravel()
    expected = [int(40 * i**-1.5) for i in range(1, 60) if int(40 * i**-1.5) > 0]
    assert counts.tolist() == expected and set(np.unique(y.toarray())) == {0.0, 1.0}
    assert (alignment.power_law_matrix(50, 40, 1.5, seed=1) != y).nnz == 0


def test_sparse_and_dense_leading_vectors_agree():
    y = alignment.power_law_matrix(60, 50, 1.1, seed=0)
    a, b = alignment.leading(y), alignment.leading(y.toarray())
    np.testing.assert_allclose(a.s, b.s, rtol=1e-10)
    np.testing.assert_allclose(a.v[:, 0], b.v[:, 0], atol=1e-8)
    assert a.u[:, 0].min() > -1e-10 and a.v[:, 0].min() > -1e-10
    r = np.asarray(y.sum(0)).ravel()
    theirs = popularity_alignment(b.u * b.s, b.v, r)  # the library's, from two tables
    assert alignment.cosine(a.v[:, 0], r) == pytest.approx(float(theirs), abs=1e-8)


def test_the_corollary_as_tabulated():
    for alpha, value in ((1.8, 0.325), (2, 0.573), (2.5, 0.797), (3, 0.886), (4, 0.956)):
        assert alignment.power_law_limit(alpha) == pytest.approx(value, abs=6e-4)
    assert np.isnan(alignment.power_law_limit(1.7))
    needed = popularity_claims.NEEDED
    assert zeta(needed) == pytest.approx(2, abs=1e-9)


@pytest.mark.parametrize(
    "call",
    [
        lambda: alignment.cosine([0, 0], [1, 2]),
        lambda: alignment.cosine([1, 2], [1, 2, 3]),
        lambda: alignment.counting_bound(0.0, [1]),
        lambda: alignment.counting_bound(1.0, [0, 0]),
        lambda: alignment.power_law_bound(1.0, 1.0, 1.0),
        lambda: alignment.power_step_bound(1.2, 0.5),
        lambda: alignment.power_step_bound(0.5, -0.5),
        lambda: alignment.constant_bound(-1.0),
        lambda: alignment.power_law_matrix(10, 20, 1.5, seed=0),
        lambda: alignment.leading(np.eye(3), 4),
        lambda: amplification.gap([1.0, 2.0], [0, 1]),
        lambda: amplification.power_law_gap(0.5),
        lambda: amplification.cut(Decomposition(np.eye(2), np.ones(2), np.eye(2)), 3),
        lambda: amplification.stretch(Decomposition(np.eye(2), np.ones(2), np.eye(2)), 0.5),
        lambda: gradient_flow.modes([1.0, 2.0], 0.1, [0.0]),
        lambda: gradient_flow.modes([2.0, 1.0], 1.5, [0.0]),
    ],
)
def test_bad_arguments_are_refused(call):
    with pytest.raises(ValueError, match=r"expected|direction"):
        call()


# --------------------------------------------------------------------------------- gradient flow


def planted_target(seed=0, n=12, m=9, k=4, d=5, std=0.05):
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    left, right = torch.linalg.qr(normal(n, k)).Q, torch.linalg.qr(normal(m, k)).Q
    sigma = torch.tensor([4.0, 2.5, 1.5, 0.8], dtype=torch.float64)
    return left, sigma, right, std * normal(n, d), std * normal(m, d)


@pytest.mark.parametrize("name", gradient_flow.OPTIMIZERS)
def test_descents_are_those_of_the_formulas(name):
    left, sigma, right, u, v = planted_target()
    found = gradient_flow.descend(
        left, sigma, right, u, v, optimizer=name, rate=0.02, steps=30, every=10,
        decay=0.1 if name == "adamw" else 0.0,
    )  # fmt: skip
    y = (left * sigma) @ right.T
    x = [u.clone().numpy(), v.clone().numpy()]
    m1, m2 = [np.zeros_like(t) for t in x], [np.zeros_like(t) for t in x]
    for step in range(31):
        if step % 10 == 0:
            product = x[0] @ x[1].T
            at = step // 10
            expected = np.diag(left.numpy().T @ product @ right.numpy())
            np.testing.assert_allclose(found.modes[at], expected, atol=1e-9)
            values = np.linalg.svd(product, compute_uv=False)[:5]
            np.testing.assert_allclose(found.spectrum[at], values, atol=1e-9)
            assert found.loss[at] == pytest.approx(((y.numpy() - product) ** 2).sum() / 2)
        error = x[0] @ x[1].T - y.numpy()
        for i, g in enumerate((error @ x[1], error.T @ x[0])):
            if name == "momentum":
                m1[i] = 0.9 * m1[i] + g
                x[i] = x[i] - 0.02 * m1[i]
            elif name in ("adam", "adamw"):
                if name == "adamw":
                    x[i] = x[i] * (1 - 0.02 * 0.1)
                m1[i], m2[i] = 0.9 * m1[i] + 0.1 * g, 0.999 * m2[i] + 0.001 * g**2
                first, second = m1[i] / (1 - 0.9 ** (step + 1)), m2[i] / (1 - 0.999 ** (step + 1))
                x[i] = x[i] - 0.02 * first / (np.sqrt(second) + 1e-8)
            else:
                x[i] = x[i] - 0.02 * g


def test_batches_have_the_gradient_of_the_whole_for_mean():
    left, sigma, right, u, v = planted_target()
    given = {"optimizer": "sgd", "rate": 1e-4, "steps": 1}
    whole = gradient_flow.descend(left, sigma, right, u, v, **given)
    parts = [
        gradient_flow.descend(left, sigma, right, u, v, batch=4, seed=s, **given).modes[1]
        for s in range(400)
    ]
    step = whole.modes[1] - whole.modes[0]
    mean, error = np.mean(parts, 0) - whole.modes[0], np.std(parts, 0) / 20
    assert (np.abs(mean - step) < 5 * error).all()


def test_descents_that_make_no_sense_are_refused():
    left, sigma, right, u, v = planted_target()
    for changes, message in (
        ({"optimizer": "lbfgs"}, "optimizer"),
        ({"batch": 4}, "batch"),
        ({"decay": 0.1}, "decay"),
        ({"rate": 0.0}, "rate"),
        ({"rate": 10.0, "steps": 200}, "diverges"),
    ):
        given = {"optimizer": "gd", "rate": 0.01, "steps": 3} | changes
        with pytest.raises(ValueError, match=message):
            gradient_flow.descend(left, sigma, right, u, v, **given)


def test_settling_is_when_the_last_excursion_ends():
    step = [0, 10, 20, 30]
    modes = np.array(
        [[0.0, 3.0, 0.6, 0.0], [0.0, 1.0, 0.2, 0.1], [1.0, 1.0, 1.0, 0.2], [1, 1, 1, 0.3]]
    )
    found = gradient_flow.settling_times(step, modes, np.ones(4))
    assert found[:3].tolist() == pytest.approx([15.0, 7.5, 13.75])
    assert np.isnan(found[3])
    sigma = np.array([3.0, 2.0, 1.0])
    times = np.linspace(0, 12, 6001)
    grown = gradient_flow.modes(sigma, 1e-3, times)
    expected = gradient_flow.half_times(sigma, 1e-3)
    np.testing.assert_allclose(
        gradient_flow.settling_times(times, grown, sigma), expected, atol=1e-5
    )


# ---------------------------------------------------------------------------------------- studies


@pytest.fixture(scope="module")
def planted():
    return datasets.load("synthetic", validation=0.0)


def test_raw_interactions_are_measured_as_numpy_does(planted):
    found = study_popularity.raw(dataset="synthetic", seed=0, progress=False, f=4)
    y = planted.train.toarray().astype(float)
    u, s, vt = np.linalg.svd(y, full_matrices=False)
    r = y.sum(0)
    m = found.metrics
    assert found.spectrum["interactions"] == pytest.approx(s[:4].tolist())
    assert m["energy share"] == pytest.approx(s[0] ** 2 / (s**2).sum())
    assert m["cos(q1, r)"] == pytest.approx(abs(vt[0] @ r) / np.linalg.norm(r))
    assert m["cos(e, r)"] == pytest.approx(r.sum() / np.sqrt(len(r)) / np.linalg.norm(r))
    assert m["cos(p1, e)"] == pytest.approx(abs(u[:, 0].sum()) / np.sqrt(len(u)))
    assert m["under the root"] == pytest.approx(1 - (r.sum() - r.max()) / s[0] ** 2)
    assert m["one power step"] == pytest.approx(np.linalg.norm(y @ r) / np.linalg.norm(r))
    assert found.curves["count"][0] == r.max() and len(set(found.curves["rank"])) <= 120


def test_truncations_recommend_what_the_dense_scores_do(planted):
    given = {"dataset": "synthetic", "seed": 3, "progress": False, "users": 60}
    found = study_popularity.truncation(dimensions=(1, 3), **given)
    y, test = planted.train.toarray().astype(float), planted.test.toarray()
    u, s, vt = np.linalg.svd(y, full_matrices=False)
    r = y.sum(0).astype(int)
    order = np.argsort(r, kind="stable")
    sums, group, head, start = np.cumsum(r[order]), 0, np.zeros(len(r), int), 0
    for place, item in enumerate(order):  # close a group once it has a fifth of all interactions
        head[item] = group
        before = sums[start - 1] if start else 0
        if group < 4 and (sums[place] - before) * 5 >= sums[-1]:
            group, start = group + 1, place + 1
    having = np.flatnonzero(test.sum(1))
    users = np.sort(np.random.default_rng(3).choice(having, 60, replace=False))
    leader = np.abs(vt[0]).argmax()
    for d in (1, 3):
        scores = (u[:, :d] * s[:d]) @ vt[:d]
        first = scores.argmax(1)[users]
        assert found.metrics[f"eta, d={d}"] == pytest.approx((first == leader).mean(), abs=0.02)
        unseen = np.where(y > 0, -np.inf, scores)
        lists = np.argsort(-unseen, axis=1, kind="stable")[users, :20]
        assert found.metrics[f"head, d={d}"] == pytest.approx((head[lists] == 4).mean(), abs=0.01)
        gain = np.array([[test[x, i] for i in row] for x, row in zip(users, lists, strict=True)])
        weight = 1 / np.log2(np.arange(2, 22))
        ideal = [weight[: int(min(20, test[x].sum()))].sum() for x in users]
        ndcg = ((gain * weight).sum(1) / ideal).mean()
        assert found.metrics[f"ndcg@20, d={d}"] == pytest.approx(ndcg, abs=0.01)
        assert found.metrics[f"share of sigma 1, d={d}"] == pytest.approx(s[0] / s[:d].sum(), 1e-3)
    assert found.metrics["head of the data"] == pytest.approx(r[head == 4].sum() / r.sum())


def test_reshaped_spectra_recommend_what_the_dense_scores_do(planted):
    found = study_popularity.reshaped(
        dataset="synthetic", seed=3, progress=False, dim=6, levels=(1.0, 0.4), factors=(0.0, 2.0),
        users=60, evened=False,
    )  # fmt: skip
    y = planted.train.toarray().astype(float)
    u, s, vt = np.linalg.svd(y, full_matrices=False)
    groups = popularity_groups(torch.as_tensor(planted.item_popularity)).numpy()
    having = np.flatnonzero(np.diff(planted.test.indptr))
    users = np.sort(np.random.default_rng(3).choice(having, 60, replace=False))
    for way, place, spectrum in (
        ("cut", 1, np.minimum(s[:6], 0.4 * s[0])),
        ("scaled", 0, np.r_[0, s[1:6]]),
        ("scaled", 1, np.r_[2 * s[0], s[1:6]]),
    ):
        scores = np.where(y > 0, -np.inf, (u[:, :6] * spectrum) @ vt[:6])[users]
        lists = np.argsort(-scores, axis=1, kind="stable")[:, :20]
        curve = {name: found.curves[f"{way}: {name}"][place] for name in ("head", "tail")}
        assert curve["head"] == pytest.approx((groups[lists] == 4).mean(), abs=0.01)
        assert curve["tail"] == pytest.approx((groups[lists] <= 1).mean(), abs=0.01)
        share = found.curves[f"{way}: share of sigma 1"][place]
        assert share == pytest.approx(spectrum.max() / spectrum.sum(), 1e-3)


def test_quotients_are_those_of_the_truncated_matrix(planted):
    found = study_popularity.quotient(
        dataset="synthetic", seed=0, progress=False, dimensions=(1, 4)
    ).curves
    u, s, vt = np.linalg.svd(planted.train.toarray().astype(float), full_matrices=False)
    z = (u[:, :4] * s[:4]) @ vt[:4]
    r = z.sum(0)
    assert found["steps=1"][1] == pytest.approx(np.linalg.norm(z @ r) / np.linalg.norm(r) / s[0])
    r = z.T @ (z @ r)
    assert found["steps=2"][1] == pytest.approx(np.linalg.norm(z @ r) / np.linalg.norm(r) / s[0])
    assert (found["steps=1"][0], found["guaranteed"][0]) == pytest.approx((1, 1))
    assert found["guaranteed"][1] <= found["steps=1"][1] <= found["steps=3"][1] <= 1 + 1e-12


def test_the_time_of_a_norm_is_measured_each_way():
    found = study_speed.spectral_norm(
        dataset="planted", seed=0, progress=False, users=60, items=40, dim=4, whole=True
    ).metrics
    seen = found.pop("one power step over sigma1")
    assert len(found) == 6 and all(0 < seconds < 5 for seconds in found.values())
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(60, 4, generator=draw) @ torch.randn(40, 4, generator=draw).T
    r = z.sum(0)
    expected = torch.linalg.vector_norm(z @ r) / torch.linalg.vector_norm(r)
    assert seen == pytest.approx((expected / torch.linalg.matrix_norm(z, 2)).item(), rel=1e-4)


def test_the_way_by_gram_matrices_is_exact_with_its_gradient():
    draw = torch.Generator().manual_seed(1)
    tables = [
        torch.randn(n, 4, generator=draw, dtype=torch.float64, requires_grad=True) for n in (30, 20)
    ]
    value = study_speed._by_gram(*tables)
    exact = torch.linalg.svdvals(tables[0] @ tables[1].mT)[0].square()
    assert value.item() == pytest.approx(exact.item(), rel=1e-12)
    for a, b in zip(
        torch.autograd.grad(value, tables), torch.autograd.grad(exact, tables), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_a_dense_group_hides_the_leading_value_from_one_step():
    given = {"dataset": "drawn", "seed": 0, "progress": False, **resn_suites.DRAWN}
    given |= {"n_users": 400, "n_items": 300, "mean_degree": 5.0}
    plain, some, most = (
        study_popularity.planted_quotient(**given, group=size).metrics for size in (0, 30, 150)
    )
    assert some["steps=1"] < 0.9 < min(plain["steps=1"], most["steps=1"])
    assert plain == study_popularity.planted_quotient(**given).metrics


def test_descent_studies_report_what_happened():
    given = {
        "dataset": "planted", "seed": 1, "progress": False, "spectrum": (5.0, 3.0, 1.0),
        "users": 20, "items": 15, "dim": 4, "batch": 0, "every": 2, "steps": 600,
    }  # fmt: skip
    m = study_popularity.descent(optimizer="gd", rate=0.02, std=1e-3, **given).metrics
    assert m["in order"] == 1.0 and m["loss left"] < 1e-3
    assert m["peak share"] > 0.95 > m["share of the target"] == pytest.approx(5 / 9)
    assert m["mode 1 learned"] < m["mode 2 learned"] < m["mode 3 learned"]
    assert m["spread"] == pytest.approx(m["mode 3 learned"] / m["mode 1 learned"])


def test_pairs_in_order():
    for times in ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [2.0, 1.0, np.nan], [1.0, np.nan, np.nan]):
        filled = [np.inf if np.isnan(t) else t for t in times]
        expected = np.mean([a < b for a, b in combinations(filled, 2)])
        assert gradient_flow.in_order(np.array(times)) == pytest.approx(expected)


def test_tails_of_studies_have_every_number():
    found = study_popularity.tail(dataset="synthetic", seed=0, progress=False, resamples=3).metrics
    assert 0 <= found["p"] <= 1 and found["rank exponent"] == pytest.approx(
        1 / (found["exponent"] - 1)
    )
    assert 0 < found["share of items"] <= 1 and 0 < found["share of pairs"] <= 1


# -------------------------------------------------------------------------------- the catalogue


def test_the_runs_of_chapter_one_are_named_alike():
    theirs = part1_spectra.spectra_suite("paper", "real")
    for chapter in part3_popularity.CHAPTERS:
        for label, experiment in catalogue.suite(chapter).items():
            if label.startswith("bpr "):
                assert experiment.name == theirs[label].name


def test_versions_are_those_of_the_data():
    for name, version in popularity_suites.VERSIONS.items():
        assert datasets.version(name) == version


class Fake:
    """A record with metrics and curves alone."""

    def __init__(self, metrics=None, history=None):
        self.metrics, self.history = metrics or {}, history or {}


def test_claims_can_fail():
    fall = popularity_claims.falls_with_dimension("head")
    down, up = [[1.0, 1.0, 0.6]], [[1.0, 0.5, 0.6]]
    assert fall({"cut x": Fake(history={"head": down, "d": [[1, 2, 4]]})})[0]
    assert not fall({"cut x": Fake(history={"head": up, "d": [[1, 2, 4]]})})[0]
    assert popularity_claims.share_falls({"a b": Fake(history={"share": [[0.9, 0.5, 0.505]]})})[0]
    assert not popularity_claims.share_falls({"a b": Fake(history={"share": [[0.1, 0.9]]})})[0]
    over = popularity_claims.overshoots(("a b",), 2.0)
    for peak, holds in ((0.9, True), (0.7, False)):
        record = Fake({"peak share": [peak], "share of the target": [0.4]})
        assert over({"a b": record})[0] is holds
    tail = {"p": [0.05], "share of items": [0.1], "xmin": [3.0]}
    assert not popularity_claims.plausible_tail({"tail x": Fake(tail)})[0]
    assert popularity_claims.plausible_tail({"tail x": Fake(tail | {"p": [0.2]})})[0]
    below = popularity_claims.below_a_law
    for second, holds in ((4, True), (5, False)):
        record = Fake(history={"rank": [[1, 2]], "count": [[9, second]]})
        assert below({"raw x": record})[0] is holds
    aligned = popularity_claims.aligned()
    assert aligned({"x": Fake({"alignment with popularity": [0.99, 0.985]})})[0]
    assert not aligned({"x": Fake({"alignment with popularity": [0.99, 0.97]})})[0]


def test_claims_of_trained_models_can_fail():
    rise = popularity_claims.rise_after_peak([[0.1, 0.9, 0.5, 0.6], [0.1, 0.9, 0.3, 0.6]])
    assert rise == pytest.approx(0.2)
    after = popularity_claims.falls_after_peak(("s",))
    for series, holds in (([0.1, 0.9, 0.5, 0.505], True), ([0.1, 0.9, 0.5, 0.6], False)):
        assert after({"x": Fake(history={"s": [series]})})[0] is holds
    rises = popularity_claims.rises_first("s", 2.0)
    for series, holds in (([0.1, 0.9, 0.4], True), ([0.1, 0.9, 0.5], False)):
        assert rises({"a b": Fake(history={"s": [series]})})[0] is holds
    lower = popularity_claims.ends_lower("s")
    for series, holds in (([1.0, 1.2, 0.4], True), ([1.0, 0.4, 1.0], False)):
        assert lower({"x": Fake(history={"s": [[1.0, 0.5], series]})})[0] is holds
    for cosine, holds in ((0.5, True), (0.7, False)):
        record = Fake({"cos(q1, r) of scores": [0.2, cosine], "cos(e, r) of scores": [0.6, 0.6]})
        assert popularity_claims.no_closer_than_constant({"x": record})[0] is holds


def test_matrices_are_the_training_part(planted):
    y = study_popularity.matrix(planted)
    assert sp.issparse(y) and y.dtype == np.float64 and y.nnz == planted.train.nnz


def test_claims_about_data_and_order_can_fail():
    steep = popularity_claims.steep_enough
    for exponent, holds in ((1.73, True), (1.72, False)):
        records = {"a": Fake({"rank exponent": [2.0]}), "b": Fake({"rank exponent": [exponent]})}
        assert steep(records)[0] is holds
    for inside, holds in ((0.0, True), (-0.1, False)):
        record = Fake({"under the root": [inside]})
        assert popularity_claims.speaks({"raw x": record})[0] is holds
    for constant, holds in ((0.6, True), (0.9, False)):
        record = Fake({"cos(q1, r)": [0.8], "cos(e, r)": [constant]})
        assert popularity_claims.closer_than_constant({"raw x": record})[0] is holds
    for least, holds in ((0.95, True), (0.94, False)):
        record = Fake({"in order": [1.0, least]})
        assert popularity_claims.in_order({"a b": record})[0] is holds
    less = popularity_claims.spread_less("few", "many")
    for spread, holds in ((4.9, True), (5.1, False)):
        few, many = Fake({"spread": [4.0, spread]}), Fake({"spread": [10.0, 10.0]})
        assert less({"few": few, "many": many})[0] is holds


def test_claims_over_widths_go_by_width_and_not_by_label():
    def wide(dim, value):
        return SimpleNamespace(
            training=SimpleNamespace(dim=dim),
            metrics={"m": [value]},
            spectrum={"scores": [[value, 1.0], [value, 1.0]]},
        )

    for falls in (
        popularity_claims.falls_with_width("m"),
        popularity_claims.leads_less_when_wider,
    ):
        for at_32, holds in ((2.0, True), (4.0, False)):
            records = {"a": wide(64, 1.0), "b": wide(8, 3.0), "c": wide(32, at_32)}
            assert falls(records)[0] is holds
