"""Baselines against popularity bias, against their formulas transcribed in numpy."""

import numpy as np
import pytest
import torch

from specrec_core import debiasing, objectives


def numbers(*shape, seed=0, device="cpu"):
    draw = np.random.default_rng(seed).normal(size=shape) * 1.5
    return torch.tensor(draw, dtype=torch.float64, device=device)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def elu(x):
    return np.where(x > 0, x, np.exp(x) - 1)


def bce(positive, negative):
    return np.mean(-np.log(sigmoid(positive)) - np.log(1 - sigmoid(negative)).sum(-1))


def close(got, expected):
    np.testing.assert_allclose(got.detach().cpu().numpy(), expected, rtol=1e-11)


def test_zero_sum(device):
    positive, negative = numbers(2, 5, device=device), numbers(2, 5, 1, seed=1, device=device)
    s, t = positive.cpu().numpy(), negative[..., 0].cpu().numpy()
    pairs = -np.log(sigmoid(s - t)).mean(-1)
    even = -np.log(1 - np.tanh(np.abs(s + t))).mean(-1)
    for weight in (0.0, 0.9, 1.0):
        got = debiasing.zero_sum(positive, negative, weight)
        close(got, weight * pairs / 2 + (1 - weight) * even / 2)
    each = torch.tensor([0.2, 0.9], device=device, dtype=torch.float64)
    close(debiasing.zero_sum(positive, negative, each)[1], 0.9 * pairs[1] / 2 + 0.05 * even[1])
    assert debiasing.zero_sum(1e4 * positive, 1e4 * negative).isfinite().all()


def test_zero_sum_is_least_where_scores_cancel():
    positive = numbers(1, 5)
    kept = debiasing.zero_sum(positive, -positive.unsqueeze(-1), 0.0)
    assert kept.item() == pytest.approx(0, abs=1e-12)
    assert debiasing.zero_sum(positive, 0.1 - positive.unsqueeze(-1), 0.0).item() > 0.05


@pytest.mark.parametrize("n", [1, 3])
def test_macr(n, device):
    s, t = numbers(2, 4, device=device), numbers(2, 4, n, seed=1, device=device)
    a, b = numbers(2, 4, seed=2, device=device), numbers(2, 4, n, seed=3, device=device)
    user = numbers(2, 4, seed=4, device=device)
    got = debiasing.macr(s, t, a, b, user, items=0.3, users=0.7)
    s, t, a, b, user = (x.cpu().numpy() for x in (s, t, a, b, user))
    for r in range(2):
        z = s[r] * sigmoid(a[r]) * sigmoid(user[r])
        z_other = t[r] * sigmoid(b[r]) * sigmoid(user[r])[:, None]
        same = np.repeat(user[r][:, None], n, 1)
        expected = bce(z, z_other) + 0.3 * bce(a[r], b[r]) + 0.7 * bce(user[r], same)
        close(got[r], expected)


def test_macr_scores(device):
    scores, item, user = numbers(2, 3, 5), numbers(2, 5, seed=1), numbers(2, 3, seed=2)
    got = debiasing.macr_scores(scores.to(device), item.to(device), user.to(device), 7.0)
    for r, u, i in np.ndindex(2, 3, 5):
        expected = (scores[r, u, i] - 7) * sigmoid(item[r, i].item()) * sigmoid(user[r, u].item())
        assert got[r, u, i].item() == pytest.approx(expected.item(), rel=1e-12)


def test_macr_with_a_large_reference_ranks_items_down_by_their_branch():
    order = debiasing.macr_scores(numbers(1, 3, 5), numbers(1, 5), numbers(1, 3), 1e9).argsort(-1)
    assert (order == numbers(1, 5).argsort(-1, descending=True)).all()


def test_popularity_deconfounding(device):
    counts = torch.tensor([7, 0, 3, 1], device=device)
    m = (np.array([8, 1, 4, 2]) / 15 - 1 / 15) / (7 / 15)
    close(debiasing.smoothed_popularity(counts), m)
    before = debiasing.smoothed_popularity(torch.tensor([9, 4, 0, 1], device=device))
    predicted = debiasing.predicted_popularity(debiasing.smoothed_popularity(counts), before)
    close(predicted, np.clip(m + 0.5 * (m - before.cpu().numpy()), 1e-9, 1))
    with pytest.raises(ValueError, match="counts are all equal"):
        debiasing.smoothed_popularity(torch.ones(3))

    positive, negative = numbers(2, 3, device=device), numbers(2, 3, 2, seed=1, device=device)
    weight = debiasing.smoothed_popularity(counts) ** 0.3
    i, j = torch.tensor([0, 2, 3]), torch.tensor([[1, 0], [2, 2], [0, 1]])
    wi, wj = weight[i].expand(2, 3), weight[j].expand(2, 3, 2)
    got = debiasing.deconfounded_bpr(positive, negative, wi, wj)
    f = (elu(positive.cpu().numpy()) + 1) * m[i] ** 0.3
    g = (elu(negative.cpu().numpy()) + 1) * m[j] ** 0.3
    close(got, -np.log(sigmoid(f[..., None] - g)).mean((-2, -1)))

    scores = numbers(2, 3, 4, device=device)
    plain = elu(scores.cpu().numpy()) + 1
    close(debiasing.popularity_scores(scores, None), plain)
    close(
        debiasing.popularity_scores(scores, predicted**0.2), plain * predicted.cpu().numpy() ** 0.2
    )
    low = torch.tensor([[[-20.0, -18.5, -17.4, -19.0, 3.0]]], device=device)  # in single precision
    order = debiasing.popularity_scores(low, None).argsort(stable=True, descending=True)
    assert order.flatten().tolist() == [4, 2, 1, 3, 0]


def test_predicted_popularity_stays_within_its_bounds():
    now = torch.tensor([1, 0.9, 0.1, 0.5], dtype=torch.float64)
    before = torch.tensor([0.2, 0.9, 0.8, 0.4], dtype=torch.float64)
    close(debiasing.predicted_popularity(now, before), [1, 0.9, 1e-9, 0.55])


def test_strengths_that_are_not_given_have_their_defaults():
    s, t, a, b = numbers(4), numbers(4, 2, seed=1), numbers(4, seed=2), numbers(4, 2, seed=3)
    close(debiasing.zero_sum(s, t), debiasing.zero_sum(s, t, 0.9))
    plain = debiasing.macr(s, t, a, b, a)
    close(plain, debiasing.macr(s, t, a, b, a, items=1e-3, users=1e-3))
    close(debiasing.macr_scores(t, a[:2], a), debiasing.macr_scores(t, a[:2], a, 40.0))
    counts = torch.tensor([16, 4, 1, 0])
    close(debiasing.propensities(counts), [1, 0.5, 0.25, 0])


@pytest.mark.parametrize("loss", ["bpr", "bce", "mse_sigmoid"])
def test_inverse_propensities_weigh_positives(loss, device):
    positive, negative = numbers(2, 4, device=device), numbers(2, 4, 3, seed=1, device=device)
    counts = torch.tensor([16, 4, 1, 0], device=device)
    p = debiasing.propensities(counts, 0.5, 0.1)
    close(p, [1, 0.5, 0.25, 0.1])
    weights = (1 / p).expand(2, 4)
    got = debiasing.weighted(positive, negative, weights, loss)
    w, s, t = (x.cpu().numpy() for x in (weights, positive, negative))
    expected = {
        "bpr": (w * -np.log(sigmoid(s[..., None] - t)).mean(-1)).mean(-1),
        "bce": (-w * np.log(sigmoid(s)) - np.log(sigmoid(-t)).sum(-1)).mean(-1),
        "mse_sigmoid": (w * (1 - sigmoid(s)) ** 2 + (sigmoid(t) ** 2).sum(-1)).mean(-1),
    }[loss]
    close(got, expected)
    ones = torch.ones_like(positive)
    torch.testing.assert_close(
        debiasing.weighted(positive, negative, ones, loss),
        objectives.SCORE_LOSSES[loss](positive, negative),
    )


def test_the_weighted_mean_is_unbiased():
    """Seen with probability p, weighed with 1/p: in the mean the loss of all positives."""
    draw = np.random.default_rng(0)
    p, s = draw.uniform(0.3, 1, 6), numbers(6)
    seen = draw.random((40_000, 6)) < p
    each = torch.nn.functional.softplus(-s).numpy()
    mean = (seen * each / p).sum(1).mean()
    assert mean == pytest.approx(each.sum(), rel=0.02)


def test_interaction_spread(device):
    items = torch.tensor([0, 0, 2, 3, 2, 0], device=device)
    counts = torch.bincount(items, minlength=5)
    scores = numbers(2, 6, device=device)
    got = debiasing.interaction_spread(scores, items, counts, 1.4)
    known = torch.tensor([0, 2, 3], device=device)
    assert torch.equal(debiasing.interaction_spread(scores, items, counts, 1.4, known), got)
    for r in range(2):
        ratios = []
        for item in (0, 2, 3):
            c = sum(sigmoid(x) for x, i in zip(scores[r].tolist(), items.tolist(), strict=True)
                    if i == item)  # fmt: skip
            ratios.append(c / int(counts[item]) ** 0.6)
        close(got[r], np.std(ratios, ddof=1))


def slow_distance_correlation(x, y):
    def centred(v):
        d = np.array([[np.linalg.norm(a - b) for b in v] for a in v])
        return d - d.mean(0) - d.mean(1)[:, None] + d.mean()

    a, b = centred(x), centred(y)
    return np.sqrt((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean()))


def test_distance_correlation(device):
    x, y = numbers(2, 8, 3, device=device), numbers(2, 8, 2, seed=1, device=device)
    got = debiasing.distance_correlation(x, y)
    close(got, [slow_distance_correlation(x[r].cpu().numpy(), y[r].cpu().numpy()) for r in (0, 1)])
    rotation = torch.linalg.qr(numbers(3, 3, device=device)).Q
    moved = 4 * x @ rotation + 1
    torch.testing.assert_close(debiasing.distance_correlation(x, moved), torch.ones_like(got))


def test_distance_correlation_in_single_precision(device):
    """Of as many rows as make torch take distances by a matrix product if it may."""
    for width in (8, 64):
        x, y = (numbers(64, width, seed=seed, device=device) for seed in (0, 1))
        x = 10 + 0.01 * x
        exact = debiasing.distance_correlation(x.float().double(), y.float().double())
        got = debiasing.distance_correlation(x.float(), y.float())
        torch.testing.assert_close(got.double(), exact, rtol=1e-4, atol=0)
        same = x[:1].float().expand(64, -1).clone().requires_grad_()
        nothing = debiasing.distance_correlation(same, y.float())
        assert nothing == 0 and not torch.autograd.grad(nothing, same)[0].any()


def test_a_constant_sample_correlates_with_nothing(device):
    x = numbers(2, 8, 3, device=device)
    x[1] = 1.5  # one replica's alone
    x, y = x.requires_grad_(), numbers(2, 8, 2, seed=1, device=device).requires_grad_()
    for got in (debiasing.distance_correlation(x, y), debiasing.distance_correlation(y, x)):
        assert got[0] > 0 and got[1] == 0
        for gradient in torch.autograd.grad(got.sum(), (x, y)):
            assert torch.isfinite(gradient).all() and gradient[0].any() and not gradient[1].any()


def test_invariant_collaborative_filtering(device):
    def embeddings(seed):
        shapes = ((2, 5, 3), (2, 5, 3), (2, 5, 4, 3))
        return tuple(numbers(*s, seed=seed + k, device=device) for k, s in enumerate(shapes))

    def softmax(u, p, n):
        total = 0.0
        for a, b, row in zip(u, p, n, strict=True):
            logits = np.array([np.dot(a, c) / np.linalg.norm(a) / np.linalg.norm(c) / 0.2
                               for c in (b, *row)])  # fmt: skip
            total -= logits[0] - np.log(np.exp(logits).sum())
        return total / len(u)

    preference, popular = embeddings(0), embeddings(10)
    order = torch.tensor([3, 0, 4, 1, 2]), torch.tensor([1, 2, 3, 4, 0])
    got = debiasing.invariant(
        preference, popular, order, temperature=0.2, strengths=(0.5, 0.3, 0.1)
    )
    for r in range(2):
        a, b = ([x[r].cpu().numpy() for x in side] for side in (preference, popular))
        mixed = [b[0][order[0]], b[1][order[1]], b[2][order[1]]]
        both, shuffled = ([np.concatenate(pair, -1) for pair in zip(a, other, strict=True)]
                          for other in (b, mixed))  # fmt: skip
        apart = sum(slow_distance_correlation(a[k], b[k]) for k in (0, 1))
        expected = softmax(*a) + 0.5 * softmax(*b) - 0.3 * apart
        close(got[r], expected + 0.1 * (softmax(*both) + softmax(*shuffled)))


def test_gradients():
    s, t = numbers(2, 3).requires_grad_(), numbers(2, 3, 2, seed=1).requires_grad_()
    a, b = numbers(2, 3, seed=2).requires_grad_(), numbers(2, 3, 2, seed=3).requires_grad_()
    user = numbers(2, 3, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(debiasing.zero_sum, (s, t))
    assert torch.autograd.gradcheck(debiasing.macr, (s, t, a, b, user))
    weights = numbers(2, 3, seed=5).exp(), numbers(2, 3, 2, seed=6).exp()
    assert torch.autograd.gradcheck(lambda x, y: debiasing.deconfounded_bpr(x, y, *weights), (s, t))
    for loss in ("bpr", "bce", "mse_sigmoid"):
        assert torch.autograd.gradcheck(
            lambda x, y, name=loss: debiasing.weighted(x, y, weights[0], name), (s, t)
        )
    items = torch.tensor([0, 1, 1])
    assert torch.autograd.gradcheck(
        lambda x: debiasing.interaction_spread(x, items, torch.tensor([1, 2]), 1.3), (s,)
    )
    x, y = numbers(4, 2).requires_grad_(), numbers(4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(debiasing.distance_correlation, (x, y))


def test_wrong_shapes_and_names_are_refused():
    with pytest.raises(ValueError, match="negative has shape"):
        debiasing.zero_sum(numbers(2, 3), numbers(2, 3))
    with pytest.raises(ValueError, match="negative has shape"):
        debiasing.macr(*[numbers(2, 3)] * 5)
    with pytest.raises(ValueError, match="loss is 'hinge'"):
        debiasing.weighted(numbers(3), numbers(3, 2), numbers(3), "hinge")
    with pytest.raises(ValueError, match="y has shape"):
        debiasing.distance_correlation(numbers(3, 2), numbers(4, 2))
    with pytest.raises(ValueError, match="expected at least two rows"):
        debiasing.distance_correlation(numbers(1, 2), numbers(1, 3))
