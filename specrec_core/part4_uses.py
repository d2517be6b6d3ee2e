"""Part IV, Spikes: what chapter 11 measures and trains, and what it claims."""

from __future__ import annotations

from specrec_core import use_claims
from specrec_core.catalogue import SYNTHETIC, Chapter, Suite
from specrec_core.claims import Claim, Comparison, Reported
from specrec_core.records import Experiment
from specrec_core.studies import Study
from specrec_core.wording import words

VERSIONS = {
    "lastfm-hetrec": "mkr@d6bb77c, random 80/20 per user, seed 0",
    "cornell-yes1k": "reco-tut-ysr@b8fa9a2, random 80/20 per user, seed 0",
    "lastfm-kgat": "kgat@c03737b test part, random 80/20 per user, seed 0",
    "citeulike": "directspec@21e0ebe, official split",
    "ml-latest-small": "muellersen@928dcbd, random 80/20 per user, seed 0",
    "ml-100k": "recbole@7b02be5, random 80/20 per user, seed 0",
}
OPEN = tuple(VERSIONS)
OVER_TIME = ("cornell-yes1k", "lastfm-kgat")
RANKED = ("lastfm-hetrec", "cornell-yes1k", "citeulike", "ml-100k")
TRAINED = ("lastfm-hetrec", "cornell-yes1k")
SEEDS = (0, 1, 2, 3, 4)
GROUPS = 5

TRACKS = 0.85

F = 64
DIMENSIONS = (8, 16, 32, 64, 128)
RANKING_DIMENSIONS = (8, 16, 32, 64, 128, 256)
FINE = (2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128)  # steps of about the root of 2
POWERS = (-0.25, 0.0, 0.25, 0.5, 1.0)
SHRINKAGE = (0.1, 0.3, 1.0, 3.0)
COMMUNITIES = (5, 10, 20, 40)
DEGREES = (20, 60, 180)
SHARES = (60, 70, 80, 90, 100)  # per cent of the contexts; the reference has 50
TABLES = ("svd of ppmi", "svd of counts", "nmf of ppmi", "nmf of counts", "word2vec", "random")

BPR = Experiment(
    dataset="",
    version="",
    dim=F,
    epochs=120,
    seeds=SEEDS,
    evaluate_every=4,
    patience=5,
    metric="ndcg@20",
    init_std=0.01,
    learning_rate=4e-3,
    l2=1e-2,
)
MODELS = {
    "bpr": BPR,
    "lightgcn": BPR.with_(model="lightgcn", layers=3, batch_size=4096),
    "directspec": BPR.with_(
        regularizer="directspec",
        strength=1.0,
        normalised=True,
        shrink=0.03,
        loss="logistic_alignment",
        positives="users",
        init="xavier",
        init_std=0.1,  # the default: not used
        l2=0.0,
    ),
}
GRIDS: dict[str, list[dict[str, float]]] = {
    "bpr": [{"learning_rate": r, "l2": p} for r in (1e-3, 4e-3) for p in (3e-3, 1e-2)],
    "lightgcn": [{"learning_rate": r, "l2": p} for r in (4e-3, 1e-2) for p in (1e-4, 1e-3)],
    "directspec": [{"learning_rate": r, "strength": a} for r in (1e-3, 4e-3) for a in (0.3, 1.0)],
}
CHOSEN = {  # position in its grid with the best validation NDCG@20; see the claim
    ("bpr", "lastfm-hetrec"): 1,
    ("bpr", "cornell-yes1k"): 0,
    ("lightgcn", "lastfm-hetrec"): 2,
    ("lightgcn", "cornell-yes1k"): 1,
    ("directspec", "lastfm-hetrec"): 2,
    ("directspec", "cornell-yes1k"): 3,
}


def tuning_label(model: str, dataset: str, settings: dict[str, float]) -> str:
    values = " ".join(f"{name.removeprefix('learning_')}={v:g}" for name, v in settings.items())
    return f"tuning {model} {dataset} {values}"


def uses_suite(profile: str, data: str) -> Suite:
    """Studies of open data and of planted graphs, and the models beside them."""
    quick, synthetic = profile == "quick", data == "synthetic"
    seeds = SEEDS[:1] if quick else SEEDS
    number = 0

    def study(kind: str, dataset: str, **settings: object) -> Study:
        nonlocal number
        number += 1
        if not synthetic:
            return Study.of(kind, dataset=dataset, version=VERSIONS[dataset], seeds=seeds,
                            **settings)  # fmt: skip
        # One data set stands for all: other seeds keep the studies apart.
        own = [seed + 100 * number for seed in seeds]
        return Study.of(kind, dataset="synthetic", version=SYNTHETIC, seeds=own, **settings)

    suite: Suite = {}
    for name in OPEN:
        suite[f"degree {name}"] = study("study_uses.degree", name, dimensions=DIMENSIONS, inside=F)
        suite[f"lists {name}"] = study(
            "study_uses.lists", name, f=F, k=100, queries=500, groups=GROUPS
        )
    for name in OVER_TIME:
        suite[f"stability {name}"] = study(
            "study_uses.stability",
            name,
            f=F,
            shares=SHARES,
            reference=50,
            k=(10, 50) if synthetic else (10, 100, 500),
            queries=50 if synthetic else 1000,
            groups=GROUPS,
        )
    for name in RANKED:
        suite[f"ranking {name}"] = study(
            "study_ranking.ranking",
            name,
            dimensions=RANKING_DIMENSIONS,
            powers=POWERS,
            shrinkage=SHRINKAGE,
        )
    for name in TRAINED:
        for method in TABLES:
            suite[f"{method} {name}"] = study(
                "study_ranking.table", name, method=method, f=F, epochs=10, window=25
            )
    for degree in DEGREES:
        for communities in COMMUNITIES:
            suite[f"planted K={communities} degree={degree}"] = Study.of(
                "study_uses.planted_growth",
                seeds=seeds,
                n=1000 if quick else 8000,
                communities=communities,
                degree=degree,
                dimensions=FINE,
                law="pareto",
            )
    for model, settings in MODELS.items():
        for name in TRAINED:
            base = settings.with_(dataset=name, version=VERSIONS[name])
            if synthetic:
                base = base.with_(
                    dataset="synthetic", version=SYNTHETIC, split_seed=TRAINED.index(name)
                )
            if quick:
                base = base.with_(epochs=4, seeds=(0, 1), evaluate_every=2)
            suite[f"{model} {name}"] = base.with_(**GRIDS[model][CHOSEN[model, name]])
            for tried in GRIDS[model]:
                suite[tuning_label(model, name, tried)] = base.with_(**tried, seeds=(100,))
    return suite


def tuned(model: str, dataset: str) -> list[str]:
    """Labels of the grid of a model."""
    return [tuning_label(model, dataset, tried) for tried in GRIDS[model]]


AFCHAR = "Afchar et al. 2023, in a third party's words"
PLANTED_60 = tuple(f"planted K={k} degree=60" for k in COMMUNITIES)

CHAPTERS = {
    "11_spikes_used": Chapter(
        title="What is a spike good for?",
        datasets=OPEN,
        suite=uses_suite,
        verdicts=(
            Claim(
                "The norm estimates degree: at f = 64 it ranks items by strength in the PPMI "
                f"graph with a correlation of at least {TRACKS} on every data set",
                tuple(f"degree {name}" for name in OPEN),
                use_claims.tracks("strength", TRACKS),
                source=AFCHAR,
                note="the threshold is ours, from an earlier measurement on three of the sets",
            ),
            Claim(
                f"… and by popularity: at least {TRACKS} on every data set",
                tuple(f"degree {name}" for name in OPEN),
                use_claims.tracks("popularity", TRACKS),
                source="how the word degree may be read",
            ),
            Claim(
                "Row sums from the factors rank items by strength better than norms do, on every "
                "data set and at every f",
                tuple(f"degree {name}" for name in OPEN),
                use_claims.sums_beat_norms,
                source="our expectation",
            ),
            Claim(
                "Lists by dot product are more popular than lists by cosine, for queries of every "
                "norm group on every data set",
                tuple(f"lists {name}" for name in OPEN),
                use_claims.dot_is_more_popular,
                source="our reading of Afchar et al. 2023",
            ),
            Claim(
                "The sharpest rise of Spk finds the number of communities of a planted graph of "
                "mean degree 60, to one step of f",
                PLANTED_60,
                use_claims.elbow_finds_communities,
                source="the use of Spk that Afchar et al. 2023 propose; the rule is ours",
            ),
            Claim(
                "At the sharpest rise of Spk, item–item recommendation is as good as at the best "
                "f, by cosine and by dot product both: "
                f"{use_claims.CLOSE:.0%} of its NDCG@20 on validation",
                tuple(f"ranking {name}" for name in RANKED),
                use_claims.elbow_is_accurate,
                source="the use of Spk that Afchar et al. 2023 propose; the rule is ours",
            ),
            *(
                Claim(
                    f"{words(name)}: lists of items with large norms stay above "
                    f"{use_claims.STABLE:.0%}",
                    (f"stability {name}",),
                    use_claims.high_norms_are_stable,
                    source=AFCHAR,
                    note="their data are twelve months of Deezer; ours are growing random samples",
                )
                for name in OVER_TIME
            ),
            *(
                Claim(
                    f"{words(name)}: lists of items with small norms keep less than those with "
                    "large ones, however it is measured",
                    (f"stability {name}",),
                    use_claims.low_norms_are_less_stable,
                    source=AFCHAR,
                )
                for name in OVER_TIME
            ),
            *(
                Comparison(
                    f"{words(name)}, {similarity}, candidates: {candidates}, K = {k}: overlap for "
                    f"the {'longest' if group else 'shortest'} fifth",
                    f"stability {name}",
                    f"{similarity} {candidates} k={k} group={group} share=100",
                    Reported.lookup(
                        "reference_stability", dataset=name, similarity=similarity,
                        candidates=candidates, k=str(k), group=str(group), share="100",
                    ),
                    tolerance=0.1,
                    digits=3,
                    note="all contexts against half; another half was drawn",
                )
                for name, similarity, candidates, k in (
                    ("cornell-yes1k", "dot", "group", 500),
                    ("cornell-yes1k", "cosine", "group", 500),
                    ("lastfm-kgat", "dot", "group", 500),
                    ("lastfm-kgat", "cosine", "group", 100),
                    ("lastfm-kgat", "dot", "all", 100),
                )
                for group in (0, 4)
            ),
            *(
                Claim(
                    f"{words(name)}: SVD of PPMI is spikier than BPR-MF, LightGCN and DirectSpec",
                    tuple(f"{kind} {name}" for kind in ("svd of ppmi", *MODELS)),
                    use_claims.spikier(
                        f"svd of ppmi {name}", [f"{model} {name}" for model in MODELS]
                    ),
                    source="our expectation",
                )
                for name in TRAINED
            ),
            Claim(
                "Drawing items of small norm towards the peak of their spike helps the tail, for "
                "every data set and similarity",
                tuple(f"ranking {name}" for name in RANKED),
                use_claims.snapping_helps_the_tail,
                source="our expectation, from the theory of noise",
            ),
            Claim(
                "Some power of the norm other than 0 and 1 ranks better than the cosine and than "
                "the dot product, by test NDCG@20, on every data set",
                tuple(f"ranking {name}" for name in RANKED),
                use_claims.between_is_better,
                source="seen with two powers on one seed of each",
            ),
            Claim(
                "Rates, penalties and strengths of the trained models are the best of their grids "
                "on validation",
                tuple(label for model, name in CHOSEN for label in tuned(model, name)),
                use_claims.best_of_grids(
                    {
                        (model, name): tuned(model, name)[position]
                        for (model, name), position in CHOSEN.items()
                    }
                ),
            ),
        ),
    ),
}  # fmt: skip
