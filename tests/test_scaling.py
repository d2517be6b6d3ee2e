"""What Part V measures and claims, against slow references written from the formulas."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from specrec_core import (
    catalogue,
    collapse_claims,
    datasets,
    gain_claims,
    part5_robustness,
    part5_scaling,
    scaling_claims,
    scaling_suites,
    shapes,
    study_collapse,
    study_scaling,
)
from specrec_core.claims import DEVIATES, NOT_RUN
from specrec_core.interactions import generator
from specrec_core.records import Experiment
from specrec_core.spectra import effective_rank, information_abundance
from specrec_core.studies import PLANTED

# -------------------------------------------------------------------------- ranking and its split


def slow_ndcg(scores, test, ranked, cut):
    found = []
    for u in range(len(scores)):
        wanted = set(np.flatnonzero(test[u]))
        if not wanted:
            continue
        items = sorted(np.flatnonzero(ranked[u]), key=lambda i: -scores[u, i])[:cut]
        dcg = sum(1 / np.log2(k + 2) for k, i in enumerate(items) if i in wanted)
        ideal = sum(1 / np.log2(k + 2) for k in range(min(cut, len(wanted))))
        found.append(dcg / ideal)
    return np.mean(found)


def masks(draw, n=12, m=30):
    known = draw.random((n, m)) < 0.4
    test = known & (draw.random((n, m)) < 0.3)
    return known & ~test, test


@pytest.mark.parametrize("cut", [3, 20, 50])
def test_ndcg_is_that_of_the_formula(cut):
    draw = np.random.default_rng(0)
    for _ in range(20):
        seen, test = masks(draw)
        scores = draw.standard_normal(seen.shape)
        for ranked in (~seen, study_scaling.sampled(seen, test, 1, draw)):
            found = study_scaling.ndcg(scores, test, ranked, cut)
            expected = slow_ndcg(scores, test, ranked, min(cut, 30))
            if cut > 30:  # the ideal, too, ends with the catalogue
                assert test.sum(1).max() < 30
            assert found == pytest.approx(expected)


def test_sampled_negatives_are_unseen_and_as_many_as_drawn():
    draw = np.random.default_rng(1)
    seen, test = masks(draw, 400, 60)
    ranked = study_scaling.sampled(seen, test, 5, draw)
    assert not (ranked & seen).any() and (ranked & test).sum() == test.sum()
    negatives = (ranked & ~test).sum(1)
    count, free = 5 * test.sum(1), (~(seen | test)).sum(1)
    assert (negatives <= count).all()
    expected = free * (1 - (1 - 1 / free) ** count)  # distinct ones among draws with replacement
    assert negatives.sum() == pytest.approx(expected.sum(), rel=0.02)


def test_the_split_is_eight_to_one_to_one_per_user():
    known = datasets.load("synthetic", validation=0.0)
    pairs = (known.train + known.test).tocsr()
    train, valid, test = study_scaling.split(pairs, 3)
    whole = pairs.toarray() > 0
    assert (train | valid | test == whole).all()
    assert not ((train & valid) | (train & test) | (valid & test)).any()
    tenth = whole.sum(1) // 10
    assert (test.sum(1) == tenth).all() and (valid.sum(1) == tenth).all()
    assert (study_scaling.split(pairs, 4)[2] != test).any()


def test_noise_and_dropping():
    draw = np.random.default_rng(2)
    train, closed = masks(draw, 40, 50)
    noisy = study_scaling.with_noise(train, closed, 0.5, draw)
    assert (noisy & train == train).all() and not (noisy & closed).any()
    assert noisy.sum() == round(1.5 * train.sum())
    kept = study_scaling.without_unlikely(noisy, 0.2, 3)
    assert kept.sum() == noisy.sum() - round(0.2 * noisy.sum()) and not (kept & ~noisy).any()
    u, s, vt = np.linalg.svd(noisy.astype(float))
    scores = (u[:, :3] * s[:3]) @ vt[:3]
    assert scores[noisy & ~kept].max() <= scores[kept].min() + 1e-9
    with pytest.raises(ValueError, match="share is"):
        study_scaling.with_noise(train, closed, 50.0, draw)


def test_svd_curve_is_measured_as_defined():
    found = study_scaling.svd_curve(
        dataset="synthetic",
        seed=1,
        progress=False,
        widths=(4, 16),
        negatives=20,
        draws=3,
        noise=0.2,
    )
    known = datasets.load("synthetic", validation=0.0)
    train, valid, test = study_scaling.split((known.train + known.test).tocsr(), 1)
    noisy = study_scaling.with_noise(train, valid | test, 0.2, generator("scaling noise", 1))
    u, s, vt = np.linalg.svd(noisy.astype(float))
    for k, width in enumerate((4, 16)):
        scores = u[:, :width] @ np.diag(s[:width]) @ vt[:width]
        expected = slow_ndcg(scores, test, ~(noisy | valid), 20)
        assert found.metrics[f"all ndcg@20, d={width}"] == pytest.approx(expected)
        assert found.curves["all ndcg@20"][k] == found.metrics[f"all ndcg@20, d={width}"]
        assert found.metrics[f"sampled ndcg@20, d={width}"] > expected  # fewer rivals
    assert found.data["planted"] == round(0.2 * train.sum())
    assert 0 < found.metrics["deviation of draws"] < 0.05


def test_dropping_is_told_apart_for_noise_and_the_rest():
    found = study_scaling.svd_curve(
        dataset="synthetic", seed=0, progress=False, widths=(8, 16), draws=2, noise=0.3, drop=0.2
    ).metrics
    both = (0.3 * found["noise dropped"] + found["clean dropped"]) / 1.3
    assert both == pytest.approx(0.2, abs=1e-3)
    assert found["noise dropped"] > found["clean dropped"]


# -------------------------------------------------------------------------------------- the toy


@pytest.mark.parametrize("settings", [{"partner": 3}, {"partner": 7, "rank": 2, "decay": 0.01}])
def test_the_toy_descends_the_logistic_loss(settings):
    found = study_collapse.toy(dataset=PLANTED, seed=5, progress=False, values=6, dim=4,
                               iterations=8, every=4, rate=0.7, **settings)  # fmt: skip
    draw = generator("toy of collapse", 5)
    first, second = (torch.from_numpy(x) for x in draw.standard_normal((2, 6, 4)))
    n, rank = settings["partner"], settings.get("rank", 0)
    third = (draw.standard_normal((n, rank)) @ draw.standard_normal((rank, 4)) / np.sqrt(rank)
             if rank else draw.standard_normal((n, 4)))  # fmt: skip
    third = torch.from_numpy(third)
    with_third = torch.from_numpy(draw.integers(0, n, (6, 6)))
    labels = torch.from_numpy(draw.integers(0, 2, (6, 6)).astype(float))
    for step in range(9):
        if step % 4 == 0:
            s = torch.linalg.svdvals(first)
            k = step // 4
            assert found.curves["abundance"][k] == pytest.approx(float(information_abundance(s)))
            assert found.curves["effective rank"][k] == pytest.approx(float(effective_rank(s)))
        e = first.clone().requires_grad_()
        a, b, c = e[:, None], second[None], third[with_third]
        h = (a * b + a * c + b * c).sum(-1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(h, labels)
        if step % 4 == 0:
            assert found.curves["loss"][step // 4] == pytest.approx(float(loss.detach()))
        loss = loss + settings.get("decay", 0.0) / 2 * e.square().sum()
        first = first - 0.7 * torch.autograd.grad(loss, e)[0]
    assert found.curves["iteration"] == [0, 4, 8]


def test_a_low_partner_of_many_values_has_that_rank():
    draw = generator("toy of collapse", 0)
    draw.standard_normal((2, 100, 10))
    third = draw.standard_normal((100, 3)) @ draw.standard_normal((3, 10)) / np.sqrt(3)
    found = study_collapse.toy(dataset=PLANTED, seed=0, progress=False, partner=100, rank=3,
                               iterations=1, every=1)  # fmt: skip
    s = np.linalg.svd(third, compute_uv=False)
    assert found.metrics["abundance of the partner"] == pytest.approx(s.sum() / s[0])
    assert found.metrics["abundance of the partner"] <= 3


# ----------------------------------------------------------------------------------- the claims


def trained(label, width, values):
    made = Experiment(dataset="synthetic", version=catalogue.SYNTHETIC, dim=width, epochs=1,
                      seeds=tuple(range(len(values))))  # fmt: skip
    return label, SimpleNamespace(experiment=made, metrics={scaling_suites.METRIC: values})


def sweep(kind, label, size=0.1, noise=0.001):
    widths = scaling_suites.WIDTHS
    draw = np.random.default_rng(0)
    curve = 0.3 + shapes.planted(kind, widths, size)
    runs = curve + noise * draw.standard_normal((5, len(widths)))
    return dict(trained(f"{label} d={w}", w, runs[:, k].tolist()) for k, w in enumerate(widths))


def test_stand_ins_are_the_data_at_hand():
    for name, version in scaling_suites.STAND_INS.items():
        assert datasets.version(name) == version


def test_shapes_of_trained_models_are_judged_in_order_of_width():
    test = scaling_claims.has_shape(("double peak",), scaling_suites.METRIC)
    records = sweep("double peak", "bpr ml-100k")
    shuffled = dict(sorted(records.items()))
    assert list(shuffled) != list(records)
    assert test(shuffled)[0] and not test(sweep("single peak", "bpr ml-100k"))[0]
    twice = {"again": next(iter(records.values())), **records}
    with pytest.raises(ValueError, match="widths"):
        test(twice)


def test_claims_about_noise_look_at_each_curve():
    makes = scaling_claims.noise_makes_trained_peaks(scaling_suites.METRIC)
    loses = scaling_claims.loses_second_peaks(
        scaling_suites.METRIC, ["bpr noise=0", "bpr noise=0.3"], ["drop noise=0", "drop noise=0.3"]
    )
    clean = sweep("single peak", "bpr noise=0")
    noisy = sweep("double peak", "bpr noise=0.3")
    assert makes(clean | noisy)[0] and not makes(noisy | clean)[0]
    assert not makes(clean | sweep("flat", "bpr noise=0.3"))[0]
    one, two = (sweep(kind, "drop noise=0.3") for kind in ("single peak", "double peak"))
    both = clean | noisy | sweep("double peak", "drop noise=0")
    assert loses(both | one)[0] and not loses(both | two)[0]
    nothing = clean | sweep("single peak", "bpr noise=0.3") | sweep("flat", "drop noise=0") | one
    assert not loses(nothing)[0]  # no second peak that could be lost
    planned = scaling_claims.Planned(
        "", tuple(nothing), loses, first=tuple(clean), early=scaling_claims.has_second_peaks(
            scaling_suites.METRIC
        ),
    )  # fmt: skip
    assert planned.verdict(dict.fromkeys(nothing) | clean).verdict == DEVIATES
    peaked = dict.fromkeys(nothing) | sweep("double peak", "bpr noise=0")
    assert planned.verdict(peaked).verdict == NOT_RUN
    few = scaling_claims.fewer_than_two_peaks(scaling_suites.METRIC)
    assert few(clean)[0] and not few(noisy)[0]


def one(name, *values):
    return dict([trained(name, 8, list(values))])


def test_claims_about_gains_go_seed_by_seed():
    metric = scaling_suites.METRIC
    gains, no_gain = gain_claims.gains(metric, 0.05), gain_claims.no_gain(metric, 0.05)
    before, after = (one(str(x), x, x + 0.02) for x in (0.3, 0.36))
    assert gains(before | after)[0] and not gains(after | before)[0]
    same, unsure = one("a", 0.3, 0.301, 0.299), one("c", 0.2, 0.3, 0.4)
    assert no_gain(same | one("b", 0.3, 0.301, 0.299))[0] and not no_gain(before | after)[0]
    assert not no_gain(same | unsure)[0]  # seeds of this spread could gain as much
    assert "cannot be told" in no_gain(same | unsure)[1]
    assert "cannot be told" not in no_gain(before | after)[1]
    raises = gain_claims.raises(metric)
    low, high = one("a", 0.1, 0.3, 0.2), one("b", 0.101, 0.301, 0.201)
    assert no_gain(low | high)[0], "what a seed shares with itself is no spread"
    assert raises(low | high)[0] and not raises(high | low)[0] and not raises(same | unsure)[0]
    higher = one("c", 0.108, 0.318, 0.213)
    assert gain_claims.raises(metric, 0.05)(low | higher)[0]
    assert raises(low | higher)[0] and not gain_claims.raises(metric, 0.1)(low | higher)[0]
    along = gain_claims.gains_along(metric, "a", 0.1)
    assert along(one("a", 0.4) | one("b", 0.45) | one("c", 0.3))[0]
    assert not along(one("a", 0.4) | one("b", 0.43))[0]
    order = gain_claims.loses_in_order(metric, [[("a", "b")], [("c", "d"), ("e", "f")]])
    lost = one("a", 0.4) | one("b", 0.2) | one("c", 0.5) | one("d", 0.4) | one("e", 0.2)
    assert order(lost | one("f", 0.19))[0] and not order(lost | one("f", 0.05))[0]
    apart = gain_claims.apart(scaling_suites.METRIC)
    sure, unsure = (dict([trained(str(x), 8, [0.4, 0.4 + x, 0.4])]) for x in (0.001, 0.2))
    assert not apart(before | after)[0] and not apart(unsure | sure)[0]
    low = dict([trained("low", 8, [0.39, 0.391, 0.39])])
    assert apart(low | sure)[0] and not apart(sure | low)[0]
    costs_more = gain_claims.costs_more(scaling_suites.METRIC)
    of = {
        name: dict([trained(name, 8, values)])
        for name, values in {
            "clean": [0.4, 0.5, 0.42],
            "some lost": [0.36, 0.451, 0.378],
            "more lost": [0.28, 0.35, 0.295],
            "unsure": [0.40, 0.35, 0.30],
        }.items()
    }
    four = [of["clean"], of["some lost"], dict([trained("wide", 8, [0.4, 0.5, 0.42])])]
    assert costs_more(four[0] | four[1] | four[2] | of["more lost"])[0]
    assert not costs_more(four[0] | of["more lost"] | four[2] | of["some lost"])[0]
    assert not costs_more(four[0] | four[1] | four[2] | of["unsure"])[0]


def projections(scale, tables):
    """A record whose two seeds have partners that leave the more, the larger ``scale``."""
    maps = [[list(np.outer(tables, scale + 0.01 * k))] for k in range(2)]
    history = {"projected abundance": maps, "abundance": [list(tables)] * 2}
    return SimpleNamespace(history=history)


def test_claims_about_partners():
    tables = np.array([2.0, 4.0, 3.0])
    with_it, against = projections(np.array([1.0, 3, 2]), tables), projections(-tables + 6, tables)
    np.testing.assert_allclose(
        collapse_claims.partner_share(with_it)[0], [7 / 12, 27 / 20, 16 / 15]
    )
    np.testing.assert_allclose(collapse_claims.along_partners(with_it), [1, 1])
    np.testing.assert_allclose(collapse_claims.along_partners(against), [-1, -1])
    assert collapse_claims.grows_with_the_partner({"a": with_it})[0]
    assert not collapse_claims.grows_with_the_partner({"a": against})[0]
    more = projections(np.array([2.0, 6, 4]), tables)
    assert collapse_claims.raises_projected({"a": with_it, "b": more})[0]
    assert not collapse_claims.raises_projected({"a": more, "b": with_it})[0]


def courses(*values):
    """A record with the courses of validation of its runs, from epoch 0 on."""
    return SimpleNamespace(
        training=SimpleNamespace(metric="m"),
        history={"epoch": [list(range(len(v))) for v in values], "validation m": list(values)},
    )


def test_noise_is_judged_after_equal_epochs():
    clean = courses([0.1, 0.4, 0.5, 0.5], [0.1, 0.4, 0.5])
    noisy, less = (
        courses([0.1, 0.4, 0.3], [0.1, 0.4, 0.31]),
        courses([0.1, 0.45, 0.48, 0.1], [0.1, 0.45, 0.47]),
    )
    assert gain_claims.reach(clean, noisy) == 2
    np.testing.assert_allclose(gain_claims.taken_late(clean, noisy, 2), [0.4, 0.38])
    np.testing.assert_allclose(gain_claims.taken_late(clean, noisy, 1, of=2), [0.2, 0.2])
    np.testing.assert_allclose(gain_claims.past_best(noisy), [0.25, 0.225])
    np.testing.assert_allclose(gain_claims.past_best(noisy, 2), [0.25, 0.225])
    with pytest.raises(ValueError, match="ended after 2"):
        gain_claims.past_best(noisy, 3)
    records = {"a": clean, "b": noisy, "c": clean, "d": less}
    for shared in (False, True):
        takes = gain_claims.takes_more_late([("a", "b")], [("c", "d")], shared)
        assert takes(records)[0] and not takes({**records, "b": less, "d": noisy})[0]
        assert not takes({**records, "d": noisy})[0]


SCALING = {**part5_scaling.CHAPTERS, **part5_robustness.CHAPTERS}


@pytest.mark.parametrize("chapter", list(SCALING))
def test_suites_and_claims_fit_together(chapter):
    entry = SCALING[chapter]
    suites = {(p, d): entry.suite(p, d) for p in catalogue.PROFILES for d in catalogue.DATA}
    for data in catalogue.DATA:
        assert len({tuple(suites[p, data]) for p in catalogue.PROFILES}) == 1  # the same labels
    names = {label: e.name for label, e in suites["paper", "real"].items()}
    assert len(set(names.values())) == len(names)
    nothing = dict.fromkeys(names)
    for verdict in entry.verdicts:
        if isinstance(verdict, scaling_claims.Planned):
            assert verdict.verdict(nothing).verdict == NOT_RUN
        shown = verdict.verdict(nothing)  # a KeyError where a label is not in the suite
        assert shown.verdict == NOT_RUN


@pytest.mark.parametrize("scores, chosen", [((1.0, 0.99, 0.97), "b"), ((1.0, 0.97, 0.99), "c"),
                                            ((1.0, 0.9, 0.9), "a")])  # fmt: skip
def test_the_penalty_is_the_largest_that_costs_little(scores, chosen):
    labels = ("a", "b", "c")
    records = {
        label: SimpleNamespace(
            training=SimpleNamespace(metric="m"), metrics={"validation m": [score]}
        )
        for label, score in zip(labels, scores, strict=True)
    }
    for label in labels:
        found = scaling_claims.largest_affordable(labels, label, 0.02)(records)[0]
        assert found == (label == chosen)


def study(**curves):
    history = {"width": [curves["width"]] * 2} | {
        k: [v, v] for k, v in curves.items() if k != "width"
    }
    return SimpleNamespace(history=history, metrics={})


def test_claims_about_svd_can_fail():
    up, down = [0.1, 0.3, 0.2], [0.1, 0.2, 0.3]
    one = study(width=[2, 4, 8], **{"all ndcg@20": up, "sampled ndcg@20": down})
    assert not scaling_claims.same_best_width({"svd": one})[0]
    two = study(width=[2, 4, 8], **{"all ndcg@20": up, "sampled ndcg@20": up})
    assert scaling_claims.same_best_width({"svd": two})[0]
    assert not scaling_claims.falls_faster({"svd": two})[0]
    assert scaling_claims.falls_faster({"svd": one})[0]
    early = study(width=[2, 4, 8], **{"all ndcg@20": [0.3, 0.2, 0.1], "sampled ndcg@20": up})
    labels = ("svd noise=0", "svd noise=0.5")
    narrows = scaling_claims.noise_narrows
    assert narrows(dict(zip(labels, (one, early), strict=True)))[0]
    assert not narrows(dict(zip(labels, (early, one), strict=True)))[0]
    widens = scaling_claims.noise_costs_width
    half = study(width=[2, 4, 8], **{"all ndcg@20": [0.09, 0.2, 0.1], "sampled ndcg@20": up})
    assert widens({"a": one, "b": half})[0] and not widens({"a": half, "b": one})[0]
    usable = scaling_claims.dropping_widens(8)
    assert usable({"a": early, "b": one})[0] and not usable({"a": one, "b": early})[0]


def test_claims_about_the_toy_can_fail():
    low, high = (SimpleNamespace(metrics={"m": v}) for v in ([1.0, 2.0], [2.0, 2.5]))
    records = {"a": low, "b": high}
    assert gain_claims.below("a", "b", "m")(records)[0]
    assert not gain_claims.below("b", "a", "m")(records)[0]
    assert gain_claims.grows_along(("a", "b"), "m")(records)[0]
    assert not gain_claims.grows_along(("b", "a"), "m")(records)[0]
    assert gain_claims.as_low("a", "b", "m", 0.8)(records)[0]
    assert not gain_claims.as_low("a", "b", "m", 0.7)(records)[0]


def test_claims_about_dropping_go_seed_by_seed():
    for noise, holds in ((0.4, True), (0.39, False)):
        record = SimpleNamespace(
            metrics={"noise dropped": [0.5, noise], "clean dropped": [0.1, 0.2]}
        )
        assert scaling_claims.drops_noise({"svd": record})[0] is holds
    plain, dropped = (
        SimpleNamespace(history={"width": [[2, 4]] * 2, "all ndcg@20": curves})
        for curves in ([[0.1, 0.3], [0.1, 0.2]], [[0.4, 0.1], [0.1, 0.3]])
    )
    assert scaling_claims.dropping_helps({"a": plain, "b": dropped})[0]
    half = SimpleNamespace(history=plain.history | {"all ndcg@20": [[0.4, 0.1], [0.2, 0.2]]})
    assert not scaling_claims.dropping_helps({"a": plain, "b": half})[0]
