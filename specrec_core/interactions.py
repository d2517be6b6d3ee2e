"""Interactions: the one data type that everything trains and tests on.

An :class:`Interactions` holds who interacted with what, as three sparse binary
``(n_users, n_items)`` matrices (train, validation, test) on the CPU, together with where they
come from and what was dropped on the way. A :class:`CSR` is one such matrix on a device.

>>> import numpy as np
>>> data = Interactions.from_pairs(
...     "toy", train=np.array([[0, 0], [0, 1], [0, 2], [1, 2]]), test=np.array([[1, 0]]))
>>> data.n_users, data.n_items, data.item_popularity.tolist()
(2, 3, [1, 1, 2])
>>> data.holdout(0.5, seed=0).validation.nnz
1
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

SPLITS = ("train", "validation", "test", "train+validation")


@dataclass(frozen=True, eq=False)
class CSR:
    """One sparse binary matrix on a device: row offsets and sorted column ids, both int64.

    ``indices[offsets[r]:offsets[r + 1]]`` are the column ids of row ``r``, ascending and distinct.
    """

    offsets: Tensor  # (n_rows + 1,)
    indices: Tensor  # (nnz,)
    shape: tuple[int, int]

    @classmethod
    def from_scipy(cls, matrix: sp.csr_matrix, device: torch.device | str = "cpu") -> CSR:
        """Copy the pattern of a scipy matrix to ``device``; stored zeros are left out."""
        pattern = binary(matrix)
        return cls(
            torch.as_tensor(pattern.indptr.astype(np.int64), device=device),
            torch.as_tensor(pattern.indices.astype(np.int64), device=device),
            (int(pattern.shape[0]), int(pattern.shape[1])),
        )

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return self.indices.shape[0]

    @property
    def device(self) -> torch.device:
        """The device that holds the tensors."""
        return self.indices.device

    def degree(self) -> Tensor:
        """Entries per row, ``(n_rows,)``."""
        return self.offsets.diff()

    def rows(self) -> Tensor:
        """Row id of each entry, ``(nnz,)``, ascending."""
        ids = torch.arange(self.shape[0], device=self.device)
        return torch.repeat_interleave(ids, self.degree(), output_size=self.nnz)

    def to(self, device: torch.device | str) -> CSR:
        """The same matrix on ``device``."""
        return CSR(self.offsets.to(device), self.indices.to(device), self.shape)


@dataclass(frozen=True, eq=False)
class DeviceInteractions:
    """The three splits of an :class:`Interactions` on one device."""

    train: CSR
    validation: CSR
    test: CSR


@dataclass(frozen=True, eq=False)
class Interactions:
    """A data set with its splits; see the module for how to make one.

    Matrices are binary float32 CSR of one shape ``(n_users, n_items)``, sorted, no duplicates.
    Validation is disjoint from train and test. Test pairs that the source also has in train stay
    in test: they are masked at evaluation and can never be hit, as with the papers' own codes.

    Attributes
    ----------
    version
        Origin and split rule, such as ``"directspec@21e0ebe, official split"``.
    checksum
        SHA-256 over the checksums of the source files.
    dropped
        What loading removed or found, counted by reason.
    user_ids, item_ids
        The ids of the source, ``(n_users,)`` and ``(n_items,)``: row ``r`` of every matrix is the
        user that the source calls ``user_ids[r]``.
    """

    name: str
    version: str
    checksum: str
    train: sp.csr_matrix
    validation: sp.csr_matrix
    test: sp.csr_matrix
    dropped: dict[str, int] = field(default_factory=dict)
    user_ids: np.ndarray = None  # type: ignore[assignment]  # set below where not given
    item_ids: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for split in ("train", "validation", "test"):
            matrix = binary(getattr(self, split))
            if matrix.shape != self.train.shape:
                raise ValueError(
                    f"{split}: shape {matrix.shape}, expected that of train, {self.train.shape}"
                )
            object.__setattr__(self, split, matrix)
        for other in ("train", "test"):
            shared = self.validation.multiply(getattr(self, other)).nnz
            if shared:
                raise ValueError(
                    f"validation: {shared} pairs are also in {other}, expected disjoint splits"
                )
        for argument, size in zip(("user_ids", "item_ids"), self.train.shape, strict=True):
            ids = getattr(self, argument)
            ids = np.arange(size, dtype=np.int64) if ids is None else np.asarray(ids)
            if ids.shape != (size,):
                raise ValueError(f"{argument}: shape {ids.shape}, expected ({size},)")
            object.__setattr__(self, argument, ids)

    @classmethod
    def from_pairs(
        cls,
        name: str,
        train: np.ndarray,
        test: np.ndarray,
        shape: tuple[int, int] | None = None,
        **fields: Any,
    ) -> Self:
        """Build from ``(user, item)`` pairs, ``(nnz, 2)`` integers each; validation is empty.

        ``test`` may be empty, ``[]``, as before a split. Duplicates are removed and, with test
        pairs that are also in train (which stay), counted in ``dropped``. ``shape`` defaults to
        the largest ids seen. Further ``fields``: ``version``, ``checksum``, ``dropped``,
        ``user_ids``, ``item_ids``.

        Raises
        ------
        ValueError
            If a pair array is not ``(nnz, 2)`` of integers in range, or train is empty.
        """
        none = np.empty((0, 2), dtype=np.int64)
        pairs = {
            split: np.asarray(given) if len(given) else none
            for split, given in (("train", train), ("test", test))
        }
        for split, array in pairs.items():
            _check_pairs(split, array, shape)
        if not len(pairs["train"]):
            raise ValueError("train: no pairs, expected at least one")
        if shape is None:
            n_users, n_items = np.concatenate(list(pairs.values())).max(axis=0) + 1
            shape = (int(n_users), int(n_items))
        matrices = {split: _matrix(array, shape) for split, array in pairs.items()}
        dropped = dict(fields.pop("dropped", {}))
        for split, array in pairs.items():
            _count(dropped, f"duplicate {split} pairs", len(array) - matrices[split].nnz)
        both = int(matrices["train"].multiply(matrices["test"]).nnz)
        _count(dropped, "test pairs also in train (kept, cannot be hit)", both)
        return cls(
            name=name,
            version=fields.pop("version", "made in memory"),
            checksum=fields.pop("checksum", ""),
            train=matrices["train"],
            validation=_matrix(np.empty((0, 2), dtype=np.int64), shape),
            test=matrices["test"],
            dropped=dropped,
            **fields,
        )

    @property
    def n_users(self) -> int:
        """Number of users (rows)."""
        return int(self.train.shape[0])

    @property
    def n_items(self) -> int:
        """Number of items (columns)."""
        return int(self.train.shape[1])

    @cached_property
    def item_popularity(self) -> np.ndarray:
        """Training interactions per item, ``(n_items,)`` int64."""
        return np.bincount(self.train.indices, minlength=self.n_items).astype(np.int64)

    @cached_property
    def statistics(self) -> dict[str, int | float]:
        """Counts of this data set; "per user" is over training interactions."""
        known = self.train + self.validation
        activity = np.diff(self.train.indptr)
        pairs = (known + self.test).nnz
        return {
            "users": self.n_users,
            "items": self.n_items,
            "train": int(self.train.nnz),
            "validation": int(self.validation.nnz),
            "test": int(self.test.nnz),
            "distinct pairs": int(pairs),
            "density": pairs / (self.n_users * self.n_items),
            "test pairs also in train": int(self.train.multiply(self.test).nnz),
            "cold items": int((self.item_popularity == 0).sum()),
            "users without train": int((activity == 0).sum()),
            "users without test": int((np.diff(self.test.indptr) == 0).sum()),
            "min per user": int(activity.min()),
            "median per user": float(np.median(activity)),
            "max per user": int(activity.max()),
            "max per item": int(self.item_popularity.max()),
        }

    def csr(self, split: str, device: torch.device | str = "cpu") -> CSR:
        """One split on ``device``: "train", "validation", "test" or "train+validation"."""
        if split not in SPLITS:
            raise ValueError(f"split: {split!r}, expected one of {', '.join(SPLITS)}")
        if split == "train+validation":
            return CSR.from_scipy(self.train + self.validation, device)
        return CSR.from_scipy(getattr(self, split), device)

    def to(self, device: torch.device | str) -> DeviceInteractions:
        """The three splits on ``device``."""
        train, validation, test = (self.csr(split, device) for split in SPLITS[:3])
        return DeviceInteractions(train, validation, test)

    def holdout(self, fraction: float, seed: int) -> Self:
        """Carve a validation split from train: ``floor(fraction * n_u)`` pairs of each user u.

        Which ones is drawn from ``seed``, the same on every platform. As ``fraction < 1`` a user
        never loses the last train item. Train pairs that the source repeats in test are not moved.

        Raises
        ------
        ValueError
            If ``fraction`` is outside [0, 1), or there is a validation split already.
        """
        if self.validation.nnz:
            raise ValueError(
                f"validation: already holds {self.validation.nnz} pairs, expected none; "
                "load with validation=0 to carve anew"
            )
        both = self.train.multiply(self.test)
        activity = np.diff(self.train.indptr)
        held = random_part(self.train - both, fraction, seed, "validation", activity)
        return replace(self, train=self.train - held, validation=held)


def random_part(
    matrix: sp.csr_matrix,
    fraction: float,
    seed: int,
    purpose: str,
    row_size: np.ndarray | None = None,
) -> sp.csr_matrix:
    """A random part of each row: ``floor(fraction * row_size)`` of its entries, without a loop.

    ``row_size`` defaults to the number of entries of each row. ``purpose`` names the random stream,
    so that two uses of one seed are independent. Rounding error of the product never lowers the
    floor (0.29 of 100 is 29).

    Raises
    ------
    ValueError
        If ``fraction`` is outside [0, 1).
    """
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"fraction: {fraction!r}, expected a share in [0, 1)")
    matrix = binary(matrix)
    size = np.diff(matrix.indptr).astype(np.int64)
    wanted = np.floor(fraction * (size if row_size is None else row_size) + 1e-9).astype(np.int64)
    return random_rows(matrix, wanted, generator(purpose, seed))


def random_rows(
    matrix: sp.csr_matrix, wanted: np.ndarray, stream: np.random.Generator
) -> sp.csr_matrix:
    """``wanted[r]`` random entries of each row ``r``, all of them where it has no more."""
    matrix = binary(matrix)
    draw = stream.random(matrix.nnz)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((draw, rows))  # entries of each row in random order, rows ascending
    rank = np.arange(matrix.nnz) - matrix.indptr[rows]
    chosen = order[rank < wanted[rows]]
    return _matrix(np.stack([rows[chosen], matrix.indices[chosen]], axis=1), matrix.shape)


def generator(purpose: str, seed: int) -> np.random.Generator:
    """The random stream of a purpose and a seed; streams of two purposes are independent.

    Raises
    ------
    ValueError
        If ``seed`` is not a non-negative integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed: {seed!r}, expected a non-negative integer")
    stream = np.random.SeedSequence([zlib.crc32(purpose.encode()), int(seed)])
    return np.random.Generator(np.random.PCG64(stream))


def binary(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Copy as binary float32 CSR: columns sorted, duplicates merged, stored zeros removed."""
    copy = matrix.tocsr(copy=True).astype(np.float32)
    copy.sum_duplicates()
    copy.eliminate_zeros()
    copy.sort_indices()
    copy.data[:] = 1.0
    return copy


def _matrix(pairs: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    ones = np.ones(len(pairs), dtype=np.float32)
    return binary(sp.coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=shape).tocsr())


def _check_pairs(split: str, pairs: np.ndarray, shape: tuple[int, int] | None) -> None:
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"{split}: shape {pairs.shape}, expected (n, 2) pairs of user and item")
    if not np.issubdtype(pairs.dtype, np.integer):
        raise ValueError(f"{split}: dtype {pairs.dtype}, expected integers")
    if not len(pairs):
        return
    if pairs.min() < 0:
        raise ValueError(f"{split}: id {pairs.min()}, expected non-negative ids")
    if shape is not None and (pairs.max(axis=0) >= shape).any():
        largest = tuple(int(i) for i in pairs.max(axis=0))
        raise ValueError(f"{split}: largest (user, item) ids {largest}, expected below {shape}")


def _count(dropped: dict[str, int], reason: str, number: int) -> None:
    if number:
        dropped[reason] = dropped.get(reason, 0) + int(number)
