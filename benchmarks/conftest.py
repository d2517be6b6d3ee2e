"""How speed is measured here.

On a CPU the clock of a benchmark is the processor time of one thread, which what else the machine
does changes little; on a GPU it is the time that passes. What a benchmark did, on what data and by
whom, is in its ``extra_info``, which the page `how_fast` reads.
"""

import subprocess
import time

import pytest
import torch

from specrec_core import datasets


def pytest_addoption(parser):
    parser.addoption(
        "--device", choices=("cpu", "cuda"), default="cpu", help="what the work is done on"
    )
    parser.addoption(
        "--quality",
        action="store_true",
        help="also train to the best validation score (hours, with peers)",
    )
    parser.addoption(
        "--huge", action="store_true", help="also a run on a hundred million interactions"
    )


def pytest_configure(config):
    torch.set_num_threads(1)
    if config.getoption("--device") == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda: torch finds no GPU here; leave DEVICE out")


def pytest_generate_tests(metafunc):
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", [metafunc.config.getoption("--device")], scope="session")


def pytest_collection_modifyitems(config, items):
    """On a GPU, the work that names a device; on a CPU, all by its clock."""
    if config.getoption("--device") == "cpu":
        for item in items:
            item.add_marker(pytest.mark.benchmark(timer=time.process_time))
        return
    of_cpu = [item for item in items if "device" not in item.fixturenames]
    config.hook.pytest_deselected(items=of_cpu)
    items[:] = [item for item in items if item not in of_cpu]


def pytest_benchmark_update_machine_info(config, machine_info):
    """What matters to speed, and not whose machine it is."""
    cpu = machine_info.get("cpu", {})
    kept = {
        "cpu": cpu.get("brand_raw", "unknown"),
        "cores": cpu.get("count"),
        "python": machine_info["python_version"],
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
    machine_info.clear()
    machine_info.update(kept)


def pytest_benchmark_update_json(config, benchmarks, output_json):
    commit = output_json["commit_info"].get("id")
    # The files of speed themselves are not what is measured.
    others = ["git", "diff", "--quiet", "HEAD", "--", ".", ":!book/speed", ":!book/results"]
    changed = bool(commit) and subprocess.run(others, cwd=config.rootpath).returncode != 0
    output_json["commit_info"] = {"id": commit, "dirty": changed}
    for row in output_json["benchmarks"]:
        row["stats"] = {k: row["stats"][k] for k in ("min", "median", "max", "rounds")}
        row.pop("options", None)


@pytest.fixture(scope="session")
def load():
    """Data of that name, as pairs to train on, to validate and to test."""
    known = {}

    def named(name):
        if name not in known:
            have = datasets.available(name)
            if not have:
                pytest.skip(f"{name}: {have.reason}")
            known[name] = datasets.load(name)
        return known[name]

    return named


@pytest.fixture
def timed(benchmark):
    """``timed(work, device, rounds=, units=, **info)``: ``work()`` does ``units`` of the work."""

    def run(work, device="cpu", /, *, rounds=3, units=1, warm=True, **info):
        result = benchmark.pedantic(
            lambda: finished(work, device), rounds=rounds, warmup_rounds=int(warm)
        )
        benchmark.extra_info.update(info, units=units, device=device)
        return result

    return run


@pytest.fixture
def in_turn(benchmark):
    """``in_turn({by: (work, units)}, device, rounds=, **info)``: each of them once in every round.

    What disturbs the machine for a while disturbs all of them. Each is a row of its own, with the
    seconds of one unit in every round as ``times``.
    """

    def run(works, device="cpu", /, *, rounds, warm=True, **info):
        clock = time.process_time if device == "cpu" else time.perf_counter
        times = {by: [] for by in works}

        def one_round(keep):
            for by, (work, units) in works.items():
                started = clock()
                finished(work, device)
                if keep:
                    times[by].append((clock() - started) / units)

        if warm:
            one_round(keep=False)
        benchmark.pedantic(lambda: one_round(keep=True), rounds=rounds)
        benchmark.extra_info.update(info, device=device, times=times)

    return run


def finished(work, device):
    result = work()
    if device == "cuda":
        torch.cuda.synchronize()
    return result
