"""A sweep does what is missing, keeps what is done, and may be killed at any moment."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest

from specrec_core import (
    catalogue,
    claims,
    estimates,
    experiments,
    parts,
    records,
    sweep,
    synthetic,
)
from specrec_core.catalogue import Chapter
from specrec_core.records import Experiment

VERSION = catalogue.SYNTHETIC


def small(**changes) -> Experiment:
    fields = dict(dataset="synthetic", version=VERSION, dim=4, epochs=2, seeds=(0, 1),
                  learning_rate=0.01, batch_size=4096)  # fmt: skip
    return Experiment(**{**fields, **changes})


def without_time(record):
    fields = dict(vars(record))
    fields.pop("seconds")
    return fields


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("SPECREC_RESULTS", str(tmp_path))
    return tmp_path


def test_run_measures_every_seed(results):
    record = experiments.obtain(small(), progress=False)
    assert records.find(small()) == record
    for name, values in record.metrics.items():
        assert len(values) == 2, name
    assert len(record.spectrum["users"][0]) == 4
    assert record.spectrum["initial users"] != record.spectrum["users"]
    assert record.data["checksum"] and record.data["train"] > 0


def test_how_many_replicas_train_together_changes_no_result():
    e = small(seeds=(0, 1, 2), epochs=3)
    apart = experiments.run(e, together=1, progress=False)
    together = experiments.run(e, together=3, progress=False)
    assert apart.selected_epoch == together.selected_epoch
    for name, values in apart.metrics.items():
        assert values == pytest.approx(together.metrics[name], rel=1e-4), name


def test_data_of_another_version_is_refused(results):
    with pytest.raises(ValueError, match="define the experiment anew"):
        experiments.run(small(version="other"), progress=False)


def test_sweep_runs_only_what_is_missing(results, capsys):
    plan = {"c/a": small(), "c/b": small(dim=6), "c/a again": small()}
    assert set(sweep.missing(plan)) == {"c/a", "c/b"}
    experiments.obtain(small(), progress=False)
    before = (results / f"{small().name}.json").stat().st_mtime_ns
    assert sweep.sweep(plan) == 0
    assert (results / f"{small().name}.json").stat().st_mtime_ns == before
    assert "[2/2] c/b, seed 1" in capsys.readouterr().out
    assert not (results / "seeds").exists()


def test_a_spent_budget_stops_the_sweep(results, capsys):
    plan = {"c/long": small(epochs=100_000, patience=100_000)}
    started = time.monotonic()
    assert sweep.sweep(plan, budget=3.0) == 1
    assert time.monotonic() - started < 120  # one that goes on takes far longer
    assert "budget spent" in capsys.readouterr().out
    assert not list(results.glob("*"))


def test_an_experiment_that_fails_does_not_stop_the_others(results, capsys):
    plan = {
        "c/bad": small(loss="bce", optimizer="sgd", learning_rate=1e30, epochs=9),
        "c/good": small(),
    }
    assert sweep.sweep(plan) == 1
    assert records.find(small()) is not None
    assert "failed c/bad, seed 0: FloatingPointError" in capsys.readouterr().out


def test_seeds_joined_are_the_record_of_all_together(results):
    whole = small(seeds=(3, 1, 2))
    together = experiments.run(whole, progress=False)
    made = [experiments.run(part, progress=False) for part in parts.seeds_of(whole)]
    assert without_time(parts.joined(whole, made)) == without_time(together)
    with pytest.raises(ValueError, match="in this order"):
        parts.joined(whole, made[::-1])
    old = dataclasses.replace(made[0], versions={**made[0].versions, "torch": "0.1"})
    with pytest.raises(ValueError, match="versions differs between the seeds"):
        parts.joined(whole, [old, *made[1:]])
    gpu = dataclasses.replace(made[0], device="NVIDIA H200")
    with pytest.raises(ValueError, match="kind of device differs between the seeds"):
        parts.joined(whole, [gpu, *made[1:]])


def test_seeds_of_other_threads_and_processes_are_joined(results):
    """What a process had loaded before is not a difference, and threads are both named."""
    whole = small(seeds=(3, 1))
    one, two = (experiments.run(part, progress=False) for part in parts.seeds_of(whole))
    one = dataclasses.replace(one, device="cpu (x86_64, threads: 2)")
    two = dataclasses.replace(two, device="cpu (x86_64, threads: 1)",
                              versions={**two.versions, "sklearn": "1.0"})  # fmt: skip
    both = parts.joined(whole, [one, two])
    assert both.device == "cpu (x86_64, threads: 2; x86_64, threads: 1)"
    assert both.versions == one.versions


def test_seeds_of_other_versions_are_refused_before_anything_runs(results, monkeypatch, capsys):
    whole = small(seeds=(0, 1))
    first = parts.seeds_of(whole)[0]
    made = experiments.run(first, progress=False)
    dataclasses.replace(made, versions={**made.versions, "torch": "0.1"}).save(parts.folder())
    ran, run = [], experiments.run
    monkeypatch.setattr(experiments, "run", lambda e, **k: ran.append(e.dim) or run(e, **k))
    assert sweep.sweep({"c/old": whole, "c/new": small(dim=5, seeds=(0,))}) == 1
    assert ran == [5]
    assert "failed c/old: seed 0 of it was made with {'torch': '0.1'}" in capsys.readouterr().out


def test_a_broken_part_fails_alone(results, capsys):
    whole = small(seeds=(0, 1))
    plan = {"c/a": whole, "c/b": small(dim=5, seeds=(0,))}
    made = experiments.run(parts.seeds_of(whole)[0], progress=False)
    path = dataclasses.replace(made, profile="quick").save(parts.folder())
    experiments.run(parts.seeds_of(whole)[1], progress=False).save(parts.folder())
    assert sweep.sweep(plan, budget=60.0) == 1
    assert records.find(plan["c/b"]) is not None and path.exists()
    assert "profile differs between the seeds" in capsys.readouterr().out


def test_a_seed_that_is_done_is_not_run_again(results, monkeypatch):
    whole = small(seeds=(0, 1, 2))
    first = parts.seeds_of(whole)[0]
    experiments.run(first, progress=False).save(parts.folder())
    assert records.find(whole) is None and parts.assemble(whole) is None
    ran, run = [], experiments.run
    monkeypatch.setattr(experiments, "run", lambda e, **k: ran.append(e.seeds) or run(e, **k))
    assert sweep.sweep({"c/a": whole}) == 0
    assert ran == [(1,), (2,)]
    assert len(records.find(whole).seconds) == 3 and parts.find(first) is None


def test_a_record_that_is_there_is_not_assembled_again(results):
    """Two sweeps have run all seeds: the first record stays to the byte, and no part is left."""
    whole = small()
    experiments.run(whole, progress=False).save()
    path = results / f"{whole.name}.json"
    os.utime(path, ns=(1, 1))
    made = [experiments.run(part, progress=False) for part in parts.seeds_of(whole)]
    for record in made:
        assert record.publish(parts.folder())
    assert parts.assemble(whole) == records.find(whole)
    assert path.stat().st_mtime_ns == 1 and list(results.iterdir()) == [path]
    # What another sweep ran when the parts had been dropped leaves nothing either.
    made[1].publish(parts.folder())
    assert parts.assemble(whole) == records.find(whole)
    assert path.stat().st_mtime_ns == 1 and list(results.iterdir()) == [path]


def test_a_record_that_appears_while_it_is_assembled_stays(results, monkeypatch):
    """The other sweep is faster by the time that joining takes."""
    whole, joined = small(), parts.joined
    for part in parts.seeds_of(whole):
        experiments.run(part, progress=False).publish(parts.folder())
    path = results / f"{whole.name}.json"

    def overtaken(*arguments):
        record = joined(*arguments)
        assert record.publish()
        os.utime(path, ns=(1, 1))
        return record

    monkeypatch.setattr(parts, "joined", overtaken)
    assert parts.assemble(whole) == records.find(whole)
    assert path.stat().st_mtime_ns == 1 and list(results.iterdir()) == [path]


def test_what_does_not_fit_the_budget_is_passed_over(results, capsys):
    experiments.obtain(small(), progress=False)  # tells how long such a run takes
    long = small(dim=8, epochs=10**6, patience=10**6)
    assert sweep.sweep({"c/long": long, "c/short": small(dim=5)}, budget=60.0) == 1
    assert records.find(small(dim=5)) is not None
    assert "passed over c/long, seed 0: about" in capsys.readouterr().out


def test_to_pass_over_many_the_records_are_read_once(results, capsys, monkeypatch):
    experiments.obtain(small(), progress=False)
    known, reads = records.known, []
    monkeypatch.setattr(records, "known", lambda: reads.append(1) or known())
    plan = {f"c/{dim}": small(dim=dim, epochs=10**6, patience=10**6) for dim in range(8, 48)}
    assert sweep.sweep(plan, budget=60.0) == 40
    assert len(reads) == 2  # before, and for the last report
    said = [line for line in capsys.readouterr().out.splitlines() if "passed over" in line]
    assert len(said) == 1 and "c/8, seed 0 and 39 more" in said[0]


def test_workers_end_with_their_parent(results):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    code = KILLED.replace("})", "}, workers=2)")
    process = subprocess.Popen([sys.executable, "-c", code, "1000000"], env=environment)
    deadline = time.monotonic() + 120
    while len(list(results.glob("*.json"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True
    ).stdout.split()
    assert children, "no worker was under way"
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(os.path.exists(f"/proc/{c}") for c in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(os.path.exists(f"/proc/{child}") for child in children)


def test_workers_leave_the_same_records(results):
    plan = {"c/a": small(), "c/b": small(dim=6)}
    assert sweep.sweep(plan, workers=2) == 0
    apart = experiments.run(small(dim=6), progress=False)
    found = records.find(small(dim=6))
    assert found is not None and found.selected_epoch == apart.selected_epoch
    for name, values in found.metrics.items():
        assert values == pytest.approx(apart.metrics[name], rel=1e-4), name


KILLED = """
import sys
from specrec_core import sweep
from test_sweep import small
sweep.sweep({"c/a": small(), "c/b": small(dim=6), "c/c": small(dim=7, epochs=int(sys.argv[1]),
             patience=10**6)})
"""


def test_kill_and_restart_loses_only_the_experiment_under_way(results):
    """Killed without warning during the third: two records stay, the restart adds the third."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED]
    process = subprocess.Popen([*command, "1000000"], env=environment)
    deadline = time.monotonic() + 120
    while len(list(results.glob("*.json"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, "the sweep ended by itself"
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {p.name: p.read_bytes() for p in results.glob("*.json")}
    assert set(kept) == {f"{small().name}.json", f"{small(dim=6).name}.json"}
    subprocess.run([*command, "3"], env=environment, check=True)
    after = {p.name: p.read_bytes() for p in results.glob("*.json")}
    assert {name: after[name] for name in kept} == kept
    last = small(dim=7, epochs=3, patience=10**6)
    uninterrupted = experiments.run(last, progress=False)
    assert without_time(records.find(last)) | {"device": ""} == without_time(uninterrupted) | {
        "device": ""
    }


def test_only_names_what_it_does_not_know():
    with pytest.raises(ValueError, match="no experiment matches"):
        sweep.wanted(["no-such-chapter"])
    with pytest.raises(ValueError, match=r"only has \['03_hihg_pass'\]"):
        sweep.wanted(["01_spectra", "03_hihg_pass"])


def test_a_key_or_a_name_is_that_experiment_alone():
    key = "12_double_peak/bpr ml-100k d=2"
    every = sweep.wanted()
    assert sum(key in other for other in every) > 1
    assert list(sweep.wanted([key])) == [key]
    assert key in sweep.wanted([every[key].name])
    assert {e.name for e in sweep.wanted([every[key].name]).values()} == {every[key].name}
    assert len(sweep.wanted([key, "02_low"])) > 1


def test_show_names_the_file_of_a_record_and_its_numbers(results, capsys):
    assert sweep.main(["show", "01_spectra/bpr d=64"]) == 0
    shown = capsys.readouterr().out
    record = records.find(sweep.wanted()["01_spectra/bpr d=64"])
    assert f"{record.experiment.name}.json" in shown
    assert f"ndcg@10 {' ' * 32} {claims.show(record.metrics['ndcg@10'])}" in shown
    sweep.show({"c/new": small()})
    assert "not run yet" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:99", "cpu:1", "cuda:"])
def test_a_device_that_is_not_there_is_named(name, capsys):
    with pytest.raises(ValueError, match=f"device is '{name}'"):
        experiments.run(small(), device=name)
    with pytest.raises(SystemExit):
        sweep.main(["list", "--device", name])
    assert f"device is '{name}'" in capsys.readouterr().err


def test_durations():
    assert [estimates.duration(t) for t in ("90", "90s", "9m", "1.5h")] == [90, 90, 540, 5400]
    with pytest.raises(Exception, match="expected a duration"):
        estimates.duration("soon")


def test_estimates_come_from_past_records(results):
    short, long = small(), small(dim=8, epochs=4)
    past = [experiments.run(short, progress=False)]
    estimate = estimates.Estimate(past, "cpu")
    assert estimate.seconds(long) == pytest.approx(4 * estimate.seconds(short), rel=1e-6)
    assert estimate.seconds(small(dataset="gowalla")) is None
    assert estimates.Estimate(past, "cuda").seconds(long) is None
    wide = experiments.run(small(dim=12), progress=False)
    estimate.learn(wide)
    assert estimate.seconds(long) == estimates.Estimate([*past, wide], "cpu").seconds(long)


def test_an_estimate_is_of_all_seeds_and_of_the_epochs_that_early_stopping_leaves():
    e = small(epochs=8)
    past = records.Record(
        experiment=e, metrics={}, selected_epoch=[1, 1], epochs_run=[4, 4], history={},
        spectrum={}, seconds=[2.0, 2.0], device="cpu", profile="paper", versions={},
        data={"train": 100},
    )  # fmt: skip
    estimate = estimates.Estimate([past], "cpu")
    assert estimate.seconds(e) == pytest.approx(2 * 4 * 0.5)
    assert estimate.seconds(small(epochs=16, seeds=(0, 1, 2))) == pytest.approx(3 * 8 * 0.5)


def test_the_catalogue_is_consistent():
    assert catalogue.SYNTHETIC == synthetic.dcbm().version
    for name, chapter in catalogue.chapters().items():
        assert isinstance(chapter, Chapter)
        for profile in catalogue.PROFILES:
            for data in catalogue.DATA:
                suite = catalogue.suite(name, profile, data)
                every = catalogue.suite(name, "paper", data)
                assert set(suite) == set(every), (name, profile, data)
                assert len({e.name for e in suite.values()}) == len(suite)
        assert len(catalogue.verdicts(name)) == len(chapter.verdicts)
    with pytest.raises(ValueError, match="chapter is"):
        catalogue.suite("no-such-chapter")
    with pytest.raises(ValueError, match="profile is"):
        catalogue.suite("01_spectra", "huge")


def test_output_may_end_before_its_end():
    """As `list | head` does: the reader is gone when the first line comes."""
    command = [sys.executable, "-m", "specrec_core.experiments", "list", "--only", "12_double_peak"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 0)
