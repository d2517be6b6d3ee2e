"""Steps of a sweep run anywhere, survive a worker that dies, and are written once."""

import os
import pickle
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from test_records import record

from specrec_core import (
    catalogue,
    crew,
    estimates,
    experiments,
    memory,
    parts,
    records,
    scheduling,
    sweep,
)
from specrec_core.records import Experiment
from specrec_core.studies import Study


def small(**changes) -> Experiment:
    fields = dict(dataset="synthetic", version=catalogue.SYNTHETIC, dim=4, epochs=2, seeds=(0, 1),
                  learning_rate=0.01, batch_size=4096)  # fmt: skip
    return Experiment(**{**fields, **changes})


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("SPECREC_RESULTS", str(tmp_path))
    return tmp_path


@pytest.fixture
def only_these(results, monkeypatch):
    """Estimates from the records of this test alone, not from the published ones."""

    def here():
        return [records.read(path) for path in results.glob("*.json")]

    monkeypatch.setattr(records, "known", here)
    return results


def die_once(path: str) -> int:
    """Ends its process the first time; the second, says in which one it is."""
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


def slow(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_a_process_that_dies_takes_only_its_own_task(tmp_path):
    with crew.Processes(2) as pool:
        dies, lives = pool.submit(die_once, str(tmp_path / "flag")), pool.submit(slow, 1.0)
        error = dies.exception(timeout=60)
        assert error is not None and crew.died(error) and not crew.died(ValueError("its own"))
        again = pool.submit(die_once, str(tmp_path / "flag"))
        assert lives.result(timeout=60) != again.result(timeout=60)


def test_shutdown_ends_what_is_under_way():
    pool = crew.Processes(1)
    future = pool.submit(slow, 600.0)
    while not future.running():
        time.sleep(0.01)
    started = time.monotonic()
    pool.shutdown(cancel_futures=True)
    assert time.monotonic() - started < 30


def test_a_process_has_as_many_threads_as_it_is_given(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with crew.Processes(1, threads=1) as one, crew.Processes(1) as all_of_them:
        given = [one.submit(os.getenv, name).result(timeout=60) for name in crew.THREADS]
        assert given == ["1", "1", "1"]
        assert all_of_them.submit(os.getenv, "OMP_NUM_THREADS").result(timeout=60) == "5"
    assert os.environ["OMP_NUM_THREADS"] == "5" and "OPENBLAS_NUM_THREADS" not in os.environ


def test_a_cpu_gets_a_process_for_each_core_and_a_gpu_one(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(sweep, "sweep", lambda experiments, **how: asked.append(how) or 0)
    monkeypatch.setattr(crew, "cores", lambda: 7)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for more in ([], ["--workers", "1"], ["--workers", "3"], ["--device", "cuda"]):
        assert sweep.main(["run", "--only", "01_spectra", *more]) == 0
    assert [how["workers"] for how in asked] == [7, 1, 3, 1]
    assert capsys.readouterr().out.count("7 steps at once, one thread each") == 1
    with pytest.raises(SystemExit):
        sweep.main(["run", "--workers", "0"])
    monkeypatch.undo()
    assert 1 <= crew.cores() <= os.cpu_count()


SIZES = dict(users=1000, items=1000, train=10**4, test=10**3, validation=10**3)


def left_by(part: Experiment) -> records.Record:
    """What a run of one seed on data of that size might leave."""
    return replace(record(part), data=SIZES, seconds=[1.0], epochs_run=[2])


@pytest.fixture
def side_by_side(only_these, monkeypatch):
    """Two workers that are threads here, and a record that tells the size of the data."""
    monkeypatch.setattr(crew, "Processes", lambda workers, threads: ThreadPoolExecutor(workers))
    known = left_by(small(dim=3, seeds=(9,)))
    assert known.publish()
    return [known]


def test_what_a_step_needs_is_known_from_records(side_by_side):
    room = estimates.Room(side_by_side)
    step = small(dim=64, seeds=(0,))
    assert room.needs(step) == memory.needed(step, SIZES)["total"]
    assert room.needs(small(dim=64)) == room.needs(step), "seeds run one after another"
    other = small(dataset="other")
    assert room.needs(other) == room.needs(Study.of("study_planted.table_row")) == 0
    room.learn(left_by(other))
    assert room.needs(other) == memory.needed(other, SIZES, replicas=1)["total"]


def test_steps_that_do_not_fit_together_wait_for_one_another(side_by_side, monkeypatch):
    """The wide one runs alone, the two narrow ones side by side."""
    wide, *narrow = (small(dim=d, seeds=(0,)) for d in (4096, 8, 9))
    needs = {e: memory.needed(e, SIZES, replicas=1)["total"] for e in (wide, *narrow)}
    monkeypatch.setattr(memory, "available", lambda device: needs[wide] + needs[narrow[0]] - 1)
    assert sum(needs[e] for e in narrow) < needs[wide]
    both, under_way = threading.Barrier(2), []

    def made(part, device, threads):
        under_way.append(part)
        if part == wide:
            time.sleep(0.2)
            assert under_way == [wide]
        else:
            both.wait(timeout=60)
        under_way.remove(part)
        return left_by(part)

    monkeypatch.setattr(scheduling, "made", made)
    plan = {"c/wide": wide, "c/narrow": narrow[0], "c/other": narrow[1]}
    assert sweep.sweep(plan, workers=2) == 0


def test_a_step_refused_beside_others_is_tried_alone(side_by_side, monkeypatch, capsys):
    """Once more and no oftener: what does not fit alone has failed."""
    long, refused, hopeless = (small(dim=d, seeds=(0,)) for d in (16, 8, 4))
    tries, set_aside, both = [], [], threading.Event()
    alone = estimates.Room.alone

    def noted(room, part):
        alone(room, part)
        set_aside.append(part)
        if len(set_aside) == 2:
            both.set()

    def made(part, device, threads):
        tries.append(part)
        if part == hopeless or (part == refused and part not in set_aside):
            raise MemoryError("it needs more")
        if part == long:
            assert both.wait(timeout=60)
            assert len(tries) == 3, "something ran beside it that is to be alone"
        return left_by(part)

    monkeypatch.setattr(estimates.Room, "alone", noted)
    monkeypatch.setattr(scheduling, "made", made)
    plan = {"c/long": long, "c/refused": refused, "c/hopeless": hopeless}
    assert sweep.sweep(plan, workers=2) == 1
    assert [tries.count(e) for e in (long, refused, hopeless)] == [1, 2, 2]
    out = capsys.readouterr().out
    assert "c/refused has too little memory beside others: later, alone" in out
    assert "failed c/hopeless: MemoryError: it needs more" in out


def test_a_step_whose_worker_died_beside_others_is_tried_alone(side_by_side, monkeypatch, capsys):
    """A system that is short of memory kills: beside the same neighbours it would again."""
    long, killed = (small(dim=d, seeds=(0,)) for d in (16, 8))
    under_way, both, died = set(), threading.Barrier(2), threading.Event()

    def made(part, device, threads):
        under_way.add(part)
        if not died.is_set():
            both.wait(timeout=60)
        if part == killed and len(under_way) > 1:
            under_way.remove(part)
            died.set()
            raise crew.BrokenExecutor("killed")
        if part == long:
            assert died.wait(timeout=60)
            time.sleep(0.2)
        under_way.remove(part)
        return left_by(part)

    monkeypatch.setattr(scheduling, "made", made)
    assert sweep.sweep({"c/long": long, "c/killed": killed}, workers=2) == 0
    assert "the worker of c/killed died: later, alone" in capsys.readouterr().out


def test_workers_that_join_later_take_steps_too(results):
    """As on a cluster whose jobs begin one by one."""
    there, both = [1], threading.Barrier(2)

    def side_by_side(fn, *args):
        both.wait(timeout=60)
        return fn(*args)

    class Grows(ThreadPoolExecutor):
        def submit(self, fn, /, *args):
            there[0] = 2
            return super().submit(side_by_side, fn, *args)

    plan = {f"c/{d}": small(dim=d, seeds=(0,)) for d in (4, 5)}
    with Grows(2) as executor:
        assert sweep.sweep(plan, executor=executor, workers=lambda: there[0]) == 0
    with pytest.raises(ValueError, match="workers is a function"):
        sweep.sweep(plan, workers=lambda: 1)


def test_the_limits_of_a_container_count(tmp_path, monkeypatch):
    cpu = torch.device("cpu")
    free, cores = memory.available(cpu), crew.cores()
    monkeypatch.setattr(crew, "CGROUP", tmp_path)
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    for name, limit in (("cpu.max", "max 100000"), ("memory.max", "max")):
        (tmp_path / name).write_text(limit)
    assert crew.cores() == cores and memory.available(cpu) > free / 2
    contents = {
        "cpu.max": "100000 100000\n",
        "memory.max": "1000000\n",
        "memory.current": "400000\n",
        "memory.stat": "anon 1\ninactive_file 50000\n",
    }
    for name, limit in contents.items():
        (tmp_path / name).write_text(limit)
    assert crew.cores() == 1 and memory.available(cpu) == 650_000


def test_devices_of_a_cluster_are_looked_for_there(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(crew, "dask", lambda address: (None, lambda: 3))
    monkeypatch.setattr(sweep, "sweep", lambda experiments, **how: asked.append(how) or 0)
    over = ["run", "--only", "01_spectra", "--dask", "tcp://there:8786"]
    assert sweep.main([*over, "--device", "cuda"]) == 0
    assert asked[0]["device"] == "cuda" and asked[0]["workers"]() == 3
    with pytest.raises(SystemExit):
        sweep.main([*over, "--device", "auto"])
    assert "device is 'auto': expected cpu, cuda" in capsys.readouterr().err


class Fails(ThreadPoolExecutor):
    """Its worker dies the first ``times`` steps."""

    def __init__(self, times: int) -> None:
        super().__init__(1)
        self.times, self.asked = times, 0

    def submit(self, fn, /, *args, **kwargs):
        self.asked += 1
        if self.asked <= self.times:
            fn, args = dead, ()
        return super().submit(fn, *args, **kwargs)


def dead():
    raise crew.BrokenExecutor("died")


def test_a_step_whose_worker_died_is_tried_three_times(results, capsys):
    with Fails(2) as executor:
        assert sweep.sweep({"c/a": small(seeds=(0,))}, executor=executor) == 0
    assert executor.asked == 3
    with Fails(9) as executor:
        plan = {"c/b": small(dim=5, seeds=(0,))}
        assert sweep.sweep(plan, executor=executor) == 1
    assert executor.asked == scheduling.ATTEMPTS == 3
    assert "failed c/b: RuntimeError: its worker died 3 times" in capsys.readouterr().out


class Dies(ProcessPoolExecutor):
    """The standard pool: once a worker has died it refuses all further work."""

    def submit(self, fn, /, *args, **kwargs):
        return super().submit(os._exit, 1)


def test_a_pool_that_takes_no_more_work_ends_the_sweep_with_a_report(results, capsys):
    plan = {"c/a": small(seeds=(0,)), "c/b": small(dim=5, seeds=(0,))}
    with Dies(1) as executor:
        assert sweep.sweep(plan, executor=executor) == 2
    out = capsys.readouterr().out
    assert "the executor takes no more work: run the sweep again with a new one" in out
    assert "failed c/a: BrokenProcessPool" in out and not list(results.iterdir())


def test_a_worker_that_dask_gave_up_has_died():
    scheduler = pytest.importorskip("distributed.scheduler")
    error = scheduler.KilledWorker("made-1", None, 3)
    assert crew.died(error) and crew.died(pickle.loads(pickle.dumps(error)))
    assert not crew.died(RuntimeError("KilledWorker"))


def test_any_executor_leaves_the_records_of_a_run_here(results):
    plan = {"c/a": small(), "c/b": small(dim=6)}
    with ThreadPoolExecutor(1) as executor:
        assert sweep.sweep(plan, executor=executor) == 0
    assert sorted(p.name for p in results.iterdir()) == sorted(
        f"{e.name}.json" for e in plan.values()
    )
    whole = experiments.run(small(), progress=False)
    for name, values in records.find(small()).metrics.items():
        assert values == pytest.approx(whole.metrics[name], rel=1e-4), name


def test_a_record_that_another_sweep_wrote_stays_as_it_is(results):
    one = small(seeds=(0,))

    class Overtaken(ThreadPoolExecutor):
        def submit(self, fn, /, *args, **kwargs):
            future = super().submit(fn, *args, **kwargs)
            path = future.result().save()
            os.utime(path, ns=(1, 1))
            return future

    with Overtaken(1) as executor:
        assert sweep.sweep({"c/a": one}, executor=executor) == 0
    assert (results / f"{one.name}.json").stat().st_mtime_ns == 1


def test_the_longest_goes_first_and_the_unknown_last(only_these, capsys):
    experiments.obtain(small(seeds=(0,)), progress=False)
    plan = {
        "c/short": small(dim=2, seeds=(0,)),
        "c/unknown": small(model="lightgcn", layers=1, seeds=(0,)),
        "c/long": small(dim=8, seeds=(0,)),
    }
    sweep.sweep(plan)
    out = capsys.readouterr().out
    assert out.index("] c/long") < out.index("] c/short") < out.index("] c/unknown")
    for path in only_these.glob("*.json"):
        if path.stem != small(seeds=(0,)).name:
            path.unlink()
    sweep.sweep(plan, shortest_first=True)
    out = capsys.readouterr().out
    assert out.index("] c/short") < out.index("] c/long") < out.index("] c/unknown")


def test_estimates_take_the_records_that_are_most_alike(only_these):
    seconds = {"bpr": 10.0, "bce": 30.0}
    for loss, wanted in seconds.items():
        made = experiments.run(small(loss=loss, seeds=(0,)), progress=False)
        object.__setattr__(made, "seconds", [wanted])
        made.save()
    estimate = estimates.Estimate(list(records.known()), "cpu")
    for loss, wanted in seconds.items():
        assert estimate.seconds(small(loss=loss)) == pytest.approx(2 * wanted)
    mean = 300**0.5  # the geometric one
    assert estimate.seconds(small(loss="alignment")) == pytest.approx(2 * mean)
    assert estimate.seconds(small(model="lightgcn", layers=1)) is None


def test_estimates_part_what_an_epoch_costs_at_any_width_from_what_grows_with_it(only_these):
    for dim in (4, 8, 64):
        made = experiments.run(small(dim=dim, seeds=(0,)), progress=False)
        object.__setattr__(made, "seconds", [10.0 + dim])
        made.save()
    estimate = estimates.Estimate(list(records.known()), "cpu")
    assert estimate.seconds(small(dim=1)) == pytest.approx(2 * 11.0, rel=1e-3)
    assert estimate.seconds(small(dim=1024)) == pytest.approx(2 * 1034.0, rel=1e-3)


def test_a_dask_cluster_of_two_workers_survives_the_death_of_one(results):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        executor, at_once = crew.dask(cluster.scheduler_address)
        assert at_once() == 2
        client = executor._client
        victim = next(iter(client.run(os.getpid).values()))

        class Wounded(type(executor)):
            killed = False

            def submit(self, fn, *args, **kwargs):
                future = super().submit(fn, *args, **kwargs)
                if not Wounded.killed:
                    Wounded.killed = True
                    os.kill(victim, signal.SIGKILL)
                return future

        plan = {f"c/{d}": small(dim=d) for d in (4, 5, 6)}
        executor.__class__ = Wounded
        assert sweep.sweep(plan, executor=executor, workers=at_once) == 0
        assert victim not in client.run(os.getpid).values()
        executor.shutdown()
        client.close()
    assert sorted(p.name for p in results.iterdir()) == sorted(
        f"{e.name}.json" for e in plan.values()
    )
    for e in plan.values():
        assert records.find(e).device == experiments.run(e, progress=False).device
        assert parts.find(parts.seeds_of(e)[0]) is None
