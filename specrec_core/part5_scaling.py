"""Part V, Scaling: what chapters 12, 13 and 14 measure, and what they claim.

Three suites of studies stand here, and three of training: `scaling_training`, `noise_training` and
`balance_training`. The chapters and the claims look for their experiments by the labels of
`scaling_label`, `noise_label` and `balance_label`. On synthetic data there are none of them.
"""

from __future__ import annotations

from typing import Any

from specrec_core import scaling_claims as ask
from specrec_core.catalogue import SYNTHETIC, Chapter, Suite, scaled_suite
from specrec_core.claims import Claim, Comparison, Reported
from specrec_core.records import Experiment
from specrec_core.result_claims import chosen_on_validation
from specrec_core.scaling_claims import Planned
from specrec_core.studies import Study

ML100K = "recbole@7b02be5, random 80/20 per user, seed 0"
SEEDS = tuple(range(10))
SVD_WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256, 512)
NOISE = (0.0, 0.1, 0.2, 0.3, 0.5)
DROPS = ((0.0, 0.2), (0.3, 0.2), (0.5, 0.2))  # noise, share dropped

# ---------------------------------------------------------------------------------- what trains

# As the author's code trains all models, with early stopping after 11 epochs that are no better.
AUTHORS = Experiment(
    dataset="ml-100k",
    version=ML100K,
    dim=64,
    epochs=300,
    seeds=(0, 1, 2, 3, 4),
    test_split="8:1:1",
    candidates=100,
    redraw=True,
    patience=11,
    metric="ndcg@20",
    batch_size=2048,
)
_ON_GRAPH: dict[str, Any] = {"init": "xavier_sides", "l2": 1e-5, "l2_on": "norms"}
_BPR: dict[str, Any] = {"init": "xavier_normal"}
MODEL: dict[str, dict[str, Any]] = {
    "bpr": _BPR,
    "neumf": {"model": "neumf", "loss": "bce_mean", "init_std": 0.01, "batch_size": 1024},
    "lightgcn": {"model": "lightgcn", "layers": 2, **_ON_GRAPH},
    "sgl": {
        "model": "sgl",
        "layers": 3,
        **_ON_GRAPH,
        "reduction": "sum",
        "contrast_weight": 0.05,
        "contrast_temperature": 0.5,
        "edge_dropout": 0.1,
    },
    "bpr-drop": {**_BPR, "drop": 0.2, "drop_ramp": 400},  # ten epochs: the schedule is ours
}
DIRECTSPEC: dict[str, Any] = {  # the setting that chapter 5 chose; it takes the place of negatives
    "loss": "logistic_alignment",
    "regularizer": "directspec+",
    "strength": 0.7,
    "temperature": 4.0,
    "normalised": True,
    "init": "xavier",
    "batch_size": 256,
}
MODELS = ("bpr", "neumf", "lightgcn", "sgl")
DATASETS = ("ml-100k", "modcloth", "douban-28")
WIDTHS = tuple(2**k for k in range(1, 16))
STAND_INS = {  # generated, with the sizes of the two sets that cannot be had: data set → version
    "synthetic-modcloth": (
        "dcbm(n_users=47958, n_items=1378, n_communities=8, mean_degree=1.7263, exponent=2.2, "
        "assortativity=0.9, seed=0, test_fraction=0.2)"
    ),
    "synthetic-douban-28": (
        "dcbm(n_users=7387, n_items=28, n_communities=4, mean_degree=2.87675, exponent=2.2, "
        "assortativity=0.9, seed=0, test_fraction=0.2)"
    ),
}
STAND_IN_WIDTHS = WIDTHS[:12]
# What the paper leaves alone as the width grows, tuned at some widths: rate × penalty, and the
# initial scale at the rate and penalty of the code.
CONTROL_WIDTHS = (8, 32, 128, 512, 2048)
GRID: tuple[dict[str, Any], ...] = (
    *({"learning_rate": r, "l2": p} for r in (3e-4, 1e-3, 3e-3) for p in (0.0, 1e-2, 3e-2)),
    *({"init": "normal", "init_std": s} for s in (0.01, 0.1)),
)
METRIC = "ndcg[uni100]@20"  # 100 uniform negatives per test item, as in the author's code
PATIENT = {"bpr": (2, 4, 8), "lightgcn": (4, 16, 64), "sgl": (16, 64)}  # all epochs, no early stop
CHOSEN = {8: 8, 32: 4, 128: 4}  # width → position in `GRID` with the best NDCG@20 on validation
NOISY = ("bpr", "neumf", "lightgcn", "sgl", "bpr-drop")
BALANCES = ("none", "directspec", "multi-embedding")
NAMES = {
    "bpr": "BPR",
    "neumf": "NeuMF",
    "lightgcn": "LightGCN",
    "sgl": "SGL",
    "bpr-drop": "BPR with dropping",
    "none": "as it is",
    "directspec": "DirectSpec+ in place of negatives",
    "multi-embedding": "several sets of tables",
    "fm": "FM",
    "dcnv2": "DCNv2",
}
PANELS = {"bpr": "c", "neumf": "f", "lightgcn": "i", "sgl": "l"}  # those of ML-100K
RISES_AND_STAYS = ("logarithmic", "flat", "other")
FIGURE: dict[tuple[str, str], tuple[str, ...]] = {  # as an eye sees it; (k) is a copy of (l)
    ("bpr", "ml-100k"): ("double peak",),
    ("neumf", "ml-100k"): ("double peak",),
    ("lightgcn", "ml-100k"): ("double peak",),
    ("sgl", "ml-100k"): RISES_AND_STAYS,
    ("bpr", "modcloth"): ("logarithmic",),
    ("neumf", "modcloth"): ("logarithmic",),
    ("lightgcn", "modcloth"): ("logarithmic",),
    ("sgl", "modcloth"): RISES_AND_STAYS,
    ("bpr", "douban-28"): ("double peak",),
    ("neumf", "douban-28"): ("double peak",),
    ("lightgcn", "douban-28"): ("single peak",),
}


def scaling_label(model: str, dataset: str, width: int) -> str:
    """The label of a trained model of one width in the suite of chapter 12."""
    return f"{model} {dataset} d={width}"


def tuning_labels(width: int) -> list[str]:
    """The labels of BPR on ML-100K at one width with the settings of `GRID`, one seed each."""
    return [
        f"bpr d={width} " + " ".join(f"{k}={v:g}" for k, v in point.items() if k != "init")
        for point in GRID
    ]


def tuned_label(width: int) -> str:
    """The label of BPR on ML-100K with the setting of `GRID` that validation chose for a width."""
    return f"bpr tuned d={width}"


def patient_label(model: str, width: int) -> str:
    """The label of a model on ML-100K that trains for all epochs."""
    return f"{model} patient d={width}"


def noise_label(model: str, noise: float, width: int) -> str:
    """The label of a model trained on ML-100K with planted noise in the suite of chapter 13."""
    return f"{model} noise={noise:g} d={width}"


def balance_label(balance: str, width: int) -> str:
    """The label of BPR on ML-100K with a balanced spectrum in the suite of chapter 14."""
    return f"bpr {balance} d={width}"


def scaling_training(profile: str, data: str) -> Suite:
    """Chapter 12's sweeps of the width, by `scaling_label`: models × data sets × widths."""
    if data == "synthetic":
        return {}
    suite = {
        scaling_label(model, "ml-100k", width): AUTHORS.with_(**MODEL[model], dim=width)
        for model in MODELS
        for width in WIDTHS
    }
    for dataset, version in STAND_INS.items():
        for model in MODELS:
            for width in STAND_IN_WIDTHS:
                suite[scaling_label(model, dataset, width)] = AUTHORS.with_(
                    **MODEL[model], dim=width, dataset=dataset, version=version
                )
    for model, widths in PATIENT.items():
        for width in widths:
            suite[patient_label(model, width)] = AUTHORS.with_(
                **MODEL[model], dim=width, patience=AUTHORS.epochs
            )
    for width in CONTROL_WIDTHS:
        base = AUTHORS.with_(**MODEL["bpr"], dim=width)
        for label, point in zip(tuning_labels(width), GRID, strict=True):
            suite[label] = base.with_(**point, seeds=(0,))
        if width in CHOSEN:
            suite[tuned_label(width)] = base.with_(**GRID[CHOSEN[width]])
    return scaled_suite(suite, profile, data)


def noise_training(profile: str, data: str) -> Suite:
    """Chapter 13's sweeps of the width with planted noise and with dropping, by `noise_label`."""
    if data == "synthetic":
        return {}
    suite = {
        noise_label(model, noise, width): AUTHORS.with_(**MODEL[model], dim=width, noise=noise)
        for model in NOISY
        for noise in NOISE
        for width in WIDTHS
    }
    return scaled_suite(suite, profile, data)


def balance_training(profile: str, data: str) -> Suite:
    """Chapter 14's sweeps of the width with balanced spectra, by `balance_label`."""
    if data == "synthetic":
        return {}
    suite: dict[str, Experiment] = {}
    for width in WIDTHS:
        sets = min(4, width // 2)
        changes: dict[str, dict[str, Any]] = {
            "none": {"dim": width},
            "directspec": {"dim": width, **DIRECTSPEC},
            "multi-embedding": {"dim": width // sets, "model": "multi_mf", "sets": sets},
        }
        for balance, change in changes.items():
            suite[balance_label(balance, width)] = AUTHORS.with_(**MODEL["bpr"]).with_(**change)
    return scaled_suite(suite, profile, data)


# --------------------------------------------------------------------------------------- studies


def _svd(profile: str, data: str, **settings: Any) -> Study:
    quick = profile == "quick"
    real = data == "real"
    return Study.of(
        "study_scaling.svd_curve",
        dataset="ml-100k" if real else "synthetic",
        version=ML100K if real else SYNTHETIC,
        seeds=SEEDS[:2] if quick else SEEDS,
        widths=SVD_WIDTHS[::2] if quick else SVD_WIDTHS,
        negatives=100,
        draws=2 if quick else 5,
        **settings,
    )


def scaling_suite(profile: str, data: str) -> Suite:
    return {"svd": _svd(profile, data), **scaling_training(profile, data)}


def noise_suite(profile: str, data: str) -> Suite:
    suite: Suite = {
        f"svd noise={noise:g}": _svd(profile, data, **({"noise": noise} if noise else {}))
        for noise in NOISE
    }
    for noise, drop in DROPS:
        planted = {"noise": noise} if noise else {}
        suite[f"svd noise={noise:g} drop={drop:g}"] = _svd(profile, data, drop=drop, **planted)
    return suite | noise_training(profile, data)


PARTNERS = (2, 3, 5, 10, 30, 100)
RANKS = (1, 3, 5)
TOY_SEEDS = tuple(range(20))


# Click models on MovieLens 100K, as the paper has them on logs that need an application: K = 10,
# one set of s times the width ("SE") or s sets ("ME").
CLICK_MODELS = ("fm", "dcnv2")
CLICK_SCALES = (1, 2, 3, 4, 10)
CLICK_DIM = 10
CLICK_SEEDS = (0, 1, 2, 3, 4)


def clicks_label(model: str, kind: str, scale: int) -> str:
    """The label of a click model; ``kind`` is SE, ME, ensemble, or SE regularised."""
    return f"clicks {model} {kind} {scale}x"


def _clicks(profile: str, data: str) -> Suite:
    quick = profile == "quick"
    given: dict[str, Any] = {"dataset": "ml-100k", "version": ML100K} if data == "real" else {}
    given |= {"epochs": 2} if quick else {}
    seeds = CLICK_SEEDS[:2] if quick else CLICK_SEEDS

    def study(kind: str, **settings: Any) -> Study:
        return Study.of(f"study_collapse.{kind}", seeds=seeds, **given, **settings)

    suite: Suite = {}
    for model in CLICK_MODELS:
        for scale in CLICK_SCALES:
            wide = study("clicks", model=model, dim=CLICK_DIM * scale)
            suite[clicks_label(model, "SE", scale)] = wide
            if scale > 1:
                several = study("clicks", model=model, dim=CLICK_DIM, sets=scale)
                suite[clicks_label(model, "ME", scale)] = several
        averaged = study("ensemble", model=model, dim=CLICK_DIM, members=10)
        suite[clicks_label(model, "ensemble", 10)] = averaged
    for scale in (1, 4):
        kept = study("clicks", model="dcnv2", dim=CLICK_DIM * scale, regularised="formula")
        suite[clicks_label("dcnv2", "SE regularised", scale)] = kept
    return suite


def collapse_suite(profile: str, data: str) -> Suite:
    """The toy needs no data set, so ``data`` changes nothing in it."""
    quick = profile == "quick"

    def toy(**settings: Any) -> Study:
        return Study.of(
            "study_collapse.toy",
            seeds=TOY_SEEDS[:2] if quick else TOY_SEEDS,
            dim=10,
            rate=1.0,
            iterations=200 if quick else 5000,
            every=50,
            **settings,
        )

    suite: Suite = {f"toy values={n}": toy(partner=n) for n in PARTNERS}
    for rank in RANKS:
        suite[f"toy values=100 rank={rank}"] = toy(partner=100, rank=rank)
    for n in (3, 100):
        suite[f"toy decay values={n}"] = toy(partner=n, decay=1e-3)
    return suite | _clicks(profile, data) | balance_training(profile, data)


# ---------------------------------------------------------------------------------------- claims

PAPER = "He et al. 2025, figure 1 as we read it"
SUMMARY = "He et al. 2025, as summarised by others"
PREDICTION = "our prediction (2), from the hypothesis of four stages"
END = "abundance at the end"
NOISE_LABELS = tuple(f"svd noise={noise:g}" for noise in NOISE)


def _labels(model: str, dataset: str) -> tuple[str, ...]:
    return tuple(scaling_label(model, dataset, width) for width in WIDTHS)


def _noisy(model: str, noise: float) -> tuple[str, ...]:
    return tuple(noise_label(model, noise, width) for width in WIDTHS)


CHAPTERS = {
    "12_double_peak": Chapter(
        title="Is a wider embedding a better one?",
        datasets=("ml-100k",),
        suite=scaling_suite,
        verdicts=(
            *(
                Planned(
                    f"{NAMES[model]} on {dataset}: "
                    + ("no second peak" if kinds == RISES_AND_STAYS else kinds[0]),
                    _labels(model, dataset),
                    ask.fewer_than_two_peaks(METRIC)
                    if kinds == RISES_AND_STAYS
                    else ask.has_shape(kinds, METRIC),
                    source=PAPER,
                )
                for (model, dataset), kinds in FIGURE.items()
            ),
            *(
                Comparison(
                    f"{NAMES[model]} on ml-100k, d = {width}: NDCG@20 among 100 sampled",
                    scaling_label(model, "ml-100k", width),
                    METRIC,
                    Reported.lookup("scaling_figure1", panel=panel, width=str(width)),
                    tolerance=0.02,
                    digits=3,
                )
                for model, panel in PANELS.items()
                for width in (512, 4096)
            ),
            *(
                Claim(
                    f"{NAMES[model]}, d = {width}: trained for all epochs it gains at least 0.05 "
                    "NDCG@20 over the early stop",
                    (scaling_label(model, "ml-100k", width), patient_label(model, width)),
                    ask.gains(METRIC, 0.05),
                    source="our prediction, from runs of the public code",
                )
                for model, widths in PATIENT.items()
                for width in widths
            ),
            *(
                chosen_on_validation(f"BPR, d = {width}", tuning_labels(width), chosen)
                for width, chosen in CHOSEN.items()
            ),
            Claim(
                "SVD: sampled negatives and all items choose the same width, in every seed",
                ("svd",),
                ask.same_best_width,
                source="our expectation",
            ),
            Claim(
                "SVD: beyond the best width, NDCG@20 among all items loses the larger share",
                ("svd",),
                ask.falls_faster,
                source="our expectation, from the proposition on sampled negatives",
            ),
            Comparison(
                "SVD: standard deviation of NDCG@20 when the negatives are drawn anew",
                "svd",
                "deviation of draws",
                Reported.lookup(
                    "scaling_jitter",
                    quantity="standard deviation of validation NDCG@20 from epoch to epoch",
                ),
                tolerance=0.25,
                note="of BPR and LightGCN during training there, of a fixed SVD here",
            ),
        ),
    ),
    "13_robustness": Chapter(
        title="What does noise do to a wide embedding?",
        datasets=("ml-100k",),
        suite=noise_suite,
        verdicts=(
            *(
                Planned(
                    f"{NAMES[model]}: planted noise brings a second peak, or makes it larger",
                    tuple(label for noise in NOISE for label in _noisy(model, noise)),
                    ask.noise_makes_trained_peaks(METRIC),
                    source=PREDICTION,
                )
                for model in ("bpr", "neumf")
            ),
            Planned(
                "BPR has a second peak at some share of noise, and with dropping none there",
                tuple(x for m in ("bpr", "bpr-drop") for n in NOISE for x in _noisy(m, n)),
                ask.loses_second_peaks(
                    METRIC,
                    [noise_label("bpr", noise, 2).rpartition(" d=")[0] for noise in NOISE],
                    [noise_label("bpr-drop", noise, 2).rpartition(" d=")[0] for noise in NOISE],
                ),
                source=SUMMARY,
                note="the rule by which the paper drops is not known to us",
            ),
            Claim(
                "SVD: planted noise brings a second peak, or makes it larger",
                NOISE_LABELS,
                ask.noise_makes_two_peaks,
                source="the hypothesis of four stages, carried over",
                note="the hypothesis is about trained models",
            ),
            Claim(
                "SVD: the more noise, the narrower the best width",
                NOISE_LABELS,
                ask.noise_narrows,
                source="our expectation",
            ),
            Claim(
                "SVD: the share of NDCG@20 that noise of 50 % takes grows with the width",
                (NOISE_LABELS[0], NOISE_LABELS[-1]),
                ask.noise_costs_width,
                source="our expectation",
            ),
            Claim(
                "SVD: dropping the least likely fifth hits noise at least twice as often as the "
                "rest, noise 30 %",
                ("svd noise=0.3 drop=0.2",),
                ask.drops_noise,
                source="our expectation",
            ),
            *(
                Claim(
                    f"SVD: dropping the least likely fifth raises the best NDCG@20, noise {share}",
                    (f"svd noise={noise}", f"svd noise={noise} drop=0.2"),
                    ask.dropping_helps,
                    source="the idea of BPR_Drop, carried over",
                )
                for noise, share in (("0", "none"), ("0.3", "30 %"), ("0.5", "50 %"))
            ),
            Claim(
                "SVD: with dropping, d = 128 keeps more of the best NDCG@20, noise 30 %",
                ("svd noise=0.3", "svd noise=0.3 drop=0.2"),
                ask.dropping_widens(128),
                source=f"{SUMMARY}: dropping makes large widths usable",
                note="added after a first look at the records",
            ),
        ),
    ),
    "14_collapse": Chapter(
        title="Why does a wide embedding collapse?",
        suite=collapse_suite,
        verdicts=(
            Claim(
                "Toy: beside a partner of 3 values a table ends with less information abundance "
                "than beside one of 100, in every seed",
                ("toy values=3", "toy values=100"),
                ask.below("toy values=3", "toy values=100", END),
                source="Guo et al. 2024, figure 4 of the first version",
            ),
            *(
                Comparison(
                    f"Toy: abundance after 5000 iterations, partner of {n} values",
                    f"toy values={n}",
                    END,
                    Reported.lookup(
                        "collapse_toy", partner=str(n), seed="mean", iteration="5000"
                    ),
                    tolerance=0.1,
                    digits=2,
                    note="other random numbers; ours, too, with K = 10",
                )
                for n in (3, 100)
            ),
            Claim(
                "Toy: the more values the partner has, the more abundance the table keeps",
                tuple(f"toy values={n}" for n in PARTNERS),
                ask.grows_along(tuple(f"toy values={n}" for n in PARTNERS), END),
                source="our reading of Guo et al. 2024",
            ),
            Claim(
                "Toy: of two partners of 100 values, the one of rank 3 leaves the table less "
                "abundance, in every seed",
                ("toy values=100 rank=3", "toy values=100"),
                ask.below("toy values=100 rank=3", "toy values=100", END),
                source="our control",
            ),
            Claim(
                "Toy: abundance alone decides: a partner of 100 values and rank 3 does as much "
                "as one of 3 values, to 0.3",
                ("toy values=100 rank=3", "toy values=3"),
                ask.as_low("toy values=100 rank=3", "toy values=3", END, 0.3),
                source="our control",
            ),
            *(
                Claim(
                    f"{NAMES[model]} on ML-100K: ten sets have a higher AUC than one set of ten "
                    "times the width, intervals apart",
                    (clicks_label(model, "SE", 10), clicks_label(model, "ME", 10)),
                    ask.apart("auc"),
                    source="Guo et al. 2024, table 1, carried over",
                    note="other data",
                )
                for model in CLICK_MODELS
            ),
            *(
                Claim(
                    f"{NAMES[model]} on ML-100K: ten sets have a higher AUC than ten models, "
                    "averaged, intervals apart",
                    (clicks_label(model, "ensemble", 10), clicks_label(model, "ME", 10)),
                    ask.apart("auc"),
                    source="our control",
                )
                for model in CLICK_MODELS
            ),
            *(
                Claim(
                    f"{NAMES[model]} on ML-100K: one set gains less than 0.001 of AUC from ten "
                    "times the width",
                    (clicks_label(model, "SE", 1), clicks_label(model, "SE", 10)),
                    ask.no_gain("auc", 0.001),
                    source="Guo et al. 2024, table 1, carried over",
                    note="other data",
                )
                for model in CLICK_MODELS
            ),
            Claim(
                "DCNv2 on ML-100K, four times the width: the penalty raises the mean abundance, "
                "intervals apart",
                (clicks_label("dcnv2", "SE", 4), clicks_label("dcnv2", "SE regularised", 4)),
                ask.apart("mean abundance, side by side"),
                source="Guo et al. 2024, evidence III, carried over",
                note="other data",
            ),
            Claim(
                "DCNv2 on ML-100K, four times the width: the penalty does not raise the AUC",
                (clicks_label("dcnv2", "SE", 4), clicks_label("dcnv2", "SE regularised", 4)),
                ask.no_gain("auc", 0.001),
                source="Guo et al. 2024, evidence III, carried over",
                note="other data",
            ),
            *(
                Planned(
                    f"BPR as it is has a second peak on ML-100K; {NAMES[balance]}, it has none",
                    tuple(balance_label(x, w) for x in (BALANCES[0], balance) for w in WIDTHS),
                    ask.loses_second_peaks(METRIC, ["bpr none"], [f"bpr {balance}"]),
                    source="the question that joins both papers",
                )
                for balance in BALANCES[1:]
            ),
        ),
    ),
}  # fmt: skip
