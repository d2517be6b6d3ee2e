"""Part V, Scaling: claims that set a metric of some records beside that of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from specrec_core.claims import mean_interval, show, show_difference
from specrec_core.records import Record
from specrec_core.wording import listed

Test = Callable[[Mapping[str, Record]], tuple[bool, str]]
Floats = NDArray[np.float64]


def below(low: str, high: str, metric: str) -> Test:
    """A metric of one record lies below that of another in every seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        a, b = records[low].metrics[metric], records[high].metrics[metric]
        share = np.mean([x < y for x, y in zip(a, b, strict=True)])
        return share == 1, f"{show(a, 2)} against {show(b, 2)}; in {share:.0%} of seeds"

    return test


def gains(metric: str, least: float) -> Test:
    """The second record exceeds the first by ``least``, at the lower end of the 95 % interval of
    the difference, seed by seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        before, after = (record.metrics[metric] for record in records.values())
        mean, half = _difference(before, after)
        return mean - half >= least, _shown(before, after) + _unsure(mean, half, least)

    return test


def costs_more(metric: str) -> Test:
    """From the third record to the fourth a larger share of a metric is lost than from the first to
    the second: seed by seed, the 95 % interval of the difference lies above 0."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        first, second, third, fourth = (np.array(r.metrics[metric]) for r in records.values())
        lost, lost_later = 1 - second / first, 1 - fourth / third
        mean, half = mean_interval(list(lost_later - lost))
        return mean > half, f"{lost.mean():.1%} and {lost_later.mean():.1%} of it"

    return test


def no_gain(metric: str, least: float) -> Test:
    """The second record exceeds the first by less than ``least``, at the upper end of the 95 %
    interval of the difference, seed by seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        before, after = (record.metrics[metric] for record in records.values())
        mean, half = _difference(before, after)
        return mean + half < least, _shown(before, after) + _unsure(mean, half, least)

    return test


def raises(metric: str, share: float = 0.0) -> Test:
    """The second record lies above the first, by more than that share of it: seed by seed, the 95 %
    interval of the difference lies above 0. For runs that share what a seed draws."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        before, after = (record.metrics[metric] for record in records.values())
        least, most = _difference([(1 + share) * x for x in before], after)
        return least > most, _shown(before, after)

    return test


def _shown(before: Sequence[float], after: Sequence[float]) -> str:
    return f"{show(before)} and {show(after)}; {show_difference(after, before)} more in a seed"


def _unsure(mean: float, half: float, limit: float) -> str:
    return f", which cannot be told from {limit:g}" if abs(mean - limit) <= half else ""


def _difference(before: Sequence[float], after: Sequence[float]) -> tuple[float, float]:
    return mean_interval([b - a for a, b in zip(before, after, strict=True)])


def apart(metric: str) -> Test:
    """The second record lies above the first, and their 95 % intervals are apart."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        low, high = (record.metrics[metric] for record in records.values())
        (a, half), (b, other) = mean_interval(low), mean_interval(high)
        return a + half < b - other, f"{show(low, 4)} and {show(high, 4)}"

    return test


def gains_along(metric: str, start: str, least: float) -> Test:
    """From the record ``start`` to the best one, the mean of a metric gains the share ``least``."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        means = {name: mean_interval(r.metrics[metric])[0] for name, r in records.items()}
        best = max(means, key=means.__getitem__)
        gain = means[best] / means[start] - 1
        return gain >= least, f"{gain:.1%}, {means[start]:.4f} to {means[best]:.4f}"

    return test


def loses_in_order(metric: str, groups: Sequence[Sequence[tuple[str, str]]]) -> Test:
    """Noise takes a larger share of a metric from each model of a group than from any of the next.

    A model is the labels of its records without and with noise.
    """

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        mean = {name: mean_interval(record.metrics[metric])[0] for name, record in records.items()}
        lost = [[1 - mean[noisy] / mean[clean] for clean, noisy in group] for group in groups]
        holds = all(min(more) > max(less) for more, less in pairwise(lost))
        shown = {noisy: f"{x:.1%}" for g, own in zip(groups, lost, strict=True)
                 for (_, noisy), x in zip(g, own, strict=True)}  # fmt: skip
        return holds, f"lost by {listed(shown)}"

    return test


def reach(*records: Record) -> int:
    """The last epoch at which every run of some records was judged on validation."""
    return min(epochs[-1] for record in records for epochs in record.history["epoch"])


def on_validation(record: Record, epoch: int) -> Floats:
    """What each seed had on validation after that epoch, ``(R,)``."""
    found = zip(record.history["epoch"], record.history[_series(record)], strict=True)
    return np.array([values[epochs.index(epoch)] for epochs, values in found])


def taken_late(clean: Record, noisy: Record, after: int, of: int | None = None) -> Floats:
    """The share of what the clean run has on validation that the noisy one lacks, ``(R,)``.

    Of the noisy run after that many epochs; of the clean one after as many, or after ``of``.
    """
    before = on_validation(clean, after if of is None else of)
    return np.asarray(1 - on_validation(noisy, after) / before)


def past_best(record: Record, times: float | None = None) -> Floats:
    """The share of its best on validation that a run has lost at its end, ``(R,)``; or at
    ``times`` the best epoch."""
    lost = []
    for values in record.history[_series(record)]:
        best = int(np.argmax(values))
        late = len(values) - 1 if times is None else round(best * times)
        if late >= len(values):
            raise ValueError(f"a run ended after {len(values) - 1} epochs: expected {late}")
        lost.append(1 - values[late] / values[best])
    return np.array(lost)


def _series(record: Record) -> str:
    return f"validation {record.training.metric}"


def takes_more_late(
    more: Sequence[tuple[str, str]], less: Sequence[tuple[str, str]], shared: bool = False
) -> Test:
    """Noise takes more on validation from each pair (clean, noisy) of ``more`` than from any of
    ``less``, the intervals apart: each at the last epoch that both of its records reach, or all at
    the last one that all reach (``shared``)."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        of_all = reach(*records.values())
        lost, shown = {}, {}
        for pair in (*more, *less):
            clean, noisy = (records[label] for label in pair)
            epoch = of_all if shared else reach(clean, noisy)
            lost[pair] = mean_interval([float(x) for x in taken_late(clean, noisy, epoch)])
            mean, half = lost[pair]
            shown[pair[1]] = f"{mean:.1%} ± {half:.1%} at epoch {epoch}"
        least = min(lost[pair][0] - lost[pair][1] for pair in more)
        return least > max(lost[pair][0] + lost[pair][1] for pair in less), listed(shown)

    return test


def as_low(label: str, other: str, metric: str, room: float) -> Test:
    """The means of two records differ by at most ``room``."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        a, b = (records[name].metrics[metric] for name in (label, other))
        near = abs(mean_interval(a)[0] - mean_interval(b)[0]) <= room
        return near, f"{show(a, 2)} against {show(b, 2)}"

    return test


def grows_along(labels: Sequence[str], metric: str) -> Test:
    """The mean of a metric grows from each record to the next."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        means = [mean_interval(records[name].metrics[metric])[0] for name in labels]
        holds = all(b > a for a, b in pairwise(means))
        return holds, listed({k: f"{m:.2f}" for k, m in zip(labels, means, strict=True)})

    return test
