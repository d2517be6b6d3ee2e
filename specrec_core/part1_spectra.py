"""Part I, Spectra: what chapter 1 trains, and what it claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

from specrec_core.baselines import CITEULIKE_BPR
from specrec_core.catalogue import SYNTHETIC, Chapter, Suite
from specrec_core.claims import Claim, Comparison, Reported, show
from specrec_core.records import Record

DIMENSIONS = (8, 16, 32, 64, 128)
LEARNING_RATES = (1e-3, 2e-3, 4e-3)
PENALTIES = (1e-3, 3e-3, 1e-2)
CHOSEN = (2e-3, 3e-3)  # rate and penalty; see the claim on the grid
CLEARLY = 0.9  # of what the untrained table has

CITEULIKE = CITEULIKE_BPR.with_(learning_rate=CHOSEN[0], l2=CHOSEN[1])


def spectra_suite(profile: str, data: str) -> Suite:
    """BPR-MF on CiteULike: widths, and the grid from which rate and penalty were chosen."""
    base = CITEULIKE
    if data == "synthetic":
        base = base.with_(dataset="synthetic", version=SYNTHETIC, batch_size=512)
    if profile == "quick":
        base = base.with_(epochs=4, seeds=(0, 1), evaluate_every=2)
    suite: Suite = {f"bpr d={dim}": base.with_(dim=dim) for dim in DIMENSIONS}
    for rate in LEARNING_RATES:
        for penalty in PENALTIES:
            suite[tuning_label(rate, penalty)] = base.with_(
                learning_rate=rate, l2=penalty, seeds=(100,)
            )
    return suite


def tuning_label(rate: float, penalty: float) -> str:
    return f"tuning rate={rate:g} l2={penalty:g}"


GRID = {
    tuning_label(rate, penalty): (rate, penalty) for rate in LEARNING_RATES for penalty in PENALTIES
}


def chosen_on_validation(records: Mapping[str, Record]) -> tuple[bool, str]:
    """The settings in `CHOSEN` are the best of the grid on validation."""
    validation = {label: r.metrics["validation ndcg@10"][0] for label, r in records.items()}
    best = max(validation, key=lambda label: validation[label])
    rate, penalty = GRID[best]
    holds = (rate, penalty) == CHOSEN
    shown = f"rate {rate:g}, penalty {penalty:g} ({validation[best]:.4f})"
    return holds, f"best of {len(GRID)}: {shown}"


def _kept(record: Record, count: Callable[[list[float]], float], side: str) -> list[float]:
    """What each seed keeps of the count that its untrained table had."""
    before, after = record.spectrum[f"initial {side}"], record.spectrum[side]
    return [count(a) / count(b) for a, b in zip(after, before, strict=True)]


def effective_rank(s: list[float]) -> float:
    """As `specrec_core.spectra.effective_rank`, without torch."""
    total = sum(s)
    return math.exp(-sum(x / total * math.log(x / total) for x in s if x > 0))


def information_abundance(s: list[float]) -> float:
    """As `specrec_core.spectra.information_abundance`, without torch."""
    return sum(s) / s[0]


def narrowed(
    count: Callable[[list[float]], float],
) -> Callable[[Mapping[str, Record]], tuple[bool, str]]:
    """Both tables end, in every seed, below `CLEARLY` of the count that they started with."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        (record,) = records.values()
        kept = {side: _kept(record, count, side) for side in ("users", "items")}
        evidence = ", ".join(f"{side} keep {sum(k) / len(k):.1%}" for side, k in kept.items())
        return max(map(max, kept.values())) < CLEARLY, evidence

    return test


def dips_and_recovers(records: Mapping[str, Record]) -> tuple[bool, str]:
    """In every seed, effective rank is lowest in the first half and ends a tenth above that."""
    (record,) = records.values()
    ends = record.metrics["effective rank of items"]
    dips, holds = [], True
    for seed, series in enumerate(record.history["effective rank of items"]):
        dip = min(series)
        at = record.history["epoch"][seed][series.index(dip)]
        holds &= at < record.selected_epoch[seed] / 2 and ends[seed] > 1.1 * dip
        dips.append(dip)
    return holds, f"lowest {show(dips, 1)}, selected {show(ends, 1)} of {record.training.dim}"


def scores_are_narrower(records: Mapping[str, Record]) -> tuple[bool, str]:
    (record,) = records.values()
    sides = {
        side: record.metrics[f"effective rank of {side}"] for side in ("users", "items", "scores")
    }
    holds = max(sides["scores"]) < min(*sides["users"], *sides["items"])
    return holds, ", ".join(f"{side} {show(ranks, 1)}" for side, ranks in sides.items())


def emptier_when_wider(
    count: Callable[[list[float]], float],
) -> Callable[[Mapping[str, Record]], tuple[bool, str]]:
    """The share of the untrained count that the item table keeps falls with the dimension."""

    def test(records: Mapping[str, Record]) -> tuple[bool, str]:
        shares = []
        for record in records.values():
            kept = _kept(record, count, "items")
            shares.append((record.training.dim, sum(kept) / len(kept)))
        shares.sort()
        holds = all(a > b for (_, a), (_, b) in pairwise(shares))
        return holds, "at d = " + ", ".join(f"{dim}: {share:.0%}" for dim, share in shares)

    return test


COUNTS = {"effective rank": effective_rank, "information abundance": information_abundance}
WIDTHS = tuple(f"bpr d={dim}" for dim in DIMENSIONS)

CHAPTERS = {
    "01_spectra": Chapter(
        title="What does the spectrum of an embedding tell?",
        datasets=("citeulike",),
        suite=spectra_suite,
        verdicts=(
            *(
                Comparison(
                    f"BPR-MF, d = 64: test {title}",
                    "bpr d=64",
                    metric,
                    Reported.lookup("reference_citeulike", method="BPR-MF", metric=metric),
                    tolerance=0.05,
                    note="the reference trains by SGD on all of train, for one seed, untuned",
                )
                for title, metric in (
                    ("NDCG@10", "ndcg@10"),
                    ("NDCG@20", "ndcg@20"),
                    ("truncated recall@10", "recall[truncated]@10"),
                )
            ),
            Claim(
                "Rate and penalty of the runs at d = 64 are the best of the grid on validation",
                tuple(GRID),
                chosen_on_validation,
                note="they won a first grid that stopped after 20 epochs without progress",
            ),
            *(
                Claim(
                    f"BPR leaves both tables clearly narrower than untrained ones, by {name}",
                    ("bpr d=64",),
                    narrowed(count),
                    source="this book, prompted by Peng et al. 2024",
                    note=f"clearly: below {CLEARLY:.0%}; their abstract names no loss and no "
                    "threshold",
                )
                for name, count in COUNTS.items()
            ),
            Claim(
                "The spectrum narrows first and widens again: the effective rank of items is "
                "lowest early and ends higher",
                ("bpr d=64",),
                dips_and_recovers,
                source="seen in these runs",
            ),
            Claim(
                "Scores use fewer directions than either table, by effective rank",
                ("bpr d=64",),
                scores_are_narrower,
                source="theorem on products, part d",
            ),
            *(
                Claim(
                    "The wider the item table, the smaller the share of its untrained count that "
                    f"it keeps, by {name}",
                    WIDTHS,
                    emptier_when_wider(count),
                    source="our expectation before the runs",
                )
                for name, count in COUNTS.items()
            ),
        ),
    ),
}
