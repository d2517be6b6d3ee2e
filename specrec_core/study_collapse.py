"""What the collapse chapter measures: the toy of three fields, and models of clicks as they widen.

Every function is a study (`specrec_core.studies`): one seed in, one `Measured` out.
"""

from __future__ import annotations

import numpy as np

from specrec_core import ctr, fields, spectra
from specrec_core.arguments import one_of
from specrec_core.interactions import generator
from specrec_core.studies import PLANTED, Measured

LOOKS = (0, 500, 1000, 2000, 5000)
CTR_MODELS = ("fm", "dcnv2")


def toy(
    *,
    dataset: str,
    seed: int,
    progress: bool,
    third: int,
    dim: int = 10,
    size: int = 100,
    iterations: int = 5000,
    rate: float = 1.0,
) -> Measured:
    """Information abundance of E_1 in the paper's toy, as it trains [guo2024collapse].

    Three fields, D_1 = D_2 = ``size`` and D_3 = ``third``; for each pair (x_1, x_2) one uniform x_3
    and one label of a fair coin. A factorisation machine Σ_{i<j} e_iᵀe_j under the mean logistic
    loss, all tables standard normal, of which E_1 alone is trained by gradient descent on all pairs
    at once. The dimension is not in the paper. The labels are noise, so only spectra are of
    interest.
    """
    draw = generator("collapse toy", seed)
    e1, e2 = (draw.normal(size=(size, dim)) for _ in range(2))
    e3 = draw.normal(size=(third, dim))
    x3 = draw.integers(0, third, (size, size))
    y = draw.integers(0, 2, (size, size)).astype(np.float64)
    partner = e2[None] + e3[x3]  # what e_1 is multiplied with, (x_1, x_2, K)
    constant = (e2[None] * e3[x3]).sum(-1)
    every = max(1, iterations // 100)
    curve: dict[str, list[float]] = {"iteration": [], "abundance": []}
    metrics = {}
    for step in range(iterations + 1):
        if step % every == 0 or step in LOOKS or step == iterations:
            value = float(spectra.information_abundance(spectra.singular_values(e1)))
            curve["iteration"].append(step)
            curve["abundance"].append(value)
            if step in LOOKS or step == iterations:
                metrics[f"abundance of E_1 at {step}"] = value
        logits = np.matmul(partner, e1[:, :, None])[..., 0] + constant
        slope = 1 / (1 + np.exp(-logits)) - y
        e1 = e1 - rate * np.matmul(slope[:, None], partner)[:, 0] / size**2
    metrics["abundance of E_3"] = float(spectra.information_abundance(spectra.singular_values(e3)))
    return Measured(metrics, curves=curve, data={"fields": 3})


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
    """AUC and abundance of a model of clicks; ``dataset`` is ml-100k, or planted.

    ``width`` is that of the blocks of ``dcnv2`` and of the projections of ``fm`` (0: the plain
    machine); ``layers`` and ``regularised`` are of ``dcnv2`` alone.
    """
    one_of("model", model, CTR_MODELS)
    one_of("dataset", dataset, (PLANTED, fields.MOVIELENS))
    log = fields.planted() if dataset == PLANTED else fields.movielens()
    sizes = log.cardinalities.tolist()
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
