"""A study as a value: a measurement that no training protocol describes.

A `Study` names the function that measures, the data it measures, and its settings; like an
experiment it has a hash, which is its name, and leaves a record. The functions live in the modules
``study_*``, and return a `Measured` for each seed:

>>> Study.of("study_planted.table_row", seeds=(0, 1), communities=10).settings
{'communities': 10}

This module imports no torch: the published book reads records of studies without it.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import math
import operator
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from specrec_core.progress import bar

PLANTED = "planted"  # the data set of studies that make their own data
RESERVED = {"seed", "progress"}


@dataclass
class Measured:
    """What a study found for one seed: numbers, spectra, curves, and what the data were."""

    metrics: dict[str, float]
    spectrum: dict[str, list[float]] = field(default_factory=dict)
    curves: dict[str, list[Any]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A measurement, for one or more seeds; made by `Study.of`.

    Attributes
    ----------
    kind
        ``"<module>.<function>"``: the function of ``specrec_core`` that measures.
    dataset, version
        Name in `specrec_core.datasets` and the version of it that was meant, or `PLANTED`.
    seeds
        One measurement each.
    arguments
        The settings, sorted by name.
    """

    kind: str
    dataset: str
    version: str
    seeds: tuple[int, ...]
    arguments: tuple[tuple[str, Any], ...]

    @classmethod
    def of(
        cls,
        kind: str,
        *,
        dataset: str = PLANTED,
        version: str = "",
        seeds: Sequence[int] = (0,),
        **settings: Any,
    ) -> Study:
        """A study with its settings by name: numbers, texts, truth values or lists of them."""
        for name in RESERVED & set(settings):
            raise ValueError(f"{name} is a setting: expected another name, a study has its own")
        arguments = tuple((name, _frozen(name, settings[name])) for name in sorted(settings))
        return cls(kind, dataset, version, tuple(operator.index(s) for s in seeds), arguments)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"study_\w+\.[a-z]\w*", self.kind):
            raise ValueError(f"kind is {self.kind!r}: expected '<module study_*>.<function>'")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds is {self.seeds}: expected one or more distinct integers")
        if (self.dataset == PLANTED) != (not self.version):
            raise ValueError(
                f"version is {self.version!r} for dataset {self.dataset!r}: expected the version "
                f"of the data, or none for {PLANTED!r}"
            )

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.arguments)

    def definition(self) -> dict[str, Any]:
        """The canonical form."""
        made = {"dataset": self.dataset, "version": self.version} if self.version else {}
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in self.arguments}
        return {"kind": self.kind, **made, "seeds": list(self.seeds), "settings": settings}

    @classmethod
    def from_definition(cls, body: Mapping[str, Any]) -> Study:
        """The study whose canonical form is ``body``."""
        rest = {k: v for k, v in body.items() if k not in ("kind", "settings")}
        return cls.of(body["kind"], **rest, **body["settings"])

    @property
    def name(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return digest(self.definition())

    def with_(self, *, seeds: Sequence[int] | None = None, **settings: Any) -> Study:
        """A copy with other seeds or some settings changed."""
        body = self.definition()
        body["seeds"] = body["seeds"] if seeds is None else seeds
        return self.from_definition({**body, "settings": {**body["settings"], **settings}})


def digest(definition: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the SHA-256 of a definition's canonical JSON."""
    canonical = json.dumps(definition, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def measure(study: Study, *, progress: bool = True) -> tuple[list[Measured], list[float]]:
    """What a study finds for each seed, and the seconds that each took.

    Raises
    ------
    ValueError
        If there is no function of that kind, or the data at hand are of another version.
    """
    module, _, function = study.kind.partition(".")
    try:
        find = getattr(importlib.import_module(f"specrec_core.{module}"), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"kind is {study.kind!r}: {error}") from error
    if study.version:
        _check_version(study)
    given = {"dataset": study.dataset, "progress": progress, **study.settings}
    try:
        inspect.signature(find).bind(seed=0, **given)
    except TypeError as error:
        raise ValueError(f"settings of {study.kind} do not fit it: {error}") from error
    found, seconds = [], []
    with bar(study.seeds, study.kind, progress and len(study.seeds) > 1) as seeds:
        for seed in seeds:
            started = time.perf_counter()
            found.append(find(seed=seed, **given))
            seconds.append(time.perf_counter() - started)
    return found, seconds


def _check_version(study: Study) -> None:
    from specrec_core import datasets

    at_hand = datasets.version(study.dataset)
    if at_hand != study.version:
        raise ValueError(
            f"study wants {study.dataset} {study.version!r}, but the data at hand are "
            f"{at_hand!r}: define the study anew for this version"
        )


def _frozen(name: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(name, v) for v in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}: expected a finite number")
    if value is None or not isinstance(value, bool | int | float | str):
        raise ValueError(
            f"{name} is {value!r}: expected a number, a text, a truth value or a list of them"
        )
    return value
