"""Embedding tables, and other arrays of numbers, as checked tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

Array = Tensor | np.ndarray
CHUNK_ROWS = 4096  # rows cast to float64 at a time


def as_table(name: str, table: Array) -> Tensor:
    """`table` as a checked floating-point tensor `(*, n, d)`, its precision and device kept.

    Raises ValueError (naming `name`) for fewer than two dimensions, no rows or no columns, dtypes
    that are not real numbers, and NaN or infinite entries.
    """
    tensor = real(name, table)
    shape = tuple(tensor.shape)
    if tensor.ndim < 2 or 0 in shape[-2:]:
        raise ValueError(f"{name} has shape {shape}; expected (*, n, d) with n >= 1 and d >= 1")
    return tensor


def factors(users: Array, items: Array) -> tuple[Tensor, Tensor]:
    """`users` `(*, n, d)` and `items` `(*, m, d)` as checked tables of one d, or ValueError."""
    users, items = as_table("users", users), as_table("items", items)
    if users.shape[-1] != items.shape[-1]:
        raise ValueError(
            f"users {tuple(users.shape)} and items {tuple(items.shape)} have different last "
            "dimensions; expected (*, n, d) and (*, m, d)"
        )
    return users, items


def real(name: str, array: Array) -> Tensor:
    """`array` as a finite floating-point tensor on its own device, or ValueError that names it."""
    if isinstance(array, np.ndarray):
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} has dtype {array.dtype}; expected real numbers")
        wide = array.dtype.itemsize > 8  # long double: torch has none
        dtype = np.dtype(np.float64) if wide else array.dtype.newbyteorder("=")
        array = torch.from_numpy(np.array(array, dtype=dtype, order="C"))
    try:
        tensor = torch.as_tensor(array)
    except (TypeError, ValueError, KeyError, RuntimeError):
        raise ValueError(
            f"{name} is a {type(array).__name__}; expected a tensor or an array (of a module its "
            ".weight, of a DataFrame its .to_numpy())"
        ) from None
    if tensor.is_complex():
        raise ValueError(f"{name} has dtype {tensor.dtype}; expected real numbers")
    tensor = tensor if tensor.is_floating_point() else tensor.double()
    check_finite(name, tensor)
    return tensor


def check_finite(name: str, tensor: Tensor) -> None:
    """ValueError, with how many, if entries of `tensor` are NaN or infinite."""
    ends = torch.stack(torch.aminmax(tensor.detach())) if tensor.numel() else tensor  # one pass
    if not bool(torch.isfinite(ends).all()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise ValueError(
            f"{name} of shape {tuple(tensor.shape)} has {bad} NaN or infinite entries; "
            "expected finite numbers (did training diverge?)"
        )
