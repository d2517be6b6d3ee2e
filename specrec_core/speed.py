"""What benchmarks measured, as tables: read from the JSON that ``make bench`` writes.

This module imports no torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

FOLDER = Path(__file__).parent.parent / "book" / "speed"
OURS = "specrec"


@dataclass(frozen=True)
class Measurements:
    """One run of the benchmarks.

    Attributes
    ----------
    machine
        Processor, cores, versions, and the GPU if there was one.
    rows
        A benchmark each: its ``name``, ``seconds`` for one unit of the ``work``, the median over
        rounds, and what it says of itself (``by``, ``data``, ``model``, ``device``, …).
    """

    machine: dict[str, Any]
    rows: pd.DataFrame

    def of(self, work: str, **where: Any) -> pd.DataFrame:
        """The rows of this work for which the columns have these values."""
        found = self.rows[self.rows["work"] == work]
        for column, value in where.items():
            found = found[found[column] == value]
        return found

    def ratios(self, work: str, **where: Any) -> pd.DataFrame:
        """Seconds of each peer over ours: columns ``by``, ``seconds`` and ``ratio``."""
        found = self.of(work, **where)[["by", "seconds"]].reset_index(drop=True)
        ours = found.loc[found["by"] == OURS, "seconds"]
        return found.assign(ratio=found["seconds"] / ours.iloc[0] if len(ours) else float("nan"))


def measurements() -> dict[str, Measurements]:
    """What there is on each device, ``cpu`` or ``cuda``: the name of the file, up to a hyphen.

    A benchmark that is in several files of a device is taken from the newest.

    Raises
    ------
    ValueError
        If files of one device are of different machines.
    """
    found: dict[str, Measurements] = {}
    for path in sorted(FOLDER.glob("*.json"), key=_made):
        device, run = path.stem.partition("-")[0], read(path)
        if device in found:
            before = found[device]
            if run.machine != before.machine:
                raise ValueError(
                    f"{path} is of {run.machine}, another file of {before.machine}: run again the "
                    "`make bench` that wrote the older one, or remove it"
                )
            older = before.rows[~before.rows["name"].isin(run.rows["name"])]
            run = Measurements(run.machine, pd.concat([older, run.rows], ignore_index=True))
        found[device] = run
    return found


def _made(path: Path) -> str:
    return str(json.loads(path.read_text()).get("datetime", ""))


def read(path: Path) -> Measurements:
    """One file.

    Raises
    ------
    ValueError
        If it is not of pytest-benchmark, or was not written by ``make bench``.
    """
    held = json.loads(path.read_text())
    if "benchmarks" not in held or "cores" not in held.get("machine_info", {}):
        raise ValueError(f"{path} was not written by `make bench`: run that, or remove the file")
    rows = [
        {
            "name": row["name"],
            **row["extra_info"],
            "seconds": row["stats"]["median"] / row["extra_info"].get("units", 1),
        }
        for row in held["benchmarks"]
        if "work" in row["extra_info"]
    ]
    return Measurements(held["machine_info"], pd.DataFrame(rows))


def reached_at(curve: dict[str, Any], score: float) -> float | None:
    """Seconds of training until the score was first reached, or None."""
    times = zip(curve["seconds"], curve["ndcg@20"], strict=True)
    return next((float(seconds) for seconds, found in times if found >= score), None)


def best(curves: list[dict[str, Any]]) -> dict[str, Any]:
    """The setting whose curve rises highest."""
    return max(curves, key=lambda curve: max(curve["ndcg@20"]))
