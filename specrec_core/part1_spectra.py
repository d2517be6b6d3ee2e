"""Part I, Spectra: what chapter 1 trains, and what it claims."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

from specrec_core.catalogue import SYNTHETIC, Chapter, Suite
from specrec_core.claims import Claim, Comparison, Reported, mean_interval, show
from specrec_core.records import Experiment, Record

DIMENSIONS = (8, 16, 32, 64, 128, 256)
LEARNING_RATES = (5e-4, 1e-3, 2e-3, 4e-3)
PENALTIES = (1e-3, 3e-3, 1e-2)
CHOSEN = (2e-3, 3e-3)

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


def training_narrows(records: Mapping[str, Record]) -> tuple[bool, str]:
    (record,) = records.values()
    before = [series[0] for series in record.history["effective rank of items"]]
    after = record.metrics["effective rank of items"]
    holds = mean_interval(before)[0] - mean_interval(before)[1] > sum(after) / len(after)
    return holds, f"{show(before, 1)} → {show(after, 1)} of {record.experiment.dim}"


def wide_tables_are_emptier(records: Mapping[str, Record]) -> tuple[bool, str]:
    shares = []
    for record in records.values():
        ranks = record.metrics["effective rank of items"]
        shares.append((record.experiment.dim, sum(ranks) / len(ranks) / record.experiment.dim))
    shares.sort()
    holds = all(a > b for (_, a), (_, b) in pairwise(shares))
    return holds, " ".join(f"{dim}: {share:.0%}" for dim, share in shares)


def never_complete(records: Mapping[str, Record]) -> tuple[bool, str]:
    (record,) = records.values()
    ranks = [*record.metrics["effective rank of users"], *record.metrics["effective rank of items"]]
    return min(ranks) > 2, f"lowest {min(ranks):.1f} of {record.experiment.dim}"


WIDTHS = tuple(f"bpr d={dim}" for dim in DIMENSIONS)

CHAPTERS = {
    "01_spectra": Chapter(
        title="What does the spectrum of an embedding tell?",
        datasets=("citeulike",),
        suite=spectra_suite,
        verdicts=(
            Comparison(
                "BPR-MF, d = 64: test NDCG@10",
                "bpr d=64",
                "ndcg@10",
                Reported.lookup("reference_citeulike", method="BPR-MF", metric="ndcg@10"),
                tolerance=0.1,
                note="the reference trains by SGD on all of train and selects on test",
            ),
            Claim(
                "Rate and penalty are the best of the grid on validation",
                tuple(GRID),
                chosen_on_validation,
            ),
            Claim("Training narrows the item table", ("bpr d=64",), training_narrows),
            Claim(
                "The wider the table, the smaller the share of it that is used",
                WIDTHS,
                wide_tables_are_emptier,
            ),
            Claim("BPR does not collapse completely", ("bpr d=64",), never_complete),
        ),
    ),
}
