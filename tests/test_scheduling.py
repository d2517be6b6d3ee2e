"""On a GPU experiments of one kind are one step, and each leaves a record of its own."""

import pytest
import torch

from specrec_core import catalogue, experiments, memory, parts, records, scheduling
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
    on_cpu = [key for key, _, _ in scheduling.steps_of(PLAN, "cpu")]
    assert on_cpu == [
        "c/one, seed 0", "c/one, seed 1", "c/wide, seed 0", "c/wide, seed 1", "c/fast", "c/study",
    ]  # fmt: skip
    on_gpu = {key: part for key, part, _ in scheduling.steps_of(PLAN, "cuda")}
    assert on_gpu == {
        "c/one and 1 more": Together((PLAN["c/one"], PLAN["c/fast"])),
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


def test_a_group_of_which_one_fails_is_run_one_by_one(results, capsys):
    wild = GRID.with_(learning_rate=1e30)
    todo = scheduling.steps_of({"c/one": GRID, "c/wild": wild}, "cuda")
    assert len(todo) == 1
    failed = {}
    scheduling.one_after_another(todo, "cpu", failed)
    assert list(failed) == [wild.name] and "diverged" in failed[wild.name]
    assert records.find(GRID) is not None and records.find(wild) is None
    assert "2 experiments one by one" in capsys.readouterr().out


def test_as_many_replicas_as_fit(monkeypatch):
    statistics = dict(users=10**4, items=10**4, train=10**6, test=10**5, validation=10**5)
    three = memory.needed(GRID, statistics, replicas=3)["total"]
    monkeypatch.setattr(memory, "available", lambda device: three)
    cpu = torch.device("cpu")
    assert memory.fitting(GRID, statistics, cpu, 5) == 3
    assert memory.fitting(GRID, statistics, cpu, 2) == 2
    monkeypatch.setattr(memory, "available", lambda device: 0)
    assert memory.fitting(GRID, statistics, cpu, 5) == 1, "whether one fits is for the check to say"
