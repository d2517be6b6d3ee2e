"""Part III, Popularity: what chapters 6 and 7 train, measure and show."""

from __future__ import annotations

from typing import Any

from specrec_core.baselines import CITEULIKE_BPR, RESN_MF
from specrec_core.catalogue import SYNTHETIC, Suite, scaled, scaled_suite
from specrec_core.studies import Study

VERSIONS = {
    "ml-1m": "resn@a190a07, official split",
    "gowalla": "lightgcn@947ca2b, official split",
    "yelp2018": "bsl@89e0267, official split",
    "coat": "resn@a190a07, official split",
    "citeulike": "directspec@21e0ebe, official split",
    "ml-100k": "recbole@7b02be5, random 80/20 per user, seed 0",
    "lastfm-hetrec": "mkr@d6bb77c, random 80/20 per user, seed 0",
    "douban-movie": "dvgrl@2cdb4e0, official split",
}
TRUNCATED = ("ml-1m", "douban-movie", "citeulike", "gowalla", "yelp2018")
DIMENSIONS = (1, 2, 4, 8, 16, 32, 64, 128)
WIDTHS = (8, 16, 32, 64, 128)
SPECTRUM = (20.0, 10.0, 6.0, 4.0, 3.0, 2.0, 1.5, 1.0, 0.7, 0.5)
DESCENTS: dict[str, dict[str, Any]] = {  # rates at which each has learned nine modes by the end
    "gd": {"rate": 0.005, "batch": 0},
    "sgd": {"rate": 0.005, "batch": 15},
    "momentum": {"rate": 0.0005, "batch": 15},
    "adam": {"rate": 0.003, "batch": 15},
    "adamw": {"rate": 0.003, "batch": 15, "decay": 0.1},
}
STARTS = (0.001, 0.1, 0.5)  # standard deviations of the initial tables

# The runs of chapter 1, by the same definition and so under the same names: trained models whose
# records are there already.
BPR = CITEULIKE_BPR.with_(learning_rate=2e-3, l2=3e-3)


# Models with an activation, by the protocol of chapter 8, and so under the names they have there.
POPULAR: dict[str, dict[str, Any]] = {
    "ml-1m": {},
    "coat": {"dataset": "coat"},
    "douban-movie": {"dataset": "douban-movie", "version": VERSIONS["douban-movie"]},
}
LOSSES = {"squared error": "mse_sigmoid", "cross-entropy": "bce_sigmoid", "BPR": "bpr"}
MEMORY = dict.fromkeys(LOSSES, tuple(POPULAR)) | {"cross-entropy": ("ml-1m", "coat")}
GROWING = {  # dimensions and seeds
    "ml-1m": ((4, 16, 64, 256, 512), (0, 1, 2)),
    "coat": ((4, 8, 16, 32, 64, 128, 256, 512), (0, 1, 2, 3, 4)),
}
FOLLOWED = RESN_MF.with_(
    dataset="ml-100k",
    version=VERSIONS["ml-100k"],
    dim=64,
    epochs=100,
    batch_size=128,
    validation=0.0,
    l2=0.0,
    l2_on="tables",
    init="normal",
    evaluate_every=2,
)
RATES = {"sgd": 0.03, "momentum": 0.003, "adam": 0.005, "adamw": 0.005}  # loss after 60 epochs is
TABLES = (0.001, 0.01, 0.1, 0.3)  # of the same order with each


def sets(names: tuple[str, ...], data: str) -> dict[str, str]:
    """Data sets by name with their versions; on synthetic data that one alone."""
    return {"synthetic": SYNTHETIC} if data == "synthetic" else {n: VERSIONS[n] for n in names}


def bpr_suite(profile: str, data: str) -> Suite:
    """Trained models of several widths: ``bpr d=<d>``."""
    return {f"bpr d={d}": scaled(BPR.with_(dim=d), profile, data, batch_size=512) for d in WIDTHS}


def trained_memory(profile: str, data: str) -> Suite:
    """Models whose memory of popularity chapter 6 shows, after the activation and before it."""
    suite = {
        f"trained {name}, {title}": RESN_MF.with_(**settings, loss=loss)
        for name, settings in POPULAR.items()
        for title, loss in LOSSES.items()
        if name in MEMORY[title]
    }
    return scaled_suite(suite, profile, data, dim=16)


def trained_widths(profile: str, data: str) -> Suite:
    """Models of growing dimension for chapter 7: ``trained <data set> d=<d>``."""
    suite = {
        f"trained {name} d={d}": RESN_MF.with_(**POPULAR[name], dim=d)
        if d == RESN_MF.dim
        else RESN_MF.with_(**POPULAR[name], dim=d, seeds=seeds)
        for name, (dims, seeds) in GROWING.items()
        for d in dims
    }
    return scaled_suite(suite, profile, data)


def training_label(optimizer: str, std: float) -> str:
    return f"training {optimizer} std={std:g}"


def trainings(profile: str, data: str) -> Suite:
    """One model followed over its epochs, by optimiser and size of the initial tables."""
    suite = {
        training_label(optimizer, std): FOLLOWED.with_(
            optimizer=optimizer, learning_rate=rate, init_std=std
        )
        for optimizer, rate in RATES.items()
        for std in TABLES
    }
    return scaled_suite(suite, profile, data)


MEASURED = {  # what the pages look for in records of trained models, and what they call it
    "cos(q1, r) of scores": "cos(q₁, r) before",
    "cos(q1, e) of scores": "cos(q₁, e) before",
    "cos(q1, r) of sigmoid": "cos(q₁, r) after",
    "cos(q1, e) of sigmoid": "cos(q₁, e) after",
    "energy share of sigma1 of sigmoid": "σ₁²/‖Ŷ‖² after",
    "cos(e, r) of scores": "control cos(e, r)",
}


def memory_suite(profile: str, data: str) -> Suite:
    """Chapter 6: interactions as they are, the tails of their popularity, and trained models."""
    suite: Suite = {}
    for name, version in sets(tuple(VERSIONS), data).items():
        suite[f"raw {name}"] = Study.of("study_popularity.raw", dataset=name, version=version, f=8)
    for name, version in sets(tuple(VERSIONS), data).items():
        suite[f"tail {name}"] = Study.of(
            "study_popularity.tail", dataset=name, version=version,
            resamples=20 if profile == "quick" else 500,
        )  # fmt: skip
    return suite | bpr_suite(profile, data) | trained_memory(profile, data)


def amplification_suite(profile: str, data: str) -> Suite:
    """Chapter 7: truncations of real interactions, planted descents, and trained models."""
    quick = profile == "quick"
    suite: Suite = {}
    for name, version in sets(TRUNCATED, data).items():
        suite[f"truncated {name}"] = Study.of(
            "study_popularity.truncation", dataset=name, version=version,
            seeds=(0,) if quick else (0, 1, 2),
            dimensions=DIMENSIONS[:6] if quick else DIMENSIONS, users=500 if quick else 2000,
        )  # fmt: skip
    for optimizer, settings in DESCENTS.items():
        for std in STARTS:
            suite[descent_label(optimizer, std)] = Study.of(
                "study_popularity.descent", seeds=(0,) if quick else (0, 1, 2, 3, 4),
                spectrum=SPECTRUM, users=60, items=40, dim=16, optimizer=optimizer, std=std,
                steps=1000 if quick else 4000, every=2, **settings,
            )  # fmt: skip
    suite |= bpr_suite(profile, data) | trained_widths(profile, data)
    return suite | trainings(profile, data)


def descent_label(optimizer: str, std: float) -> str:
    return f"descent {optimizer} std={std:g}"
