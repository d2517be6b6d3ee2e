"""What all tests share: devices, and theorems with the number of cases that their tests tried.

- ``device``: numerical tests run on the CPU and, marked ``gpu``, on CUDA; where there is none they
  are skipped and say so.
- ``@pytest.mark.theorem("thm-label")`` marks the numerical check of a theorem of the book, which
  calls ``theorem_cases.count()`` once per random instance. ``pytest --record-checks`` writes
  ``book/results/checks.json``, from which the pages print the numbers; ``test_checks.py`` fails
  when the two no longer agree.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from theorem_checks import CHECKS, Cases, Checks, marked, recorded

from specrec_core import records

# Deterministic, so that the recorded numbers of cases can be reproduced.
settings.register_profile(
    "specrec",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("specrec")


CHECKS_KEY = pytest.StashKey[Checks]()
CASES_KEY = pytest.StashKey[Cases]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-checks",
        action="store_true",
        help="write the theorems checked, and on how many cases, to book/results/checks.json",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CHECKS_KEY] = Checks()
    some = [name for name in ("keyword", "maxfail", "numprocesses") if config.getoption(name, None)]
    if config.getoption("record_checks") and (some or any("::" in arg for arg in config.args)):
        raise pytest.UsageError("--record-checks counts whole tests: no -k, -x, -n or ::name")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # What looks at the recorded checks comes when the theorems have been tried.
    items.sort(key=lambda item: item.path.name == "test_checks.py")


@pytest.fixture(
    params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)],
)
def device(request: pytest.FixtureRequest) -> str:
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device on this machine: the same test ran on the CPU only")
    return request.param


@pytest.fixture
def theorem_cases(request: pytest.FixtureRequest) -> Iterator[Cases]:
    cases = request.node.stash[CASES_KEY] = Cases()
    yield cases
    assert cases.counted > 0, "a theorem's test calls theorem_cases.count() once per instance"


@pytest.fixture
def session_checks(request: pytest.FixtureRequest) -> Checks:
    return request.config.stash[CHECKS_KEY]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    report = yield
    marker = item.get_closest_marker("theorem")
    if marker is not None and item.get_closest_marker("gpu") is None:
        checks, (label,) = item.config.stash[CHECKS_KEY], marker.args
        if report.failed:
            checks.failed.add(label)
        elif report.when == "call" and report.passed and CASES_KEY in item.stash:
            test = item.nodeid.partition("[")[0]
            tests = checks.passed.setdefault(label, {})
            tests[test] = tests.get(test, 0) + item.stash[CASES_KEY].counted
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if session.config.getoption("record_checks") and ended:
        checks, tests = session.config.stash[CHECKS_KEY], marked()
        new = checks.as_recorded()
        merged = {**recorded(), **{k: v for k, v in new.items() if v["tests"] == tests.get(k)}}
        kept = {k: v for k, v in merged.items() if k in tests and k not in checks.failed}
        records.write_json(CHECKS, dict(sorted(kept.items())))
