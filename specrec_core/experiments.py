"""Run an experiment, or read its record.

>>> from specrec_core import catalogue, experiments                                # doctest: +SKIP
>>> wanted = catalogue.suite("01_spectra", "paper")["bpr d=64"]                     # doctest: +SKIP
>>> experiments.obtain(wanted, device="cuda").metrics["ndcg@10"]                    # doctest: +SKIP

From a shell, with torch, numpy, scipy and pandas alone::

    python -m specrec_core.experiments list
    python -m specrec_core.experiments run --budget 9m --only 01_spectra --device cuda
    python -m specrec_core.experiments show "01_spectra/bpr d=64"
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from specrec_core import catalogue, datasets, memory, parts, records
from specrec_core.arguments import one_of
from specrec_core.building import interactions
from specrec_core.records import Experiment, Record
from specrec_core.running import (
    device_name,
    device_of,
    finite,
    rounded,
    run_replicas,
    versions,
)
from specrec_core.studies import Study, measure


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
    if save and not record.publish():  # another process has written it meanwhile
        return records.find(experiment) or record
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
        Replicas that train at once; it changes the time, not the result. By default on a GPU as
        many as its memory holds, and one after another on a CPU, where batching gains nothing.

    Raises
    ------
    ValueError
        If the data at hand is not of the version that the experiment names, or there is no such
        device.
    MemoryError
        If the replicas that train at once need more memory than there is; it says how much.
    """
    one_of("profile", profile, catalogue.PROFILES)
    if isinstance(experiment, Study):
        if device != "cpu":
            print(f"{experiment.kind} is a study: it runs on the CPU, not on {device}", flush=True)
        return _studied(experiment, profile, progress)
    (record,) = run_together(
        [experiment], profile=profile, device=device, together=together, progress=progress
    )
    return record


def run_together(
    experiments: Sequence[Experiment],
    *,
    profile: str = "paper",
    device: str = "cpu",
    together: int | None = None,
    progress: bool = True,
) -> list[Record]:
    """`run` for experiments of one `parts.kind`: all their seeds are replicas of one model.

    The records are those that each leaves by itself, but for the seconds: each replica has its
    share, by interactions, of the time of all.

    Raises
    ------
    ValueError, MemoryError
        As `run`; and if the experiments are not of one `parts.kind`.
    """
    if not experiments:
        return []
    first = experiments[0]
    other = [e for e in experiments if parts.kind(e) != parts.kind(first)]
    if other:
        raise ValueError(
            f"{first.name} and {other[0].name} differ in more than seeds, "
            f"{', '.join(parts.VARIED)} and, without a graph, noise: run them one after another"
        )
    memory.keep_freed()
    where = device_of(device)
    every = [_noise(e) for e in experiments]
    of_noise = {noise: interactions(experiments[every.index(noise)]) for noise in set(every)}
    # Those with the same data beside each other.
    places = sorted(
        ((i, seed) for i, e in enumerate(experiments) for seed in e.seeds),
        key=lambda place: every[place[0]],
    )
    lanes = [experiments[i].with_(seeds=(seed,)) for i, seed in places]
    data = [of_noise[every[i]] for i, _ in places]
    counts = max(data, key=lambda one: one.train.nnz).statistics
    kinds = len(of_noise)
    if together is None:
        on_gpu = where.type == "cuda"
        most = len(lanes)
        together = memory.fitting(first, counts, where, most, datasets=kinds) if on_gpu else 1
    at_once = min(together, len(lanes))
    memory.check(first, counts, where, at_once, progress, datasets=min(kinds, at_once))
    made = [
        record
        for i in range(0, len(lanes), together)
        for record in run_replicas(
            lanes[i : i + together], data[i : i + together], profile, where, progress
        )
    ]
    by_place = dict(zip(places, made, strict=True))
    return [
        parts.joined(e, [by_place[i, seed] for seed in e.seeds]) for i, e in enumerate(experiments)
    ]


def _noise(experiment: Experiment) -> tuple[float, str]:
    return experiment.noise, experiment.noise_kind


def _studied(study: Study, profile: str, progress: bool) -> Record:
    found, seconds = measure(study, progress=progress)
    about = {k: v for k, v in found[0].data.items() if all(m.data.get(k) == v for m in found)}
    if study.version:
        about |= {"version": study.version, "checksum": datasets.checksum(study.dataset)}
    return Record(
        experiment=study,
        metrics=finite(parts.lists([{k: [v] for k, v in m.metrics.items()} for m in found])),
        selected_epoch=[],
        epochs_run=[],
        history=finite(parts.lists([{k: [v] for k, v in m.curves.items()} for m in found])),
        spectrum={k: rounded([m.spectrum[k] for m in found]) for k in found[0].spectrum},
        seconds=[round(s, 3) for s in seconds],
        device=device_name(torch.device("cpu")),
        profile=profile,
        versions=versions("sklearn", "gensim"),
        data=about,
    )


if __name__ == "__main__":
    # The classes must be those of the imported module, not of this second copy of it.
    from specrec_core.sweep import main

    raise SystemExit(main())
