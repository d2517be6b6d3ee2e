"""How speed is measured here.

On a CPU the clock of a benchmark is the processor time of one thread, which what else the machine
does changes little; on a GPU it is the time that passes. What a benchmark did, on what data and by
whom, is in its ``extra_info``, which the page `how_fast` reads.
"""

import time

import pytest
import torch

from specrec_core import datasets

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def pytest_addoption(parser):
    parser.addoption(
        "--quality",
        action="store_true",
        help="also train to the best validation score, four settings each (half an hour)",
    )


def pytest_configure(config):
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    for item in items:
        parameters = getattr(item, "callspec", None)
        if parameters is None or parameters.params.get("device") != "cuda":
            item.add_marker(pytest.mark.benchmark(timer=time.process_time))


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
    output_json["commit_info"] = {"id": output_json["commit_info"].get("id")}
    for row in output_json["benchmarks"]:
        row["stats"] = {k: row["stats"][k] for k in ("min", "median", "max", "rounds")}
        row.pop("options", None)


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


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
        def whole():
            result = work()
            if device == "cuda":
                torch.cuda.synchronize()
            return result

        result = benchmark.pedantic(whole, rounds=rounds, warmup_rounds=int(warm))
        benchmark.extra_info.update(info, units=units, device=device)
        return result

    return run
