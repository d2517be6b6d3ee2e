"""Part III, Popularity: what the claims of its chapters ask of their records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from specrec_core.claims import mean_interval, show
from specrec_core.powerlaws import steepest_law_above
from specrec_core.records import Record
from specrec_core.wording import listed, words

Test = Callable[[Mapping[str, Record]], tuple[bool, str]]

RULED_OUT = 0.1  # Clauset, Shalizi and Newman: at p ≤ 0.1 a power law is ruled out
NEEDED = 1.7286472389982  # rank exponent from which the corollary speaks: ζ(α) = 2
ORDERED = 0.95
ABOVE = 0.98
SERIES = {"share[4]@20": "share of the head", "share of sigma1 of scores": "share of σ₁"}


def mean(record: Record, metric: str) -> float:
    return mean_interval([v for v in record.metrics[metric] if v is not None])[0]


def _listed(values: Mapping[str, float], digits: int = 3) -> str:
    return listed({name: f"{value:.{digits}f}" for name, value in values.items()})


def plausible_tail(records: Mapping[str, Record]) -> tuple[bool, str]:
    """The bootstrap does not rule the power law out: p above 0.1."""
    (record,) = records.values()
    p, share = mean(record, "p"), mean(record, "share of items")
    shown = f"= {p:.3f}" if p >= 0.001 else "< 0.001"
    return p > RULED_OUT, (
        f"p {shown} on the {share:.0%} of items with at least {mean(record, 'xmin'):.0f} pairs"
    )


def steep_enough(records: Mapping[str, Record]) -> tuple[bool, str]:
    """The rank exponent of the fitted tail is one for which the corollary says something."""
    found = {label: mean(r, "rank exponent") for label, r in records.items()}
    return min(found.values()) > NEEDED, _listed(found, 2)


def below_a_law(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Every item's count is at most r_max · rank^−α for some α above 1."""
    found = {
        label: steepest_law_above(r.history["rank"][0], r.history["count"][0])
        for label, r in records.items()
    }
    return min(found.values()) > 1, _listed(found, 2)


def speaks(records: Mapping[str, Record]) -> tuple[bool, str]:
    """What stands under the root of the counting bound is not negative."""
    found = {label: mean(r, "under the root") for label, r in records.items()}
    return min(found.values()) >= 0, _listed(found, 1)


def closer_than_constant(records: Mapping[str, Record]) -> tuple[bool, str]:
    """q₁ of the interactions is closer to popularity than the constant vector is, everywhere."""
    found = {label: (mean(r, "cos(q1, r)"), mean(r, "cos(e, r)")) for label, r in records.items()}
    holds = all(a > b for a, b in found.values())
    return holds, listed({n: f"{a:.2f} ({b:.2f})" for n, (a, b) in found.items()})


def aligned(least: float = ABOVE, metric: str = "alignment with popularity") -> Test:
    """The alignment of trained scores with popularity is above ``least``, in every seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = {k: r.metrics[metric] for k, r in records.items()}
        holds = all(min(values) > least for values in found.values())
        return holds, listed({label: show(values, 3) for label, values in found.items()})

    return test


def no_closer_than_constant(records: Mapping[str, Record]) -> tuple[bool, str]:
    """q₁ of scores before the activation is no closer to r than a constant vector, in any seed."""
    found = {
        k: (r.metrics["cos(q1, r) of scores"], r.metrics["cos(e, r) of scores"])
        for k, r in records.items()
    }
    holds = all(a <= b for pair in found.values() for a, b in zip(*pair, strict=True))
    return holds, listed(
        {
            k: f"{mean(records[k], 'cos(q1, r) of scores'):.2f} ({b[0]:.2f})"
            for k, (_, b) in found.items()
        }
    )


def rise_after_peak(runs: Sequence[Sequence[float]]) -> float:
    """By how much a mean over seeds rises again, at most, once past its largest value."""
    values = [sum(at) / len(at) for at in zip(*runs, strict=True)]
    lowest, worst = max(values), 0.0
    for value in values[values.index(lowest) :]:
        lowest = min(lowest, value)
        worst = max(worst, value - lowest)
    return worst


def falls_after_peak(series: Sequence[str], most: float = 0.01) -> Test:
    """From its largest value on, a mean over seeds never rises by more than ``most``."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        worst, where = 0.0, ""
        for label, record in records.items():
            for name in series:
                rise = rise_after_peak(record.history[name])
                if rise > worst:
                    worst, where = rise, f": {SERIES.get(name, name)}, {words(label)}"
        return worst <= most, f"largest rise {worst:.3f}{where}"

    return test


def ends_lower(name: str) -> Test:
    """The last value of a series is below its first, in every run and seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        ends = [(run[0], run[-1]) for r in records.values() for run in r.history[name]]
        first, last = zip(*ends, strict=True)
        holds = all(b < a for a, b in ends)
        return holds, f"{min(first):.2f} or more before, {max(last):.2f} or less after"

    return test


def rises_first(name: str, factor: float) -> Test:
    """The peak of a series is at least ``factor`` times its last value, in the mean over seeds."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = {}
        for label, record in records.items():
            runs = record.history[name]
            values = [sum(at) / len(at) for at in zip(*runs, strict=True)]
            found[label] = (max(values), values[-1])
        shown = listed({k: f"{a:.2f} to {b:.2f}" for k, (a, b) in found.items()})
        return all(a >= factor * b for a, b in found.values()), shown

    return test


def falls_with_dimension(metric: str) -> Test:
    """A curve over d falls at every step of d where it can, in the mean over seeds.

    It can where it is below 1 or falls next.
    """

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        ends, holds = {}, True
        for label, record in records.items():
            series = [sum(v) / len(v) for v in zip(*record.history[metric], strict=True)]
            holds &= all(a > b or (a == b == 1.0) for a, b in pairwise(series))
            holds &= series[-1] < series[0]
            ends[label] = (series[0], series[-1])
        found = listed({k: f"{a:.2f} to {b:.2f}" for k, (a, b) in ends.items()})
        d = next(iter(records.values())).history["d"][0]
        return holds, f"from d = {d[0]} to {d[-1]}; {found}"

    return test


def falls_with_width(metric: str) -> Test:
    """Over trained models of growing dimension a metric falls, in the mean over seeds."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = sorted((r.training.dim, mean(r, metric)) for r in records.values())
        holds = all(a > b for (_, a), (_, b) in pairwise(found))
        return holds, "at d = " + ", ".join(f"{dim}: {value:.3f}" for dim, value in found)

    return test


def leads_less_when_wider(records: Mapping[str, Record]) -> tuple[bool, str]:
    """σ₁/Σσ of trained scores falls as the dimension grows, in the mean over seeds."""
    found = []
    for record in records.values():
        shares = [s[0] / sum(s) for s in record.spectrum["scores"]]
        found.append((record.training.dim, sum(shares) / len(shares)))
    found.sort()
    holds = all(a > b for (_, a), (_, b) in pairwise(found))
    return holds, "at d = " + ", ".join(f"{dim}: {share:.3f}" for dim, share in found)


def in_order(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Of at least 95 % of pairs of modes the larger is learned first, in every seed."""
    found = {label: min(r.metrics["in order"]) for label, r in records.items()}
    return min(found.values()) >= ORDERED, "in the worst seed " + _listed(found, 3)


def spread_less(few: str, many: str) -> Test:
    """The last mode over the first, in steps: less than half as much, in every seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        a, b = records[few].metrics["spread"], records[many].metrics["spread"]
        holds = all(x < y / 2 for x, y in zip(a, b, strict=True))
        return holds, f"{show(a, 1)} against {show(b, 1)}"

    return test


def share_falls(records: Mapping[str, Record]) -> tuple[bool, str]:
    """σ₁/Σσ of the model never rises by more than 0.01 during training, in every seed and start."""
    worst = {}
    for label, record in records.items():
        rises = []
        for series in record.history["share"]:
            lowest, rise = series[0], 0.0
            for value in series:
                lowest, rise = min(lowest, value), max(rise, value - lowest)
            rises.append(rise)
        worst[label] = max(rises)
    return max(worst.values()) <= 0.01, "largest rise; " + _listed(worst, 2)


def overshoots(labels: Sequence[str], factor: float) -> Test:
    """The peak of σ₁/Σσ is at least ``factor`` times that of the target, in every seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = {}
        for label in labels:
            r = records[label].metrics
            pairs = zip(r["peak share"], r["share of the target"], strict=True)
            found[label] = min(a / b for a, b in pairs)
        return min(found.values()) >= factor, _listed(found, 2)

    return test
