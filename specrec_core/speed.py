"""What benchmarks measured, as tables: read from the JSON that ``make bench`` writes.

This module imports no torch.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

FOLDER = Path(__file__).parent.parent / "book" / "speed"
OURS = "specrec"
QUALITY = {  # whose time to quality is a matter of measurement
    "BPR-MF": (OURS, "RecBole", "implicit", "cornac"),
    "LightGCN": (OURS, "RecBole", "PyG"),
}
CLOSE = 0.99  # of the lower of two best scores: equal quality


@dataclass(frozen=True)
class Measurements:
    """What was measured on one device of one machine.

    Attributes
    ----------
    machine
        Processor, cores, versions, and the GPU if there was one.
    rows
        A row for each benchmark, or for each of those that a benchmark timed in turn, the newest
        last: its ``name``; ``seconds`` for one unit of the ``work``, the median over ``rounds``,
        with the ``least`` and the ``most``; the ``device``; and what it says of itself (``by``,
        ``data``, ``model``, …).
    commits
        The commits of the runs, the newest last.
    """

    machine: Mapping[str, Any]
    rows: pd.DataFrame
    commits: tuple[str, ...] = ()

    def of(self, work: str, **where: Any) -> pd.DataFrame:
        """The rows of this work for which the columns have these values."""
        found = self.rows[self.rows["work"] == work]
        for column, value in where.items():
            if column not in found:
                return found[:0]
            found = found[found[column] == value]
        return found

    def ratios(self, work: str, **where: Any) -> pd.DataFrame:
        """A row of each library, ours first, and its ``ratio``: times our seconds.

        ``where`` is to leave one row of a library in a benchmark. Of the rows of a library, that
        of the benchmark which timed the most libraries in turn, and the newest of such. The ratio
        is to our row of the same benchmark (``in_turn``); where it has none, to ours shown.
        """
        found = self.of(work, **where)
        together = found.groupby("name")["by"].transform("nunique")
        found = found.assign(together=together).sort_values("together", kind="stable")
        ours = found[found["by"] == OURS]
        beside = found["name"].map(ours.set_index("name")["seconds"])
        shown = ours["seconds"].iloc[-1] if len(ours) else float("nan")
        ratio = found["seconds"] / beside.fillna(shown)
        found = found.assign(ratio=ratio, in_turn=beside.notna()).drop(columns="together")
        theirs = found[found["by"] != OURS].drop_duplicates("by", keep="last")
        return pd.concat([found[found["by"] == OURS].tail(1), theirs], ignore_index=True)

    def bandwidth(self) -> float:
        """Bytes read and written in a second by a large copy; NaN where none was measured."""
        found = self.of("bandwidth").tail(1)
        return float((found["bytes"] / found["seconds"]).iloc[0]) if len(found) else float("nan")

    def rooflines(self) -> pd.DataFrame:
        """Rows that say how many ``bytes`` they have to move, and their ``share`` of the roofline.

        The share is the time that the bytes take at the measured bandwidth over the time
        measured. Above 1 where a cache holds what is counted as moved, or where memory serves it
        faster than a copy.
        """
        if "bytes" not in self.rows:
            return self.rows[:0].assign(bytes=[], share=[])
        found = self.rows[self.rows["bytes"].notna() & (self.rows["work"] != "bandwidth")]
        return found.assign(share=found["bytes"] / self.bandwidth() / found["seconds"])


def measurements() -> dict[str, Measurements]:
    """What there is on each device of each machine, of a device the newest machine first.

    The name is that of the device, ``cpu`` or ``cuda``; where several machines have one, with what
    tells them apart. A benchmark that is in several files is taken from the newest.
    """
    found: dict[tuple[str, str], Measurements] = {}
    for path in sorted(FOLDER.glob("*.json"), key=_made):
        run = read(path)
        for device, rows in run.rows.groupby("device"):
            key = (str(device), json.dumps(run.machine, sort_keys=True))
            before = found.pop(key, Measurements(run.machine, rows[:0]))
            older = before.rows[~before.rows["name"].isin(rows["name"])]
            commits = tuple(dict.fromkeys((*before.commits, *run.commits)))
            both = pd.concat([older, rows], ignore_index=True) if len(older) else rows
            found[key] = Measurements(run.machine, both, commits)
    keys = sorted(reversed(found), key=lambda key: key[0])
    machines = {device: [found[k].machine for k in keys if k[0] == device] for device, _ in keys}
    return {_title(device, found[device, m].machine, machines[device]): found[device, m]
            for device, m in keys}  # fmt: skip


def _made(path: Path) -> tuple[str, str]:
    return str(json.loads(path.read_text()).get("datetime", "")), path.name


def _title(device: str, machine: Mapping[str, Any], machines: Sequence[Mapping[str, Any]]) -> str:
    """The device, and of the machine what differs between those that have one."""
    differing = [
        f"{key} {value}"
        for key, value in machine.items()
        if any(other.get(key) != value for other in machines)
    ]
    return f"{device} ({', '.join(differing)})" if differing else device


def newest(
    runs: Mapping[str, Measurements], device: str, work: str, **where: Any
) -> Measurements | None:
    """Of the machines with such a device, the newest that has rows of this work; or None."""
    found = (run for run in runs.values() if len(run.of(work, device=device, **where)))
    return next(found, None)


def read(path: Path) -> Measurements:
    """One file, of one machine. A row that names no device is of that in the name of the file.

    Raises
    ------
    ValueError
        If it is not of pytest-benchmark, or was not written by ``make bench``.
    """
    held = json.loads(path.read_text())
    if "benchmarks" not in held or "cores" not in held.get("machine_info", {}):
        raise ValueError(f"{path} was not written by `make bench`: run that, or remove the file")
    device = path.stem.partition("-")[0]
    rows = [
        {"name": row["name"], "device": device, **one}
        for row in held["benchmarks"]
        if "work" in row["extra_info"]
        for one in _rows(row["extra_info"], row["stats"])
    ]
    columns = None if rows else ["name", "device", "work", "by", "seconds"]
    of_run = held.get("commit_info", {})
    commit = str(of_run.get("id") or "")[:7] + (" and changes" if of_run.get("dirty") else "")
    return Measurements(
        held["machine_info"], pd.DataFrame(rows, columns=columns), (commit,) if commit else ()
    )


def _rows(info: Mapping[str, Any], stats: Mapping[str, float]) -> list[dict[str, Any]]:
    """What one benchmark says: a row, or one for each library that it timed in turn."""
    about = {key: value for key, value in info.items() if key != "times"}
    units = info.get("units", 1)
    if "times" not in info:
        median, least, most = (stats[key] / units for key in ("median", "min", "max"))
        rounds = stats["rounds"]
        return [about | {"seconds": median, "least": least, "most": most, "rounds": rounds}]
    return [
        about | {
            "by": by, "seconds": statistics.median(times), "least": min(times),
            "most": max(times), "rounds": len(times),
        }
        for by, times in info["times"].items()
    ]  # fmt: skip


def reached_at(curve: dict[str, Any], score: float) -> float | None:
    """Seconds of training until the score was first reached, or None."""
    times = zip(curve["seconds"], curve["ndcg@20"], strict=True)
    return next((float(seconds) for seconds, found in times if found >= score), None)


def best(curves: list[dict[str, Any]]) -> dict[str, Any]:
    """The setting whose curve rises highest."""
    return max(curves, key=lambda curve: max(curve["ndcg@20"]))


def fastest_to(curves: list[dict[str, Any]], score: float) -> float | None:
    """Seconds of training until the first of the settings reaches the score, or None."""
    found = (reached_at(curve, score) for curve in curves)
    return min((seconds for seconds in found if seconds is not None), default=None)


def to_equal_quality(
    ours: list[dict[str, Any]], theirs: list[dict[str, Any]]
) -> tuple[float, float]:
    """Seconds of training, ours and theirs, to within a hundredth of the lower of the best scores.

    Of each library by the setting that is there first.
    """
    level = CLOSE * min(max(best(curves)["ndcg@20"]) for curves in (ours, theirs))
    found = [fastest_to(curves, level) for curves in (ours, theirs)]
    assert found[0] is not None and found[1] is not None  # the best curve rises above the level
    return found[0], found[1]
