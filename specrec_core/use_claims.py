"""What the claims of chapter 11 test, as predicates over its records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from specrec_core.claims import mean_interval
from specrec_core.records import Record
from specrec_core.wording import listed, words

Test = Callable[[Mapping[str, Record]], tuple[bool, str]]

F = 64
DIMENSIONS = (8, 16, 32, 64, 128)
COSINE, DOT = "γ=0", "γ=1"
POWERS = ("γ=-0.25", COSINE, "γ=0.25", "γ=0.5", DOT)
GROUPS = 5
STEP = 1.5  # of the grid of f: "within one step"
CLOSE = 0.98  # of the best accuracy: "as good as"
STABLE = 0.8


def mean(record: Record, metric: str) -> float:
    return mean_interval(record.metrics[metric])[0]


def short(label: str) -> str:
    """The data set at the end of a label."""
    return words(label.rpartition(" ")[2])


def _listed(values: Mapping[str, float], digits: int = 2) -> str:
    return listed({name: f"{value:.{digits}f}" for name, value in values.items()})


def tracks(what: str, least: float) -> Test:
    """At f = 64 norms rank items by ``what``: Spearman at least ``least`` on every data set."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = {name: mean(r, f"norm against {what}, f={F}") for name, r in records.items()}
        return min(found.values()) >= least, _listed(found)

    return test


def sums_beat_norms(records: Mapping[str, Record]) -> tuple[bool, str]:
    """On every data set and at every f, row sums rank by strength better than norms do."""
    lost = []
    for name, record in records.items():
        for f in DIMENSIONS:
            sums, norm = (
                mean(record, f"{which} against strength, f={f}") for which in ("row sums", "norm")
            )
            if sums <= norm:
                lost.append(f"{short(name)}, f = {f}")
    cells = len(records) * len(DIMENSIONS)
    return not lost, f"{cells - len(lost)} of {cells}; not in {'; '.join(lost) or 'none'}"


def dot_is_more_popular(records: Mapping[str, Record]) -> tuple[bool, str]:
    """In every group of queries on every data set."""
    gaps = {
        name: min(
            mean(record, f"popularity of dot lists, group {g}")
            - mean(record, f"popularity of cosine lists, group {g}")
            for g in range(GROUPS)
        )
        for name, record in records.items()
    }
    return min(gaps.values()) > 0, f"smallest gap of the mean percentiles; {_listed(gaps)}"


def elbow_finds_communities(records: Mapping[str, Record]) -> tuple[bool, str]:
    """In every seed, the elbow is within one step of the grid of K."""
    ratios = {name: record.metrics["elbow over K"] for name, record in records.items()}
    every = [ratio for values in ratios.values() for ratio in values]
    near = sum(1 / STEP <= ratio <= STEP for ratio in every)
    said = ", ".join(
        f"{words(name).split(', ')[0]}: {mean(record, 'elbow'):.0f}"
        for name, record in records.items()
    )
    return near == len(every), f"{near} of {len(every)} graphs; mean elbow for {said}"


def elbow_is_accurate(records: Mapping[str, Record]) -> tuple[bool, str]:
    """At the elbow, validation NDCG@20 is close to the best over f, for both similarities."""
    kept = {}
    for name, record in records.items():
        worst = []
        for seed, f in enumerate(record.metrics["elbow"]):
            at = record.history["f"][seed].index(int(f))
            curves = [record.history[f"validation {power}"][seed] for power in (COSINE, DOT)]
            worst.append(min(curve[at] / max(curve) for curve in curves))
        kept[name] = sum(worst) / len(worst)
    said = f"share of the best reached by the worse of the two; {_listed(kept)}"
    return min(kept.values()) >= CLOSE, said


def high_norms_are_stable(records: Mapping[str, Record]) -> tuple[bool, str]:
    """The official protocol: dot product, candidates of the own group, lists of 500."""
    (record,) = records.values()
    high = mean(record, f"dot group k=500 group={GROUPS - 1} share=100")
    return high > STABLE, f"at the end {high:.2f} in the group of largest norms"


def low_norms_are_less_stable(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Smallest norms below largest, for both similarities, both sets of candidates, every K."""
    (record,) = records.values()
    gaps = {
        f"{similarity}, candidates: {candidates}, K = {k}": mean(record, name.format(GROUPS - 1))
        - mean(record, name.format(0))
        for similarity in ("cosine", "dot")
        for candidates in ("group", "all")
        for k in (10, 100, 500)
        if (name := f"{similarity} {candidates} k={k} group={{}} share=100")
    }
    least = min(gaps, key=lambda name: gaps[name])
    return gaps[least] > 0, f"smallest of {len(gaps)} gaps {gaps[least]:.2f} ({least})"


def spikier(reference: str, others: Sequence[str]) -> Test:
    """The first table has a smaller Spk than each of the others, over frequent items."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        found = {name: mean(r, "spk of frequent items") for name, r in records.items()}
        said = listed({name: f"{value:.1f} %" for name, value in found.items()})
        return all(found[reference] < found[name] for name in others), said

    return test


def snapping_helps_the_tail(records: Mapping[str, Record]) -> tuple[bool, str]:
    """On every data set and for every power, NDCG@20 on the tail is higher with snapping."""
    gains = {
        f"{words(power)}, {short(name)}": mean(record, f"{power} snapped, ndcg[tail]@20")
        / mean(record, f"{power}, ndcg[tail]@20")
        - 1
        for name, record in records.items()
        for power in POWERS
    }
    low, high = (f(gains, key=lambda name: gains[name]) for f in (min, max))
    return gains[low] > 0, f"from {gains[low]:+.1%} ({low}) to {gains[high]:+.1%} ({high})"


def between_is_better(records: Mapping[str, Record]) -> tuple[bool, str]:
    """The power chosen on validation is neither 0 nor 1 and better on test, in every seed."""
    holds, said = True, []
    for name, record in records.items():
        pairs = zip(
            record.metrics["γ chosen, ndcg@20"],
            record.metrics[f"{COSINE}, ndcg@20"],
            record.metrics[f"{DOT}, ndcg@20"],
            strict=True,
        )
        holds &= all(chosen > max(cosine, dot) for chosen, cosine, dot in pairs)
        powers = sorted(set(record.metrics["γ chosen, power"]))
        said.append(f"{short(name)}: γ = {' or '.join(f'{p:g}' for p in powers)}")
    return holds, ", ".join(said)


def best_of_grids(
    chosen: Mapping[tuple[str, str], str],
) -> Test:
    """``chosen`` (model, data set) → label has the best validation NDCG@20 of its grid."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        value = {name: mean(r, "validation ndcg@20") for name, r in records.items()}
        wrong = []
        for (model, dataset), label in chosen.items():
            grid = [name for name in records if name.startswith(f"tuning {model} {dataset} ")]
            best = max(grid, key=lambda name: value[name])
            if best != label:
                wrong.append(words(best.removeprefix("tuning ")))
        right = f"{len(chosen) - len(wrong)} of {len(chosen)}"
        return not wrong, right + (f"; better: {', '.join(wrong)}" if wrong else "")

    return test
