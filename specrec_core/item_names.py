"""What items are called: titles, artists, tags and genres, from the side files of a data set.

Pictures and tables need them; no measurement of a model does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from specrec_core import datasets
from specrec_core.fetching import Folder


def names(dataset: str, *, folder: Folder = None) -> pd.DataFrame:
    """One row per item, indexed by the source's id: ``name``, ``by``, ``labels``.

    ``name`` is the title of a song or film or the name of an artist, ``by`` the artist of a song
    or else "", ``labels`` the tuple of its tags or genres. Items that no interaction uses have
    rows too.

    Raises
    ------
    ValueError
        If the data set names no items, or a side file is malformed.
    DataUnavailable
        If files are missing and could not be fetched.
    """
    if dataset not in _READERS:
        raise ValueError(
            f"dataset: {dataset!r} names no items, expected one of {', '.join(sorted(_READERS))}"
        )
    return _READERS[dataset](datasets.fetch(dataset, folder=folder))


def _songs(files: dict[str, Path]) -> pd.DataFrame:
    """Cornell's playlist data: a song a line, its tags in the same line of another file."""
    words = dict(line.split(", ", 1) for line in _lines(files["tag_hash.txt"]))
    songs = [line.split("\t") for line in _lines(files["song_hash.txt"])]
    tags = [line.split() for line in _lines(files["tags.txt"])]
    if len(songs) != len(tags) or any(len(song) != 3 for song in songs):
        raise ValueError(
            f"song_hash.txt has {len(songs)} lines and tags.txt {len(tags)}: expected the same "
            "number, and id, title, artist in each line of the first"
        )
    return _frame(
        [int(song[0]) for song in songs],
        # The file has each slash escaped.
        [song[1].replace("\\/", "/") for song in songs],
        [tuple(words[t] for t in each if t != "#") for each in tags],
        [song[2].replace("\\/", "/") for song in songs],
    )


def _artists(files: dict[str, Path]) -> pd.DataFrame:
    rows = [line.split("\t") for line in _lines(files["artists.dat"])[1:]]
    return _frame([int(row[0]) for row in rows], [row[1] for row in rows], [()] * len(rows))


def _films(files: dict[str, Path]) -> pd.DataFrame:
    table = pd.read_csv(files["movies.csv"], na_filter=False)
    genres = [
        tuple(each.split("|")) if each != "(no genres listed)" else () for each in table["genres"]
    ]
    return _frame(table["Id"].tolist(), table["title"].tolist(), genres)


def _old_films(files: dict[str, Path]) -> pd.DataFrame:
    rows = [line.split("\t") for line in _lines(files["ml-100k.item"])[1:]]
    return _frame(
        [int(row[0]) for row in rows],
        [f"{row[1]} ({row[2]})" for row in rows],
        [tuple(g for g in row[3].split() if g != "unknown") for row in rows],
    )


_READERS: dict[str, Callable[[dict[str, Path]], pd.DataFrame]] = {
    "cornell-yes1k": _songs,
    "lastfm-hetrec": _artists,
    "ml-latest-small": _films,
    "ml-100k": _old_films,
}


def _frame(
    ids: list[int], called: list[str], labels: list[tuple[str, ...]], by: list[str] | None = None
) -> pd.DataFrame:
    columns = {"name": called, "by": by or [""] * len(ids), "labels": labels}
    return pd.DataFrame(columns, index=pd.Index(ids, name="id"))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").rstrip("\n").split("\n")


def portraits(
    known: pd.DataFrame, groups: np.ndarray, norms: np.ndarray, largest: int = 12
) -> pd.DataFrame:
    """What the members of the largest groups have in common, one row per group.

    A label is typical of a group if it is frequent there and rarer elsewhere: at least a fifth of
    the labelled members have it, and s · ln(s / s₀) is large, where s is its share among the
    labelled members and s₀ among all labelled items.

    Parameters
    ----------
    known
        Rows of `names`, one per item.
    groups, norms
        ``(n,)``: group of each item (−1 for none) and norm of its embedding.
    largest
        How many groups.

    Returns
    -------
    Indexed by group: ``members``, ``norms`` (smallest and largest), ``longest`` (the member of
    largest norm), and, where the items have them, ``artists`` (the three commonest) and
    ``typical`` (up to three labels with their shares).
    """
    if not len(known) == len(groups) == len(norms):
        raise ValueError(
            f"groups, norms: {len(groups)} and {len(norms)} of them, expected {len(known)} as known"
        )
    sizes = np.bincount(groups[groups >= 0])
    everywhere = _shares(known["labels"])
    made = []
    for group in np.argsort(-sizes, kind="stable")[:largest]:
        rows = np.flatnonzero(groups == group)
        some = known.iloc[rows]
        longest = some.iloc[norms[rows].argmax()]
        row = {
            "group": int(group),
            "members": len(rows),
            "norms": f"{norms[rows].min():.0f}–{norms[rows].max():.0f}",
            "longest": ", ".join(filter(None, (longest["name"], longest["by"]))),
        }
        if (known["by"] != "").any():
            row["artists"] = ", ".join(some["by"].value_counts().index[:3])
        if len(everywhere):
            share = _shares(some["labels"])
            share = share[share >= 0.2]
            weight = share * np.log(share / everywhere[share.index])
            best = weight.sort_values(ascending=False, kind="stable").index[:3]
            row["typical"] = ", ".join(f"{tag} ({share[tag]:.0%})" for tag in best)
        made.append(row)
    return pd.DataFrame(made).set_index("group")


def _shares(labels: pd.Series) -> pd.Series:
    """Share of the labelled items that have each label, by its name."""
    labelled = labels[labels.map(len) > 0]
    counts = labelled.explode().value_counts().sort_index()
    return counts / max(len(labelled), 1)
