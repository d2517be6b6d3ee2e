"""Click logs (Criteo, Avazu): labelled rows of categorical fields, coded as integers.

The coding is that of the code of the embedding-collapse paper [bibtex: guo2024collapse]:
values seen fewer times than a threshold share one code of their field, code 0.
"""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

RARE = 0
_CHUNK = 200_000  # rows


@dataclass(frozen=True, eq=False)
class ClickLog:
    """Rows of a click log.

    Attributes
    ----------
    labels : (n,) int8, 1 where clicked.
    codes : (n, fields) int32; in each field 0 stands for all rare values, the others are numbered
        from 1 in the order in which the file first has them.
    fields : names of the fields.
    cardinalities : (fields,) int64, number of codes of each field, 0 included.
    dropped : rows left out, by reason.
    """

    name: str
    version: str
    checksum: str
    labels: np.ndarray
    codes: np.ndarray
    fields: tuple[str, ...]
    cardinalities: np.ndarray
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def click_rate(self) -> float:
        """Share of rows that were clicked."""
        return float(self.labels.mean())


def criteo_number(value: str) -> str:
    """Token of a Criteo count: ``floor(ln(v)^2)`` above 2, else ``v - 2``; ``NULL`` if empty."""
    if not value:
        return "NULL"
    number = int(value)
    return str(math.floor(math.log(number) ** 2) if number > 2 else number - 2)


def read_criteo(path: Path, *, version: str = "", checksum: str = "") -> ClickLog:
    """Kaggle's train.txt: label, 13 counts, 26 categories, tabs, no header; threshold 10."""
    numeric, categorical = [f"I{k}" for k in range(1, 14)], [f"C{k}" for k in range(1, 27)]
    tokens: dict[str, Callable[[str], str]] = dict.fromkeys(numeric, criteo_number)
    tokens |= dict.fromkeys(categorical, lambda value: value or "NULL")
    header = ["label", *numeric, *categorical]
    return _read("criteo", path, "\t", header, tokens, 10, version, checksum)


def read_avazu(path: Path, *, version: str = "", checksum: str = "") -> ClickLog:
    """Kaggle's train.csv or train.gz: id, click, then 22 fields; threshold 4."""
    with _opened(path) as file:
        header = next(file, "").rstrip("\r\n").split(",")
    if header[:2] != ["id", "click"] or len(header) != 24:
        raise ValueError(
            f"{path.name}: header {','.join(header)[:60]!r}, expected id,click and 22 fields"
        )
    tokens: dict[str, Callable[[str], str]] = dict.fromkeys(header[2:], lambda value: value)
    return _read("avazu", path, ",", header, tokens, 4, version, checksum, skip=1)


def _read(
    name: str,
    path: Path,
    separator: str,
    header: list[str],
    tokens: dict[str, Callable[[str], str]],
    threshold: int,
    version: str,
    checksum: str,
    skip: int = 0,
) -> ClickLog:
    label = header.index("label" if "label" in header else "click")
    places = [header.index(each) for each in tokens]
    seen: list[dict[str, int]] = [{} for _ in tokens]
    labels, blocks, wrong = [], [], 0
    with _opened(path) as file:
        for lines in _chunks(islice(file, skip, None)):
            rows = [line.rstrip("\r\n").split(separator) for line in lines]
            kept = [row for row in rows if len(row) == len(header)]
            wrong += len(rows) - len(kept)
            if not kept:
                continue
            columns = list(zip(*kept, strict=True))
            labels.append(_labels(columns[label], path))
            block = np.empty((len(kept), len(tokens)), dtype=np.int32)
            for k, (place, token) in enumerate(zip(places, tokens.values(), strict=True)):
                codes, values = pd.factorize(np.array(columns[place], dtype=object))
                try:
                    known = [seen[k].setdefault(token(v), len(seen[k])) for v in values]
                except ValueError as error:
                    raise ValueError(f"{path.name}: {header[place]}: {error}") from error
                block[:, k] = np.array(known, dtype=np.int32)[codes]
            blocks.append(block)
    if not blocks:
        raise ValueError(f"{path.name}: no row of {len(header)} columns, expected at least one")
    codes, cardinalities = _merge_rare(np.concatenate(blocks), threshold)
    return ClickLog(
        name, version, checksum, np.concatenate(labels), codes, tuple(tokens), cardinalities,
        {"rows with a wrong number of columns": wrong} if wrong else {},
    )  # fmt: skip


def _merge_rare(codes: np.ndarray, threshold: int) -> tuple[np.ndarray, np.ndarray]:
    cardinalities = np.empty(codes.shape[1], dtype=np.int64)
    for k in range(codes.shape[1]):
        frequent = np.bincount(codes[:, k]) >= threshold
        new = np.where(frequent, np.cumsum(frequent), RARE).astype(np.int32)
        codes[:, k] = new[codes[:, k]]
        cardinalities[k] = frequent.sum() + 1
    return codes, cardinalities


def _labels(values: tuple[str, ...], path: Path) -> np.ndarray:
    wrong = set(values) - {"0", "1"}
    if wrong:
        raise ValueError(f"{path.name}: label {sorted(wrong)[0]!r}, expected 0 or 1")
    return np.array(values).astype(np.int8)


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.GzipFile(path), encoding="utf-8")
    return path.open(encoding="utf-8")


def _chunks(lines: Iterator[str]) -> Iterator[list[str]]:
    while chunk := list(islice(lines, _CHUNK)):
        yield chunk
