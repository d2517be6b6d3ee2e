"""Models of clicks on categorical fields, with one or several embedding sets: FM and DCNv2.

As the collapse paper has them [guo2024collapse]. A model takes codes ``(B, N)`` of N fields and
gives logits ``(B,)``. Each of its M sets is one table of all values of all fields, ``(Σ D_i, K)``,
with an interaction of its own; what the sets give is averaged before the last layers.

Alone among the models of this library these train one seed at a time and have no replicas: click
models are few, of a few seeds each, and a sweep on a CPU gives each seed a process of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from torch import Tensor, nn

from specrec_core import spectra
from specrec_core.arguments import VARIANTS, one_of, whole
from specrec_core.clicks import ClickLog
from specrec_core.models import generator

PENALTY = 1e-5  # of the official code; the paper gives no weight
WEIGHT_DECAY = 1e-6


def auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Probability that a positive scores above a negative, equal scores counted as half.

    Both ``(n,)``; ValueError unless both labels occur.
    """
    positive = np.asarray(labels, dtype=bool)
    count = int(positive.sum())
    if not 0 < count < len(positive):
        raise ValueError(f"labels: {count} of {len(positive)} are positive, expected some of both")
    ranks = rankdata(np.asarray(scores, dtype=np.float64))
    above = ranks[positive].sum() - count * (count + 1) / 2
    return float(above / (count * (len(positive) - count)))


class Clicks(nn.Module):
    """The tables of M sets: Xavier-uniform, ±√(6 / (Σ D_i + K)), one table of all fields each."""

    def __init__(self, sizes: Sequence[int], dim: int, sets: int, seed: int) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("sets", sets)):
            whole(name, value, 1)
        self.sizes, self.dim, self.sets = tuple(int(s) for s in sizes), dim, sets
        self.stream = generator(seed, "parameters")
        bound = math.sqrt(6 / (sum(self.sizes) + dim))
        self.embeddings = nn.Parameter(self._uniform((sets, sum(self.sizes), dim), bound))
        starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        self.register_buffer("starts", torch.as_tensor(starts, dtype=torch.int64))

    def _uniform(self, shape: tuple[int, ...], bound: float) -> Tensor:
        return (2 * torch.rand(shape, generator=self.stream) - 1) * bound

    def _linear(self, before: int, after: int) -> nn.Linear:
        """A linear layer with torch's default initialisation, drawn from the model's stream."""
        layer = nn.Linear(before, after)
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.copy_(self._uniform(tuple(parameter.shape), before**-0.5))
        return layer

    def rows(self, codes: Tensor) -> Tensor:
        """Embeddings of codes ``(B, N)``: ``(M, B, N, K)``."""
        assert isinstance(self.starts, Tensor)
        return self.embeddings[:, codes + self.starts]

    def tables(self) -> list[Tensor]:
        """The table of each field, all sets: N of ``(M, D_i, K)``."""
        return list(self.embeddings.detach().split(list(self.sizes), dim=1))

    def penalty(self) -> Tensor | float:
        """What training adds to the loss."""
        return 0.0


class FM(Clicks):
    """A factorisation machine with M sets [rendle2010factorization]; multi-embedding is ours.

    With P_m = Σ_{i<j} e_i^m ∘ e_j^m, it gives b + Σ_i w_{x_i} + wᵀ (1/M) Σ_m ReLU(W_m P_m + b_m).
    With ``width=0`` it is the plain machine, b + Σ_i w_{x_i} + 1ᵀP, of one set: several sets would
    be one of dimension MK.
    """

    def __init__(
        self, sizes: Sequence[int], dim: int, *, sets: int = 1, width: int = 0, seed: int = 0
    ) -> None:
        super().__init__(sizes, dim, sets, seed)
        if sets > 1 and not width:
            raise ValueError(f"width is 0 for {sets} sets: a plain machine has one set")
        self.first_order = nn.Parameter(torch.zeros(sum(self.sizes)))
        self.bias = nn.Parameter(torch.zeros(1))
        self.projections = nn.ModuleList(
            self._linear(dim, width) for _ in range(sets if width else 0)
        )
        self.out = self._linear(width, 1) if width else None

    def forward(self, codes: Tensor) -> Tensor:
        rows = self.rows(codes)
        pairs = (rows.sum(2).square() - rows.square().sum(2)) / 2  # (M, B, K)
        if self.out is None:
            second = pairs[0].sum(-1)
        else:
            active = [F.relu(layer(p)) for layer, p in zip(self.projections, pairs, strict=True)]
            second = self.out(torch.stack(active).mean(0)).squeeze(-1)
        assert isinstance(self.starts, Tensor)
        return self.bias + self.first_order[codes + self.starts].sum(-1) + second


class DCNv2(Clicks):
    """The deep and cross network with full matrices and stacked layers [wang2021dcn].

    Per set, from x_0 = [e_1; …; e_N], ``layers`` times x_{l+1} = x_0 ∘ (W_l x_l + b_l) + x_l, and a
    block; the mean over sets goes through a second block and a linear layer. A block is a linear
    layer to ``width``, batch normalisation, ReLU and dropout. With one set these are the paper's
    single-embedding model; M sets are its multi-embedding of M×.

    Parameters
    ----------
    regularised
        Add `PENALTY` times the collapse regulariser of the cross layers (Evidence III): "" for
        none; ``formula`` for `orthogonality` of the blocks W_{i→j} with learnable λ_ij;
        ``official`` for effective blocks n_ij W_ij with learnable n_ij, and Σ ‖I − W_ij W_ijᵀ‖².
    """

    def __init__(
        self,
        sizes: Sequence[int],
        dim: int,
        *,
        sets: int = 1,
        layers: int = 4,
        width: int = 400,
        dropout: float = 0.2,
        regularised: str = "",
        seed: int = 0,
    ) -> None:
        super().__init__(sizes, dim, sets, seed)
        one_of("regularised", regularised, ("", *VARIANTS))
        whole("layers", layers, 1)
        self.dropout, self.regularised = dropout, regularised
        self.masks = generator(seed, "dropout")
        n, columns = len(self.sizes), len(self.sizes) * dim
        self.cross = nn.ModuleList(self._linear(columns, columns) for _ in range(sets * layers))
        scales = (sets * layers, n, n) if regularised else (0,)
        self.scales = nn.Parameter(torch.ones(scales))
        self.blocks = nn.ModuleList(self._linear(columns, width) for _ in range(sets))
        self.blocks.append(self._linear(width, width))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(sets + 1))
        self.out = self._linear(width, 1)

    def weight(self, position: int) -> Tensor:
        """The matrix of a cross layer, ``(NK, NK)``: rows are the fields that are multiplied."""
        layer = self.cross[position]
        assert isinstance(layer, nn.Linear)
        if self.regularised != "official":
            return layer.weight
        scale = self.scales[position].repeat_interleave(self.dim, 0)
        return layer.weight * scale.repeat_interleave(self.dim, 1)

    def forward(self, codes: Tensor) -> Tensor:
        layers = len(self.cross) // self.sets
        hidden = []
        for m, rows in enumerate(self.rows(codes)):
            first = rows.flatten(1)
            x = first
            for position in range(m * layers, (m + 1) * layers):
                bias = self.cross[position].bias
                assert isinstance(bias, Tensor)
                x = first * F.linear(x, self.weight(position), bias) + x
            hidden.append(self._block(m, x))
        return self.out(self._block(self.sets, torch.stack(hidden).mean(0))).squeeze(-1)

    def _block(self, position: int, x: Tensor) -> Tensor:
        x = F.relu(self.norms[position](self.blocks[position](x)))
        if not (self.training and self.dropout):
            return x
        kept = torch.rand(x.shape, generator=self.masks) >= self.dropout  # drawn on the CPU
        return x * kept.to(x.device) / (1 - self.dropout)

    def penalty(self) -> Tensor | float:
        if not self.regularised:
            return 0.0
        total: Tensor | float = 0.0
        for position, layer in enumerate(self.cross):
            assert isinstance(layer, nn.Linear)
            if self.regularised == "official":
                blocks = fields_of(layer.weight, self.dim)
                total = total + orthogonality(blocks.mT, blocks.new_ones(blocks.shape[:2]))
            else:
                blocks = fields_of(layer.weight, self.dim)
                total = total + orthogonality(blocks, self.scales[position])
        return PENALTY * total

    @torch.no_grad()
    def projected_abundance(self) -> Tensor:
        """Abundance of E_i W_{i→j}ᵀ in the first cross layer: ``(M, N, N)``, i first."""
        found = torch.empty(self.sets, len(self.sizes), len(self.sizes), dtype=torch.float64)
        for m in range(self.sets):
            weight = self.weight(m * (len(self.cross) // self.sets))
            blocks = fields_of(weight, self.dim)  # [j, i]: from field i to field j
            for i, table in enumerate(self.tables()):
                projected = table[m] @ blocks[:, i].mT  # (N, D_i, K)
                found[m, i] = spectra.information_abundance(spectra.singular_values(projected))
        return found


def fields_of(weight: Tensor, dim: int) -> Tensor:
    """The blocks of ``weight (NK, NK)``: ``(N, N, K, K)``, row block first."""
    return weight.unflatten(0, (-1, dim)).unflatten(2, (-1, dim)).transpose(1, 2)


def orthogonality(blocks: Tensor, scales: Tensor) -> Tensor:
    """Σ_ij ‖W_ijᵀ W_ij − λ_ij I‖_F² of ``blocks (N, N, K, K)`` and λ ``(N, N)`` [guo2024collapse].

    Zero where each block keeps all singular values in proportion, so that no abundance is lost.
    """
    identity = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
    return (blocks.mT @ blocks - scales[..., None, None] * identity).square().sum()


def abundance(model: Clicks) -> dict[str, list[float]]:
    """Information abundance per field: of all sets side by side, and the mean over sets.

    How the paper aggregates several sets is not stated; with one set both are the same.
    """
    both: dict[str, list[float]] = {"side by side": [], "per set": []}
    for table in model.tables():
        joined = torch.cat(table.unbind(0), dim=-1)
        for name, tables in (("side by side", joined), ("per set", table)):
            s = spectra.information_abundance(spectra.singular_values(tables))
            both[name].append(float(s.mean()))
    return both


@dataclass(frozen=True)
class Fitted:
    """What `fit` saw: per epoch from 1, and the epoch whose parameters the model was left with."""

    loss: list[float]
    auc: list[float]
    best_epoch: int


def fit(
    model: Clicks,
    log: ClickLog,
    train: np.ndarray,
    validation: np.ndarray,
    *,
    epochs: int = 100,
    patience: int = 3,
    batch_size: int = 2048,
    learning_rate: float = 1e-3,
) -> Fitted:
    """Train on the rows ``train`` with binary cross-entropy, and keep the best validation AUC.

    As the official code: Adam with weight decay 1e-6, the same order of rows in every epoch, and
    an end at the ``patience``-th epoch in a row without a better AUC.
    """
    codes, labels = _tensors(log, train, model.embeddings.device)
    starts = list(range(0, len(labels), batch_size))
    if len(starts) > 1 and len(labels) - starts[-1] == 1:
        starts.pop()  # one row has no variance to normalise by: it goes with those before
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)
    losses: list[float] = []
    curve: list[float] = []
    best: dict[str, Tensor] = {}
    for _ in range(epochs):
        model.train()
        total = labels.new_zeros(())
        for part in map(slice, starts, [*starts[1:], len(labels)]):
            loss = F.binary_cross_entropy_with_logits(model(codes[part]), labels[part])
            optimizer.zero_grad(set_to_none=True)
            (loss + model.penalty()).backward()
            optimizer.step()
            total += loss.detach() * len(labels[part])
        losses.append(float(total) / len(labels))
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(f"the loss of epoch {len(losses)} is {losses[-1]}")
        curve.append(auc(log.labels[validation], predict(model, log, validation)))
        if np.argmax(curve) == len(curve) - 1:  # of equally good epochs the first
            best = {name: value.clone() for name, value in model.state_dict().items()}
        if len(curve) - 1 - int(np.argmax(curve)) >= patience:
            break
    model.load_state_dict(best)
    return Fitted(losses, curve, 1 + int(np.argmax(curve)))


@torch.no_grad()
def predict(model: Clicks, log: ClickLog, rows: np.ndarray, batch_size: int = 8192) -> np.ndarray:
    """Logits of ``rows``, ``(len(rows),)``."""
    model.eval()
    codes, _ = _tensors(log, rows, model.embeddings.device)
    return torch.cat([model(part) for part in codes.split(batch_size)]).double().cpu().numpy()


def _tensors(log: ClickLog, rows: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
    labels = torch.as_tensor(log.labels[rows], dtype=torch.float32, device=device)
    return torch.as_tensor(log.codes[rows], dtype=torch.int64, device=device), labels
