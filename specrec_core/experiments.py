"""Run an experiment, or read its record.

>>> from specrec_core import catalogue, experiments                                # doctest: +SKIP
>>> wanted = catalogue.suite("01_spectra", "paper")["bpr d=64"]                     # doctest: +SKIP
>>> experiments.obtain(wanted, device="cuda").metrics["ndcg@10"]                    # doctest: +SKIP

From a shell, with torch, numpy, scipy and pandas alone::

    python -m specrec_core.experiments list
    python -m specrec_core.experiments run --budget 9m --only 01_spectra --device cuda
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy
import torch

from specrec_core import catalogue, datasets, memory, records, spectra
from specrec_core.arguments import activation_of, one_of
from specrec_core.building import build, interactions
from specrec_core.corrections import Debiasing
from specrec_core.evaluation import evaluate, popularity_groups
from specrec_core.interactions import Interactions
from specrec_core.item_metrics import head_and_tail, spike_metrics
from specrec_core.losses import unit
from specrec_core.models import MF, generator
from specrec_core.popularity import popularity_metrics
from specrec_core.ranking import Score, recommend
from specrec_core.records import Experiment, Record
from specrec_core.regularizers import Regularizer
from specrec_core.sampled_evaluation import SampledEvaluation
from specrec_core.studies import Study, measure
from specrec_core.training import Callback, History, fit, track_popularity, track_spectra

CUTS = (10, 20)
CONVENTIONS = ("standard", "truncated", "eleven")
BY_COSINE = {f"{name}@{k}" for name in ("ndcg", "recall") for k in CUTS}


def obtain(
    experiment: Experiment | Study,
    *,
    profile: str = "paper",
    device: str = "cpu",
    save: bool = True,
    progress: bool = True,
) -> Record:
    """The record of ``experiment``: read where there is one, otherwise run (and saved)."""
    one_of("profile", profile, catalogue.PROFILES)
    found = records.find(experiment)
    if found is not None:
        return found
    record = run(experiment, profile=profile, device=device, progress=progress)
    if save:
        record.save()
    return record


def shown(
    chapter: str, label: str, *, profile: str = "quick", device: str = "cpu", data: str = "real"
) -> Record | None:
    """What a page shows for one experiment of a chapter; None is shown as `not run yet`.

    The `paper` record where it exists; with profile ``paper`` it is made where it does not. On
    synthetic data, which never stand in for a record of real data, a `quick` run that is made now
    and not kept.
    """
    one_of("profile", profile, catalogue.PROFILES)
    one_of("data", data, catalogue.DATA)
    if data == "synthetic":
        quick = catalogue.suite(chapter, "quick", data)[label]
        return run(quick, profile="quick", device=device, progress=False)
    wanted = catalogue.suite(chapter, "paper")[label]
    return obtain(wanted, device=device) if profile == "paper" else records.find(wanted)


def run(
    experiment: Experiment | Study,
    *,
    profile: str = "paper",
    device: str = "cpu",
    together: int | None = None,
    progress: bool = True,
) -> Record:
    """Train and test every seed of ``experiment``; or measure, where it is a study (on the CPU).

    Parameters
    ----------
    together
        Replicas that train at once; it changes the time, not the result. By default all of them
        on a GPU, and one after another on a CPU, where batching them gains nothing.

    Raises
    ------
    ValueError
        If the data at hand is not of the version that the experiment names.
    MemoryError
        If the replicas that train at once need more memory than there is; it says how much.
    """
    one_of("profile", profile, catalogue.PROFILES)
    if isinstance(experiment, Study):
        if device != "cpu":
            print(f"{experiment.kind} is a study: it runs on the CPU, not on {device}", flush=True)
        return _studied(experiment, profile, progress)
    memory.keep_freed()
    data = interactions(experiment)
    where = torch.device(device)
    if together is None:
        together = len(experiment.seeds) if where.type == "cuda" else 1
    at_once = min(together, len(experiment.seeds))
    memory.check(experiment, data.statistics, where, at_once, progress)
    parts = [
        _run_replicas(experiment, data, experiment.seeds[i : i + together], where, progress)
        for i in range(0, len(experiment.seeds), together)
    ]
    histories = [p["history"] for p in parts]
    return Record(
        experiment=experiment,
        metrics=_joined([p["metrics"] for p in parts]),
        selected_epoch=[e for h in histories for e in h.best_epoch],
        epochs_run=[e for h in histories for e in h.epochs_run],
        history=_joined([{"epoch": h.epochs, **h.values} for h in histories]),
        spectrum=_joined([p["spectrum"] for p in parts]),
        seconds=[round(s, 3) for h in histories for s in h.seconds],
        device=_device_name(where),
        profile=profile,
        versions=_versions(),
        data={"version": data.version, "checksum": data.checksum, **data.statistics},
    )


def _studied(study: Study, profile: str, progress: bool) -> Record:
    found, seconds = measure(study, progress=progress)
    about = {k: v for k, v in found[0].data.items() if all(m.data.get(k) == v for m in found)}
    if study.version:
        about |= {"version": study.version, "checksum": datasets.checksum(study.dataset)}
    return Record(
        experiment=study,
        metrics=_joined([{k: [v] for k, v in m.metrics.items()} for m in found]),
        selected_epoch=[],
        epochs_run=[],
        history=_joined([{k: [v] for k, v in m.curves.items()} for m in found]),
        spectrum={k: _rounded([m.spectrum[k] for m in found]) for k in found[0].spectrum},
        seconds=[round(s, 3) for s in seconds],
        device=_device_name(torch.device("cpu")),
        profile=profile,
        versions=_versions("sklearn", "gensim"),
        data=about,
    )


def train(
    experiment: Experiment,
    data: Interactions,
    model: MF,
    *,
    progress: bool = True,
) -> History:
    """`specrec_core.training.fit` with the settings of an experiment, spectra tracked."""
    e = experiment
    debias = Debiasing(e.debias, e.debias_settings)
    callbacks: tuple[Callback, ...] = (track_spectra,)
    if e.positives == "user chunks":  # the protocol under which popularity is followed
        callbacks += (track_popularity(data, activation_of(e.loss), debias, model.users.device),)
    return fit(
        model,
        data,
        loss=e.loss,
        reduction=e.reduction,
        debias=debias,
        regularizer=Regularizer(
            e.regularizer,
            strength=e.strength,
            temperature=e.temperature,
            temperature_unrelated=e.temperature_unrelated,
            self_similarity=e.self_similarity,
            normalised=e.normalised,
            shrink=e.shrink,
            shrink_variant=e.shrink_variant,
            spectral_variant=e.spectral_variant,
            power_steps=e.power_steps,
            detach_start=e.detach_start,
        ),
        optimizer=e.optimizer,
        learning_rate=e.learning_rate,
        decay=e.decay,
        l2=e.l2,
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


def _run_replicas(
    experiment: Experiment,
    data: Interactions,
    seeds: Sequence[int],
    device: torch.device,
    progress: bool,
) -> dict[str, Any]:
    model = build(experiment, data, seeds, device)
    groups = popularity_groups(torch.as_tensor(data.item_popularity, device=device))
    spectrum = {f"initial {side}": s for side, s in _spectra(model).items()}
    history = train(experiment, data, model, progress=progress)
    spectrum.update(_spectra(model))
    correct = Debiasing(experiment.debias, experiment.debias_settings)
    score = correct.on(data.csr("train", device)).scorer(model)
    truth, seen = data.csr("test", device), data.csr("train+validation", device)
    measured = evaluate(
        score, truth, seen, k=CUTS, conventions=CONVENTIONS, item_groups=groups
    ).mean
    measured.update(head_and_tail(score, truth, seen, data.item_popularity, k=CUTS))
    if experiment.candidates:
        sampled = SampledEvaluation(truth, seen, experiment.candidates)
        draws = [generator(seed, "candidates test", device) for seed in seeds]
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
    if experiment.validation:
        best = f"validation {experiment.metric}"
        metrics[best] = [max(series) for series in history.values[best]]
    return {"metrics": metrics, "history": history, "spectrum": spectrum}


@torch.no_grad()
def cosine_scorer(model: MF) -> Score:
    """As `MF.scorer`, of final embeddings divided by their norms."""
    users, items = (unit(x) for x in model())
    return lambda ids: users[:, ids] @ items.mT


@torch.no_grad()
def _spectra(model: MF) -> dict[str, list[list[float]]]:
    """Singular values of the tables, and of the scores where those are a product; six digits."""
    values = {side: spectra.singular_values(table) for side, table in model.tables().items()}
    if model.inner_product:
        values["scores"] = spectra.product_singular_values(*model())
    return {side: _rounded(s.tolist()) for side, s in values.items()}


def _rounded(rows: list[list[float]]) -> list[list[float]]:
    return [[float(f"{value:.6g}") for value in row] for row in rows]


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Lists per seed of several groups of replicas, one after the other."""
    for part in parts:
        if part.keys() != parts[0].keys():
            raise ValueError(f"seeds differ in what they give: {set(part) ^ set(parts[0])}")
    return {key: _finite([x for part in parts for x in part[key]]) for key in parts[0]}


def _finite(value: Any) -> Any:
    """JSON has no NaN: it becomes None (the loss of epoch 0, which has none)."""
    if isinstance(value, list):
        return [_finite(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.8g}") if np.isfinite(value) else None
    return value


def _versions(*further: str) -> dict[str, str]:
    """Of Python and of the libraries that numbers come from; of ``further`` ones where loaded."""
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }
    loaded = [name for name in further if sys.modules.get(name) is not None]
    return versions | {name: sys.modules[name].__version__ for name in loaded}


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, threads: {torch.get_num_threads()})"


if __name__ == "__main__":
    # The classes must be those of the imported module, not of this second copy of it.
    from specrec_core.sweep import main

    raise SystemExit(main())
