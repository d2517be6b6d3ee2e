"""How far a noisy interaction can move a model: gradients, their bounds, and filters of noise.

Four models, four quantities. What of them the paper on scaling [scaling2025] proves is not known
to us; these are our reconstructions of its conclusions (chapter 13). Plain functions of arrays,
float64, with leading batch dimensions.

>>> float(round(bpr_fitted_limit(), 4))
0.2785
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from specrec_core.arguments import between
from specrec_core.filters import convolution_response

Numbers = Any  # whatever torch.as_tensor takes


def _double(name: str, values: Numbers, least: int = 1) -> Tensor:
    tensor = torch.as_tensor(values).double()
    if tensor.ndim < least or not bool(torch.isfinite(tensor).all()):
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}: expected finite numbers in {least} or more "
            "dimensions"
        )
    return tensor


def bpr_gradients(
    user: Numbers, positive: Numbers, negative: Numbers
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of −ln σ(e_u·(e_i − e_j)) with respect to e_u, e_i and e_j [rendle2009bpr].

    Shapes: each ``(*, d)`` → each ``(*, d)``.
    """
    u, i, j = (
        _double(name, x)
        for name, x in (("user", user), ("positive", positive), ("negative", negative))
    )
    if not u.shape == i.shape == j.shape:
        raise ValueError(
            f"user {tuple(u.shape)}, positive {tuple(i.shape)} and negative {tuple(j.shape)}: "
            "expected one shape"
        )
    weight = torch.sigmoid(-(u * (i - j)).sum(-1, keepdim=True))
    return -weight * (i - j), -weight * u, weight * u


def bpr_fitted_limit() -> Tensor:
    """max t σ(−t) over t > 0: Lambert's W(1/e), the t with t eᵗ = 1/e."""
    t = torch.tensor(0.25, dtype=torch.float64)
    for _ in range(50):  # Newton's method
        t = t - (t * t.exp() - torch.exp(torch.tensor(-1.0, dtype=torch.float64))) / (
            (1 + t) * t.exp()
        )
    return t


def xavier_variance(rows: int, dim: int) -> float:
    """2 / (rows + dim): the variance of the entries of a table at its start [glorot2010understanding]."""  # noqa: E501
    between("rows", rows, 1, float("inf"))
    between("dim", dim, 1, float("inf"))
    return 2 / (rows + dim)


def layer_norms(weights: Sequence[Numbers]) -> Tensor:
    """Spectral norms of the layers of a multilayer perceptron, ``(L,)``."""
    if not weights:
        raise ValueError("weights is empty: expected one matrix per layer")
    return torch.stack([torch.linalg.matrix_norm(_double("weights", w, 2), 2) for w in weights])


def neumf_bound(
    mf_weights: Numbers,
    item: Numbers,
    weights: Sequence[Numbers],
    output: Numbers,
    mf_change: Numbers,
    mlp_change: Numbers,
) -> Tensor:
    """‖w_m ∘ q‖ ‖δ_p‖ + ‖w_h‖ Π‖W_l‖₂ ‖δ_z‖: the most that NeuMF's score can change.

    For a change δ_p of the user's factor beside the item's ``item`` = q, and a change δ_z of the
    perceptron's input; ReLU layers ``weights`` and output weights w_m, w_h [he2017neural].
    Shapes: vectors ``(*, k)`` → ``(*,)``.
    """
    norm = torch.linalg.vector_norm
    linear = norm(_double("mf_weights", mf_weights) * _double("item", item), dim=-1)
    deep = norm(_double("output", output), dim=-1) * layer_norms(weights).prod()
    return linear * norm(_double("mf_change", mf_change), dim=-1) + deep * norm(
        _double("mlp_change", mlp_change), dim=-1
    )


def perceptron(inputs: Numbers, weights: Sequence[Numbers], biases: Sequence[Numbers]) -> Tensor:
    """ReLU(W_L … ReLU(W_1 z + b_1) … + b_L). Shapes: ``(*, k)`` → ``(*, k_L)``."""
    h = _double("inputs", inputs)
    for w, b in zip(weights, biases, strict=True):
        h = torch.relu(h @ _double("weights", w, 2).mT + _double("biases", b))
    return h


def white_noise_gain(eigenvalues: Numbers, layers: int) -> Tensor:
    """Mean of g(λ)² over all eigenvalues: what is left of the energy of white noise.

    g is the response of LightGCN's mean over layers [he2020lightgcn]. Shapes: ``(n,)`` → ``()``.
    """
    return convolution_response(eigenvalues, layers).square().mean(-1)


def contrastive_gradient(
    anchor: Numbers, others: Numbers, positive: int, temperature: float
) -> tuple[Tensor, Tensor]:
    """Gradient of InfoNCE with respect to an un-normalised anchor, and its bound.

    The loss is −ln softmax(ẑ·ĉ_v / τ) at v = ``positive`` over all rows of ``others`` [wu2021sgl];
    the bound 2 (1 − p) / (τ ‖z‖), with p the softmax at the positive.
    Shapes: ``(d,)``, ``(n, d)`` → ``(d,)``, ``()``.
    """
    between("temperature", temperature, 0.0, float("inf"), ends=False)
    z, table = _double("anchor", anchor), _double("others", others, 2)
    if not 0 <= positive < len(table):
        raise ValueError(f"positive is {positive}: expected a row from 0 to {len(table) - 1}")
    length = torch.linalg.vector_norm(z)
    if not float(length) > 0:
        raise ValueError("anchor is zero: expected a vector with a direction")
    unit = z / length
    rows = table / torch.linalg.vector_norm(table, dim=-1, keepdim=True)
    share = torch.softmax(rows @ unit / temperature, 0)
    pull = (share @ rows - rows[positive]) / temperature
    along = (pull - (pull @ unit) * unit) / length
    return along, 2 * (1 - share[positive]) / (temperature * length)
