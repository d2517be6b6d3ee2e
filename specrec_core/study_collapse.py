"""What chapter 14 measures: a table beside partners of low and of high abundance, click models.

Every function is a study (`specrec_core.studies`): one seed in, one `Measured` out.
"""

from __future__ import annotations

import math

import numpy as np

from specrec_core import ctr, datasets, fields, spectra
from specrec_core.arguments import between, one_of, whole
from specrec_core.clicks import ClickLog
from specrec_core.interactions import generator
from specrec_core.studies import PLANTED, Measured

CTR_MODELS = ("fm", "dcnv2")
LOGS = ("criteo", "avazu")  # of the paper; read where their files are


def toy(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    partner: int,
    rank: int = 0,
    values: int = 100,
    dim: int = 10,
    rate: float = 1.0,
    decay: float = 0.0,
    iterations: int = 5000,
    every: int = 100,
) -> Measured:
    """The toy experiment of [guo2024collapse]: one table of three learns, the labels are noise.

    Three fields with ``values``, ``values`` and ``partner`` values; each pair of values of the
    first two comes once, with a random third and a random label. The score is that of a
    factorisation machine, the loss the mean logistic loss, all tables start as N(0, 1), and only
    the first is trained, by full-batch gradient descent with a penalty ``decay``/2 ‖E₁‖².
    ``dim`` is not stated in the paper.

    ``rank`` > 0, not in the paper, makes the third table a random one of that rank with entries of
    variance 1: a partner of many values and low abundance.

    Where the rows of the third table do not span everything, the metrics tell the root mean
    square of the coordinates of the trained table along that span and along its complement at
    the end; at the start both are about 1.
    """
    for name, value in (("partner", partner), ("values", values), ("dim", dim), ("every", every)):
        whole(name, value, 1)
    whole("iterations", iterations, every)
    whole("rank", rank, 0)
    between("rate", rate, 0.0, math.inf, ends=False)
    between("decay", decay, 0.0, math.inf)
    draw = generator("toy of collapse", seed)
    first, second = draw.standard_normal((2, values, dim))
    third = (
        draw.standard_normal((partner, rank)) @ draw.standard_normal((rank, dim)) / math.sqrt(rank)
        if rank
        else draw.standard_normal((partner, dim))
    )
    with_third = draw.integers(0, partner, (values, values))
    labels = draw.integers(0, 2, (values, values)).astype(float)
    fixed = (second[None] * third[with_third]).sum(-1)
    into = np.arange(values)[:, None] * partner + with_third  # bins: first value, third value
    epochs, curve, ranks, losses = [], [], [], []
    for step in range(iterations + 1):
        score = first @ second.T + np.take_along_axis(first @ third.T, with_third, 1) + fixed
        slope = (1 / (1 + np.exp(-score)) - labels) / labels.size
        if step % every == 0:
            s = np.linalg.svd(first, compute_uv=False)
            epochs.append(step)
            curve.append(float(spectra.information_abundance(s)))
            ranks.append(float(spectra.effective_rank(s)))
            losses.append(float((np.logaddexp(0, score) - labels * score).mean()))
        summed = np.bincount(into.ravel(), slope.ravel(), values * partner)
        gradient = slope @ second + summed.reshape(values, partner) @ third
        first = first - rate * (gradient + decay * first)
    metrics = {
        "abundance of the partner": float(
            spectra.information_abundance(np.linalg.svd(third, compute_uv=False))
        ),
        "abundance at the start": curve[0],
        "abundance at the end": curve[-1],
        "effective rank at the end": ranks[-1],
        "loss at the end": losses[-1],
    }
    axes, span = np.linalg.svd(third)[2], int(spectra.numerical_rank(third))
    if span < dim:
        squares = (first @ axes.T) ** 2
        metrics["length along the partner"] = math.sqrt(squares[:, :span].mean())
        metrics["length along the others"] = math.sqrt(squares[:, span:].mean())
    return Measured(
        metrics,
        {"first table": np.linalg.svd(first, compute_uv=False).tolist()},
        {"iteration": epochs, "abundance": curve, "effective rank": ranks, "loss": losses},
        {"values": values, "partner": partner, "dim": dim},
    )


def clicks(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    model: str,
    dim: int,
    sets: int = 1,
    regularised: str = "",
    width: int = 400,
    layers: int = 4,
    epochs: int = 100,
    split_seed: int = 0,
) -> Measured:
    """AUC and abundance of a model of clicks; ``dataset`` is ml-100k, criteo, avazu, or planted.

    ``width`` is that of the blocks of ``dcnv2`` and of the projections of ``fm`` (0: the plain
    machine); ``layers`` and ``regularised`` are of ``dcnv2`` alone.
    """
    log = _log(dataset)
    sizes = log.cardinalities.tolist()
    one_of("model", model, CTR_MODELS)
    made: ctr.Clicks
    if model == "fm":
        if regularised or layers != 4:
            raise ValueError("layers and regularised: expected 4 and '', model 'fm' has neither")
        made = ctr.FM(sizes, dim, sets=sets, width=width, seed=seed)
    else:
        made = ctr.DCNv2(sizes, dim, sets=sets, layers=layers, width=width, seed=seed,
                         regularised=regularised)  # fmt: skip
    initial = ctr.abundance(made)
    train, validation, test = fields.split(log, split_seed)
    fitted = ctr.fit(made, log, train, validation, epochs=epochs)
    metrics = {
        "auc": ctr.auc(log.labels[test], ctr.predict(made, log, test)),
        "validation auc": max(fitted.auc),
        "epochs": float(len(fitted.auc)),
        "best epoch": float(fitted.best_epoch),
    }
    learned = ctr.abundance(made)
    for name, values in learned.items():
        metrics[f"mean abundance, {name}"] = float(np.mean(values))
    spectrum = {
        field: spectra.singular_values(np.concatenate(list(table.numpy()), axis=-1)).tolist()
        for field, table in zip(log.fields, made.tables(), strict=True)
    }
    curves: dict[str, list] = {
        "validation auc": fitted.auc,
        "loss": fitted.loss,
        "cardinality": sizes,
        "abundance": learned["side by side"],
        "abundance per set": learned["per set"],
        "initial abundance": initial["side by side"],
    }
    if isinstance(made, ctr.DCNv2):
        curves["projected abundance"] = made.projected_abundance().tolist()
    about = {"version": log.version, "checksum": log.checksum, "rows": len(log.labels)}
    return Measured(metrics, spectrum, curves, about)


def ensemble(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    model: str,
    dim: int,
    members: int,
    width: int = 400,
    epochs: int = 100,
    split_seed: int = 0,
) -> Measured:
    """AUC of the mean logit of ``members`` single-set models that differ in their seed alone.

    The control of several sets: what averaging does without any training together.
    """
    whole("members", members, 1)
    one_of("model", model, CTR_MODELS)
    log = _log(dataset)
    train, validation, test = fields.split(log, split_seed)
    kind = {"fm": ctr.FM, "dcnv2": ctr.DCNv2}[model]
    logits = np.zeros(len(test))
    single = []
    for member in range(members):
        made = kind(log.cardinalities.tolist(), dim, width=width, seed=seed * 1000 + member)
        ctr.fit(made, log, train, validation, epochs=epochs)
        own = ctr.predict(made, log, test)
        single.append(ctr.auc(log.labels[test], own))
        logits += own / members
    metrics = {"auc": ctr.auc(log.labels[test], logits), "auc of one": float(np.mean(single))}
    about = {"version": log.version, "checksum": log.checksum, "rows": len(log.labels)}
    return Measured(metrics, data=about)


def _log(dataset: str) -> ClickLog:
    one_of("dataset", dataset, (PLANTED, fields.MOVIELENS, *LOGS))
    if dataset in LOGS:
        found = datasets.load(dataset)
        assert isinstance(found, ClickLog)
        return found
    return fields.planted() if dataset == PLANTED else fields.movielens()
