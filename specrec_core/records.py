"""An experiment as a value, and the record that a run of it leaves.

An `Experiment` says everything that changes a result and nothing else: no device, no number of
workers, no profile. (The same seed draws other samples on another kind of device; its numbers then
differ as those of another seed do.) Its canonical JSON has a hash, and that hash is its name. A
`Record` is what one run of it measured; it is stored as one JSON file, written atomically and once,
so a sweep that is killed loses at most the experiment under way.

What is measured without training is a `specrec_core.studies.Study`; it leaves records likewise.

This module imports no torch: the published book reads records without it.
"""

from __future__ import annotations

import dataclasses
import json
import numbers
import operator
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from specrec_core import protocol
from specrec_core.json_files import write_json
from specrec_core.studies import Study, digest

PUBLISHED = Path(__file__).resolve().parents[1] / "book" / "results"


def written_to() -> Path:
    """Where records are written: ``$SPECREC_RESULTS`` if set, else the book's own results."""
    return Path(os.environ.get("SPECREC_RESULTS") or PUBLISHED)


@dataclass(frozen=True)
class Experiment:
    """One training protocol on one data set, for one or more seeds.

    A field that has its default value is left out of the canonical form, so that a later version
    of the library can add a field without renaming the experiments that do not use it.

    Parameters
    ----------
    dataset, version
        Name in `specrec_core.datasets` and the version of it that was meant; a run refuses data
        of any other version.
    validation, split_seed
        Share of each user's training interactions held out for selection, and the seed of that
        split. The split is the same for every seed of the experiment. With ``validation=0`` all
        of them train, nothing is selected and every replica keeps the last epoch.
    test_split
        Train and test of the ``source``; or moved before validation is carved, until items have
        ``equal exposure`` in test (`specrec_core.exposure`, its seed 0); or all interactions split
        anew ``8:1:1``, drawn from ``split_seed`` (`specrec_core.splitting`).
    noise, noise_kind
        Random interactions planted in train, as a share of it, and whether they are ``added`` or
        have ``replaced`` others; see `specrec_core.noise`.
    model, dim, layers, propagation
        Encoder, embedding dimension, and of graph models the layers and their ``mean`` or ``sum``.
    hidden, dropout; sets, width; contrast_weight … variant
        Of ``neumf``; of the ``multi_`` models (`specrec_core.neural`); of ``sgl`` and ``xsimgcl``
        (`specrec_core.contrastive`), to whom all but ``variant`` must be given.
    loss, reduction, negatives, negative_distribution, positives
        Training loss, a ``mean`` or a ``sum`` over the positives of a batch; negatives per
        positive; how they and the positives are drawn. With ``user chunks`` a batch is
        ``batch_size`` users with all their positives.
    drop, drop_ramp
        Share of a batch dropped in the end, and steps until then; see
        `specrec_core.losses.SampleDrop`.
    regularizer, strength, temperature, temperature_unrelated, self_similarity
        What balances the spectrum, and how hard; see `specrec_core.regularization.Regularizer`.
    spectral_variant, power_steps, detach_start; debias, debias_settings
        See `specrec_core.spectral_norm`, and `specrec_core.corrections.Debiasing`.
    normalised, shrink, shrink_variant
        Rows of the batch divided by their norms before, and shrunk after that; see there.
    optimizer, learning_rate, decay, l2, l2_on, init, init_std
        The rate is multiplied by ``decay`` after each epoch. ``l2`` multiplies half the squared
        norm, per positive, of the rows gathered for a batch: of the ``tables``, or the ``rows``
        that the loss sees; or half that of the ``whole`` tables. With ``norms`` it multiplies
        `specrec_core.losses.norms` instead. ``init_std`` is the standard deviation of the normal
        initialisation.
    batch_size, drop_last, epochs, evaluate_every, patience, metric
        Budget, and the early stop: a replica stops after ``patience`` evaluations without a
        better validation ``metric``, and keeps its best epoch. ``drop_last`` leaves out the last
        batch of an epoch where it is smaller than the others.
    candidates, redraw
        Select among that many sampled items per validation item (`SampledEvaluation`), drawn anew
        at each evaluation or once; 0: among all items. Tests then have both.
    seeds
        One replica each.
    """

    dataset: str
    version: str
    dim: int
    epochs: int
    seeds: tuple[int, ...]
    model: str = "mf"
    layers: int = 0
    loss: str = "bpr"
    negatives: int = 1
    negative_distribution: str = "uniform"
    positives: str = "interactions"
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    l2: float = 0.0
    init_std: float = 0.1
    batch_size: int = 1024
    evaluate_every: int = 1
    patience: int = 10
    metric: str = "ndcg@10"
    validation: float = 0.1
    split_seed: int = 0
    regularizer: str = "none"
    strength: float = 0.0
    temperature: float | None = None
    temperature_unrelated: float | None = None
    self_similarity: bool = True
    normalised: bool = False
    shrink: float = 0.0
    shrink_variant: str = "official"
    l2_on: str = "tables"
    decay: float = 1.0
    init: str = "normal"
    propagation: str = "mean"
    drop_last: bool = False
    reduction: str = "mean"
    spectral_variant: str = "paper"
    power_steps: int = 1
    detach_start: bool = False
    debias: str = "none"
    debias_settings: tuple[float, ...] = ()
    test_split: str = "source"
    noise: float = 0.0
    noise_kind: str = "added"
    hidden: tuple[int, ...] = (128, 64)
    dropout: float = 0.1
    sets: int | None = None
    width: int = 64
    contrast_weight: float | None = None
    contrast_temperature: float | None = None
    edge_dropout: float | None = None
    perturbation: float | None = None
    contrast_layer: int | None = None
    variant: str = "formula"
    drop: float = 0.0
    drop_ramp: int | None = None
    candidates: int = 0
    redraw: bool = False

    def __post_init__(self) -> None:
        # One value, one form: 1 and 1.0 must not give one experiment two names.
        for name in ("seeds", "hidden"):
            values = tuple(operator.index(s) for s in getattr(self, name))
            object.__setattr__(self, name, values)
        object.__setattr__(self, "debias_settings", tuple(map(float, self.debias_settings)))
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if str(f.type).startswith("float") and value is not None:
                object.__setattr__(self, f.name, float(value))
            if str(f.type).startswith("int") and isinstance(value, numbers.Integral):
                if not isinstance(value, bool):
                    object.__setattr__(self, f.name, int(value))  # json knows no numpy.int64
            if f.type == "bool" and not isinstance(value, bool):
                raise ValueError(f"{f.name} is {value!r}: expected True or False")
        protocol.check(self)

    def definition(self) -> dict[str, Any]:
        """The canonical form: every field that has no default, and every one that differs."""
        out = {}
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if value != f.default:
                out[f.name] = list(value) if isinstance(value, tuple) else value
        return dict(sorted(out.items()))

    @property
    def name(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return digest(self.definition())

    def with_(self, **changes: Any) -> Experiment:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True)
class Record:
    """What one run of an experiment or a study measured; every list has one entry per seed.

    Attributes
    ----------
    metrics
        Test metrics at the selected epoch.
    selected_epoch, epochs_run, seconds
        The epoch chosen on validation (0 is the initialisation), the epochs trained, and the
        wall time of training and evaluation, per seed.
    history
        ``{"epoch": [...], name: [[value per evaluated epoch] per seed]}``.
    spectrum
        ``{"users": [[σ₁, σ₂, …] per seed], "items": …, "initial users": …, …}``.
    device, profile, versions, data
        What made the numbers: the device, the profile (``quick`` or ``paper``), the versions of
        Python and the libraries, and the checksum and statistics of the data.
    """

    experiment: Experiment | Study
    metrics: Mapping[str, list[float]]
    selected_epoch: list[int]
    epochs_run: list[int]
    history: Mapping[str, list[Any]]
    spectrum: Mapping[str, list[list[float]]]
    seconds: list[float]
    device: str
    profile: str
    versions: Mapping[str, str]
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.experiment.name

    @property
    def training(self) -> Experiment:
        """The training protocol; TypeError for the record of a study, which has none."""
        if isinstance(self.experiment, Study):
            raise TypeError(f"record {self.name} is of the study {self.experiment.kind}")
        return self.experiment

    def series(self, name: str) -> tuple[list[int], list[list[float]]]:
        """Epochs and values per seed of one series of the history, cut to the shortest seed."""
        shortest = min(len(epochs) for epochs in self.history["epoch"])
        return self.history["epoch"][0][:shortest], [s[:shortest] for s in self.history[name]]

    def save(self, folder: Path | None = None) -> Path:
        """Write ``<name>.json`` in place of what is there: whole, or not at all."""
        return write_json(self._path(folder), self._body())

    def publish(self, folder: Path | None = None) -> bool:
        """Write ``<name>.json`` unless it is there, and say whether this record is what it holds.

        Of several processes that publish one record at once, one writes it; see
        ``json_files.write_json``.
        """
        try:
            write_json(self._path(folder), self._body(), replace=False)
        except FileExistsError:
            return False
        return True

    def _path(self, folder: Path | None) -> Path:
        return (folder or written_to()) / f"{self.name}.json"

    def _body(self) -> dict[str, Any]:
        definition = self.experiment.definition()
        return {"name": self.name, **dataclasses.asdict(self), "experiment": definition}


def provenance(*found: Record) -> str:
    """One line for a figure's foot: profile, seeds, device, and the record where it is one.

    Records that differ in these are all named, so that a quick stand-in never hides among them.
    """
    lines: dict[str, list[str]] = {}
    for record in found:
        n = len(record.experiment.seeds)
        device = record.device.partition(" (")[0]
        line = f"{record.profile} · {n} seed{'s' * (n > 1)} · {device}"
        lines.setdefault(line, []).append(record.name[:8])
    return "; ".join(
        f"{line} · " + (f"record {names[0]}" if len(names) == 1 else f"{len(names)} records")
        for line, names in lines.items()
    )


def read(path: Path) -> Record:
    """The record in a file; ValueError if it is none, or not the one it is named after."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        fields = body.pop("experiment")
        experiment: Experiment | Study = (
            Study.from_definition(fields) if "kind" in fields else Experiment(**fields)
        )
        name = body.pop("name")
        record = Record(experiment=experiment, **body)
    except (ValueError, KeyError, TypeError) as error:  # what json does not read is a ValueError
        raise ValueError(f"{path} is not a record ({error}): delete it and run again") from error
    if not name == record.name == path.stem:
        raise ValueError(
            f"{path} says it is {name} and its experiment hashes to {record.name}: "
            "records are never edited by hand; delete it and run again"
        )
    return record


def find(experiment: Experiment | Study) -> Record | None:
    """The record, from where records are written or else the book; or None."""
    path = path_of(experiment)
    return None if path is None else read(path)


def path_of(experiment: Experiment | Study) -> Path | None:
    """The file that `find` reads, or None."""
    paths = (folder / f"{experiment.name}.json" for folder in _folders())
    return next((path for path in paths if path.exists()), None)


def _folders() -> list[Path]:
    return list(dict.fromkeys((written_to(), PUBLISHED)))


def known() -> Iterator[Record]:
    """All records, those where records are written and those of the book, each once."""
    seen = set()
    for folder in _folders():
        for path in sorted(folder.glob("[0-9a-f]" * 16 + ".json")):
            if path.name not in seen:
                seen.add(path.name)
                yield read(path)


def published() -> Iterator[Record]:
    """All records of the book, by name."""
    for path in sorted(PUBLISHED.glob("[0-9a-f]" * 16 + ".json")):
        yield read(path)
