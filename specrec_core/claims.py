"""Reported number, reproduced number, tolerance, verdict.

A *comparison* sets the mean and 95 % interval over seeds of a record beside a reported value; a
*claim* is a predicate over records. Both are evaluated when the book is built, and neither is
ever blank: what has no source is ``not reported``, what has no record is ``not run yet``.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from specrec_core.digits import grouped
from specrec_core.records import Record

REPORTED = Path(__file__).resolve().parents[1] / "book" / "reported"
PROVENANCES = ("primary", "official-code", "digitised", "secondary", "reference", "not-found")

REPRODUCED = "reproduced"
LATER = "; asked after a look at the runs"  # after the source of a claim
DEVIATES = "deviates"
NOT_REPORTED = "not reported"
NOT_RUN = "not run yet"


def reported_file(table: str) -> Path:
    """Where ``book/reported/<table>.csv`` is."""
    if not REPORTED.exists():
        raise FileNotFoundError(
            f"{REPORTED} is not there: what others reported is in the repository of the book; "
            "clone it, and `pip install --editable .` there"
        )
    return REPORTED / f"{table}.csv"


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of independent values and half the width of its 95 % Student-t interval.

    With one value the half-width is infinite: one seed says nothing about the spread.
    """
    from scipy.stats import t

    n = len(values)
    if n == 0:
        raise ValueError("values is empty: expected one value per seed")
    mean = math.fsum(values) / n
    if n == 1:
        return mean, math.inf
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    return mean, float(t.ppf(0.975, n - 1)) * deviation / math.sqrt(n)


def decimals(mean: float, half: float, most: int = 4) -> int:
    """Digits after the point of a mean of 1 or more: up to the second of its interval's, at most
    ``most``. A smaller mean has ``most``, so that those of one metric can be compared."""
    if abs(mean) < 1 or not math.isfinite(half) or half <= 1e-9 * abs(mean):
        return most
    return min(most, 1 - math.floor(math.log10(half)))


def number(value: float, digits: int) -> str:
    """With that many digits after the point, negative ones rounded away, and commas from 10,000."""
    value = round(value, digits)
    return grouped(value, f".{max(0, digits)}f")


def show(values: Sequence[float], digits: int = 4) -> str:
    """``0.1463 ± 0.0008``, ``13.16 ± 0.48``, or ``0.1463 (one seed)``; see `decimals`."""
    mean, half = mean_interval(values)
    if math.isinf(half):
        return f"{number(mean, digits)} (one seed)"
    digits = decimals(mean, half, digits)
    return f"{number(mean, digits)} ± {number(half, digits)}"


def show_difference(after: Sequence[float], before: Sequence[float], digits: int = 4) -> str:
    """`show` of the differences seed by seed, with a minus sign: ``−0.0020 ± 0.0004``."""
    differences = [b - a for a, b in zip(before, after, strict=True)]
    return show(differences, digits).replace("-", "−")


@dataclass(frozen=True)
class Reported:
    """A number somebody else reported, and how we know it."""

    value: float | None
    source: str
    provenance: str

    def __post_init__(self) -> None:
        if self.provenance not in PROVENANCES:
            raise ValueError(
                f"provenance is {self.provenance!r}: expected one of {', '.join(PROVENANCES)}"
            )

    @classmethod
    def lookup(cls, table: str, **where: str) -> Reported:
        """The one row of ``book/reported/<table>.csv`` whose columns match ``where``.

        The table has at least the columns ``value``, ``source`` and ``provenance``.
        """
        with open(reported_file(table), encoding="utf-8", newline="") as lines:
            rows = [r for r in csv.DictReader(lines) if all(r[k] == v for k, v in where.items())]
        if len(rows) != 1:
            raise ValueError(f"{len(rows)} rows of reported/{table}.csv match {where}: expected 1")
        row = rows[0]
        return cls(float(row["value"]) if row["value"] else None, row["source"], row["provenance"])


@dataclass(frozen=True)
class Verdict:
    """One line of a table of verdicts, ready to print."""

    statement: str
    reported: str
    reproduced: str
    verdict: str
    note: str = ""
    record: str | None = None
    source: str = ""  # of what was reported or claimed
    group: str = ""  # rows of one group are shown together, folded


@dataclass(frozen=True)
class Comparison:
    """A metric of one record against a reported value.

    ``tolerance`` is relative: `reproduced` means that the reproduced mean lies within
    ``tolerance · |reported|`` of the reported value. The interval is shown beside it and decides
    nothing: few seeds and much noise must not make agreement easier.
    """

    statement: str
    label: str
    metric: str
    reported: Reported | None
    tolerance: float = 0.05
    digits: int = 4
    note: str = ""
    group: str = ""

    def verdict(self, records: Mapping[str, Record | None]) -> Verdict:
        value = self.reported.value if self.reported else None
        reported, source = NOT_REPORTED, ""
        if self.reported is not None and value is not None:
            near = f"within\u00a0{100 * self.tolerance:g}\u00a0%"  # on one line
            reported = f"{number(value, self.digits)} ({self.reported.provenance}; {near})"
            source = self.reported.source
        record = records[self.label]
        if record is None:
            return self._judged(reported, "–", NOT_RUN, source)
        values = record.metrics[self.metric]
        if value is None:
            outcome = NOT_REPORTED
        else:
            close = abs(mean_interval(values)[0] - value) <= self.tolerance * abs(value)
            outcome = REPRODUCED if close else DEVIATES
        return self._judged(reported, show(values, self.digits), outcome, source, record.name)

    def _judged(
        self, reported: str, shown: str, outcome: str, source: str, record: str | None = None
    ) -> Verdict:
        return Verdict(
            self.statement, reported, shown, outcome, self.note, record, source, self.group
        )


@dataclass(frozen=True)
class Claim:
    """A statement that records can bear out or contradict.

    ``test`` gets the records it needs, by label, and returns whether the claim holds together
    with the evidence in a few words.
    """

    statement: str
    needs: tuple[str, ...]
    test: Callable[[Mapping[str, Record]], tuple[bool, str]]
    source: str = "this book"
    note: str = ""
    group: str = ""

    def verdict(self, records: Mapping[str, Record | None]) -> Verdict:
        present: dict[str, Record] = {}
        for label in self.needs:
            record = records[label]
            if record is None:
                return self._judged("–", NOT_RUN)
            present[label] = record
        holds, evidence = self.test(present)
        outcome = REPRODUCED if holds else DEVIATES
        only = present[self.needs[0]].name if len(present) == 1 else None
        return self._judged(evidence, outcome, only)

    def _judged(self, shown: str, outcome: str, record: str | None = None) -> Verdict:
        return Verdict(
            self.statement, "claim", shown, outcome, self.note, record, self.source, self.group
        )
