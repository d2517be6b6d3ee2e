"""One record from several: seeds that ran by themselves, joined when all of them are there.

On a CPU, where replicas gain nothing from training together, a sweep runs each seed of an
experiment as an experiment of its own. What a seed left is kept beside the records until the last
one is done; so a sweep that is killed loses one seed, and seeds spread over processes.

This module imports no torch.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from specrec_core import records
from specrec_core.arguments import check_own_data
from specrec_core.records import Experiment, Record
from specrec_core.studies import Study, digest

Work = Experiment | Study

VARIED = (
    "learning_rate", "l2", "strength", "temperature", "temperature_unrelated", "shrink",
    "contrast_weight", "contrast_temperature",
)  # fmt: skip
"""Settings that replicas of one model may have of their own; see `kind` for the share of noise."""


def kind(experiment: Experiment) -> str:
    """What experiments have in common that can train as replicas of one model.

    All but their seeds and the values of `VARIED`; of these, whether they are there and above 0.
    And but for their share of noise, where model and protocol let replicas have data of their own.
    """
    form = experiment.with_(seeds=(0,)).definition()
    if own_data(experiment):
        form["noise"] = form["noise_kind"] = None
    for name in VARIED:
        value = getattr(experiment, name)
        form[name] = None if value is None else value > 0
    return digest(form)


def own_data(experiment: Experiment) -> bool:
    """Whether replicas of such a model may train on interactions of their own, and had better."""
    e = experiment
    try:
        check_own_data(e, e.positives, e.debias, e.drop)
    except ValueError:
        return False
    return e.layers == 0 and e.optimizer != "lazy_adam"  # that one is faster in turn


@dataclasses.dataclass(frozen=True)
class Together:
    """Experiments of one `kind`, to be run as replicas of one model, and their keys."""

    keys: tuple[str, ...]
    experiments: tuple[Experiment, ...]

    @property
    def name(self) -> str:
        """That of the first."""
        return self.experiments[0].name


def grouped(experiments: Mapping[str, Work]) -> dict[str, Work | Together]:
    """Experiments of one `kind` together, by the key of the first; studies by themselves."""
    groups: dict[str, dict[str, Experiment]] = {}
    for key, one in experiments.items():
        if isinstance(one, Experiment):
            groups.setdefault(kind(one), {})[key] = one
    found: dict[str, Work | Together] = dict(experiments)
    for group in groups.values():
        first, *others = group
        if others:
            found[first] = Together(tuple(group), tuple(group.values()))
            for key in others:
                del found[key]
    return found


def seeds_of(whole: Work) -> list[Work]:
    """The same once for each seed."""
    return [whole.with_(seeds=(seed,)) for seed in whole.seeds]


def folder() -> Path:
    return records.written_to() / "seeds"


def find(part: Work) -> Record | None:
    """What one seed left, or None."""
    try:
        return records.read(folder() / f"{part.name}.json")
    except FileNotFoundError:
        return None


def assemble(whole: Work) -> Record | None:
    """The record of ``whole``, written if every seed is there, and the parts dropped; or None.

    A record that is there stays as it is, also one that another process writes meanwhile.
    """
    record = records.find(whole)
    if record is None:
        found = [part for part in map(find, seeds_of(whole)) if part is not None]
        if len(found) == len(whole.seeds):
            joined(whole, found).publish()
        record = records.find(whole)  # another process may have it, and have dropped the parts
    if record is None:
        return None
    for part in seeds_of(whole):
        (folder() / f"{part.name}.json").unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # parts of other experiments are in it
        folder().rmdir()
    return record


def joined(whole: Work, parts: Sequence[Record]) -> Record:
    """The record that a run of all seeds together leaves, from those of its seeds, in order.

    Raises
    ------
    ValueError
        If the parts are not of the seeds, or were made on different kinds of device or data, by
        different profiles or versions.
    """
    wanted = [part.name for part in seeds_of(whole)]
    if [part.name for part in parts] != wanted:
        raise ValueError(f"parts are {[p.name for p in parts]}: expected {wanted}, in this order")
    first = parts[0]
    # Which libraries were loaded is no difference: another study may have run in a process before.
    shared = [k for k in first.versions if all(k in part.versions for part in parts)]
    versions = [{k: part.versions[k] for k in shared} for part in parts]
    for name, values in (
        ("kind of device", [part.device.partition(" (")[0] for part in parts]),
        ("profile", [part.profile for part in parts]),
        ("versions", versions),
    ):
        if any(value != values[0] for value in values):
            raise ValueError(
                f"{name} differs between the seeds of {whole.name}: {values}; delete the parts "
                f"in {folder()} that are old, and run again"
            )
    data = {k: v for k, v in first.data.items() if all(p.data.get(k) == v for p in parts)}
    if isinstance(whole, Experiment) and data != dict(first.data):
        raise ValueError(f"data differ between the seeds of {whole.name}: run all of them again")
    return dataclasses.replace(
        first,
        experiment=whole,
        metrics=lists([part.metrics for part in parts]),
        history=lists([part.history for part in parts]),
        spectrum=lists([part.spectrum for part in parts]),
        selected_epoch=[e for part in parts for e in part.selected_epoch],
        epochs_run=[e for part in parts for e in part.epochs_run],
        seconds=[s for part in parts for s in part.seconds],
        device=_devices([part.device for part in parts]),
        versions=versions[0],
        data=data,
    )


def _devices(names: Sequence[str]) -> str:
    """One name, as ``cpu (x86_64, threads: 1; x86_64, threads: 2)`` where details differ."""
    every = list(dict.fromkeys(names))
    if len(every) == 1:
        return every[0]
    kind, details = every[0].partition(" (")[0], [n.partition(" (")[2][:-1] for n in every]
    return f"{kind} ({'; '.join(details)})"


def check_versions(whole: Work, now: Mapping[str, str]) -> None:
    """ValueError if seeds of ``whole`` that are kept could not be joined with one made now."""
    for part in filter(None, map(find, seeds_of(whole))):
        other = {k: v for k, v in part.versions.items() if now.get(k, v) != v}
        if other:
            raise ValueError(
                f"seed {part.experiment.seeds[0]} of it was made with {other}, and here is {now}: "
                f"delete {folder() / part.name}.json, or run it with those versions"
            )


def lists(parts: Sequence[Mapping[str, list[Any]]]) -> dict[str, list[Any]]:
    """Lists per seed, one after the other; ValueError unless all parts give the same."""
    for part in parts:
        if part.keys() != parts[0].keys():
            raise ValueError(f"seeds differ in what they give: {set(part) ^ set(parts[0])}")
    return {key: [value for part in parts for value in part[key]] for key in parts[0]}
