"""Labelled rows of categorical fields, at the size of a laptop.

The collapse paper [guo2024collapse] uses Criteo and Avazu, which `specrec_core.clicks` reads.
MovieLens has fields too: `movielens` makes the same kind of rows of a rating, its user and its
film. That is an extension of ours and no data set of the paper. `planted` needs no files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from specrec_core import datasets
from specrec_core.clicks import ClickLog
from specrec_core.interactions import generator

LIKED = 4  # a rating from which on the label is 1
MOVIELENS = "ml-100k"
PLANTED_SIZES = (4, 12, 40, 120, 300)


def movielens(*, folder: Path | None = None) -> ClickLog:
    """MovieLens 100K: was it rated `LIKED` or better, by user, film and what is known of both.

    Fields: user, item, age, gender, occupation, zip code, year of release, and the set of genres as
    one value. Every value has a code of its own, from 0, in the order of the rows.
    """
    files = datasets.fetch(MOVIELENS, folder=folder)
    parts = []
    for name in ("inter", "user", "item"):
        table = pd.read_csv(
            files[f"{MOVIELENS}.{name}"], sep="\t", dtype=str, keep_default_na=False
        )
        parts.append(table.rename(columns=lambda column: column.partition(":")[0]))
    rows = parts[0].merge(parts[1], on="user_id", how="left", validate="many_to_one")
    rows = rows.merge(parts[2], on="item_id", how="left", validate="many_to_one")
    if len(rows) != len(parts[0]) or rows.isna().to_numpy().any():
        raise ValueError(f"{MOVIELENS}: ratings of users or items that its side files do not have")
    fields = ("user_id", "item_id", "age", "gender", "occupation", "zip_code", "release_year",
              "class")  # fmt: skip
    return coded(
        MOVIELENS,
        rows[list(fields)].to_numpy(dtype=object),
        (rows["rating"].astype(float) >= LIKED).to_numpy(),
        fields,
        version=datasets.version(MOVIELENS),
        checksum=datasets.checksum(MOVIELENS),
    )


def planted(
    rows: int = 6000,
    sizes: Sequence[int] = PLANTED_SIZES,
    *,
    rank: int = 6,
    seed: int = 0,
) -> ClickLog:
    """Rows whose labels come of interactions of rank ``rank`` between fields of mixed ``sizes``.

    The logit is the sum over pairs of fields of inner products of Gaussian vectors, scaled to a
    standard deviation of 2; values are uniform.
    """
    draw = generator("planted fields", seed)
    codes = np.stack([draw.integers(0, size, rows) for size in sizes], axis=1)
    vectors = [draw.normal(size=(size, rank)) for size in sizes]
    gathered = np.stack([v[codes[:, k]] for k, v in enumerate(vectors)])
    total = gathered.sum(0)
    logit = ((total**2).sum(-1) - (gathered**2).sum((0, -1))) / 2
    logit *= 2 / logit.std()
    labels = draw.random(rows) < 1 / (1 + np.exp(-logit))
    checksum = hashlib.sha256(codes.astype("<i8").tobytes() + labels.tobytes()).hexdigest()
    return ClickLog(
        "planted", f"planted fields, seed {seed}", checksum, labels.astype(np.int8),
        codes.astype(np.int32), tuple(f"field {k}" for k in range(len(sizes))),
        np.asarray(sizes, dtype=np.int64),
    )  # fmt: skip


def coded(
    name: str,
    values: np.ndarray,
    labels: np.ndarray,
    fields: tuple[str, ...],
    *,
    version: str,
    checksum: str,
) -> ClickLog:
    """A `ClickLog` of ``values (n, fields)`` in which no value is rare."""
    columns = [pd.factorize(values[:, k]) for k in range(values.shape[1])]
    return ClickLog(
        name,
        version,
        checksum,
        labels.astype(np.int8),
        np.stack([codes for codes, _ in columns], axis=1).astype(np.int32),
        fields,
        np.array([len(ids) for _, ids in columns], dtype=np.int64),
    )


def split(log: ClickLog, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows to train on, to validate and to test, 8:1:1 in a random order drawn from ``seed``."""
    n = len(log.labels)
    order = generator("rows 8:1:1", seed).permutation(n)
    first, second = int(0.8 * n), int(0.8 * n) + int(0.1 * n)
    return order[:first], order[first:second], order[second:]
