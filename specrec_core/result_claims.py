"""What chapter 5 claims about balanced spectra as recommenders, as predicates over records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from specrec_core.claims import Claim, mean_interval, show
from specrec_core.records import Record
from specrec_core.wording import listed, words

Test = Callable[[Mapping[str, Record]], tuple[bool, str]]
METRIC = "ndcg@10"
NEARLY = 0.95  # of all directions, or of a method's own best validation score
SETTINGS = "Was each setting that was run the one that validation chose?"
SECOND_HAND = "Peng et al. 2024, as a summary has it"


def gains(method: str, baseline: str, least: float) -> Test:
    """The method beats the baseline by at least nine tenths of what was reported, in the means."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        values = {label: records[label].metrics[METRIC] for label in (method, baseline)}
        found = mean_interval(values[method])[0] / mean_interval(values[baseline])[0] - 1
        evidence = listed({label: show(v) for label, v in values.items()})
        return found >= 0.9 * least, f"{found:+.1%}; {evidence}"

    return test


def stays_full(records: Mapping[str, Record]) -> tuple[bool, str]:
    """At no evaluated epoch, in no seed, a table uses fewer than `NEARLY` of its directions."""
    (record,) = records.values()
    lowest = {
        side: min(min(series) for series in record.history[f"effective rank of {side}"])
        for side in ("users", "items")
    }
    evidence = ", ".join(f"{side} never below {low:.1f}" for side, low in lowest.items())
    evidence += f"; epochs {show(record.epochs_run, 0)}, best {show(record.selected_epoch, 0)}"
    return min(lowest.values()) >= NEARLY * record.training.dim, evidence


def ordered(first: str, second: str, third: str, side: str) -> Test:
    """Every seed of a method has a lower effective rank of a table than any seed of the next."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        ranks = {m: records[m].metrics[f"effective rank of {side}"] for m in (first, second, third)}
        holds = max(ranks[first]) < min(ranks[second]) and max(ranks[second]) < min(ranks[third])
        return holds, listed({m: show(v, 1) for m, v in ranks.items()})

    return test


def epochs_to_nearly(record: Record) -> list[int]:
    """The first evaluated epoch of each seed with `NEARLY` of its own best validation score."""
    name = f"validation {record.training.metric}"
    found = []
    for epochs, scores in zip(record.history["epoch"], record.history[name], strict=True):
        enough = NEARLY * max(scores)
        found.append(next(e for e, score in zip(epochs, scores, strict=True) if score >= enough))
    return found


def needs_fewer_epochs(method: str, baseline: str) -> Test:
    """Each seed of the method is nearly at its best before any of the baseline is at its own."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        epochs = {label: epochs_to_nearly(records[label]) for label in (method, baseline)}
        shown = listed({label: show(e, 0) for label, e in epochs.items()})
        return max(epochs[method]) < min(epochs[baseline]), shown

    return test


def better(method: str, baseline: str, metric: str = METRIC) -> Test:
    """The 95 % intervals over seeds are apart, with the method above."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        (a, half_a), (b, half_b) = (
            mean_interval(records[label].metrics[metric]) for label in (method, baseline)
        )
        shown = {label: show(records[label].metrics[metric]) for label in (method, baseline)}
        return a - half_a > b + half_b, listed(shown)

    return test


def alike(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Held-out pairs are nearer than test pairs one half of the time, by the interval."""
    (record,) = records.values()
    shares = record.metrics["held out is nearer"]
    mean, half = mean_interval(shares)
    return abs(mean - 0.5) <= half, f"{show(shares, 3)}; {record.data['users']} users"


def chosen_on_validation(title: str, labels: Sequence[str], chosen: int) -> Claim:
    """The setting with five seeds is the one with the best validation score of its grid."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        metric = records[labels[0]].training.metric
        scores = [records[label].metrics[f"validation {metric}"][0] for label in labels]
        best = max(range(len(scores)), key=scores.__getitem__)
        digits = [f"{score:.4f}" for score in scores]
        ties = [k + 1 for k in range(len(scores)) if k != best and digits[k] == digits[best]]
        shown = f"{', '.join(digits)}; the best is number {best + 1}"
        if ties:
            shown += f", number {' and '.join(map(str, ties))} the same to four digits"
        return best == chosen, f"validation {metric.upper()} {shown}"

    place = f"number {chosen + 1} of {len(labels)}"
    statement = f"{title}: {place} is the best of its grid on validation"
    return Claim(statement, tuple(labels), test, group=SETTINGS)


def every_choice_on_validation(where: str, grids: Mapping[str, Sequence[str]]) -> Claim:
    """The settings that were chosen, labels of ``grids``, are the best of their grids."""
    every = [label for labels in grids.values() for label in labels]

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        others = []
        for chosen, labels in grids.items():
            metric = records[labels[0]].training.metric
            scores = {x: records[x].metrics[f"validation {metric}"][0] for x in labels}
            if (best := max(scores, key=scores.__getitem__)) != chosen:
                others.append(best)
        return not others, "; ".join(f"better: {words(x)}" for x in others) or "all are"

    statement = f"{where}: the settings are the best of their grids on validation"
    return Claim(statement, tuple(every), test, group=SETTINGS)
