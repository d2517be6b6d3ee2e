"""Steps of a sweep run anywhere, survive a worker that dies, and are written once."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from specrec_core import catalogue, crew, estimates, experiments, parts, records, sweep
from specrec_core.records import Experiment


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
    assert executor.asked == sweep.ATTEMPTS == 3
    assert "failed c/b: RuntimeError: its worker died 3 times" in capsys.readouterr().out


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
        assert at_once == 2
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
