"""What a setting of an experiment may be: the choices, and checks that name what is wrong.

This module imports no torch.
"""

from __future__ import annotations

import math
import numbers
import re
from typing import Any

GRAPH_MODELS = ("lightgcn", "sgl", "xsimgcl", "multi_lightgcn")
NETWORK_MODELS = ("neumf", "multi_mf", "multi_lightgcn")
MODELS = ("mf", "neumf", "multi_mf", *GRAPH_MODELS)
PAIR_LOSSES = ("alignment", "logistic_alignment", "inner_product", "invariance")
SIGMOID_LOSSES = ("mse_sigmoid", "bce_sigmoid")  # of what a sigmoid makes of the scores
SCORE_LOSSES = ("bpr", "bce", "bce_mean", "mse", "sampled_softmax", *SIGMOID_LOSSES)
LOSSES = (*SCORE_LOSSES, *PAIR_LOSSES)
WEIGHTED_LOSSES = ("bpr", "bce", "mse_sigmoid")
TRANSFORMS = ("directspec", "directspec+")
PENALTIES = ("uniformity", "barlow_twins", "vicreg", "log_determinant", "spectral_contrastive")
REGULARIZERS = ("none", *TRANSFORMS, *PENALTIES, "spectral_norm")
SHRINKS = ("official", "unit")
SPECTRAL_VARIANTS = ("paper", "batch", "sigmoid", "official")
OF_SIGMOIDS = ("sigmoid", "official")  # variants of the norm after a sigmoid
ACTIVATIONS = ("none", "sigmoid")
L2_ON = ("tables", "rows", "whole", "norms")
REDUCTIONS = ("mean", "sum")
TEST_SPLITS = ("source", "equal exposure", "8:1:1")
NOISE_KINDS = ("added", "replaced")
VARIANTS = ("formula", "official")
INITS = ("normal", "xavier", "xavier_normal", "xavier_sides")
PROPAGATIONS = ("mean", "sum")
POSITIVES = ("interactions", "users", "user chunks")
NEGATIVES = ("uniform", "popularity")
OPTIMIZERS = ("adam", "adamw", "sgd", "momentum", "lazy_adam")
CONTRASTS = ("sgl", "xsimgcl")
OF_MODELS: dict[str, tuple[Any, tuple[str, ...]]] = {  # field: (default, models that use it)
    "layers": (0, GRAPH_MODELS),
    "propagation": ("mean", ("lightgcn", "sgl", "multi_lightgcn")),
    "hidden": ((128, 64), ("neumf",)),
    "dropout": (0.1, ("neumf",)),
    "sets": (None, ("multi_mf", "multi_lightgcn")),
    "width": (64, ("multi_mf", "multi_lightgcn")),
    "contrast_weight": (None, CONTRASTS),
    "contrast_temperature": (None, CONTRASTS),
    "edge_dropout": (None, ("sgl",)),
    "perturbation": (None, ("xsimgcl",)),
    "contrast_layer": (None, ("xsimgcl",)),
    "variant": ("formula", ("xsimgcl",)),
}
DEBIASING: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # name: (its settings in order, the losses it goes with)
    "none": ((), LOSSES),
    "zero_sum": (("weight",), ("bpr",)),
    "macr": (("items", "users", "reference"), ("bce",)),
    "pd": (("exponent",), ("bpr",)),
    "pda": (("exponent",), ("bpr",)),
    "ips": (("power", "least propensity"), WEIGHTED_LOSSES),
    "ipl": (("strength", "exponent"), SCORE_LOSSES),
    "invcf": (("popularity", "discrepancy", "both", "temperature"), ("sampled_softmax",)),
}
# The arguments of `check_combination`.
COMBINED = ("loss", "positives", "debias", "l2", "l2_on", "drop_last", "drop")
SELECTED_ON = ("ndcg", "recall", "precision", "hit", "mrr", "map")


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """ValueError unless ``value`` is one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}: expected one of {', '.join(allowed)}")


def whole(name: str, value: int, least: int) -> None:
    """ValueError unless ``value`` is an integer of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} is {value!r}: expected an integer of at least {least}")


def between(name: str, value: float, low: float, high: float, *, ends: bool = True) -> None:
    """ValueError unless ``low ≤ value < high`` (``low < value`` without ``ends``), and finite."""
    if not (math.isfinite(value) and (low <= value if ends else low < value) and value < high):
        raise ValueError(
            f"{name} is {value!r}: expected a number {'from' if ends else 'above'} {low:g}"
            + (f" and below {high:g}" if math.isfinite(high) else "")
        )


def device_named(name: str) -> str:
    """``cpu``, ``cuda`` or ``cuda:1``; ValueError unless it is the name of a device like these."""
    if not re.fullmatch(r"cpu|cuda(:[0-9]+)?", name):
        raise ValueError(f"device is {name!r}: expected cpu, cuda, or one of several as in cuda:1")
    return name


def whole_part(product: float) -> int:
    """⌊product⌋, where rounding error of the product is not to lower it: 2 of 0.2 · 10."""
    return int(product * (1 + 1e-12) + 1e-9)


def check_metric(metric: str) -> int:
    """The cut-off of a metric to select on; ValueError unless it is one that is better larger."""
    name, _, cut = metric.partition("@")
    if name not in SELECTED_ON or not re.fullmatch("[1-9][0-9]*", cut):
        raise ValueError(
            f"metric is {metric!r}: expected one of {', '.join(SELECTED_ON)} with a cut-off, "
            "such as 'ndcg@10'"
        )
    return int(cut)


def check_regularizer(settings: Any) -> None:
    """ValueError unless the fields of a regularizer agree; of an `Experiment` or on their own."""
    chosen = settings.regularizer
    one_of("regularizer", chosen, REGULARIZERS)
    one_of("shrink_variant", settings.shrink_variant, SHRINKS)
    between("shrink", settings.shrink, 0.0, math.inf)
    if settings.shrink_variant != "official" and not settings.shrink:
        raise ValueError(f"shrink_variant is {settings.shrink_variant!r} but shrink is 0")
    if chosen != "none":
        between("strength", settings.strength, 0.0, math.inf, ends=False)
    elif settings.strength != 0.0:
        raise ValueError(f"strength is {settings.strength!r} without a regularizer: expected 0")
    for name, default, having in (
        ("temperature", None, ("directspec+", "uniformity")),
        ("temperature_unrelated", None, ("directspec+",)),
        ("self_similarity", True, ("directspec+",)),
        ("spectral_variant", "paper", ("spectral_norm",)),
        ("power_steps", 1, ("spectral_norm",)),
        ("detach_start", False, ("spectral_norm",)),
    ):
        value = getattr(settings, name)
        if value != default and chosen not in having:
            raise ValueError(f"{name} is {value!r}: regularizer {chosen!r} has none")
        if name == "temperature" and value is None and chosen in having:
            raise ValueError(f"temperature is None: regularizer {chosen!r} needs a number")
        if default is None and value is not None:
            between(name, value, 0.0, math.inf)
    one_of("spectral_variant", settings.spectral_variant, SPECTRAL_VARIANTS)
    whole("power_steps", settings.power_steps, 1)
    if settings.spectral_variant == "official" and settings.detach_start:
        raise ValueError("detach_start is True: spectral_variant 'official' never lacks it")


def check_transform(settings: Any, loss: str) -> None:
    """ValueError for a transform of the batch together with a loss that draws negatives."""
    changes = settings.shrink or settings.regularizer in TRANSFORMS
    if changes and loss not in PAIR_LOSSES:
        raise ValueError(
            f"loss is {loss!r}: expected one without negatives ({', '.join(PAIR_LOSSES)}), as "
            f"regularizer {settings.regularizer!r} and shrink change the positives alone"
        )


def activation_of(loss: str) -> str:
    """What a loss makes of the scores before it compares them: a ``sigmoid``, or ``none``."""
    return "sigmoid" if loss in ("bce", "bce_mean", *SIGMOID_LOSSES) else "none"


def check_debias(name: str, settings: tuple[float, ...]) -> None:
    """ValueError unless ``settings`` are those of the method against popularity bias."""
    one_of("debias", name, tuple(DEBIASING))
    wanted = DEBIASING[name][0]
    if len(settings) != len(wanted):
        raise ValueError(
            f"debias_settings is {settings}: expected {len(wanted)} for {name!r}"
            + (f" ({', '.join(wanted)})" if wanted else "")
        )
    for label, value in zip(wanted, settings, strict=True):
        ends = label not in ("temperature", "power")
        below = 1.0 + 1e-12 if label in ("weight", "least propensity") else math.inf
        between(f"debias_settings ({label})", value, 0.0, below, ends=ends)


def check_lazy(optimizer: str, rows: bool, l2: float, l2_on: str, penalty: bool) -> None:
    """ValueError if ``lazy_adam`` has to move rows that no sample of a batch touches.

    ``rows``: whether gradients are of rows of the tables; ``penalty``: one of whole tables.
    """
    if optimizer == "lazy_adam" and (not rows or penalty or (l2 and l2_on == "whole")):
        raise ValueError(
            "optimizer is 'lazy_adam', which moves the rows of a batch alone: expected model 'mf', "
            "positives other than 'user chunks', and no penalty of whole tables"
        )


def of_all_scores(settings: Any) -> bool:
    """Whether the regularizer of these settings takes the scores of all items."""
    return bool(settings.regularizer == "spectral_norm" and settings.spectral_variant != "paper")


def check_combination(
    settings: Any,
    loss: str,
    positives: str,
    debias: str,
    l2: float,
    l2_on: str,
    drop_last: bool,
    drop: float = 0.0,
) -> None:
    """ValueError for a regularizer, loss, debiasing and way of drawing positives that disagree."""
    if loss not in DEBIASING[debias][1]:
        raise ValueError(
            f"loss is {loss!r}: expected one of {', '.join(DEBIASING[debias][1])} with debias "
            f"{debias!r}"
        )
    chunks = positives == "user chunks"
    if not chunks and settings.spectral_variant != "paper":
        raise ValueError(
            f"spectral_variant is {settings.spectral_variant!r}: expected positives 'user chunks', "
            f"not {positives!r}, as it is of a batch of users"
        )
    scored_only = "positives 'user chunks'" if chunks else f"debias {debias!r}"
    if chunks or debias != "none":
        if settings.regularizer not in ("none", "spectral_norm"):
            raise ValueError(
                f"regularizer is {settings.regularizer!r}: expected 'none' or 'spectral_norm' "
                f"with {scored_only}"
            )
        if settings.normalised or settings.shrink:
            raise ValueError(f"normalised and shrink: expected neither with {scored_only}")
        if drop:
            raise ValueError(f"drop is {drop!r}: expected 0 with {scored_only}")
    if chunks:
        if loss not in SCORE_LOSSES:
            raise ValueError(
                f"loss is {loss!r}: expected one of {', '.join(SCORE_LOSSES)} with {scored_only}"
            )
        if debias == "invcf":
            raise ValueError(f"debias is 'invcf': it needs embeddings, not {scored_only}")
        if l2 and l2_on != "whole":
            raise ValueError(f"l2_on is {l2_on!r}: expected 'whole' with {scored_only}")
        if drop_last:
            raise ValueError(f"drop_last is True: expected False with {scored_only}")


def check_model(settings: Any) -> None:
    """ValueError unless a model has the settings that it needs, and none of another."""
    chosen = settings.model
    one_of("model", chosen, MODELS)
    for name, (default, having) in OF_MODELS.items():
        value = getattr(settings, name)
        if chosen not in having and value != default:
            raise ValueError(f"{name} is {value!r}, but model {chosen!r} has none: expected "
                             f"{default!r}")  # fmt: skip
        if chosen in having and value is None:
            raise ValueError(f"{name} is None: model {chosen!r} needs a number")
    one_of("propagation", settings.propagation, PROPAGATIONS)
    one_of("init", settings.init, INITS)
    one_of("variant", settings.variant, VARIANTS)
    whole("layers", settings.layers, 1 if chosen in GRAPH_MODELS else 0)
    if not settings.hidden:
        raise ValueError("hidden is (): expected one or more widths")
    for width in settings.hidden:
        whole("hidden", width, 1)
    whole("width", settings.width, 1)
    between("dropout", settings.dropout, 0.0, 1.0)
    if settings.sets is not None:
        whole("sets", settings.sets, 1)
    if chosen in CONTRASTS:
        between("contrast_weight", settings.contrast_weight, 0.0, math.inf, ends=False)
        between("contrast_temperature", settings.contrast_temperature, 0.0, math.inf, ends=False)
    if chosen == "sgl":
        between("edge_dropout", settings.edge_dropout, 0.0, 1.0, ends=False)
    if chosen == "xsimgcl":
        between("perturbation", settings.perturbation, 0.0, math.inf, ends=False)
        whole("contrast_layer", settings.contrast_layer, 1)
        if settings.contrast_layer > settings.layers:
            raise ValueError(
                f"contrast_layer is {settings.contrast_layer}: expected at most layers, "
                f"{settings.layers}"
            )
    if settings.init == "xavier_sides" and chosen not in GRAPH_MODELS:
        raise ValueError(f"init is 'xavier_sides': it is 'xavier' to model {chosen!r}")
    if chosen in NETWORK_MODELS:
        check_network(settings, settings.loss, settings.positives, settings.debias)


def check_drop(drop: float, ramp: int | None, loss: str, reduction: str) -> None:
    """ValueError unless the settings of `specrec_core.losses.SampleDrop` agree."""
    between("drop", drop, 0.0, 1.0)
    if not drop:
        if ramp is not None:
            raise ValueError(f"drop_ramp is {ramp!r}, but drop is 0: expected None")
        return
    if ramp is None:
        raise ValueError("drop_ramp is None: expected the steps over which drop is reached")
    whole("drop_ramp", ramp, 1)
    if loss != "bpr" or reduction != "mean":
        raise ValueError(
            f"drop is {drop!r} for loss {loss!r} and reduction {reduction!r}: expected 0, or "
            "'bpr' and 'mean'"
        )


def check_candidates(candidates: int, redraw: bool) -> None:
    """ValueError unless the settings of a sampled evaluation agree."""
    whole("candidates", candidates, 0)
    if redraw and not candidates:
        raise ValueError("redraw is True, but candidates is 0: nothing is drawn")


def check_network(settings: Any, loss: str, positives: str, debias: str) -> None:
    """ValueError for what makes no sense where the score is a network of the rows."""
    if loss in PAIR_LOSSES:
        raise ValueError(f"loss is {loss!r}: expected one of scores, which a network gives")
    if positives == "user chunks":
        raise ValueError(f"positives is {positives!r}: it needs scores that are inner products")
    if debias != "none":
        raise ValueError(f"debias is {debias!r}: expected 'none' where the score is a network")
    for name, default in (("regularizer", "none"), ("normalised", False), ("shrink", 0.0)):
        value = getattr(settings, name)
        if value != default:
            raise ValueError(
                f"{name} is {value!r}: expected {default!r} where the score is a network"
            )


def check_own_data(settings: Any, positives: str, debias: str, drop: float) -> None:
    """ValueError for what replicas with interactions of their own cannot have.

    ``settings`` are those of the regularizer.
    """
    for name, value, expected in (
        ("positives", positives, POSITIVES[:2]),
        ("debias", debias, ("none",)),
        ("drop", drop, (0.0,)),
        ("temperature_unrelated", settings.temperature_unrelated, (None,)),
    ):
        if value not in expected:
            raise ValueError(
                f"{name} is {value!r}: expected {' or '.join(map(repr, expected))} where data "
                "differ between replicas"
            )
