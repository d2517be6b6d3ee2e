"""Train and test replicas of an experiment, and write down what came of each."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy
import torch
import torch.nn.functional as F

from specrec_core import parts, spectra
from specrec_core.arguments import activation_of, device_named
from specrec_core.building import build
from specrec_core.corrections import Debiasing
from specrec_core.evaluation import evaluate, popularity_groups
from specrec_core.interactions import Interactions
from specrec_core.item_metrics import head_and_tail, spike_metrics
from specrec_core.lanes import Lanes
from specrec_core.models import MF, generator
from specrec_core.popularity import popularity_metrics
from specrec_core.ranking import Score, recommend
from specrec_core.records import Experiment, Record
from specrec_core.regularization import Regularizer
from specrec_core.sampled_evaluation import SampledEvaluation
from specrec_core.strengths import Strength
from specrec_core.training import Callback, History, fit, track_popularity, track_spectra

CUTS = (10, 20)
CONVENTIONS = ("standard", "truncated", "eleven")
BY_COSINE = {f"{name}@{k}" for name in ("ndcg", "recall") for k in CUTS}


def train(
    experiment: Experiment,
    data: Interactions | Sequence[Interactions],
    model: MF,
    *,
    varied: Mapping[str, Strength] | None = None,
    progress: bool = True,
) -> History:
    """`specrec_core.training.fit` with the settings of an experiment, spectra tracked.

    What is ``varied`` takes the place of the experiment's own settings; ``data`` may be one for
    each replica.
    """
    e = experiment
    own = {name: getattr(e, name) for name in parts.VARIED} | dict(varied or {})
    debias = Debiasing(e.debias, e.debias_settings)
    callbacks: tuple[Callback, ...] = (track_spectra,)
    if e.positives == "user chunks":  # the protocol under which popularity is followed
        one = data if isinstance(data, Interactions) else data[0]  # `fit` refuses several
        callbacks += (track_popularity(one, activation_of(e.loss), debias, model.users.device),)
    return fit(
        model,
        data,
        loss=e.loss,
        reduction=e.reduction,
        debias=debias,
        regularizer=Regularizer(
            e.regularizer,
            strength=own["strength"],
            temperature=own["temperature"],
            temperature_unrelated=own["temperature_unrelated"],
            self_similarity=e.self_similarity,
            normalised=e.normalised,
            shrink=own["shrink"],
            shrink_variant=e.shrink_variant,
            spectral_variant=e.spectral_variant,
            power_steps=e.power_steps,
            detach_start=e.detach_start,
        ),
        optimizer=e.optimizer,
        learning_rate=own["learning_rate"],
        decay=e.decay,
        l2=own["l2"],
        l2_on=e.l2_on,
        drop=e.drop,
        drop_ramp=e.drop_ramp,
        batch_size=e.batch_size,
        drop_last=e.drop_last,
        epochs=e.epochs,
        negatives=e.negatives,
        negative_distribution=e.negative_distribution,
        positives=e.positives,
        metric=e.metric,
        candidates=e.candidates,
        redraw=e.redraw,
        evaluate_every=e.evaluate_every,
        patience=e.patience,
        select="best" if e.validation else "last",
        callbacks=callbacks,
        progress=progress,
    )


def run_replicas(
    lanes: Sequence[Experiment],
    data: Sequence[Interactions],
    profile: str,
    device: torch.device,
    progress: bool,
) -> list[Record]:
    """Records of experiments of one kind and one seed each, trained as replicas of one model.

    ``data`` are those of each, the same object where they are the same.
    """
    experiment, seeds, varied = lanes[0], [lane.seeds[0] for lane in lanes], {}
    for name in parts.VARIED:
        values = [getattr(lane, name) for lane in lanes]
        if len(set(values)) > 1:
            varied[name] = torch.tensor(values, dtype=torch.float64)
    model = build(experiment, data[0], seeds, device, varied)
    own = Lanes.of(data, model)
    before = {f"initial {side}": s for side, s in _spectra(model).items()}
    history = train(experiment, data if own.several else data[0], model,
                    varied=varied, progress=progress)  # fmt: skip
    spectrum = before | _spectra(model)
    curves: dict[str, list[Any]] = {"epoch": history.epochs, **history.values}
    records = []
    for replicas, those in own.parts():
        part = model.part(replicas) if own.several else model
        of_part = {name: values[replicas] for name, values in spectrum.items()}
        metrics = _measured(experiment, those, part, of_part)
        if experiment.validation:
            best = f"validation {experiment.metric}"
            metrics[best] = [max(series) for series in history.values[best][replicas]]
        for position, r in enumerate(range(len(lanes))[replicas]):
            records.append(
                Record(
                    experiment=lanes[r],
                    metrics=_of(position, metrics),
                    selected_epoch=[history.best_epoch[r]],
                    epochs_run=[history.epochs_run[r]],
                    history=_of(r, curves),
                    spectrum=_of(r, spectrum),
                    seconds=[round(history.seconds[r], 3)],
                    device=device_name(device),
                    profile=profile,
                    versions=versions(),
                    data={
                        "version": those.version, "checksum": those.checksum, **those.statistics
                    },
                )
            )  # fmt: skip
    return records


def _measured(
    experiment: Experiment,
    data: Interactions,
    model: MF,
    spectrum: Mapping[str, list[list[float]]],
) -> dict[str, list[float]]:
    """What a test says of each replica of a trained model, by name, and of its ``spectrum``."""
    device = model.users.device
    groups = popularity_groups(torch.as_tensor(data.item_popularity, device=device))
    correct = Debiasing(experiment.debias, experiment.debias_settings)
    score = correct.on(data.csr("train", device)).scorer(model)
    truth, seen = data.csr("test", device), data.csr("train+validation", device)
    measured = evaluate(
        score, truth, seen, k=CUTS, conventions=CONVENTIONS, item_groups=groups
    ).mean
    measured.update(head_and_tail(score, truth, seen, data.item_popularity, k=CUTS))
    if experiment.candidates:
        sampled = SampledEvaluation(truth, seen, experiment.candidates)
        draws = [generator(seed, "candidates test", device) for seed in model.seeds]
        short = sampled.evaluate(score, draws, k=CUTS, conventions=CONVENTIONS[:1]).mean
        kind = f"[uni{experiment.candidates}]@"
        measured.update({name.replace("@", kind): short[name] for name in short})
    metrics = {name: value.tolist() for name, value in measured.items()}
    if experiment.normalised or experiment.loss == "alignment":
        # Trained on angles, tested on inner products: what angles would have given.
        by_angle = evaluate(cosine_scorer(model), truth, seen, k=CUTS).mean
        metrics |= {f"{n}, by cosine": v.tolist() for n, v in by_angle.items() if n in BY_COSINE}
    for side, per_seed in spectrum.items():
        if side.startswith("initial "):
            continue
        values = [torch.tensor(s, dtype=torch.float64) for s in per_seed]
        metrics[f"effective rank of {side}"] = [float(spectra.effective_rank(s)) for s in values]
        if experiment.sets or experiment.model == "neumf":
            abundance = [float(spectra.information_abundance(s)) for s in values]
            metrics[f"information abundance of {side}"] = abundance
    with torch.no_grad():
        users, items = model()
    if model.inner_product:
        alignment = spectra.popularity_alignment(users, items, data.item_popularity)
        metrics["alignment with popularity"] = alignment.tolist()
    if experiment.positives == "user chunks":
        users_of = truth.degree().nonzero().squeeze(1)
        lists = recommend(score, users_of, seen, max(CUTS))
        popular = popularity_metrics(
            users, items, lists, data.item_popularity, data.n_users, activation_of(experiment.loss)
        )
        metrics |= {name: value.tolist() for name, value in popular.items()}
    metrics.update(spike_metrics(model.tables()["items"], data.item_popularity))
    return metrics


def _of(replica: int, values: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    return {name: finite([value[replica]]) for name, value in values.items()}


@torch.no_grad()
def cosine_scorer(model: MF) -> Score:
    """As `MF.scorer`, of final embeddings divided by their norms; a row of zeros scores 0."""
    users, items = (F.normalize(x, dim=-1) for x in model())
    return lambda ids: users[:, ids] @ items.mT


@torch.no_grad()
def _spectra(model: MF) -> dict[str, list[list[float]]]:
    """Singular values of the tables, and of the scores where those are a product; six digits."""
    values = {side: spectra.singular_values(table) for side, table in model.tables().items()}
    if model.inner_product:
        values["scores"] = spectra.product_singular_values(*model())
    return {side: rounded(s.tolist()) for side, s in values.items()}


def rounded(rows: list[list[float]]) -> list[list[float]]:
    """Six digits of each."""
    return [[float(f"{value:.6g}") for value in row] for row in rows]


def finite(value: Any) -> Any:
    """JSON has no NaN: it becomes None (the loss of epoch 0, which has none)."""
    if isinstance(value, dict):
        return {key: finite(v) for key, v in value.items()}
    if isinstance(value, list):
        return [finite(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.8g}") if np.isfinite(value) else None
    return value


def versions(*further: str) -> dict[str, str]:
    """Of Python and of the libraries that numbers come from; of ``further`` ones where loaded."""
    always = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }
    loaded = [name for name in further if sys.modules.get(name) is not None]
    return always | {name: sys.modules[name].__version__ for name in loaded}


def device_of(name: str) -> torch.device:
    """The device ``cpu``, ``cuda`` or ``cuda:1``; ValueError where torch has none of that name."""
    kind, _, number = device_named(name).partition(":")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device is {name!r}, but torch {torch.__version__} sees {torch.cuda.device_count()} "
            "CUDA devices: use cpu, or install a torch with CUDA"
        )
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """What a record says of the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, threads: {torch.get_num_threads()})"
