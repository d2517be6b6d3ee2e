"""What a page is made from: data sets, versions, library, records; and digests of them.

A page is made anew when any of these has changed, and not when something else has.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import platform
from collections.abc import Collection, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from specrec_core import catalogue, records

LIBRARIES = (
    "torch", "numpy", "scipy", "pandas", "scikit-learn", "gensim", "matplotlib", "seaborn",
    "plotly",
)  # fmt: skip
# These change what is printed and checked around a chapter, and no number in it.
ASIDE = ("book", "weaving", "made_from", "sweep", "progress")


def digest(*parts: Any) -> str:
    """16 hexadecimal digits that stand for the `repr` of the parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def files(folder: Path, without: Collection[Path] = ()) -> list[tuple[str, str]]:
    """Each file under a folder with the digest of its bytes; nothing that Python leaves there."""
    found = (path for path in folder.rglob("*") if path.is_file() and path not in without)
    kept = (path for path in found if "__pycache__" not in path.parts and path.suffix != ".part")
    made = []
    for path in sorted(kept):
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile: the part of a record
            made.append((str(path.relative_to(folder)), digest(path.read_bytes())))
    return made


def installed() -> dict[str, str]:
    """Versions of Python and of the libraries that change numbers, without importing them."""
    out = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            pass
    return out


def library(folder: Path, chapter: str) -> str:
    """Digest of all of the library and its data registry that may change a number of a chapter."""
    known = catalogue.chapters().get(chapter)
    own = known.suite.__module__.rpartition(".")[2] if known else ""
    parts = [path for path in folder.glob("part[0-9]*.py") if path.stem != own]
    return digest(files(folder, [*parts, *(folder / f"{name}.py" for name in ASIDE)]))


def measured(chapter: str, data: str) -> str:
    """Digest of what the records of a chapter's experiments hold, save times and devices."""
    held: list[Any] = []
    for profile in catalogue.PROFILES if chapter in catalogue.chapters() else ():
        for label, experiment in sorted(catalogue.suite(chapter, profile, data).items()):
            record = records.find(experiment)
            results = (record.metrics, record.history, record.spectrum) if record else None
            held.append((label, experiment.name, json.dumps(results)))
    return digest(held)


def missing_data(chapter: str) -> dict[str, str]:
    """The data sets of a chapter that are neither here nor to be fetched, each with the reason."""
    needed = catalogue.datasets(chapter) if chapter in catalogue.chapters() else ()
    reasons = {name: _unavailable(name) for name in needed}
    return {name: reason for name, reason in reasons.items() if reason}


def at_hand(chapter: str, code: Sequence[str]) -> list[str]:
    """The data sets that a chapter without experiments may find: it looks at all there are."""
    if chapter in catalogue.chapters() or not any("datasets." in cell for cell in code):
        return []
    from specrec_core import datasets

    return [name for name in datasets.FREE if not _unavailable(name)]


def timed(folder: Path, code: Sequence[str]) -> list[tuple[str, str]]:
    """The files of benchmarks, for a chapter that reads them."""
    return files(folder) if any("speed." in cell for cell in code) else []


def estimated(code: Sequence[str]) -> list[tuple[str, list[float]]]:
    """The seconds of all records, for a chapter that estimates times from them."""
    if not any("Estimate(" in cell for cell in code):
        return []
    return [(record.name, record.seconds) for record in records.known()]


@functools.cache
def _unavailable(dataset: str) -> str:
    from specrec_core import datasets

    found = datasets.available(dataset)
    return "" if found else found.reason or f"{dataset} cannot be had"
