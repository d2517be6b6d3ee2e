"""Chapter 8: its experiments hang together, and its claims can fail."""

import json
from dataclasses import dataclass, field

import pytest

from specrec_core import catalogue, experiments, resn_claims, study_lists
from specrec_core import resn_suites as part
from specrec_core.records import Experiment

CHAPTER = "08_resn_results"


@dataclass
class Fake:
    metrics: dict = field(default_factory=dict)
    history: dict = field(default_factory=dict)


def point(accuracy, popular):
    return Fake({"ndcg@20": accuracy, "share[4]@20": popular})


def test_every_method_has_the_same_budget():
    assert {len(grid) for grid in part.GRIDS.values()} == {3}
    suite = catalogue.suite(CHAPTER)
    for where in part.CHOSEN:
        for method in part.methods_on(where):
            if method not in part.GRIDS:
                continue
            tried = [suite[label] for label in part.tuning_labels(method, where)]
            final = suite[part.main_label(method, where)]
            assert {e.seeds for e in tried} == {(part.TUNING_SEED,)}
            assert part.TUNING_SEED not in final.seeds
            chosen = tried[part.CHOSEN[where][method]]
            assert final == chosen.with_(seeds=final.seeds)


def test_the_evened_split_takes_the_settings_of_the_common_one():
    suite = catalogue.suite(CHAPTER)
    for method in part.methods_on(part.EVEN):
        there, here = (suite[part.main_label(method, w)] for w in (part.COMMON, part.EVEN))
        assert here == there.with_(test_split="equal exposure", seeds=here.seeds)


def test_a_graph_changes_the_backbone_and_nothing_else():
    suite = catalogue.suite(CHAPTER)
    for where in part.ON_COAT:
        backbone = part.BACKBONES[where.removeprefix(f"{part.COAT} ")]
        for method in ("MSE", "BPR"):
            flat = suite[part.main_label(method, part.COAT)]
            assert suite[part.main_label(method, where)] == flat.with_(**backbone)
            assert flat.model == "mf"


def test_a_setting_has_a_label_of_its_own():
    labels = [x for m in part.GRIDS for x in part.tuning_labels(m, part.COAT)]
    assert len(set(labels)) == len(labels)
    assert part.setting({"debias_settings": (0.1, 1e-5)}) == "settings=0.1,1e-05"


@pytest.mark.parametrize(
    "reported, changed, holds",
    [(-0.2, 0.81, True), (-0.2, 0.83, False), (-0.2, 1.3, False), (0.2, 1.19, True)],
)
def test_up_to(reported, changed, holds):
    near = [0.999, 1.0, 1.001]
    records = {
        "a": point([changed * x for x in near], near), "b": point(near, near),
        "c": point(near, near), "wild": point([changed - 0.5, changed, changed + 0.5], near),
    }  # fmt: skip
    test = resn_claims.up_to((("a", "b"), ("c", "b")), "ndcg@20", reported)
    assert test(records)[0] is holds
    assert not resn_claims.up_to((("wild", "b"),), "ndcg@20", reported)(records)[0]


def test_a_front_is_better_only_in_its_range_and_from_both_sides():
    ours = {"o1": point([0.3], [0.4]), "o2": point([0.2], [0.2])}
    inside = {"in": point([0.15], [0.3])}
    test = resn_claims.better_front(["in", "x"], list(ours))
    for accuracy, popular, holds in (
        (0.29, 0.4, True), (0.31, 0.39, False), (0.25, 0.3, False), (0.9, 0.5, True),
    ):  # fmt: skip
        assert test({"x": point([accuracy], [popular]), **inside, **ours})[0] is holds
    below = {"x": point([0.25], [0.1])}  # out of range, and yet it dominates one of ours
    assert not test({**below, **inside, **ours})[0]
    out = {"in": point([0.9], [0.5]), "x": point([0.9], [0.1])}
    assert not test({**out, **ours})[0]  # nothing to compare with


def test_intervals_have_to_be_apart():
    test = resn_claims.lower(("a", "b"), "share[4]@20")
    close, apart = [0.49, 0.50, 0.51], [0.59, 0.60, 0.61]
    assert test({"a": point([1], close), "b": point([1], apart)})[0]
    assert not test({"a": point([1], apart), "b": point([1], close)})[0]
    assert not test({"a": point([1], close), "b": point([1], [0.50, 0.52, 0.54])})[0]


def test_times_and_parts_seen_are_judged_by_the_worst():
    faster = resn_claims.faster("slow", "quick", 10)
    times = {"a": Fake({"seconds by slow": [1.0], "seconds by quick": [0.01]})}
    assert faster(times)[0]
    times["b"] = Fake({"seconds by slow": [0.05], "seconds by quick": [0.01]})
    assert not faster(times)[0]
    sees = resn_claims.sees("part", 0.9)
    assert sees({"a": Fake({"part": [0.95, 0.91]})})[0]
    assert not sees({"a": Fake({"part": [0.99, 0.89]})})[0]


def test_a_lever_has_to_move_every_data_set():
    def record(head):
        history = {"scaled by factor": [[0.0, 0.5, 1.0, 2.0]], "scaled: head": [head]}
        return Fake(history=history)

    test = resn_claims.falls_when_smaller("scaled: head", 0.1)
    moves, stays = record([0.4, 0.45, 0.5, 0.6]), record([0.48, 0.49, 0.5, 0.5])
    assert test({"reshaped a": moves})[0]
    assert not test({"reshaped a": moves, "reshaped b": stays})[0]


def test_both_are_asked_of_one_strength():
    test = resn_claims.both_somewhere(("a", "b"), "plain")
    plain = point([0.10, 0.11, 0.12], [0.50, 0.51, 0.52])
    better = point([0.20, 0.21, 0.22], [0.30, 0.31, 0.32])
    rarer = point([0.09, 0.10, 0.11], [0.30, 0.31, 0.32])
    right = point([0.20, 0.21, 0.22], [0.50, 0.51, 0.52])
    assert test({"a": rarer, "b": better, "plain": plain})[0]
    assert not test({"a": rarer, "b": right, "plain": plain})[0]


def test_described_lists_are_those_of_a_record():
    settings = {"dim": 4, "epochs": 2, "learning_rate": 0.01, "batch_size": 4096}
    found = study_lists.described(
        dataset="synthetic", seed=3, progress=False, protocol=json.dumps(settings)
    ).metrics
    e = Experiment(dataset="synthetic", version=catalogue.SYNTHETIC, seeds=(3,), **settings)
    record = experiments.run(e, progress=False)
    for name in (
        "ndcg@20",
        "coverage@20",
        "recall[tail]@20",
        *(f"share[{g}]@20" for g in range(5)),
    ):
        assert found[name] == pytest.approx(record.metrics[name][0], rel=1e-6), name
    assert 0 < found["diversity@20"] < 1 and found["novelty@20"] > 0


def test_protocol_of_described_lists_is_that_of_the_results():
    for strength in part.PUSHED:
        study = part.resn_suite("paper", "real")[part.lists_label(strength)]
        settings = json.loads(study.settings["protocol"])
        e = Experiment(dataset=study.dataset, version=study.version, seeds=(0,), **settings)
        method = ("ml-1m", part.CODE, {"strength": strength}) if strength else ("ml-1m",)
        same = part.experiment(*method)
        assert e.with_(seeds=same.seeds) == same
