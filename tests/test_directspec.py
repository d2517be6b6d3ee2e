"""Part II: what chapter 5 defines, and that its claims could come out otherwise."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from test_records import experiment, record

from specrec_core import catalogue, part2_filters, result_claims
from specrec_core import directspec_suites as suites
from specrec_core.claims import DEVIATES, NOT_RUN, REPRODUCED, Reported
from specrec_core.records import Experiment, Record

CHAPTER = "05_directspec_results"


def made(metric: str, *values: float) -> Record:
    return dataclasses.replace(record(experiment()), metrics={metric: list(values)})


@pytest.fixture(scope="module")
def suite() -> dict[str, Any]:
    return catalogue.suite(CHAPTER)


@pytest.mark.parametrize("dataset", ["citeulike", *suites.ELSEWHERE])
def test_every_method_has_a_grid_of_four_and_the_choice_is_of_it(suite, dataset):
    for method, base in suites.METHODS.items():
        points = [suite[label] for label in suites.tuning_labels(method, dataset=dataset)]
        assert len(points) == 4
        chosen = suite[suites.chosen_label(method, dataset=dataset)]
        position = suites.choice(method, dataset=dataset)
        assert chosen == points[position].with_(seeds=suites.SEEDS)
        assert {e.dataset for e in points} == {dataset}
        assert all(e.batch_size == base.batch_size for e in points)


def test_on_a_graph_the_grids_are_as_large_and_all_methods_have_the_same_layers(suite):
    for method in suites.METHODS:
        points = [suite[label] for label in suites.tuning_labels(method, "LightGCN")]
        assert len({str(e) for e in points}) == 4
        assert suite[f"LightGCN {method}"] == points[suites.GRAPH_CHOSEN[method]].with_(
            seeds=suites.SEEDS
        )
        assert {(e.model, e.layers, e.propagation) for e in points} == {("lightgcn", 3, "mean")}


def test_half_the_rate_has_as_many_times_the_epochs(suite):
    main, tuned = suite[suites.HALVED_MAIN], suite["MF BPR"]
    assert tuned.learning_rate == 2 * main.learning_rate and main.epochs == 2 * tuned.epochs
    assert main.patience == 2 * tuned.patience
    assert main == tuned.with_(
        learning_rate=main.learning_rate, epochs=main.epochs, patience=main.patience
    )


@pytest.mark.parametrize("baseline", ["MF BPR", "LightGCN BPR", "gowalla MF BPR"])
def test_baselines_on_all_of_train_have_the_settings_that_were_chosen(suite, baseline):
    refit, chosen = suite[f"{baseline}, all of train"], suite[baseline]
    assert refit.validation == 0 and refit.epochs < chosen.epochs
    assert refit == chosen.with_(
        validation=0.0, epochs=refit.epochs, evaluate_every=refit.evaluate_every
    )


@pytest.mark.parametrize("name", suites.OFFICIAL_BESIDE)
def test_the_official_settings_with_a_part_held_out(suite, name):
    beside = suite[suites.beside_label(name, "gowalla")]
    assert beside.validation == suite["gowalla MF BPR"].validation > 0
    official = suite["gowalla official MF, adaptive"]
    assert beside == official.with_(
        validation=beside.validation, seeds=beside.seeds, **suites.OFFICIAL_BESIDE[name]
    )


def test_one_thing_is_changed_at_a_time(suite):
    for name, values in suites.SENSITIVITY.items():
        chosen = suite[suites.sensitivity_label(name, values[0])]
        for value in values[1:]:
            changed = suite[suites.sensitivity_label(name, value)]
            field = "temperature_unrelated" if name == "gap" else name
            assert changed != chosen
            assert changed == chosen.with_(**{field: getattr(changed, field)})
        if name == "gap":
            assert chosen.temperature_unrelated - chosen.temperature == values[0]
        else:
            assert getattr(chosen, name) == values[0]


def test_without_a_gap_the_adaptive_form_is_that_of_one_temperature(suite):
    adaptive, none = suite["LightGCN DirectSpec+ adaptive"], suite[suites.NO_GAP]
    assert none == adaptive.with_(temperature_unrelated=None) != adaptive


def test_official_settings_are_those_of_the_readme(suite):
    """Learning rate, α, τ, shrink, τ₀ and τ₁ of each data set; LightGCN has its own budget."""
    expected = {
        "": (180, 1.0, 3.0, 0.03, 2.5, 3.0),
        "gowalla ": (200, 0.7, 4.0, 0.02, 3.5, 4.0),
        "yelp2018 ": (10, 0.8, 3.0, 0.0, 2.5, 3.0),
    }
    for start, (rate, strength, tau, shrink, low, high) in expected.items():
        single: Experiment = suite[f"{start}official MF"]
        both: Experiment = suite[f"{start}official MF, adaptive"]
        assert (single.temperature, single.temperature_unrelated) == (tau, None)
        assert (both.temperature, both.temperature_unrelated) == (low, high)
        assert (single.epochs, both.epochs) == (300, 50)
        for e in (single, both):
            assert (e.learning_rate, e.strength, e.shrink) == (rate, strength, shrink)
            assert (e.validation, e.batch_size, e.optimizer) == (0.0, 256, "sgd")
    graph = [suite[f"official LightGCN{x}"] for x in ("", ", adaptive")]
    assert [(e.epochs, e.decay, e.l2) for e in graph] == [(200, 0.9999, 0.02), (390, 0.9999, 0.0)]
    assert {e.propagation for e in graph} == {"sum"}


@pytest.mark.parametrize("best, holds", [(0.15, True), (0.14, False)])
def test_a_gain_is_that_of_one_method(best, holds):
    test = result_claims.gains("a", "b", 0.526)
    found = test({"a": made("ndcg@10", best, best), "b": made("ndcg@10", 0.1, 0.1)})
    assert found[0] is holds and found[1].startswith(f"{best / 0.1 - 1:+.1%}")


@pytest.mark.parametrize("shares, holds", [((0.49, 0.5, 0.52), True), ((0.55, 0.55, 0.56), False)])
def test_alike_is_one_half_within_the_interval(shares, holds):
    found = dataclasses.replace(made("held out is nearer", *shares), data={"users": 7})
    assert result_claims.alike({"x": found})[0] is holds


def test_every_choice_names_what_would_be_better():
    claim = result_claims.every_choice_on_validation("here", {"x": ("x", "y"), "z": ("z",)})
    scores = {"x": 0.2, "y": 0.1, "z": 0.3}
    records = {k: made("validation ndcg@10", v) for k, v in scores.items()}
    assert claim.verdict(records).verdict == REPRODUCED
    records["y"] = made("validation ndcg@10", 0.25)
    verdict = claim.verdict(records)
    assert verdict.verdict == DEVIATES and verdict.reproduced == "better: y"
    assert claim.verdict(records | {"z": None}).verdict == NOT_RUN


def test_a_choice_says_where_it_is_a_tie():
    scores = {"a": 0.12341, "b": 0.12343, "c": 0.1}
    records = {label: made("validation ndcg@10", score) for label, score in scores.items()}
    claim = result_claims.chosen_on_validation("here", list(scores), 1)
    assert claim.test(records)[0] and "number 1 the same to four digits" in claim.test(records)[1]
    apart = records | {"a": made("validation ndcg@10", 0.1235)}
    assert not claim.test(apart)[0] and "the same" not in claim.test(apart)[1]


def test_the_end_of_a_series_is_compared_and_not_its_best_epoch():
    one = made("effective rank of users", 60.0, 60.0)
    one = dataclasses.replace(
        one, history={"effective rank of users": [[64, 60, 43], [64, 60, 41]]}
    )
    compared = part2_filters.AtTheEnd(
        "s", "a", "effective rank of users", Reported(42.0, "a run", "reference"), 0.01
    )
    assert compared.verdict({"a": one}).verdict == REPRODUCED
    assert compared.verdict({"a": None}).verdict == NOT_RUN
    other = dataclasses.replace(one, history={"effective rank of users": [[64, 60], [64, 60]]})
    assert compared.verdict({"a": other}).verdict == DEVIATES


@pytest.mark.parametrize("rank, holds", [(40, True), (29, False), (61, False)])
def test_between_alignment_and_a_full_table(rank, holds):
    def both(value: float) -> Record:
        e = experiment().with_(dim=64)
        metrics = {f"effective rank of {side}": [value] for side in ("users", "items")}
        return dataclasses.replace(record(e), metrics=metrics)

    test = part2_filters.fuller_than_alignment("loss")
    assert test({"alignment": both(30), "loss": both(rank)})[0] is holds


@pytest.mark.parametrize("lowest, holds", [(50, True), (20, False), (62, False)])
def test_the_lowest_epochs_are_compared_and_not_the_best(lowest, holds):
    def both(*series: float) -> Record:
        e = experiment().with_(dim=64)
        history = {f"effective rank of {side}": [list(series)] for side in ("users", "items")}
        return dataclasses.replace(record(e), history=history)

    test = part2_filters.fuller_than_alignment("loss", lowest=True)
    records = {"alignment": both(64, 54, 30), "loss": both(64, lowest, 63)}
    assert test(records)[0] is holds


@pytest.mark.parametrize("ratio, rank, holds", [(3, 36, True), (1.1, 36, False), (3, 57, False)])
def test_one_direction_stands_out_at_every_setting(ratio, rank, holds):
    def one(ratio: float, rank: float) -> Record:
        found = {"spectrum": {"items": [[ratio, 1.0, 0.9]]}}
        return dataclasses.replace(made("effective rank of scores", rank), **found)

    records = {label: one(1.2, 56) for label in part2_filters.loss_labels("BPR")}
    others = part2_filters.loss_labels("squared error, c = 1")
    records |= {label: one(3.1, 35) for label in others[1:]} | {others[0]: one(ratio, rank)}
    test = part2_filters.one_stands_out("squared error, c = 1", "BPR")
    assert test(records)[0] is holds


@pytest.mark.parametrize("lowest, holds", [(61, True), (60, False)])
def test_full_throughout_is_asked_of_both_tables(lowest, holds):
    history = {"effective rank of users": [[64, 63], [64, 62]],
               "effective rank of items": [[64, 63], [lowest, 64]]}  # fmt: skip
    found = dataclasses.replace(record(experiment(dim=64)), history=history)
    assert result_claims.stays_full({"a": found})[0] is holds


@pytest.mark.parametrize("epochs, holds", [([2, 3], True), ([2, 4], False)])
def test_fewer_epochs_in_the_slowest_seed_than_in_the_quickest_of_the_other(epochs, holds):
    def reached(*at: int) -> Record:
        runs = [[0.1] * epoch + [0.96] * (5 - epoch) + [1.0] for epoch in at]
        history = {"epoch": [list(range(6))] * len(at), "validation ndcg@10": runs}
        return dataclasses.replace(record(experiment()), history=history)

    test = result_claims.needs_fewer_epochs("a", "b")
    assert test({"a": reached(*epochs), "b": reached(4, 5)})[0] is holds


@pytest.mark.parametrize("second, holds", [([2.0, 3.0], True), ([2.0, 4.1], False)])
def test_an_order_has_no_seed_out_of_place(second, holds):
    ranks = {"a": [1.0, 1.9], "b": second, "c": [4.0, 5.0]}
    records = {k: made("effective rank of users", *v) for k, v in ranks.items()}
    assert result_claims.ordered("a", "b", "c", "users")(records)[0] is holds
    assert not result_claims.ordered("b", "a", "c", "users")(records)[0]


@pytest.mark.parametrize("last, holds", [(0.22, True), (0.28, False)])
def test_better_is_by_more_than_both_intervals(last, holds):
    records = {"a": made("ndcg@10", 0.2, 0.21, last), "b": made("ndcg@10", 0.16, 0.161, 0.162)}
    test = result_claims.better("a", "b")
    assert test(records)[0] is holds and not test({"a": records["b"], "b": records["a"]})[0]


@pytest.mark.parametrize(
    "penalised, plain, holds",
    [(6.0, 1.0, True), (4.0, 1.0, False), (1.9, 0.1, False)],
)
def test_users_go_on_falling_with_a_penalty(penalised, plain, holds):
    def falling(lost: float) -> Record:
        history = {"effective rank of users": [[64.0, 40.0, 20.0, 20.0 - lost]]}
        return dataclasses.replace(record(experiment()), history=history)

    records = {part2_filters.PENALTY: falling(penalised), part2_filters.PLAIN: falling(plain)}
    assert part2_filters.keeps_falling(records)[0] is holds
    end = part2_filters.ends("users", 0.0, 20.0 - plain + 0.5)
    assert end({"a": records[part2_filters.PLAIN]})[0]
    assert not part2_filters.ends("users", 0.0, 20.0 - plain)({"a": falling(plain)})[0]
