"""book/results/checks.json says of each theorem what its tests really did."""

from __future__ import annotations

import pytest
from theorem_checks import Checks, marked, recorded

REMEDY = "run `pytest tests --record-checks` and commit book/results/checks.json"


@pytest.fixture(autouse=True)
def not_while_recording(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("record_checks"):
        pytest.skip("the checks are being recorded anew")


def test_recorded_checks_name_the_tests_there_are() -> None:
    assert {label: check["tests"] for label, check in recorded().items()} == marked(), REMEDY


def test_recorded_checks_count_what_was_tried(session_checks: Checks) -> None:
    tests, tried = marked(), session_checks.as_recorded()
    whole = {label: check for label, check in tried.items() if check["tests"] == tests[label]}
    if not whole:
        pytest.skip("no theorem was tried in this session by all of its tests")
    known = recorded()
    assert set(whole) <= set(known), REMEDY
    for label, check in whole.items():
        assert check["tests"] == known[label]["tests"], REMEDY
        # Rounding decides whether a borderline instance is tried, so a few may come or go.
        assert check["cases"] == pytest.approx(known[label]["cases"], rel=0.05), REMEDY
