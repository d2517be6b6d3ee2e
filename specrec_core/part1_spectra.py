"""Part I, Spectra: what chapter 1 trains, and what it claims."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from specrec_core.catalogue import SYNTHETIC, Chapter, Suite
from specrec_core.claims import Claim, Comparison, Reported, show
from specrec_core.records import Experiment, Record

DIMENSIONS = (8, 16, 32, 64, 128, 256)
LEARNING_RATES = (5e-4, 1e-3, 2e-3, 4e-3)
PENALTIES = (1e-3, 3e-3, 1e-2)
CHOSEN = (2e-3, 3e-3)
CLEARLY = 0.9  # a table below this share of its untrained effective rank has collapsed

CITEULIKE = Experiment(
    dataset="citeulike",
    version="directspec@21e0ebe, official split",
    dim=64,
    epochs=200,
    seeds=(0, 1, 2, 3, 4),
    evaluate_every=2,
    patience=10,
    init_std=0.01,
    learning_rate=CHOSEN[0],
    l2=CHOSEN[1],
)


def spectra_suite(profile: str, data: str) -> Suite:
    """BPR-MF on CiteULike: widths, and the grid from which rate and penalty were chosen."""
    base = CITEULIKE
    if data == "synthetic":
        base = base.with_(dataset="synthetic", version=SYNTHETIC, batch_size=512)
    if profile == "quick":
        base = base.with_(epochs=6, seeds=(0, 1))
    suite = {f"bpr d={dim}": base.with_(dim=dim) for dim in DIMENSIONS}
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
    return holds, f"best of {len(GRID)}: rate {rate:g}, l2 {penalty:g} ({validation[best]:.4f})"


def collapse_remains(records: Mapping[str, Record]) -> tuple[bool, str]:
    """Both tables end below `CLEARLY` of the effective rank that they started with."""
    (record,) = records.values()
    shares = {}
    for side in ("users", "items"):
        name = f"effective rank of {side}"
        before = [series[0] for series in record.history[name]]
        ratios = [a / b for a, b in zip(record.metrics[name], before, strict=True)]
        shares[side] = sum(ratios) / len(ratios)
    evidence = ", ".join(f"{side} keep {share:.1%}" for side, share in shares.items())
    return max(shares.values()) < CLEARLY, evidence


def dips_and_recovers(records: Mapping[str, Record]) -> tuple[bool, str]:
    """In every seed, the effective rank of items is lowest before the middle and ends higher."""
    (record,) = records.values()
    dips = [min(series) for series in record.history["effective rank of items"]]
    ends = record.metrics["effective rank of items"]
    holds = True
    for epochs, series, dip, end, chosen in zip(
        record.history["epoch"],
        record.history["effective rank of items"],
        dips,
        ends,
        record.selected_epoch,
        strict=True,
    ):
        holds &= epochs[series.index(dip)] < chosen / 2 and end > dip
    return holds, f"lowest {show(dips, 1)}, selected {show(ends, 1)} of {record.experiment.dim}"


def scores_are_narrower(records: Mapping[str, Record]) -> tuple[bool, str]:
    (record,) = records.values()
    sides = {
        side: record.metrics[f"effective rank of {side}"] for side in ("users", "items", "scores")
    }
    holds = max(sides["scores"]) < min(*sides["users"], *sides["items"])
    return holds, ", ".join(f"{side} {show(ranks, 1)}" for side, ranks in sides.items())


def wide_tables_are_emptier(records: Mapping[str, Record]) -> tuple[bool, str]:
    shares = []
    for record in records.values():
        ranks = record.metrics["effective rank of items"]
        shares.append((record.experiment.dim, sum(ranks) / len(ranks) / record.experiment.dim))
    shares.sort()
    holds = all(a > b for (_, a), (_, b) in pairwise(shares))
    return holds, " ".join(f"{dim}: {share:.0%}" for dim, share in shares)


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
                "Rate and penalty are the best of the grid on validation",
                tuple(GRID),
                chosen_on_validation,
            ),
            Claim(
                "Negative sampling leaves an incomplete collapse: both tables end clearly below "
                "the effective rank of the untrained ones",
                ("bpr d=64",),
                collapse_remains,
                source="Peng et al. 2024, abstract",
                note=f"clearly: below {CLEARLY:.0%}; the paper's own threshold is not known to us",
            ),
            Claim(
                "Collapse comes first and then recedes: the effective rank of items is lowest "
                "early and ends higher",
                ("bpr d=64",),
                dips_and_recovers,
                source="seen in these runs",
            ),
            Claim(
                "Scores use fewer directions than either table",
                ("bpr d=64",),
                scores_are_narrower,
                source="theorem on products, part d",
            ),
            Claim(
                "The wider the item table, the smaller the share of it that is used",
                WIDTHS,
                wide_tables_are_emptier,
                source="our expectation before the runs",
            ),
        ),
    ),
}
