"""Part III, Popularity: what chapter 8 trains, and how the strength of each method was chosen."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from specrec_core.baselines import RESN_MF
from specrec_core.catalogue import SYNTHETIC, Suite, scaled_suite
from specrec_core.records import Experiment
from specrec_core.studies import Study

TUNING_SEED = 100
COMMON, EVEN, COAT, DOUBAN = "ml-1m", "ml-1m evened", "coat", "douban-movie"
TRAINED = (COMMON, EVEN, COAT)
BACKBONES: dict[str, dict[str, Any]] = {
    "LightGCN": {"model": "lightgcn", "layers": 3, "init": "normal"},
    "XSimGCL": {  # the weight is that of its own authors; that of the paper is not known
        "model": "xsimgcl",
        "layers": 2,
        "init": "normal",
        "perturbation": 0.1,
        "contrast_layer": 2,
        "contrast_weight": 0.2,
        "contrast_temperature": 0.2,
        "variant": "official",
    },
}
SETS: dict[str, dict[str, Any]] = {
    COMMON: {},
    EVEN: {"test_split": "equal exposure"},
    COAT: {"dataset": "coat"},
    DOUBAN: {"dataset": "douban-movie", "version": "dvgrl@2cdb4e0, official split"},
    "gowalla": {"dataset": "gowalla", "version": "lightgcn@947ca2b, official split"},
    "yelp2018": {"dataset": "yelp2018", "version": "bsl@89e0267, official split"},
}
ON_COAT, ON_FILMS = (tuple(f"{where} {name}" for name in BACKBONES) for where in (COAT, COMMON))
SETS |= {
    f"{where} {name}": SETS[where] | backbone
    for where in (COAT, COMMON)
    for name, backbone in BACKBONES.items()
}
UNTUNED = ("gowalla", "yelp2018", *ON_FILMS)  # at the strength of the official example
CODE, FORMULA = "ReSN (code)", "ReSN (formula)"
_CODE = {"regularizer": "spectral_norm", "spectral_variant": "official"}
_FORMULA = {"regularizer": "spectral_norm"}
_ROWS = {  # InvCF compares embeddings, which batches of interactions have
    "loss": "sampled_softmax",
    "batch_size": 256,  # the work of distance correlation grows with its square
    "negatives": 32,
    "positives": "interactions",
    "l2_on": "tables",
    "reduction": "mean",
    "debias": "invcf",
}
METHODS: dict[str, dict[str, Any]] = {
    "MSE": {},
    "MSE, penalty tuned": {},
    CODE: _CODE,
    FORMULA: _FORMULA,
    "BPR": {"loss": "bpr"},
    f"{FORMULA}, BPR": {"loss": "bpr", **_FORMULA},
    "zero-sum": {"loss": "bpr", "debias": "zero_sum"},
    "MACR": {"loss": "bce", "debias": "macr"},
    "PD": {"loss": "bpr", "debias": "pd"},
    "PDA": {"loss": "bpr", "debias": "pda"},
    "IPS": {"debias": "ips"},
    # Its loss rests for many epochs before it moves: no early stop within the budget.
    "IPL": {"loss": "bpr", "debias": "ipl", "patience": 23},
    "InvCF": _ROWS,
}
SLOW = ("InvCF",)  # hours for each seed on MovieLens and Douban, on a CPU


def _settings(*values: tuple[float, ...]) -> list[dict[str, Any]]:
    return [{"debias_settings": v} for v in values]


# Three settings for each, around those of the authors where these are known.
PENALTIES = [{"l2": value} for value in (0.1, 0.3, 1.0)]
QUOTIENTS = [{"strength": b} for b in (1e-5, 1e-4, 1e-3)]
GRIDS: dict[str, list[dict[str, Any]]] = {
    "MSE, penalty tuned": PENALTIES,
    CODE: [{"strength": b} for b in (0.002, 0.01, 0.05)],
    FORMULA: QUOTIENTS,
    f"{FORMULA}, BPR": QUOTIENTS,
    "zero-sum": _settings((0.99,), (0.9,), (0.5,)),
    "MACR": _settings((1e-3, 1e-3, 0.0), (1e-3, 1e-3, 10.0), (1e-3, 1e-3, 40.0)),
    "PD": _settings((0.02,), (0.1,), (0.25,)),
    "PDA": _settings((0.02,), (0.1,), (0.25,)),
    "IPS": _settings((0.25, 0.01), (0.5, 0.1), (0.5, 0.01)),
    "IPL": _settings((10.0, 1.826), (100.0, 1.826), (1000.0, 1.826)),
    "InvCF": _settings((0.01, 1.0, 1e-5, 0.13), (0.01, 1.0, 1e-5, 0.3), (0.01, 1.0, 1e-5, 1.0)),
}
CHOSEN: dict[str, dict[str, int]] = {  # position with the best validation NDCG@20; see the claims
    COMMON: dict.fromkeys(GRIDS, 0) | {"MSE, penalty tuned": 1, "PDA": 2},
    COAT: dict.fromkeys(GRIDS, 0) | {"MSE, penalty tuned": 2, "zero-sum": 2, "IPL": 2},
    **{where: {CODE: 2, FORMULA: 0} for where in ON_COAT},
    DOUBAN: dict.fromkeys(GRIDS, 0)
    | {"MSE, penalty tuned": 1, CODE: 2, FORMULA: 1, "PDA": 2, "IPL": 2},
}
STRONG = {CODE: {"strength": 0.2}, FORMULA: {"strength": 1e-2}}
PROTOCOL = (
    "dim", "epochs", "loss", "reduction", "negatives", "positives", "batch_size", "learning_rate",
    "l2", "l2_on", "init", "evaluate_every", "patience", "metric",
)  # fmt: skip
RESHAPED = {
    "ml-1m": RESN_MF.version,
    "douban-movie": "dvgrl@2cdb4e0, official split",
    "citeulike": "directspec@21e0ebe, official split",
    "gowalla": "lightgcn@947ca2b, official split",
    "yelp2018": "bsl@89e0267, official split",
}
LEVELS = (1.0, 0.8, 0.6, 0.4, 0.3, 0.2, 0.15, 0.1)
FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
SIZES = (1000, 2000, 4000, 10_000, 100_000, 1_000_000)  # users; items are half as many
WHOLE = 4000  # users up to which all scores are decomposed: minutes on one core
_DIAL = {CODE: [{"strength": b} for b in (0.01, 0.05)]}
DIAL: dict[str, dict[str, list[dict[str, Any]]]] = {  # beside what validation chooses
    COMMON: _DIAL,
    EVEN: _DIAL | {FORMULA: [{"strength": b} for b in (1e-4, 1e-3)]},
}
README = {"strength": 0.01}
OF_README = f"{DOUBAN} {CODE}, README"
# Each difference between formula and code by itself. On Coat, where a batch holds all users, at
# three strengths; on MovieLens-1M at the strongest, with three seeds, and there too the users of a
# batch, a third of all, whose squared norm is about a third.
SIGMOID, CONSTANT = "sigmoid, direction free", "scores, direction constant"
BATCH = "scores of a batch, direction free"
ABLATION: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    CODE: (_CODE, (0.01, 0.05, 0.2)),
    SIGMOID: (_CODE | {"spectral_variant": "sigmoid"}, (0.01, 0.05, 0.2)),
    CONSTANT: (_FORMULA | {"detach_start": True}, (1e-4, 1e-3, 1e-2)),
    FORMULA: (_FORMULA, (1e-4, 1e-3, 1e-2)),
}
BATCHES = {BATCH: (_FORMULA | {"spectral_variant": "batch"}, (1e-2, 3e-2))}
PUSHED = (0.0, 0.01, 0.05, 0.2)  # strengths of ReSN (code) whose lists are described


def setting(change: dict[str, Any]) -> str:
    """A setting of a grid in a label."""
    ((name, value),) = change.items()
    values = value if isinstance(value, tuple) else (value,)
    return f"{name.removeprefix('debias_')}=" + ",".join(f"{v:g}" for v in values)


def experiment(where: str, method: str = "MSE", point: dict[str, Any] | None = None) -> Experiment:
    """A method on a data set, at a point of its grid."""
    return RESN_MF.with_(**SETS[where], **METHODS[method], **(point or {}))


def grid_of(where: str) -> str:
    """The data set whose validation split chose the settings that another one uses."""
    return COMMON if where == EVEN else where


def methods_on(where: str) -> list[str]:
    """The methods that are trained on a data set, or on a backbone there."""
    if where in ON_COAT:
        return ["MSE", CODE, FORMULA, "BPR"]
    if where in UNTUNED:
        return ["MSE", CODE]
    return [name for name in METHODS if where == COAT or name not in SLOW]


def tuning_labels(method: str, where: str) -> list[str]:
    """The labels of a method's grid, in its order."""
    return [f"{where} tuning {method} {setting(point)}" for point in GRIDS[method]]


def _grid(where: str, method: str) -> dict[str, Experiment]:
    points = zip(tuning_labels(method, where), GRIDS[method], strict=True)
    return {
        label: experiment(where, method, point).with_(seeds=(TUNING_SEED,))
        for label, point in points
    }


def dial_label(where: str, method: str, point: dict[str, Any]) -> str:
    """The label of a setting that is run though validation does not choose it.

    With several seeds, and for its shape alone: nothing is selected by it.
    """
    return f"{where} dial {method} {setting(point)}"


def ablation_label(where: str, method: str, strength: float) -> str:
    """The label of a step between formula and code, or of one of them."""
    if method in STRONG and STRONG[method]["strength"] == strength:
        return f"{where} {method}, strong"
    return f"{where} step {method} strength={strength:g}"


def main_label(method: str, where: str) -> str:
    return f"{where} {method}"


def resn_suite(profile: str, data: str) -> Suite:
    """Every method on three ways of testing, its grid, and ReSN at strengths it does not choose."""
    suite: dict[str, Experiment] = {}
    for where in (*TRAINED, DOUBAN, *ON_COAT):
        for method in methods_on(where):
            if method not in GRIDS:
                suite[main_label(method, where)] = experiment(where, method)
                continue
            best = GRIDS[method][CHOSEN[grid_of(where)][method]]
            suite[main_label(method, where)] = experiment(where, method, best)
            if where in CHOSEN:
                suite |= _grid(where, method)
    for where in TRAINED:
        for method, change in STRONG.items():
            suite[f"{where} {method}, strong"] = experiment(where, method, change)
    for where, dials in DIAL.items():
        for method, points in dials.items():
            for point in points:
                suite[dial_label(where, method, point)] = experiment(where, method, point)
    for method, (settings, strengths) in ABLATION.items():
        for strength in strengths:
            label = ablation_label(COAT, method, strength)
            suite.setdefault(label, experiment(COAT).with_(**settings, strength=strength))
    on_films = {m: (ABLATION[m][0], ABLATION[m][1][-1:]) for m in (SIGMOID, CONSTANT)} | BATCHES
    for method, (settings, strengths) in on_films.items():
        for strength in strengths:
            label = ablation_label(COMMON, method, strength)
            suite[label] = experiment(COMMON).with_(**settings, strength=strength, seeds=(0, 1, 2))
    settings, strengths = ABLATION[CONSTANT]
    for strength in strengths[1:]:  # for its shape: nothing is selected by it
        label = ablation_label(EVEN, CONSTANT, strength)
        suite[label] = experiment(EVEN).with_(**settings, strength=strength)
    suite[OF_README] = experiment(DOUBAN, CODE, README)
    for where in UNTUNED:
        suite[main_label("MSE", where)] = experiment(where)
        suite[main_label(CODE, where)] = experiment(where, CODE, README)
    on_test = RESN_MF.with_(validation=0.0, epochs=121, patience=10, seeds=(0, 1, 2))
    suite["selected on test MSE"] = on_test
    suite[f"selected on test {CODE}"] = on_test.with_(**_CODE, **README)
    small = {"test_split": "source", "dim": 16}
    return scaled_suite(suite, profile, data, **small) | _studies(profile, data)


def _studies(profile: str, data: str) -> Suite:
    """What needs no training: spectra of interactions made flatter, and the estimate of σ₁."""
    quick = profile == "quick"
    names = {"synthetic": SYNTHETIC} if data == "synthetic" else RESHAPED
    suite: Suite = {}
    for name, version in names.items():
        for evened in (False, True):
            suite[f"reshaped {name}" + " evened" * evened] = Study.of(
                "study_popularity.reshaped", dataset=name, version=version,
                seeds=(0,) if quick else (0, 1, 2), dim=64, levels=LEVELS, factors=FACTORS,
                users=500 if quick else 2000, evened=evened,
            )  # fmt: skip
        suite[f"seen {name}"] = Study.of(
            "study_popularity.quotient", dataset=name, version=version, seeds=(0,),
            dimensions=(1, 2, 4, 8, 16, 32, 64),
        )  # fmt: skip
    for name, values in VARIED.items():
        for value in values:
            model = DRAWN | ({} if value == DRAWN.get(name, 0) else {name: value})
            if name == "n_users":
                model["n_items"] = int(value) * 3 // 4
            suite[drawn_label(name, value)] = Study.of(
                "study_popularity.planted_quotient", seeds=(0,) if quick else (0, 1, 2), **model
            )
    suite[SPARSE_GROUP] = Study.of(
        "study_popularity.planted_quotient", seeds=(0,) if quick else (0, 1, 2),
        **(DRAWN | {"mean_degree": 5.0, "group": 60}),
    )  # fmt: skip
    fields = {**dataclasses.asdict(RESN_MF), **SETS[COMMON]}
    given = {name: fields[name] for name in PROTOCOL}
    for strength in PUSHED:
        if data == "synthetic":
            break
        by = _CODE | {"strength": strength} if strength else {}
        suite[lists_label(strength)] = Study.of(
            "study_lists.described", dataset=RESN_MF.dataset, version=RESN_MF.version,
            seeds=(0,) if quick else (0, 1, 2),
            protocol=json.dumps(given | by | ({"epochs": 20} if quick else {})),
        )  # fmt: skip
    for n in SIZES[:2] if data == "synthetic" else SIZES:
        suite[time_label(n)] = Study.of(
            "study_speed.spectral_norm", seeds=(0,) if quick else (0, 1, 2), users=n, items=n // 2,
            dim=64, whole=n <= WHOLE,
        )  # fmt: skip
    return suite


# Interactions drawn from a block model, one thing changed at a time.
DRAWN: dict[str, Any] = {
    "n_users": 2000, "n_items": 1500, "n_communities": 10, "mean_degree": 20.0,
    "exponent": 2.2, "assortativity": 0.5,
}  # fmt: skip
VARIED: dict[str, tuple[float, ...]] = {
    "n_users": (500, 1000, 2000, 4000, 8000, 16_000),  # three quarters as many items
    "mean_degree": (5.0, 10.0, 20.0, 50.0, 100.0),
    "assortativity": (0.1, 0.3, 0.5, 0.7, 0.9),
    "exponent": (1.8, 2.2, 3.0, 5.0),
    "group": (0, 20, 40, 60, 80, 120, 160),  # so many users with all of so many items
}
SPARSE_GROUP = "drawn mean_degree=5 group=60"


def drawn_label(name: str, value: float) -> str:
    return "drawn" if value == DRAWN.get(name, 0) else f"drawn {name}={value:g}"


def lists_label(strength: float) -> str:
    return f"lists of {COMMON} β={strength:g}"


def time_label(n: int) -> str:
    return f"time of {n} users"


EVENED = (
    *(dial_label(EVEN, CODE, point) for point in DIAL[EVEN][CODE]),
    f"{EVEN} {CODE}, strong",
    main_label("MSE", EVEN),
)
AGAINST_EVENED = tuple(main_label(m, EVEN) for m in ("zero-sum", "MACR", "PD", "PDA", "IPS", "IPL"))
FRONT = (*tuning_labels(CODE, COMMON), f"{COMMON} {CODE}, strong")


def rivals(where: str) -> list[str]:
    """Every setting of the grids of methods other than ReSN."""
    methods = [m for m in methods_on(where) if m in GRIDS and not m.startswith(("ReSN", "MSE"))]
    return [label for m in methods for label in tuning_labels(m, where)]
