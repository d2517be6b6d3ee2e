"""Data sets by name: ``load("citeulike")`` returns an `Interactions`, verified and split.

Where files come from, in this order, and nothing else is ever tried:

1. ``folder=``, where it is given;
2. ``$SPECREC_DATA/<data set>/<file>``, where that variable is set: a file that is missing there is
   an error, not a download;
3. the user's cache ``pooch.os_cache("specrec")``, filled by download from a pinned address.

Each freely fetchable file is verified by SHA-256 in all three cases. The other data sets (see
`RESTRICTED`) are read from 1 or 2; without the files the error says where to get them.

Splits. Where the source has train and test, they are kept. Otherwise ``floor(0.2 * n_u)`` pairs of
each user, drawn with a fixed seed, are the test set: it belongs to the definition of the data set
and does not depend on ``seed``. All ratings, listens and visits count as positive, unless the
entry says otherwise. Ids that no pair uses are left out, so that ids run from 0 without holes;
``user_ids`` and ``item_ids`` of the result give those of the source.

From a shell, which are at hand, and to have some before the network is gone::

    python -m specrec_core.datasets
    python -m specrec_core.datasets --fetch citeulike ml-1m
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pandas as pd

from specrec_core import clicks, registry, synthetic
from specrec_core.clicks import ClickLog
from specrec_core.fetching import CorruptData, DataUnavailable, Folder, data_folder, find, sha256
from specrec_core.interactions import Interactions, random_part
from specrec_core.readers import Source
from specrec_core.registry import Info, Layout

FREE = tuple(n for n, i in registry.register().items() if i.free and i.layouts[0].read)
RESTRICTED = tuple(n for n, i in registry.register().items() if not i.free)
SIDE_FILES = tuple(n for n, i in registry.register().items() if i.free and n not in FREE)
MADE: dict[str, dict[str, float]] = {  # by `synthetic.dcbm`, with these arguments
    "synthetic": {},
    # As many users, items and pairs as ModCloth has; a quarter of the users draw no pair.
    "synthetic-modcloth": {
        "n_users": 47_958, "n_items": 1_378, "n_communities": 8, "mean_degree": 82_790 / 47_958,
    },
    # A hundredth of the users of the 28 films of Douban, with as many films and pairs per user.
    "synthetic-douban-28": {
        "n_users": 7_387, "n_items": 28, "n_communities": 4, "mean_degree": 2_125_056 / 738_701,
    },
}  # fmt: skip
NAMES = (*MADE, *FREE, *RESTRICTED)


@dataclass(frozen=True)
class Availability:
    """Whether the files of a data set are at hand; false in a condition where they are not."""

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


def info(name: str) -> Info:
    """What is known of a data set: title, source, terms, citation keys, files, version.

    Raises
    ------
    ValueError
        If no such data set is registered (those of `MADE` are made, not registered).
    """
    entries = registry.register()
    if name in MADE:
        raise ValueError(f"name: {name!r} is drawn, and has no files; load({name!r}) makes it")
    if name not in entries:
        close = get_close_matches(name.lower(), entries, n=1)
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"name: {name!r}{meant}, expected one of {', '.join((*MADE, *entries))}")
    return entries[name]


def version(name: str) -> str:
    """The version of a data set that `load` would give."""
    return _made(name).version if name in MADE else info(name).version


def checksum(name: str) -> str:
    """SHA-256 that stands for the files of a data set; errors as with `load`."""
    if name in MADE:
        return _made(name).checksum
    entry = info(name)
    return _checksum(entry, list(_interaction_files(entry, None)[1].values()))


@overload
def load(  # type: ignore[overload-overlap]
    name: Literal["criteo", "avazu"],
    *,
    validation: float = ...,
    seed: int = ...,
    folder: Folder = ...,
) -> ClickLog: ...
@overload
def load(
    name: str,
    *,
    validation: float = ...,
    seed: int = ...,
    folder: Folder = ...,
) -> Interactions: ...
def load(
    name: str,
    *,
    validation: float = 0.1,
    seed: int = 0,
    folder: Folder = None,
) -> Interactions | ClickLog:
    """Load a data set, fetching its files where they can be and are not at hand.

    Parameters
    ----------
    name
        One of `NAMES`. Those of `MADE` come from `specrec_core.synthetic.dcbm`, and need no
        files. "criteo" and "avazu" are click logs: they come as a `ClickLog`, not split.
    validation, seed
        Share of each user's training pairs to carve off for validation
        (`Interactions.holdout`), and the seed that draws them.
    folder
        Folder that holds the files; see the module for where they are looked for without it.

    Raises
    ------
    ValueError
        If an argument is out of range, or a file is malformed or (`CorruptData`) not the one
        registered.
    DataUnavailable
        If files are missing and could not be fetched.
    """
    if not 0.0 <= validation < 1.0:
        raise ValueError(f"validation: {validation!r}, expected a share in [0, 1)")
    if name in MADE:
        return _made(name).holdout(validation, seed)
    entry = info(name)
    if entry.clicks:
        paths = list(_interaction_files(entry, folder)[1].values())
        read = {"criteo": clicks.read_criteo, "avazu": clicks.read_avazu}[name]
        return read(paths[0], version=entry.version, checksum=_checksum(entry, paths))
    source, paths = _read(entry, folder)
    data = _assemble(entry, source, _checksum(entry, paths))
    return data.holdout(validation, seed) if validation else data


def read(name: str, *, folder: Folder = None) -> Source:
    """The pairs as the files have them, in file order, with their ids and with repeats.

    For uses where multiplicity or order counts; errors as with `load`.
    """
    return _read(info(name), folder)[0]


def fetch(name: str, *, folder: Folder = None) -> dict[str, Path]:
    """Paths of all files of a data set by file name, side files included, verified.

    Files that are not at hand are downloaded where that is possible; errors as with `load`.
    """
    entry = info(name)
    if entry.free:
        return find(entry.name, entry.files, folder)
    return _interaction_files(entry, folder)[1]


def available(name: str, *, download: bool = True) -> Availability:
    """Try to have the files that `load` needs, without reading them.

    With ``download=False`` the network is left alone. A dead network is noticed within seconds.
    """
    if name in MADE:
        return Availability(True)
    try:
        _interaction_files(info(name), None, download)
    except (DataUnavailable, CorruptData) as error:
        return Availability(False, str(error))
    return Availability(True)


def _made(name: str) -> Interactions:
    arguments: dict[str, Any] = MADE[name]
    return replace(synthetic.dcbm(**arguments, validation_fraction=0.0), name=name)


def _read(entry: Info, folder: Folder) -> tuple[Source, list[Path]]:
    if all(layout.read is None for layout in entry.layouts):
        raise ValueError(
            f"name: {entry.name!r} holds no user-item interactions; use fetch({entry.name!r})"
        )
    layout, found = _interaction_files(entry, folder)
    assert layout.read is not None
    paths = list(found.values())
    return layout.read(paths), paths


def _interaction_files(
    entry: Info, folder: Folder, download: bool = True
) -> tuple[Layout, dict[str, Path]]:
    if entry.free:
        layout = entry.layouts[0]
        return layout, find(entry.name, layout.files, folder, download)
    where = Path(folder) if folder is not None else data_folder(entry.name)
    for layout in entry.layouts:
        found = [sorted(where.glob(pattern)) if where else [] for pattern in layout.files]
        if all(found):
            return layout, {path.name: path for paths in found for path in paths}
    sets = " or ".join(" and ".join(layout.files) for layout in entry.layouts)
    raise DataUnavailable(
        f"{entry.name} ({entry.title}) cannot be fetched freely, and {sets} "
        f"{f'is not in {where}' if where else 'cannot be looked for, as no folder is named'}. "
        f"Get the files from: {entry.source}. Terms: {entry.terms}. Put them into "
        f"$SPECREC_DATA/{entry.name}/, or name their folder: load({entry.name!r}, folder=...)."
    )


def _checksum(entry: Info, paths: Sequence[Path]) -> str:
    known = registry.files().get(entry.name, {})
    each = [known[p.name].sha256 if p.name in known else sha256(p) for p in paths]
    return hashlib.sha256("".join(sorted(each)).encode()).hexdigest()


def _assemble(entry: Info, source: Source, checksum: str) -> Interactions:
    tables = [t for t in (source.train, source.test) if t is not None]
    sizes = [len(t.users) for t in tables]
    found: dict[str, int] = {}
    for table in tables:
        for reason, number in table.found.items():
            found[reason] = found.get(reason, 0) + number
    users, user_ids = _compact(entry.name, "user", [t.users for t in tables], found)
    items, item_ids = _compact(entry.name, "item", [t.items for t in tables], found)
    pairs = np.stack([users, items], axis=1)
    named = (users >= 0) & (items >= 0)
    if not named.all():
        found["pairs without a user or item id"] = int((~named).sum())
    train, test = pairs[: sizes[0]], pairs[sizes[0] :]
    data = Interactions.from_pairs(
        entry.name,
        train[named[: sizes[0]]],
        test[named[sizes[0] :]],
        (len(user_ids), len(item_ids)),
        version=entry.version,
        checksum=checksum,
        dropped=found,
        user_ids=user_ids,
        item_ids=item_ids,
    )
    if source.test is None:
        held = random_part(data.train, 0.2, 0, "test")
        reasons = {k.replace("duplicate train", "duplicate"): n for k, n in data.dropped.items()}
        data = replace(data, train=data.train - held, test=held, dropped=reasons)
    without = data.statistics["users without train"]
    if without:
        data.dropped["users without train pairs (kept)"] = int(without)
    return data


def _compact(
    name: str, side: str, parts: list[np.ndarray], found: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Codes from 0 without holes in the order of the ids, -1 for an empty id; and the ids."""
    values = np.concatenate(parts)
    codes, ids = pd.factorize(values, sort=True)
    if values.dtype == object:
        empty = int((ids == "").sum())  # sorts first
        return codes - empty, np.asarray(ids[empty:], dtype=str)
    if len(ids) and ids[0] < 0:
        raise ValueError(f"{name}: {side} id {ids[0]}, expected non-negative integers")
    holes = int(ids[-1] - ids[0] + 1 - len(ids)) if len(ids) else 0
    if holes:
        found[f"{side} ids without any pair, closed up"] = holes
    return codes, ids


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of ``python -m specrec_core.datasets``."""
    parser = argparse.ArgumentParser(
        prog="python -m specrec_core.datasets", description="Which data sets are at hand."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="by default all that can be had")
    parser.add_argument("--fetch", action="store_true", help="download what is not, where allowed")
    options = parser.parse_args(arguments)
    missing = 0
    every = (*FREE, *SIDE_FILES) if options.fetch else (*FREE, *SIDE_FILES, *RESTRICTED)
    for name in options.names or every:
        try:
            found = available(name, download=options.fetch)
        except ValueError as error:
            parser.error(str(error))
        missing += not found
        print(f"{name}: at hand" if found else found.reason, flush=True)
    return 1 if options.fetch and missing else 0


if __name__ == "__main__":
    raise SystemExit(main())
