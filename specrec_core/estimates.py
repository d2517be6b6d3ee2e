"""How long an experiment should take, from the records there are; and spans of time as text."""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Sequence

from specrec_core.parts import Work
from specrec_core.records import Experiment, Record
from specrec_core.studies import Study


class Estimate:
    """Seconds that an experiment should take, from the records there are.

    Time is taken as proportional to training interactions × dimension × negatives × epochs run.
    The constant is the median over the records that are most alike: of the same model, data set,
    loss and sampling; else of the same model and data set; else of the same model; on the same
    kind of device. The epochs run are the median share of the budget that early stopping left, of
    the same records. A study is expected to take what the studies of its kind took on its data, or
    else on any, the median per seed.
    """

    def __init__(self, past: Sequence[Record], device: str) -> None:
        self.rates: dict[tuple[str, ...], list[float]] = {}
        self.shares: dict[tuple[str, ...], list[float]] = {}
        self.sizes: dict[str, int] = {}
        for r in past:
            e = r.experiment
            if isinstance(e, Study):
                for key in _alike(e):
                    self.rates.setdefault(key, []).extend(r.seconds)
                continue
            self.sizes[e.dataset] = r.data["train"]
            if r.device.startswith("cpu") != (device == "cpu"):
                continue
            work = self._work(e, self.sizes[e.dataset])
            ran = [epochs for epochs in r.epochs_run if epochs]
            spent = [s / n / work for s, n in zip(r.seconds, r.epochs_run, strict=True) if n]
            for key in _alike(e):
                self.rates.setdefault(key, []).extend(spent)
                self.shares.setdefault(key, []).extend(epochs / e.epochs for epochs in ran)

    @staticmethod
    def _work(e: Experiment, interactions: int) -> float:
        return interactions * e.dim * (2 + e.negatives)

    def seconds(self, e: Work) -> float | None:
        """For all seeds together, one after another; None where no record tells."""
        key = next((key for key in _alike(e) if self.rates.get(key)), None)
        if key is None:
            return None
        rate = statistics.median(self.rates[key]) * len(e.seeds)
        if isinstance(e, Study):
            return rate
        if e.dataset not in self.sizes:
            return None
        epochs = e.epochs * statistics.median(self.shares[key])
        return rate * self._work(e, self.sizes[e.dataset]) * epochs


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
