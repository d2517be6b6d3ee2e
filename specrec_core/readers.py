"""One parser per file format: from the files as their sources publish them to raw pairs.

A parser takes paths and returns a :class:`Table`, the (user, item) pairs of the file in its order
with its own ids, repeats included; a :class:`Source` is the one or two tables of a data set.
Nothing is split, compacted or deduplicated here; `specrec_core.datasets` does that.
A malformed file raises ValueError, which names file, line where known, and what was expected.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import pandas as pd
import scipy.sparse as sp


@dataclass(frozen=True, eq=False)
class Table:
    """Pairs of one file: ``users`` and ``items``, ``(n,)`` each, int64 or str, as the file has
    them; ``found`` counts by reason what the parser left out."""

    users: np.ndarray
    items: np.ndarray
    found: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Source:
    """What the files of a data set hold: train and test where the source splits, else all."""

    train: Table
    test: Table | None = None


Reader = Callable[[Sequence[Path]], Source]


def split_in_two(parse: Callable[[Path], Table]) -> Reader:
    """A reader of two files of one format: first train, then test."""
    return lambda paths: Source(parse(paths[0]), parse(paths[1]))


def unsplit(parse: Callable[[Path], Table]) -> Reader:
    """A reader of one file that holds all pairs."""
    return lambda paths: Source(parse(paths[0]))


def table(
    path: Path,
    separator: str = ",",
    user: int = 0,
    item: int = 1,
    header: bool = True,
    integers: bool = True,
    minimum: tuple[int, float] | None = None,
) -> Table:
    """One pair per row of a delimited text file; ``user`` and ``item`` are column positions.

    ``minimum`` = (column, value) keeps the rows whose rating in that column reaches the value.
    Tab-separated files have no quoting.
    """
    wanted = sorted({user, item} | ({minimum[0]} if minimum else set()))
    options: dict[str, Any] = {
        "sep": separator,
        "header": 0 if header else None,
        "usecols": wanted,
        "na_filter": False,
        "quoting": 3 if separator == "\t" else 0,
        "encoding": "utf-8",
    }
    try:
        frame = pd.read_csv(path, **options, dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name}: not the delimited text expected: {error}") from error
    columns = {
        column: _numbers(frame.iloc[:, k], path, int(header), column in {user, item})
        if integers or column not in {user, item}
        else frame.iloc[:, k].to_numpy(dtype=object)
        for k, column in enumerate(wanted)
    }
    users, items = columns[user], columns[item]
    if minimum is None:
        return Table(users, items)
    keep = columns[minimum[0]] >= minimum[1]
    return Table(users[keep], items[keep], {f"rated below {minimum[1]:g}": int((~keep).sum())})


def lists(path: Path) -> Table:
    """``user item item …`` per line, non-negative integers separated by spaces."""
    return _lists(path.read_bytes(), path.name)


def lists_in_archive(path: Path, members: Sequence[str]) -> Source:
    """The format of :func:`lists` in two members (train, test) of a tar archive."""
    tables = []
    try:
        with tarfile.open(path) as archive:
            for member in members:
                content = archive.extractfile(member)
                if content is None:
                    raise ValueError(f"{path.name}: {member} is not a file in it")
                tables.append(_lists(content.read(), f"{path.name}:{member}"))
    except (tarfile.TarError, KeyError, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"{path.name}: not the archive expected: {error}") from error
    return Source(*tables)


def adjacency_and_lists(paths: Sequence[Path], n_users: int) -> Source:
    """Train as a symmetric bipartite adjacency (.npz, users first), test as :func:`lists`."""
    matrix = sp.csr_matrix(sp.load_npz(paths[0]))
    block = sp.coo_matrix(matrix[:n_users, n_users:])
    if 2 * block.nnz != matrix.nnz:
        raise ValueError(
            f"{paths[0].name}: {matrix.nnz} entries, of which {block.nnz} from the first {n_users} "
            "rows to the other columns; expected exactly half (bipartite, users first)"
        )
    return Source(Table(block.row.astype(np.int64), block.col.astype(np.int64)), lists(paths[1]))


def ratings_less_test(paths: Sequence[Path]) -> Source:
    """All rows (``user item rating time``, tabs, no header) and the test rows among them (CSV).

    Train is the multiset difference: a row repeated three times and tested once stays twice. It is
    in the order of users and items.
    """
    every, test = table(paths[0], "\t", header=False), table(paths[1])
    frames = [pd.DataFrame({"user": t.users, "item": t.items}) for t in (every, test)]
    for frame in frames:  # number the repeats of a pair, so that rows can be matched one to one
        frame["repeat"] = frame.groupby(["user", "item"]).cumcount()
    rows = frames[0].merge(frames[1], how="outer", indicator=True)
    absent = int((rows["_merge"] == "right_only").sum())
    if absent:
        raise ValueError(
            f"{paths[1].name}: {absent} rows are not in {paths[0].name}, expected all of them"
        )
    train = rows[rows["_merge"] == "left_only"]
    return Source(Table(train["user"].to_numpy(), train["item"].to_numpy()), test)


def json_rows(path: Path, user: str, item: str) -> Table:
    """One JSON object per line, gzipped or not; ``user`` and ``item`` are its keys.

    An id that is null is empty, as one that the source leaves out.
    """
    users: list[str] = []
    items: list[str] = []
    with _opened(path) as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
                for ids, key in ((users, user), (items, item)):
                    ids.append("" if row[key] is None else str(row[key]))
            except (json.JSONDecodeError, KeyError, TypeError) as error:
                expected = f"a JSON object with {user} and {item}"
                _reject(path.name, number, expected, repr(error), error)
    return Table(np.array(users, dtype=object), np.array(items, dtype=object))


def pickled_playlists(path: Path) -> Table:
    """A pickled list of playlists, each a list of song ids; users are playlist positions.

    Song ids may be integers or strings of digits. A pickle can run code when read; this one is
    read by an unpickler that refuses every class and function, and admits nothing but lists,
    integers and digits.
    """
    content = path.read_bytes()
    try:
        playlists = _PlainUnpickler(io.BytesIO(content)).load()
    except (pickle.UnpicklingError, EOFError, ValueError, IndexError, KeyError) as error:
        raise ValueError(f"{path.name}: not a pickle of lists of song ids: {error}") from error
    if type(playlists) is not list or any(type(songs) is not list for songs in playlists):
        raise ValueError(f"{path.name}: expected a list of lists")
    for number, songs in enumerate(playlists):
        for song in songs:
            if not (type(song) is int or (type(song) is str and song.isdecimal())):
                raise ValueError(
                    f"{path.name}: playlist {number} holds a {type(song).__name__}, "
                    "expected integers or digits"
                )
    return _playlists(((int(song) for song in songs) for songs in playlists), np.int64)


def lme_playlists(paths: Sequence[Path], minimum: int = 4) -> Source:
    """Playlist files of Cornell's LME data, concatenated: two header lines, then song ids.

    Playlists shorter than ``minimum`` songs are left out, as the code of [bibtex: spiky2023svd]
    does; unlike that code, which stops at the first empty line, empty lines are passed over.
    """
    kept: list[list[int]] = []
    found = {"empty lines": 0, f"playlists of fewer than {minimum} songs": 0}
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines()[2:], start=3):
            try:
                songs = [int(token) for token in line.split()]
            except ValueError as error:
                _reject(path.name, number, "song ids separated by spaces", line, error)
            if len(songs) >= minimum:
                kept.append(songs)
            else:
                reason = f"playlists of fewer than {minimum} songs" if songs else "empty lines"
                found[reason] += 1
    return Source(_playlists(kept, np.int64, found))


def aotm_playlists(path: Path) -> Table:
    """AotM-2011 JSON: per playlist, ``filtered_lists`` (lists of song ids) joined."""
    try:
        mixes = json.loads(path.read_text(encoding="utf-8"))
        songs = [[str(s) for part in mix["filtered_lists"] for s in part] for mix in mixes]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path.name}: {error!r}, expected a JSON list of objects with filtered_lists"
        ) from error
    return _playlists(songs, object)


def mpd_slices(paths: Sequence[Path]) -> Source:
    """Slices of Spotify's Million Playlist Dataset; users are ``pid``, items ``track_uri``."""
    users, items = [], []
    for path in paths:
        try:
            for playlist in json.loads(path.read_text(encoding="utf-8"))["playlists"]:
                tracks = [track["track_uri"] for track in playlist["tracks"]]
                users.append(np.full(len(tracks), int(playlist["pid"]), dtype=np.int64))
                items.append(np.array(tracks, dtype=object))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path.name}: {error!r}, expected a slice of the MPD") from error
    return Source(Table(np.concatenate(users), np.concatenate(items)))


def artist_plays(path: Path) -> Table:
    """Last.fm-360K: user, artist MBID, artist, plays; the name stands in for a missing MBID."""
    by_id = table(path, "\t", 0, 1, header=False, integers=False)
    by_name = table(path, "\t", 0, 2, header=False, integers=False)
    nameless = by_id.items == ""
    items = np.where(nameless, by_name.items, by_id.items)
    return Table(by_id.users, items, {"artists without MBID, known by name": int(nameless.sum())})


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"holds {module_name}.{global_name}, which is refused")


def _lists(content: bytes, name: str) -> Table:
    lines = [line.split() for line in content.splitlines()]
    sizes = np.array([len(line) for line in lines if line], dtype=np.int64)
    tokens = np.array([token for line in lines for token in line])
    try:
        ids = tokens.astype(np.int64) if len(tokens) else np.empty(0, dtype=np.int64)
    except (ValueError, OverflowError) as error:
        for number, line in enumerate(lines, start=1):
            if not all(token.isdigit() for token in line):
                _reject(name, number, "non-negative integers", b" ".join(line).decode(), error)
        raise
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)[: len(sizes)]
    users = np.repeat(ids[first], sizes - 1)
    alone = int((sizes == 1).sum())
    found = {"users listed without items": alone} if alone else {}
    return Table(users, np.delete(ids, first), found)


def _playlists(
    songs: Iterable[Iterable[Any]], kind: Any, found: dict[str, int] | None = None
) -> Table:
    lists = [list(each) for each in songs]
    owners = np.repeat(np.arange(len(lists)), [len(each) for each in lists])
    flat = np.array([song for each in lists for song in each], dtype=kind)
    return Table(owners.astype(np.int64), flat, {k: n for k, n in (found or {}).items() if n})


def _numbers(values: pd.Series, path: Path, header: int, whole: bool) -> np.ndarray:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy()
    wrong = np.isnan(numbers) | (whole & (numbers % 1 != 0))
    if wrong.any():
        row = int(np.argmax(wrong))
        expected = "an integer id" if whole else "a number"
        _reject(path.name, row + 1 + header, expected, str(values.iloc[row]))
    return numbers.astype(np.int64) if whole else numbers.astype(np.float64)


def _opened(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _reject(
    name: str, line: int, expected: str, value: str, cause: Exception | None = None
) -> NoReturn:
    shown = value if len(value) <= 60 else value[:57] + "..."
    raise ValueError(f"{name}, line {line}: {shown!r}, expected {expected}") from cause
