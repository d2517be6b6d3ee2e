"""Each loss against a slow double-precision transcription of its formula, and its gradient."""

import math

import numpy as np
import pytest
import torch

from specrec_core import losses
from specrec_core.objectives import OBJECTIVES, of_scores


def numbers(*shape, seed=0, device="cpu"):
    draw = np.random.default_rng(seed).normal(size=shape) * 2
    return torch.tensor(draw, dtype=torch.float64, device=device)


def log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x > -700 else x


def slow_bpr(positive, negative):
    terms = [log_sigmoid(p - n) for p, row in zip(positive, negative, strict=True) for n in row]
    return -sum(terms) / len(terms)


def slow_bce(positive, negative):
    total = 0.0
    for p, row in zip(positive, negative, strict=True):
        total -= log_sigmoid(p) + sum(log_sigmoid(-n) for n in row)
    return total / len(positive)


def slow_mse(positive, negative):
    total = 0.0
    for p, row in zip(positive, negative, strict=True):
        total += (1 - p) ** 2 + sum(n * n for n in row)
    return total / len(positive)


def sigmoid(x: float) -> float:
    return math.exp(log_sigmoid(x))


def slow_mse_sigmoid(positive, negative):
    total = 0.0
    for p, row in zip(positive, negative, strict=True):
        total += (1 - sigmoid(p)) ** 2 + sum(sigmoid(n) ** 2 for n in row)
    return total / len(positive)


def slow_bce_sigmoid(positive, negative):
    total = 0.0
    for p, row in zip(positive, negative, strict=True):
        total -= math.log(sigmoid(p) + 1e-5)
        total -= sum(math.log(1 - sigmoid(n) + 1e-5) for n in row)
    return total / len(positive)


def slow_sampled_softmax(positive, negative):
    total = 0.0
    for p, row in zip(positive, negative, strict=True):
        total -= math.log(math.exp(p) / (math.exp(p) + sum(math.exp(n) for n in row)))
    return total / len(positive)


def slow_alignment(users, items):
    total = 0.0
    for u, i in zip(users, items, strict=True):
        total += np.sum((u / np.sqrt(np.sum(u * u)) - i / np.sqrt(np.sum(i * i))) ** 2)
    return total / len(users)


@pytest.mark.parametrize(
    "loss, slow",
    [
        (losses.bpr, slow_bpr),
        (losses.bce, slow_bce),
        (losses.mse, slow_mse),
        (losses.sampled_softmax, slow_sampled_softmax),
        (losses.mse_sigmoid, slow_mse_sigmoid),
        (losses.bce_sigmoid, slow_bce_sigmoid),
    ],
)
def test_pairwise_and_pointwise_losses_match_their_formula(loss, slow, device):
    positive, negative = numbers(3, 5, device=device), numbers(3, 5, 4, seed=1, device=device)
    got = loss(positive, negative)
    assert got.shape == (3,)
    for r in range(3):
        expected = slow(positive[r].tolist(), negative[r].tolist())
        assert got[r].item() == pytest.approx(expected, rel=1e-13)


def test_logistic_alignment_is_bce_without_negatives(device):
    positive = numbers(2, 6, device=device)
    empty = positive.new_empty(2, 6, 0)
    torch.testing.assert_close(losses.logistic_alignment(positive), losses.bce(positive, empty))


def test_sampled_softmax_with_one_negative_is_bpr(device):
    positive, negative = numbers(2, 6, device=device), numbers(2, 6, 1, seed=1, device=device)
    torch.testing.assert_close(
        losses.sampled_softmax(positive, negative), losses.bpr(positive, negative)
    )


def test_sampled_softmax_is_torch_cross_entropy(device):
    positive, negative = numbers(7, device=device), numbers(7, 5, seed=1, device=device)
    logits = torch.cat([positive.unsqueeze(-1), negative], -1)
    expected = torch.nn.functional.cross_entropy(logits, positive.new_zeros(7).long())
    torch.testing.assert_close(losses.sampled_softmax(positive, negative), expected)


def test_cross_correlation_is_numpys_and_invariance_its_diagonal(device):
    users, items = numbers(2, 9, 3, device=device), numbers(2, 9, 3, seed=1, device=device)
    got = losses.cross_correlation(users, items)
    for r in range(2):
        both = np.corrcoef(users[r].cpu().numpy(), items[r].cpu().numpy(), rowvar=False)
        np.testing.assert_allclose(got[r].cpu(), both[:3, 3:], rtol=1e-12)
        expected = sum((1 - both[k, 3 + k]) ** 2 for k in range(3))
        assert losses.invariance(users, items)[r].item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(
        losses.invariance(users, 3 * users + 1), torch.zeros_like(got[:, 0, 0])
    )


def test_inner_product_is_minus_the_mean_score(device):
    users, items = numbers(2, 5, 3, device=device), numbers(2, 5, 3, seed=1, device=device)
    expected = [-np.mean([users[r, b].tolist() @ items[r, b].cpu().numpy() for b in range(5)])
                for r in range(2)]  # fmt: skip
    np.testing.assert_allclose(losses.inner_product(users, items).cpu(), expected, rtol=1e-12)


def test_alignment_matches_its_formula_and_ignores_norms(device):
    users, items = numbers(2, 5, 3, device=device), numbers(2, 5, 3, seed=1, device=device)
    got = losses.alignment(users, items)
    for r in range(2):
        expected = slow_alignment(users[r].cpu().numpy(), items[r].cpu().numpy())
        assert got[r].item() == pytest.approx(expected, rel=1e-13)
    torch.testing.assert_close(losses.alignment(3 * users, 0.1 * items), got)
    torch.testing.assert_close(losses.alignment(users, 2 * users), torch.zeros_like(got))


def test_l2_is_half_the_squared_norm_per_positive(device):
    tables = numbers(2, 4, 3, device=device), numbers(2, 4, 5, 3, seed=1, device=device)
    got = losses.l2(*tables)
    for r in range(2):
        expected = sum(float((t[r].cpu().numpy() ** 2).sum()) for t in tables) / 2 / 4
        assert got[r].item() == pytest.approx(expected, rel=1e-13)


def test_losses_stay_finite_at_extreme_scores(device):
    extreme = torch.tensor([[1e4, -1e4]], dtype=torch.float64, device=device)
    assert losses.bpr(extreme, -extreme.unsqueeze(-1)).isfinite().all()
    assert losses.bce(extreme, extreme.unsqueeze(-1)).isfinite().all()
    assert losses.sampled_softmax(extreme, -extreme.unsqueeze(-1)).isfinite().all()


def test_gradients():
    positive = numbers(2, 3).requires_grad_()
    negative = numbers(2, 3, 2, seed=1).requires_grad_()
    users, items = numbers(2, 3, 4).requires_grad_(), numbers(2, 3, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(losses.bpr, (positive, negative))
    assert torch.autograd.gradcheck(losses.bce, (positive, negative))
    assert torch.autograd.gradcheck(losses.mse, (positive, negative))
    assert torch.autograd.gradcheck(losses.sampled_softmax, (positive, negative))
    assert torch.autograd.gradcheck(losses.mse_sigmoid, (positive, negative))
    assert torch.autograd.gradcheck(losses.bce_sigmoid, (positive, negative))
    assert torch.autograd.gradcheck(losses.logistic_alignment, (positive,))
    assert torch.autograd.gradcheck(losses.inner_product, (users, items))
    assert torch.autograd.gradcheck(losses.invariance, (users, items))
    assert torch.autograd.gradcheck(losses.alignment, (users, items))
    assert torch.autograd.gradcheck(losses.l2, (users, items))


@pytest.mark.parametrize("negatives", [1, 3])
def test_bpr_of_rows_is_bpr_of_their_products(negatives, device):
    """The gradient that it writes out is the one that autograd finds for the scores."""
    rows = [numbers(2, 5, 3, seed=s, device=device).requires_grad_() for s in (0, 1)]
    rows.append(numbers(2, 5, negatives, 3, seed=2, device=device).requires_grad_())
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64, device=device)
    values = [objective(*rows) for objective in (OBJECTIVES["bpr"][0], of_scores(losses.bpr))]
    torch.testing.assert_close(*values)
    got, expected = (torch.autograd.grad((weights * value).sum(), rows) for value in values)
    torch.testing.assert_close(got, expected)


def test_bpr_cannot_move_the_item_mean():
    """Adding one vector to every item changes no difference of scores."""
    users, items, shift = numbers(7, 4), numbers(9, 4, seed=1), numbers(4, seed=2)
    positive = torch.tensor([0, 3, 5, 1, 2, 8, 4])
    negative = torch.tensor([[1], [2], [0], [7], [6], [3], [5]])

    def loss(table):
        score = users @ table.T
        return losses.bpr(score.gather(1, positive[:, None])[:, 0], score.gather(1, negative))

    torch.testing.assert_close(loss(items), loss(items + shift))


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="negative has shape"):
        losses.bpr(numbers(2, 3), numbers(2, 4))
    with pytest.raises(ValueError, match="items has shape"):
        losses.alignment(numbers(2, 3), numbers(2, 4))
