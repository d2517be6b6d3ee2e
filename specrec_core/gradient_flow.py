"""How matrix factorisation learns the singular values of its target, one after another.

L = ½ ‖Y − U Vᵀ‖² with Y = P Σ Qᵀ. From a balanced start U Vᵀ = ε P Qᵀ gradient flow keeps the
directions of Y, and each mode grows by itself along a logistic curve [saxe2014exact]:

    modes(sigma, epsilon, t)     # σ̂_k(t), the closed form
    half_times(sigma, epsilon)   # when each mode has grown to half its size
    ahead_from(sigma, epsilon)   # from when on the leading mode has more than its final share

`descend` does the same by actual optimisers from actual initialisations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from specrec_core.arguments import between, one_of, whole
from specrec_core.spectra import product_singular_values

Floats = NDArray[np.float64]
OPTIMIZERS = ("gd", "sgd", "momentum", "adam", "adamw")


def _checked(sigma: ArrayLike, epsilon: float) -> Floats:
    values = np.asarray(sigma, dtype=float)
    if values.ndim != 1 or not len(values) or (np.diff(values) > 0).any():
        raise ValueError(f"sigma: shape {values.shape}, expected a descending spectrum (k,)")
    if not 0 < epsilon < values[-1]:
        raise ValueError(f"epsilon: {epsilon}, expected above 0 and below the last σ, {values[-1]}")
    return values


def modes(sigma: ArrayLike, epsilon: float, t: ArrayLike) -> Floats:
    """σ_k / (1 + (σ_k/ε − 1) e^{−2σ_k t}) at times t ``(T,)``: ``(T, k)``.

    The solution of dσ̂/dt = 2σ̂(σ − σ̂) with σ̂(0) = ε, for 0 < ε < σ_k. For gradient descent with
    rate η, t is η times the number of steps.
    """
    values = _checked(sigma, epsilon)
    times = np.asarray(t, dtype=float)[:, None]
    return values / (1.0 + (values / epsilon - 1.0) * np.exp(-2.0 * values * times))


def half_times(sigma: ArrayLike, epsilon: float) -> Floats:
    """ln(σ_k/ε − 1)/(2σ_k): when σ̂_k = σ_k/2, ``(k,)``; negative where ε > σ_k/2.

    It falls as σ_k grows where σ_k > 4.6 ε (`ORDERED`): larger modes come first.
    """
    values = _checked(sigma, epsilon)
    return np.log(values / epsilon - 1.0) / (2.0 * values)


ORDERED = 4.591121476668622
"""Above this ratio σ/ε half-times fall as σ grows. It is the root of x/(x − 1) = ln(x − 1)."""


def ahead_from(sigma: ArrayLike, epsilon: float) -> float:
    """The time from which the leading mode is, relative to its end, ahead of all others.

    max_k ln((σ₁ − ε)/(σ_k − ε)) / (2(σ₁ − σ_k)) over σ_k < σ₁, 0 where there are none. From then on
    σ̂₁/Σσ̂ is at least σ₁/Σσ. At the start it is 1/k, as all modes are equal.
    """
    values = _checked(sigma, epsilon)
    others = values[values < values[0]]
    if not len(others):
        return 0.0
    ratio = np.log((values[0] - epsilon) / (others - epsilon))
    return float((ratio / (2.0 * (values[0] - others))).max())


@dataclass(frozen=True, eq=False)
class Descent:
    """What `descend` saw at the steps ``step`` ``(T,)``, the first of them 0.

    modes: ``(T, k)``, p_kᵀ U Vᵀ q_k: how much of each mode of the target is there.
    spectrum: ``(T, min(n, m, d))``, the singular values of U Vᵀ itself.
    loss: ``(T,)``, ½ ‖Y − U Vᵀ‖².
    """

    step: NDArray[np.int64]
    modes: Floats
    spectrum: Floats
    loss: Floats


def descend(
    left: Tensor,
    sigma: Tensor,
    right: Tensor,
    users: Tensor,
    items: Tensor,
    *,
    optimizer: str,
    rate: float,
    steps: int,
    batch: int = 0,
    every: int = 1,
    decay: float = 0.0,
    seed: int = 0,
) -> Descent:
    """Fit U Vᵀ to Y = P Σ Qᵀ by an optimiser, and watch its modes.

    Parameters
    ----------
    left, sigma, right : (n, k), (k,), (m, k) float64: P, the diagonal of Σ, Q.
    users, items : (n, d), (m, d) float64: the start; left unchanged.
    optimizer
        "gd" and "sgd" step against the gradient; "momentum" with a momentum of 0.9; "adam"
        [kingma2015adam] and "adamw" [loshchilov2019decoupled] with torch's defaults.
    batch
        Rows of Y in a step, drawn without replacement from ``seed`` and scaled by n/batch, so that
        the expected gradient is that of the whole; 0 takes all of them. "gd" takes all.
    every
        Steps between two looks.
    decay
        Weight decay, of "adamw" alone.
    """
    one_of("optimizer", optimizer, OPTIMIZERS)
    between("rate", rate, 0.0, np.inf, ends=False)
    whole("steps", steps, 1)
    whole("every", every, 1)
    n = left.shape[0]
    if not 0 <= batch <= n or (optimizer == "gd" and batch):
        raise ValueError(f"batch: {batch} with {optimizer!r}, expected 0 to {n}, and 0 with 'gd'")
    if decay and optimizer != "adamw":
        raise ValueError(f"decay: {decay} with {optimizer!r}, which has none: expected 0")
    target = (left * sigma) @ right.T
    u, v = users.clone(), items.clone()
    step_by = _optimizer(optimizer, [u, v], rate, decay)
    draw = torch.Generator().manual_seed(seed)
    seen: list[tuple[int, Tensor, Tensor, Tensor]] = []
    for step in range(steps + 1):
        if step % every == 0:
            product = u @ v.T
            loss = (target - product).square().sum() / 2
            if not torch.isfinite(loss):
                raise ValueError(f"rate: {rate} diverges with {optimizer!r}; expected less")
            along = ((left.T @ product) * right.T).sum(1)
            seen.append((step, along, product_singular_values(u, v), loss))
        if batch:
            rows = torch.randperm(n, generator=draw)[:batch]
            error = (u[rows] @ v.T - target[rows]) * (n / batch)
            u.grad = torch.zeros_like(u).index_copy_(0, rows, error @ v)
            v.grad = error.T @ u[rows]
        else:
            error = u @ v.T - target
            u.grad, v.grad = error @ v, error.T @ u
        step_by.step()
    steps_seen, along_seen, spectra_seen, losses = zip(*seen, strict=True)
    return Descent(
        np.array(steps_seen),
        torch.stack(along_seen).numpy(),
        torch.stack(spectra_seen).numpy(),
        torch.stack(losses).numpy(),
    )


def settling_times(step: ArrayLike, modes: ArrayLike, sigma: ArrayLike) -> Floats:
    """When each mode comes within half of its σ_k for good, ``(k,)``; NaN where it does not.

    Interpolated between looks; ``modes`` is ``(T, k)``. For a mode that only grows it is the time
    at which it reaches σ_k/2; a mode that starts too large has to come down first.
    """
    at, target = np.asarray(step, dtype=float), np.asarray(sigma, dtype=float)
    off = np.abs(np.asarray(modes, dtype=float) / target - 1.0)
    out = np.full(off.shape[1], np.nan)
    for k, away in enumerate(off.T):
        last = np.flatnonzero(away > 0.5)
        if not len(last):
            out[k] = at[0]
        elif (i := int(last[-1])) < len(at) - 1:
            part = (away[i] - 0.5) / (away[i] - away[i + 1])
            out[k] = at[i] + part * (at[i + 1] - at[i])
    return out


def in_order(times: Floats) -> float:
    """Share of pairs i < j with times[i] < times[j]; NaN is later than all, and not than NaN."""
    filled = np.where(np.isnan(times), np.inf, times)
    i, j = np.triu_indices(len(filled), 1)
    return float((filled[i] < filled[j]).mean())


def planted(
    spectrum: Sequence[float], users: int, items: int, dim: int, std: float, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """A target and a start for `descend`: P ``(users, k)``, σ, Q ``(items, k)``, U and V.

    P and Q are random and orthonormal, U and V ``(·, dim)`` normal with standard deviation ``std``.
    """
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    sigma = torch.tensor(spectrum, dtype=torch.float64)
    left = torch.linalg.qr(normal(users, len(sigma))).Q
    right = torch.linalg.qr(normal(items, len(sigma))).Q
    return left, sigma, right, std * normal(users, dim), std * normal(items, dim)


def _optimizer(name: str, tables: list[Tensor], rate: float, decay: float) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(tables, lr=rate)
    if name == "adamw":
        return torch.optim.AdamW(tables, lr=rate, weight_decay=decay)
    return torch.optim.SGD(tables, lr=rate, momentum=0.9 if name == "momentum" else 0.0)
