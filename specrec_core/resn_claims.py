"""Part III, Popularity: what chapter 8 asks of its records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from specrec_core.claims import mean_interval, number, show
from specrec_core.records import Record
from specrec_core.wording import listed

Test = Callable[[Mapping[str, Record]], tuple[bool, str]]
ACCURACY, POPULAR = "ndcg@20", "share[4]@20"
MOST_POPULAR = "share of the most popular 20%@20"


def mean(record: Record, metric: str) -> float:
    return mean_interval(record.metrics[metric])[0]


def change(records: Mapping[str, Record], pair: tuple[str, str], metric: str) -> float:
    """Relative change of a mean over seeds, from the second label of a pair to the first."""
    return mean(records[pair[0]], metric) / mean(records[pair[1]], metric) - 1


def up_to(pairs: Sequence[tuple[str, str]], metric: str, reported: float) -> Test:
    """The largest of several relative changes is at least nine tenths of the reported one.

    With a negative ``reported`` the change furthest down is meant. A change counts only where the
    95 % intervals over seeds are apart.
    """

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = {pair: change(records, pair, metric) for pair in pairs}
        signed = {pair: value if reported > 0 else -value for pair, value in found.items()}
        apart = {
            pair: lower(pair[::-1] if reported > 0 else pair, metric)(records)[0] for pair in pairs
        }
        shown = listed({pair[0]: f"{value:+.1%}" for pair, value in found.items()})
        return any(apart[p] and signed[p] >= 0.9 * abs(reported) for p in pairs), shown

    return test


def better_front(others: Sequence[str], ours: Sequence[str]) -> Test:
    """Where both reach, ours dominate every other point, and no other point dominates ours.

    A point dominates another with at least its accuracy and at most its popular share, in means
    over seeds. To be dominated, those others are asked whose popular share lies in the range of
    ours.
    """

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        at = {
            label: (mean(records[label], ACCURACY), mean(records[label], POPULAR))
            for label in (*others, *ours)
        }

        def under(label: str, rivals: Sequence[str]) -> bool:
            return any(at[r][0] >= at[label][0] and at[r][1] <= at[label][1] for r in rivals)

        low, high = (pick(at[label][1] for label in ours) for pick in (min, max))
        rivals = [label for label in others if low <= at[label][1] <= high]
        theirs = sum(under(label, ours) for label in rivals)
        lost = sum(under(label, others) for label in ours)
        return theirs == len(rivals) > 0 and not lost, (
            f"{theirs} of {len(rivals)} rivals in range are dominated, and {lost} of the "
            f"{len(ours)} settings of ReSN are dominated by rivals"
        )

    return test


def faster(slow: str, quick: str, factor: float) -> Test:
    """One way takes at most 1/factor of the time of another, in the least ratio over sizes."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        ratios = {
            label: mean(r, f"seconds by {slow}") / mean(r, f"seconds by {quick}")
            for label, r in records.items()
        }
        shown = listed({label: f"{number(ratio, 0)}×" for label, ratio in ratios.items()})
        return min(ratios.values()) >= factor, shown

    return test


def sees(metric: str, least: float) -> Test:
    """What one power step sees of σ₁ is at least that share of it, in every record and seed."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        holds = all(min(r.metrics[metric]) >= least for r in records.values())
        return holds, listed({label: f"{mean(r, metric):.2f}" for label, r in records.items()})

    return test


def lower(pair: tuple[str, str], metric: str) -> Test:
    """The 95 % intervals over seeds are apart, with the first label below."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        (a, half_a), (b, half_b) = (mean_interval(records[x].metrics[metric]) for x in pair)
        shown = {label: show(records[label].metrics[metric]) for label in pair}
        return a + half_a < b - half_b, listed(shown)

    return test


def both_somewhere(labels: Sequence[str], plain: str) -> Test:
    """One of the settings has a lower popular share and a higher accuracy, intervals apart."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        shown = {
            label: f"{change(records, (label, plain), POPULAR):+.1%} head, "
            f"{change(records, (label, plain), ACCURACY):+.1%} NDCG@20"
            for label in labels
        }
        holds = any(
            lower((label, plain), POPULAR)(records)[0]
            and lower((plain, label), ACCURACY)(records)[0]
            for label in labels
        )
        return holds, listed(shown)

    return test


def falls_when_smaller(curve: str, by: float) -> Test:
    """From a factor of 1 for σ₁ down to 0 a share falls by at least that part of it, everywhere."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = {}
        for label, record in records.items():
            factors = record.history["scaled by factor"][0]
            one, none = factors.index(1.0), factors.index(0.0)
            series = record.history[curve]
            before, after = (sum(s[k] for s in series) / len(series) for k in (one, none))
            found[label] = after / before - 1
        shown = listed({label: f"{value:+.1%}" for label, value in found.items()})
        return max(found.values()) <= -by, shown

    return test
