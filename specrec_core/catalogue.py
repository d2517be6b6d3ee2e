"""What the book runs and what it holds against what: chapter by chapter, profile by profile.

A chapter's *suite* names its experiments. Profiles choose budgets (epochs, seeds), never
definitions: ``quick`` is what a CPU does while you wait, ``paper`` the protocol whose numbers
count. This module imports no torch: claims and records are read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from specrec_core import records
from specrec_core.claims import Claim, Comparison, Verdict
from specrec_core.records import Experiment, Record
from specrec_core.studies import Study

PROFILES = ("quick", "paper")
DATA = ("real", "synthetic")
SYNTHETIC = (  # the version of load("synthetic"), without importing what makes it
    "dcbm(n_users=1200, n_items=800, n_communities=8, mean_degree=20, exponent=2.2, "
    "assortativity=0.9, seed=0, test_fraction=0.2)"
)

Suite = dict[str, Experiment | Study]


@dataclass(frozen=True)
class Chapter:
    """One chapter: its data sets, its experiments, and what it sets beside what."""

    title: str
    datasets: tuple[str, ...] = ()
    suite: Callable[[str, str], Suite] = lambda profile, data: {}
    verdicts: tuple[Claim | Comparison, ...] = field(default=())


def suite(chapter: str, profile: str = "paper", data: str = "real") -> Suite:
    """The experiments of a chapter by label."""
    if profile not in PROFILES:
        raise ValueError(f"profile is {profile!r}: expected one of {', '.join(PROFILES)}")
    if data not in DATA:
        raise ValueError(f"data is {data!r}: expected one of {', '.join(DATA)}")
    return _chapter(chapter).suite(profile, data)


def scaled(e: Experiment, profile: str, data: str, **on_synthetic: Any) -> Experiment:
    """What a profile makes of a `paper` experiment, and synthetic data of one on real data."""
    if data == "synthetic":
        e = e.with_(dataset="synthetic", version=SYNTHETIC, **on_synthetic)
    if profile == "quick":
        e = e.with_(epochs=4, seeds=e.seeds[:2], evaluate_every=2)
    return e


def scaled_suite(
    suite: Mapping[str, Experiment], profile: str, data: str, **on_synthetic: Any
) -> Suite:
    """Each `scaled`; on synthetic data, of those that are the same there, the first alone."""
    kept, seen = [], set()
    for label, e in suite.items():
        name = scaled(e, "quick", data, **on_synthetic).name
        if data == "real" or name not in seen:
            kept.append(label)
        seen.add(name)
    return {label: scaled(suite[label], profile, data, **on_synthetic) for label in kept}


def datasets(chapter: str) -> tuple[str, ...]:
    """The data sets that a chapter loads."""
    return _chapter(chapter).datasets


def find(chapter: str, label: str) -> Record | None:
    """The `paper` record of one experiment of a chapter, or None where it has not been run."""
    experiments = suite(chapter, "paper")
    if label not in experiments:
        raise ValueError(f"label is {label!r}: {chapter} has {', '.join(experiments)}")
    return records.find(experiments[label])


def verdicts(chapter: str) -> list[Verdict]:
    """Every comparison and claim of a chapter, evaluated on the `paper` records there are."""
    found: Mapping[str, Record | None] = {
        label: records.find(e) for label, e in suite(chapter, "paper").items()
    }
    return [entry.verdict(found) for entry in _chapter(chapter).verdicts]


def chapters() -> dict[str, Chapter]:
    """All chapters that have experiments, by name, in the order of the book."""
    from specrec_core import (
        part1_spectra,
        part2_filters,
        part2_results,
        part3_popularity,
        part3_results,
        part4_proof,
        part4_spikes,
        part4_uses,
        part5_collapse,
        part5_robustness,
        part5_scaling,
    )

    return {
        **part1_spectra.CHAPTERS,
        **part2_filters.CHAPTERS,
        **part2_results.CHAPTERS,
        **part3_popularity.CHAPTERS,
        **part3_results.CHAPTERS,
        **part4_spikes.CHAPTERS,
        **part4_proof.CHAPTERS,
        **part4_uses.CHAPTERS,
        **part5_scaling.CHAPTERS,
        **part5_robustness.CHAPTERS,
        **part5_collapse.CHAPTERS,
    }


def _chapter(name: str) -> Chapter:
    if name not in chapters():
        raise ValueError(f"chapter is {name!r}: expected one of {', '.join(chapters())}")
    return chapters()[name]
