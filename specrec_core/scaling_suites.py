"""Part V, Scaling: what chapters 12, 13 and 14 train and measure.

Each chapter finds its experiments by the functions that end in ``label``, its suites by those that
end in ``suite``. On synthetic data nothing is trained but click models.
"""

from __future__ import annotations

from typing import Any

from specrec_core.catalogue import SYNTHETIC, Suite, scaled_suite
from specrec_core.records import Experiment
from specrec_core.studies import Study

ML100K = "recbole@7b02be5, random 80/20 per user, seed 0"
SEEDS = tuple(range(10))
SVD_WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256, 512)
NOISE = (0.0, 0.1, 0.2, 0.3, 0.5)
LEAVES = {"bpr": 32, "neumf": 2, "lightgcn": 64, "sgl": 128}  # from there on no run of ours rests
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
CONTROL_WIDTHS = (8, 32, 128, 512, 2048, 8192)
GRID: tuple[dict[str, Any], ...] = (
    *({"learning_rate": r, "l2": p} for r in (3e-4, 1e-3, 3e-3) for p in (0.0, 1e-2, 3e-2)),
    *({"init": "normal", "init_std": s} for s in (0.01, 0.1)),
)
METRIC = "ndcg[uni100]@20"  # 100 uniform negatives per test item, as in the author's code
FIXED = (512, 4096, 8192)  # BPR with the negatives of validation drawn once, and not every epoch
PATIENT = {"bpr": (2, 4, 8), "lightgcn": (4, 16, 64), "sgl": (16, 64)}  # all epochs, no early stop
CHOSEN = {8: 8, 32: 4, 128: 4, 512: 4}  # width → position in `GRID`, best on validation
NOISY = ("bpr", "neumf", "lightgcn", "sgl", "bpr-drop")
BALANCES = ("none", "log-determinant", "directspec", "multi-embedding")
# Of these the largest that costs BPR of 64 dimensions less than a fiftieth of validation NDCG@20.
PENALTIES, PENALTY, TUNING_SEED = (0.0, 1e-5, 1e-4, 1e-3), 1e-4, 100
LIGHTER = {256: 1e-5}  # width → another strength
NAMES = {
    "bpr": "BPR",
    "neumf": "NeuMF",
    "lightgcn": "LightGCN",
    "sgl": "SGL",
    "bpr-drop": "BPR with dropping",
    "none": "as it is",
    "log-determinant": "with a log-determinant penalty",
    "directspec": "DirectSpec+ in place of negatives",
    "multi-embedding": "several sets of tables",
    "fm": "FM",
    "dcnv2": "DCNv2",
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


def fixed_label(width: int) -> str:
    """The label of BPR on ML-100K whose epochs are all chosen among the same negatives."""
    return f"bpr fixed d={width}"


def noise_label(model: str, noise: float, width: int) -> str:
    """The label of a model trained on ML-100K with planted noise in the suite of chapter 13."""
    return f"{model} noise={noise:g} d={width}"


def balance_label(balance: str, width: int) -> str:
    """The label of BPR on ML-100K with a balanced spectrum in the suite of chapter 14."""
    return f"bpr {balance} d={width}"


def penalty_label(strength: float) -> str:
    """The label of BPR of 64 dimensions on ML-100K with that penalty, one seed."""
    return f"bpr log-determinant strength={strength:g}"


def lighter_label(width: int) -> str:
    """The label of BPR of a width with the strength of `LIGHTER`."""
    return f"bpr log-determinant d={width} strength={LIGHTER[width]:g}"


def scaling_training(profile: str, data: str) -> Suite:
    """Chapter 12's sweeps of the width, models × data sets × widths, and its controls."""
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
    for width in FIXED:
        suite[fixed_label(width)] = AUTHORS.with_(**MODEL["bpr"], dim=width, redraw=False)
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


def _penalised(strength: float) -> dict[str, Any]:
    return {"regularizer": "log_determinant", "strength": strength} if strength else {}


def balance_training(profile: str, data: str) -> Suite:
    """Chapter 14's sweeps of the width with balanced spectra, by `balance_label`."""
    if data == "synthetic":
        return {}
    suite: dict[str, Experiment] = {}
    for width in WIDTHS:
        sets = min(4, width // 2)
        changes: dict[str, dict[str, Any]] = {
            "none": {"dim": width},
            "log-determinant": {"dim": width, **_penalised(PENALTY)},
            "directspec": {"dim": width, **DIRECTSPEC},
            "multi-embedding": {"dim": width // sets, "model": "multi_mf", "sets": sets},
        }
        for balance, change in changes.items():
            suite[balance_label(balance, width)] = AUTHORS.with_(**MODEL["bpr"]).with_(**change)
    for strength in PENALTIES:
        change = {"dim": 64, "seeds": (TUNING_SEED,), **_penalised(strength)}
        suite[penalty_label(strength)] = AUTHORS.with_(**MODEL["bpr"]).with_(**change)
    for width, strength in LIGHTER.items():
        change = {"dim": width, **_penalised(strength)}
        suite[lighter_label(width)] = AUTHORS.with_(**MODEL["bpr"]).with_(**change)
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


# Click models on MovieLens 100K: DCNv2 as the collapse paper trains it on Criteo and Avazu, and a
# machine of ours. K = 10, and one set of s times the width ("SE") or s sets ("ME").
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
    """The toy, which needs no data set, click models, and BPR with balanced spectra."""
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

    suite: Suite = {f"toy values={n}": toy(partner=n) for n in (1, *PARTNERS)}
    for rank in RANKS:
        suite[f"toy values=100 rank={rank}"] = toy(partner=100, rank=rank)
    for n in (3, 100):
        suite[f"toy decay values={n}"] = toy(partner=n, decay=1e-3)
    return suite | _clicks(profile, data) | balance_training(profile, data)
