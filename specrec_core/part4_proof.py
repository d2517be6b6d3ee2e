"""Part IV, Spikes: what chapter 10 measures on planted communities, and what it claims."""

from __future__ import annotations

from typing import Any

from specrec_core.catalogue import Chapter, Suite
from specrec_core.claims import LATER, Claim, Comparison, Reported
from specrec_core.proof_claims import (
    blind_to_blobs,
    every_seed,
    exponent_slides,
    flattens,
    formula_holds,
    measured,
    merges_as_predicted,
    named,
    no_assortativity_needed,
    ranks_as_degree,
)
from specrec_core.studies import Study

SEEDS = (0, 1, 2, 3, 4)
BASE: dict[str, Any] = {
    "n": 4000,
    "communities": 10,
    "law": "pareto",
    "blocks": "assortative",
    "between": 0.05,
    "degree": 80.0,
    "f": 10,
    "matrix": "graph",
}
EXPECTED: dict[str, Any] = {"matrix": "expectation"}
ROWS: dict[str, dict[str, Any]] = {  # what differs from BASE
    "expectation, US": EXPECTED,
    "expectation, U√S": {**EXPECTED, "power": "U√S"},
    "expectation, U": {**EXPECTED, "power": "U"},
    "probabilities": {"matrix": "probabilities"},
    **{f"d={degree}": {"degree": float(degree)} for degree in (160, 80, 40, 20, 10)},
    **{f"f={f}": {"f": f} for f in (5, 20, 32, 64, 128)},
    **{f"theta {law}": {"law": law} for law in ("constant", "uniform", "lognormal")},
    "b=0.2 expectation": {**EXPECTED, "between": 0.2},
    "b=0.2": {"between": 0.2},
    "b=0.4 expectation": {**EXPECTED, "between": 0.4},
    "b=0.4": {"between": 0.4},
    "b=0.46 expectation": {**EXPECTED, "between": 0.46},
    "b=0.6 expectation": {**EXPECTED, "between": 0.6},
    "b=0.6": {"between": 0.6},
    **{
        f"{kind}{suffix}": {"blocks": kind, **extra}
        for kind in ("disassortative", "paired", "rank one")
        for suffix, extra in ((" expectation", EXPECTED), ("", {}))
    },
}
DEGREES = (80, 320)
ANGLES: dict[str, tuple[str, int]] = {
    **{f"angle d={degree}": ("uniform", degree) for degree in DEGREES},
    "angle pareto": ("pareto", 80),
}
RATIOS = (
    0.05,
    0.1,
    0.15,
    0.2,
    0.25,
    0.3,
    0.325,
    0.35,
    0.375,
    0.4,
    0.425,
    0.45,
    0.475,
    0.5,
    0.55,
    0.6,
)
SLOPES = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2000)
PLAYLISTS = (2000, 5000, 10_000, 20_000, 60_000)
SIMULATED: dict[str, Any] = {
    "items": 5000,
    "communities": 20,
    "playlists": 20_000,
    "length": 20,
    "noise": 0.1,
    "law": "pareto",
}
OTHERS: dict[str, dict[str, Any]] = {
    "ppmi theta constant": {"law": "constant"},
    "ppmi noise=0.3": {"noise": 0.3},
    "ppmi K=40": {"communities": 40},
}


def proof_suite(profile: str, data: str) -> Suite:
    """Planted graphs and playlists; no data set is needed, so ``data`` changes nothing."""
    quick = profile == "quick"
    seeds = SEEDS[:2] if quick else SEEDS

    def study(function: str, **settings: Any) -> Study:
        return Study.of(f"study_planted.{function}", seeds=seeds, **settings)

    n = 1500 if quick else 4000
    suite: Suite = {
        f"planted {label}": study("table_row", **{**BASE, "n": n, **changes})
        for label, changes in ROWS.items()
    }
    for degree in DEGREES:
        suite[f"merging d={degree}"] = study(
            "merging", n=4000, communities=10, law="uniform", degree=float(degree),
            ratios=RATIOS[::5] if quick else RATIOS, cos=0.9,
        )  # fmt: skip
    for label, (law, degree) in ANGLES.items():
        suite[label] = study(
            "angle", n=4000 if quick else 8000, communities=8, law=law, between=0.05,
            degree=float(degree), groups=20,
        )  # fmt: skip
    shape: dict[str, Any] = {"communities": 8, "between": 0.05, "degree": 80.0}
    for law in ("uniform", "pareto"):
        suite[f"exponent {law}"] = study(
            "exponent", n=1000 if quick else 2000, law=law, **shape,
            dimensions=(8, 64, 512, 1000) if quick else SLOPES,
        )  # fmt: skip
    suite["exponent n=8000"] = study(
        "exponent", n=2000 if quick else 8000, law="uniform", **shape,
        dimensions=(8, 64) if quick else (8, 64, 512),
    )  # fmt: skip
    simulated = {**SIMULATED, "dimensions": (8, 20, 64, 128)}
    if quick:
        simulated |= {"items": 600, "communities": 4, "dimensions": (4, 8)}
    for m in PLAYLISTS:
        suite[f"ppmi m={m}"] = study(
            "flattening", **{**simulated, "playlists": m // 20 if quick else m}
        )
    for label, changes in OTHERS.items():
        playlists = 1000 if quick else 20_000
        suite[label] = study("flattening", **{**simulated, "playlists": playlists, **changes})
    return suite


COMPARED: tuple[tuple[str, str, float, int], ...] = (  # label, metric, tolerance, digits
    ("planted d=80", "cosine to ray", 0.02, 3),
    ("planted d=80", "CV of norms", 0.15, 3),
    ("planted d=80", "norm against theta", 0.05, 3),
    ("planted d=80", "norm against degree", 0.05, 3),
    ("planted d=10", "accuracy", 0.1, 3),
    ("planted f=5", "accuracy", 0.1, 3),
    ("planted f=32", "Spk", 0.25, 2),
    ("planted f=64", "Spk", 0.25, 2),
    ("planted f=128", "Spk", 0.05, 2),
    ("planted theta constant", "CV of norms", 0.1, 3),
    ("planted b=0.2", "cosine to ray", 0.02, 3),
    ("planted b=0.4", "accuracy", 0.2, 3),
    ("planted b=0.46 expectation", "largest cosine between rays", 0.02, 3),
    *(("angle d=80", f"rms tangent at quantile {q}", 0.1, 3) for q in (0.1, 0.5, 0.9)),
    ("exponent n=8000", "slope, f=8", 0.02, 3),
    ("exponent n=8000", "slope, f=64", 0.02, 3),
    ("exponent n=8000", "slope, f=512", 0.02, 3),
    ("ppmi m=5000", "ppmi: CV of norms", 0.15, 3),
    ("ppmi m=20000", "ppmi: CV of norms", 0.15, 3),
    ("ppmi m=60000", "ppmi: CV of norms", 0.15, 3),
    ("ppmi m=20000", "counts: CV of norms", 0.15, 3),
    ("ppmi theta constant", "ppmi: CV of norms", 0.3, 3),
)
OTHER_PLAYLISTS = "other simulated playlists: how their popularity was scaled is not recorded"

CHAPTERS = {
    "10_dcbm_proof": Chapter(
        title="Why spikes?",
        suite=proof_suite,
        verdicts=(
            *(
                Claim(
                    f"Distance from the ray over noise-free length falls as θ to the power −½: "
                    f"slope between −0.55 and −0.45, θ {law}, mean degree {degree}",
                    (label,),
                    every_seed(label, "slope", -0.55, -0.45),
                    source="first-order formula",
                    note="this distance was chosen when the root mean square of the tangent had "
                    "proved unstable at the base; the band was narrowed then",
                )
                for label, (law, degree) in ANGLES.items()
            ),
            *(
                Claim(
                    f"The first-order formula is right to a tenth, θ {law}",
                    labels,
                    formula_holds,
                    source="first-order formula",
                    note=note,
                )
                for law, labels, note in (
                    ("uniform", ("angle d=80", "angle d=320"), ""),
                    (
                        "pareto",
                        ("angle pareto",),
                        "it counts Poisson edges; edges to the largest hubs are nearly certain",
                    ),
                )
            ),
            Claim(
                "Rays of US merge within 5 % of the predicted b/a, mean degree 320",
                ("merging d=320",),
                merges_as_predicted("merging d=320"),
                source="proposition on merging",
            ),
            Claim(
                "The same at mean degree 80",
                ("merging d=80",),
                merges_as_predicted("merging d=80"),
                source="proposition on merging",
                note="about expectations; in sparse graphs noise merges rays first",
            ),
            Claim(
                "Inside spikes the norm ranks items as their degree does: Spearman at least 0.9 "
                "from mean degree 80 on (θ pareto, b/a = 0.05, f = K)",
                ("planted d=160", "planted d=80"),
                ranks_as_degree(("planted d=160", "planted d=80"), 0.9),
                source="Afchar et al. 2023, as summarised by others",
                note="the threshold is ours; some rows of other models at mean degree "
                "80 are below it",
            ),
            *(
                Claim(
                    "The exponent of norm against degree slides from 1 at f = K to ½ at f = n, "
                    f"θ {law}",
                    (f"exponent {law}",),
                    exponent_slides,
                    source="proposition on norm and degree" + later,
                    note=note,
                )
                for law, later, note in (
                    ("uniform", "", ""),
                    ("pareto", LATER, "the proposition speaks of the matrix of the model"),
                )
            ),
            Claim(
                "PPMI flattens: the more playlists, the smaller the spread of norms in a spike",
                tuple(f"ppmi m={m}" for m in PLAYLISTS),
                flattens,
                source="proposition on PMI",
                note="against counts of the same playlists; a first version of this test compared "
                "different numbers of playlists",
            ),
            Claim(
                "Spk does not tell blobs from spikes",
                ("planted theta constant", "planted d=80"),
                blind_to_blobs,
                source="its definition",
            ),
            Claim(
                "Spikes form without assortativity",
                ("planted paired", "planted d=80"),
                no_assortativity_needed,
                source="theorem on blocks and rays",
                note="a secondary summary of the paper says that they do not",
            ),
            *(
                Comparison(
                    f"{named(label)}: {measured(metric)}",
                    label,
                    metric,
                    Reported.lookup("reference_planted", run=label, metric=metric),
                    tolerance=tolerance,
                    digits=digits,
                    note=OTHER_PLAYLISTS if label.startswith("ppmi") else "",
                )
                for label, metric, tolerance, digits in COMPARED
            ),
        ),
    ),
}
