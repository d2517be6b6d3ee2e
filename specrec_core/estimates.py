"""From the records there are: how long an experiment should take, and what may run beside it."""

from __future__ import annotations

import argparse
import math
import re
import statistics
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from specrec_core.parts import Together, Work
from specrec_core.records import Experiment, Record
from specrec_core.studies import Study


class Estimate:
    """Seconds that an experiment should take, from the records there are.

    An epoch is taken to last a + b · interactions × dimension × negatives, with a and b at least 0
    by least squares of logarithms, over the records that are most alike: of the same model, data
    set, loss and sampling; else of the same model and data set; else of the same model; on the same
    kind of device. (Where all of these have one size, a is 0.) The epochs run are the median
    share of the budget that early stopping left, of the same records. A study is expected to take
    what the studies of its kind took on its data, or else on any, the median per seed.
    """

    def __init__(self, past: Sequence[Record], device: str) -> None:
        self.on_cpu = device == "cpu"
        self.studies: dict[tuple[str, ...], list[float]] = {}
        self.epochs: dict[tuple[str, ...], list[tuple[float, float]]] = {}  # work, seconds of one
        self.shares: dict[tuple[str, ...], list[float]] = {}
        self.sizes: dict[str, int] = {}
        self._lines: dict[tuple[str, ...], tuple[float, float]] = {}
        for record in past:
            self.learn(record)

    def learn(self, r: Record) -> None:
        """Take a further record into account."""
        e = r.experiment
        if isinstance(e, Study):
            for key in _alike(e):
                self.studies.setdefault(key, []).extend(r.seconds)
            return
        self.sizes[e.dataset] = r.data["train"]
        if r.device.startswith("cpu") != self.on_cpu:
            return
        work = self._work(e)
        spent = [(work, s / n) for s, n in zip(r.seconds, r.epochs_run, strict=True) if n]
        for key in _alike(e) if spent else ():
            self.epochs.setdefault(key, []).extend(spent)
            self.shares.setdefault(key, []).extend(n / e.epochs for n in r.epochs_run if n)
            self._lines.pop(key, None)

    def _work(self, e: Experiment) -> float:
        return self.sizes[e.dataset] * e.dim * (2 + e.negatives)

    def seconds(self, e: Work | Together) -> float | None:
        """For all seeds, one after another; None where no record tells.

        Of experiments that train together no more is known than that they take less.
        """
        if isinstance(e, Together):
            each = [self.seconds(one) for one in e.experiments]
            return sum(s for s in each if s) if any(s is not None for s in each) else None
        known = self.studies if isinstance(e, Study) else self.epochs
        key = next((key for key in _alike(e) if key in known), None)
        if key is None:
            return None
        if isinstance(e, Study):
            return statistics.median(self.studies[key]) * len(e.seeds)
        if e.dataset not in self.sizes:
            return None
        if key not in self._lines:
            self._lines[key] = _line(self.epochs[key])
        fixed, slope = self._lines[key]
        epochs = e.epochs * statistics.median(self.shares[key])
        return (fixed + slope * self._work(e)) * epochs * len(e.seeds)


class Room:
    """The memory of this machine, shared by steps under way at once: what would not fit waits.

    A step takes what `specrec_core.memory.needed` says of one seed on a CPU, as far as a record
    tells how large its data are; a study, and what no record tells of, counts as nothing.
    """

    def __init__(self, past: Sequence[Record]) -> None:
        import torch

        from specrec_core import memory

        self.free = memory.available(torch.device("cpu"))
        self._sizes: dict[str, Mapping[str, Any]] = {}
        self._alone: set[str] = set()
        for record in past:
            self.learn(record)

    def learn(self, record: Record) -> None:
        """Take the size of its data from a record."""
        if isinstance(record.experiment, Experiment):
            self._sizes[record.experiment.dataset] = record.data

    def alone(self, step: Work | Together) -> None:
        """From now on nothing runs beside that step."""
        self._alone.add(step.name)

    def needs(self, step: Work | Together) -> float:
        """Bytes; infinite for what is to be alone."""
        from specrec_core import memory

        if step.name in self._alone:
            return math.inf
        if not isinstance(step, Experiment) or step.dataset not in self._sizes:
            return 0.0
        return memory.needed(step, self._sizes[step.dataset], replicas=1)["total"]

    def fits(self, step: Work | Together, beside: Collection[Work | Together]) -> bool:
        """Whether a step may start beside those under way; beside none any may, and is checked."""
        return not beside or sum(map(self.needs, [step, *beside])) <= self.free


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """``a, b ≥ 0`` with seconds ≈ a + b · work, of least squares of the logarithms."""
    work, seconds = np.array(points).T
    share, logs = work / work.max(), np.log(seconds)
    if np.ptp(work) == 0.0:
        return 0.0, float(np.exp(logs.mean()) / work.max())

    def off(x: np.ndarray) -> np.ndarray:
        return np.logaddexp(x[0], x[1] + np.log(share)) - logs

    fixed, slope = np.exp(least_squares(off, [logs.min(), logs.max()]).x)
    return float(fixed), float(slope / work.max())


def _alike(e: Work) -> list[tuple[str, ...]]:
    """What experiments have in common that take alike, from much to little."""
    if isinstance(e, Study):
        return [(e.kind, e.dataset), (e.kind,)]
    return [(e.model, e.dataset, e.loss, e.positives), (e.model, e.dataset), (e.model,)]


def span(seconds: float | None) -> str:
    """Seconds as ``40 s``, ``9 min`` or ``1.5 h``; ``unknown`` for None."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def duration(text: str) -> float:
    """``9m``, ``90s``, ``1.5h`` or plain seconds, as seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a duration such as 90s, 9m or 1.5h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]
