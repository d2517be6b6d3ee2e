"""On a GPU experiments of one kind are one step, and each leaves a record of its own."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from specrec_core import catalogue, experiments, memory, parts, records, scheduling, sweep
from specrec_core.estimates import Estimate
from specrec_core.parts import Together
from specrec_core.records import Experiment
from specrec_core.studies import Study

GRID = Experiment(
    dataset="synthetic", version=catalogue.SYNTHETIC, dim=4, epochs=2, seeds=(0, 1),
    learning_rate=0.01, batch_size=4096,
)  # fmt: skip
STUDY = Study.of("study_popularity.raw", dataset="synthetic", version=catalogue.SYNTHETIC, f=8)
PLAN = {
    "c/one": GRID,
    "c/wide": GRID.with_(dim=6),
    "c/fast": GRID.with_(learning_rate=0.05, seeds=(3,)),
    "c/study": STUDY,
}


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("SPECREC_RESULTS", str(tmp_path))
    return tmp_path


def test_steps_are_seeds_on_a_cpu_and_groups_on_a_gpu():
    on_cpu = [step.key for step in scheduling.steps_of(PLAN, "cpu")]
    assert on_cpu == [
        "c/one, seed 0", "c/one, seed 1", "c/wide, seed 0", "c/wide, seed 1", "c/fast", "c/study",
    ]  # fmt: skip
    on_gpu = {step.key: step.part for step in scheduling.steps_of(PLAN, "cuda")}
    assert on_gpu == {
        "c/one and 1 more": Together(("c/one", "c/fast"), (PLAN["c/one"], PLAN["c/fast"])),
        "c/wide": PLAN["c/wide"],
        "c/study": STUDY,
    }


def test_a_group_leaves_a_record_of_each_and_runs_what_is_missing(results, monkeypatch):
    plan = {key: PLAN[key] for key in ("c/one", "c/fast")}
    ran = []
    run = experiments.run_together
    monkeypatch.setattr(
        experiments, "run_together", lambda some, **how: ran.append(list(some)) or run(some, **how)
    )
    todo = scheduling.steps_of(plan, "cuda")
    experiments.run(PLAN["c/one"], progress=False).save()
    ran.clear()
    failed = {}
    scheduling.one_after_another(todo, "cpu", failed)
    assert not failed and ran == [[PLAN["c/fast"]]]
    assert all(records.find(e) is not None for e in plan.values())
    assert not parts.folder().exists()
    scheduling.one_after_another(todo, "cpu", failed)
    assert len(ran) == 1, "what is there was run again"


def here(todo, failed):
    scheduling.one_after_another(todo, "cpu", failed)


def in_a_pool(todo, failed, ends=None):
    with ThreadPoolExecutor(1) as pool:
        scheduling.spread_over(todo, pool, 1, "cpu", 1, ends, failed, Estimate([], "cpu"))


@pytest.mark.parametrize("carry_out", [here, in_a_pool])
def test_a_group_of_which_one_fails_is_run_one_by_one(carry_out, results, capsys):
    wild = GRID.with_(learning_rate=1e30)
    todo = scheduling.steps_of({"c/one": GRID, "c/wild": wild}, "cuda")
    assert len(todo) == 1
    failed = {}
    carry_out(todo, failed)
    assert list(failed) == ["c/wild"] and "diverged" in failed["c/wild"]
    assert records.find(GRID) is not None and records.find(wild) is None
    assert "2 experiments one by one" in capsys.readouterr().out


def test_a_group_spread_over_workers_leaves_its_records(results, monkeypatch):
    todo = scheduling.steps_of({key: PLAN[key] for key in ("c/one", "c/fast")}, "cuda")
    failed = {}
    in_a_pool(todo, failed)
    assert not failed
    assert all(records.find(PLAN[key]) is not None for key in ("c/one", "c/fast"))
    monkeypatch.setattr(scheduling, "made", lambda *_: pytest.fail("what is there was run again"))
    in_a_pool(todo, failed)


def test_a_group_that_takes_too_long_is_run_one_by_one(results, monkeypatch, capsys):
    todo = scheduling.steps_of({key: PLAN[key] for key in ("c/one", "c/fast")}, "cuda")
    seconds = {PLAN["c/one"].name: 50.0, PLAN["c/fast"].name: 20.0}
    monkeypatch.setattr(
        scheduling.Estimate,
        "seconds",
        lambda _, e: sum(seconds[one.name] for one in getattr(e, "experiments", [e])),
    )
    in_a_pool(todo, {}, ends=time.monotonic() + 40.0)
    assert records.find(PLAN["c/one"]) is None and records.find(PLAN["c/fast"]) is not None
    assert "passed over c/one: about 50 s at least" in capsys.readouterr().out


def test_of_a_group_of_unknown_length_one_goes_first_and_tells_it(results, monkeypatch):
    """Else a group that is longer than the budget would be begun again and again."""
    plan = {"c/one": GRID, "c/fast": PLAN["c/fast"], "c/third": GRID.with_(learning_rate=0.02)}
    ran, run = [], experiments.run_together
    monkeypatch.setattr(
        experiments, "run_together", lambda some, **how: ran.append(len(some)) or run(some, **how)
    )
    monkeypatch.setattr(records, "known", lambda: iter(()))
    in_a_pool(scheduling.steps_of(plan, "cuda"), {}, ends=time.monotonic() + 600.0)
    assert ran == [1, 2]
    assert all(records.find(e) is not None for e in plan.values())


def test_the_least_work_of_what_is_unknown_goes_first(results, monkeypatch, capsys):
    monkeypatch.setattr(records, "known", lambda: iter(()))
    plan = {"c/wide": GRID.with_(dim=64), "c/narrow": GRID.with_(dim=2), "c/one": GRID}
    assert sweep.sweep(plan, device="cpu") == 0
    out = capsys.readouterr().out
    assert out.index("] c/narrow") < out.index("] c/one") < out.index("] c/wide")


def test_as_many_replicas_as_fit(monkeypatch):
    statistics = dict(users=10**4, items=10**4, train=10**6, test=10**5, validation=10**5)
    three = memory.needed(GRID, statistics, replicas=3)["total"]
    monkeypatch.setattr(memory, "available", lambda device: three)
    cpu = torch.device("cpu")
    assert memory.fitting(GRID, statistics, cpu, 5) == 3
    assert memory.fitting(GRID, statistics, cpu, 2) == 2
    monkeypatch.setattr(memory, "available", lambda device: 0)
    assert memory.fitting(GRID, statistics, cpu, 5) == 1, "whether one fits is for the check to say"
