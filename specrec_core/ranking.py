"""Ranking: the k best unseen items of each user, exactly and in a defined order.

Larger scores come first, equal scores by lower item id, on every device and for any chunk size.
Seen items, and items scored −inf, are no candidates; where fewer than k are left, slots stay
empty (−1). NaN has no place in an order and is an error.

>>> top_items(torch.tensor([0.2, 0.7, 0.7, -torch.inf]), 4).tolist()
[1, 2, 0, -1]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from specrec_core.arguments import whole
from specrec_core.interactions import CSR

Score = Callable[[Tensor], Tensor]
"""``score(user_ids (B,)) -> (R, B, n_items)``."""

Wanted = Sequence[tuple[Tensor, Tensor]]
"""For each replica, position of the user and item of the pairs that are wanted."""

CHUNK_ON_CPU = 5 * 2**20  # scores at a time; a CPU is fastest while they stay in its cache
CHUNK_ON_GPU = 2**27
FIRST = 16  # replicas that the first chunk has room for: how many there are, its scores tell


@torch.no_grad()
def recommend(
    score: Score, users: Tensor, seen: CSR, k: int, *, users_per_chunk: int | None = None
) -> Tensor:
    """The k best unseen items of each user, best first: ``(R, len(users), k)``, −1 where empty.

    No more than a chunk of the users × items scores exists at a time.
    """
    whole("k", k, 1)
    if users_per_chunk is not None and users_per_chunk < 1:
        raise ValueError(f"users_per_chunk: {users_per_chunk}, expected at least 1")
    elements = CHUNK_ON_CPU if users.device.type == "cpu" else CHUNK_ON_GPU
    size = users_per_chunk or max(1, elements // (FIRST * seen.shape[1]))
    lists: list[Tensor] = []
    start = 0
    while start < len(users):
        chunk = users[start : start + size]
        scores = score(chunk)
        _check_scores(scores, (len(chunk), seen.shape[1]), users.device)
        row, item = entries(seen, chunk)
        masked = row * seen.shape[1] + item
        flat = scores.contiguous().flatten(1)
        kept = flat[:, masked]  # flat may be the caller's own memory: left as it was found
        flat[:, masked] = -torch.inf
        lists.append(top_items(flat.view(scores.shape), k))
        flat[:, masked] = kept
        start += len(chunk)
        size = users_per_chunk or max(1, elements // scores[:, 0].numel())
    if not lists:
        return users.new_empty((len(score(users)), 0, k))
    return torch.cat(lists, dim=1)


def top_items(scores: Tensor, k: int) -> Tensor:
    """Positions of the k largest of ``(*, n)`` scores: ``(*, k)``, −1 where fewer are above −inf.

    Largest first, equal scores by lower position. Exact, by blocks of about √(n/k): an item among
    the k best lies in one of the k blocks with the largest maxima (ties between blocks by lower
    position), for otherwise each of these blocks holds an item that comes before it.

    Raises:
        ValueError: a score is NaN, or k is not an integer of at least 1.
    """
    whole("k", k, 1)
    n = scores.shape[-1]
    block = block_size(n, k)
    if n <= 2 * block * k:
        _check_no_nan(scores)
        best = _first(scores, k)
        found = scores.gather(-1, best)
    else:
        full = n - n % block
        maxima = scores[..., :full].unflatten(-1, (-1, block)).amax(-1)
        if full < n:
            maxima = torch.cat([maxima, scores[..., full:].amax(-1, keepdim=True)], dim=-1)
        _check_no_nan(maxima)  # a maximum over NaN is NaN
        blocks = _first(maxima, k).sort(-1).values  # ascending, to keep positions in order
        inside = torch.arange(block, device=scores.device)
        candidates = (blocks.unsqueeze(-1) * block + inside).flatten(-2)
        values = scores.gather(-1, candidates.clamp(max=n - 1))
        values.masked_fill_(candidates >= n, -torch.inf)  # past the end: never an item
        order = _first(values, k)
        best, found = candidates.gather(-1, order), values.gather(-1, order)
    best = best.masked_fill(found == -torch.inf, -1)
    return torch.nn.functional.pad(best, (0, k - best.shape[-1]), value=-1)


def block_size(n: int, k: int) -> int:
    """The power of two that makes n / block maxima and k · block candidates fewest together."""
    return 2 ** max(2, round(math.log2(max(n, 1) / k) / 2))


def contains(matrix: CSR, rows: Tensor, columns: Tensor) -> Tensor:
    """Whether ``(rows[b], columns[*, b, j])`` is an entry; column −1 never is."""
    n_columns = matrix.shape[1]
    position, column = entries(matrix, rows)
    keys = position * n_columns + column
    wanted = torch.arange(len(rows), device=rows.device).unsqueeze(-1) * n_columns + columns
    nearest = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return (keys[nearest] == wanted) & (columns >= 0)


def _first(values: Tensor, k: int) -> Tensor:
    """Positions of the k largest, largest first, equal values by lower position; n if n < k."""
    if k >= values.shape[-1]:
        return values.sort(dim=-1, descending=True, stable=True).indices
    top, position = values.topk(k + 1)
    position, order = position.sort(-1)
    top, order = top.gather(-1, order).sort(dim=-1, descending=True, stable=True)
    position = position.gather(-1, order)[..., :k]
    # top-k may take any of the values that equal the k-th: where one was left out, sort the row
    cut_tie = (top[..., k - 1] == top[..., k]) & (top[..., k] > -torch.inf)
    if bool(cut_tie.any()):
        rows = values[cut_tie].sort(dim=-1, descending=True, stable=True)
        position[cut_tie] = rows.indices[..., :k]
    return position


def entries(matrix: CSR, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Entries of ``rows``, in order: position in ``rows`` and column id of each."""
    start, end = matrix.offsets[rows], matrix.offsets[rows + 1]
    position = torch.repeat_interleave(end - start)
    skipped = (end - start).cumsum(0) - end  # minus what precedes a row in the matrix
    entry = torch.arange(len(position), device=rows.device) - skipped[position]
    return position, matrix.indices[entry]


def check_candidates(candidates: Sequence[CSR], replicas: int) -> None:
    """ValueError unless there is one matrix of candidates for each replica."""
    if len(candidates) != replicas:
        raise ValueError(
            f"streams: {len(candidates)} of them, expected one per replica, {replicas}"
        )


def kept_only(scores: Tensor, pairs: Wanted) -> Tensor:
    """−inf in place of all scores ``(R, B, n)`` but those of the pairs of each replica."""
    kept = torch.full_like(scores, -torch.inf)
    for r, (row, item) in enumerate(pairs):
        kept[r, row, item] = scores[r, row, item]
    return kept


def _check_scores(scores: Tensor, shape: tuple[int, int], device: torch.device) -> None:
    if not isinstance(scores, Tensor):
        kind = type(scores).__name__
        raise ValueError(f"score: gave a {kind}, expected a tensor; see torch.as_tensor")
    if scores.ndim != 3 or scores.shape[1:] != shape or not scores.is_floating_point():
        raise ValueError(
            f"score: gave {scores.dtype} {tuple(scores.shape)}, expected floating point "
            f"(R, {shape[0]}, {shape[1]})"
        )
    if scores.device != device:
        raise ValueError(f"score: gave scores on {scores.device}, expected {device}, as truth is")


def _check_no_nan(values: Tensor) -> None:
    if bool(values.isnan().any()):
        raise ValueError("scores: hold NaN, expected numbers or -inf; has training diverged?")
