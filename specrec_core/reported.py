"""Numbers that somebody else reported, as tables and curves: the files of ``book/reported``.

Single numbers to hold a record against are `specrec_core.claims.Reported`; this module is for
figures and tables that show all of a file. Every row says where it is from and how we know.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache

from specrec_core import claims

Row = dict[str, str]


@dataclass(frozen=True)
class Panel:
    """One panel of Figure 1 of [scaling2025], read off its image.

    ``widths`` and ``values`` are the vertices that could be read; ``lows`` and ``highs`` the ends
    of the line's ink at that place. ``start`` is the lowest point at the extreme left, whose width
    is not printed (2 in the first author's scripts); ``top`` the highest point of the line.
    """

    name: str
    dataset: str
    model: str
    widths: tuple[int, ...]
    values: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    start: float
    top: float

    @property
    def title(self) -> str:
        return f"({self.name}) {self.dataset}, {self.model}"


@lru_cache(maxsize=32)
def _read(path: str) -> tuple[Row, ...]:
    with open(path, encoding="utf-8", newline="") as lines:
        return tuple(csv.DictReader(lines))


def rows(table: str, **where: str) -> list[Row]:
    """The rows of ``book/reported/<table>.csv`` whose columns match ``where``, in its order."""
    path = claims.reported_file(table)
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in claims.REPORTED.glob("*.csv")))
        raise ValueError(f"table is {table!r}: expected one of {known}")
    found = _read(str(path))
    for column in where:
        if column not in found[0]:
            raise ValueError(f"{table}.csv has no column {column!r}: expected one of {found[0]}")
    return [dict(row) for row in found if all(row[k] == v for k, v in where.items())]


def number(table: str, **where: str) -> float:
    """The value of the one row of a table that matches; ValueError where it has none."""
    value = claims.Reported.lookup(table, **where).value
    if value is None:
        raise ValueError(f"reported/{table}.csv has no value for {where}")
    return value


def scaling_panels() -> list[Panel]:
    """The twelve panels of Figure 1 of [scaling2025], (a) to (l)."""
    found = []
    for name in sorted({row["panel"] for row in rows("scaling_figure1")}):
        own = rows("scaling_figure1", panel=name)
        ends = {row["reading"]: float(row["value"]) for row in own if not row["width"]}
        read = [row for row in own if row["width"] and row["value"]]
        found.append(
            Panel(
                name,
                own[0]["dataset"],
                own[0]["model"],
                tuple(int(row["width"]) for row in read),
                tuple(float(row["value"]) for row in read),
                tuple(float(row["low"]) for row in read),
                tuple(float(row["high"]) for row in read),
                ends["curve minimum"],
                ends["curve maximum"],
            )
        )
    return found


def collapse_auc(dataset: str, model: str, design: str) -> dict[int, float]:
    """Test AUC of [guo2024collapse] by scale; the base, scale 1, is that of a single embedding."""
    base = rows("collapse", dataset=dataset, model=model, design="SE", scale="1")
    own = rows("collapse", dataset=dataset, model=model, design=design)
    if not own:
        raise ValueError(f"no AUC of {model!r}, {design!r} on {dataset!r} in reported/collapse.csv")
    return {int(r["scale"]): float(r["value"]) for r in [*base, *own] if r["value"]}
