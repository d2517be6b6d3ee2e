"""Theorems, their tests, and how many random cases those tried."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import TypedDict

from specrec_core import records

CHECKS = records.PUBLISHED / "checks.json"


class Recorded(TypedDict):
    """The numerical check of one theorem: its tests, and the random cases they tried together."""

    tests: list[str]
    cases: int


def recorded() -> dict[str, Recorded]:
    return json.loads(CHECKS.read_text("utf-8")) if CHECKS.exists() else {}


def marked() -> dict[str, list[str]]:
    """Theorem → its tests, as the sources of the tests have them."""
    out: dict[str, list[str]] = {}
    folder = Path(__file__).parent
    for path in sorted(folder.glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.theorem":
                    label = ast.literal_eval(mark.args[0])
                    out.setdefault(label, []).append(f"tests/{path.name}::{node.name}")
    return {label: sorted(tests) for label, tests in out.items()}


class Cases:
    """Counts the random instances that the test of one theorem went through."""

    def __init__(self) -> None:
        self.counted = 0

    def count(self) -> None:
        self.counted += 1


class Checks:
    """What the theorem tests of this session counted, by theorem and by test."""

    def __init__(self) -> None:
        self.passed: dict[str, dict[str, int]] = {}
        self.failed: set[str] = set()

    def as_recorded(self) -> dict[str, Recorded]:
        return {
            label: {"tests": sorted(tests), "cases": sum(tests.values())}
            for label, tests in sorted(self.passed.items())
            if label not in self.failed
        }
