"""What the claims of chapter 9 test, as predicates over its records."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from specrec_core.claims import (
    NOT_REPORTED,
    NOT_RUN,
    Comparison,
    Verdict,
    mean_interval,
    reported_file,
)
from specrec_core.records import Record
from specrec_core.wording import words

Test = Callable[[Mapping[str, Record]], tuple[bool, str]]

CUTS = (8, 16, 32, 64, 128)
HALF = 50.0  # per cent: Spk of directions of which no two are near
SONGS = (
    ("cornell-yes1k", "distinct"),
    ("cornell-yes1k", "repeats"),
    ("lastfm-kgat", "distinct"),
    ("lastfm-kgat", "repeats"),
)
ARTISTS = (("lastfm-hetrec", "distinct"),)
FILMS = (("ml-latest-small", "distinct"), ("ml-100k", "distinct"))
TABLES = (*SONGS, *ARTISTS, *FILMS)
UPPER, WHOLE, ARPACK = ", upper triangle", ", whole lists", ", arpack"


def label(dataset: str, counted: str = "distinct") -> str:
    return f"{dataset} {counted}"


EVERY = tuple(label(*each) for each in TABLES)


@dataclass(frozen=True)
class OutOfReach(Comparison):
    """A reported number on data that nobody can fetch: it is compared with nothing, and says why.

    ``label`` and ``metric`` name what would be run.
    """

    def verdict(self, records: Mapping[str, Record | None]) -> Verdict:
        reported, outcome, source = NOT_REPORTED, NOT_REPORTED, ""
        if self.reported is not None and self.reported.value is not None:
            reported = f"{self.reported.value:.{self.digits}f} ({self.reported.provenance})"
            outcome, source = NOT_RUN, self.reported.source
        return Verdict(self.statement, reported, "–", outcome, self.note, source=source)


def _mean(record: Record, metric: str) -> float:
    return mean_interval(record.metrics[metric])[0]


def short(name: str) -> str:
    dataset, _, counted = name.partition(" ")
    return words(dataset) + (f" ({counted})" if counted not in ("", "distinct") else "")


def _measure(metric: str) -> str:
    """``spk@64 cos=0.9`` is ``Spk at f = 64, cos 0.9``."""
    what, _, f = metric.replace("peaks", "number of peaks").partition("@")
    what = what.replace("spk", "Spk").replace("items", "number of items")
    return f"{what} at {words('f=' + f)}" if f else what


def _span(values: Collection[float]) -> str:
    low, *_, high = sorted((*values, *values))
    return f"{low:.2f}" if low == high else f"{low:.2f} to {high:.2f}"


def few_peaks(f: int) -> Test:
    """Spk@f is below 1 % on every data set."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        share = {name: _mean(record, f"spk@{f}") for name, record in records.items()}
        holds = max(share.values()) < 1.0
        few = [short(name) for name, value in share.items() if value < 1.0]
        which = "all" if holds else ", ".join(few) or "none"
        return holds, f"{_span(share.values())} %; below 1 %: {which}"

    return test


def grows(records: Mapping[str, Record]) -> tuple[bool, str]:
    """From each f to the next, in every seed."""
    factors = {
        name: min(
            after / before
            for f, g in pairwise(CUTS)
            for before, after in zip(
                record.metrics[f"peaks@{f}"], record.metrics[f"peaks@{g}"], strict=True
            )
        )
        for name, record in records.items()
    }
    least = min(factors, key=lambda name: factors[name])
    return factors[least] > 1, f"{factors[least]:.1f} times at least ({short(least)})"


def spikier(metric: str, groups: Mapping[str, tuple[str, ...]]) -> Test:
    """Every data set of the first group has a smaller Spk than every one of the second."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        (less, left), (more, right) = (
            (kind, [_mean(records[name], metric) for name in names])
            for kind, names in groups.items()
        )
        said = f"{less} {_span(left)}, {more} {_span(right)} %"
        return max(left) < min(right), said

    return test


def longer_in_music(records: Mapping[str, Record]) -> tuple[bool, str]:
    spread = {name: _mean(record, "spread inside spikes@64") for name, record in records.items()}
    films = {label(*each): spread.pop(label(*each)) for each in FILMS}
    holds = min(spread.values()) > max(films.values())
    return holds, f"music {_span(spread.values())}, films {_span(films.values())}"


def below_chance(records: Mapping[str, Record]) -> tuple[bool, str]:
    """At f = 16 and more, less than half of what the smaller of the two Gaussian clouds has.

    Records have clouds up to f = 32. A table whose cloud needs half of the points there has half
    at larger f too; for the others clouds are made from the spectrum of the record.
    """
    worst: dict[str, float] = {}
    for name, record in records.items():
        chance: dict[int, float] = {}
        for f in (16, 32):
            found = [_mean(record, k) for k in record.metrics if k.endswith(f"gaussian spk@{f}")]
            chance[f] = min([*found, HALF])
        for f in (64, 128):
            chance[f] = HALF if chance[32] > 0.99 * HALF else min(_cloud(record, f), HALF)
        worst[name] = max(_mean(record, f"spk@{f}") / least for f, least in chance.items())
    most = max(worst, key=lambda name: worst[name])
    return worst[most] < 0.5, f"at most {worst[most]:.3f} of it ({short(most)})"


def _cloud(record: Record, f: int) -> float:
    """Spk@f in per cent of Gaussian clouds of the size and spectrum of a record, over seeds."""
    import numpy as np

    from specrec_core.spikes import random_spk

    n = round(_mean(record, "items"))
    spectra = np.array(record.spectrum["graph"])  # seeds, directions
    shares = [random_spk(n, f, spectrum=s[:f], seed=seed) for seed, s in enumerate(spectra)]
    return 100 * mean_interval(shares)[0]


def upper_is_higher(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Of all pairs of cells with the same data, input and f, in most."""
    cells = [
        _mean(records[name + UPPER], f"peaks@{f}") > _mean(records[name], f"peaks@{f}")
        for name in EVERY
        for f in CUTS
    ]
    return 2 * sum(cells) > len(cells), f"in {sum(cells)} of {len(cells)} cells"


def norm_is_strength(records: Mapping[str, Record]) -> tuple[bool, str]:
    ranks = {
        what: {name: _mean(record, f"norm and {what}@64") for name, record in records.items()}
        for what in ("strength", "popularity")
    }
    holds = all(ranks["strength"][name] > ranks["popularity"][name] for name in records)
    spans = [f"{what} {min(r.values()):.2f} to {max(r.values()):.2f}" for what, r in ranks.items()]
    return holds, "rank correlation with " + ", with ".join(spans)


def seeds_agree(records: Mapping[str, Record]) -> tuple[bool, str]:
    """The extreme seeds lie within 5 % of the mean, in every cell."""
    worst = {
        f: max(
            max(abs(v / mean_interval(values)[0] - 1) for v in values)
            for values in (record.metrics[f"peaks@{f}"] for record in records.values())
        )
        for f in CUTS
    }
    said = ", ".join(f"f = {f}: {100 * value:.1f} %" for f, value in worst.items())
    return max(worst.values()) <= 0.05, f"largest deviation from the mean, {said}"


def arpack_agrees(records: Mapping[str, Record]) -> tuple[bool, str]:
    gaps = {
        f: max(
            abs(
                _mean(records[name + ARPACK], f"peaks@{f}") / _mean(records[name], f"peaks@{f}") - 1
            )
            for name in EVERY
        )
        for f in CUTS
    }
    said = ", ".join(f"f = {f}: {100 * value:.1f} %" for f, value in gaps.items())
    return max(gaps.values()) <= 0.05, f"largest difference, {said}"


@cache
def earlier() -> tuple[tuple[str, str, float], ...]:
    """Label, metric and value of each number that our earlier implementation measured."""
    found = []
    with open(reported_file("reference_spikes"), encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            name = label(row["dataset"], row["input"])
            if row["matrix"] == "adjacency":
                name = row["dataset"]
            elif row["matrix"] == "upper triangle":
                name += UPPER
            found.append((name, row["metric"], float(row["value"])))
    return tuple(found)


def as_before(metric: Callable[[str], bool], tolerance: float) -> Test:
    """What the earlier implementation found is met within ``tolerance``, or half its last digit."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        gaps = {
            f"{short(name)}, {_measure(which)}": abs(_mean(records[name], which) / value - 1)
            for name, which, value in earlier()
            if metric(which) and value
        }
        worst = max(gaps, key=lambda key: gaps[key])
        met = sum(gap <= tolerance for gap in gaps.values())
        said = f"{met} of {len(gaps)}; the farthest, {worst}, is {100 * gaps[worst]:.1f} % off"
        return met == len(gaps), said

    return test
